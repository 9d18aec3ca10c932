/* Where a way past some layers begins: what goes in here goes on as it is, and is added again
 * by the `add` that belongs to it. The two are like brackets: an add closes the last skip that is
 * open (layer_add.c). */
#include "common/tensor/clones.h"
#include "worker/nn/layer.h"

/* The slope by what went past the layers joins the one that came through them. */
TW_CLONES static void backward(const struct tw_layer_pass *pass) {
    const int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real *through = pass->out_gradient, *past = pass->aside_gradient;
    tw_real *in_gradient = pass->in_gradient;
    if (in_gradient == NULL)
        return;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++)
        in_gradient[i] = through[i] + past[i];
}

const struct tw_layer tw_layer_skip = {
    .name = "skip",
    .text = "a way past the layers up to the next add begins: a residual block",
    .in_place = true,
    .view = true,
    .role = TW_LAYER_OPENS,
    .shape = tw_layer_same_shape,
    .backward = backward,
};
