/* Corrections for late gradients: factors against libm, what an update of several makes of them,
 * and how a job says them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "server/core/shaping.h"
#include "tests/lib/corrections_text.h"

static double factor(const char *line, uint64_t staleness) {
    struct tw_corrections stack = tw_test_corrections(line, NULL);
    return tw_corrections_factor(&stack, staleness);
}

static void assert_near(double value, double expected) {
    if (fabs(value - expected) > 4 * 0x1p-52 * expected)
        fail_msg("%.17g, not %.17g", value, expected);
}

static void factors_are_those_of_their_formulas(void **state) {
    static const uint64_t taus[] = {1, 2, 3, 7, 29, 1000, 123456789};
    for (size_t i = 0; i < sizeof taus / sizeof *taus; i++) {
        double tau = (double)taus[i];
        assert_true(factor("staleness_power", taus[i]) == 1 / tau);
        assert_near(factor("staleness_power power=2", taus[i]), 1 / (tau * tau));
        assert_near(factor("staleness_power power=.5", taus[i]), 1 / sqrt(tau));
        assert_near(factor("staleness_power power=.3 from=zero", taus[i]), pow(1 + tau, -.3));
        assert_true(factor("staleness_power from=zero", taus[i]) == 1 / (1 + tau));
        if (tau < 1e4)
            assert_near(factor("staleness_exp a=.01", taus[i]), exp(-.01 * tau));
        assert_true(factor("staleness_limit most=3", taus[i]) == 1);
    }
}

static void nothing_is_done_to_what_is_fresh(void **state) {
    for (int i = 0; i < tw_correction_count; i++) {
        struct tw_correction_options options = {.power = .7, .decay = 3, .from = i % 2};
        if (tw_corrections_known[i]->factor)
            assert_true(tw_corrections_known[i]->factor(&options, 0) == 1);
    }
    struct tw_corrections none = {.count = 0};
    assert_true(tw_corrections_factor(&none, 12) == 1);
    assert_true(tw_corrections_limit(&none) == UINT64_MAX);
}

static void stacks_multiply_factors_and_take_the_least_limit(void **state) {
    struct tw_corrections stack = tw_test_corrections("staleness_power", "staleness_limit most=7",
                                                      "staleness_exp a=.5", NULL);
    assert_near(tw_corrections_factor(&stack, 4), exp(-2) / 4);
    assert_int_equal(tw_corrections_limit(&stack), 7);
}

/* e^-16000 is none: quotients stay finite, and learning rates above 0. */
static void factors_never_vanish(void **state) {
    struct tw_corrections stack = tw_test_corrections("staleness_exp a=16", NULL);
    assert_true(tw_corrections_factor(&stack, 1000) > 0);
    assert_true(tw_corrections_weight(&stack, 1000, 900) == 1);
    double weight = tw_corrections_weight(&stack, 1000, 0);
    assert_true(isfinite(weight) && weight > 0 && weight < 1e-100);
}

static const struct tw_contribution three[] = {
    {.slot = 0, .staleness = 4, .examples = 10},
    {.slot = 1, .staleness = 2, .examples = 20},
    {.slot = 2, .staleness = 8, .examples = 40},
};

/* By hand: f = 1/4, 1/2, 1/8; so c = 1/2, 1, 1/4, and 5 + 20 + 10 of 70 examples. */
static void an_update_of_several_has_weights_and_one_learning_rate(void **state) {
    struct tw_shaping shaping = {.corrections = tw_test_corrections("staleness_power", NULL)};
    const struct tw_corrections *stack = &shaping.corrections;
    assert_int_equal(tw_contributions_freshest(three, 3), 2);
    assert_true(tw_corrections_weight(stack, 4, 2) == .5);
    assert_true(tw_corrections_weight(stack, 2, 2) == 1);
    assert_true(tw_corrections_weight(stack, 8, 2) == .25);
    double weighted = tw_corrections_examples(stack, three, 3);
    assert_true(weighted == 35);
    assert_true(tw_shaping_lateness(&shaping, 2, 70, weighted) == .25);
    assert_true(tw_shaping_divisor(&shaping, 70, weighted, 0) == 35);
    assert_true(tw_shaping_norm(&shaping, weighted, 35 * 35 * 4) == 2);
    shaping.sum = true;
    assert_true(tw_shaping_lateness(&shaping, 2, 70, weighted) == .5);
    assert_true(tw_shaping_divisor(&shaping, 70, weighted, 0) == 1);
}

