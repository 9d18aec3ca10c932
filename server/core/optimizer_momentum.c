/* Momentum, or heavy ball: Polyak, "Some methods of speeding up the convergence of
 * iteration methods", 1964. The two forms differ only while lr changes: outside
 * (as PyTorch), v is a sum of gradients and a new lr holds for all of it at once;
 * inside (as textbooks), v is a sum of steps, each with the lr of its own time. */
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .required = true, .text = "learning rate"},
    {TW_MEMBER(momentum), TW_DECAY, .fallback = 0.9, .text = "decay of v"},
    {TW_MEMBER(dampening), TW_DECAY, .fallback = 0,
     .text = "gradients enter v times 1 - dampening; the first one enters whole"},
    {TW_MEMBER(lr_at), .type = TW_OPTION_ENUM, .fallback = TW_LR_OUTSIDE, .names = tw_lr_at_names,
     .text = "outside: w -= lr v; inside: v = momentum v + lr g, w -= v"},
};

/* Both forms are v = momentum v + gain g; w -= rate v. */
enum { MOMENTUM, GAIN, RATE };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    bool inside = options->lr_at == TW_LR_INSIDE;
    double share = t == 1 ? 1 : 1 - options->dampening; /* PyTorch: v starts as the gradient */
    TW_SET_SCALARS(out, [MOMENTUM] = options->momentum, [GAIN] = inside ? lr * share : share,
                   [RATE] = inside ? 1 : lr);
}

TW_KERNEL(momentum, {
    const real momentum = (real)scalars[MOMENTUM];
    const real gain = (real)scalars[GAIN];
    const real rate = (real)scalars[RATE];
    EACH_ELEMENT {
        const real v = momentum * s0[i] + gain * g[i];
        s0[i] = v;
        w_out[i] = w_in[i] - rate * v;
    }
})

/* Of the recurrence e(t + 1) = (1 + momentum - (1 - dampening) lr lambda) e(t) - momentum e(t - 1):
 * -1 becomes a root of it. */
static double limit(const struct tw_optimizer_options *options) {
    return 2 * (1 + options->momentum) / (1 - options->dampening);
}

const struct tw_optimizer tw_optimizer_momentum = {
    .name = "momentum",
    .formula = "v = momentum v + (1 - dampening) g; w -= lr v",
    .source = "Polyak 1964, equation 9; torch.optim.SGD",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 1,
    .state = {{"v", TW_STATE_ZERO}},
    .limit = {limit, "2 (1 + momentum) / ((1 - dampening) lambda_max)"},
    .prepare = prepare,
    .apply_float = momentum_float,
    .apply_double = momentum_double,
};
