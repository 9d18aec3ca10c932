/* RMSProp: Tieleman and Hinton, Coursera lecture 6e, 2012. One step,
 *     d = g / (root(r) + eps),   r the fading mean of g^2,
 * and what may be built on it:
 *
 * centered: the fading variance of g instead of its mean square (Graves 2013).
 * momentum: steps are a velocity that d accelerates.
 * nesterov: and the published weights lie ahead by one more step of the velocity, where
 *           the gradient is wanted, in the two forms of optimizer_nesterov.c.
 *
 * Each has the states it needs and no more: hence a table for each. */
#include "server/core/optimizer_moments.h"

enum { NONE, LOOKAHEAD, LOOKUP };

static const char *const nesterov_names[] = {"none", "lookahead", "lookup", NULL};

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-3, .text = "learning rate"},
    {TW_MEMBER(rho), TW_DECAY, .fallback = 0.9, .text = "decay of r, the mean of squares"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-8,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
    {TW_MEMBER(eps_at), .type = TW_OPTION_ENUM, .fallback = TW_EPS_OUTSIDE,
     .names = tw_eps_at_names, .text = "outside: sqrt(r) + eps; inside: sqrt(r + eps)"},
    {TW_MEMBER(centered), .type = TW_OPTION_BOOL, .fallback = 0,
     .text = "r - (mean of g)^2 instead of r"},
    {TW_MEMBER(momentum), TW_DECAY, .fallback = 0, .text = "decay of the velocity b; 0: none"},
    {TW_MEMBER(nesterov), .type = TW_OPTION_ENUM, .fallback = NONE, .names = nesterov_names,
     .text = "with momentum: lookahead stores the point ahead, lookup stores x and computes it"},
    {TW_MEMBER(lr_at), .type = TW_OPTION_ENUM, .fallback = TW_LR_OUTSIDE, .names = tw_lr_at_names,
     .text = "with momentum: outside: steps are lr b; inside: b = momentum b + lr d"},
};

/* plain:    w -= rate d
 * velocity: b = momentum b + gain d; w -= direct d + rate b
 * lookup:   b = momentum b + gain d; w = x - direct b; x -= rate b */
enum { RHO, REST, INSIDE, OUTSIDE, MOMENTUM, GAIN, RATE, DIRECT };

static void set(const struct tw_optimizer_options *options, double gain, double rate, double direct,
                double *out) {
    struct tw_eps eps = tw_eps_place((enum tw_eps_at)options->eps_at, options->eps, 1);
    TW_SET_SCALARS(out, [RHO] = options->rho, [REST] = 1 - options->rho, [INSIDE] = eps.inside,
                   [OUTSIDE] = eps.outside, [MOMENTUM] = options->momentum, [GAIN] = gain,
                   [RATE] = rate, [DIRECT] = direct);
}

static void prepare_plain(const struct tw_optimizer_options *options, uint64_t t, double lr,
                          double *out) {
    set(options, 1, lr, 0, out);
}

static void prepare_velocity(const struct tw_optimizer_options *options, uint64_t t, double lr,
                             double *out) {
    bool inside = options->lr_at == TW_LR_INSIDE;
    double step = inside ? 1 : lr, ahead = options->momentum * step;
    if (options->nesterov == LOOKAHEAD)
        set(options, inside ? lr : 1, ahead, lr, out);
    else
        set(options, inside ? lr : 1, step, options->nesterov == LOOKUP ? step + ahead : 0, out);
}

/* The pieces of the six bodies. Rounding may make the variance negative when the
 * gradient hardly changes. */
#define SCALARS                                                                                    \
    const real rho = (real)scalars[RHO];                                                           \
    const real rest = (real)scalars[REST];                                                         \
    const real inside = (real)scalars[INSIDE];                                                     \
    const real outside = (real)scalars[OUTSIDE];                                                   \
    const real momentum = (real)scalars[MOMENTUM];                                                 \
    const real gain = (real)scalars[GAIN];                                                         \
    const real rate = (real)scalars[RATE];                                                         \
    const real direct = (real)scalars[DIRECT];                                                     \
    (void)momentum, (void)gain, (void)direct
#define SQUARE                                                                                     \
    const real r = rho * s0[i] + rest * (g[i] * g[i]);                                             \
    s0[i] = r
#define STEP const real d = g[i] / (root(r + inside) + outside)
#define STEP_CENTERED(m)                                                                           \
    const real mean = rho * m[i] + rest * g[i];                                                    \
    const real variance = r - mean * mean;                                                         \
    const real d = g[i] / (root((variance < 0 ? 0 : variance) + inside) + outside);                \
    m[i] = mean
