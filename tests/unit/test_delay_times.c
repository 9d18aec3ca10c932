/* Times of steps: the law that draws from them, and the one that is fitted to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "sim/delay.h"
#include "tests/lib/variant_text.h"

static struct tw_delay law(const char *line, uint64_t seed) {
    struct tw_delay delay;
    struct tw_error error;
    if (tw_delay_find(&delay, tw_test_variant(line), seed, &error) != TW_OK)
        fail_msg("%s: %s", line, error.text);
    return delay;
}

static void add(struct tw_delay_times *times, uint32_t worker, double seconds) {
    assert_int_equal(tw_delay_times_add(times, worker, seconds, NULL), TW_OK);
}

static struct tw_delay_times drawn(const char *line, uint32_t workers, int steps) {
    struct tw_delay delay = law(line, 5);
    struct tw_delay_times times = {.workers = 0};
    for (uint32_t w = 0; w < workers; w++) {
        struct tw_delay_state state;
        tw_delay_begin(&delay, w, &state);
        add(&times, w, 1000); /* the first, which does not count */
        for (int i = 0; i < steps; i++)
            add(&times, w, tw_delay_next(&delay, &state));
    }
    return times;
}

static void assert_fitted(struct tw_fitted fitted, double truth, const char *what) {
    if (fabs(fitted.value - truth) > 5 * fitted.error + 1e-12)
        fail_msg("%s: %g +- %g is not %g", what, fitted.value, fitted.error, truth);
}

static void a_law_is_found_again_within_its_errors(void **state) {
    static const struct {
        const char *line;
        double mean, cv, machine_cv;
    } laws[] = {
        {"gamma mean=.02 cv=.17", .02, .17, 0},
        {"gamma mean=3 cv=1", 3, 1, 0},
        {"heterogeneous_gamma mean=2 cv=.1 machine_cv=.6", 2, .1, .6},
        {"heterogeneous_gamma mean=.5 cv=.4 machine_cv=.2", .5, .4, .2},
        {"constant mean=4", 4, 0, 0},
    };
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        struct tw_delay_times times = drawn(laws[i].line, 40, 500);
        struct tw_delay_fit fit;
        assert_int_equal(tw_delay_fit(&times, &fit, NULL), TW_OK);
        assert_int_equal(fit.steps, 40 * 500);
        assert_fitted(fit.mean, laws[i].mean, laws[i].line);
        assert_fitted(fit.cv, laws[i].cv, laws[i].line);
        assert_fitted(fit.machine_cv, laws[i].machine_cv, laws[i].line);
        tw_delay_times_fini(&times);
    }
}

static void a_new_process_s_first_step_is_left_out(void **state) {
    struct tw_delay_times times = {.workers = 0};
    add(&times, 0, 1000);
    add(&times, 0, 1);
    tw_delay_times_new_processes(&times);
    add(&times, 0, 2000);
    add(&times, 0, 3);
    add(&times, 1, 7); /* the first of all of this worker stays, as a file's does */
    assert_int_equal(times.worker[0].count, 3);
    assert_true(times.worker[0].at[1] == 1 && times.worker[0].at[2] == 3);
    assert_int_equal(times.worker[1].count, 1);
    tw_delay_times_fini(&times);
}

static void workers_that_do_not_differ_are_not_said_to(void **state) {
    struct tw_delay_times times = {.workers = 0};
    struct tw_delay_fit fit;
    for (uint32_t w = 0; w < 3; w++)
        for (int i = 0; i < 9; i++)
            add(&times, w, 1 + i % 2 * .5);
    assert_int_equal(tw_delay_fit(&times, &fit, NULL), TW_OK);
    assert_true(fit.machine_cv.value == 0 && fit.cv.value > 0);
    tw_delay_times_fini(&times);
    for (int i = 0; i < 9; i++)
        add(&times, 0, 1 + i % 2 * .5);
    assert_int_equal(tw_delay_fit(&times, &fit, NULL), TW_OK);
    assert_true(isnan(fit.machine_cv.error)); /* one worker tells nothing of that */
    tw_delay_times_fini(&times);
}

static void too_little_is_refused(void **state) {
    struct tw_delay_times times = {.workers = 0};
    struct tw_delay_fit fit;
    struct tw_error error;
    assert_int_equal(tw_delay_fit(&times, &fit, &error), TW_DATA);
    for (int i = 0; i < 2; i++)
        add(&times, 1, 1);
    for (int i = 0; i < 9; i++)
        add(&times, 0, 0);
    assert_int_equal(tw_delay_fit(&times, &fit, &error), TW_DATA);
    assert_int_equal(tw_delay_times_add(&times, 0, -1e-9, &error), TW_DATA);
    assert_int_equal(tw_delay_times_add(&times, 0, NAN, &error), TW_DATA);
    assert_int_equal(tw_delay_times_add(&times, 0, INFINITY, &error), TW_DATA);
    assert_int_equal(tw_delay_times_add(&times, TW_WORKERS_MAX, 1, &error), TW_LIMIT);
    tw_delay_times_fini(&times);
}

static double next(const struct tw_delay *delay, struct tw_delay_state *state) {
    return tw_delay_next(delay, state);
}

static void literal_steps_come_in_their_order_and_again(void **state) {
    struct tw_delay_times times = {.workers = 0};
    struct tw_delay delay = law("trace file=x literal=true speeds=2", 1);
    struct tw_delay_state one, more;
    for (int i = 0; i < 3; i++) {
        add(&times, 0, i);
        add(&times, 2, 10 + i); /* worker 1 has none: it is like 2 */
    }
    delay.options.times = &times;
    tw_delay_begin(&delay, 0, &one);
    tw_delay_begin(&delay, 1, &more);
    for (int i = 0; i < 7; i++) {
        assert_true(next(&delay, &one) == i % 3 / 2.);
        assert_true(next(&delay, &more) == (10 + i % 3) / 2.);
    }
    int starts[3] = {0};
    for (uint64_t who = 3; who < 300; who += 3) { /* like 0, from anywhere on */
        tw_delay_begin(&delay, who, &more);
        starts[(int)(2 * next(&delay, &more))]++;
    }
    assert_true(starts[0] > 9 && starts[1] > 9 && starts[2] > 9);
    tw_delay_times_fini(&times);
}

static void drawn_steps_have_the_moments_of_the_file(void **state) {
    struct tw_delay_times times = drawn("heterogeneous_gamma mean=2", 10, 50);
    struct tw_delay delay = law("trace file=x", 9);
    double sum = 0, squares = 0;
    enum { STEPS = 20000 };
    delay.options.times = &times;
    for (uint64_t who = 0; who < 20; who++) {
        struct tw_delay_state one;
        tw_delay_begin(&delay, who, &one);
        for (int i = 0; i < STEPS; i++) {
            double drawn_now = next(&delay, &one);
            sum += drawn_now / STEPS / 20;
            squares += drawn_now * drawn_now / STEPS / 20;
        }
    }
    double mean = tw_delay_mean(&delay), variance = tw_delay_variance(&delay);
    assert_true(fabs(sum - mean) < 5 * sqrt(variance / STEPS / 20));
    assert_true(fabs(squares - sum * sum - variance) < .05 * variance);
    tw_delay_times_fini(&times);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_law_is_found_again_within_its_errors),
        cmocka_unit_test(a_new_process_s_first_step_is_left_out),
        cmocka_unit_test(workers_that_do_not_differ_are_not_said_to),
        cmocka_unit_test(too_little_is_refused),
        cmocka_unit_test(literal_steps_come_in_their_order_and_again),
        cmocka_unit_test(drawn_steps_have_the_moments_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
