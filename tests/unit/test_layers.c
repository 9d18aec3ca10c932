/* What layers do at the values that matter: NaN, infinities, zeros and ties, in place; and what
 * they refuse. Their slopes are tested in test_layer_slopes.c. */
#include "common/base/rng.h"
#include "tests/unit/layer_desk.h"

enum { COUNT = 8 };

/* Forward over `values`, in place, then backward over `slopes`, in place. */
static void run_in_place(const char *line, float values[COUNT], float slopes[COUNT]) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, line, 1, (int64_t[]){COUNT}, 1, &error), TW_OK);
    assert_true(desk.layer->in_place);
    struct tw_layer_pass pass = desk_pass(&desk);
    pass.in = pass.out = values;
    desk.layer->forward(&pass);
    pass.in = NULL;
    pass.out_gradient = pass.in_gradient = slopes;
    desk.layer->backward(&pass);
    desk_drop(&desk);
}

#define VALUES                                                                                     \
    { -1, 0, 2, NAN, -0.0f, INFINITY, -INFINITY, -1e-30f }
#define SLOPES                                                                                     \
    { 3, 3, 3, 3, 3, 3, 3, 3 }

/* A NaN is not swallowed, and at 0 the slope is that of the left. */
static void relu_in_place(void **state) {
    float values[COUNT] = VALUES, slopes[COUNT] = SLOPES;
    run_in_place("relu", values, slopes);
    assert_true(values[0] == 0 && values[1] == 0 && values[2] == 2 && isnan(values[3]));
    assert_true(values[4] == 0 && isinf(values[5]) && values[6] == 0);
    assert_true(slopes[0] == 0 && slopes[1] == 0 && slopes[2] == 3 && slopes[3] == 3);
    assert_true(slopes[4] == 0 && slopes[5] == 3 && slopes[6] == 0);
}

static void leaky_relu_in_place(void **state) {
    float values[COUNT] = VALUES, slopes[COUNT] = SLOPES;
    run_in_place("leaky_relu slope=0.5", values, slopes);
    assert_true(values[0] == -0.5f && values[1] == 0 && values[2] == 2 && isnan(values[3]));
    assert_true(isinf(values[5]) && values[6] == -INFINITY);
    assert_true(slopes[0] == 1.5f && slopes[1] == 1.5f && slopes[2] == 3 && slopes[3] == 3);
    assert_true(slopes[4] == 1.5f && slopes[5] == 3 && slopes[6] == 1.5f);
}

static void sigmoid_in_place(void **state) {
    float values[COUNT] = VALUES, slopes[COUNT] = SLOPES;
    run_in_place("sigmoid", values, slopes);
    assert_true(values[1] == 0.5f && values[4] == 0.5f && isnan(values[3]));
    assert_true(values[5] == 1 && values[6] == 0);
    assert_true(slopes[1] == 0.75f && slopes[5] == 0 && slopes[6] == 0 && isnan(slopes[3]));
}

static void tanh_in_place(void **state) {
    float values[COUNT] = VALUES, slopes[COUNT] = SLOPES;
    run_in_place("tanh", values, slopes);
    assert_true(values[1] == 0 && values[5] == 1 && values[6] == -1 && isnan(values[3]));
    assert_true(values[7] == -1e-30f); /* nothing is lost near 0 */
    assert_true(slopes[1] == 3 && slopes[5] == 0 && slopes[6] == 0 && isnan(slopes[3]));
}

/* Against the C library's, over all that matters. */
static void sigmoid_and_tanh_are_exact_to_the_last_places(void **state) {
    for (double x = -20; x < 20; x += 0x1.03p-9) {
        float at = (float)x;
        double sigmoid = 1 / (1 + exp(-(double)at)), tangent = tanh((double)at);
        assert_float_equal((double)tw_real_sigmoid(at) / sigmoid, 1, 3 * 0x1p-23);
        assert_float_equal((double)tw_real_tanh(at) / tangent, 1, 4 * 0x1p-23);
        assert_true(tw_real_tanh(-at) == -tw_real_tanh(at));
    }
}

