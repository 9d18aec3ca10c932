/* Messages, packed without the detours of protobuf-c: straight from C values, field by field. And
 * unpacked so, where they are made of single numbers: what every push and its answer consist of.
 * Private to proto/.
 *
 * Same bytes and same values as protobuf-c.
 */
#ifndef TW_PROTO_FLAT_H
#define TW_PROTO_FLAT_H

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "proto/varint.h"

/* ---- packing, field by field ---- */

/* All of these write one field at `at` bytes behind `out`, and return the bytes until then with it.
 * With `out` NULL they only count. Zeros and what is empty are not written, as in any proto3
 * message. */

enum { TW_WIRE_VARINT = 0, TW_WIRE_FIXED64 = 1, TW_WIRE_BYTES = 2 };

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers lie in memory as they travel");

static inline size_t tw_put_varint(unsigned char *out, size_t at, uint64_t value) {
    return out != NULL ? tw_varint_add(out, at, value) : at + tw_varint_bytes(value);
}

static inline size_t tw_put_key(unsigned char *out, size_t at, unsigned number, unsigned wire) {
    return tw_put_varint(out, at, (uint64_t)number << 3 | wire);
}

static inline size_t tw_put_number(unsigned char *out, size_t at, unsigned number, uint64_t value) {
    return value == 0 ? at : tw_put_varint(out, tw_put_key(out, at, number, TW_WIRE_VARINT), value);
}

/* Eight bytes as they are. */
static inline size_t tw_put_fixed(unsigned char *out, size_t at, unsigned number, uint64_t bits) {
    if (bits == 0)
        return at;
    at = tw_put_key(out, at, number, TW_WIRE_FIXED64);
    if (out != NULL)
        memcpy(out + at, &bits, sizeof bits);
    return at + sizeof bits;
}

/* -0 is a zero, too. */
static inline size_t tw_put_real(unsigned char *out, size_t at, unsigned number, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits << 1 == 0 ? at : tw_put_fixed(out, at, number, bits);
}

/* What stands before a value of so many bytes, also before an empty one. */
static inline size_t tw_put_head(unsigned char *out, size_t at, unsigned number, size_t size) {
    return tw_put_varint(out, tw_put_key(out, at, number, TW_WIRE_BYTES), size);
}

/* The length of what stands from at + 1 to `end`, as soon as that is known. Nearly always it is one
 * byte; what is longer is moved on. Returns where it ends. */
static inline size_t tw_put_length(unsigned char *out, size_t at, size_t end) {
    size_t size = end - at - 1;
    if (size >= 0x80)
        memmove(out + at + tw_varint_bytes(size), out + at + 1, size);
    return tw_varint_add(out, at, size) + size;
}

static inline size_t tw_put_bytes(unsigned char *out, size_t at, unsigned number, const void *bytes,
                                  size_t size) {
    if (size == 0)
        return at;
    at = tw_put_head(out, at, number, size);
    if (out != NULL)
        memcpy(out + at, bytes, size);
    return at + size;
}

/* Text ends at `room`, or with a zero before. */
static inline size_t tw_put_text(unsigned char *out, size_t at, unsigned number, const char *text,
                                 size_t room) {
    return tw_put_bytes(out, at, number, text, text != NULL ? strnlen(text, room) : 0);
}

/* A list, packed. */
size_t tw_put_numbers(unsigned char *out, size_t at, unsigned number, const uint64_t *list,
                      size_t count);
size_t tw_put_reals(unsigned char *out, size_t at, unsigned number, const double *list,
                    size_t count);

/* ---- structs that a table describes ---- */

enum tw_flat_kind {
    TW_FLAT_U32, /* uint32_t, or an enumeration of its size */
    TW_FLAT_U64,
    TW_FLAT_REAL,  /* double */
    TW_FLAT_FLAG,  /* bool */
    TW_FLAT_BYTES, /* struct tw_view */
    TW_FLAT_TEXT,  /* struct tw_view */
};

struct tw_flat_field {
    uint16_t head; /* its key as it travels: one byte, or two, of which the second is << 8 */
    uint16_t number;
    uint8_t kind;
    uint16_t offset; /* in our struct */
    uint16_t wire;   /* in the struct that protobuf-c generates, for who asks it */
};

#define TW_FLAT_FIELD(number, kind, offset, wire)                                                  \
    { TW_FLAT_HEAD(TW_FLAT_KEY(number, kind)), number, kind, offset, wire }
#define TW_FLAT_HEAD(key) ((key) < 0x80 ? (key) : ((key)&0x7f) | 0x80 | (key) >> 7 << 8)
#define TW_FLAT_KEY(number, kind)                                                                  \
    ((number) << 3 | ((kind) == TW_FLAT_REAL    ? TW_WIRE_FIXED64                                  \
                      : (kind) >= TW_FLAT_BYTES ? TW_WIRE_BYTES                                    \
                                                : TW_WIRE_VARINT))

/* The fields of `from`, in the order of the table; texts are cut to `text_max` bytes. */
size_t tw_flat_pack(const struct tw_flat_field *field, size_t count, const void *from,
                    size_t text_max, unsigned char *out, size_t at);

/* Reads the fields of a message into `to`; those that it does not have are left as they are.
 * Returns how many of its bytes it got through: at the first field that is no plain number of the
 * table (bytes, twice, out of order, unknown, or not of its type) it stops. */
size_t tw_flat_unpack(const struct tw_flat_field *field, size_t count, const unsigned char *bytes,
                      size_t size, void *to);

#endif
