/* Fuzz target of the trace log's reader.
 *
 * Input: one byte that says how the file arrives in pieces, then the file. What must
 * hold:
 *   - the pieces change nothing;
 *   - the first entry is the header, and no other is; every kind is known;
 *   - what was read can be written, read again, and is the same;
 *   - a file that is not whole has a message that begins with the place.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/trace_samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_trace_log: %s\n", what);
        abort();
    }
}

/* Reads a file to its end; appends what was read, as it is written. */
static enum tw_status read_all(const void *bytes, size_t size, size_t piece, struct tw_text *again,
                               struct tw_error *error) {
    struct log_memory memory = {.bytes = bytes, .size = size, .piece = piece};
    struct tw_trace_reader *reader;
    struct tw_trace_entry entry;
    uint64_t entries = 0;
    enum tw_status status = tw_trace_reader_new(&reader, log_source, &memory, error);
    must(status == TW_OK, "there is memory");
    while ((status = tw_trace_next(reader, &entry, error)) == TW_OK) {
        must(tw_trace_shape(entry.kind) != NULL, "the kind is known");
        must((entry.kind == TW_TRACE_HEADER) == (entries++ == 0), "the header is the first");
        trace_add(again, &entry);
    }
    must(status == TW_CLOSED || status == TW_DATA, "the end is one of two");
    must(status == TW_CLOSED || strncmp(error->text, "at byte ", 8) == 0, "it is said where");
    tw_trace_reader_free(reader);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    struct tw_text whole = {0}, pieces = {0}, again = {0};
    struct tw_error error[3] = {{.status = TW_OK}};
    if (size < 1)
        return 0;
    enum tw_status status = read_all(input + 1, size - 1, 0, &whole, &error[0]);
    must(read_all(input + 1, size - 1, 1u + input[0], &pieces, &error[1]) == status,
         "pieces do not change the status");
    must(status != TW_DATA || strcmp(error[0].text, error[1].text) == 0, "nor the message");
    must(whole.size == pieces.size && (!whole.size || !memcmp(whole.at, pieces.at, whole.size)),
         "nor the entries");
    must(read_all(whole.at, whole.size, 0, &again, &error[2]) == TW_CLOSED,
         "what was written can be read");
    must(whole.size == again.size && (!whole.size || !memcmp(whole.at, again.at, whole.size)),
         "and is the same");
    tw_text_fini(&whole);
    tw_text_fini(&pieces);
    tw_text_fini(&again);
    return 0;
}
