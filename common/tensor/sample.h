/* What is measured of the weights at an update: a hash of their bits, and sums of squares.
 * docs/trace-log.md says how to compute the same elsewhere.
 *
 * Nothing here depends on the size of chunks, the number of servers or the instruction set:
 * everything is computed per block of a tensor (TW_BLOCK_FLOATS elements, counted from its
 * start; the last may be shorter), and blocks are put together in a way that knows no
 * order: hashes are added modulo 2^64, sums exactly (common/base/exact_sum.h).
 *
 * Used by shards while they apply an update, by the lead, which merges what shards say, and
 * by replay. Pure.
 */
#ifndef TW_TENSOR_SAMPLE_H
#define TW_TENSOR_SAMPLE_H

#include <stddef.h>

#include "common/base/exact_sum.h"

/* Sums of squares over a tensor, or over a part of it: of its weights and of a step that they
 * take. */
struct tw_tensor_squares {
    struct tw_exact_sum weights, step;
};

struct tw_sample {
    uint64_t version;
    bool hashed, summed; /* which of the two it has */
    uint64_t hash;
    struct tw_exact_sum gradient, update, weights; /* of squares */
};

/* Whether it has anything. */
static inline bool tw_sample_measures(const struct tw_sample *sample) {
    return sample->hashed || sample->summed;
}

/* Whether this version has what comes every so many updates; 0: never. */
static inline bool tw_sample_is_due(uint64_t version, uint64_t every) {
    return every != 0 && version % every == 0;
}

/* An empty one, which is to have a hash, sums, both or neither. Where it has neither, what was
 * there before may stay: nobody looks. */
void tw_sample_begin(struct tw_sample *sample, uint64_t version, bool hashed, bool summed);

/* A run of whole blocks of a tensor, from element `first` on: the last block of the tensor may
 * be partial. The second is of the gradient that the update rule got, the third of the
 * weights before and after it, whose squares are added to those of their tensor, too: after it,
 * and of their change. They do nothing when the sample has no sums. */
void tw_sample_hash(struct tw_sample *sample, uint32_t tensor, int64_t first, const float *weights,
                    size_t count);
void tw_sample_gradient(struct tw_sample *sample, const float *gradient, size_t count);
void tw_sample_change(struct tw_sample *sample, struct tw_tensor_squares *tensor,
                      const float *before, const float *after, size_t count);

/* Adds the squares of a run of whole blocks, as above: of each block in float64, in the order of
 * tw_block_sums_of_squares(), the blocks exactly. Also what clipping by norm and trust ratios are
 * decided from. */
void tw_add_squares(struct tw_exact_sum *sum, const float *x, size_t count);

/* Another part of the same tensor. */
void tw_tensor_squares_merge(struct tw_tensor_squares *into, const struct tw_tensor_squares *from);

/* |step| / |weights|; NaN when all of these are 0. */
double tw_tensor_squares_ratio(const struct tw_tensor_squares *squares);

/* Another part of the same version. */
void tw_sample_merge(struct tw_sample *into, const struct tw_sample *from);

/* The hash of one block: its number in its tensor, at most TW_BLOCK_FLOATS elements. */
uint64_t tw_block_hash(uint32_t tensor, uint64_t block, const float *x, size_t count);

/* As tw_block_sums_of_squares(), of after[i] - before[i], each difference in float64. */
void tw_block_sums_of_squared_changes(const float *before, const float *after, size_t count,
                                      double *out);

#endif