static void softmax_neither_overflows_nor_hides_a_nan(void **state) {
    float values[COUNT] = {3e38f, 3e38f, -3e38f, 0, 0, 0, 0, 0}, slopes[COUNT] = SLOPES;
    run_in_place("softmax", values, slopes);
    assert_true(values[0] == 0.5f && values[1] == 0.5f && values[2] == 0);
    float broken[COUNT] = {1, 2, NAN, 4, 5, 6, 7, 8};
    run_in_place("softmax", broken, slopes);
    for (int i = 0; i < COUNT; i++)
        assert_true(isnan(broken[i]));
}

static void maxout_takes_the_first_of_equals_and_any_nan(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, "maxout", 1, (int64_t[]){COUNT}, 1, &error), TW_OK);
    desk_fill(&desk, 1);
    const float in[COUNT] = {2, 2, NAN, 5, 5, NAN, -1, -3}, wanted[4] = {1, 10, 100, 1000};
    memcpy(desk.in, in, sizeof in);
    memcpy(desk.out_gradient, wanted, sizeof wanted);
    desk_forward(&desk);
    desk_backward(&desk);
    assert_true(desk.out[0] == 2 && isnan(desk.out[1]) && isnan(desk.out[2]) && desk.out[3] == -1);
    const float slopes[COUNT] = {1, 0, 10, 0, 0, 100, 1000, 0};
    assert_memory_equal(desk.in_gradient, slopes, sizeof slopes);
    desk_drop(&desk);
}

/* The windows of [[1, 7], [7, 3]] ... : ties, a NaN, nothing but -infinity. */
static void max_pool_takes_the_first_of_equals_and_any_nan(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, "max_pool kernel=2", 3, (int64_t[]){1, 2, 6}, 1, &error),
                     TW_OK);
    desk_fill(&desk, 1);
    const float in[12] = {1, 7, 2, NAN, -INFINITY, -INFINITY, 7, 3, 9, 4, -INFINITY, -INFINITY};
    const float wanted[3] = {1, 10, 100};
    memcpy(desk.in, in, sizeof in);
    memcpy(desk.out_gradient, wanted, sizeof wanted);
    desk_forward(&desk);
    desk_backward(&desk);
    assert_true(desk.out[0] == 7 && isnan(desk.out[1]) && desk.out[2] == -INFINITY);
    const float slopes[12] = {0, 1, 0, 10, 100, 0, 0, 0, 0, 0, 0, 0};
    assert_memory_equal(desk.in_gradient, slopes, sizeof slopes);
    desk_drop(&desk);
}

/* What scoring computes, without memory of the places, is what training computes. */
static void pools_score_as_they_train(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, "max_pool kernel=3 stride=2 padding=1", 3,
                               (int64_t[]){3, 7, 6}, 2, &error),
                     TW_OK);
    desk_fill(&desk, 5);
    desk_forward(&desk);
    float trained[3 * 4 * 3 * 2];
    assert_int_equal(desk.out_shape.elements * 2, sizeof trained / sizeof *trained);
    memcpy(trained, desk.out, sizeof trained);
    struct tw_layer_pass pass = desk_pass(&desk);
    pass.training = false;
    pass.kept = NULL;
    memset(desk.out, 0xff, sizeof trained);
    desk.layer->forward(&pass);
    assert_memory_equal(desk.out, trained, sizeof trained);
    desk_drop(&desk);
}

/* A sample's outputs and slopes do not depend on how many others are computed with it, nor where
 * among them it stands: not even on a NaN beside it. */
