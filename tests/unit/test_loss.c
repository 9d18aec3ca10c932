#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/nn/loss.h"

/* A loss with its options: a number for the first of them, or their defaults. */
struct call {
    const struct tw_loss *loss;
    void *options;
};

static struct call find(const char *name, const char *number) {
    struct tw_option option = {.key = "", .text = number};
    const struct tw_variant variant = {
        .name = name, .path = "model.loss", .count = number != NULL, .options = &option};
    struct call call;
    struct tw_error error;
    assert_int_equal(tw_loss_find(&call.loss, &call.options, &variant, &error), TW_OK);
    return call;
}

static double row(struct call call, const float *out, int outputs, int32_t label, float *gradient) {
    return call.loss->row(call.options, out, outputs, (struct tw_target){.label = label}, gradient);
}

/* Each loss, and again with an option that is not its default. */
static const char *const cases[][2] = {
    {"softmax_cross_entropy", NULL},
    {"softmax_cross_entropy", "0.2"},
    {"binary_cross_entropy", NULL},
    {"mean_squared_error", NULL},
    {"mean_absolute_error", NULL},
    {"huber", NULL},
    {"huber", "0.3"},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static void every_loss_is_tested(void **state) {
    for (int i = 0; i < tw_loss_count; i++) {
        bool found = false;
        for (int k = 0; k < CASES; k++)
            found |= strcmp(cases[k][0], tw_losses[i]->name) == 0;
        assert_true(found);
    }
}

/* Outputs are multiples of 2^-10, and so is the step: nothing is rounded when they are
 * moved, and the rest of the sum is in double. No output is within a step of a target. */
static void gradients_are_those_of_finite_differences(void **state) {
    enum { OUTPUTS = 5 };
    const float step = 0x1p-10f;
    for (int which = 0; which < CASES; which++) {
        struct call call = find(cases[which][0], cases[which][1]);
        for (int outputs = call.loss->binary ? 1 : 2; outputs <= OUTPUTS; outputs++)
            for (int label = 0; label < tw_loss_classes(call.loss, outputs); label++) {
                float out[OUTPUTS] = {0.5f, -1.25f, 1.875f, 0.125f, -0.75f}, gradient[OUTPUTS];
                double value = row(call, out, outputs, label, gradient);
                assert_true(value > 0 && value == row(call, out, outputs, label, NULL));
                for (int i = 0; i < outputs; i++) {
                    float kept = out[i];
                    out[i] = kept + step;
                    double above = row(call, out, outputs, label, NULL);
                    out[i] = kept - step;
                    double below = row(call, out, outputs, label, NULL);
                    out[i] = kept;
                    assert_float_equal(gradient[i], (above - below) / (2 * (double)step), 5e-7);
                }
            }
        free(call.options);
    }
}

/* As above, with targets that are real numbers; of those with a kink none is at it. */
static void real_targets_have_the_gradients_of_finite_differences(void **state) {
    const float step = 0x1p-10f, targets[3] = {0.25f, 1, 0};
    for (int which = 0; which < CASES; which++) {
        struct call call = find(cases[which][0], cases[which][1]);
        for (int outputs = 1; call.loss->valued && outputs <= 3; outputs++) {
            const struct tw_target target = {.values = targets};
            float out[3] = {0.5f, -1.25f, 1.875f}, gradient[3];
            double value = call.loss->row(call.options, out, outputs, target, gradient);
            for (int i = 0; i < outputs; i++) {
                float kept = out[i];
                out[i] = kept + step;
                double above = call.loss->row(call.options, out, outputs, target, NULL);
                out[i] = kept - step;
                double below = call.loss->row(call.options, out, outputs, target, NULL);
                out[i] = kept;
                assert_true(value > 0);
                assert_float_equal(gradient[i], (above - below) / (2 * (double)step), 5e-7);
            }
        }
        free(call.options);
    }
}

/* A one-hot vector is what a label stands for, to the bit. */
static void a_label_is_its_one_hot_vector(void **state) {
    const float one_hot[3] = {0, 1, 0}, out[3] = {0.3f, -1.7f, 2.5f};
    for (int which = 0; which < CASES; which++) {
        struct call call = find(cases[which][0], cases[which][1]);
        float by_label[3], by_values[3];
        if (call.loss->valued) {
            double value = row(call, out, 3, 1, by_label);
            const struct tw_target target = {.values = one_hot};
            assert_true(call.loss->row(call.options, out, 3, target, by_values) == value);
            assert_memory_equal(by_label, by_values, sizeof by_label);
        }
        free(call.options);
    }
}

static void a_batch_of_real_targets_has_nothing_correct(void **state) {
    struct call call = find("mean_squared_error", NULL);
    const float out[4] = {1, 2, 3, 5};
    float targets[4] = {1, 2, 4, 3}, gradient[4];
    struct tw_batch batch = {.targets = targets, .valued = true};
    struct tw_score score = {0};
    tw_loss_add(call.loss, call.options, out, 2, 2, &batch, gradient, &score);
    assert_true(score.loss == (1 + 4) / 2.0 && score.examples == 2 && score.correct == 0);
    assert_true(gradient[0] == 0 && gradient[2] == -1 && gradient[3] == 2);
}

static void a_gradient_may_replace_the_outputs(void **state) {
    for (int which = 0; which < CASES; which++) {
        struct call call = find(cases[which][0], cases[which][1]);
        float out[3] = {0.25f, -2.0f, 1.0f}, gradient[3];
        double value = row(call, out, 3, 1, gradient);
        assert_true(row(call, out, 3, 1, out) == value);
        assert_memory_equal(out, gradient, sizeof out);
        free(call.options);
    }
}

/* The loss of a name at these outputs. */
static double value_of(const char *name, const char *number, const float *out, int outputs,
                       int32_t label) {
    struct call call = find(name, number);
    double value = row(call, out, outputs, label, NULL);
    free(call.options);
    return value;
}

static void values_by_hand(void **state) {
    const float equal[4] = {7, 7, 7, 7}, out[2] = {0.5f, 2.0f}, zero = 0, three = 3;
    assert_float_equal(value_of("softmax_cross_entropy", NULL, equal, 4, 2), log(4.0), 1e-14);
    assert_float_equal(value_of("softmax_cross_entropy", "1", out, 2, 0),
                       (log(exp(0.5) + exp(2.0)) - 1.25), 1e-14);
    assert_float_equal(value_of("binary_cross_entropy", NULL, &zero, 1, 1), log(2.0), 1e-14);
    assert_float_equal(value_of("binary_cross_entropy", NULL, &three, 1, 1), log1p(exp(-3)), 1e-14);
    assert_float_equal(value_of("binary_cross_entropy", NULL, &three, 1, 0), log1p(exp(3)), 1e-14);
    /* differences are 0.5 and 1 */
    assert_true(value_of("mean_squared_error", NULL, out, 2, 1) == (0.25 + 1) / 2);
    assert_true(value_of("mean_absolute_error", NULL, out, 2, 1) == (0.5 + 1) / 2);
    assert_true(value_of("huber", "0.5", out, 2, 1) == (0.125 + 0.5 * 0.75) / 2);
}

static void huge_outputs_neither_overflow_nor_become_nan(void **state) {
    struct call call = find("softmax_cross_entropy", NULL);
    const float out[3] = {3e38f, -3e38f, 1e38f};
    float gradient[3];
    assert_true(row(call, out, 3, 0, gradient) == 0.0);
    assert_true(gradient[0] == 0.0f && gradient[1] == 0.0f && gradient[2] == 0.0f);
    assert_float_equal(row(call, out, 3, 1, gradient) / 6e38, 1.0, 1e-6);
    assert_true(gradient[0] == 1.0f && gradient[1] == -1.0f && gradient[2] == 0.0f);
    const float shifted[3] = {10001.0f, 10000.0f, 9999.0f}, plain[3] = {1.0f, 0.0f, -1.0f};
    assert_float_equal(row(call, shifted, 3, 1, NULL), row(call, plain, 3, 1, NULL), 1e-12);
    free(call.options);
    call = find("binary_cross_entropy", NULL);
    assert_float_equal(row(call, out, 3, 1, gradient), 7e38 / 3, 1e32);
    assert_true(gradient[0] == 1.0f / 3 && gradient[1] == -1.0f / 3 && gradient[2] == 1.0f / 3);
    assert_true(row(call, out, 1, 1, gradient) == 0 && gradient[0] == 0);
    const float small = 40;
    assert_float_equal(row(call, &small, 1, 1, NULL) / exp(-40), 1, 1e-12); /* not 0 */
    free(call.options);
}

static void one_output_of_a_binary_loss_tells_two_classes(void **state) {
    struct call call = find("binary_cross_entropy", NULL);
    const float out[4] = {0.5f, -0.5f, 0.0f, NAN};
    struct tw_score score = {0};
    assert_int_equal(tw_loss_classes(call.loss, 1), 2);
    assert_int_equal(tw_loss_classes(call.loss, 3), 3);
    assert_int_equal(tw_loss_classes(find("mean_squared_error", NULL).loss, 3), 3);
    tw_loss_add(call.loss, NULL, out, 4, 1, &(struct tw_batch){.labels = (int32_t[]){1, 0, 0, 0}},
                NULL, &score);
    assert_int_equal(score.correct, 3);
    score.correct = 0;
    tw_loss_add(call.loss, NULL, out, 4, 1, &(struct tw_batch){.labels = (int32_t[]){0, 1, 1, 1}},
                NULL, &score);
    assert_int_equal(score.correct, 0);
}

/* An infinite output is no fault where it is the right answer: its loss is then 0. */
static void nan_and_infinity_stay_visible(void **state) {
    for (int which = 0; which < CASES; which++) {
        struct call call = find(cases[which][0], cases[which][1]);
        for (int at = 0; at < 3; at++) {
            float out[3] = {1, 2, 3}, gradient[3];
            struct tw_score score = {0};
            out[at] = NAN;
            for (int32_t label = 0; label < 3; label++)
                tw_loss_add(call.loss, call.options, out, 1, 3,
                            &(struct tw_batch){.labels = &label}, NULL, &score);
            assert_true(isnan(score.loss));
            assert_int_equal(score.correct, 0);
            row(call, out, 3, 1, gradient);
            assert_true(isnan(gradient[at]));
            out[at] = INFINITY;
            assert_true((call.loss->binary && at == 1) || !isfinite(row(call, out, 3, 1, NULL)));
        }
        free(call.options);
    }
}

static void scores_are_sums_and_ties_go_to_the_lowest_class(void **state) {
    const struct tw_loss *loss = find("mean_squared_error", NULL).loss;
    const float out[4][2] = {{1, 1}, {1, 1}, {0, 1}, {1, 0}};
    int32_t labels[4] = {0, 1, 1, 1};
    struct tw_score score = {.loss = 10.0, .examples = 7, .correct = 3};
    tw_loss_add(loss, NULL, out[0], 4, 2, &(struct tw_batch){.labels = labels}, NULL, &score);
    assert_int_equal(score.examples, 11);
    assert_int_equal(score.correct, 5); /* rows 0 and 2 */
    assert_true(score.loss == 10.0 + 0.5 + 0.5 + 0.0 + 1.0);
}

static void unknown_losses_and_options_are_named(void **state) {
    const struct tw_where where = {"job.yaml", 9};
    struct tw_variant variant = {.name = "softmax", .path = "model.loss", .where = where};
    const struct tw_loss *loss;
    void *options;
    struct tw_error error;
    assert_int_equal(tw_loss_find(&loss, &options, &variant, &error), TW_JOB);
    assert_string_equal(error.text, "job.yaml:9: model.loss: unknown loss \"softmax\"; known: "
                                    "softmax_cross_entropy, binary_cross_entropy, "
                                    "mean_squared_error, mean_absolute_error, huber");
    struct tw_option option = {.key = "weight", .text = "2", .where = where};
    variant.name = "mean_squared_error";
    variant.count = 1;
    variant.options = &option;
    assert_int_equal(tw_loss_find(&loss, &options, &variant, &error), TW_JOB);
    assert_non_null(strstr(error.text, "job.yaml:9: model.loss.weight: "));
    option = (struct tw_option){.key = "delta", .text = "0", .where = where};
    variant.name = "huber";
    assert_int_equal(tw_loss_find(&loss, &options, &variant, &error), TW_JOB);
    assert_non_null(strstr(error.text, "job.yaml:9: model.loss.delta: 0 is out of range"));
    assert_null(options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_loss_is_tested),
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(real_targets_have_the_gradients_of_finite_differences),
        cmocka_unit_test(a_label_is_its_one_hot_vector),
        cmocka_unit_test(a_batch_of_real_targets_has_nothing_correct),
        cmocka_unit_test(a_gradient_may_replace_the_outputs),
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(huge_outputs_neither_overflow_nor_become_nan),
        cmocka_unit_test(one_output_of_a_binary_loss_tells_two_classes),
        cmocka_unit_test(nan_and_infinity_stay_visible),
        cmocka_unit_test(scores_are_sums_and_ties_go_to_the_lowest_class),
        cmocka_unit_test(unknown_losses_and_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
