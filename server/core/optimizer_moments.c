#include "server/core/optimizer_moments.h"

const char *const tw_eps_at_names[] = {"outside", "inside", NULL};
const char *const tw_eps_at_hat_names[] = {"outside", "inside", "hat", NULL};
const char *const tw_bias_names[] = {"paper", "nopower", "none", NULL};
const char *const tw_lr_at_names[] = {"outside", "inside", NULL};

double tw_bias_divisor(enum tw_bias bias, double beta, uint64_t t) {
    if (bias == TW_BIAS_NONE)
        return 1;
    return 1 - (bias == TW_BIAS_PAPER ? tw_integer_power(beta, t) : beta);
}

struct tw_eps tw_eps_place(enum tw_eps_at at, double eps, double c2) {
    if (at == TW_EPS_INSIDE)
        return (struct tw_eps){.inside = eps * c2};
    return (struct tw_eps){.outside = at == TW_EPS_OUTSIDE ? eps * sqrt(c2) : eps};
}

void tw_adam_scalars(const struct tw_optimizer_options *options, double lr, double c1, double c2,
                     double *out) {
    struct tw_eps eps = tw_eps_place((enum tw_eps_at)options->eps_at, options->eps, c2);
    TW_SET_SCALARS(out, [TW_ADAM_BETA1] = options->beta1, [TW_ADAM_REST1] = 1 - options->beta1,
                   [TW_ADAM_BETA2] = options->beta2, [TW_ADAM_REST2] = 1 - options->beta2,
                   [TW_ADAM_RATE] = lr * sqrt(c2) / c1, [TW_ADAM_INSIDE] = eps.inside,
                   [TW_ADAM_OUTSIDE] = eps.outside);
}

double tw_trust_ratio(double trust, double weights, double step) {
    if (weights == 0 || step == 0)
        return 1;
    return fmin(trust * weights / step, 0x1p100);
}

/* By squaring: unlike pow() the same bits with every C library. */
double tw_integer_power(double base, uint64_t t) {
    double result = 1;
    for (; t > 0; t >>= 1) {
        if (t & 1) {
            result *= base;
        }
        base *= base;
    }
    return result;
}
