/* x where x > 0, else slope x, element by element (Maas, Hannun and Ng 2013, "Rectifier
 * Nonlinearities Improve Neural Network Acoustic Models", section 2). */
#include "worker/nn/elementwise.h"

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

static inline tw_real value(tw_real x, tw_real below) {
    return x < 0 ? below * x : x;
}

/* The output is above 0 where the input is. */
static inline tw_real slope(tw_real y, tw_real gradient, tw_real below) {
    return y <= 0 ? below * gradient : gradient;
}

static tw_real below_of(const struct tw_layer_pass *pass) {
    return (tw_real)((const struct options *)pass->options)->slope;
}

TW_CLONES static void forward(const struct tw_layer_pass *pass) {
    tw_elementwise_forward(pass, value, below_of(pass));
}

TW_CLONES static void backward(const struct tw_layer_pass *pass) {
    tw_elementwise_backward(pass, slope, below_of(pass));
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
