/* Delay laws: their moments, their order statistics, who shares what with whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "sim/delay.h"
#include "tests/lib/variant_text.h"

static struct tw_delay delay;

static void take(const char *line, uint64_t seed) {
    struct tw_error error;
    if (tw_delay_find(&delay, tw_test_variant(line), seed, &error) != TW_OK)
        fail_msg("%s: %s", line, error.text);
}

/* ---- moments ---- */

/* `workers` with `steps` delays each: the mean of all, and how far it may be off: five of
 * its standard errors, taken from the workers' means, since steps of one may hang together. */
static double mean_of(int workers, int steps, double *allowed, double *variance) {
    double sum = 0, squares = 0, all_squares = 0;
    for (int who = 0; who < workers; who++) {
        struct tw_delay_state one;
        double own = 0;
        tw_delay_begin(&delay, (uint64_t)who, &one);
        for (int i = 0; i < steps; i++) {
            double drawn = tw_delay_next(&delay, &one);
            assert_true(drawn >= 0 && isfinite(drawn));
            own += drawn;
            all_squares += drawn * drawn;
        }
        sum += own / steps;
        squares += own / steps * (own / steps);
    }
    double mean = sum / workers;
    *allowed = 5 * sqrt((squares / workers - mean * mean) / (workers - 1)) + 1e-12;
    *variance = all_squares / ((double)workers * steps) - mean * mean;
    return mean;
}

static void moments_are_those_that_the_tables_say(void **state) {
    static const struct {
        const char *line;
        double within; /* of the variance, relative */
    } laws[] = {
        {"constant", 1e-9},
        {"constant mean=.25", 1e-9},
        {"exponential", .03},
        {"exponential mean=3", .03},
        {"shifted_exponential mean=.5 shift=.5", .03},
        {"pareto shape=6 minimum=2", .1},
        {"gamma", .03},
        {"gamma cv=1", .03},
        {"gamma mean=2 cv=.5", .03},
        {"gamma cv=2", .06},
        {"heterogeneous_gamma", .1},
        {"two_state", .06},
        {"two_state to_slow=.2 to_fast=.3 factor=10 mean=5", .06},
    };
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        double allowed, variance;
        take(laws[i].line, 11);
        double mean = mean_of(4000, 50, &allowed, &variance);
        double exact = tw_delay_variance(&delay);
        if (fabs(mean - tw_delay_mean(&delay)) > allowed)
            fail_msg("%s: mean %g, %g allowed %g", laws[i].line, mean, tw_delay_mean(&delay),
                     allowed);
        if (fabs(variance - exact) > laws[i].within * exact + 1e-9)
            fail_msg("%s: variance %g, %g", laws[i].line, variance, exact);
    }
}

static void some_laws_have_no_mean(void **state) {
    take("pareto shape=1", 1);
    assert_true(isinf(tw_delay_mean(&delay)) && isinf(tw_delay_variance(&delay)));
    take("pareto shape=1.5", 1);
    assert_true(tw_delay_mean(&delay) == 3 && isinf(tw_delay_variance(&delay)));
}

/* The mean of the k-th of P delays: how long a gather of k waits (Dutta et al. 2018). */
static double wait_for(int k, int P, int rounds) {
    struct tw_delay_state one[16];
    double sum = 0;
    for (int who = 0; who < P; who++)
        tw_delay_begin(&delay, (uint64_t)who, &one[who]);
    for (int round = 0; round < rounds; round++) {
        double sorted[16];
        for (int who = 0; who < P; who++) {
            double drawn = tw_delay_next(&delay, &one[who]);
            int at = who;
            for (; at > 0 && sorted[at - 1] > drawn; at--)
                sorted[at] = sorted[at - 1];
            sorted[at] = drawn;
        }
        sum += sorted[k - 1];
    }
    return sum / rounds;
}

static double harmonic(int n) {
    double sum = 0;
    for (int i = 1; i <= n; i++)
        sum += 1. / i;
    return sum;
}

static double gamma_ratio(double n, double k, double a) {
    return exp(lgamma(n + 1) + lgamma(n - k + 1 - 1 / a) - lgamma(n - k + 1) -
               lgamma(n + 1 - 1 / a));
}

static void a_gather_waits_as_long_as_its_order_statistic(void **state) {
    static const struct { int k, P; } gathers[] = {{8, 8}, {7, 8}, {4, 8}, {3, 5}, {1, 16}};
    for (size_t i = 0; i < sizeof gathers / sizeof *gathers; i++) {
        int k = gathers[i].k, P = gathers[i].P;
        double exact = harmonic(P) - harmonic(P - k);
        take("exponential", 3);
        assert_true(fabs(wait_for(k, P, 100000) - exact) < .015 * exact);
        take("shifted_exponential shift=2", 4);
        assert_true(fabs(wait_for(k, P, 100000) - 2 - exact) < .015 * exact);
        take("pareto shape=2.5", 5);
        exact = gamma_ratio(P, k, 2.5);
        assert_true(fabs(wait_for(k, P, 100000) - exact) < .02 * exact);
    }
}

