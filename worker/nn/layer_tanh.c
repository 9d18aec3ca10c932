/* The hyperbolic tangent, element by element, by functions of our own: the same bits
 * everywhere. With y the output, the slope is 1 - y^2. */
#include "worker/nn/elementwise.h"

static inline tw_real value(tw_real x, tw_real none) {
    return tw_real_tanh(x);
}

static inline tw_real slope(tw_real y, tw_real gradient, tw_real none) {
    return gradient * ((1 - y) * (1 + y));
}

TW_CLONES static void forward(const struct tw_layer_pass *pass) {
    tw_elementwise_forward(pass, value, 0);
}

TW_CLONES static void backward(const struct tw_layer_pass *pass) {
    tw_elementwise_backward(pass, slope, 0);
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
