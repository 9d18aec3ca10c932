/* max(x, 0), element by element. A NaN stays a NaN, in both directions, so that a
 * run that diverges is seen. */
#include "common/tensor/clones.h"
#include "worker/nn/layer.h"

TW_CLONES static void forward(const struct tw_layer_pass *pass) {
    int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real *in = pass->in;
    tw_real *out = pass->out;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++)
        out[i] = in[i] < 0 ? 0 : in[i];
}

/* The sign of the output is that of the input: the input may be overwritten. */
TW_CLONES static void backward(const struct tw_layer_pass *pass) {
    if (pass->in_gradient == NULL)
        return;
    int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real *out = pass->out, *out_gradient = pass->out_gradient;
    tw_real *in_gradient = pass->in_gradient;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++) {
        tw_real slope = out_gradient[i]; /* read in any case, or the loop is not vectorised */
        in_gradient[i] = out[i] <= 0 ? 0 : slope;
    }
}

const struct tw_layer tw_layer_relu = {
    .name = "relu",
    .text = "max(x, 0), element by element",
    .in_place = true,
    .needs_out = true,
    .shape = tw_layer_same_shape,
    .forward = forward,
    .backward = backward,
};
