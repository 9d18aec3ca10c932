/* AdamW: Adam with weight decay beside it instead of inside the gradient.
 * Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019. As torch,
 * the decay of a step is lr * weight_decay (in the paper eta_t * lambda, where eta_t
 * is the schedule without the base rate alpha). */
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-3, .text = "learning rate"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.999, .text = "decay of v, the mean of squares"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-8,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(eps_at), .type = TW_OPTION_ENUM, .fallback = TW_EPS_OUTSIDE,
     .names = tw_eps_at_hat_names, .text = "as in adam"},
    {TW_MEMBER(bias), .type = TW_OPTION_ENUM, .fallback = TW_BIAS_PAPER, .names = tw_bias_names,
     .text = "as in adam"},
    {TW_MEMBER(weight_decay), TW_NOT_NEGATIVE, .fallback = 1e-2,
     .text = "weights shrink by lr * weight_decay of themselves, before the step"},
};

enum { KEEP = TW_ADAM_OWN };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    enum tw_bias bias = (enum tw_bias)options->bias;
    tw_adam_scalars(options, lr, tw_bias_divisor(bias, options->beta1, t),
                    tw_bias_divisor(bias, options->beta2, t), out);
    out[KEEP] = 1 - lr * options->weight_decay;
}

TW_KERNEL(adamw, {
    const real beta1 = (real)scalars[TW_ADAM_BETA1], rest1 = (real)scalars[TW_ADAM_REST1];
    const real beta2 = (real)scalars[TW_ADAM_BETA2], rest2 = (real)scalars[TW_ADAM_REST2];
    const real inside = (real)scalars[TW_ADAM_INSIDE], outside = (real)scalars[TW_ADAM_OUTSIDE];
    const real rate = (real)scalars[TW_ADAM_RATE], keep = (real)scalars[KEEP];
    EACH_ELEMENT {
        const real m = beta1 * s0[i] + rest1 * g[i];
        const real v = beta2 * s1[i] + rest2 * (g[i] * g[i]);
        s0[i] = m;
        s1[i] = v;
        w_out[i] = keep * w_in[i] - rate * m / (root(v + inside) + outside);
    }
})

const struct tw_optimizer tw_optimizer_adamw = {
    .name = "adamw",
    .formula = "m, v as adam; w -= lr weight_decay w; w -= lr m^ / (sqrt(v^) + eps)",
    .source = "Loshchilov and Hutter 2019, algorithm 2; torch.optim.AdamW",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .state = {{"m", TW_STATE_ZERO}, {"v", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = adamw_float,
    .apply_double = adamw_double,
};