static void samples_of_a_convolution_do_not_meet(void **state) {
    enum { IN = 2 * 6 * 5, OUT = 3 * 5 * 4, MOST = 37 };
    struct layer_desk all, one;
    struct tw_error error = {0};
    const char *line = "conv2d channels=3 kernel=4 stride=1 padding=1";
    assert_int_equal(desk_make(&all, line, 3, (int64_t[]){2, 6, 5}, MOST, &error), TW_OK);
    assert_int_equal(desk_make(&one, line, 3, (int64_t[]){2, 6, 5}, 1, &error), TW_OK);
    desk_fill(&all, 9);
    desk_fill(&one, 9);
    memcpy(one.weight[0], all.weight[0], 3 * 2 * 16 * sizeof(float));
    memcpy(one.weight[1], all.weight[1], 3 * sizeof(float));
    all.in[17 * IN + 4] = NAN;
    desk_forward(&all);
    desk_backward(&all);
    for (int row = 0; row < MOST; row++) {
        memcpy(one.in, all.in + row * IN, IN * sizeof(float));
        memcpy(one.out_gradient, all.out_gradient + row * OUT, OUT * sizeof(float));
        desk_forward(&one);
        desk_backward(&one);
        assert_memory_equal(one.out, all.out + row * OUT, OUT * sizeof(float));
        assert_memory_equal(one.in_gradient, all.in_gradient + row * IN, IN * sizeof(float));
    }
    assert_true(isnan(all.gradient[0][7])); /* of the weight that met it */
    desk_drop(&all);
    desk_drop(&one);
}

/* The numbers of NumPy (docs/determinism.md), for seed 5, slot 2, rows 1 and 5 of step 9: rows of
 * P = 12, of which this layer has 8 behind the first 3. */
static void dropout_keeps_whom_the_named_numbers_say(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, "dropout keep=0.5", 1, (int64_t[]){COUNT}, 2, &error), TW_OK);
    desk_fill(&desk, 1);
    desk.dice = (struct tw_dice){.seed = 5,
                                 .slot = 2,
                                 .step = 9,
                                 .part = {.first = 1, .every = 4, .rows = 2},
                                 .first = 3,
                                 .per_row = 12};
    desk_forward(&desk);
    for (int row = 0; row < 2; row++)
        for (int i = 0; i < COUNT; i++) {
            uint64_t index = (uint64_t)((1 + row * 4) * 12 + 3 + i);
            bool keep = tw_rng_uniform_at(5, TW_STREAM_DROPOUT, 2, 9, index) < 0.5;
            float x = desk.in[row * COUNT + i];
            assert_true(desk.out[row * COUNT + i] == (keep ? 2 * x : 0));
        }
    desk_drop(&desk);
}

/* Over many elements: kept as often as asked for, the mean stays, and scoring agrees with it. */
static void dropout_keeps_the_mean(void **state) {
    enum { MANY = 100000 };
    static const char *const lines[] = {"dropout keep=0.8", "dropout keep=0.8 form=classic"};
    for (int which = 0; which < 2; which++) {
        struct layer_desk desk;
        struct tw_error error = {0};
        double trained = 0, scored = 0;
        int zeros = 0;
        assert_int_equal(desk_make(&desk, lines[which], 1, (int64_t[]){MANY}, 1, &error), TW_OK);
        desk_fill(&desk, 1);
        for (int i = 0; i < MANY; i++)
            desk.in[i] = 3;
        desk_forward(&desk);
        for (int i = 0; i < MANY; i++) {
            trained += (double)desk.out[i] / MANY;
            zeros += desk.out[i] == 0;
        }
        struct tw_layer_pass pass = desk_pass(&desk);
        pass.training = false;
        pass.kept = NULL;
        pass.dice = NULL;
        desk.layer->forward(&pass);
        for (int i = 0; i < MANY; i++)
            scored += (double)desk.out[i] / MANY;
        assert_float_equal(scored, which == 0 ? 3 : 0.8f * 3, 1e-4);
        assert_float_equal(trained, scored, 0.02);
        assert_in_range(zeros, MANY / 5 - 600, MANY / 5 + 600); /* 4.7 standard deviations */
        desk_drop(&desk);
    }
}

static void dropout_hides_no_nan(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, "dropout keep=0.01", 1, (int64_t[]){COUNT}, 1, &error),
                     TW_OK);
    desk_fill(&desk, 1);
    desk.in[3] = NAN;
    desk_forward(&desk);
    assert_true(isnan(desk.out[3]));
    desk_drop(&desk);
}

static void flatten_keeps_the_elements(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, "flatten", 3, (int64_t[]){2, 3, 4}, 1, &error), TW_OK);
    assert_true(desk.layer->view && desk.out_shape.dims == 1);
    assert_true(desk.out_shape.size[0] == 24 && desk.out_shape.elements == 24);
    desk_drop(&desk);
}

