/* AdaDelta: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012. The paper
 * has no learning rate; lr scales its step. */
#include "server/core/optimizer_kernels.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1, .text = "scale of the paper's step"},
    {TW_MEMBER(rho), TW_DECAY, .fallback = 0.95, .text = "decay of both means"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-6,
     .text = "added under both roots; it sets the size of the first steps: with 0 there are none"},
};

enum { RHO, REST, EPS, RATE };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    TW_SET_SCALARS(
        out, [RHO] = options->rho, [REST] = 1 - options->rho, [EPS] = options->eps, [RATE] = lr);
}

TW_KERNEL(adadelta, {
    const real rho = (real)scalars[RHO], rest = (real)scalars[REST];
    const real eps = (real)scalars[EPS], rate = (real)scalars[RATE];
    EACH_ELEMENT {
        const real r = rho * s0[i] + rest * (g[i] * g[i]);
        const real step = root(s1[i] + eps) / root(r + eps) * g[i];
        s0[i] = r;
        s1[i] = rho * s1[i] + rest * (step * step);
        w_out[i] = w_in[i] - rate * step;
    }
})

const struct tw_optimizer tw_optimizer_adadelta = {
    .name = "adadelta",
    .formula = "r = rho r + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(r + eps) g; "
               "u = rho u + (1 - rho) d^2; w -= lr d",
    .source = "Zeiler 2012, algorithm 1; torch.optim.Adadelta",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .state = {{"r", TW_STATE_ZERO}, {"u", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = adadelta_float,
    .apply_double = adadelta_double,
};
