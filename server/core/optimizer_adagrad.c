/* AdaGrad: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online
 * Learning and Stochastic Optimization", 2011. */
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-2, .text = "learning rate"},
    {TW_MEMBER(lr_decay), TW_NOT_NEGATIVE, .fallback = 0,
     .text = "update t has the rate lr / (1 + (t - 1) lr_decay)"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-10,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(eps_at), .type = TW_OPTION_ENUM, .fallback = TW_EPS_OUTSIDE,
     .names = tw_eps_at_names, .text = "outside: sqrt(r) + eps; inside: sqrt(r + eps)"},
};

enum { RATE, INSIDE, OUTSIDE };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    struct tw_eps eps = tw_eps_place((enum tw_eps_at)options->eps_at, options->eps, 1);
    TW_SET_SCALARS(out, [RATE] = lr / (1 + (double)(t - 1) * options->lr_decay),
                   [INSIDE] = eps.inside, [OUTSIDE] = eps.outside);
}

TW_KERNEL(adagrad, {
    const real inside = (real)scalars[INSIDE], outside = (real)scalars[OUTSIDE];
    const real rate = (real)scalars[RATE];
    EACH_ELEMENT {
        const real r = s0[i] + g[i] * g[i];
        s0[i] = r;
        w_out[i] = w_in[i] - rate * g[i] / (root(r + inside) + outside);
    }
})

const struct tw_optimizer tw_optimizer_adagrad = {
    .name = "adagrad",
    .formula = "r += g^2; w -= lr g / (sqrt(r) + eps)",
    .source = "Duchi, Hazan and Singer 2011; torch.optim.Adagrad",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 1,
    .state = {{"r", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = adagrad_float,
    .apply_double = adagrad_double,
};
