/* Layers that do the same to every element: their forward and backward pass, of which a layer
 * gives the function of one element and its slope. Used by layer_relu.c and its like.
 *
 *     TW_CLONES static void forward(const struct tw_layer_pass *pass) {
 *         tw_elementwise_forward(pass, value, 0);
 *     }
 *
 * Both loops become part of the function that calls them, with `value` and `slope` in place, and
 * so are vectorised for each instruction set that it is compiled for (common/tensor/clones.h).
 * The slope is told by the output: the input may be overwritten. `parameter` is the layer's one
 * option, where it has one.
 */
#ifndef TW_NN_ELEMENTWISE_H
#define TW_NN_ELEMENTWISE_H

#include "common/tensor/clones.h"
#include "worker/nn/layer.h"

/* out = value(in, parameter). */
static inline __attribute__((always_inline)) void
tw_elementwise_forward(const struct tw_layer_pass *pass,
                       tw_real (*value)(tw_real x, tw_real parameter), const tw_real parameter) {
    const int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real *in = pass->in;
    tw_real *out = pass->out;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++)
        out[i] = value(in[i], parameter);
}

/* in_gradient = slope(out, out_gradient, parameter), which multiplies by the slope at `out`. */
static inline __attribute__((always_inline)) void
tw_elementwise_backward(const struct tw_layer_pass *pass,
                        tw_real (*slope)(tw_real y, tw_real gradient, tw_real parameter),
                        const tw_real parameter) {
    if (pass->in_gradient == NULL)
        return;
    const int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real *out = pass->out, *out_gradient = pass->out_gradient;
    tw_real *in_gradient = pass->in_gradient;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++)
        in_gradient[i] = slope(out[i], out_gradient[i], parameter);
}

#endif
