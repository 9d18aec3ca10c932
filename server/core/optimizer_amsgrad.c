/* AMSGrad: Adam whose divisor never shrinks. Reddi, Kale and Kumar, "On the
 * Convergence of Adam and Beyond", 2018. Three forms are about:
 *
 * torch: the largest v so far, then the bias correction of the present t.
 * paper: the largest v so far, and no bias correction at all.
 * vhat:  the largest of the corrected v^ (what older documentation of torch said). */
#include "server/core/optimizer_moments.h"

enum { TORCH, PAPER, VHAT };

static const char *const form_names[] = {"torch", "paper", "vhat", NULL};

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-3, .text = "learning rate"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.999, .text = "decay of v, the mean of squares"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-8,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(eps_at), .type = TW_OPTION_ENUM, .fallback = TW_EPS_OUTSIDE,
     .names = tw_eps_at_names, .text = "outside: sqrt(vmax^) + eps; inside: sqrt(vmax^ + eps)"},
    {TW_MEMBER(form), .type = TW_OPTION_ENUM, .fallback = TORCH, .names = form_names,
     .text = "torch: bias correction after the maximum; paper: none; vhat: before it"},
};

/* vmax = max(vmax, scale v) */
enum { SCALE = TW_ADAM_OWN };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    enum tw_bias bias = options->form == PAPER ? TW_BIAS_NONE : TW_BIAS_PAPER;
    double c1 = tw_bias_divisor(bias, options->beta1, t);
    double c2 = tw_bias_divisor(bias, options->beta2, t);
    bool corrected = options->form == VHAT;
    tw_adam_scalars(options, lr, c1, corrected ? 1 : c2, out);
    out[SCALE] = corrected ? 1 / c2 : 1;
}

TW_KERNEL(amsgrad, {
    const real beta1 = (real)scalars[TW_ADAM_BETA1], rest1 = (real)scalars[TW_ADAM_REST1];
    const real beta2 = (real)scalars[TW_ADAM_BETA2], rest2 = (real)scalars[TW_ADAM_REST2];
    const real inside = (real)scalars[TW_ADAM_INSIDE], outside = (real)scalars[TW_ADAM_OUTSIDE];
    const real rate = (real)scalars[TW_ADAM_RATE], scale = (real)scalars[SCALE];
    EACH_ELEMENT {
        const real m = beta1 * s0[i] + rest1 * g[i];
        const real v = beta2 * s1[i] + rest2 * (g[i] * g[i]);
        const real now = scale * v;
        const real largest = s2[i] > now ? s2[i] : now;
        s0[i] = m;
        s1[i] = v;
        s2[i] = largest;
        w_out[i] = w_in[i] - rate * m / (root(largest + inside) + outside);
    }
})

const struct tw_optimizer tw_optimizer_amsgrad = {
    .name = "amsgrad",
    .formula = "m, v as adam; vmax = max(vmax, v); w -= lr m^ / (sqrt(vmax^) + eps)",
    .source = "Reddi, Kale and Kumar 2018, algorithm 2; torch.optim.Adam(amsgrad=True)",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 3,
    .state = {{"m", TW_STATE_ZERO}, {"v", TW_STATE_ZERO}, {"vmax", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = amsgrad_float,
    .apply_double = amsgrad_double,
};
