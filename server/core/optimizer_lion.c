/* Lion: every weight moves by lr, only the sign is learnt. Chen et al., "Symbolic
 * Discovery of Optimization Algorithms", 2023. */
#include "server/core/optimizer_kernels.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-4, .text = "learning rate: the size of each step"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9,
     .text = "how much of m, against g, decides on the sign"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.99, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(weight_decay), TW_NOT_NEGATIVE, .fallback = 0,
     .text = "weights shrink by lr * weight_decay of themselves"},
};

enum { BETA1, REST1, BETA2, REST2, RATE, KEEP };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    TW_SET_SCALARS(
        out, [BETA1] = options->beta1, [REST1] = 1 - options->beta1, [BETA2] = options->beta2,
        [REST2] = 1 - options->beta2, [RATE] = lr, [KEEP] = 1 - lr * options->weight_decay);
}

TW_KERNEL(lion, {
    const real beta1 = (real)scalars[BETA1], rest1 = (real)scalars[REST1];
    const real beta2 = (real)scalars[BETA2], rest2 = (real)scalars[REST2];
    const real rate = (real)scalars[RATE], keep = (real)scalars[KEEP];
    EACH_ELEMENT {
        const real c = beta1 * s0[i] + rest1 * g[i];
        const real step = c > 0 ? rate : c < 0 ? -rate : 0;
        s0[i] = beta2 * s0[i] + rest2 * g[i];
        w_out[i] = keep * w_in[i] - step;
    }
})

const struct tw_optimizer tw_optimizer_lion = {
    .name = "lion",
    .formula = "w -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay w); "
               "m = beta2 m + (1 - beta2) g",
    .source = "Chen et al. 2023, algorithm 2",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 1,
    .state = {{"m", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = lion_float,
    .apply_double = lion_double,
};
