/* Metrics against numbers that NumPy and scikit-learn's definitions give, and at their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/variant_text.h"
#include "worker/nn/metrics.h"

/* Only what metrics look at. */
static struct tw_model model;
static struct tw_metrics metrics;

static void begin(const char *loss, int outputs, uint64_t examples, bool valued) {
    struct tw_error error;
    memset(&model, 0, sizeof model);
    if (tw_loss_find(&model.loss, &model.loss_options, tw_test_variant(loss), &error) != TW_OK)
        fail_msg("%s", error.text);
    model.layer_count = 1;
    model.output.dims = 1;
    model.output.elements = model.output.size[0] = outputs;
    assert_int_equal(tw_metrics_init(&metrics, &model, examples, valued, &error), TW_OK);
}

static void end(void) {
    tw_metrics_fini(&metrics);
    free(model.loss_options);
}

static double value(const char *name) {
    for (int i = 0; i < tw_metrics_count; i++)
        if (strcmp(tw_metrics_table[i].name, name) == 0)
            return tw_metrics_table[i].value(&metrics);
    fail_msg("no metric %s", name);
    return 0;
}

static void add_label(const float *out, int32_t label) {
    tw_metrics_add(&metrics, out, (struct tw_target){.label = label});
}

static void add_value(float out, float target) {
    tw_metrics_add(&metrics, &out, (struct tw_target){.values = &target});
}

static void assert_near(double got, double exact) {
    if (!(fabs(got - exact) <= 1e-12 * fabs(exact)))
        fail_msg("%.17g where %.17g would be right", got, exact);
}

/* Scores with ties: sklearn.metrics.roc_auc_score gives 0.6875. */
static void the_area_counts_ties_half(void **state) {
    static const float scores[] = {.1f, .4f, .4f, .8f, .4f, .2f, .9f, .3f};
    static const int32_t labels[] = {0, 0, 1, 1, 0, 1, 1, 0};
    begin("binary_cross_entropy", 1, 8, false);
    for (int i = 0; i < 8; i++)
        add_label(&scores[i], labels[i]);
    /* pairs: .4 beats .1 .3, ties twice; .8 and .9 beat all 4; .2 beats .1 */
    assert_near(value("auc"), (2 + 1 + 4 + 4 + 1) / 16.0);
    assert_near(value("accuracy"), 0.5); /* all are above 0 */
    assert_true(isnan(value("top5")) && isnan(value("r2")));
    end();
}

static void two_outputs_are_ranked_by_their_difference(void **state) {
    static const float rows[4][2] = {{0, 1}, {5, 5.5f}, {2, 1}, {-3, 0}};
    begin("softmax_cross_entropy", 2, 4, false);
    for (int i = 0; i < 4; i++)
        add_label(rows[i], i % 2);
    /* differences 1 (0), .5 (1), -1 (0), 3 (1): of four pairs the positive wins 3 */
    assert_near(value("auc"), 0.75);
    assert_int_equal(metrics.confusion[0 * 2 + 1], 1);
    assert_int_equal(metrics.confusion[0 * 2 + 0], 1);
    assert_int_equal(metrics.confusion[1 * 2 + 1], 2);
    assert_near(value("accuracy"), 0.75);
    end();
}

static void with_one_class_alone_there_is_no_area(void **state) {
    const float out = 1;
    begin("binary_cross_entropy", 1, 2, false);
    add_label(&out, 1);
    add_label(&out, 1);
    assert_true(isnan(value("auc")));
    end();
}

static void five_of_seven(void **state) {
    static const float rows[3][7] = {
        {7, 6, 5, 4, 3, 2, 1}, {1, 1, 1, 1, 1, 1, 1}, {1, 2, NAN, 4, 5, 6, 7}};
    begin("softmax_cross_entropy", 7, 21, false);
    for (int32_t label = 0; label < 7; label++)
        add_label(rows[0], label);
    assert_near(value("top5"), 5.0 / 7);
    for (int32_t label = 0; label < 7; label++)
        add_label(rows[1], label); /* of equal ones the first five */
    assert_near(value("top5"), 10.0 / 14);
    add_label(rows[2], 2); /* a NaN is in nobody's five, and nobody is right */
    assert_near(value("top5"), 10.0 / 15);
    assert_near(value("accuracy"), 2.0 / 15);
    assert_true(isnan(value("loss")));
    end();
}

