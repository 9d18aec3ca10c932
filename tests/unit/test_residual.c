/* Nets with ways past their layers, and with batch norm: every slope of a whole net against finite
 * differences, and a small residual net against torch, for some steps of training and in scoring
 * (tests/golden/layers/residual.txt, whose make_vectors.py says what is drawn from where). Built
 * in float, for the latter, and in double. */
#include "tests/unit/layer_desk.h"
#include "tests/unit/net_job.h"
#include "worker/nn/net.h"

enum { TENSORS_MAX = 32 };

struct fixture {
    struct tw_model *model;
    struct tw_net *net;
    tw_real *weights[TENSORS_MAX];
};

/* Tensor t from desk_numbers(t), as far apart as its inputs allow; what starts at a constant
 * does. */
static void set_up(struct fixture *f, const char *text, int rows, bool training) {
    struct tw_error error = {0};
    memset(f, 0, sizeof *f);
    if (build_model(&f->model, text, &error) != TW_OK)
        fail_msg("%s", error.text);
    assert_true(f->model->list.count <= TENSORS_MAX);
    for (int t = 0; t < f->model->list.count; t++) {
        const struct tw_tensor *tensor = &f->model->list.tensors[t];
        uint64_t state = (uint64_t)t;
        f->weights[t] = desk_numbers(tensor->elements, &state);
        int64_t inputs = tensor->dims == 4 ? tensor->elements / tensor->shape[0] : tensor->shape[0];
        for (int64_t i = 0; i < tensor->elements; i++)
            f->weights[t][i] =
                tensor->init.kind == TW_INIT_CONSTANT
                    ? (tw_real)tensor->init.scale
                    : (tw_real)((double)f->weights[t][i] * sqrt(6.0 / (double)inputs));
    }
    assert_int_equal(
        tw_net_new(&f->net, f->model, rows, training, (const tw_real *const *)f->weights, &error),
        TW_OK);
}

static void tear_down(struct fixture *f) {
    for (int t = 0; t < f->model->list.count; t++)
        free(f->weights[t]);
    tw_net_free(f->net);
    tw_model_free(f->model);
}

/* Row r of batch `number` has label (7 number + r) modulo the classes. */
static void set_batch(const struct fixture *f, int number) {
    const int64_t elements = f->model->input.elements;
    const int64_t below = tw_model_inputs_below(f->model);
    uint64_t state = 1000 + (uint64_t)number;
    for (int row = 0; row < tw_net_rows(f->net); row++) {
        tw_net_labels(f->net)[row] = (7 * number + row) % tw_model_classes(f->model);
        for (int64_t i = 0; i < elements; i++) {
            double x = desk_number(&state);
            tw_net_input(f->net)[row * elements + i] =
                (tw_real)(below ? floor((x + 1) / 2 * (double)below) : x);
        }
    }
}

static double loss_of(struct fixture *f, int batch) {
    struct tw_score score;
    set_batch(f, batch);
    tw_net_forward(f->net, &score);
    return score.loss;
}

static void find_gradients(struct fixture *f) {
    int first, tensors;
    while (tw_net_backward_step(f->net, &first, &tensors))
        continue;
}

#ifdef TW_NN_DOUBLE

#define STEP 1e-6

static void check(const char *text, int rows) {
    struct fixture f;
    set_up(&f, text, rows, true);
    loss_of(&f, 1);
    find_gradients(&f);
    for (int t = 0; t < f.model->list.count; t++) {
        const struct tw_tensor *tensor = &f.model->list.tensors[t];
        for (int64_t i = 0; i < tensor->elements && tensor->update == TW_TENSOR_TRAINED; i++) {
            double kept = f.weights[t][i], slope = tw_net_gradient(f.net, t)[i];
            f.weights[t][i] = kept + STEP;
            double above = loss_of(&f, 1);
            f.weights[t][i] = kept - STEP;
            double expected = (above - loss_of(&f, 1)) / (2 * STEP);
            f.weights[t][i] = kept;
            if (!(fabs(slope - expected) <= 1e-6 * (1 + fabs(expected))))
                fail_msg("%s: element %lld of %s: %.12g, by finite differences %.12g", text,
                         (long long)i, tensor->name, slope, expected);
        }
    }
    tear_down(&f);
}

#define NET(input, layers)                                                                         \
    "  input: " input "\n  layers: [" layers "]\n  loss: softmax_cross_entropy\n"

