/* The arithmetic of talweg bench: quantiles, lines, sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "cli/bench_numbers.h"

static void quantiles_lie_between_neighbours(void **state) {
    double values[] = {7, 1, 5, 3};
    assert_true(tw_bench_quantile(values, 4, 0) == 1);
    assert_true(tw_bench_quantile(values, 4, 1) == 7);
    assert_true(tw_bench_median(values, 4) == 4);
    assert_true(tw_bench_quantile(values, 4, 0.5 / 3) == 2);
    assert_true(tw_bench_median(values, 3) == 3); /* sorted by now: 1, 3, 5 */
    assert_true(tw_bench_median(values, 1) == 1);
    assert_true(isnan(tw_bench_median(values, 0)));
}

static void a_line_through_points_on_a_line_is_that_line(void **state) {
    const double x[] = {1, 10, 100, 1000}, y[] = {32, 50, 230, 2030};
    struct tw_bench_line line = tw_bench_fit(x, y, 4);
    assert_true(fabs(line.slope - 2) < 1e-12);
    assert_true(fabs(line.at_0 - 30) < 1e-9);
    line = tw_bench_fit(x, y, 2);
    assert_true(fabs(line.slope - 2) < 1e-12);
}

/* Sums by hand: means 2 and 3, sum of (x - 2)^2 is 2, of (x - 2)(y - 3) it is 5. */
static void a_line_has_the_least_squares(void **state) {
    const double x[] = {1, 2, 3}, y[] = {1, 2, 6};
    struct tw_bench_line line = tw_bench_fit(x, y, 3);
    assert_true(fabs(line.slope - 2.5) < 1e-12);
    assert_true(fabs(line.at_0 + 2) < 1e-12);
}

static void one_place_has_no_line(void **state) {
    const double x[] = {100, 100}, y[] = {1, 2};
    assert_true(isnan(tw_bench_fit(x, y, 2).slope));
    assert_true(isnan(tw_bench_fit(x, y, 1).slope));
    assert_true(isnan(tw_bench_fit(x, y, 0).slope));
}

static void sizes_have_the_largest_unit_that_divides_them(void **state) {
    char text[TW_BENCH_SIZE_TEXT];
    assert_string_equal(tw_bench_size(64, text), "64 B");
    assert_string_equal(tw_bench_size(4096, text), "4 KiB");
    assert_string_equal(tw_bench_size(1536, text), "1536 B");
    assert_string_equal(tw_bench_size(104857600, text), "100 MiB");
    assert_string_equal(tw_bench_size((uint64_t)5 << 40, text), "5120 GiB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_lie_between_neighbours),
        cmocka_unit_test(a_line_through_points_on_a_line_is_that_line),
        cmocka_unit_test(a_line_has_the_least_squares),
        cmocka_unit_test(one_place_has_no_line),
        cmocka_unit_test(sizes_have_the_largest_unit_that_divides_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
