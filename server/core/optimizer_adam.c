/* Adam: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015. */
#include "server/core/optimizer_kernels.h"

enum { EPS_OUTSIDE, EPS_INSIDE, EPS_HAT };
enum { BIAS_PAPER, BIAS_NOPOWER, BIAS_NONE };

static const char *const eps_at_names[] = {"outside", "inside", "hat", NULL};
static const char *const bias_names[] = {"paper", "nopower", "none", NULL};

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-3, .text = "learning rate"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.999, .text = "decay of v, the mean of squares"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-8,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(eps_at), .type = TW_OPTION_ENUM, .fallback = EPS_OUTSIDE, .names = eps_at_names,
     .text = "outside: sqrt(v^) + eps; inside: sqrt(v^ + eps); hat: outside, but scaled with the "
             "bias correction (the paper's efficient form)"},
    {TW_MEMBER(bias), .type = TW_OPTION_ENUM, .fallback = BIAS_PAPER, .names = bias_names,
     .text = "m^ = m / (1 - beta1^t), v^ alike (paper); m / (1 - beta1) (nopower); m (none)"},
};

/* Every form is w -= rate * m / (sqrt(v + inside) + outside), with other scalars:
 * with c1, c2 the divisors of the bias correction,
 *     lr (m/c1) / (sqrt(v/c2) + eps) = lr sqrt(c2)/c1  m / (sqrt(v) + eps sqrt(c2))
 *     lr (m/c1) / sqrt(v/c2 + eps)   = lr sqrt(c2)/c1  m / sqrt(v + eps c2)
 *     hat (end of the paper's section 2) = lr sqrt(c2)/c1  m / (sqrt(v) + eps) */
enum { BETA1, REST1, BETA2, REST2, RATE, INSIDE, OUTSIDE };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    double c1 = 1, c2 = 1;
    if (options->bias == BIAS_PAPER) {
        c1 = 1 - tw_integer_power(options->beta1, t);
        c2 = 1 - tw_integer_power(options->beta2, t);
    } else if (options->bias == BIAS_NOPOWER) {
        c1 = 1 - options->beta1;
        c2 = 1 - options->beta2;
    }
    double root_c2 = sqrt(c2);
    double outside = options->eps_at == EPS_OUTSIDE ? root_c2 * options->eps : options->eps;
    bool inside = options->eps_at == EPS_INSIDE;
    TW_SET_SCALARS(
        out, [BETA1] = options->beta1, [REST1] = 1 - options->beta1, [BETA2] = options->beta2,
        [REST2] = 1 - options->beta2, [RATE] = lr * root_c2 / c1,
        [INSIDE] = inside ? options->eps * c2 : 0, [OUTSIDE] = inside ? 0 : outside);
}

TW_KERNEL(adam, {
    const real beta1 = (real)scalars[BETA1], rest1 = (real)scalars[REST1];
    const real beta2 = (real)scalars[BETA2], rest2 = (real)scalars[REST2];
    const real inside = (real)scalars[INSIDE], outside = (real)scalars[OUTSIDE];
    const real rate = (real)scalars[RATE];
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
