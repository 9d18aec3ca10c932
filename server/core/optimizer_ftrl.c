/* FTRL-Proximal: for linear models with many features that are seldom seen; l1 makes
 * weights exactly 0. McMahan et al., "Ad Click Prediction: a View from the
 * Trenches", 2013. The weights follow from z and n alone: what they start with is
 * used for the first gradient and then forgotten, as the paper's start at 0. */
#include "server/core/optimizer_kernels.h"

static const struct tw_option_rule rules[] = {
    {.key = "alpha",
     .offset = offsetof(struct tw_optimizer_options, lr),
     TW_POSITIVE,
     .required = true,
     .text = "learning rate"},
    {TW_MEMBER(beta), TW_NOT_NEGATIVE, .fallback = 1,
     .text = "a weight's own rate is alpha / (beta + the root of its sum of squares)"},
    {TW_MEMBER(l1), TW_NOT_NEGATIVE, .fallback = 0, .text = "strength of |w|: makes zeros"},
    {TW_MEMBER(l2), TW_NOT_NEGATIVE, .fallback = 0, .text = "strength of w^2 / 2"},
};

enum { INVERSE, BETA, L1, L2 };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    TW_SET_SCALARS(
        out, [INVERSE] = 1 / lr, [BETA] = options->beta, [L1] = options->l1, [L2] = options->l2);
}

/* What the two roots are rounded by matters to z as much as its own rounding, however small
 * their difference is: sigma w is at most |z| (1 - root(n) / root(n + g^2)). And the sum of all
 * sigma stays root(n) / alpha of the n that is stored. (g^2 / (the sum of the roots) takes one
 * division more, and then longer than the memory.) */
TW_KERNEL(ftrl, {
    const real inverse = (real)scalars[INVERSE], beta = (real)scalars[BETA];
    const real l1 = (real)scalars[L1], l2 = (real)scalars[L2];
    const real least = _Generic((real)0, float : 0x1p-126f, double : 0x1p-1022); /* no 0 / 0 */
    EACH_ELEMENT {
        const real n = s1[i] + g[i] * g[i];
        const real root_n = root(n);
        const real sigma = (root_n - root(s1[i])) * inverse;
        const real z = s0[i] + (g[i] - sigma * w_in[i]);
        const real kept = z > l1 ? l1 : z < -l1 ? -l1 : z;
        const real below = (beta + root_n) * inverse + l2;
        s0[i] = z;
        s1[i] = n;
        w_out[i] = (kept - z) / (below > least ? below : least);
    }
})

const struct tw_optimizer tw_optimizer_ftrl = {
    .name = "ftrl-proximal",
    .formula = "s = (sqrt(n + g^2) - sqrt(n)) / alpha; z += g - s w; n += g^2; w = 0 if |z| <= l1, "
               "else -(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2)",
    .source = "McMahan et al. 2013, algorithm 1",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .weighs_by_rate = true,
    .state = {{"z", TW_STATE_ZERO}, {"n", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = ftrl_float,
    .apply_double = ftrl_double,
};
