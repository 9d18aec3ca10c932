/* Sixteen samples side by side: the layout in which convolutions compute.
 *
 * A tw_lanes holds one and the same element of 16 samples. On images in this layout every
 * operation is done to 16 numbers at once, whatever the size of image and kernel; a sample
 * never meets another, so its bits do not depend on its neighbours. Samples that a group
 * lacks are zeros. The compiler makes of it what the CPU has: one AVX-512 register, two of
 * AVX2, four of SSE.
 *
 * Only pointers to tw_lanes are passed: a vector by value has another convention for each
 * instruction set.
 */
#ifndef TW_NN_LANES_H
#define TW_NN_LANES_H

#include <stddef.h>
#include <stdint.h>

#include "worker/nn/real.h"

enum { TW_LANES = 16 };

typedef tw_real tw_lanes __attribute__((vector_size(TW_LANES * sizeof(tw_real)), aligned(64)));

/* to[i] gets element i, for i < count, of samples 0 to samples - 1 (1 to TW_LANES), which
 * begin `distance` elements apart. */
void tw_lanes_pack(const tw_real *from, size_t distance, int samples, size_t count, tw_lanes *to);

/* The way back; lanes without a sample are left out. */
void tw_lanes_unpack(const tw_lanes *from, tw_real *to, size_t distance, int samples, size_t count);

/* The sum of 16 lanes, by a tree: neighbours in distance 8, 4, 2, 1. */
static inline tw_real tw_lanes_sum(const tw_lanes *lanes) {
    tw_real sum[TW_LANES];
    for (int i = 0; i < TW_LANES; i++)
        sum[i] = (*lanes)[i];
    for (int half = TW_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            sum[i] += sum[i + half];
    return sum[0];
}

#endif
