/* Binary cross-entropy with logits, the mean over the outputs of
 * log(1 + exp(z_j)) - t_j z_j, in the form that does not overflow:
 * max(z, 0) - t z + log(1 + exp(-|z|)). Its derivative is sigmoid(z_j) - t_j.
 *
 * With one output the target t is the label, 0 or 1: logistic regression. With several it is
 * one-hot: each output tells its own class from all others. */
#include <math.h>

#include "common/base/realmath.h"
#include "worker/nn/loss.h"

/* log(1 + x) for 0 <= x <= 1, also where 1 + x is rounded to 1 (Kahan). */
static double log_1_plus(double x) {
    double u = 1 + x;
    return u == 1 ? x : tw_log(u) * (x / (u - 1));
}

static double row(const void *options, const tw_real *out, int outputs, int32_t label,
                  tw_real *gradient) {
    double sum = 0.0;
    for (int i = 0; i < outputs; i++) {
        bool on = outputs == 1 ? label == 1 : i == label;
        double z = on ? -(double)out[i] : (double)out[i]; /* wrong when above 0 */
        double e = tw_exp(-fabs(z));
        sum += (z < 0 ? 0 : z) + log_1_plus(e);
        if (gradient != NULL) {
            double sigmoid = (z < 0 ? e : 1) / (1 + e);
            gradient[i] = (tw_real)((on ? -sigmoid : sigmoid) / outputs);
        }
    }
    return sum / outputs;
}

const struct tw_loss tw_loss_binary_cross_entropy = {
    .name = "binary_cross_entropy",
    .text = "mean over the outputs of log(1 + exp(z_j)) - t_j z_j; t is the label, with one "
            "output, else one-hot",
    .binary = true,
    .row = row,
};