#define VELOCITY                                                                                   \
    const real b = momentum * s1[i] + gain * d;                                                    \
    s1[i] = b

TW_KERNEL(plain, {
    SCALARS;
    EACH_ELEMENT {
        SQUARE;
        STEP;
        w_out[i] = w_in[i] - rate * d;
    }
})

TW_KERNEL(centered, {
    SCALARS;
    EACH_ELEMENT {
        SQUARE;
        STEP_CENTERED(s1);
        w_out[i] = w_in[i] - rate * d;
    }
})

TW_KERNEL(velocity, {
    SCALARS;
    EACH_ELEMENT {
        SQUARE;
        STEP;
        VELOCITY;
        w_out[i] = w_in[i] - (direct * d + rate * b);
    }
})

TW_KERNEL(velocity_centered, {
    SCALARS;
    EACH_ELEMENT {
        SQUARE;
        STEP_CENTERED(s2);
        VELOCITY;
        w_out[i] = w_in[i] - (direct * d + rate * b);
    }
})

TW_KERNEL(lookup, {
    SCALARS;
    (void)w_in; /* the point ahead follows from x */
    EACH_ELEMENT {
        SQUARE;
        STEP;
        VELOCITY;
        const real x = s2[i];
        s2[i] = x - rate * b;
        w_out[i] = x - direct * b;
    }
})

TW_KERNEL(lookup_centered, {
    SCALARS;
    (void)w_in;
    EACH_ELEMENT {
        SQUARE;
        STEP_CENTERED(s3);
        VELOCITY;
        const real x = s2[i];
        s2[i] = x - rate * b;
        w_out[i] = x - direct * b;
    }
})

#define TABLE(kernel, law, scalars, count, ...)                                                    \
    {                                                                                              \
        .name = "rmsprop", .formula = law,                                                         \
        .source = "Tieleman and Hinton 2012, lecture 6e; torch.optim.RMSprop", .rules = rules,     \
        .rule_count = TW_COUNT(rules), .states = count, .state = {__VA_ARGS__}, .form = form,      \
        .prepare = scalars, .apply_float = kernel##_float, .apply_double = kernel##_double,        \
    }
#define MEANS "r = rho r + (1 - rho) g^2; d = g / (sqrt(r) + eps); "
#define MEANS_CENTERED                                                                             \
    "r = rho r + (1 - rho) g^2; m = rho m + (1 - rho) g; d = g / (sqrt(r - m^2) + eps); "
#define HEAVY_BALL "b = momentum b + d; w -= lr b"
#define POINT_AHEAD "b = momentum b + d; w -= lr (d + momentum b)"
#define LOOKUP_OF_X "b = momentum b + d; x -= lr b; w = x - lr momentum b"

static const struct tw_optimizer *form(const struct tw_optimizer_options *options);

const struct tw_optimizer tw_optimizer_rmsprop =
    TABLE(plain, MEANS "w -= lr d", prepare_plain, 1, {.name = "r"});

static const struct tw_optimizer with_momentum[3][2] = {
    {TABLE(velocity, MEANS HEAVY_BALL, prepare_velocity, 2, {.name = "r"}, {.name = "b"}),
     TABLE(velocity_centered, MEANS_CENTERED HEAVY_BALL, prepare_velocity, 3, {.name = "r"},
           {.name = "b"}, {.name = "m"})},
    {TABLE(velocity, MEANS POINT_AHEAD, prepare_velocity, 2, {.name = "r"}, {.name = "b"}),
     TABLE(velocity_centered, MEANS_CENTERED POINT_AHEAD, prepare_velocity, 3, {.name = "r"},
           {.name = "b"}, {.name = "m"})},
    {TABLE(lookup, MEANS LOOKUP_OF_X, prepare_velocity, 3, {.name = "r"}, {.name = "b"},
           {"x", TW_STATE_WEIGHTS}),
     TABLE(lookup_centered, MEANS_CENTERED LOOKUP_OF_X, prepare_velocity, 4, {.name = "r"},
           {.name = "b"}, {"x", TW_STATE_WEIGHTS}, {.name = "m"})},
};

static const struct tw_optimizer centered_only =
    TABLE(centered, MEANS_CENTERED "w -= lr d", prepare_plain, 2, {.name = "r"}, {.name = "m"});

static const struct tw_optimizer *form(const struct tw_optimizer_options *options) {
    if (options->momentum > 0)
        return &with_momentum[options->nesterov][options->centered];
    return options->centered ? &centered_only : &tw_optimizer_rmsprop;
}
