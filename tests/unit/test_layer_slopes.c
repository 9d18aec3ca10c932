/* Every layer against finite differences, in double precision: backward by inputs and by
 * weights, and again when nobody needs the gradient by the inputs. */
#include "tests/unit/layer_desk.h"

#define STEP 1e-5

/* Around `at`; the layers are smooth, or piecewise linear with no kink within STEP of the numbers
 * that the desk deals (which the test would show as a difference). */
static void check_slopes(struct layer_desk *desk, double *at, const double *slope, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        double kept = at[i];
        at[i] = kept + STEP;
        double above = desk_value(desk);
        at[i] = kept - STEP;
        double expected = (above - desk_value(desk)) / (2 * STEP);
        at[i] = kept;
        if (!(fabs(slope[i] - expected) <= 1e-8 * (1 + fabs(expected))))
            fail_msg("%s: element %lld: %.12g, by finite differences %.12g", desk->layer->name,
                     (long long)i, slope[i], expected);
    }
}

/* What a statistic has in place of a gradient is no slope. */
static void check_weights(struct layer_desk *desk) {
    for (int t = 0; t < desk->tensors; t++)
        if (desk->tensor[t].update == TW_TENSOR_TRAINED)
            check_slopes(desk, desk->weight[t], desk->gradient[t], desk->tensor[t].elements);
}

static void check(const char *line, int dims, const int64_t *shape, int rows, uint64_t seed) {
    struct layer_desk desk;
    struct tw_error error = {0};
    if (desk_make(&desk, line, dims, shape, rows, &error) != TW_OK)
        fail_msg("%s: %s", line, error.text);
    desk_fill(&desk, seed);
    desk_forward(&desk);
    desk_backward(&desk);
    if (desk.layer->below == NULL)
        check_slopes(&desk, desk.in, desk.in_gradient, rows * desk.in_shape.elements);
    check_weights(&desk);
    double *unwanted = desk.in_gradient;
    desk.in_gradient = NULL; /* the first layer of a net */
    desk_forward(&desk);
    desk_backward(&desk);
    check_weights(&desk);
    desk.in_gradient = unwanted;
    desk_drop(&desk);
}

#define FLAT(n)                                                                                    \
    1, (const int64_t[]) {                                                                         \
        n                                                                                          \
    }
#define IMAGE(c, h, w)                                                                             \
    3, (const int64_t[]) {                                                                         \
        c, h, w                                                                                    \
    }

static void slopes_of_every_layer(void **state) {
    check("dense units=4", FLAT(5), 3, 1);
    check("dense units=1", FLAT(7), 1, 2);
    check("conv2d channels=3 kernel=3 padding=1", IMAGE(2, 5, 4), 2, 11);
    check("conv2d channels=7 kernel=2 stride=2", IMAGE(3, 6, 7), 17, 12);
    check("conv2d channels=2 kernel=4 stride=3 padding=2", IMAGE(1, 7, 9), 3, 13);
    check("conv2d channels=1 kernel=1 stride=2", IMAGE(2, 4, 5), 1, 14);
    check("max_pool kernel=2", IMAGE(2, 4, 6), 3, 15);
    check("max_pool kernel=3 stride=2 padding=1", IMAGE(1, 7, 6), 2, 16);
    check("max_pool kernel=3 stride=1 padding=2", IMAGE(1, 5, 4), 2, 17);
    check("avg_pool kernel=2", IMAGE(2, 5, 4), 3, 18);
    check("avg_pool kernel=3 stride=2 padding=2", IMAGE(2, 4, 7), 2, 19);
    check("dropout keep=0.7", IMAGE(2, 3, 2), 3, 20);
    check("dropout keep=0.4 form=classic", FLAT(20), 2, 21);
    check("batch_norm", FLAT(3), 4, 22);
    check("batch_norm eps=0.01", FLAT(2), 19, 23);
    check("batch_norm", IMAGE(3, 4, 5), 2, 24);
    check("batch_norm average=mean", IMAGE(2, 3, 2), 1, 25);
    check("embedding entries=4 size=3", FLAT(5), 3, 26);
    check("relu", FLAT(9), 4, 3);
    check("leaky_relu slope=0.2", IMAGE(2, 3, 3), 2, 4);
    check("leaky_relu slope=0", FLAT(9), 2, 5);
    check("sigmoid", IMAGE(1, 3, 4), 3, 6);
    check("tanh", FLAT(21), 2, 7);
    check("softmax", FLAT(7), 3, 8);
    check("maxout", FLAT(8), 3, 9);
    check("maxout pieces=3", IMAGE(6, 2, 3), 2, 10);
}

static int start(void **state) {
    struct tw_error error;
    return tw_gemm_start(NULL, &error) != TW_OK;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slopes_of_every_layer),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
