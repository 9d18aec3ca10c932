/* Fuzz target of the order log's reader.
 *
 * Input: one byte that says how the file arrives in pieces, then the file. What must
 * hold:
 *   - the pieces change nothing;
 *   - positions are 1, 2, 3, ...; what a record points to is within limits;
 *   - what was read can be written, read again, and is the same;
 *   - a file that is not whole has a message that begins with the place.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/log_samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_order_log: %s\n", what);
        abort();
    }
}

/* Reads a file to its end; appends what was read, as it is written. */
static enum tw_status read_all(const void *bytes, size_t size, size_t piece, struct tw_text *again,
                               struct tw_error *error) {
    struct log_memory memory = {.bytes = bytes, .size = size, .piece = piece};
    struct tw_order_log_reader *reader;
    struct tw_record record;
    uint64_t position = 0;
    enum tw_status status = tw_order_log_reader_new(&reader, log_source, &memory, error);
    must(status == TW_OK, "there is memory");
    while ((status = tw_order_log_next(reader, &record, error)) == TW_OK) {
        must(record.position == ++position, "positions are 1, 2, 3, ...");
        must(record.count <= TW_SLOTS_MAX, "contributions are within limits");
        must(!record.numerics || strlen(record.numerics) <= TW_NUMERICS_MAX, "so is an id");
        must(strcmp(tw_record_name(record.kind), "?") != 0, "the kind is known");
        must(tw_order_log_offset(reader) <= size, "it does not read more than there is");
        log_add(again, &record);
    }
    must(tw_order_log_position(reader) == position, "it knows how far it came");
    must(status == TW_CLOSED || status == TW_DATA, "the end is one of two");
    must(status == TW_CLOSED ? tw_order_log_offset(reader) == size
                             : strncmp(error->text, "at byte ", 8) == 0,
         "the end is the end, or it is said where");
    tw_order_log_reader_free(reader);
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
         "nor the records");
    must(read_all(whole.at, whole.size, 0, &again, &error[2]) == TW_CLOSED,
         "what was written can be read");
    must(whole.size == again.size && (!whole.size || !memcmp(whole.at, again.at, whole.size)),
         "and is the same");
    tw_text_fini(&whole);
    tw_text_fini(&pieces);
    tw_text_fini(&again);
    return 0;
}
