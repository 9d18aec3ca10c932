/* Mean squared error against real targets, or the one-hot vector of the label: the mean over the
 * outputs of (z_j - t_j)^2. */
#include "worker/nn/loss.h"

static double row(const void *options, const tw_real *out, int outputs, struct tw_target target,
                  tw_real *gradient) {
    double sum = 0.0;
    for (int i = 0; i < outputs; i++) {
        double difference = (double)out[i] - tw_target_at(target, i);
        sum += difference * difference;
        if (gradient != NULL)
            gradient[i] = (tw_real)(2.0 * difference / outputs);
    }
    return sum / outputs;
}

const struct tw_loss tw_loss_mean_squared_error = {
    .name = "mean_squared_error",
    .text = "mean over the outputs of (z_j - t_j)^2",
    .valued = true,
    .row = row,
};
