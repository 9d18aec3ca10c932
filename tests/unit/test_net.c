/* Whole nets: against a reference in double that knows layers by name only, and shares no
 * code with what it checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "tests/unit/net_job.h"
#include "worker/nn/gemm.h"
#include "worker/nn/net.h"

#define ROWS 7
#define WIDEST 64

struct fixture {
    struct tw_model *model;
    struct tw_net *net;
    float *weights[16];
};

static void fill(float *values, int64_t count, uint32_t seed) {
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)((double)(seed >> 8) * 0x1p-23 - 1.0);
    }
}

static void set_batch(struct tw_net *net, const struct tw_model *model) {
    fill(tw_net_input(net), tw_net_rows(net) * model->input.elements, 99);
    for (int i = 0; i < tw_net_rows(net); i++)
        tw_net_labels(net)[i] = (i * 5) % tw_model_classes(model);
}

static struct fixture make(const char *text, int rows, bool training) {
    struct fixture fixture = {0};
    struct tw_error error;
    if (build_model(&fixture.model, text, &error) != TW_OK)
        fail_msg("%s", error.text);
    const struct tw_tensor_list *list = &fixture.model->list;
    assert_true(list->count <= 16);
    for (int i = 0; i < list->count; i++) {
        fixture.weights[i] = malloc((size_t)list->tensors[i].elements * sizeof(float));
        assert_non_null(fixture.weights[i]);
        fill(fixture.weights[i], list->tensors[i].elements, (uint32_t)i + 1);
    }
    assert_int_equal(tw_net_new(&fixture.net, fixture.model, rows, training,
                                (const float *const *)fixture.weights, &error),
                     TW_OK);
    set_batch(fixture.net, fixture.model);
    return fixture;
}

static void drop(struct fixture *fixture) {
    tw_net_free(fixture->net);
    for (int i = 0; i < fixture->model->list.count; i++)
        free(fixture->weights[i]);
    tw_model_free(fixture->model);
}

/* One row through the model in double; `moved` of tensor `tensor` is changed by `by`. */
static double reference_row(const struct tw_model *model, float *const *weights, const float *x,
                            int label, int tensor, int64_t moved, double by) {
    double now[WIDEST], next[WIDEST];
    for (int64_t i = 0; i < model->input.elements; i++)
        now[i] = x[i];
    for (int l = 0; l < model->layer_count; l++) {
        const struct tw_model_layer *layer = &model->layers[l];
        int in = (int)layer->in.elements, out = (int)layer->out.elements, t = layer->first_tensor;
        for (int j = 0; j < out; j++) {
            if (strcmp(layer->kind->name, "dense") == 0) {
                next[j] = weights[t + 1][j] + (t + 1 == tensor && j == moved ? by : 0.0);
                for (int i = 0; i < in; i++)
                    next[j] += now[i] * (weights[t][i * out + j] +
                                         (t == tensor && i * out + j == moved ? by : 0.0));
            } else {
                next[j] = strcmp(layer->kind->name, "relu") == 0 && now[j] < 0 ? 0.0 : now[j];
            }
        }
        memcpy(now, next, sizeof now);
    }
    double sum = 0.0;
    int classes = tw_model_classes(model);
    if (strcmp(model->loss->name, "mean_squared_error") == 0) {
        for (int j = 0; j < classes; j++)
            sum += (now[j] - (j == label)) * (now[j] - (j == label)) / classes;
        return sum;
    }
    for (int j = 0; j < classes; j++)
        sum += exp(now[j] - now[label]);
    return log(sum);
}

static double reference(const struct fixture *fixture, const float *x, const int32_t *labels,
                        int rows, int tensor, int64_t moved, double by) {
    double sum = 0.0;
    for (int row = 0; row < rows; row++)
        sum +=
            reference_row(fixture->model, fixture->weights,
                          x + row * fixture->model->input.elements, labels[row], tensor, moved, by);
    return sum;
}

static void run_backward(struct tw_net *net) {
    int first, tensors;
    while (tw_net_backward_step(net, &first, &tensors))
        ;
}

static void check_against_reference(const char *text) {
    struct fixture fixture = make(text, ROWS, true);
    struct tw_score score;
    float x[ROWS * WIDEST];
    memcpy(x, tw_net_input(fixture.net),
           (size_t)(ROWS * fixture.model->input.elements) * sizeof(float));
    const int32_t *labels = tw_net_labels(fixture.net);
    tw_net_forward(fixture.net, &score);
    run_backward(fixture.net);
    assert_int_equal(score.examples, ROWS);
    double loss = reference(&fixture, x, labels, ROWS, -1, 0, 0);
    assert_float_equal(score.loss, loss, 1e-5 * (1 + loss));
    for (int t = 0; t < fixture.model->list.count; t++)
        for (int64_t i = 0; i < fixture.model->list.tensors[t].elements; i++) {
            double step = 1e-6;
            double slope = (reference(&fixture, x, labels, ROWS, t, i, step) -
                            reference(&fixture, x, labels, ROWS, t, i, -step)) /
                           (2 * step);
            assert_float_equal(tw_net_gradient(fixture.net, t)[i], slope, 2e-5 * (1 + fabs(slope)));
        }
    drop(&fixture);
}

