/* Sums stay in registers, a block of them at a time: BLOCK outputs times BLOCK places, or times
 * BLOCK taps. A block of four by four reads 8 numbers for 16 products. What is left over at the
 * edges is done in blocks of 2 and 1. */
#include "worker/nn/correlate.h"

#include "common/tensor/clones.h"

#define BLOCK 4
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 4")

/* The size of the block that begins at `at`: 4, 2 or 1. */
INLINE int block_at(int at, int end) {
    return end - at >= 4 ? 4 : end - at >= 2 ? 2 : 1;
}

size_t tw_correlate_order(int outs, int count, int o, int t) {
    int first = o - o % BLOCK, size = block_at(first, outs);
    while (o >= first + size) {
        first += size;
        size = block_at(first, outs);
    }
    return (size_t)first * (size_t)count + (size_t)t * (size_t)size + (size_t)(o - first);
}

/* `outs` outputs at `wide` places of a row. */
INLINE void sum_block(const struct tw_taps *taps, const struct tw_grid *grid, int first,
                      const tw_lanes *near, tw_lanes *far, const int outs, const int wide) {
    const tw_real *weight = taps->weight + (size_t)first * (size_t)taps->count;
    const ptrdiff_t step = grid->near_step;
    tw_lanes sum[BLOCK][BLOCK];
    UNROLL
    for (int o = 0; o < outs; o++) {
        UNROLL
        for (int x = 0; x < wide; x++)
            sum[o][x] = (tw_lanes){0} + (taps->start == NULL ? 0 : taps->start[first + o]);
    }
    for (int t = 0; t < taps->count; t++, weight += outs) {
        const tw_lanes *in = near + taps->offset[t];
        UNROLL
        for (int o = 0; o < outs; o++) {
            UNROLL
            for (int x = 0; x < wide; x++)
                sum[o][x] += in[x * step] * weight[o];
        }
    }
    UNROLL
    for (int o = 0; o < outs; o++) {
        UNROLL
        for (int x = 0; x < wide; x++)
            far[(first + o) * grid->far_plane + x * grid->far_step] = sum[o][x];
    }
}

INLINE void sum_rows(const struct tw_taps *taps, const struct tw_grid *grid, int first,
                     const tw_lanes *near, tw_lanes *far, const int outs) {
    for (int y = 0; y < grid->height; y++) {
        const tw_lanes *in = near + y * grid->near_row;
        tw_lanes *out = far + y * grid->far_row;
        int x = 0;
        for (; x + 4 <= grid->width; x += 4)
            sum_block(taps, grid, first, in + x * grid->near_step, out + x * grid->far_step, outs,
                      4);
        if (x + 2 <= grid->width) {
            sum_block(taps, grid, first, in + x * grid->near_step, out + x * grid->far_step, outs,
                      2);
            x += 2;
        }
        if (x < grid->width)
            sum_block(taps, grid, first, in + x * grid->near_step, out + x * grid->far_step, outs,
                      1);
    }
}

TW_CLONES void tw_correlate(const struct tw_taps *taps, const struct tw_grid *grid,
                            const tw_lanes *near, tw_lanes *far) {
    for (int first = 0, outs; first < taps->outs; first += outs) {
        outs = block_at(first, taps->outs);
        if (outs == 4)
            sum_rows(taps, grid, first, near, far, 4);
        else if (outs == 2)
            sum_rows(taps, grid, first, near, far, 2);
        else
            sum_rows(taps, grid, first, near, far, 1);
    }
}

/* `outs` outputs by `some` taps, over all places. */
INLINE void slope_block(const struct tw_taps *taps, const struct tw_grid *grid, int first, int tap,
                        const tw_lanes *near, const tw_lanes *far, tw_lanes *into, const int outs,
                        const int some) {
    tw_lanes sum[BLOCK][BLOCK];
    const tw_lanes *in[BLOCK], *out[BLOCK];
    UNROLL
    for (int t = 0; t < some; t++)
        in[t] = near + taps->offset[tap + t];
    UNROLL
    for (int o = 0; o < outs; o++) {
        out[o] = far + (first + o) * grid->far_plane;
        UNROLL
        for (int t = 0; t < some; t++)
            sum[o][t] = into[(first + o) * (ptrdiff_t)taps->count + tap + t];
    }
    for (int y = 0; y < grid->height; y++)
        for (int x = 0; x < grid->width; x++) {
            const ptrdiff_t here = y * grid->near_row + x * grid->near_step;
            const ptrdiff_t there = y * grid->far_row + x * grid->far_step;
            UNROLL
            for (int o = 0; o < outs; o++) {
                UNROLL
                for (int t = 0; t < some; t++)
                    sum[o][t] += in[t][here] * out[o][there];
            }
        }
    UNROLL
    for (int o = 0; o < outs; o++) {
        UNROLL
        for (int t = 0; t < some; t++)
            into[(first + o) * (ptrdiff_t)taps->count + tap + t] = sum[o][t];
    }
}

INLINE void slope_taps(const struct tw_taps *taps, const struct tw_grid *grid, int first,
                       const tw_lanes *near, const tw_lanes *far, tw_lanes *into, const int outs) {
    int tap = 0;
    for (; tap + 4 <= taps->count; tap += 4)
        slope_block(taps, grid, first, tap, near, far, into, outs, 4);
    for (; tap < taps->count; tap++)
        slope_block(taps, grid, first, tap, near, far, into, outs, 1);
}

TW_CLONES void tw_correlate_slopes(const struct tw_taps *taps, const struct tw_grid *grid,
                                   const tw_lanes *near, const tw_lanes *far, tw_lanes *sum) {
    for (int first = 0, outs; first < taps->outs; first += outs) {
        outs = block_at(first, taps->outs);
        if (outs == 4)
            slope_taps(taps, grid, first, near, far, sum, 4);
        else if (outs == 2)
            slope_taps(taps, grid, first, near, far, sum, 2);
        else
            slope_taps(taps, grid, first, near, far, sum, 1);
    }
}
