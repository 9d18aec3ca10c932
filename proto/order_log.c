#include "proto/order_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/order_log_pack.h"
#include "proto/varint.h"

/* Bytes are read ahead in one window, which holds any whole record. */
#define WINDOW (2 * TW_ORDER_LOG_RECORD_MAX)

struct tw_order_log_reader {
    tw_order_log_source *source;
    void *context;
    uint64_t offset, position; /* of the records so far */
    size_t at, filled;         /* of the window: what is not yet taken */
    bool ended;                /* the source has nothing more */
    struct tw_error final;     /* the result that stays; TW_OK: none yet */
    struct tw_record_arena arena;
    unsigned char window[WINDOW];
};

const char *tw_record_name(enum tw_record_kind kind) {
    static const char *const names[] = {
        [TW_RECORD_JOIN] = "JOIN", [TW_RECORD_RELEASE] = "RELEASE",   [TW_RECORD_COMMIT] = "COMMIT",
        [TW_RECORD_DROP] = "DROP", [TW_RECORD_REGATHER] = "REGATHER",
    };
    size_t number = (size_t)kind;
    return number < sizeof names / sizeof names[0] && names[number] ? names[number] : "?";
}

/* ---- writing ---- */

size_t tw_order_log_bytes(const struct tw_record *record) {
    size_t size = tw_record_message_bytes(record);
    assert(size <= TW_ORDER_LOG_RECORD_MAX - TW_VARINT_MAX);
    return tw_varint_bytes(size) + size;
}

size_t tw_order_log_pack(const struct tw_record *record, unsigned char *out) {
    size_t at = tw_varint_put(out, tw_record_message_bytes(record));
    return at + tw_record_message_pack(record, out + at);
}

/* ---- reading ---- */

enum tw_status tw_order_log_reader_new(struct tw_order_log_reader **out,
                                       tw_order_log_source *source, void *context,
                                       struct tw_error *error) {
    struct tw_order_log_reader *reader = malloc(sizeof *reader);
    *out = reader;
    if (reader == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "no memory to read an order log");
    memset(reader, 0, offsetof(struct tw_order_log_reader, arena));
    reader->source = source;
    reader->context = context;
    return TW_OK;
}

void tw_order_log_reader_free(struct tw_order_log_reader *reader) {
    free(reader);
}

uint64_t tw_order_log_offset(const struct tw_order_log_reader *reader) {
    return reader->offset;
}
uint64_t tw_order_log_position(const struct tw_order_log_reader *reader) {
    return reader->position;
}

/* Puts "at byte 1234, after record 56: " before what is wrong. */
static enum tw_status place_error(const struct tw_order_log_reader *reader,
                                  struct tw_error *error) {
    return tw_error_wrap(error, "at byte %llu, after record %llu",
                         (unsigned long long)reader->offset, (unsigned long long)reader->position);
}

/* Tries to have `wanted` bytes in one piece; fewer only at the end of the file. */
static enum tw_status fill(struct tw_order_log_reader *reader, size_t wanted,
                           struct tw_error *error) {
    if (reader->filled - reader->at >= wanted || reader->ended)
        return TW_OK;
    memmove(reader->window, reader->window + reader->at, reader->filled - reader->at);
    reader->filled -= reader->at;
    reader->at = 0;
    while (reader->filled < wanted && !reader->ended) {
        ptrdiff_t count = reader->source(reader->context, reader->window + reader->filled,
                                         WINDOW - reader->filled, error);
        if (count < 0)
            return error->status;
        reader->ended = count == 0;
        reader->filled += (size_t)count;
    }
    return TW_OK;
}

/* The length in front of the next record; TW_CLOSED when there is none. */
static enum tw_status read_length(struct tw_order_log_reader *reader, size_t *head, size_t *size,
                                  struct tw_error *error) {
    enum tw_status status = fill(reader, TW_VARINT_MAX, error);
    size_t left = reader->filled - reader->at;
    uint64_t length = 0;
    if (status != TW_OK)
        return status;
    if (left == 0)
        return error->status = TW_CLOSED;
    int bytes = tw_varint_get(reader->window + reader->at, left, TW_VARINT_MAX, &length);
    if (bytes == TW_VARINT_SHORT)
        return tw_error_set(error, TW_DATA, "cut in the length of a record");
    if (bytes < 0)
        return tw_error_set(error, TW_DATA, "corrupt: this is not the length of a record");
    *head = (size_t)bytes;
    if (length == 0 || length > TW_ORDER_LOG_RECORD_MAX - *head)
        return tw_error_set(error, TW_DATA,
                            "corrupt: a record of %llu bytes; there is none of more than %u",
                            (unsigned long long)length, TW_ORDER_LOG_RECORD_MAX);
    *size = (size_t)length;
    return TW_OK;
}

static enum tw_status read_record(struct tw_order_log_reader *reader, struct tw_record *record,
                                  struct tw_error *error) {
    size_t head = 0, size = 0;
    enum tw_status status = read_length(reader, &head, &size, error);
    if (status == TW_OK)
        status = fill(reader, head + size, error);
    if (status != TW_OK)
        return status;
    size_t left = reader->filled - reader->at - head;
    if (left < size)
        return tw_error_set(error, TW_DATA, "cut: %zu bytes of a record of %zu are there", left,
                            size);
    status = tw_record_message_unpack(&reader->arena, reader->window + reader->at + head, size,
                                      record, error);
    if (status != TW_OK)
        return tw_error_wrap(error, "corrupt");
    if (record->position != reader->position + 1)
        return tw_error_set(error, TW_DATA, "corrupt: the next record has position %llu",
                            (unsigned long long)record->position);
    reader->at += head + size;
    reader->offset += head + size;
    reader->position = record->position;
    return TW_OK;
}

enum tw_status tw_order_log_next(struct tw_order_log_reader *reader, struct tw_record *record,
                                 struct tw_error *error) {
    struct tw_error *final = &reader->final;
    if (final->status == TW_OK) {
        struct tw_error here = {.status = TW_OK};
        enum tw_status status = read_record(reader, record, &here);
        if (status == TW_OK)
            return TW_OK;
        *final = here;
        if (status == TW_DATA)
            place_error(reader, final);
    }
    if (error)
        *error = *final;
    return final->status;
}
