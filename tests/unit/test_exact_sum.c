#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>

#include "common/base/exact_sum.h"
#include "common/base/rng.h"

static double sum_of(const double *x, int count) {
    struct tw_exact_sum sum = {0};
    for (int i = 0; i < count; i++)
        tw_exact_sum_add(&sum, x[i]);
    return tw_exact_sum_value(&sum);
}

static void one_number_comes_back_as_it_was(void **state) {
    static const double numbers[] = {0, 1, 0.1, 3.25, 0x1.fffffffffffffp255, 0x1p-298, 1e-70, 1e70};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(sum_of(&numbers[i], 1) == numbers[i]);
}

/* math.fsum() of Python. */
static void sums_are_rounded_once_halves_to_even(void **state) {
    assert_true(sum_of((double[]){0x1p53, 1}, 2) == 0x1p53);
    assert_true(sum_of((double[]){0x1p53, 1, 0x1p-200}, 3) == 0x1p53 + 2);
    assert_true(sum_of((double[]){0x1p53 + 2, 1}, 2) == 0x1p53 + 4);
    assert_true(sum_of((double[]){0x1p53, 1, 1}, 3) == 0x1p53 + 2);
    assert_true(sum_of((double[]){0x1.fffffffffffffp0, 0x1p-53}, 2) == 2);
    assert_true(sum_of((double[]){0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}, 10) == 1.0);
    assert_true(sum_of((double[]){1e16, 1, 1e-16, 1e60}, 4) == 1e60);
}

static void order_and_grouping_change_no_bit(void **state) {
    enum { COUNT = 1000 };
    static double x[COUNT];
    struct tw_exact_sum all = {0}, part[3] = {{{0}, false}};
    struct tw_rng rng;
    tw_rng_init(&rng, 5, TW_STREAM_INIT, 0, 0);
    for (int i = 0; i < COUNT; i++)
        x[i] = ldexp(tw_rng_uniform(&rng), (int)tw_rng_below(&rng, 400) - 250);
    for (int i = 0; i < COUNT; i++) {
        tw_exact_sum_add(&all, x[i]);
        tw_exact_sum_add(&part[i % 3], x[COUNT - 1 - i]);
    }
    tw_exact_sum_merge(&part[2], &part[0]);
    tw_exact_sum_merge(&part[2], &part[1]);
    assert_memory_equal(all.word, part[2].word, sizeof all.word);
    assert_true(tw_exact_sum_value(&all) == tw_exact_sum_value(&part[2]));
}

static void what_is_not_finite_or_too_large_stays_visible(void **state) {
    static const double bad[] = {(double)INFINITY, (double)NAN, DBL_MAX};
    for (int i = 0; i < 3; i++) {
        struct tw_exact_sum sum = {0}, other = {0};
        tw_exact_sum_add(&sum, bad[i]);
        tw_exact_sum_add(&sum, 1);
        assert_true(isnan(tw_exact_sum_value(&sum)));
        tw_exact_sum_merge(&other, &sum);
        assert_true(isnan(tw_exact_sum_value(&other)));
    }
    struct tw_exact_sum full = {0};
    for (int i = 0; i < 3; i++)
        tw_exact_sum_add(&full, 0x1p319);
    assert_true(isnan(tw_exact_sum_value(&full)));
    assert_true(sum_of((double[]){DBL_TRUE_MIN, 1}, 2) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_number_comes_back_as_it_was),
        cmocka_unit_test(sums_are_rounded_once_halves_to_even),
        cmocka_unit_test(order_and_grouping_change_no_bit),
        cmocka_unit_test(what_is_not_finite_or_too_large_stays_visible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
