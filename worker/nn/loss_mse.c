/* Mean squared error against the one-hot vector of the label: the mean over the
 * outputs of (z_j - [j = label])^2. */
#include "worker/nn/loss.h"

static double row(const float *out, int classes, int32_t label, float *gradient) {
    double sum = 0.0;
    for (int i = 0; i < classes; i++) {
        double difference = (double)out[i] - (i == label ? 1.0 : 0.0);
        sum += difference * difference;
        if (gradient != NULL)
            gradient[i] = (float)(2.0 * difference / classes);
    }
    return sum / classes;
}

const struct tw_loss tw_loss_mean_squared_error = {
    .name = "mean_squared_error",
    .text = "mean over the outputs of (z_j - [j = label])^2",
    .row = row,
};
