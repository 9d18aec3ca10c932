#include "common/tensor/sample.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/tensor/clones.h"
#include "common/tensor/kernels.h"

#define LANES 16        /* of 64 bits; a row is two floats for each */
#define ROW (2 * LANES) /* floats */
#define FACTOR UINT64_C(0x9e3779b97f4a7c15)
#define BLOCKS 8 /* whose sums are computed in one go */

/* ---- hash ---- */

/* The finisher of splitmix64: a bijection that spreads every bit over all. */
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* One row into the lanes. For a given row it is a bijection of each lane, so a change in
 * one place cannot be lost in what follows. */
static inline __attribute__((always_inline)) void take_row(uint64_t lane[LANES], const float *x) {
    uint32_t bits[ROW];
    memcpy(bits, x, sizeof bits);
    for (int i = 0; i < LANES; i++) {
        uint64_t pair = bits[2 * i] | (uint64_t)bits[2 * i + 1] << 32;
        lane[i] = ((lane[i] << 23 | lane[i] >> 41) ^ pair) * FACTOR;
    }
}

TW_CLONES
static void take_rows(uint64_t lane[LANES], const float *x, size_t rows) {
    uint64_t local[LANES];
    memcpy(local, lane, sizeof local);
    for (size_t row = 0; row < rows; row++)
        take_row(local, x + row * ROW);
    memcpy(lane, local, sizeof local);
}

uint64_t tw_block_hash(uint32_t tensor, uint64_t block, const float *x, size_t count) {
    uint64_t lane[LANES] = {0};
    size_t rows = count / ROW, rest = count % ROW;
    take_rows(lane, x, rows);
    if (rest) {
        float padded[ROW] = {0};
        memcpy(padded, x + rows * ROW, rest * sizeof *x);
        take_row(lane, padded);
    }
    uint64_t hash = mix(((uint64_t)tensor << 32 | block) + 1);
    hash = mix(hash ^ count);
    for (int i = 0; i < LANES; i++)
        hash = mix(hash ^ lane[i]);
    return hash;
}

/* ---- changes ---- */

TW_CLONES
static void add_changes(double lane[LANES], const float *before, const float *after, size_t count) {
    double local[LANES];
    memcpy(local, lane, sizeof local);
    size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            double change = (double)after[i + j] - (double)before[i + j];
            local[j] += change * change;
        }
    for (size_t i = whole; i < count; i++) {
        double change = (double)after[i] - (double)before[i];
        local[i - whole] += change * change;
    }
    memcpy(lane, local, sizeof local);
}

static double sum_of_changes(const float *before, const float *after, size_t count) {
    double lane[LANES] = {0};
    add_changes(lane, before, after, count);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

void tw_block_sums_of_squared_changes(const float *before, const float *after, size_t count,
                                      double *out) {
    for (size_t first = 0; first < count; first += TW_BLOCK_FLOATS) {
        size_t left = count - first;
        *out++ = sum_of_changes(before + first, after + first,
                                left < TW_BLOCK_FLOATS ? left : TW_BLOCK_FLOATS);
    }
}

/* ---- samples ---- */

void tw_sample_begin(struct tw_sample *sample, uint64_t version, bool hashed, bool summed) {
    if (hashed || summed)
        *sample = (struct tw_sample){0};
    sample->version = version;
    sample->hashed = hashed;
    sample->summed = summed;
}

void tw_sample_hash(struct tw_sample *sample, uint32_t tensor, int64_t first, const float *weights,
                    size_t count) {
    uint64_t block = (uint64_t)first / TW_BLOCK_FLOATS;
    assert(first % TW_BLOCK_FLOATS == 0);
    if (!sample->hashed)
        return;
    for (size_t at = 0; at < count; at += TW_BLOCK_FLOATS, block++) {
        size_t left = count - at;
        sample->hash += tw_block_hash(tensor, block, weights + at,
                                      left < TW_BLOCK_FLOATS ? left : TW_BLOCK_FLOATS);
    }
}

static void add_blocks(struct tw_exact_sum *sum, const double *blocks, size_t count) {
    for (size_t i = 0; i < count; i++)
        tw_exact_sum_add(sum, blocks[i]);
}

static size_t piece(size_t left) {
    return left < BLOCKS * TW_BLOCK_FLOATS ? left : BLOCKS * TW_BLOCK_FLOATS;
}

void tw_add_squares(struct tw_exact_sum *sum, const float *x, size_t count) {
    double blocks[BLOCKS];
    for (size_t at = 0; at < count; at += BLOCKS * TW_BLOCK_FLOATS) {
        size_t size = piece(count - at);
        tw_block_sums_of_squares(x + at, size, blocks);
        add_blocks(sum, blocks, tw_block_count(size));
    }
}

void tw_sample_gradient(struct tw_sample *sample, const float *gradient, size_t count) {
    if (sample->summed)
        tw_add_squares(&sample->gradient, gradient, count);
}

void tw_sample_change(struct tw_sample *sample, struct tw_tensor_squares *tensor,
                      const float *before, const float *after, size_t count) {
    double blocks[BLOCKS];
    if (!sample->summed)
        return;
    struct tw_tensor_squares part = {0};
    tw_add_squares(&part.weights, after, count);
    for (size_t at = 0; at < count; at += BLOCKS * TW_BLOCK_FLOATS) {
        size_t size = piece(count - at);
        tw_block_sums_of_squared_changes(before + at, after + at, size, blocks);
        add_blocks(&part.step, blocks, tw_block_count(size));
    }
    tw_exact_sum_merge(&sample->weights, &part.weights);
    tw_exact_sum_merge(&sample->update, &part.step);
    tw_tensor_squares_merge(tensor, &part);
}

void tw_tensor_squares_merge(struct tw_tensor_squares *into, const struct tw_tensor_squares *from) {
    tw_exact_sum_merge(&into->weights, &from->weights);
    tw_exact_sum_merge(&into->step, &from->step);
}

double tw_tensor_squares_ratio(const struct tw_tensor_squares *squares) {
    double weights = tw_exact_sum_value(&squares->weights);
    return weights > 0 ? sqrt(tw_exact_sum_value(&squares->step)) / sqrt(weights) : (double)NAN;
}

void tw_sample_merge(struct tw_sample *into, const struct tw_sample *from) {
    assert(into->version == from->version);
    into->hash += from->hash;
    tw_exact_sum_merge(&into->gradient, &from->gradient);
    tw_exact_sum_merge(&into->update, &from->update);
    tw_exact_sum_merge(&into->weights, &from->weights);
}
