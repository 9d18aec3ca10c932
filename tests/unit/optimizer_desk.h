/* One scalar weight under a rule, in double: what the tests of the rules stand on. */
#ifndef TW_TEST_OPTIMIZER_DESK_H
#define TW_TEST_OPTIMIZER_DESK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/core/optimizer.h"
#include "tests/lib/variant_text.h"

struct point {
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    double x, state[TW_OPTIMIZER_STATES];
    uint64_t t;
};

/* `line` as "adam lr=0.1 eps_at=inside". */
static inline struct point start(const char *line, double x) {
    struct tw_error error = {0};
    struct point point = {.x = x};
    if (tw_optimizer_find(&point.rule, &point.options, tw_test_variant(line), &error) != TW_OK) {
        fail_msg("%s: %s", line, error.text);
    }
    for (int s = 0; s < point.rule->states; s++) {
        point.state[s] = point.rule->state[s].start == TW_STATE_WEIGHTS ? x : 0;
    }
    return point;
}

static inline void apply(struct point *point, const double *scalars, double gradient) {
    struct tw_optimizer_double work = {.count = 1,
                                       .gradient = &gradient,
                                       .weights_in = &point->x,
                                       .weights_out = &point->x,
                                       .scalars = scalars};
    for (int s = 0; s < point->rule->states; s++) {
        work.state[s] = &point->state[s];
    }
    double scratch;
    tw_optimizer_apply_tensor(point->rule, &point->options, &work, &scratch);
}

static inline void step(struct point *point, double lr, double gradient) {
    double scalars[TW_OPTIMIZER_SCALARS];
    point->rule->prepare(&point->options, ++point->t, lr, scalars);
    apply(point, scalars, gradient);
}

static inline void near(const char *what, double is, double should) {
    if (!(fabs(is - should) <= 1e-12)) {
        fail_msg("%s: %.15f, should be %.15f", what, is, should);
    }
}

#endif