static void gradients_of_an_mlp(void **state) {
    check_against_reference("  input: [2, 5]\n"
                            "  layers: [flatten, {dense: 12}, relu, {dense: 9}, relu, {dense: 4}]\n"
                            "  loss: softmax_cross_entropy\n");
}

static void gradients_of_mean_squared_error(void **state) {
    check_against_reference("  input: [6]\n  layers: [{dense: 8}, relu, {dense: 3}]\n"
                            "  loss: mean_squared_error\n");
}

/* Every way in which layers may share buffers: views and in-place layers at the start, at
 * the end, one after another. */
static void gradients_with_odd_orders_of_layers(void **state) {
    check_against_reference("  input: [3, 4]\n"
                            "  layers: [relu, flatten, relu, {dense: 5}, flatten, relu, relu, "
                            "flatten, {dense: 6}, {dense: 3}, relu, flatten]\n"
                            "  loss: mean_squared_error\n");
    check_against_reference("  input: [5]\n  layers: [{dense: 4}]\n"
                            "  loss: softmax_cross_entropy\n");
}

/* Layers that draw have numbers of their own each, and the same again when they are named
 * again; scoring draws none. */
static void the_named_numbers_decide_what_is_dropped(void **state) {
    static const char text[] = "  input: [40]\n  layers: [{dropout: 0.5}, {dense: 8}, {dropout: "
                               "0.5}, {dense: 3}]\n  loss: mean_squared_error\n";
    struct fixture fixture = make(text, ROWS, true);
    struct tw_score first, again, other[3], scored, twice;
    const uint64_t names[4][3] = {{1, 2, 3}, {9, 2, 3}, {1, 9, 3}, {1, 2, 9}};
    const struct tw_part part = tw_whole_step(ROWS);
    tw_net_dice(fixture.net, 1, 2, 3, &part);
    tw_net_forward(fixture.net, &first);
    for (int i = 0; i < 3; i++) {
        tw_net_dice(fixture.net, names[i + 1][0], names[i + 1][1], names[i + 1][2], &part);
        set_batch(fixture.net, fixture.model);
        tw_net_forward(fixture.net, &other[i]);
        assert_true(other[i].loss != first.loss);
    }
    tw_net_dice(fixture.net, 1, 2, 3, &part);
    set_batch(fixture.net, fixture.model);
    tw_net_forward(fixture.net, &again);
    assert_true(again.loss == first.loss);
    run_backward(fixture.net);
    scored = twice = (struct tw_score){0};
    set_batch(fixture.net, fixture.model);
    tw_net_evaluate(fixture.net, ROWS, &scored);
    tw_net_dice(fixture.net, 5, 5, 5, &part);
    set_batch(fixture.net, fixture.model);
    tw_net_evaluate(fixture.net, ROWS, &twice);
    assert_true(scored.loss == twice.loss && scored.loss != first.loss);
    drop(&fixture);
}

static const char mlp[] = "  input: [40]\n  layers: [{dense: 33}, relu, {dense: 10}]\n"
                          "  loss: softmax_cross_entropy\n";

static void gradients_are_final_layer_by_layer_from_the_last(void **state) {
    struct fixture fixture = make(mlp, ROWS, true);
    struct tw_score score;
    float early[33 * 10];
    int first, tensors;
    tw_net_forward(fixture.net, &score);
    assert_true(tw_net_backward_step(fixture.net, &first, &tensors)); /* dense2 */
    assert_true(first == 2 && tensors == 2);
    memcpy(early, tw_net_gradient(fixture.net, 2), sizeof early);
    assert_true(tw_net_backward_step(fixture.net, &first, &tensors)); /* relu */
    assert_int_equal(tensors, 0);
    assert_true(tw_net_backward_step(fixture.net, &first, &tensors)); /* dense1 */
    assert_true(first == 0 && tensors == 2);
    assert_false(tw_net_backward_step(fixture.net, &first, &tensors));
    assert_false(tw_net_backward_step(fixture.net, &first, &tensors));
    assert_memory_equal(early, tw_net_gradient(fixture.net, 2), sizeof early);
    drop(&fixture);
}

