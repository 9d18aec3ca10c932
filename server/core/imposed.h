/* Staleness that is imposed: drawn for each update by itself, instead of following from who is how
 * fast (Dai et al. 2018 do so with a uniform law; theory likes the geometric one).
 *
 * The workers take turns, so it is known who makes update t, and update t is to be made of weights
 * that are tau_t updates older than the ones that it changes. A worker is given weights when
 * version t - 1 - tau_t is there, and not before; its gradient waits for its turn. A worker that
 * made update t - N cannot have older weights than that, so tau_t <= N - 1: N workers.
 *
 * tau_t is a pure function of (law, number, seed, t): TW_STREAM_STALENESS, step t. Used by the
 * dial's presets, and by the sequencer. No state, no allocation.
 */
#ifndef TW_CORE_IMPOSED_H
#define TW_CORE_IMPOSED_H

#include <stdint.h>

struct tw_imposed_law {
    const char *number; /* what its number, from 1 on, says; for messages */
    /* The fewest workers with which it is what it says. */
    uint32_t (*workers)(uint32_t number);
    /* From u, uniform in [0, 1); below `workers`, which are enough. */
    uint32_t (*draw)(double u, uint32_t number, uint32_t workers);
};

/* 0 ... number - 1, each as likely. */
extern const struct tw_imposed_law tw_imposed_uniform;

/* k with chance p (1 - p)^k, where p = 1 / (1 + number), so that `number` is its mean; of that,
 * what is below the number of workers. With enough workers less than a thousandth is left out. */
extern const struct tw_imposed_law tw_imposed_geometric;

/* tau of update `update`, from 1. */
uint32_t tw_imposed_draw(const struct tw_imposed_law *law, uint32_t number, uint32_t workers,
                         uint64_t seed, uint64_t update);

#endif
