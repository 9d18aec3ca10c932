/* A layer for sparse rows, against plain loops over all elements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/net_job.h"
#include "worker/nn/gemm.h"
#include "worker/nn/net.h"

enum { FEATURES = 50, UNITS = 3, ROWS = 4, STEPS = 6, ENTRIES = 7 };

struct fixture {
    struct tw_model *model;
    struct tw_net *net;
    float weights[FEATURES * UNITS], bias[UNITS];
    uint32_t index[STEPS][ROWS][ENTRIES];
    float value[STEPS][ROWS][ENTRIES];
};

static void fixture_init(struct fixture *f) {
    struct tw_error error;
    memset(f, 0, sizeof *f);
    if (build_model(&f->model,
                    "  input: [50]\n  layers: [sparse_dense: 3]\n  loss: mean_squared_error\n",
                    &error) != TW_OK)
        fail_msg("%s", error.text);
    for (int i = 0; i < FEATURES * UNITS; i++)
        f->weights[i] = (float)(i * 37 % 101 - 50) / 64;
    for (int i = 0; i < UNITS; i++)
        f->bias[i] = (float)i;
    for (int s = 0; s < STEPS; s++)
        for (int r = 0; r < ROWS; r++)
            for (int i = 0; i < ENTRIES; i++) {
                f->index[s][r][i] = (uint32_t)((s + r) % 3 + i * (5 + r % 2));
                f->value[s][r][i] = (float)(s * 7 + r * 3 + i - 9) / 8;
            }
    const float *weights[] = {f->weights, f->bias};
    assert_int_equal(tw_net_new(&f->net, f->model, ROWS, true, weights, &error), TW_OK);
    assert_null(tw_net_batch(f->net)->x);
}

static void fixture_fini(struct fixture *f) {
    tw_net_free(f->net);
    tw_model_free(f->model);
}

/* Row r has ENTRIES - r elements at step s. */
static void fill(struct fixture *f, int s) {
    struct tw_batch *batch = tw_net_batch(f->net);
    batch->valued = true;
    for (int r = 0; r < ROWS; r++) {
        batch->sparse[r] =
            (struct tw_sparse_row){f->index[s][r], f->value[s][r], (uint32_t)(ENTRIES - r)};
        for (int u = 0; u < UNITS; u++)
            batch->targets[r * UNITS + u] = (float)(r - u) / 4;
    }
}

/* The gradient of a step, over all features. */
static double expect(const struct fixture *f, int s, float *gradient) {
    double loss = 0;
    memset(gradient, 0, FEATURES * UNITS * sizeof *gradient);
    for (int r = 0; r < ROWS; r++) {
        float x[FEATURES] = {0};
        for (int i = 0; i < ENTRIES - r; i++)
            x[f->index[s][r][i]] = f->value[s][r][i];
        for (int u = 0; u < UNITS; u++) {
            float y = f->bias[u];
            for (int j = 0; j < FEATURES; j++)
                if (x[j] != 0)
                    y += x[j] * f->weights[j * UNITS + u];
            double difference = (double)y - (double)((float)(r - u) / 4);
            float slope = (float)(2 * difference / UNITS);
            loss += difference * difference / UNITS;
            for (int j = 0; j < FEATURES; j++)
                if (x[j] != 0)
                    gradient[j * UNITS + u] += x[j] * slope;
        }
    }
    return loss;
}

static void check_step(struct fixture *f, int s) {
    struct tw_score score;
    float gradient[FEATURES * UNITS];
    int first, tensors;
    fill(f, s);
    assert_true(tw_net_forward(f->net, &score));
    while (tw_net_backward_step(f->net, &first, &tensors))
        continue;
    assert_float_equal(score.loss, expect(f, s, gradient), 1e-9);
    for (int i = 0; i < FEATURES * UNITS; i++)
        assert_true(tw_net_gradient(f->net, 0)[i] == gradient[i]);
}

static void gradients_are_those_of_dense_rows(void **state) {
    struct fixture f;
    fixture_init(&f);
    for (int s = 0; s < STEPS; s++)
        check_step(&f, s);
    fixture_fini(&f);
}

/* What the rows do not name is not touched, so a step costs the same however many there are. */
static void elements_that_nobody_names_are_never_touched(void **state) {
    struct fixture f;
    fixture_init(&f);
    float *untouched = tw_net_gradient(f.net, 0) + (FEATURES - 1) * UNITS;
    *untouched = 77;
    for (int s = 0; s < STEPS; s++) {
        struct tw_score score;
        int first, tensors;
        fill(&f, s);
        assert_true(tw_net_forward(f.net, &score));
        while (tw_net_backward_step(f.net, &first, &tensors))
            continue;
        assert_true(*untouched == 77);
    }
    fixture_fini(&f);
}

/* Slots of one worker are added up where the last one's gradient lies. */
static void who_writes_into_a_gradient_says_so(void **state) {
    struct fixture f;
    fixture_init(&f);
    check_step(&f, 0);
    memset(tw_net_gradient(f.net, 0), 0x3f, sizeof f.weights);
    tw_net_changed(f.net);
    check_step(&f, 1);
    check_step(&f, 2);
    fixture_fini(&f);
}

static void evaluation_leaves_out_what_does_not_count(void **state) {
    struct fixture f;
    struct tw_score some = {0}, all = {0};
    fixture_init(&f);
    fill(&f, 0);
    tw_net_evaluate(f.net, 2, &some);
    assert_int_equal(some.examples, 2);
    assert_int_equal(tw_net_batch(f.net)->sparse[2].count, 0);
    fill(&f, 0);
    tw_net_evaluate(f.net, ROWS, &all);
    assert_true(all.examples == ROWS && all.loss > some.loss && some.loss > 0);
    fixture_fini(&f);
}

static void it_is_the_first_layer_or_none(void **state) {
    struct tw_model *model;
    struct tw_error error;
    assert_int_equal(build_model(&model,
                                 "  input: [50]\n  layers: [dense: 3, sparse_dense: 2]\n  loss: "
                                 "mean_squared_error\n",
                                 &error),
                     TW_JOB);
    assert_non_null(strstr(error.text,
                           "model.layers[1]: sparse_dense takes sparse rows, which only "
                           "the data has; it is the first layer or none"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_dense_rows),
        cmocka_unit_test(elements_that_nobody_names_are_never_touched),
        cmocka_unit_test(who_writes_into_a_gradient_says_so),
        cmocka_unit_test(evaluation_leaves_out_what_does_not_count),
        cmocka_unit_test(it_is_the_first_layer_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
