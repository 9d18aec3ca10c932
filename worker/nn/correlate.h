/* The two sums that convolutions are made of, on 16 samples at a time (lanes.h).
 *
 * A *tap* is one weight of a kernel: it reads the input at a fixed offset from where the kernel
 * stands. So a convolution is a list of offsets and a grid of places, and the same loop computes
 * outputs from inputs and, with the offsets turned round, the slopes of the inputs from those
 * of the outputs (layer_conv2d.c).
 *
 * Every sum runs over its taps, or over the places of the grid row by row, in order, with a
 * product and an addition, both rounded: the same bits for every instruction set.
 */
#ifndef TW_NN_CORRELATE_H
#define TW_NN_CORRELATE_H

#include "worker/nn/lanes.h"

/* Where kernels stand (the near side) and where what belongs to these places lies (the far
 * side): distances between neighbours in a row and between rows, in lanes; and between
 * the far side's planes, one for each output of a kernel. */
struct tw_grid {
    int height, width;
    ptrdiff_t near_step, near_row, far_step, far_row, far_plane;
};

/* What a place needs of kernels with `outs` outputs and `taps` taps: weights in the order in which
 * they are read. */
struct tw_taps {
    int outs, count;
    const ptrdiff_t *offset; /* [count] from the near place */
    const tw_real *weight;   /* [outs * count], by tw_correlate_order() */
    const tw_real *start;    /* [outs] added to each sum; NULL: 0 */
};

/* Place of output o, tap t among the weights. */
size_t tw_correlate_order(int outs, int count, int o, int t);

/* far[o][place] = start[o] + sum over t of weight[o][t] * near[place + offset[t]]. */
void tw_correlate(const struct tw_taps *taps, const struct tw_grid *grid, const tw_lanes *near,
                  tw_lanes *far);

/* sum[o * count + t] += sum over places of far[o][place] * near[place + offset[t]]. */
void tw_correlate_slopes(const struct tw_taps *taps, const struct tw_grid *grid,
                         const tw_lanes *near, const tw_lanes *far, tw_lanes *sum);

#endif