/* sklearn.metrics.r2_score([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]) = 0.948608137044968. */
static void r_squared_is_that_of_its_definition(void **state) {
    begin("mean_squared_error", 1, 4, true);
    add_value(2.5f, 3);
    add_value(0, -.5f);
    add_value(2, 2);
    add_value(8, 7);
    assert_near(value("r2"), 0.948608137044968);
    assert_near(value("loss"), 1.5 / 4);
    assert_true(isnan(value("accuracy")) && isnan(value("auc")));
    end();
    begin("mean_squared_error", 1, 2, true);
    add_value(1, 2);
    add_value(2, 2);
    assert_true(isnan(value("r2"))); /* targets that are all the same */
    end();
    begin("mean_squared_error", 1, 3, true);
    for (int i = 0; i < 3; i++)
        add_value(1, -.1f); /* whose squares, summed, are not exactly the square of their sum */
    assert_true(isnan(value("r2")));
    end();
}

/* Sums are exact: whatever the order, the same bits. */
static void the_order_does_not_matter(void **state) {
    double first = 0;
    for (int turn = 0; turn < 7; turn++) {
        begin("mean_squared_error", 1, 1000, true);
        for (int i = 0; i < 1000; i++) {
            int at = (i * 331 + turn * 17) % 1000;
            add_value((float)sin(at), (float)cos(at * at) * 1e3f);
        }
        double now = value("r2") + value("loss");
        first = turn == 0 ? now : first;
        assert_true(now == first);
        end();
    }
}

/* The same numbers each time, by rows or by batches. */
static void cleared_they_begin_anew(void **state) {
    float out[12] = {1, 2, 3, -1, 4, 0, .5f, .25f, 7, 3, 2, 1}, targets[6] = {1, 2, 3, 3, 1, 5};
    int32_t labels[6] = {1, 0, 1, 1, 0, 0};
    for (int valued = 0; valued < 2; valued++) {
        struct tw_metric_values first, now;
        struct tw_batch batch = {.labels = labels, .targets = targets, .valued = valued};
        begin(valued ? "mean_squared_error" : "softmax_cross_entropy", valued ? 1 : 2, 6, valued);
        for (int turn = 0; turn < 2; turn++) {
            tw_metrics_clear(&metrics);
            tw_metrics_add_batch(&metrics, out, &batch, 6);
            now = tw_metrics_values(&metrics);
            first = turn == 0 ? now : first;
            assert_memory_equal(&now, &first, sizeof now);
        }
        assert_true(now.loss == value("loss"));
        assert_true(valued ? now.r2 == value("r2") && isnan(now.auc) && isnan(now.accuracy)
                           : now.auc == value("auc") && isnan(now.r2) && isnan(now.top5));
        assert_int_equal(metrics.tally.samples, 6);
        end();
    }
}

/* Probabilities, and back to outputs that have the same loss. */
static void answers_go_there_and_back(void **state) {
    static const char *const losses[] = {"softmax_cross_entropy", "binary_cross_entropy",
                                         "mean_squared_error"};
    static const float out[3] = {1.5f, -2, .25f};
    for (int i = 0; i < 3; i++) {
        double answer[3], sum = 0;
        float back[3];
        begin(losses[i], 3, 1, false);
        tw_loss_answer(model.loss, out, 3, answer);
        tw_loss_unanswer(model.loss, answer, 3, back);
        for (int k = 0; k < 3; k++)
            sum += answer[k];
        if (i == 0)
            assert_near(sum, 1);
        if (i == 1)
            assert_near(answer[1], 1 / (1 + exp(2)));
        const struct tw_target target = {.label = 2};
        double there = model.loss->row(model.loss_options, out, 3, target, NULL);
        double again = model.loss->row(model.loss_options, back, 3, target, NULL);
        assert_true(fabs(there - again) < 1e-6);
        end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_area_counts_ties_half),
        cmocka_unit_test(two_outputs_are_ranked_by_their_difference),
        cmocka_unit_test(with_one_class_alone_there_is_no_area),
        cmocka_unit_test(five_of_seven),
        cmocka_unit_test(r_squared_is_that_of_its_definition),
        cmocka_unit_test(the_order_does_not_matter),
        cmocka_unit_test(cleared_they_begin_anew),
        cmocka_unit_test(answers_go_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
