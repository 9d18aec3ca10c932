#include "common/base/rng.h"

#include "common/base/realmath.h"

#define LANES 4

/* The place of the block that holds value `index`. */
static struct tw_philox place(uint64_t seed, enum tw_stream stream, uint64_t slot, uint64_t step,
                              uint64_t index) {
    return (struct tw_philox){.key = {seed, (uint64_t)stream},
                              .counter = {index / LANES + 1, step, slot, 0}};
}

static double to_uniform(uint64_t value) {
    return (double)(value >> 11) * 0x1p-53;
}

/* An odd number of 2^-53: never 0 or 1, and 1 - p is exact, hence symmetric. */
static double to_normal(uint64_t value) {
    return tw_normal_quantile((double)(2 * (value >> 12) + 1) * 0x1p-53);
}

void tw_rng_init(struct tw_rng *rng, uint64_t seed, enum tw_stream stream, uint64_t slot,
                 uint64_t step) {
    rng->at = place(seed, stream, slot, step, 0);
    tw_rng_seek(rng, 0);
}

void tw_rng_seek(struct tw_rng *rng, uint64_t index) {
    rng->at.counter[0] = index / LANES + 1;
    tw_philox_block(rng->at.key, rng->at.counter, rng->block);
    rng->lane = (unsigned)(index % LANES);
}

uint64_t tw_rng_next(struct tw_rng *rng) {
    if (rng->lane == LANES) {
        /* Wraps after 2^64 blocks, which nobody lives to see. */
        rng->at.counter[0]++;
        tw_philox_block(rng->at.key, rng->at.counter, rng->block);
        rng->lane = 0;
    }
    return rng->block[rng->lane++];
}

double tw_rng_uniform(struct tw_rng *rng) {
    return to_uniform(tw_rng_next(rng));
}

uint64_t tw_rng_below(struct tw_rng *rng, uint64_t n) {
    if (n == 0)
        return 0;
    unsigned __int128 product = (unsigned __int128)tw_rng_next(rng) * n;
    if ((uint64_t)product < n) { /* else it cannot be below 2^64 mod n */
        uint64_t reject_below = -n % n;
        while ((uint64_t)product < reject_below)
            product = (unsigned __int128)tw_rng_next(rng) * n;
    }
    return (uint64_t)(product >> 64);
}

double tw_rng_normal(struct tw_rng *rng) {
    return to_normal(tw_rng_next(rng));
}

void tw_rng_shuffle(struct tw_rng *rng, uint32_t *items, size_t n) {
    for (size_t i = n; i-- > 1;) {
        size_t j = (size_t)tw_rng_below(rng, (uint64_t)i + 1);
        uint32_t item = items[i];
        items[i] = items[j];
        items[j] = item;
    }
}

uint64_t tw_rng_at(uint64_t seed, enum tw_stream stream, uint64_t slot, uint64_t step,
                   uint64_t index) {
    struct tw_philox at = place(seed, stream, slot, step, index);
    uint64_t block[LANES];
    tw_philox_block(at.key, at.counter, block);
    return block[index % LANES];
}

double tw_rng_uniform_at(uint64_t seed, enum tw_stream stream, uint64_t slot, uint64_t step,
                         uint64_t index) {
    return to_uniform(tw_rng_at(seed, stream, slot, step, index));
}

double tw_rng_normal_at(uint64_t seed, enum tw_stream stream, uint64_t slot, uint64_t step,
                        uint64_t index) {
    return to_normal(tw_rng_at(seed, stream, slot, step, index));
}