static void gradients_lie_in_one_block_in_the_order_of_the_list(void **state) {
    struct fixture fixture = make(mlp, ROWS, true);
    const float *at = tw_net_gradient(fixture.net, 0);
    for (int i = 0; i < fixture.model->list.count; i++) {
        assert_ptr_equal(tw_net_gradient(fixture.net, i), at);
        at += fixture.model->list.tensors[i].elements;
    }
    drop(&fixture);
}

/* The second net lies elsewhere and has computed something else before. */
static void the_bits_depend_on_the_inputs_only(void **state) {
    struct fixture first = make(mlp, 64, true), second = make(mlp, 64, true);
    size_t bytes = (size_t)(40 * 33 + 33 + 33 * 10 + 10) * sizeof(float);
    struct tw_score a, b;
    tw_net_forward(first.net, &a);
    run_backward(first.net);
    fill(tw_net_input(second.net), 64 * 40, 5);
    tw_net_forward(second.net, &b);
    run_backward(second.net);
    assert_memory_not_equal(tw_net_gradient(first.net, 0), tw_net_gradient(second.net, 0), bytes);
    for (int i = 0; i < 3; i++) {
        set_batch(second.net, second.model);
        tw_net_forward(second.net, &b);
        run_backward(second.net);
        assert_memory_equal(&a, &b, sizeof a);
        assert_memory_equal(tw_net_gradient(first.net, 0), tw_net_gradient(second.net, 0), bytes);
    }
    drop(&first);
    drop(&second);
}

static void evaluation_counts_the_first_rows_only(void **state) {
    struct fixture fixture = make(mlp, ROWS, false);
    float x[3 * 40];
    memcpy(x, tw_net_input(fixture.net), sizeof x);
    struct tw_score score = {.examples = 5, .correct = 2}, again = {0}, none = {0};
    fill(tw_net_input(fixture.net) + sizeof x / sizeof *x, 4 * 40, 12345);
    tw_net_labels(fixture.net)[3] = 77; /* of rows that do not count */
    tw_net_evaluate(fixture.net, 3, &score);
    double loss = reference(&fixture, x, tw_net_labels(fixture.net), 3, -1, 0, 0);
    assert_float_equal(score.loss, loss, 1e-5 * (1 + loss));
    memcpy(tw_net_input(fixture.net), x, sizeof x);
    tw_net_evaluate(fixture.net, 3, &again);
    assert_true(again.loss == score.loss);
    assert_true(again.examples == 3 && score.examples == 8 && score.correct == again.correct + 2);
    tw_net_evaluate(fixture.net, 0, &none);
    assert_true(none.loss == 0.0 && none.examples == 0);
    drop(&fixture);
}

static void weights_that_move_are_read_at_each_call(void **state) {
    struct fixture fixture = make(mlp, ROWS, true);
    struct tw_score before, after;
    tw_net_forward(fixture.net, &before);
    memset(fixture.weights[2], 0, 33 * 10 * sizeof(float));
    memset(fixture.weights[3], 0, 10 * sizeof(float));
    set_batch(fixture.net, fixture.model);
    tw_net_forward(fixture.net, &after);
    assert_float_equal(after.loss, ROWS * log(10.0), 1e-12);
    assert_true(before.loss != after.loss);
    drop(&fixture);
}

static void a_net_can_be_bound_to_other_weights(void **state) {
    static const char text[] = "  input: [6]\n  layers:\n    - dense: 5\n    - relu\n"
                               "    - dense: 3\n  loss: softmax_cross_entropy\n";
    struct fixture fixture = make(text, ROWS, true);
    struct tw_score first, other, again;
    float bias[5];
    const float *elsewhere[4];
    tw_net_forward(fixture.net, &first);
    for (int i = 0; i < 4; i++)
        elsewhere[i] = fixture.weights[i];
    fill(bias, 5, 77);
    elsewhere[1] = bias;
    tw_net_bind(fixture.net, elsewhere);
    set_batch(fixture.net, fixture.model);
    tw_net_forward(fixture.net, &other);
    assert_true(other.loss != first.loss);
    tw_net_bind(fixture.net, (const float *const *)fixture.weights);
    set_batch(fixture.net, fixture.model);
    tw_net_forward(fixture.net, &again);
    assert_true(again.loss == first.loss);
    drop(&fixture);
}

/* Wanted for *context more questions. */
static bool unwanted_after(void *context) {
    int *left = context;
    return (*left)-- == 0;
}