static void refuse(const char *line, int dims, const int64_t *shape, const char *message) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, line, dims, shape, 1, &error), TW_JOB);
    assert_string_equal(error.text, message);
    desk_drop(&desk);
}

static void batch_norm_scores_with_what_it_is_given(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    const int64_t shape[] = {2, 1, 2};
    assert_int_equal(desk_make(&desk, "batch_norm eps=3", 3, shape, 1, &error), TW_OK);
    desk_fill(&desk, 1);
    const tw_real in[] = {5, 9, 1, 3}, weight[] = {2, 1}, bias[] = {0, 7};
    const tw_real mean[] = {1, 3}, variance[] = {1, 22};
    const tw_real *weights[] = {weight, bias, mean, variance};
    struct tw_layer_pass pass = desk_pass(&desk);
    pass.training = false;
    pass.in = in;
    pass.weights = weights;
    desk.layer->forward(&pass);
    assert_true(desk.out[0] == 4 && desk.out[1] == 8); /* 2 (in - 1) / sqrt(4) */
    assert_float_equal(desk.out[2], 7 - 2.0 / 5, 1e-6);
    assert_float_equal(desk.out[3], 7, 1e-6);
    desk_drop(&desk);
}

/* A mean of 10000 costs no digits of a variance of 1; m / (m - 1) of it is what servers get. */
static void batch_norm_measures_far_from_zero(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    const int64_t shape[] = {1, 4, 5};
    assert_int_equal(desk_make(&desk, "batch_norm", 3, shape, 2, &error), TW_OK);
    desk_fill(&desk, 1);
    for (int i = 0; i < 40; i++)
        desk.in[i] = (tw_real)(10000 + (i % 2 ? 1 : -1));
    desk_forward(&desk);
    assert_true(desk.gradient[2][0] == 2 * 10000);
    assert_float_equal(desk.gradient[3][0], 2 * 40.0 / 39, 1e-6);
    for (int i = 0; i < 40; i++) {
        double expected = (i % 2 ? 1 : -1) * (double)desk.weight[0][0] / sqrt(1 + 1e-5) +
                          (double)desk.weight[1][0];
        assert_float_equal(desk.out[i], expected, 1e-6);
    }
    desk_drop(&desk);
}

static void batch_norm_hides_no_nan(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, "batch_norm", 1, (int64_t[]){3}, 4, &error), TW_OK);
    desk_fill(&desk, 1);
    desk.in[3 + 1] = NAN;
    desk_forward(&desk);
    desk_backward(&desk);
    for (int row = 0; row < 4; row++)
        for (int c = 0; c < 3; c++)
            assert_true(!isnan(desk.out[3 * row + c]) == (c != 1));
    assert_true(isnan(desk.gradient[2][1]) && isnan(desk.gradient[3][1]) &&
                isnan(desk.gradient[0][1]) && !isnan(desk.gradient[2][0]));
    desk_drop(&desk);
}

static void an_embedding_knows_its_entries_only(void **state) {
    struct layer_desk desk;
    struct tw_error error = {0};
    assert_int_equal(desk_make(&desk, "embedding entries=4 size=2", 1, (int64_t[]){7}, 1, &error),
                     TW_OK);
    assert_true(desk.out_shape.dims == 2 && desk.out_shape.size[0] == 7 &&
                desk.out_shape.size[1] == 2);
    desk_fill(&desk, 1);
    const float in[] = {3, 0, 4, -1, 0.5f, NAN, 3};
    memcpy(desk.in, in, sizeof in);
    desk_forward(&desk);
    desk_backward(&desk);
    const float *table = desk.weight[0];
    assert_true(desk.out[0] == table[6] && desk.out[1] == table[7]);
    assert_true(desk.out[2] == table[0] && desk.out[13] == table[7]);
    for (int i = 4; i < 12; i++)
        assert_true(isnan(desk.out[i]));
    assert_true(desk.gradient[0][6] == desk.out_gradient[0] + desk.out_gradient[12]);
    assert_true(desk.gradient[0][0] == desk.out_gradient[2]);
    for (int i = 2; i < 6; i++)
        assert_true(desk.gradient[0][i] == 0);
    desk_drop(&desk);
}

