/* The hyperbolic tangent, element by element, by functions of our own: the same bits
 * everywhere. With y the output, the slope is 1 - y^2. */
#include "common/tensor/clones.h"
#include "worker/nn/layer.h"

TW_CLONES static void forward(const struct tw_layer_pass *pass) {
    int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real *in = pass->in;
    tw_real *out = pass->out;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++)
        out[i] = tw_real_tanh(in[i]);
}

TW_CLONES static void backward(const struct tw_layer_pass *pass) {
    if (pass->in_gradient == NULL)
        return;
    int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real *out = pass->out, *out_gradient = pass->out_gradient;
    tw_real *in_gradient = pass->in_gradient;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++)
        in_gradient[i] = out_gradient[i] * ((1 - out[i]) * (1 + out[i]));
}

const struct tw_layer tw_layer_tanh = {
    .name = "tanh",
    .text = "the hyperbolic tangent, element by element",
    .in_place = true,
    .needs_out = true,
    .shape = tw_layer_same_shape,
    .forward = forward,
    .backward = backward,
};
