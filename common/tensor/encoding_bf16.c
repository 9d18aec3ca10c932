/* bf16: the upper half of a float32, rounded. Only integers are touched, so nothing depends
 * on how the CPU treats denormals. */
#include <string.h>

#include "common/tensor/clones.h"
#include "common/tensor/encoding.h"

#define PIECE 256

TW_CLONES void tw_bf16_encode(void *out, const float *in, size_t count) {
    uint16_t *to = out;
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &in[i], sizeof bits);
        uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        uint32_t quiet = bits >> 16 | 0x40;
        to[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
    }
}

TW_CLONES void tw_bf16_decode(float *out, const void *in, size_t count) {
    uint16_t piece[PIECE]; /* read before it is written over */
    for (size_t first = 0; first < count; first += PIECE) {
        size_t here = count - first < PIECE ? count - first : PIECE;
        memcpy(piece, (const unsigned char *)in + first * sizeof *piece, here * sizeof *piece);
        for (size_t i = 0; i < here; i++) {
            uint32_t bits = (uint32_t)piece[i] << 16;
            memcpy(&out[first + i], &bits, sizeof bits);
        }
    }
}
