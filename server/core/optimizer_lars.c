/* LARS: momentum whose rate is another for each tensor (layer): so that no step is large beside
 * the weights that take it. You, Gitman and Ginsburg, "Large Batch Training of Convolutional
 * Networks", 2017, algorithm 1. There the gradient enters v with the learning rate of its own time
 * (inside); outside is the form of most programs. */
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .required = true, .text = "learning rate"},
    {TW_MEMBER(momentum), TW_DECAY, .fallback = 0.9, .text = "decay of v"},
    {TW_MEMBER(trust), TW_POSITIVE, .fallback = 1e-3,
     .text = "trust coefficient: a step's size beside the weights, at lr 1 without momentum"},
    {TW_MEMBER(weight_decay), TW_NOT_NEGATIVE, .fallback = 5e-4,
     .text = "weight_decay w is added to the gradient, and its norm to that of the gradient"},
    {TW_MEMBER(lr_at), .type = TW_OPTION_ENUM, .fallback = TW_LR_INSIDE, .names = tw_lr_at_names,
     .text = "inside: v = momentum v + lr ratio (...), w -= v (paper); outside: lr before v"},
};

enum { MOMENTUM, GAIN, RATE, TRUST, DECAY };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    bool inside = options->lr_at == TW_LR_INSIDE;
    (void)t;
    TW_SET_SCALARS(
        out, [MOMENTUM] = options->momentum, [GAIN] = inside ? lr : 1, [RATE] = inside ? 1 : lr,
        [TRUST] = options->trust, [DECAY] = options->weight_decay);
}

/* The norm that is asked for is that of the gradient. */
TW_KERNEL(lars_step, {
    (void)scalars;
    (void)w_in;
    EACH_ELEMENT {
        w_out[i] = g[i];
    }
})

static double ratio_of(const double *scalars, double weights, double gradient) {
    return tw_trust_ratio(scalars[TRUST], weights, gradient + scalars[DECAY] * weights);
}

TW_KERNEL(lars, {
    const real momentum = (real)scalars[MOMENTUM];
    const real gain = (real)(scalars[GAIN] * ratio);
    const real rate = (real)scalars[RATE], decay = (real)scalars[DECAY];
    EACH_ELEMENT {
        const real v = momentum * s0[i] + gain * (g[i] + decay * w_in[i]);
        s0[i] = v;
        w_out[i] = w_in[i] - rate * v;
    }
})

const struct tw_optimizer tw_optimizer_lars = {
    .name = "lars",
    .formula = "per tensor: ratio = trust |w| / (|g| + weight_decay |w|); "
               "v = momentum v + lr ratio (g + weight_decay w); w -= v",
    .source = "You, Gitman and Ginsburg 2017, algorithm 1",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 1,
    .state = {{"v", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = lars_float,
    .apply_double = lars_double,
    .step_float = lars_step_float,
    .step_double = lars_step_double,
    .ratio = ratio_of,
};
