/* Random numbers with names: the same on every machine, and never shared by
 * accident.
 *
 * A sequence is named by (seed, stream, slot, step), and each of its values by an
 * index from 0. What the words mean is the stream's business: TW_STREAM_INIT uses
 * slot = number of the tensor, TW_STREAM_SAMPLING step = epoch, and so on. Two
 * sequences with different names have nothing to do with each other, so using
 * more numbers of one changes nothing in another.
 *
 * Value `index` is lane index % 4 of the Philox4x64-10 block with
 *     key     = { seed, stream }
 *     counter = { index / 4 + 1, step, slot, 0 }
 * and therefore value `index` of this NumPy stream (which counts from 1, see
 * philox.h):
 *     bits = np.random.Philox(key=[seed, stream], counter=[0, step, slot, 0])
 *     bits.random_raw(n)                    # tw_rng_next, n times
 *     np.random.Generator(bits).random(n)   # tw_rng_uniform, n times
 *
 * Who uses it: initialisation, sampling, dropout, delays, noise, jitter. Pure:
 * no global state, no allocation, no clock; nothing here can fail. Not for
 * secrets (see tw_random_bytes).
 */
#ifndef TW_BASE_RNG_H
#define TW_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/philox.h"

/* What the numbers are for. The values are part of every run's results: append
 * only. */
enum tw_stream {
    TW_STREAM_SAMPLING = 1,
    TW_STREAM_INIT = 2,
    TW_STREAM_DROPOUT = 3,
    TW_STREAM_DELAY = 4,
    TW_STREAM_NOISE = 5,
    TW_STREAM_JITTER = 6,
    TW_STREAM_SPLIT = 7,
    TW_STREAM_DATA = 8,
    TW_STREAM_AUGMENT = 9,
    TW_STREAM_STALENESS = 10,
};

/* A seed for each stream that changes what a run computes. */
struct tw_seeds {
    uint64_t init, sampling, noise, dropout, split, augment, staleness;
};

/* A place in one sequence; the caller's storage, no fini. Two that were made with
 * the same name give the same values independently of each other. */
struct tw_rng {
    struct tw_philox at; /* of the block below */
    uint64_t block[4];
    unsigned lane; /* of the next value; 4: the next block must be made */
};

/* Starts at value 0 of the named sequence. */
void tw_rng_init(struct tw_rng *rng, uint64_t seed, enum tw_stream stream, uint64_t slot,
                 uint64_t step);

/* Goes on at value `index`, forwards or backwards, in constant time. */
void tw_rng_seek(struct tw_rng *rng, uint64_t index);

/* The next value: 64 bits. */
uint64_t tw_rng_next(struct tw_rng *rng);

/* The next value x as (x >> 11) / 2^53: in [0, 1). */
double tw_rng_uniform(struct tw_rng *rng);

/* Uniform in [0, n), without bias; n >= 1 (n = 0 gives 0). Takes values x until
 * one is accepted (nearly always the first): x * n, as 128 bits, has its upper
 * half as the result, and is accepted unless its lower half is less than
 * 2^64 mod n (Lemire, "Fast Random Integer Generation in an Interval", 2019,
 * algorithm 5). */
uint64_t tw_rng_below(struct tw_rng *rng, uint64_t n);

/* Standard normal from one value x: the inverse of the normal distribution
 * function (Wichura, algorithm AS241 PPND16, 1988) at (2 (x >> 12) + 1) / 2^53,
 * which lies strictly between 0 and 1. Within 8.3 of 0; symmetric. */
double tw_rng_normal(struct tw_rng *rng);

/* Permutes items[0 .. n): Fisher-Yates from the end. In Python, with `below` as
 * tw_rng_below on values of random_raw():
 *     for i in range(n - 1, 0, -1):
 *         j = below(i + 1)
 *         items[i], items[j] = items[j], items[i]
 */
void tw_rng_shuffle(struct tw_rng *rng, uint32_t *items, size_t n);

/* Value `index` of a sequence by itself, in constant time; the second and third
 * as tw_rng_uniform() and tw_rng_normal() would make them of it. For a run of
 * values tw_rng_init() and tw_rng_seek() are up to four times faster. */
uint64_t tw_rng_at(uint64_t seed, enum tw_stream stream, uint64_t slot, uint64_t step,
                   uint64_t index);
double tw_rng_uniform_at(uint64_t seed, enum tw_stream stream, uint64_t slot, uint64_t step,
                         uint64_t index);
double tw_rng_normal_at(uint64_t seed, enum tw_stream stream, uint64_t slot, uint64_t step,
                        uint64_t index);

#endif
