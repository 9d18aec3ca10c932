/* Sums and checks over arrays of floats: what a shard does to gradients before
 * the update rule sees them.
 *
 * Used by server/core (reducing contributions, verdicts of SUMS) and by workers
 * that own several slots. All are pure, never allocate, and give the same bits
 * on every instruction set (clones.h). None cares about alignment.
 */
#ifndef TW_TENSOR_KERNELS_H
#define TW_TENSOR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/limits.h"

/* out[i] = the sum of inputs[0][i] ... inputs[n - 1][i] by a fixed binary tree,
 * in one pass over memory. 1 <= n <= TW_SLOTS_MAX; every array holds `count`
 * floats; `out` may be one of the inputs, but not overlap one in part.
 *
 * The tree is that of a binary counter: taking the inputs in order, two
 * neighbouring sums of equally many inputs are added as soon as both are there;
 * what is left at the end (n no power of two) is folded from the right. So
 * n = 7 is ((0+1)+(2+3)) + ((4+5)+6), and an aligned run of 2^k inputs is one
 * node of the tree: a rank that owns slots 4 to 7 may send their sum in place of
 * the four, and the bits of the result stay the same. */
void tw_sum_tree(float *out, const float *const *inputs, int n, size_t count);

/* x[i] = x[i] / divisor, rounded once: from a sum over examples to their mean. */
void tw_divide(float *x, float divisor, size_t count);

/* x[i] into [-limit, limit]; NaN stays NaN. */
void tw_clamp(float *x, float limit, size_t count);

/* x[i] = x[i] + factor * y[i], rounded twice. */
void tw_add_multiple(float *x, const float *y, float factor, size_t count);

/* out[i] = a[i] - b[i] */
void tw_subtract(float *out, const float *a, const float *b, size_t count);

/* out[i] = x[i] - rate * (sum[i] / divisor): a step down the mean of `divisor` gradients, each
 * operation rounded once, as tw_divide() and the rule sgd do it. `out` may be `x`. */
void tw_descend(float *out, const float *x, const float *sum, float divisor, float rate,
                size_t count);

/* out[i] = factor * x[i]; `out` may be `x`, but not overlap it in part. */
void tw_multiply(float *out, const float *x, float factor, size_t count);

/* out[i] = keep * average[i] + rest * x[i], each product and the sum rounded once; `out` may be
 * `average`, but not overlap it in part. */
void tw_average(float *out, const float *average, const float *x, float keep, float rest,
                size_t count);

/* No infinity and no NaN among them. True when count is 0. */
bool tw_all_finite(const float *x, size_t count);

/* out[b] = the sum of squares of block b, in float64. `x` begins at a border of
 * blocks, so that nothing depends on the size of chunks; the last block may be
 * partial, `out` has room for tw_block_count(count). Element i of a block is
 * added to lane i % 16, in order, and the lanes are then halved: 8 + 8, 4 + 4,
 * 2 + 2, 1 + 1. */
void tw_block_sums_of_squares(const float *x, size_t count, double *out);

/* How many blocks `count` floats are. */
static inline size_t tw_block_count(size_t count) {
    return count / TW_BLOCK_FLOATS + (count % TW_BLOCK_FLOATS != 0);
}

#endif
