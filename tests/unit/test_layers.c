/* Each layer alone, through its table: backward against finite differences. All layers
 * are piecewise linear in inputs and in weights, so with a step that crosses no kink a
 * difference has no error but rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "worker/nn/gemm.h"
#include "worker/nn/layer.h"

enum { ROWS = 3, IN = 5, OUT = 4 };
#define STEP 0.125

struct call {
    const struct tw_layer *layer;
    struct tw_shape in_shape, out_shape;
    float in[ROWS * IN], weight[IN * OUT], bias[OUT], pull[ROWS * IN];
};

static void make(struct call *call, const char *name, int out) {
    const struct tw_variant variant = {.name = name, .path = "model.layers[0]"};
    struct tw_error error;
    assert_int_equal(tw_layer_find(&call->layer, &variant, &error), TW_OK);
    assert_true(tw_shape_set(&call->in_shape, 1, (int64_t[]){IN}));
    assert_true(tw_shape_set(&call->out_shape, 1, (int64_t[]){out}));
    for (int i = 0; i < ROWS * IN; i++) { /* none within STEP of 0 */
        call->in[i] = (float)(i % 2 ? -1 : 1) * (0.25f + (float)((i * 7) % 13) / 16.0f);
        call->pull[i] = (float)((i * 5) % 11) / 8.0f - 0.5f;
    }
    for (int i = 0; i < IN * OUT; i++)
        call->weight[i] = (float)((i * 11) % 17) / 16.0f - 0.5f;
    for (int i = 0; i < OUT; i++)
        call->bias[i] = (float)i / 4.0f - 0.5f;
}

/* The outputs, each times a weight of its own, summed: its gradient by the outputs is
 * `pull`. */
static double value_of(const struct call *call) {
    const float *weights[] = {call->weight, call->bias};
    float out[ROWS * IN];
    const struct tw_layer_pass pass = {.rows = ROWS,
                                       .in_shape = &call->in_shape,
                                       .out_shape = &call->out_shape,
                                       .weights = weights,
                                       .in = call->in,
                                       .out = out};
    call->layer->forward(&pass);
    double sum = 0.0;
    for (int i = 0; i < ROWS * (int)call->out_shape.elements; i++)
        sum += (double)out[i] * call->pull[i];
    return sum;
}

static void check_slopes(struct call *call, float *values, const float *gradient, int count) {
    for (int i = 0; i < count; i++) {
        float kept = values[i];
        values[i] = kept + (float)STEP;
        double above = value_of(call);
        values[i] = kept - (float)STEP;
        double below = value_of(call);
        values[i] = kept;
        assert_float_equal(gradient[i], (above - below) / (2 * STEP), 1e-5);
    }
}

static void check(struct call *call, bool has_tensors) {
    const float *weights[] = {call->weight, call->bias};
    float weight_gradient[IN * OUT], bias_gradient[OUT], in_gradient[ROWS * IN], out[ROWS * IN];
    float *gradients[] = {weight_gradient, bias_gradient};
    struct tw_layer_pass pass = {.rows = ROWS,
                                 .in_shape = &call->in_shape,
                                 .out_shape = &call->out_shape,
                                 .weights = weights,
                                 .gradients = gradients,
                                 .in = call->in,
                                 .out = out};
    call->layer->forward(&pass);
    pass.in = call->layer->needs_in ? call->in : NULL;
    pass.out = call->layer->needs_out ? out : NULL;
    pass.out_gradient = call->pull;
    pass.in_gradient = in_gradient;
    call->layer->backward(&pass);
    check_slopes(call, call->in, in_gradient, ROWS * IN);
    if (has_tensors) {
        check_slopes(call, call->weight, weight_gradient, IN * OUT);
        check_slopes(call, call->bias, bias_gradient, OUT);
        pass.in_gradient = NULL; /* the first layer of a net */
        memset(weight_gradient, 0xff, sizeof weight_gradient);
        call->layer->backward(&pass);
        check_slopes(call, call->weight, weight_gradient, IN * OUT);
    }
}

static void dense(void **state) {
    struct call call;
    make(&call, "dense", OUT);
    check(&call, true);
}

static void relu(void **state) {
    struct call call;
    make(&call, "relu", IN);
    check(&call, false);
}

/* In place, in both directions, and at the values that matter: a NaN is not swallowed, and
 * at 0 the slope is 0. */
static void relu_in_place(void **state) {
    struct call call;
    float values[ROWS * IN] = {-1, 0, 2, NAN, -0.0f, INFINITY, -INFINITY};
    float slopes[ROWS * IN] = {3, 3, 3, 3, 3, 3, 3};
    make(&call, "relu", IN);
    struct tw_layer_pass pass = {
        .rows = ROWS, .in_shape = &call.in_shape, .out_shape = &call.out_shape};
    pass.in = pass.out = values;
    call.layer->forward(&pass);
    assert_true(values[0] == 0 && values[1] == 0 && values[2] == 2 && isnan(values[3]));
    assert_true(values[4] == 0 && isinf(values[5]) && values[6] == 0);
    pass.in = NULL;
    pass.out_gradient = pass.in_gradient = slopes;
    call.layer->backward(&pass);
    assert_true(slopes[0] == 0 && slopes[1] == 0 && slopes[2] == 3 && slopes[3] == 3);
    assert_true(slopes[4] == 0 && slopes[5] == 3 && slopes[6] == 0);
}

static void flatten_keeps_the_elements(void **state) {
    const struct tw_variant variant = {.name = "flatten", .path = "model.layers[0]"};
    const struct tw_layer *layer;
    struct tw_shape in, out;
    struct tw_error error;
    assert_int_equal(tw_layer_find(&layer, &variant, &error), TW_OK);
    assert_true(tw_shape_set(&in, 3, (int64_t[]){2, 3, 4}));
    assert_int_equal(layer->shape(&variant, NULL, &in, &out, &error), TW_OK);
    assert_true(layer->view && out.dims == 1 && out.size[0] == 24 && out.elements == 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense),
        cmocka_unit_test(relu),
        cmocka_unit_test(relu_in_place),
        cmocka_unit_test(flatten_keeps_the_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
