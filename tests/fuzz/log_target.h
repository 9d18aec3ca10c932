/* What the fuzz targets of the two logs share.
 *
 * Input: one byte that says how the file arrives in pieces, then the file. What must
 * hold of either:
 *   - the pieces change nothing;
 *   - what was read can be written, read again, and is the same;
 *   - a file that is not whole has a message that begins with the place.
 */
#ifndef TW_TESTS_FUZZ_LOG_TARGET_H
#define TW_TESTS_FUZZ_LOG_TARGET_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/log_samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static inline void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz: %s\n", what);
        abort();
    }
}

/* Reads a file to its end; appends what was read, as it is written. */
typedef enum tw_status read_all_fn(struct log_memory *memory, struct tw_text *again,
                                   struct tw_error *error);

static inline enum tw_status log_read(read_all_fn *read_all, const void *bytes, size_t size,
                                      size_t piece, struct tw_text *again, struct tw_error *error) {
    struct log_memory memory = {.bytes = bytes, .size = size, .piece = piece};
    enum tw_status status = read_all(&memory, again, error);
    must(status == TW_CLOSED || status == TW_DATA, "the end is one of two");
    must(status == TW_CLOSED || strncmp(error->text, "at byte ", 8) == 0, "it is said where");
    return status;
}

static inline bool same_text(const struct tw_text *a, const struct tw_text *b) {
    return a->size == b->size && (!a->size || memcmp(a->at, b->at, a->size) == 0);
}

static inline void log_target(read_all_fn *read_all, const uint8_t *input, size_t size) {
    struct tw_text whole = {0}, pieces = {0}, again = {0};
    struct tw_error error[3] = {{.status = TW_OK}};
    if (size < 1)
        return;
    const uint8_t *file = input + 1;
    enum tw_status status = log_read(read_all, file, size - 1, 0, &whole, &error[0]);
    must(log_read(read_all, file, size - 1, 1u + input[0], &pieces, &error[1]) == status,
         "pieces do not change the status");
    must(status != TW_DATA || strcmp(error[0].text, error[1].text) == 0, "nor the message");
    must(same_text(&whole, &pieces), "nor what was read");
    must(log_read(read_all, whole.at, whole.size, 0, &again, &error[2]) == TW_CLOSED,
         "what was written can be read");
    must(same_text(&whole, &again), "and is the same");
    tw_text_fini(&whole);
    tw_text_fini(&pieces);
    tw_text_fini(&again);
}

#endif
