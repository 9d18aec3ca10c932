/* Cross-entropy of the softmax: log(sum_j exp(z_j)) - z_label, with the maximum
 * subtracted first, so that no exponential overflows. Its derivative is softmax(z) -
 * one_hot(label). In double: a handful of classes is nothing beside the products, and
 * the loss is what finite differences check.
 *
 * With label smoothing s (Szegedy et al. 2016, "Rethinking the Inception Architecture",
 * section 7) the target of n classes is (1 - s) one_hot(label) + s / n: the loss becomes
 * log(sum_j exp(z_j)) - (1 - s) z_label - s mean_j z_j. */
#include "common/base/realmath.h"
#include "worker/nn/loss.h"

struct options {
    double smoothing;
};

static const struct tw_option_rule rules[] = {
    {.key = "smoothing",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, smoothing),
     .fallback = 0,
     .min = 0,
     .max = 1,
     .text = "part of the target that is spread evenly over all classes"},
};

/* What smoothing adds: s (z_label - mean_j z_j), of z below the largest. */
static double smoothed(double smoothing, const tw_real *out, int outputs, int32_t label,
                       double largest) {
    double mean = 0.0;
    for (int i = 0; i < outputs; i++)
        mean += ((double)out[i] - largest) / outputs;
    return smoothing * (((double)out[label] - largest) - mean);
}

static double row(const void *options, const tw_real *out, int outputs, struct tw_target target,
                  tw_real *gradient) {
    const int32_t label = target.label;
    const double smoothing = ((const struct options *)options)->smoothing;
    double largest = (double)out[0], sum = 0.0, z_label = (double)out[label];
    for (int i = 1; i < outputs; i++)
        largest = (double)out[i] > largest ? (double)out[i] : largest;
    double more = smoothing > 0 ? smoothed(smoothing, out, outputs, label, largest) : 0.0;
    double exp_label = tw_exp(z_label - largest);
    for (int i = 0; i < outputs; i++) {
        double e = tw_exp((double)out[i] - largest);
        sum += e;
        if (gradient != NULL)
            gradient[i] = (tw_real)e; /* out[i], when they are the same, was read */
    }
    if (gradient != NULL) {
        for (int i = 0; i < outputs; i++)
            gradient[i] = (tw_real)((double)gradient[i] / sum - smoothing / outputs);
        gradient[label] = (tw_real)((exp_label - sum) / sum + smoothing - smoothing / outputs);
    }
    return tw_log(sum) - (z_label - largest) + more;
}

const struct tw_loss tw_loss_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .text = "log(sum_j exp(z_j)) - z_label",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .answer = TW_ANSWER_SOFTMAX,
    .row = row,
};
