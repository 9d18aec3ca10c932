/* Base-128 varints, as protobuf defines them. Private to proto/. */
#ifndef TW_PROTO_VARINT_H
#define TW_PROTO_VARINT_H

#include <stddef.h>
#include <stdint.h>

#define TW_VARINT_MAX 10 /* bytes of a 64-bit value */

/* Seven bits to a byte; of 0 there is one, too. 9/64 are as good as 1/7 up to 64 bits. */
static inline size_t tw_varint_bytes(uint64_t value) {
    unsigned highest = 63 ^ (unsigned)__builtin_clzll(value | 1); /* the number of that bit */
    return (highest * 9 + 73) / 64;
}

/* Writes tw_varint_bytes(value) bytes from out[at] on; returns where they end. */
static inline size_t tw_varint_add(unsigned char *out, size_t at, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        out[at++] = (unsigned char)(value | 0x80);
    }
    out[at++] = (unsigned char)value;
    return at;
}

/* Writes them at `out`, and returns how many. */
static inline size_t tw_varint_put(unsigned char *out, uint64_t value) {
    return tw_varint_add(out, 0, value);
}

enum tw_varint_result { TW_VARINT_SHORT = 0, TW_VARINT_OVERLONG = -1 };

/* Reads one varint of at most `longest` bytes from [at, at + size). Returns the
 * bytes it took; TW_VARINT_SHORT when it goes on behind the end;
 * TW_VARINT_OVERLONG when it is longer than `longest` or than 64 bits. */
static inline int tw_varint_get(const unsigned char *at, size_t size, int longest,
                                uint64_t *value) {
    if (size > 0 && at[0] < 0x80) { /* most are */
        *value = at[0];
        return 1;
    }
    if (size > 1 && longest > 1 && at[1] < 0x80) { /* most others */
        *value = (at[0] & 0x7fu) | (uint64_t)at[1] << 7;
        return 2;
    }
    int most = size < (size_t)longest ? (int)size : longest;
    uint64_t sum = 0;
    for (int i = 0; i < most; i++) {
        sum |= (uint64_t)(at[i] & 0x7f) << (7 * i);
        if (at[i] >= 0x80)
            continue;
        if (i == TW_VARINT_MAX - 1 && at[i] > 1)
            return TW_VARINT_OVERLONG;
        *value = sum;
        return i + 1;
    }
    return most < longest ? TW_VARINT_SHORT : TW_VARINT_OVERLONG;
}

#endif
