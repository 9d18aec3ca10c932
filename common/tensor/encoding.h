/* Encodings: how a chunk of float32 values is written on the wire.
 *
 * Servers and workers compute in float32; what travels between them may be shorter. The job
 * says which encoding gradients have on their way up (push) and weights on their way down
 * (pull); the handshake settles it (docs/protocol.md, "Encodings"). Used by both ends, and by
 * replay, which must round as they did.
 *
 * An encoding works on whole chunks, which are whole blocks but for the end of a tensor, and
 * its bytes for a chunk are a function of their number alone. One that looks at several values
 * at once must not look beyond a block, so that nothing depends on the size of chunks.
 *
 * Numbers travel, and stand for ever. Adding one: a file with its functions, a line in
 * encoding.c, a number here.
 *
 * Both directions are exact functions of the bits, the same on every instruction set
 * (clones.h), and whether the CPU flushes denormals or not:
 *   - to nearest, ties to even; beyond the largest value by half a step or more: infinity;
 *   - subnormal results are right; the sign of zero stays;
 *   - NaN stays NaN, with its sign and the upper bits of its payload, and becomes a quiet one.
 *
 * | name | bytes of a value | exponent | digits | largest | smallest normal, smallest |
 * |------|--|----|----|---------|----------------------|
 * | f32  | 4 | 8 | 24 | 3.4e38  | 1.2e-38, 1.4e-45     |
 * | bf16 | 2 | 8 |  8 | 3.39e38 | 1.2e-38, 9.2e-41     |
 * | f16  | 2 | 5 | 11 | 65504   | 6.1e-5, 6.0e-8       |
 */
#ifndef TW_TENSOR_ENCODING_H
#define TW_TENSOR_ENCODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tw_encoding_number {
    TW_ENCODING_F32 = 0,
    TW_ENCODING_BF16 = 1,
    TW_ENCODING_F16 = 2,
    TW_ENCODINGS,
};

struct tw_encoding {
    const char *name; /* as in a job file */
    const char *help;
    /* Of `count` values; never more than float32 takes. Those of the parts of a tensor, cut at
     * borders of blocks, add up to those of the whole. */
    size_t (*bytes)(size_t count);
    /* NULL, both: the values as they are in memory; whoever sends them copies nothing. */
    void (*encode)(void *out, const float *in, size_t count);
    /* `in` is anywhere outside of `out`, or it is the end of it: so a chunk can be received
     * into the last bytes of the place that it will have, and decoded there. */
    void (*decode)(float *out, const void *in, size_t count);
};

extern const struct tw_encoding tw_encodings[TW_ENCODINGS];

/* All of them as a set: bit n stands for number n. */
#define TW_ENCODINGS_ALL ((1u << TW_ENCODINGS) - 1)

/* Bytes on the wire of `count` values. */
static inline size_t tw_encoding_bytes(uint32_t encoding, size_t count) {
    return tw_encodings[encoding].bytes(count);
}

/* Where the bytes of a chunk are to be received, so that tw_encoding_settle() makes it the
 * `count` values at `values`: the end of that array. */
void *tw_encoding_place(uint32_t encoding, float *values, size_t count);

/* The bytes are there: they become values. */
void tw_encoding_settle(uint32_t encoding, float *values, size_t count);

/* What arrives when `in`, which begins at a border of blocks, was sent: encoded and decoded.
 * `out` may be `in`. */
void tw_encoding_round(uint32_t encoding, float *out, const float *in, size_t count);

/* encoding_bf16.c, encoding_f16.c */
void tw_bf16_encode(void *out, const float *in, size_t count);
void tw_bf16_decode(float *out, const void *in, size_t count);
void tw_f16_encode(void *out, const float *in, size_t count);
void tw_f16_decode(float *out, const void *in, size_t count);

#endif
