/* NAdam: Adam with Nesterov's momentum. Dozat, "Incorporating Nesterov Momentum into
 * Adam", 2016, with its schedule of the momentum, as torch from version 2 on (1.13
 * multiplies one mu twice, and steps differently). */
#include "common/base/realmath.h"
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 2e-3, .text = "learning rate"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.999, .text = "decay of v, the mean of squares"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-8,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(momentum_decay), TW_NOT_NEGATIVE, .fallback = 4e-3,
     .text = "mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2): how fast mu rises to beta1"},
};

/* w -= (direct g + ahead m) / (root(v) + outside) */
enum { BETA1, REST1, BETA2, REST2, DIRECT, AHEAD, OUTSIDE };

#define LOG_096 (-0x1.4e69ed6d80eb3p-5) /* log(0.96) */

static double mu_at(const struct tw_optimizer_options *options, double t) {
    return options->beta1 * (1 - 0.5 * tw_exp(t * options->momentum_decay * LOG_096));
}

/* mu_1 mu_2 ... mu_t, by products only. It ends early: once the product cannot be seen
 * beside 1, nor can a smaller one. Up to beta1 = 0.999 that is 42,000 factors at most. */
static double mu_product(const struct tw_optimizer_options *options, uint64_t t) {
    double fade = tw_exp(options->momentum_decay * LOG_096);
    double power = 1, product = 1;
    for (uint64_t i = 1; i <= t && product > 0x1p-60; i++) {
        power *= fade;
        product *= options->beta1 * (1 - 0.5 * power);
    }
    return product;
}

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    double mu = mu_at(options, (double)t), next = mu_at(options, (double)t + 1);
    double product = mu_product(options, t);
    double root_c2 = sqrt(tw_bias_divisor(TW_BIAS_PAPER, options->beta2, t));
    TW_SET_SCALARS(
        out, [BETA1] = options->beta1, [REST1] = 1 - options->beta1, [BETA2] = options->beta2,
        [REST2] = 1 - options->beta2, [DIRECT] = lr * (1 - mu) / (1 - product) * root_c2,
        [AHEAD] = lr * next / (1 - product * next) * root_c2, [OUTSIDE] = options->eps * root_c2);
}

TW_KERNEL(nadam, {
    const real beta1 = (real)scalars[BETA1], rest1 = (real)scalars[REST1];
    const real beta2 = (real)scalars[BETA2], rest2 = (real)scalars[REST2];
    const real direct = (real)scalars[DIRECT], ahead = (real)scalars[AHEAD];
    const real outside = (real)scalars[OUTSIDE];
    EACH_ELEMENT {
        const real m = beta1 * s0[i] + rest1 * g[i];
        const real v = beta2 * s1[i] + rest2 * (g[i] * g[i]);
        s0[i] = m;
        s1[i] = v;
        w_out[i] = w_in[i] - (direct * g[i] + ahead * m) / (root(v) + outside);
    }
})

const struct tw_optimizer tw_optimizer_nadam = {
    .name = "nadam",
    .formula = "m, v as adam; P = mu_1 ... mu_t; "
               "w -= lr ((1 - mu_t) g / (1 - P) + mu_t+1 m / (1 - P mu_t+1)) / (sqrt(v^) + eps)",
    .source = "Dozat 2016, algorithm 8; torch.optim.NAdam (2.0 and later)",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .state = {{"m", TW_STATE_ZERO}, {"v", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = nadam_float,
    .apply_double = nadam_double,
};