static void one_contribution_only_has_another_learning_rate(void **state) {
    struct tw_shaping shaping = {.corrections = tw_test_corrections("staleness_exp a=.25", NULL)};
    double weighted = tw_corrections_examples(&shaping.corrections, three, 1);
    assert_true(weighted == 10 && tw_shaping_divisor(&shaping, 10, weighted, 0) == 0);
    assert_near(tw_shaping_lateness(&shaping, 4, 10, weighted), exp(-1));
}

/* ---- from a job ---- */

#define JOB "model: {tensors: {w: [4]}}\nupdates: 1\noptimizer: sgd\ncluster: {workers: 2}\n"

static enum tw_status find(const char *lines, struct tw_corrections *out, struct tw_error *error) {
    char text[1024];
    struct tw_job *job;
    snprintf(text, sizeof text, JOB "%s", lines);
    enum tw_status status = tw_job_parse(&job, "job.yaml", text, strlen(text), NULL, 0, error);
    if (status == TW_OK)
        status = tw_corrections_find(out, job, error);
    tw_job_free(job);
    return status;
}

static void a_job_stacks_them_in_its_order(void **state) {
    struct tw_corrections stack;
    struct tw_error error;
    assert_int_equal(find("corrections:\n"
                          "  - {name: staleness_limit, most: 9}\n"
                          "  - staleness_power\n"
                          "  - {name: staleness_exp, a: .5}\n",
                          &stack, &error),
                     TW_OK);
    assert_int_equal(stack.count, 3);
    assert_string_equal(stack.at[0].kind->name, "staleness_limit");
    assert_string_equal(stack.at[1].kind->name, "staleness_power");
    assert_true(stack.at[1].options.power == 1);
    assert_true(stack.at[2].options.decay == .5);
    assert_int_equal(find("corrections: []\n", &stack, &error), TW_OK);
    assert_int_equal(stack.count, 0);
}

static void what_is_wrong_is_named_with_what_would_be_right(void **state) {
    static const struct {
        const char *lines, *say[3];
    } cases[] = {
        {"corrections: [stalenes_power]\n",
         {"job.yaml:5", "corrections[0]", "\"staleness_power\""}},
        {"corrections: [staleness_power, {name: staleness_power, power: 2}]\n",
         {"corrections[1]", "already", ""}},
        {"corrections: [{name: staleness_power, pover: 2}]\n",
         {"corrections[0].pover", "power", ""}},
        {"corrections: [{name: staleness_power, power: 0}]\n", {"corrections[0].power", "0", ""}},
        {"corrections: [{name: staleness_exp}]\n", {"corrections[0]", "a", "missing"}},
        {"corrections: [{name: staleness_limit, most: -1}]\n", {"corrections[0].most", "-1", ""}},
        {"corrections: [{name: dc_asgd_adaptive, eps: 1e-50}]\n",
         {"corrections[0].eps", "1e-50", "1.17"}}, /* 0 as float32 */
        {"corrections: [{name: gap_aware, eps: 1e-50}]\n", {"corrections[0].eps", "1e-50", "1.17"}},
        {"corrections: staleness_power\n", {"corrections", "list", "[{name: staleness_power}]"}},
        {"corrections: {name: staleness_power}\n", {"corrections", "list", ""}},
        {"corrections: [a, b, c, d, e, f, g, h, i]\n", {"corrections", "9", "8"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tw_corrections stack;
        struct tw_error error;
        assert_int_equal(find(cases[i].lines, &stack, &error), TW_JOB);
        for (int s = 0; s < 3; s++)
            if (!strstr(error.text, cases[i].say[s]))
                fail_msg("%s: no %s in: %s", cases[i].lines, cases[i].say[s], error.text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_are_those_of_their_formulas),
        cmocka_unit_test(nothing_is_done_to_what_is_fresh),
        cmocka_unit_test(stacks_multiply_factors_and_take_the_least_limit),
        cmocka_unit_test(factors_never_vanish),
        cmocka_unit_test(an_update_of_several_has_weights_and_one_learning_rate),
        cmocka_unit_test(one_contribution_only_has_another_learning_rate),
        cmocka_unit_test(a_job_stacks_them_in_its_order),
        cmocka_unit_test(what_is_wrong_is_named_with_what_would_be_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
