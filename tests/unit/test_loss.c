#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "worker/nn/loss.h"

static const struct tw_loss *find(const char *name) {
    const struct tw_variant variant = {.name = name, .path = "model.loss"};
    const struct tw_loss *loss = NULL;
    struct tw_error error;
    assert_int_equal(tw_loss_find(&loss, &variant, &error), TW_OK);
    return loss;
}

/* Outputs are multiples of 2^-10, and so is the step: nothing is rounded when they are
 * moved, and the rest of the sum is in double. */
static void gradients_are_those_of_finite_differences(void **state) {
    enum { CLASSES = 5 };
    const float step = 0x1p-10f;
    for (int which = 0; which < tw_loss_count; which++)
        for (int label = 0; label < CLASSES; label++) {
            float out[CLASSES] = {0.5f, -1.25f, 2.0f, 0.0f, -0.75f}, gradient[CLASSES];
            const struct tw_loss *loss = tw_losses[which];
            double value = loss->row(out, CLASSES, label, gradient);
            assert_true(value > 0 && value == loss->row(out, CLASSES, label, NULL));
            for (int i = 0; i < CLASSES; i++) {
                float kept = out[i];
                out[i] = kept + step;
                double above = loss->row(out, CLASSES, label, NULL);
                out[i] = kept - step;
                double below = loss->row(out, CLASSES, label, NULL);
                out[i] = kept;
                assert_float_equal(gradient[i], (above - below) / (2 * (double)step), 5e-7);
            }
        }
}

static void a_gradient_may_replace_the_outputs(void **state) {
    for (int which = 0; which < tw_loss_count; which++) {
        float out[3] = {0.25f, -2.0f, 1.0f}, gradient[3];
        double value = tw_losses[which]->row(out, 3, 1, gradient);
        assert_true(tw_losses[which]->row(out, 3, 1, out) == value);
        assert_memory_equal(out, gradient, sizeof out);
    }
}

static void values_by_hand(void **state) {
    const float equal[4] = {7, 7, 7, 7}, out[2] = {0.5f, 2.0f};
    assert_float_equal(find("softmax_cross_entropy")->row(equal, 4, 2, NULL), log(4.0), 1e-15);
    /* ((0.5 - 0)^2 + (2 - 1)^2) / 2 */
    assert_true(find("mean_squared_error")->row(out, 2, 1, NULL) == 0.625);
}

static void huge_outputs_neither_overflow_nor_become_nan(void **state) {
    const struct tw_loss *loss = find("softmax_cross_entropy");
    const float out[3] = {3e38f, -3e38f, 1e38f};
    float gradient[3];
    assert_true(loss->row(out, 3, 0, gradient) == 0.0);
    assert_true(gradient[0] == 0.0f && gradient[1] == 0.0f && gradient[2] == 0.0f);
    assert_float_equal(loss->row(out, 3, 1, gradient) / 6e38, 1.0, 1e-6);
    assert_true(gradient[0] == 1.0f && gradient[1] == -1.0f && gradient[2] == 0.0f);
    const float shifted[3] = {10001.0f, 10000.0f, 9999.0f}, plain[3] = {1.0f, 0.0f, -1.0f};
    assert_float_equal(loss->row(shifted, 3, 1, NULL), loss->row(plain, 3, 1, NULL), 1e-12);
}

static void nan_and_infinity_stay_visible(void **state) {
    for (int which = 0; which < tw_loss_count; which++)
        for (int at = 0; at < 3; at++) {
            float out[3] = {1, 2, 3};
            struct tw_score score = {0};
            out[at] = NAN;
            for (int32_t label = 0; label < 3; label++)
                tw_loss_add(tw_losses[which], out, 1, 3, &label, NULL, &score);
            assert_true(isnan(score.loss));
            assert_int_equal(score.correct, 0);
            out[at] = INFINITY;
            assert_false(isfinite(tw_losses[which]->row(out, 3, 1, NULL)));
        }
}

static void scores_are_sums_and_ties_go_to_the_lowest_class(void **state) {
    const struct tw_loss *loss = find("mean_squared_error");
    const float out[4][2] = {{1, 1}, {1, 1}, {0, 1}, {1, 0}};
    const int32_t labels[4] = {0, 1, 1, 1};
    struct tw_score score = {.loss = 10.0, .examples = 7, .correct = 3};
    tw_loss_add(loss, out[0], 4, 2, labels, NULL, &score);
    assert_int_equal(score.examples, 11);
    assert_int_equal(score.correct, 5); /* rows 0 and 2 */
    assert_true(score.loss == 10.0 + 0.5 + 0.5 + 0.0 + 1.0);
}

static void unknown_losses_and_options_are_named(void **state) {
    const struct tw_where where = {"job.yaml", 9};
    struct tw_variant variant = {.name = "softmax", .path = "model.loss", .where = where};
    const struct tw_loss *loss;
    struct tw_error error;
    assert_int_equal(tw_loss_find(&loss, &variant, &error), TW_JOB);
    assert_string_equal(error.text, "job.yaml:9: model.loss: unknown loss \"softmax\"; known: "
                                    "softmax_cross_entropy, mean_squared_error");
    struct tw_option option = {.key = "weight", .text = "2", .where = where};
    variant.name = "mean_squared_error";
    variant.count = 1;
    variant.options = &option;
    assert_int_equal(tw_loss_find(&loss, &variant, &error), TW_JOB);
    assert_non_null(strstr(error.text, "job.yaml:9: model.loss.weight: "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(a_gradient_may_replace_the_outputs),
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(huge_outputs_neither_overflow_nor_become_nan),
        cmocka_unit_test(nan_and_infinity_stay_visible),
        cmocka_unit_test(scores_are_sums_and_ties_go_to_the_lowest_class),
        cmocka_unit_test(unknown_losses_and_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
