/* Mean absolute error (L1) against real targets, or the one-hot vector of the label: the mean over
 * the outputs of |z_j - t_j|. Its slope is 0 where they are equal. */
#include <math.h>

#include "worker/nn/loss.h"

static double row(const void *options, const tw_real *out, int outputs, struct tw_target target,
                  tw_real *gradient) {
    double sum = 0.0;
    for (int i = 0; i < outputs; i++) {
        double difference = (double)out[i] - tw_target_at(target, i);
        double sign = difference > 0 ? 1.0 : difference < 0 ? -1.0 : difference; /* 0, NaN stay */
        sum += fabs(difference);
        if (gradient != NULL)
            gradient[i] = (tw_real)(sign / outputs);
    }
    return sum / outputs;
}

const struct tw_loss tw_loss_mean_absolute_error = {
    .name = "mean_absolute_error",
    .text = "mean over the outputs of |z_j - t_j|",
    .valued = true,
    .row = row,
};
