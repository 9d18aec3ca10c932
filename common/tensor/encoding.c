#include "common/tensor/encoding.h"

#include <string.h>

#include "common/base/limits.h"

static size_t four_bytes(size_t count) {
    return 4 * count;
}

static size_t two_bytes(size_t count) {
    return 2 * count;
}

const struct tw_encoding tw_encodings[TW_ENCODINGS] = {
    [TW_ENCODING_F32] = {"f32", "float32, as it is computed", four_bytes, NULL, NULL},
    [TW_ENCODING_BF16] = {"bf16", "half the bytes: the range of float32, 8 binary digits",
                          two_bytes, tw_bf16_encode, tw_bf16_decode},
    [TW_ENCODING_F16] = {"f16", "half the bytes: up to 65504, 11 binary digits", two_bytes,
                         tw_f16_encode, tw_f16_decode},
};

void *tw_encoding_place(uint32_t encoding, float *values, size_t count) {
    return (unsigned char *)(values + count) - tw_encoding_bytes(encoding, count);
}

void tw_encoding_settle(uint32_t encoding, float *values, size_t count) {
    if (tw_encodings[encoding].decode)
        tw_encodings[encoding].decode(values, tw_encoding_place(encoding, values, count), count);
}

void tw_encoding_round(uint32_t encoding, float *out, const float *in, size_t count) {
    unsigned char bytes[TW_BLOCK_BYTES];
    const struct tw_encoding *of = &tw_encodings[encoding];
    if (!of->encode) {
        if (out != in)
            memcpy(out, in, count * sizeof(float));
        return;
    }
    for (size_t first = 0; first < count; first += TW_BLOCK_FLOATS) {
        size_t here = count - first < TW_BLOCK_FLOATS ? count - first : TW_BLOCK_FLOATS;
        of->encode(bytes, in + first, here);
        of->decode(out + first, bytes, here);
    }
}
