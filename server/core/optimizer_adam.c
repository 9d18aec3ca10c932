/* Adam: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015. */
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-3, .text = "learning rate"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.999, .text = "decay of v, the mean of squares"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-8,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(eps_at), .type = TW_OPTION_ENUM, .fallback = TW_EPS_OUTSIDE,
     .names = tw_eps_at_hat_names,
     .text = "outside: sqrt(v^) + eps; inside: sqrt(v^ + eps); hat: outside, but scaled with the "
             "bias correction (the paper's efficient form)"},
    {TW_MEMBER(bias), .type = TW_OPTION_ENUM, .fallback = TW_BIAS_PAPER, .names = tw_bias_names,
     .text = "m^ = m / (1 - beta1^t), v^ alike (paper); m / (1 - beta1) (nopower); m (none)"},
};

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    enum tw_bias bias = (enum tw_bias)options->bias;
    tw_adam_scalars(options, lr, tw_bias_divisor(bias, options->beta1, t),
                    tw_bias_divisor(bias, options->beta2, t), out);
}

TW_KERNEL(adam, {
    const real beta1 = (real)scalars[TW_ADAM_BETA1], rest1 = (real)scalars[TW_ADAM_REST1];
    const real beta2 = (real)scalars[TW_ADAM_BETA2], rest2 = (real)scalars[TW_ADAM_REST2];
    const real inside = (real)scalars[TW_ADAM_INSIDE], outside = (real)scalars[TW_ADAM_OUTSIDE];
    const real rate = (real)scalars[TW_ADAM_RATE];
    EACH_ELEMENT {
        const real m = beta1 * s0[i] + rest1 * g[i];
        const real v = beta2 * s1[i] + rest2 * (g[i] * g[i]);
        s0[i] = m;
        s1[i] = v;
        w_out[i] = w_in[i] - rate * m / (root(v + inside) + outside);
    }
})

const struct tw_optimizer tw_optimizer_adam = {
    .name = "adam",
    .formula = "m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; "
               "w -= lr m^ / (sqrt(v^) + eps)",
    .source = "Kingma and Ba 2015, algorithm 1",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .state = {{"m", TW_STATE_ZERO}, {"v", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = adam_float,
    .apply_double = adam_double,
};
