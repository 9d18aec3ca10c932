/* exp(x_j) / sum_k exp(x_k) over the n outputs of a row [n], with the largest x subtracted
 * first, so that nothing overflows. For nets whose outputs shall be probabilities, or that
 * weigh things against each other; the loss softmax_cross_entropy has its own. */
#include "worker/nn/layer.h"

static enum tw_status shape(const struct tw_variant *variant, const void *options,
                            const struct tw_shape *in, struct tw_shape *out,
                            struct tw_error *error) {
    char text[256];
    if (in->dims != 1)
        return tw_job_error(error, variant->where, variant->path,
                            "softmax needs inputs of one dimension, [n], but gets %s; put flatten "
                            "before it",
                            tw_shape_text(in->dims, in->size, text, sizeof text));
    *out = *in;
    return TW_OK;
}

static void forward_row(const tw_real *in, int64_t n, tw_real *out) {
    tw_real largest = in[0], sum = 0;
    for (int64_t i = 1; i < n; i++)
        largest = in[i] > largest ? in[i] : largest;
    for (int64_t i = 0; i < n; i++) {
        out[i] = tw_real_exp(in[i] - largest);
        sum += out[i];
    }
    for (int64_t i = 0; i < n; i++)
        out[i] /= sum;
}

static void forward(const struct tw_layer_pass *pass) {
    int64_t n = pass->in_shape->elements;
    for (int row = 0; row < pass->rows; row++)
        forward_row(pass->in + row * n, n, pass->out + row * n);
}

/* By x_j: y_j (g_j - sum_k g_k y_k). */
static void backward(const struct tw_layer_pass *pass) {
    int64_t n = pass->in_shape->elements;
    for (int row = 0; pass->in_gradient != NULL && row < pass->rows; row++) {
        const tw_real *out = pass->out + row * n, *out_gradient = pass->out_gradient + row * n;
        tw_real *in_gradient = pass->in_gradient + row * n, sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += out_gradient[i] * out[i];
        for (int64_t i = 0; i < n; i++)
            in_gradient[i] = out[i] * (out_gradient[i] - sum);
    }
}

/* A difference, an exponential, a sum and a quotient each; the exponential counts as one. */
static double flop(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    return 4.0 * (double)in->elements;
}

const struct tw_layer tw_layer_softmax = {
    .name = "softmax",
    .text = "exp(x_j) / sum_k exp(x_k), over the outputs of a sample",
    .in_place = true,
    .needs_out = true,
    .shape = shape,
    .flop = flop,
    .forward = forward,
    .backward = backward,
};