/* ---- who shares what ---- */

static void a_delay_depends_on_seed_worker_and_step_only(void **state) {
    struct tw_delay_times times = {.workers = 0};
    for (int i = 0; i < 100; i++)
        assert_int_equal(tw_delay_times_add(&times, 0, i, NULL), TW_OK);
    for (int law = 0; law < tw_delay_law_count; law++) {
        struct tw_delay_state one, other, again;
        double alone[40], differ = 0;
        bool measured = strcmp(tw_delay_laws[law]->name, "trace") == 0;
        take(measured ? "trace file=times" : tw_delay_laws[law]->name, 9);
        delay.options.times = &times;
        tw_delay_begin(&delay, 4, &one);
        for (int i = 0; i < 40; i++)
            alone[i] = tw_delay_next(&delay, &one);
        tw_delay_begin(&delay, 5, &other);
        tw_delay_begin(&delay, 4, &again);
        for (int i = 0; i < 40; i++) {
            double next = tw_delay_next(&delay, &other);
            differ += fabs(next - alone[i]);
            assert_true(tw_delay_next(&delay, &again) == alone[i]);
        }
        if (delay.law != tw_delay_laws[0] && strcmp(delay.law->name, "two_state") != 0)
            assert_true(differ > 0);
    }
    tw_delay_times_fini(&times);
}

static void machines_differ_and_stay_what_they_are(void **state) {
    double allowed, variance;
    take("heterogeneous_gamma cv=0", 2);
    struct tw_delay_state one, other;
    tw_delay_begin(&delay, 0, &one);
    tw_delay_begin(&delay, 1, &other);
    double first = tw_delay_next(&delay, &one);
    assert_true(tw_delay_next(&delay, &one) == first);
    assert_true(tw_delay_next(&delay, &other) != first);
    mean_of(4000, 2, &allowed, &variance);
    assert_true(fabs(variance - .36) < .05);
}

static void bursts_last_as_long_as_the_chain_says(void **state) {
    take("two_state to_slow=.02 to_fast=.1 factor=2", 8);
    struct tw_delay_state one;
    int bursts = 0, slow = 0, was = 0;
    tw_delay_begin(&delay, 0, &one);
    for (int i = 0; i < 200000; i++) {
        tw_delay_next(&delay, &one);
        bursts += one.slow && !was;
        slow += one.slow;
        was = one.slow;
    }
    assert_true(fabs((double)slow / bursts - 10) < .6);
    assert_true(fabs(slow / 200000. - 1. / 6) < .015);
}

static void speeds_are_dealt_in_turn(void **state) {
    take("constant speeds=[1,2,.25]", 1);
    static const double expected[] = {1, .5, 4, 1, .5};
    for (uint64_t who = 0; who < 5; who++) {
        struct tw_delay_state one;
        tw_delay_begin(&delay, who, &one);
        assert_true(tw_delay_next(&delay, &one) == expected[who]);
    }
}

/* ---- wrong words ---- */

static void assert_refused(const char *line, const char *word) {
    struct tw_error error;
    assert_int_equal(tw_delay_find(&delay, tw_test_variant(line), 1, &error), TW_JOB);
    if (!strstr(error.text, word))
        fail_msg("%s: %s", line, error.text);
}

static void wrong_words_are_named(void **state) {
    assert_refused("gama", "gamma");
    assert_refused("gamma cv=-1", "cv");
    assert_refused("gamma mean=0", "mean");
    assert_refused("exponential mean=-2", "mean");
    assert_refused("two_state to_slow=1.5", "to_slow");
    assert_refused("two_state to_fast=0", "to_fast");
    assert_refused("pareto shap=2", "shape");
    assert_refused("constant speeds=[1,0]", "speeds");
    assert_refused("constant speeds=[-1]", "speeds");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_those_that_the_tables_say),
        cmocka_unit_test(some_laws_have_no_mean),
        cmocka_unit_test(a_gather_waits_as_long_as_its_order_statistic),
        cmocka_unit_test(a_delay_depends_on_seed_worker_and_step_only),
        cmocka_unit_test(machines_differ_and_stay_what_they_are),
        cmocka_unit_test(bursts_last_as_long_as_the_chain_says),
        cmocka_unit_test(speeds_are_dealt_in_turn),
        cmocka_unit_test(wrong_words_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
