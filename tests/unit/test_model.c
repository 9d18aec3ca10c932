#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "tests/unit/net_job.h"

static struct tw_model *build(const char *text) {
    struct tw_model *model;
    struct tw_error error = {0};
    if (build_model(&model, text, &error) != TW_OK)
        fail_msg("%s", error.text);
    return model;
}

static void refuse(const char *text, const char *message) {
    struct tw_model *model;
    struct tw_error error = {0};
    assert_int_equal(build_model(&model, text, &error), TW_JOB);
    assert_null(model);
    assert_string_equal(error.text, message);
}

static void tensors_have_names_shapes_and_beginnings(void **state) {
    struct tw_model *model = build("  input: [1, 28, 28]\n"
                                   "  layers:\n"
                                   "    - flatten\n"
                                   "    - dense: 256\n"
                                   "    - relu\n"
                                   "    - dense: {units: 10, init: glorot}\n"
                                   "  loss: softmax_cross_entropy\n");
    const struct tw_tensor *tensors = model->list.tensors;
    assert_int_equal(model->list.count, 4);
    assert_string_equal(tensors[0].name, "dense1.weight");
    assert_string_equal(tensors[1].name, "dense1.bias");
    assert_string_equal(tensors[2].name, "dense2.weight");
    assert_string_equal(tensors[3].name, "dense2.bias");
    assert_true(tensors[0].dims == 2 && tensors[0].shape[0] == 784 && tensors[0].shape[1] == 256);
    assert_true(tensors[3].dims == 1 && tensors[3].shape[0] == 10 && tensors[3].elements == 10);
    assert_int_equal(tensors[0].init.kind, TW_INIT_NORMAL);
    assert_float_equal(tensors[0].init.scale, sqrt(2.0 / 784), 1e-15);
    assert_int_equal(tensors[1].init.kind, TW_INIT_CONSTANT);
    assert_true(tensors[1].init.scale == 0.0);
    assert_int_equal(tensors[2].init.kind, TW_INIT_UNIFORM);
    assert_float_equal(tensors[2].init.scale, sqrt(6.0 / 266), 1e-15);
    assert_int_equal(model->layers[1].first_tensor, 0);
    assert_int_equal(model->layers[3].first_tensor, 2);
    assert_int_equal(tw_model_classes(model), 10);
    tw_model_free(model);
}

static void other_beginnings(void **state) {
    struct tw_model *model = build("  input: [4]\n"
                                   "  layers:\n"
                                   "    - dense: {units: 3, init: normal, std: 0.5}\n"
                                   "    - dense: {units: 3, init: normal}\n"
                                   "    - {name: dense, units: 2, init: zeros}\n"
                                   "  loss: mean_squared_error\n");
    assert_int_equal(model->list.tensors[0].init.kind, TW_INIT_NORMAL);
    assert_true(model->list.tensors[0].init.scale == 0.5);
    assert_true(model->list.tensors[2].init.scale == 0.01);
    assert_int_equal(model->list.tensors[4].init.kind, TW_INIT_CONSTANT);
    assert_true(model->list.tensors[4].init.scale == 0.0);
    tw_model_free(model);
}

/* The first weight tensor of a convolution and a dense layer, and their biases, by each name. */
static void every_way_for_weights_to_start(void **state) {
    const double in = 18, out = 36; /* 2 channels, 3 x 3, 4 channels */
    const struct {
        const char *options;
        enum tw_init_kind kind;
        double scale;
    } rows[] = {
        {"init: he", TW_INIT_NORMAL, sqrt(2 / in)},
        {"init: he_uniform", TW_INIT_UNIFORM, sqrt(6 / in)},
        {"init: glorot", TW_INIT_UNIFORM, sqrt(6 / (in + out))},
        {"init: glorot_normal", TW_INIT_NORMAL, sqrt(2 / (in + out))},
        {"init: lecun", TW_INIT_NORMAL, sqrt(1 / in)},
        {"init: lecun_uniform", TW_INIT_UNIFORM, sqrt(3 / in)},
        {"init: normal, std: 2", TW_INIT_NORMAL, 2},
        {"init: uniform, bound: 3", TW_INIT_UNIFORM, 3},
        {"init: uniform", TW_INIT_UNIFORM, 0.05},
        {"init: constant, value: -4", TW_INIT_CONSTANT, -4},
        {"init: zeros, bias: 0.5", TW_INIT_CONSTANT, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "  input: [2, 5, 5]\n  layers:\n    - conv2d: {channels: 4, kernel: 3, %s}\n"
                 "    - flatten\n    - dense: {units: 4, %s}\n  loss: mean_squared_error\n",
                 rows[i].options, rows[i].options);
        struct tw_model *model = build(text);
        const struct tw_tensor *tensors = model->list.tensors;
        assert_int_equal(tensors[0].init.kind, rows[i].kind);
        assert_float_equal(tensors[0].init.scale, rows[i].scale, 1e-6);
        assert_int_equal(tensors[2].init.kind, rows[i].kind);
        assert_true(tensors[1].init.kind == TW_INIT_CONSTANT);
        assert_true(tensors[1].init.scale == (strstr(text, "bias") != NULL ? 0.5 : 0));
        tw_model_free(model);
    }
}

