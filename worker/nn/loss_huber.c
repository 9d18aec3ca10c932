/* Huber's loss against real targets, or the one-hot vector of the label: with d_j = z_j - t_j, the
 * mean over the outputs of d_j^2 / 2 where |d_j| <= delta, else delta (|d_j| - delta / 2)
 * (Huber 1964, "Robust Estimation of a Location Parameter", eq. 2.4 with its k = delta). */
#include <math.h>

#include "worker/nn/loss.h"

struct options {
    double delta;
};

static const struct tw_option_rule rules[] = {
    {.key = "delta",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, delta),
     .fallback = 1,
     .min = 0,
     .max = INFINITY,
     .min_open = true,
     .max_open = true,
     .text = "up to here the loss is quadratic, beyond it linear"},
};

static double row(const void *options, const tw_real *out, int outputs, struct tw_target target,
                  tw_real *gradient) {
    const double delta = ((const struct options *)options)->delta;
    double sum = 0.0;
    for (int i = 0; i < outputs; i++) {
        double difference = (double)out[i] - tw_target_at(target, i), size = fabs(difference);
        bool far = size > delta;
        sum += far ? delta * (size - delta / 2) : difference * difference / 2;
        if (gradient != NULL)
            gradient[i] = (tw_real)((far ? copysign(delta, difference) : difference) / outputs);
    }
    return sum / outputs;
}

const struct tw_loss tw_loss_huber = {
    .name = "huber",
    .text = "mean over the outputs of d^2 / 2, linear beyond delta, d = z_j - t_j",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .valued = true,
    .row = row,
};
