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

/* sigma = (root(n + g^2) - root(n)) / alpha, without the difference of two numbers
 * that are nearly the same. */
TW_KERNEL(ftrl, {
    const real inverse = (real)scalars[INVERSE], beta = (real)scalars[BETA];
    const real l1 = (real)scalars[L1], l2 = (real)scalars[L2];
    EACH_ELEMENT {
        const real square = g[i] * g[i];
        const real n = s1[i] + square;
        const real root_n = root(n);
        const real roots = root_n + root(s1[i]);
        const real sigma = roots > 0 ? square / roots * inverse : 0;
        const real z = s0[i] + (g[i] - sigma * w_in[i]);
        const real outside = z > l1 ? z - l1 : z < -l1 ? z + l1 : 0;
        const real w = outside / ((beta + root_n) * inverse + l2);
        s0[i] = z;
        s1[i] = n;
        w_out[i] = outside > 0 || outside < 0 ? -w : 0;
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
    .state = {{"z", TW_STATE_ZERO}, {"n", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = ftrl_float,
    .apply_double = ftrl_double,
};
