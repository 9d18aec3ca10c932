#include "proto/order_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flat.h"
#include "proto/order_log_pack.h"

/* Bytes are read ahead in one window, which holds any whole record. */
#define WINDOW (2 * TW_ORDER_LOG_RECORD_MAX)

struct tw_order_log_reader {
    struct tw_delimited file;
    struct tw_record_arena arena;
    unsigned char window[WINDOW];
};

void tw_record_name_slots(struct tw_record *record, uint32_t width, struct tw_contribution *room) {
    if (width == 1)
        return;
    if (record->slot != TW_SLOT_EVALUATOR)
        record->slot *= width;
    for (uint32_t i = 0; i < record->count; i++) {
        room[i] = record->contributions[i];
        room[i].slot *= width;
    }
    record->contributions = room;
}

size_t tw_record_scalar_count(const struct tw_record *record) {
    static const double zero;
    size_t count = record->scalar_count;
    while (count > 0 && memcmp(&record->scalars[count - 1], &zero, sizeof zero) == 0)
        count--;
    return count;
}

void tw_scalars_take(double *out, size_t room, const double *scalars, size_t count) {
    count = count < room ? count : room;
    if (count > 0)
        memcpy(out, scalars, count * sizeof *out);
    for (size_t i = count; i < room; i++)
        out[i] = 0;
}

const char *tw_record_name(enum tw_record_kind kind) {
    static const char *const names[] = {
        [TW_RECORD_JOIN] = "JOIN",
        [TW_RECORD_RELEASE] = "RELEASE",
        [TW_RECORD_COMMIT] = "COMMIT",
        [TW_RECORD_DROP] = "DROP",
        [TW_RECORD_REGATHER] = "REGATHER",
        [TW_RECORD_PERMIT] = "PERMIT",
        [TW_RECORD_DIAL] = "DIAL",
        [TW_RECORD_EVICT] = "EVICT",
        [TW_RECORD_VERDICT] = "VERDICT",
        [TW_RECORD_ROLLBACK] = "ROLLBACK",
        [TW_RECORD_CHECKPOINT] = "CHECKPOINT",
    };
    size_t number = (size_t)kind;
    return number < sizeof names / sizeof names[0] && names[number] ? names[number] : "?";
}

/* ---- writing ---- */

size_t tw_order_log_room(const struct tw_record *record) {
    return TW_VARINT_MAX + tw_record_message_room(record);
}

size_t tw_order_log_pack(const struct tw_record *record, unsigned char *out) {
    size_t size = tw_put_length(out, 0, 1 + tw_record_message_pack(record, out + 1));
    assert(size <= TW_ORDER_LOG_RECORD_MAX);
    return size;
}

/* ---- reading ---- */

enum tw_status tw_order_log_reader_new(struct tw_order_log_reader **out, tw_byte_source *source,
                                       void *context, struct tw_error *error) {
    struct tw_order_log_reader *reader = malloc(sizeof *reader);
    *out = reader;
    if (reader == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "no memory to read an order log");
    reader->file = (struct tw_delimited){.source = source,
                                         .context = context,
                                         .article = "a",
                                         .noun = "record",
                                         .longest = TW_ORDER_LOG_RECORD_MAX,
                                         .window = reader->window,
                                         .room = WINDOW};
    return TW_OK;
}

void tw_order_log_reader_free(struct tw_order_log_reader *reader) {
    free(reader);
}

uint64_t tw_order_log_offset(const struct tw_order_log_reader *reader) {
    return reader->file.offset;
}
uint64_t tw_order_log_position(const struct tw_order_log_reader *reader) {
    return reader->file.count;
}

struct parsing {
    struct tw_order_log_reader *reader;
    struct tw_record *record;
};

static enum tw_status parse(void *context, const unsigned char *bytes, size_t size,
                            struct tw_error *error) {
    const struct parsing *parsing = context;
    enum tw_status status =
        tw_record_message_unpack(&parsing->reader->arena, bytes, size, parsing->record, error);
    if (status == TW_OK && parsing->record->position != parsing->reader->file.count + 1)
        return tw_error_set(error, TW_DATA, "the next record has position %llu",
                            (unsigned long long)parsing->record->position);
    return status;
}

enum tw_status tw_order_log_next(struct tw_order_log_reader *reader, struct tw_record *record,
                                 struct tw_error *error) {
    struct parsing parsing = {.reader = reader, .record = record};
    return tw_delimited_next(&reader->file, parse, &parsing, error);
}