static void shapes_that_do_not_fit_are_named(void **state) {
    refuse("softmax", 3, (int64_t[]){1, 28, 28},
           "job.yaml:7: model.layers[3]: softmax needs inputs of one dimension, [n], but gets "
           "[1, 28, 28]; put flatten before it");
    refuse("maxout pieces=3", 2, (int64_t[]){8, 3},
           "job.yaml:7: model.layers[3]: maxout of 3 pieces needs a multiple of 3 in the first "
           "dimension, but gets [8, 3]");
    refuse("conv2d channels=6 kernel=5", 1, (int64_t[]){784},
           "job.yaml:7: model.layers[3]: conv2d needs images, [channels, height, width], but gets "
           "[784]");
    refuse("conv2d channels=6 kernel=5 padding=1", 3, (int64_t[]){16, 2, 8},
           "job.yaml:7: model.layers[3]: a kernel of [5, 5] with padding 1 does not fit into [16, "
           "2, 8]");
    refuse("max_pool kernel=3", 3, (int64_t[]){16, 8, 2},
           "job.yaml:7: model.layers[3]: a kernel of [3, 3] with padding 0 does not fit into [16, "
           "8, 2]");
    refuse(
        "avg_pool kernel=2 padding=2", 3, (int64_t[]){1, 8, 8},
        "job.yaml:7: model.layers[3]: a padding of 2 for a kernel of 2 x 2; less than the kernel "
        "would be right");
    refuse("conv2d channels=1 kernel=1000 padding=999", 3, (int64_t[]){10000, 1, 1},
           "job.yaml:7: model.layers[3]: a kernel of 1000 x 1000 for 10000 and 1 channels: more "
           "than 2^31 - 1 weights meet in one place");
    refuse("conv2d channels=1048576 kernel=1", 3, (int64_t[]){1, 100, 100},
           "job.yaml:7: model.layers[3]: 1048576 channels of [1, 100, 100] are more than 2^31 - 1 "
           "outputs");
    refuse("conv2d channels=1 kernel=1 init=uniform std=2", 3, (int64_t[]){1, 1, 1},
           "job.yaml:7: model.layers[3]: std is for init: normal, but init is uniform; leave std "
           "out or say init: normal");
    refuse("embedding entries=9 size=3", 8, (int64_t[]){1, 1, 1, 1, 1, 1, 1, 1},
           "job.yaml:7: model.layers[3]: [1, 1, 1, 1, 1, 1, 1, 1] with 3 numbers for each element: "
           "more than 8 dimensions or 2^31 - 1 elements");
    refuse("batch_norm keep=1", 1, (int64_t[]){4},
           "job.yaml:7: model.layers[3].keep: 1 is out of range; it must be a number of at "
           "least 0 and below 1");
    refuse("leaky_relu slope=-1", 1, (int64_t[]){4},
           "job.yaml:7: model.layers[3].slope: -1 is out of range; it must be a number from 0 to "
           "1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relu_in_place),
        cmocka_unit_test(leaky_relu_in_place),
        cmocka_unit_test(sigmoid_in_place),
        cmocka_unit_test(tanh_in_place),
        cmocka_unit_test(sigmoid_and_tanh_are_exact_to_the_last_places),
        cmocka_unit_test(softmax_neither_overflows_nor_hides_a_nan),
        cmocka_unit_test(maxout_takes_the_first_of_equals_and_any_nan),
        cmocka_unit_test(max_pool_takes_the_first_of_equals_and_any_nan),
        cmocka_unit_test(pools_score_as_they_train),
        cmocka_unit_test(samples_of_a_convolution_do_not_meet),
        cmocka_unit_test(dropout_keeps_whom_the_named_numbers_say),
        cmocka_unit_test(dropout_keeps_the_mean),
        cmocka_unit_test(dropout_hides_no_nan),
        cmocka_unit_test(flatten_keeps_the_elements),
        cmocka_unit_test(batch_norm_scores_with_what_it_is_given),
        cmocka_unit_test(batch_norm_measures_far_from_zero),
        cmocka_unit_test(batch_norm_hides_no_nan),
        cmocka_unit_test(an_embedding_knows_its_entries_only),
        cmocka_unit_test(shapes_that_do_not_fit_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
