/* x where x > 0, else slope x, element by element (Maas, Hannun and Ng 2013, "Rectifier
 * Nonlinearities Improve Neural Network Acoustic Models", section 2). */
#include "common/tensor/clones.h"
#include "worker/nn/layer.h"

struct options {
    double slope;
};

static const struct tw_option_rule rules[] = {
    {.key = "slope",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, slope),
     .fallback = 0.01,
     .min = 0,
     .max = 1,
     .text = "below 0"},
};

TW_CLONES static void forward(const struct tw_layer_pass *pass) {
    int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real slope = (tw_real)((const struct options *)pass->options)->slope;
    const tw_real *in = pass->in;
    tw_real *out = pass->out;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++) {
        tw_real below = slope * in[i];
        out[i] = in[i] < 0 ? below : in[i];
    }
}

/* The output is above 0 where the input is: the input may be overwritten. */
TW_CLONES static void backward(const struct tw_layer_pass *pass) {
    if (pass->in_gradient == NULL)
        return;
    int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real slope = (tw_real)((const struct options *)pass->options)->slope;
    const tw_real *out = pass->out, *out_gradient = pass->out_gradient;
    tw_real *in_gradient = pass->in_gradient;
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++) {
        tw_real above = out_gradient[i], below = slope * above;
        in_gradient[i] = out[i] <= 0 ? below : above;
    }
}

const struct tw_layer tw_layer_leaky_relu = {
    .name = "leaky_relu",
    .text = "x where x > 0, else slope x, element by element",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .in_place = true,
    .needs_out = true,
    .shape = tw_layer_same_shape,
    .forward = forward,
    .backward = backward,
};
