/* Nesterov's momentum: the gradient is taken where the velocity is about to lead,
 * at x + momentum * velocity. A server publishes that very point as the weights,
 * so that workers need no step of their own. The two forms are two ways to keep it:
 *
 * lookahead (as PyTorch) stores the published point only. It is what is saved and
 * evaluated, and x is nowhere.
 * lookup (as textbooks) stores x as a state and publishes x + momentum * velocity
 * after each update.
 *
 * For constant lr both publish the same points, except for rounding. As in
 * optimizer_momentum.c, lr_at says what a change of lr means. */
#include "server/core/optimizer_moments.h"

enum { LOOKAHEAD, LOOKUP };

static const char *const form_names[] = {"lookahead", "lookup", NULL};

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .required = true, .text = "learning rate"},
    {TW_MEMBER(momentum), TW_DECAY, .fallback = 0.9, .text = "decay of v"},
    {TW_MEMBER(nesterov), .type = TW_OPTION_ENUM, .fallback = LOOKAHEAD, .names = form_names,
     .text = "lookahead: store the point ahead, where gradients are taken; lookup: store x and "
             "compute that point (one more state)"},
    {TW_MEMBER(lr_at), .type = TW_OPTION_ENUM, .fallback = TW_LR_OUTSIDE, .names = tw_lr_at_names,
     .text = "outside: steps are lr v; inside: v = momentum v + lr g, steps are v"},
};

/* lookahead: v = momentum v + gain g; w -= rate g + ahead v
 * lookup:    v = momentum v + gain g; x -= step v; w = x - ahead v */
enum { MOMENTUM, GAIN, RATE, STEP, AHEAD };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    bool inside = options->lr_at == TW_LR_INSIDE;
    double step = inside ? 1 : lr;
    TW_SET_SCALARS(out, [MOMENTUM] = options->momentum, [GAIN] = inside ? lr : 1, [RATE] = lr,
                   [STEP] = step, [AHEAD] = options->momentum * step);
}

TW_KERNEL(lookahead, {
    const real momentum = (real)scalars[MOMENTUM];
    const real gain = (real)scalars[GAIN];
    const real rate = (real)scalars[RATE];
    const real ahead = (real)scalars[AHEAD];
    EACH_ELEMENT {
        const real v = momentum * s0[i] + gain * g[i];
        s0[i] = v;
        w_out[i] = w_in[i] - (rate * g[i] + ahead * v);
    }
})

TW_KERNEL(lookup, {
    const real momentum = (real)scalars[MOMENTUM];
    const real gain = (real)scalars[GAIN];
    const real step = (real)scalars[STEP];
    const real ahead = (real)scalars[AHEAD];
    (void)w_in; /* the point ahead follows from x */
    EACH_ELEMENT {
        const real v = momentum * s0[i] + gain * g[i];
        const real x = s1[i] - step * v;
        s0[i] = v;
        s1[i] = x;
        w_out[i] = x - ahead * v;
    }
})

/* Of the recurrence e(t + 1) = (1 - lr lambda) ((1 + momentum) e(t) - momentum e(t - 1)): -1
 * becomes a root of it. */
static double limit(const struct tw_optimizer_options *options) {
    return 2 * (1 + options->momentum) / (1 + 2 * options->momentum);
}

#define LIMIT                                                                                      \
    { limit, "2 (1 + momentum) / ((1 + 2 momentum) lambda_max)" }

static const struct tw_optimizer lookup = {
    .name = "nesterov",
    .formula = "v = momentum v + g; x -= lr v; w = x - lr momentum v",
    .source = "Nesterov 1983; Sutskever et al. 2013, equations 3 and 4",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .state = {{"v", TW_STATE_ZERO}, {"x", TW_STATE_WEIGHTS}},
    .limit = LIMIT,
    .prepare = prepare,
    .apply_float = lookup_float,
    .apply_double = lookup_double,
};

static const struct tw_optimizer *form(const struct tw_optimizer_options *options);

const struct tw_optimizer tw_optimizer_nesterov = {
    .name = "nesterov",
    .formula = "v = momentum v + g; w -= lr (g + momentum v)",
    .source = "Nesterov 1983; Sutskever et al. 2013; torch.optim.SGD(nesterov=True)",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 1,
    .state = {{"v", TW_STATE_ZERO}},
    .form = form,
    .limit = LIMIT,
    .prepare = prepare,
    .apply_float = lookahead_float,
    .apply_double = lookahead_double,
};

static const struct tw_optimizer *form(const struct tw_optimizer_options *options) {
    return options->nesterov == LOOKUP ? &lookup : &tw_optimizer_nesterov;
}