static void a_step_that_is_not_wanted_any_more_is_left_between_layers(void **state) {
    static const char text[] = "  input: [6]\n  layers:\n    - dense: 5\n    - relu\n"
                               "    - dense: 3\n  loss: softmax_cross_entropy\n";
    struct fixture fixture = make(text, ROWS, true);
    struct tw_score whole, score;
    int left, first, tensors;
    assert_true(tw_net_forward(fixture.net, &whole));
    tw_net_watch(fixture.net, unwanted_after, &left);
    for (int layer = 0; layer < 3; layer++) {
        left = layer;
        set_batch(fixture.net, fixture.model);
        assert_false(tw_net_forward(fixture.net, &score));
        assert_int_equal(left, -1); /* it did not go on to ask */
        assert_false(tw_net_backward_step(fixture.net, &first, &tensors));
    }
    left = 3; /* it leaves no trace */
    set_batch(fixture.net, fixture.model);
    assert_true(tw_net_forward(fixture.net, &score));
    assert_true(score.loss == whole.loss && score.examples == ROWS);
    assert_true(tw_net_backward_step(fixture.net, &first, &tensors));
    drop(&fixture);
}

/* Which tensors a net has asked for, one bit each; it is told that number `left` is not there. */
struct asked {
    unsigned tensors;
    int questions, left;
};

static bool are_there(void *context, int first, int tensors) {
    struct asked *asked = context;
    assert_true(tensors > 0);
    assert_int_equal(asked->tensors & ((1u << first) - 1), (1u << first) - 1); /* in order */
    asked->tensors |= ((1u << tensors) - 1) << first;
    return asked->questions++ != asked->left;
}

static void a_layer_asks_for_its_weights_before_it_reads_them(void **state) {
    static const char text[] = "  input: [6]\n  layers:\n    - dense: 5\n    - relu\n"
                               "    - batch_norm\n    - skip\n    - dense: 5\n    - add\n"
                               "    - dense: 3\n  loss: softmax_cross_entropy\n";
    struct fixture fixture = make(text, ROWS, true);
    const int tensors = fixture.model->list.count;
    struct tw_score whole, score;
    struct asked asked = {.left = -1};
    int first, count;
    assert_true(tw_net_forward(fixture.net, &whole));
    tw_net_await(fixture.net, are_there, &asked);
    set_batch(fixture.net, fixture.model);
    assert_true(tw_net_forward(fixture.net, &score));
    assert_true(score.loss == whole.loss);
    assert_int_equal(asked.questions, 4);
    assert_int_equal(asked.tensors, (1u << tensors) - 1); /* statistics, too */
    for (int left = 0; left < 4; left++) {
        asked = (struct asked){.left = left};
        set_batch(fixture.net, fixture.model);
        assert_false(tw_net_forward(fixture.net, &score));
        assert_int_equal(asked.questions, left + 1);
        assert_false(tw_net_backward_step(fixture.net, &first, &count));
    }
    drop(&fixture);
}

static void impossible_nets_are_refused(void **state) {
    struct fixture fixture = make(mlp, ROWS, true);
    struct tw_net *net;
    struct tw_error error;
    assert_int_equal(tw_net_new(&net, fixture.model, 0, true, NULL, &error), TW_LIMIT);
    assert_null(net);
    drop(&fixture);
    const float *const none[6] = {NULL};
    struct tw_model *huge; /* 2^24 * 2^24 weights: more than any memory */
    assert_int_equal(build_model(&huge,
                                 "  input: [8]\n  layers: [{dense: 16777216}, {dense: 65536}, "
                                 "{dense: 16777216}]\n  loss: mean_squared_error\n",
                                 &error),
                     TW_OK);
    assert_int_equal(tw_net_new(&net, huge, 1 << 20, true, none, &error), TW_NO_MEMORY);
    assert_non_null(strstr(error.text, "out of memory"));
    tw_model_free(huge);
}

/* AddressSanitizer ends the program when a malloc is too large, unless told otherwise. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

static int start(void **state) {
    struct tw_error error;
    return tw_gemm_start(NULL, &error) != TW_OK;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_an_mlp),
        cmocka_unit_test(gradients_of_mean_squared_error),
        cmocka_unit_test(gradients_with_odd_orders_of_layers),
        cmocka_unit_test(the_named_numbers_decide_what_is_dropped),
        cmocka_unit_test(gradients_are_final_layer_by_layer_from_the_last),
        cmocka_unit_test(gradients_lie_in_one_block_in_the_order_of_the_list),
        cmocka_unit_test(the_bits_depend_on_the_inputs_only),
        cmocka_unit_test(evaluation_counts_the_first_rows_only),
        cmocka_unit_test(weights_that_move_are_read_at_each_call),
        cmocka_unit_test(a_net_can_be_bound_to_other_weights),
        cmocka_unit_test(a_step_that_is_not_wanted_any_more_is_left_between_layers),
        cmocka_unit_test(a_layer_asks_for_its_weights_before_it_reads_them),
        cmocka_unit_test(impossible_nets_are_refused),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
