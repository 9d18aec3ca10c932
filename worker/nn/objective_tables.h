/* What the tables of objectives are written with. Included by objective.c and the files of
 * the objectives (objective_*.c) only. */
#ifndef TW_NN_OBJECTIVE_TABLES_H
#define TW_NN_OBJECTIVE_TABLES_H

#include <math.h>

#include "common/base/realmath.h"
#include "worker/nn/objective.h"

#define TW_OBJECTIVE_MEMBER(member)                                                                \
    .key = #member, .offset = offsetof(struct tw_objective_options, member)
#define TW_OBJECTIVE_REAL                                                                          \
    .type = TW_OPTION_REAL, .min = -INFINITY, .max = INFINITY, .min_open = true, .max_open = true
#define TW_OBJECTIVE_LIST                                                                          \
    .type = TW_OPTION_LIST, .min = -INFINITY, .max = INFINITY, .min_open = true, .max_open = true

/* What every objective has, at the end of its own rules. */
#define TW_OBJECTIVE_COMMON                                                                        \
    {TW_OBJECTIVE_MEMBER(start), TW_OBJECTIVE_LIST,                                                \
     .text = "where the weights start; one number: all of them"},                                  \
    {                                                                                              \
        TW_OBJECTIVE_MEMBER(noise),                                                                \
            .type = TW_OPTION_REAL, .min = 0, .max = INFINITY, .max_open = true, .fallback = 0,    \
            .text = "standard deviation of what is added to each coordinate of a gradient"         \
    }

#define TW_OBJECTIVE_TABLE(table)                                                                  \
    .rules = table, .rule_count = (int)(sizeof(table) / sizeof *(table))

/* A value of two coordinates, with its gradient when it is wanted. */
static inline double tw_objective_two(double value, double *gradient, double g1, double g2) {
    if (gradient != NULL) {
        gradient[0] = g1;
        gradient[1] = g2;
    }
    return value;
}

#endif
