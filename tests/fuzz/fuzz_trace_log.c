/* Fuzz target of the trace log's reader: see log_target.h. Here also: the first entry is the
 * header, and no other is; every kind is known. */
#include "tests/fuzz/log_target.h"
#include "tests/lib/trace_samples.h"

static enum tw_status read_all(struct log_memory *memory, struct tw_text *again,
                               struct tw_error *error) {
    struct tw_trace_reader *reader;
    struct tw_trace_entry entry;
    uint64_t entries = 0;
    enum tw_status status = tw_trace_reader_new(&reader, log_source, memory, error);
    must(status == TW_OK, "there is memory");
    while ((status = tw_trace_next(reader, &entry, error)) == TW_OK) {
        must(tw_trace_shape(entry.kind) != NULL, "the kind is known");
        must((entry.kind == TW_TRACE_HEADER) == (entries++ == 0), "the header is the first");
        trace_add(again, &entry);
    }
    tw_trace_reader_free(reader);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    log_target(read_all, input, size);
    return 0;
}
