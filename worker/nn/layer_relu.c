/* max(x, 0), element by element. A NaN stays a NaN, in both directions, so that a
 * run that diverges is seen. */
#include "worker/nn/elementwise.h"

static inline tw_real value(tw_real x, tw_real none) {
    return x < 0 ? 0 : x;
}

/* The sign of the output is that of the input. */
static inline tw_real slope(tw_real y, tw_real gradient, tw_real none) {
    return y <= 0 ? 0 : gradient;
}

TW_CLONES static void forward(const struct tw_layer_pass *pass) {
    tw_elementwise_forward(pass, value, 0);
}

TW_CLONES static void backward(const struct tw_layer_pass *pass) {
    tw_elementwise_backward(pass, slope, 0);
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