static void slopes_of_whole_nets(void **state) {
    check(NET("[6]", "dense: 5, skip, tanh, dense: 5, add, tanh, dense: 3"), 3);
    /* What goes past is needed while layers that may work in place come between. */
    check(NET("[6]", "dense: 5, tanh, skip, sigmoid, tanh, add, tanh, dense: 3"), 3);
    check(NET("[2, 3]", "skip, tanh, add, flatten, dense: 4, tanh, dense: 3"), 2);
    check(NET("[6]", "dense: 5, skip, tanh, skip, dense: 5, skip, tanh, add, add, dense: 5, add, "
                     "dense: 3"),
          3);
    check(NET("[6]", "dense: 4, skip, skip, tanh, add, add, skip, add, dense: 3"), 2);
    check(NET("[2, 5, 5]", "conv2d: {channels: 3, kernel: 3, padding: 1}, skip, tanh, conv2d: "
                           "{channels: 5, kernel: 3, stride: 2, padding: 1}, add, tanh, flatten, "
                           "dense: 3"),
          3);
    check(NET("[2, 4, 4]", "conv2d: {channels: 2, kernel: 3}, skip, conv2d: {channels: 2, kernel: "
                           "2, stride: 2}, add, flatten, dense: 2"),
          2);
    check(NET("[2, 4, 4]", "conv2d: {channels: 3, kernel: 3, padding: 1}, batch_norm, tanh, skip, "
                           "conv2d: {channels: 3, kernel: 3, padding: 1}, batch_norm, add, tanh, "
                           "avg_pool: 2, flatten, dense: 6, batch_norm, dense: 3"),
          4);
    check(NET("[4]", "embedding: {entries: 5, size: 3}, flatten, skip, tanh, add, dense: 6, "
                     "batch_norm, tanh, dense: 3"),
          5);
}

#endif

/* ---- against torch ---- */

enum { STEPS = 40, ROWS = 12, SCORED = 3 };
#define RATE 0.2
#ifdef TW_NN_DOUBLE
#define TOLERANCE 1e-9
#else
#define TOLERANCE 1e-3
#endif

static const char residual[] =
    "  input: [2, 8, 8]\n"
    "  layers: [conv2d: {channels: 4, kernel: 3, padding: 1, init: he_uniform}, batch_norm, relu, "
    "skip, conv2d: {channels: 4, kernel: 3, padding: 1, init: he_uniform}, batch_norm, relu, "
    "conv2d: {channels: 4, kernel: 3, padding: 1, init: he_uniform}, batch_norm, add, relu, "
    "skip, conv2d: {channels: 6, kernel: 3, stride: 2, padding: 1, init: he_uniform}, "
    "batch_norm: {keep: 0.8, eps: 0.001}, add, relu, avg_pool: 4, flatten, dense: {units: 3, "
    "init: he_uniform}]\n"
    "  loss: softmax_cross_entropy\n";

/* As servers do it, with one worker and sgd. */
static void update(struct fixture *f) {
    for (int t = 0; t < f->model->list.count; t++) {
        const struct tw_tensor *tensor = &f->model->list.tensors[t];
        const tw_real *gradient = tw_net_gradient(f->net, t);
        for (int64_t i = 0; i < tensor->elements; i++)
            f->weights[t][i] = tensor->update == TW_TENSOR_TRAINED
                                   ? f->weights[t][i] - (tw_real)(RATE / ROWS) * gradient[i]
                                   : (tw_real)(tensor->keep * (double)f->weights[t][i] +
                                               (1 - tensor->keep) * (double)gradient[i] / ROWS);
    }
}

static void check_loss(FILE *file, const char *what, int number, double loss, double *worst) {
    double expected;
    assert_int_equal(fscanf(file, "%lf", &expected), 1);
    double distance = fabs(loss / expected - 1);
    if (!(distance <= TOLERANCE))
        fail_msg("%s %d: the loss is %.9g, torch's %.9g", what, number, loss, expected);
    *worst = fmax(*worst, distance);
}

static void a_residual_net_follows_torch(void **state) {
    struct fixture f;
    struct tw_net *scoring;
    struct tw_error error;
    double worst = 0;
    FILE *file = fopen("tests/golden/layers/residual.txt", "r");
    assert_non_null(file);
    set_up(&f, residual, ROWS, true);
    for (int step = 0; step < STEPS; step++) {
        check_loss(file, "step", step, loss_of(&f, step) / ROWS, &worst);
        find_gradients(&f);
        update(&f);
    }
    assert_int_equal(
        tw_net_new(&scoring, f.model, ROWS, false, (const tw_real *const *)f.weights, &error),
        TW_OK);
    tw_net_free(f.net);
    f.net = scoring;
    for (int batch = 0; batch < SCORED; batch++) {
        struct tw_score score = {0};
        set_batch(&f, batch);
        tw_net_evaluate(f.net, ROWS, &score);
        check_loss(file, "scoring", batch, score.loss / ROWS, &worst);
    }
    print_message("losses of %d steps, and of scoring: at most %.1e away\n", STEPS, worst);
    tear_down(&f);
    fclose(file);
}

