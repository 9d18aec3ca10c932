/* Binary cross-entropy with logits, the mean over the outputs of
 * log(1 + exp(z_j)) - t_j z_j, in the form that does not overflow:
 * max(z, 0) - t z + log(1 + exp(-|z|)). Its derivative is sigmoid(z_j) - t_j.
 *
 * With one output the target t is the label, 0 or 1: logistic regression. With several it is
 * one-hot: each output tells its own class from all others. Real targets are from 0 to 1. */
#include <math.h>

#include "common/base/realmath.h"
#include "worker/nn/loss.h"

/* log(1 + x) for 0 <= x <= 1, also where 1 + x is rounded to 1 (Kahan). */
static double log_1_plus(double x) {
    double u = 1 + x;
    return u == 1 ? x : tw_log(u) * (x / (u - 1));
}

/* log(1 + exp(z)) - t z, written for a target of 0 or of 1 so that nothing cancels. */
static double output(double z, double target, double *slope) {
    double e = tw_exp(-fabs(z)), rest = log_1_plus(e);
    if (target == 1) {
        *slope = -(z > 0 ? e : 1) / (1 + e);
        return (z > 0 ? 0 : -z) + rest;
    }
    *slope = (z < 0 ? e : 1) / (1 + e) - target;
    return (z < 0 ? 0 : z) - target * z + rest;
}

static double row(const void *options, const tw_real *out, int outputs, struct tw_target target,
                  tw_real *gradient) {
    double sum = 0.0, slope;
    bool single = target.values == NULL && outputs == 1;
    for (int i = 0; i < outputs; i++) {
        double wanted = single ? (double)target.label : tw_target_at(target, i);
        sum += output((double)out[i], wanted, &slope);
        if (gradient != NULL)
            gradient[i] = (tw_real)(slope / outputs);
    }
    return sum / outputs;
}

const struct tw_loss tw_loss_binary_cross_entropy = {
    .name = "binary_cross_entropy",
    .text = "mean over the outputs of log(1 + exp(z_j)) - t_j z_j; t is the label, with one "
            "output, else one-hot; or real, from 0 to 1",
    .binary = true,
    .valued = true,
    .parts = true,
    .answer = TW_ANSWER_SIGMOID,
    .row = row,
};
