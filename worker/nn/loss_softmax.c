/* Cross-entropy of the softmax: log(sum_j exp(z_j)) - z_label, with the maximum
 * subtracted first, so that no exponential overflows. Its derivative is softmax(z) -
 * one_hot(label). In double: a handful of classes is nothing beside the products, and
 * the loss is what finite differences check. */
#include "common/base/realmath.h"
#include "worker/nn/loss.h"

static double row(const float *out, int classes, int32_t label, float *gradient) {
    double largest = out[0], sum = 0.0, z_label = out[label], exp_label = 0.0;
    for (int i = 1; i < classes; i++)
        largest = out[i] > largest ? (double)out[i] : largest;
    for (int i = 0; i < classes; i++) {
        double e = tw_exp((double)out[i] - largest);
        sum += e;
        if (i == label)
            exp_label = e;
        if (gradient != NULL)
            gradient[i] = (float)e; /* out[i], when they are the same, was read */
    }
    if (gradient != NULL) {
        for (int i = 0; i < classes; i++)
            gradient[i] = (float)(gradient[i] / sum);
        gradient[label] = (float)((exp_label - sum) / sum);
    }
    return tw_log(sum) - (z_label - largest);
}

const struct tw_loss tw_loss_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .text = "log(sum_j exp(z_j)) - z_label",
    .row = row,
};
