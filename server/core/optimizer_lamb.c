/* LAMB: AdamW, whose step is made as long as lr times the weights of its tensor (layer). You et
 * al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2019,
 * algorithm 2, with phi(z) = z. */
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-3, .text = "learning rate"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.999, .text = "decay of v, the mean of squares"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-6,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(eps_at), .type = TW_OPTION_ENUM, .fallback = TW_EPS_OUTSIDE,
     .names = tw_eps_at_hat_names, .text = "as in adam"},
    {TW_MEMBER(bias), .type = TW_OPTION_ENUM, .fallback = TW_BIAS_PAPER, .names = tw_bias_names,
     .text = "as in adam"},
    {TW_MEMBER(weight_decay), TW_NOT_NEGATIVE, .fallback = 1e-2,
     .text = "weight_decay w is added to the step before its norm is taken"},
};

enum { BETA1, BETA2, CORRECTION, INSIDE, OUTSIDE, RATE, DECAY };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    enum tw_bias bias = (enum tw_bias)options->bias;
    double c1 = tw_bias_divisor(bias, options->beta1, t);
    double c2 = tw_bias_divisor(bias, options->beta2, t);
    struct tw_eps eps = tw_eps_place((enum tw_eps_at)options->eps_at, options->eps, c2);
    TW_SET_SCALARS(out, [BETA1] = options->beta1, [BETA2] = options->beta2,
                   [CORRECTION] = sqrt(c2) / c1, [INSIDE] = eps.inside, [OUTSIDE] = eps.outside,
                   [RATE] = lr, [DECAY] = options->weight_decay);
}

/* What both kernels begin with: the moments as they will be. */
#define MOMENTS                                                                                    \
    const real beta1 = (real)scalars[BETA1], rest1 = (real)(1 - scalars[BETA1]);                   \
    const real beta2 = (real)scalars[BETA2], rest2 = (real)(1 - scalars[BETA2]);                   \
    const real inside = (real)scalars[INSIDE], outside = (real)scalars[OUTSIDE];
#define NEXT_M (beta1 * s0[i] + rest1 * g[i])
#define NEXT_V (beta2 * s1[i] + rest2 * (g[i] * g[i]))

TW_KERNEL(lamb_step, {
    MOMENTS
    const real correction = (real)scalars[CORRECTION], decay = (real)scalars[DECAY];
    EACH_ELEMENT {
        const real m = NEXT_M;
        const real v = NEXT_V;
        w_out[i] = correction * m / (root(v + inside) + outside) + decay * w_in[i];
    }
})

static double ratio_of(const double *scalars, double weights, double step) {
    (void)scalars;
    return tw_trust_ratio(1, weights, step);
}

/* w - length (correction m / (...) + decay w), with fewer roundings. */
TW_KERNEL(lamb, {
    MOMENTS
    const double length = scalars[RATE] * ratio;
    const real rate = (real)(length * scalars[CORRECTION]);
    const real keep = (real)(1 - length * scalars[DECAY]);
    EACH_ELEMENT {
        const real m = NEXT_M;
        const real v = NEXT_V;
        s0[i] = m;
        s1[i] = v;
        w_out[i] = keep * w_in[i] - rate * m / (root(v + inside) + outside);
    }
})

const struct tw_optimizer tw_optimizer_lamb = {
    .name = "lamb",
    .formula = "m, v as adam; r = m^ / (sqrt(v^) + eps) + weight_decay w; "
               "per tensor: w -= lr |w| / |r| r",
    .source = "You et al. 2019, algorithm 2",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .state = {{"m", TW_STATE_ZERO}, {"v", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = lamb_float,
    .apply_double = lamb_double,
    .step_float = lamb_step_float,
    .step_double = lamb_step_double,
    .ratio = ratio_of,
};