static void costs_of_layers(void **state) {
    struct tw_model *model = build("  input: [2, 5, 5]\n  layers: [relu, conv2d: {channels: 4, "
                                   "kernel: 3}, max_pool: {kernel: 2, stride: 1}, flatten, dense: "
                                   "3]\n  loss: mean_squared_error\n");
    const struct {
        int64_t parameters;
        double forward, backward;
    } rows[] = {
        {0, 50, 0}, {4 * 19, 2 * 18 * 36, 2 * 18 * 36}, {0, 4 * 16, 4 * 16},
        {0, 0, 0},  {51, 2 * 16 * 3, 2 * 2 * 16 * 3},
    };
    for (int i = 0; i < model->layer_count; i++) {
        struct tw_layer_cost cost = tw_model_cost(model, i);
        assert_int_equal(cost.parameters, rows[i].parameters);
        assert_true(cost.forward == rows[i].forward && cost.backward == rows[i].backward);
    }
    tw_model_free(model);
}

static void units_that_stay_identical_are_found(void **state) {
    static const struct {
        const char *layers;
        int layer;
    } rows[] = {
        {"[dense: 5, relu, dense: 3]", -1},
        {"[dense: {units: 3, init: zeros}]", -1},
        {"[dense: {units: 5, init: zeros}, relu, dense: 3]", -1},
        {"[dense: 5, relu, dense: {units: 3, init: zeros}]", -1},
        {"[dense: {units: 5, init: zeros}, relu, dense: {units: 3, init: zeros}]", 0},
        {"[dense: {units: 5, init: normal, std: 0}, dense: {units: 3, init: constant}]", 0},
        {"[dense: {units: 1, init: zeros}, relu, dense: {units: 3, init: zeros}]", -1},
        {"[dense: {units: 5, init: zeros}, dropout: 0.5, dense: {units: 3, init: zeros}]", -1},
        {"[dense: 4, dense: {units: 5, init: zeros}, tanh, dense: {units: 3, init: zeros}]", 1},
        {"[dense: 5, batch_norm, relu, dense: {units: 3, init: zeros}]", -1},
        {"[dense: {units: 5, init: zeros}, batch_norm, dense: {units: 3, init: zeros}]", 0},
        {"[dense: {units: 4, init: zeros}, skip, relu, add, dense: {units: 3, init: zeros}]", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        snprintf(text, sizeof text, "  input: [4]\n  layers: %s\n  loss: mean_squared_error\n",
                 rows[i].layers);
        struct tw_model *model = build(text);
        assert_int_equal(tw_model_symmetric_layer(model), rows[i].layer);
        tw_model_free(model);
    }
}

static void layers_that_do_not_fit_are_named_with_both_shapes(void **state) {
    refuse("  input: [1, 28, 28]\n  layers:\n    - relu\n    - dense: 10\n"
           "  loss: softmax_cross_entropy\n",
           "job.yaml:5: model.layers[1]: dense needs inputs of one dimension, [n], but gets "
           "[1, 28, 28]; put flatten before it");
    refuse(
        "  input: [28]\n  layers:\n    - dense: 1\n  loss: softmax_cross_entropy\n",
        "job.yaml:5: model.loss: softmax_cross_entropy needs at least 2 outputs of one dimension, "
        "[classes], but the last layer (model.layers[0]) gives [1]");
    refuse("  input: [2, 3]\n  layers:\n    - relu\n  loss: mean_squared_error\n",
           "job.yaml:1: model.layers: no layer has weights to train; give at least one dense");
}

static void wrong_layers_and_options_are_named(void **state) {
    static const char unknown[] =
        "job.yaml:4: model.layers[0]: unknown layer \"dence\"; did you mean \"dense\"? known: ";
    refuse(
        "  input: [4]\n  layers:\n    - dense: {units: 3, std: 1}\n  loss: softmax_cross_entropy\n",
        "job.yaml:4: model.layers[0]: std is for init: normal, but init is he; leave std out or "
        "say init: normal");
    struct tw_model *model;
    struct tw_error error = {0};
    assert_int_equal(build_model(&model,
                                 "  input: [4]\n  layers:\n    - dence: 3\n"
                                 "  loss: softmax_cross_entropy\n",
                                 &error),
                     TW_JOB);
    assert_memory_equal(error.text, unknown, strlen(unknown));
    assert_int_equal(build_model(&model,
                                 "  input: [4]\n  layers:\n    - dense: 0\n"
                                 "  loss: softmax_cross_entropy\n",
                                 &error),
                     TW_JOB);
    assert_non_null(strstr(error.text, "job.yaml:4: model.layers[0].units: "));
}

static void shapes_beyond_blas_are_refused(void **state) {
    struct tw_model *model;
    struct tw_error error = {0};
    assert_int_equal(build_model(&model,
                                 "  input: [65536, 32768]\n  layers: [flatten, {dense: 3}]\n"
                                 "  loss: softmax_cross_entropy\n",
                                 &error),
                     TW_JOB);
    assert_non_null(strstr(error.text, "model.input: [65536, 32768] is no shape of a sample"));
    struct tw_shape shape;
    assert_true(tw_shape_set(&shape, 2, (int64_t[]){65536, 32767}));
    assert_false(tw_shape_set(&shape, 3, (int64_t[]){INT64_MAX, 2, INT64_MAX}));
    assert_false(tw_shape_set(&shape, 2, (int64_t[]){3, 0}));
    assert_false(tw_shape_set(&shape, 0, NULL));
}

static void own_gradients_give_a_list_only(void **state) {
    struct tw_tensor tensors[2];
    struct tw_error error;
    struct tw_init init = {TW_INIT_CONSTANT, 0};
    assert_int_equal(tw_tensor_init(&tensors[0], "w", 2, (int64_t[]){3, 2}, init, &error), TW_OK);
    assert_int_equal(tw_tensor_init(&tensors[1], "b", 1, (int64_t[]){2}, init, &error), TW_OK);
    struct tw_job_model job = {.own = true, .tensors = {2, tensors}};
    struct tw_model *model;
    assert_int_equal(tw_model_build(&model, &job, &error), TW_OK);
    assert_int_equal(tw_model_classes(model), 0);
    assert_int_equal(model->layer_count, 0);
    assert_int_equal(tw_tensor_list_compare(&model->list, &job.tensors, &error), TW_OK);
    assert_ptr_not_equal(model->list.tensors, tensors);
    tw_model_free(model);
}

static void the_rule_book_knows_layers_and_losses(void **state) {
    int count;
    const struct tw_option_rule *rules = tw_model_rules("model.layers[12]", "dense", &count);
    assert_int_equal(count, 6);
    assert_string_equal(rules[0].key, "units");
    tw_model_rules("model.layers[0]", "relu", &count);
    assert_int_equal(count, 0);
    assert_null(tw_model_rules("optimizer", "dense", &count));
    assert_null(tw_model_rules("model.layers[0]", "nonsense", &count));
}

/* Layers that pass samples on as they are do not hide it. */
static void whole_numbers_reach_an_embedding(void **state) {
    static const char *const layers[] = {
        "[embedding: {entries: 5, size: 2}, flatten, dense: 2]",
        "[flatten, embedding: {entries: 5, size: 2}, flatten, dense: 2]",
        "[skip, flatten, add, flatten, embedding: {entries: 5, size: 2}, flatten, dense: 2]",
        "[flatten, dense: 2]",
    };
    static const int64_t below[] = {5, 5, 0, 0};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        char text[256];
        snprintf(text, sizeof text, "  input: [3]\n  layers: %s\n  loss: softmax_cross_entropy\n",
                 layers[i]);
        struct tw_model *model = build(text);
        assert_int_equal(tw_model_inputs_below(model), below[i]);
        tw_model_free(model);
    }
    refuse("  input: [3]\n  layers: [embedding: {entries: 16777217, size: 1}, flatten]\n"
           "  loss: softmax_cross_entropy\n",
           "job.yaml:3: model.layers[0].entries: 16777217 is out of range; it must be a whole "
           "number from 1 to 16777216");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_have_names_shapes_and_beginnings),
        cmocka_unit_test(other_beginnings),
        cmocka_unit_test(every_way_for_weights_to_start),
        cmocka_unit_test(costs_of_layers),
        cmocka_unit_test(units_that_stay_identical_are_found),
        cmocka_unit_test(layers_that_do_not_fit_are_named_with_both_shapes),
        cmocka_unit_test(wrong_layers_and_options_are_named),
        cmocka_unit_test(shapes_beyond_blas_are_refused),
        cmocka_unit_test(own_gradients_give_a_list_only),
        cmocka_unit_test(the_rule_book_knows_layers_and_losses),
        cmocka_unit_test(whole_numbers_reach_an_embedding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
