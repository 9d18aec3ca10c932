/* LeNet-5 for 100 steps from the weights and batches of torch: the losses follow
 * (tests/golden/layers/lenet5.txt, whose make_vectors.py says what is drawn from where). Built in
 * float and in double. */
#include "tests/unit/layer_desk.h"
#include "tests/unit/net_job.h"
#include "worker/nn/net.h"

enum { STEPS = 100, ROWS = 16, PIXELS = 28 * 28, CLASSES = 10, TENSORS = 10 };
#define RATE 0.05

/* Of the loss. In float the weights of 100 steps differ in their last digits, no more. */
#ifdef TW_NN_DOUBLE
#define TOLERANCE 1e-9
#else
#define TOLERANCE 1e-3
#endif

static const char lenet[] =
    "  input: [1, 28, 28]\n"
    "  layers: [conv2d: {channels: 6, kernel: 5, padding: 2}, relu, max_pool: 2, conv2d: "
    "{channels: "
    "16, kernel: 5}, relu, max_pool: 2, flatten, dense: 120, relu, dense: 84, relu, dense: 10]\n"
    "  loss: softmax_cross_entropy\n";

struct fixture {
    struct tw_model *model;
    struct tw_net *net;
    tw_real *weights[TENSORS], *pattern[CLASSES];
};

static void draw_weights(struct fixture *f) {
    for (uint64_t t = 0; t < TENSORS; t++) {
        const struct tw_tensor *tensor = &f->model->list.tensors[t];
        uint64_t state = t;
        int64_t inputs = tensor->dims == 4   ? tensor->shape[1] * 25
                         : tensor->dims == 2 ? tensor->shape[0]
                                             : 0;
        double bound = inputs ? sqrt(6.0 / (double)inputs) : 0;
        f->weights[t] = malloc((size_t)tensor->elements * sizeof(tw_real));
        assert_non_null(f->weights[t]);
        for (int64_t i = 0; i < tensor->elements; i++)
            f->weights[t][i] = (tw_real)(desk_number(&state) * bound);
    }
}

static void set_up(struct fixture *f) {
    struct tw_error error = {0};
    if (build_model(&f->model, lenet, &error) != TW_OK)
        fail_msg("%s", error.text);
    assert_int_equal(f->model->list.count, TENSORS);
    draw_weights(f);
    for (uint64_t label = 0; label < CLASSES; label++) {
        uint64_t state = 100 + label;
        f->pattern[label] = desk_numbers(PIXELS, &state);
    }
    assert_int_equal(
        tw_net_new(&f->net, f->model, ROWS, true, (const tw_real *const *)f->weights, &error),
        TW_OK);
}

static void tear_down(struct fixture *f) {
    for (int t = 0; t < TENSORS; t++)
        free(f->weights[t]);
    for (int label = 0; label < CLASSES; label++)
        free(f->pattern[label]);
    tw_net_free(f->net);
    tw_model_free(f->model);
}

static double train_step(struct fixture *f, int step) {
    uint64_t state = 1000 + (uint64_t)step;
    struct tw_score score;
    int first, tensors;
    for (int row = 0; row < ROWS; row++) {
        int label = (7 * step + row) % CLASSES;
        tw_net_labels(f->net)[row] = label;
        for (int i = 0; i < PIXELS; i++)
            tw_net_input(f->net)[row * PIXELS + i] =
                (f->pattern[label][i] + (tw_real)desk_number(&state)) / 2;
    }
    tw_net_forward(f->net, &score);
    while (tw_net_backward_step(f->net, &first, &tensors))
        continue;
    for (int t = 0; t < TENSORS; t++)
        for (int64_t i = 0; i < f->model->list.tensors[t].elements; i++)
            f->weights[t][i] -= (tw_real)(RATE / ROWS) * tw_net_gradient(f->net, t)[i];
    return score.loss / ROWS;
}

static void a_hundred_steps_follow_torch(void **state) {
    struct fixture f;
    double expected, worst = 0, last = 0;
    FILE *file = fopen("tests/golden/layers/lenet5.txt", "r");
    assert_non_null(file);
    set_up(&f);
    for (int step = 0; step < STEPS; step++) {
        assert_int_equal(fscanf(file, "%lf", &expected), 1);
        last = train_step(&f, step);
        double distance = fabs(last / expected - 1);
        if (!(distance <= TOLERANCE))
            fail_msg("step %d: the loss is %.9g, torch's %.9g", step, last, expected);
        worst = fmax(worst, distance);
    }
    assert_true(last < 0.7); /* it learned: it began at 3.5 */
    print_message("losses of 100 steps: at most %.1e away\n", worst);
    tear_down(&f);
    fclose(file);
}

static int start(void **state) {
    struct tw_error error;
    return tw_gemm_start(NULL, &error) != TW_OK;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_steps_follow_torch),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
