#include "proto/flat.h"

#include "proto/frame.h"

/* ---- packing ---- */

size_t tw_put_numbers(unsigned char *out, size_t at, unsigned number, const uint64_t *list,
                      size_t count) {
    size_t size = 0;
    if (count == 0)
        return at;
    for (size_t i = 0; i < count; i++)
        size += tw_varint_bytes(list[i]);
    at = tw_put_head(out, at, number, size);
    for (size_t i = 0; i < count; i++)
        at = tw_put_varint(out, at, list[i]);
    return at;
}

size_t tw_put_reals(unsigned char *out, size_t at, unsigned number, const double *list,
                    size_t count) {
    return tw_put_bytes(out, at, number, list, count * sizeof *list);
}

static size_t put_head(const struct tw_flat_field *field, unsigned char *out, size_t at) {
    size_t bytes = field->head < 0x100 ? 1 : 2;
    if (out != NULL) {
        out[at] = (unsigned char)field->head;
        if (bytes > 1)
            out[at + 1] = (unsigned char)(field->head >> 8);
    }
    return at + bytes;
}

/* What is no plain number. */
static size_t put_other(const struct tw_flat_field *field, const void *value, size_t text_max,
                        unsigned char *out, size_t at) {
    const struct tw_view *view = value;
    unsigned number = field->number;
    if (field->kind == TW_FLAT_REAL)
        return tw_put_real(out, at, number, *(const double *)value);
    if (field->kind == TW_FLAT_BYTES)
        return tw_put_bytes(out, at, number, view->bytes, view->size);
    return tw_put_text(out, at, number, view->bytes, view->size < text_max ? view->size : text_max);
}

size_t tw_flat_pack(const struct tw_flat_field *field, size_t count, const void *from,
                    size_t text_max, unsigned char *out, size_t at) {
    for (const struct tw_flat_field *end = field + count; field < end; field++) {
        const void *value = (const char *)from + field->offset;
        uint64_t number = 0;
        if (field->kind == TW_FLAT_U32)
            number = *(const uint32_t *)value;
        else if (field->kind == TW_FLAT_U64)
            number = *(const uint64_t *)value;
        else if (field->kind == TW_FLAT_FLAG)
            number = *(const bool *)value;
        else
            at = put_other(field, value, text_max, out, at);
        if (number != 0)
            at = tw_put_varint(out, put_head(field, out, at), number);
    }
    return at;
}

/* ---- unpacking ---- */

static size_t get_real(const unsigned char *bytes, size_t size, double *to) {
    if (size < sizeof *to)
        return 0;
    memcpy(to, bytes, sizeof *to);
    return sizeof *to;
}

/* Returns the bytes that were read; 0: they are no such number. */
static size_t get_number(enum tw_flat_kind kind, const unsigned char *bytes, size_t size,
                         void *to) {
    uint64_t value;
    if (kind == TW_FLAT_REAL)
        return get_real(bytes, size, to);
    int used = tw_varint_get(bytes, size, TW_VARINT_MAX, &value);
    if (used <= 0)
        return 0;
    if (kind == TW_FLAT_U64)
        *(uint64_t *)to = value;
    else if (kind == TW_FLAT_U32 && value <= UINT32_MAX)
        *(uint32_t *)to = (uint32_t)value;
    else if (kind == TW_FLAT_FLAG && value <= 1)
        *(bool *)to = value != 0;
    else
        return 0;
    return (size_t)used;
}

/* The bytes of this field's key; 0: it does not stand here, or is longer than it need be. */
static size_t head_bytes(const struct tw_flat_field *field, const unsigned char *bytes,
                         size_t size) {
    if (bytes[0] != (field->head & 0xff))
        return 0;
    if (field->head < 0x100)
        return 1;
    return size > 1 && bytes[1] == field->head >> 8 ? 2 : 0;
}

size_t tw_flat_unpack(const struct tw_flat_field *field, size_t count, const unsigned char *bytes,
                      size_t size, void *to) {
    const struct tw_flat_field *end = field + count;
    size_t at = 0;
    for (; field < end && at < size; field++) { /* they come in the order of the table */
        size_t head = head_bytes(field, bytes + at, size - at);
        if (head == 0)
            continue;
        size_t first = at + head;
        size_t taken = get_number((enum tw_flat_kind)field->kind, bytes + first, size - first,
                                  (char *)to + field->offset);
        if (taken == 0)
            break;
        at = first + taken;
    }
    return at;
}
