/* Mean absolute error (L1) against the one-hot vector of the label: the mean over the
 * outputs of |z_j - [j = label]|. Its slope is 0 where they are equal. */
#include <math.h>

#include "worker/nn/loss.h"

static double row(const void *options, const tw_real *out, int outputs, int32_t label,
                  tw_real *gradient) {
    double sum = 0.0;
    for (int i = 0; i < outputs; i++) {
        double difference = (double)out[i] - (i == label ? 1.0 : 0.0);
        double sign = difference > 0 ? 1.0 : difference < 0 ? -1.0 : difference; /* 0, NaN stay */
        sum += fabs(difference);
        if (gradient != NULL)
            gradient[i] = (tw_real)(sign / outputs);
    }
    return sum / outputs;
}

const struct tw_loss tw_loss_mean_absolute_error = {
    .name = "mean_absolute_error",
    .text = "mean over the outputs of |z_j - [j = label]|",
    .row = row,
};
