/* RAdam: Adam without its divisor while that rests on too few gradients, and then
 * with a rectified rate. Liu et al., "On the Variance of the Adaptive Learning Rate
 * and Beyond", 2020. As torch: rectified when rho_t > 5 (the paper: 4), and eps is
 * added to the root of v before its bias correction. */
#include "server/core/optimizer_moments.h"

static const struct tw_option_rule rules[] = {
    {TW_MEMBER(lr), TW_POSITIVE, .fallback = 1e-3, .text = "learning rate"},
    {TW_MEMBER(beta1), TW_DECAY, .fallback = 0.9, .text = "decay of m, the mean of gradients"},
    {TW_MEMBER(beta2), TW_DECAY, .fallback = 0.999,
     .text = "decay of v, the mean of squares; below 2/3 there is never a divisor"},
    {TW_MEMBER(eps), TW_NOT_NEGATIVE, .fallback = 1e-8,
     .text = "keeps the divisor from 0; with 0, weights whose gradient was always 0 become NaN"},
};

/* w -= rate m / (scale root(v) + outside); not rectified: scale 0, outside 1 */
enum { BETA1, REST1, BETA2, REST2, RATE, SCALE, OUTSIDE };

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    double c1 = tw_bias_divisor(TW_BIAS_PAPER, options->beta1, t);
    double power = tw_integer_power(options->beta2, t);
    double limit = 2 / (1 - options->beta2) - 1;
    double rho = limit - 2 * (double)t * power / (1 - power);
    bool rectified = rho > 5;
    double rate = lr / c1;
    if (rectified)
        rate *= sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)) *
                sqrt(1 - power);
    TW_SET_SCALARS(out, [BETA1] = options->beta1, [REST1] = 1 - options->beta1,
                   [BETA2] = options->beta2, [REST2] = 1 - options->beta2, [RATE] = rate,
                   [SCALE] = rectified, [OUTSIDE] = rectified ? options->eps : 1);
}

TW_KERNEL(radam, {
    const real beta1 = (real)scalars[BETA1], rest1 = (real)scalars[REST1];
    const real beta2 = (real)scalars[BETA2], rest2 = (real)scalars[REST2];
    const real scale = (real)scalars[SCALE], outside = (real)scalars[OUTSIDE];
    const real rate = (real)scalars[RATE];
    EACH_ELEMENT {
        const real m = beta1 * s0[i] + rest1 * g[i];
        const real v = beta2 * s1[i] + rest2 * (g[i] * g[i]);
        s0[i] = m;
        s1[i] = v;
        w_out[i] = w_in[i] - rate * m / (scale * root(v) + outside);
    }
})

const struct tw_optimizer tw_optimizer_radam = {
    .name = "radam",
    .formula = "m, v as adam; rho_t > 5: w -= lr rect_t m^ sqrt(1 - beta2^t) / (sqrt(v) + eps); "
               "else w -= lr m^",
    .source = "Liu et al. 2020, algorithm 2; torch.optim.RAdam",
    .rules = rules,
    .rule_count = TW_COUNT(rules),
    .states = 2,
    .state = {{"m", TW_STATE_ZERO}, {"v", TW_STATE_ZERO}},
    .prepare = prepare,
    .apply_float = radam_float,
    .apply_double = radam_double,
};
