#include "proto/delimited.h"

#include <string.h>

#include "proto/varint.h"

/* Puts "at byte 1234, after record 56: " before what is wrong. */
static enum tw_status place_error(const struct tw_delimited *reader, struct tw_error *error) {
    return tw_error_wrap(error, "at byte %llu, after %s %llu", (unsigned long long)reader->offset,
                         reader->noun, (unsigned long long)reader->count);
}

/* Tries to have `wanted` bytes in one piece; fewer only at the end of the file. */
static enum tw_status fill(struct tw_delimited *reader, size_t wanted, struct tw_error *error) {
    if (reader->filled - reader->at >= wanted || reader->ended)
        return TW_OK;
    memmove(reader->window, reader->window + reader->at, reader->filled - reader->at);
    reader->filled -= reader->at;
    reader->at = 0;
    while (reader->filled < wanted && !reader->ended) {
        ptrdiff_t count = reader->source(reader->context, reader->window + reader->filled,
                                         reader->room - reader->filled, error);
        if (count < 0)
            return error->status;
        reader->ended = count == 0;
        reader->filled += (size_t)count;
    }
    return TW_OK;
}

/* The length in front of the next message; TW_CLOSED when there is none. */
static enum tw_status read_length(struct tw_delimited *reader, size_t *head, size_t *size,
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
        return tw_error_set(error, TW_DATA, "cut in the length of %s %s", reader->article,
                            reader->noun);
    if (bytes < 0)
        return tw_error_set(error, TW_DATA, "corrupt: this is not the length of %s %s",
                            reader->article, reader->noun);
    *head = (size_t)bytes;
    if (length == 0 || length > reader->longest - *head)
        return tw_error_set(
            error, TW_DATA, "corrupt: %s %s of %llu bytes; there is none of more than %zu",
            reader->article, reader->noun, (unsigned long long)length, reader->longest);
    *size = (size_t)length;
    return TW_OK;
}

static enum tw_status take(struct tw_delimited *reader, tw_message_parser *parse, void *context,
                           struct tw_error *error) {
    size_t head = 0, size = 0;
    enum tw_status status = read_length(reader, &head, &size, error);
    if (status == TW_OK)
        status = fill(reader, head + size, error);
    if (status != TW_OK)
        return status;
    size_t left = reader->filled - reader->at - head;
    if (left < size)
        return tw_error_set(error, TW_DATA, "cut: %zu bytes of %s %s of %zu are there", left,
                            reader->article, reader->noun, size);
    status = parse(context, reader->window + reader->at + head, size, error);
    if (status != TW_OK)
        return status == TW_DATA ? tw_error_wrap(error, "corrupt") : status;
    reader->at += head + size;
    reader->offset += head + size;
    reader->count++;
    return TW_OK;
}

enum tw_status tw_delimited_next(struct tw_delimited *reader, tw_message_parser *parse,
                                 void *context, struct tw_error *error) {
    struct tw_error *final = &reader->final;
    if (final->status == TW_OK) {
        struct tw_error here = {.status = TW_OK};
        enum tw_status status = take(reader, parse, context, &here);
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
