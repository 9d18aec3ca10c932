/* Fuzz target of the order log's reader: see log_target.h. Here also: positions are 1, 2, 3, ...;
 * what a record points to is within limits. */
#include "tests/fuzz/log_target.h"

static enum tw_status read_all(struct log_memory *memory, struct tw_text *again,
                               struct tw_error *error) {
    struct tw_order_log_reader *reader;
    struct tw_record record;
    uint64_t position = 0;
    enum tw_status status = tw_order_log_reader_new(&reader, log_source, memory, error);
    must(status == TW_OK, "there is memory");
    while ((status = tw_order_log_next(reader, &record, error)) == TW_OK) {
        must(record.position == ++position, "positions are 1, 2, 3, ...");
        must(record.count <= TW_SLOTS_MAX, "contributions are within limits");
        must(record.kind != TW_RECORD_JOIN || strlen(record.numerics) <= TW_NUMERICS_MAX,
             "so is an id");
        must(strcmp(tw_record_name(record.kind), "?") != 0, "the kind is known");
        must(tw_order_log_offset(reader) <= memory->size, "it does not read more than there is");
        log_add(again, &record);
    }
    must(tw_order_log_position(reader) == position, "it knows how far it came");
    must(status != TW_CLOSED || tw_order_log_offset(reader) == memory->size, "the end is the end");
    tw_order_log_reader_free(reader);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    log_target(read_all, input, size);
    return 0;
}
