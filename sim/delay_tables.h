/* What the tables of delay laws are written with. Included by delay.c and the files of the
 * laws (delay_*.c) only. */
#ifndef TW_SIM_DELAY_TABLES_H
#define TW_SIM_DELAY_TABLES_H

#include <math.h>

#include "common/base/realmath.h"
#include "common/base/rng.h"
#include "sim/delay.h"

#define TW_DELAY_MEMBER(member) .key = #member, .offset = offsetof(struct tw_delay_options, member)
#define TW_DELAY_POSITIVE                                                                          \
    .type = TW_OPTION_REAL, .min = 0, .min_open = true, .max = INFINITY, .max_open = true
#define TW_DELAY_NOT_NEGATIVE .type = TW_OPTION_REAL, .min = 0, .max = INFINITY, .max_open = true
#define TW_DELAY_CHANCE .type = TW_OPTION_REAL, .min = 0, .min_open = true, .max = 1

#define TW_DELAY_MEAN                                                                              \
    { TW_DELAY_MEMBER(mean), TW_DELAY_POSITIVE, .fallback = 1, .text = "mean, in seconds" }

/* What every law has, at the end of its own rules: TW_DELAY_COMMON_RULES of them. */
#define TW_DELAY_COMMON                                                                            \
    {                                                                                              \
        TW_DELAY_MEMBER(speeds),                                                                   \
            .type = TW_OPTION_LIST,                                                                \
            .text = "of the workers, in turn: at speed 2 all takes half as long"                   \
    }

#define TW_DELAY_TABLE(table) .rules = table, .rule_count = (int)(sizeof(table) / sizeof *(table))

/* The random numbers of the worker's present step. */
static inline struct tw_rng tw_delay_rng(const struct tw_delay *delay,
                                         const struct tw_delay_state *state) {
    struct tw_rng rng;
    tw_rng_init(&rng, delay->seed, TW_STREAM_DELAY, state->who, state->step);
    return rng;
}

/* Exponential with mean 1, by inversion: a uniform below 1 leaves the logarithm finite. */
static inline double tw_delay_exponential(struct tw_rng *rng) {
    return -tw_log(1 - tw_rng_uniform(rng));
}

#endif
