/* AdaMax: Adam with the largest gradient (of a fading memory) instead of the root of
 * the mean square. Kingma and Ba 2015, section 7.1. The paper has no eps, and so 0/0
 * for a weight whose gradient was always 0; torch adds eps to |g|. */
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 2e-3, .text = "learning rate"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.999, .text = "decay of u, the largest gradient"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-8,
     .text = "added to |g|; 0 is the paper's, and weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(bias), .type = TW_OPTION_ENUM, .fallback = TW_BIAS_PAPER, .names = tw_bias_names,
     .text = "m^ = m / (1 - beta1^t) (paper); m / (1 - beta1) (nopower); m (none)"},
};

enum { BETA1, REST1, BETA2, RATE, EPS };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    double c1 = tw_bias_divisor((enum tw_bias)options->bias, options->beta1, t);
    TW_SET_SCALARS(out, [BETA1] = options->beta1, [REST1] = 1 - options->beta1,
                   [BETA2] = options->beta2, [RATE] = lr / c1, [EPS] = options->eps);
}

TW_KERNEL(adamax, {
    const real beta1 = (real)scalars[BETA1], rest1 = (real)scalars[REST1];
    const real beta2 = (real)scalars[BETA2], eps = (real)scalars[EPS];
    const real rate = (real)scalars[RATE];
    EACH_ELEMENT {
        const real m = beta1 * s0[i] + rest1 * g[i];
        const real size = (g[i] < 0 ? -g[i] : g[i]) + eps;
        const real faded = beta2 * s1[i];
        const real u = faded > size ? faded : size;
        s0[i] = m;
        s1[i] = u;
        w_out[i] = w_in[i] - rate * m / u;
    }
})

const struct tw_optimizer tw_optimizer_adamax = {
    .name = "adamax",
    .formula = "m = beta1 m + (1 - beta1) g; u = max(beta2 u, |g| + eps); w -= lr m^ / u",
    .source = "Kingma and Ba 2015, algorithm 2; torch.optim.Adamax",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .state = {{"m", TW_STATE_ZERO}, {"u", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = adamax_float,
    .apply_double = adamax_double,
};
