/* Philox4x64-10: 256 random bits as a pure function of a key and a counter.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2,
 * 3", SC 2011; Philox4x64 with 10 rounds, as in their library Random123 and in
 * numpy.random.Philox.
 *
 * Who uses it: rng.h, and through it everybody. There is no state to share, to
 * save or to advance: whoever knows key and counter knows the bits, on every
 * machine. Not for secrets (digest.h has tw_random_bytes for those).
 *
 * NumPy: np.random.Philox(key=[k0, k1], counter=[c0, c1, c2, c3]) adds 1 to its
 * counter (a 256-bit number, c0 lowest) *before* it makes a block. So the first
 * four values of its random_raw() are our block at {c0 + 1, c1, c2, c3}, in the
 * order of `out`.
 */
#ifndef TW_BASE_PHILOX_H
#define TW_BASE_PHILOX_H

#include <stdint.h>

/* The place of one block: lowest words first, as in Random123 and NumPy. */
struct tw_philox {
    uint64_t key[2];
    uint64_t counter[4];
};

/* The block of `key` at `counter`. `out` may be `counter`. Cannot fail. */
void tw_philox_block(const uint64_t key[2], const uint64_t counter[4], uint64_t out[4]);

#endif
