/* Plain stochastic gradient descent. */
#include "server/core/optimizer_kernels.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .required = true, .text = "learning rate"},
};

enum { RATE };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    TW_SET_SCALARS(out, [RATE] = lr);
}

TW_KERNEL(sgd, {
    const real rate = (real)scalars[RATE];
    EACH_ELEMENT {
        w_out[i] = w_in[i] - rate * g[i];
    }
})

static double limit(const struct tw_optimizer_options *options) {
    return 2;
}

const struct tw_optimizer tw_optimizer_sgd = {
    .name = "sgd",
    .formula = "w -= lr g",
    .source = "Robbins and Monro 1951",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .limit = {limit, "2 / lambda_max"},
    .prepare = prepare,
    .apply_float = sgd_float,
    .apply_double = sgd_double,
};
