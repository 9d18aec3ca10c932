/* f16: binary16 of IEEE 754. Normal values are rounded as integers. Subnormal ones are
 * rounded by an addition of floats (Giesen, "float->half variants"): 0.5 has its last digit
 * where theirs is. Neither an operand nor the result that counts is a denormal float, so that
 * flushing them changes nothing: those of float32 are far below half of the smallest f16. */
#include <string.h>

#include "common/tensor/clones.h"
#include "common/tensor/encoding.h"

#define PIECE 256

#define EXPONENT(e) ((uint32_t)(e) << 23) /* of float32 */
#define BIAS_CHANGE (127 - 15)

static inline __attribute__((always_inline)) float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline __attribute__((always_inline)) uint32_t as_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

TW_CLONES void tw_f16_encode(void *out, const float *in, size_t count) {
    uint16_t *to = out;
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = as_bits(in[i]);
        uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
        /* One that rounds up beyond the largest becomes infinity by itself. */
        uint32_t normal = (size - EXPONENT(BIAS_CHANGE) + 0xfff + (size >> 13 & 1)) >> 13;
        uint32_t small = as_bits(as_float(size) + 0.5F) - as_bits(0.5F);
        uint32_t special = size > EXPONENT(255) ? 0x7e00 | (size >> 13 & 0x3ff) : 0x7c00;
        uint32_t rounded = size < EXPONENT(BIAS_CHANGE + 1) ? small : normal;
        to[i] = (uint16_t)(sign | (size >= EXPONENT(BIAS_CHANGE + 31) ? special : rounded));
    }
}

TW_CLONES void tw_f16_decode(float *out, const void *in, size_t count) {
    uint16_t piece[PIECE]; /* read before it is written over */
    for (size_t first = 0; first < count; first += PIECE) {
        size_t here = count - first < PIECE ? count - first : PIECE;
        memcpy(piece, (const unsigned char *)in + first * sizeof *piece, here * sizeof *piece);
        for (size_t i = 0; i < here; i++) {
            uint32_t sign = (uint32_t)(piece[i] & 0x8000) << 16;
            uint32_t size = (uint32_t)(piece[i] & 0x7fff) << 13;
            uint32_t exponent = size & EXPONENT(31);
            uint32_t normal = size + EXPONENT(BIAS_CHANGE);
            uint32_t special = normal + EXPONENT(BIAS_CHANGE);
            uint32_t one_up = normal + EXPONENT(1);
            uint32_t small = as_bits(as_float(one_up) - as_float(EXPONENT(BIAS_CHANGE + 1)));
            uint32_t value = exponent == 0 ? small : exponent == EXPONENT(31) ? special : normal;
            value |= sign;
            memcpy(&out[first + i], &value, sizeof value);
        }
    }
}