/* ---- scoring, and what is refused ---- */

static void scoring_does_not_depend_on_the_other_rows(void **state) {
    struct fixture f;
    struct tw_score few = {0}, one = {0};
    set_up(&f, residual, 5, false);
    for (int i = 0; i < 4; i++)
        f.weights[4][i] = (tw_real)0.3; /* batch_norm1.mean */
    for (int i = 0; i < 3; i++) {
        struct tw_score score = {0};
        set_batch(&f, 1);
        memmove(tw_net_input(f.net), tw_net_input(f.net) + i * f.model->input.elements,
                (size_t)f.model->input.elements * sizeof(tw_real));
        tw_net_labels(f.net)[0] = tw_net_labels(f.net)[i];
        tw_net_evaluate(f.net, 1, &score);
        one.loss += score.loss;
    }
    set_batch(&f, 1);
    tw_net_evaluate(f.net, 3, &few);
    assert_true(few.loss == one.loss);
    tear_down(&f);
}

static void refuse(const char *layers, const char *message) {
    char text[512];
    struct tw_model *model;
    struct tw_error error = {0};
    snprintf(text, sizeof text, "  input: [2, 4, 4]\n  layers: [%s]\n  loss: mean_squared_error\n",
             layers);
    assert_int_equal(build_model(&model, text, &error), TW_JOB);
    assert_string_equal(error.text, message);
}

static void brackets_that_do_not_match_are_named(void **state) {
    refuse("flatten, dense: 4, add, dense: 2",
           "job.yaml:3: model.layers[2]: add without a skip before it that has none; put - skip "
           "where the residual block begins");
    refuse("skip, relu, add, add, flatten, dense: 2",
           "job.yaml:3: model.layers[3]: add without a skip before it that has none; put - skip "
           "where the residual block begins");
    refuse("skip, skip, relu, add, flatten, dense: 2",
           "job.yaml:3: model.layers[0]: no add belongs to it; put - add where the residual block "
           "ends");
    refuse("skip, flatten, dense: 4, add, dense: 2",
           "job.yaml:3: model.layers[3]: what went into its skip is [2, 4, 4], but here it is [4]; "
           "they must be the same, or images that became smaller by a stride or have more channels "
           "now");
    refuse("skip, conv2d: {channels: 1, kernel: 1}, add, flatten, dense: 2",
           "job.yaml:3: model.layers[2]: what went into its skip is [2, 4, 4], but here it is [1, "
           "4, 4]; they must be the same, or images that became smaller by a stride or have more "
           "channels now");
    refuse("skip, conv2d: {channels: 2, kernel: 2}, add, flatten, dense: 2",
           "job.yaml:3: model.layers[2]: what went into its skip is [2, 4, 4], but here it is [2, "
           "3, 3]; they must be the same, or images that became smaller by a stride or have more "
           "channels now");
}

static void a_variance_needs_two_numbers(void **state) {
    struct fixture f;
    struct tw_net *net;
    struct tw_error error;
    int layer;
    set_up(&f,
           "  input: [3]\n  layers: [dense: 4, batch_norm, dense: 2]\n  loss: "
           "mean_squared_error\n",
           2, true);
    assert_int_equal(tw_model_least_rows(f.model, &layer), 2);
    assert_int_equal(layer, 1);
    assert_int_equal(tw_net_new(&net, f.model, 1, true, (const tw_real *const *)f.weights, &error),
                     TW_LIMIT);
    assert_int_equal(tw_net_new(&net, f.model, 1, false, (const tw_real *const *)f.weights, &error),
                     TW_OK);
    tw_net_free(net);
    tear_down(&f);
}

static int start(void **state) {
    struct tw_error error;
    return tw_gemm_start(NULL, &error) != TW_OK;
}

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef TW_NN_DOUBLE
        cmocka_unit_test(slopes_of_whole_nets),
#endif
        cmocka_unit_test(a_residual_net_follows_torch),
        cmocka_unit_test(scoring_does_not_depend_on_the_other_rows),
        cmocka_unit_test(brackets_that_do_not_match_are_named),
        cmocka_unit_test(a_variance_needs_two_numbers),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
