/* Marching squares on functions whose contours are known, and levels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "lab/contour.h"

/* Sums over all loops of a trace. */
struct sums {
    int loops;
    double area; /* signed: counterclockwise is positive */
    double length;
    double farthest; /* greatest of | |point| - radius | */
    double radius;
    double x0, y0, x, y; /* of this loop: where it began, and is */
};

static void go(struct sums *sums, double x, double y) {
    sums->area += (sums->x * y - x * sums->y) / 2;
    sums->length += hypot(x - sums->x, y - sums->y);
    sums->x = x;
    sums->y = y;
}

static void add(void *context, double x, double y, bool first) {
    struct sums *sums = context;
    if (first) {
        if (sums->loops++)
            go(sums, sums->x0, sums->y0);
        sums->x = sums->x0 = x;
        sums->y = sums->y0 = y;
    }
    go(sums, x, y);
    sums->farthest = fmax(sums->farthest, fabs(hypot(x, y) - sums->radius));
}

static struct sums trace(struct tw_grid *grid, double level, double radius) {
    struct sums sums = {.radius = radius};
    tw_contour_trace(grid, level, add, &sums);
    if (sums.loops)
        go(&sums, sums.x0, sums.y0);
    return sums;
}

typedef double function(double x, double y);

static void fill(struct tw_grid *grid, const struct tw_box *box, int columns, int rows,
                 function *f) {
    assert_int_equal(tw_grid_init(grid, box, columns, rows, NULL), TW_OK);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            grid->value[r * columns + c] = f(tw_grid_x(grid, c), tw_grid_y(grid, r));
}

static void assert_near(double got, double exact, double error) {
    if (!(fabs(got - exact) <= error))
        fail_msg("%.17g where %.17g would be right", got, exact);
}

static double distance(double x, double y) {
    return hypot(x, y);
}

static double upwards(double x, double y) {
    return y;
}

static double ring(double x, double y) {
    return fabs(hypot(x, y) - 1.5);
}

static double product(double x, double y) {
    return x * y;
}

static double logarithm(double x, double y) {
    return x > 0 ? log(x) : NAN;
}

static void a_circle_is_one_loop_with_its_area_and_length(void **state) {
    const struct tw_box box = {-2, 2, -2, 2};
    struct tw_grid grid;
    fill(&grid, &box, 161, 161, distance);
    struct sums sums = trace(&grid, 1, 1);
    assert_int_equal(sums.loops, 1);
    assert_near(sums.area, 3.14159265, 1e-3);
    assert_near(sums.length, 2 * 3.14159265, 1e-2);
    assert_true(sums.farthest < 1e-3);
    tw_grid_fini(&grid);
}

static void linear_functions_are_exact(void **state) {
    const struct tw_box box = {-1, 3, 10, 12};
    struct tw_grid grid;
    fill(&grid, &box, 7, 5, upwards);
    struct sums sums = trace(&grid, 10.77, 0);
    assert_int_equal(sums.loops, 1);
    /* The region below the line, closed along the edge of the box. */
    assert_near(sums.area, 4 * .77, 1e-12);
    assert_near(sums.length, 2 * (4 + .77), 1e-12);
    tw_grid_fini(&grid);
}

static void holes_turn_the_other_way(void **state) {
    const struct tw_box box = {-3, 3, -3, 3};
    struct tw_grid grid;
    fill(&grid, &box, 241, 241, ring);
    struct sums sums = trace(&grid, .5, 0);
    assert_int_equal(sums.loops, 2);
    assert_near(sums.area, 3.14159265 * (4 - 1), 1e-2);
    tw_grid_fini(&grid);
}

static void nothing_and_everything(void **state) {
    const struct tw_box box = {0, 2, 0, 1};
    struct tw_grid grid;
    fill(&grid, &box, 9, 9, upwards);
    assert_int_equal(trace(&grid, -1, 0).loops, 0);
    struct sums all = trace(&grid, 5, 0);
    assert_int_equal(all.loops, 1);
    assert_near(all.area, 2, 1e-12);
    assert_near(all.length, 6, 1e-12);
    tw_grid_fini(&grid);
}

/* One square, below in two opposite corners: its middle decides what is joined. */
static void a_saddle_is_joined_where_its_middle_is_below(void **state) {
    const struct tw_box box = {-1, 1, -1, 1};
    struct tw_grid grid;
    fill(&grid, &box, 2, 2, product); /* 1 -1 / -1 1; middle 0 */
    assert_int_equal(trace(&grid, -.5, 0).loops, 2);
    assert_int_equal(trace(&grid, .5, 0).loops, 1);
    assert_true(trace(&grid, -.5, 0).area < trace(&grid, .5, 0).area);
    tw_grid_fini(&grid);
}

static void what_is_not_finite_is_above(void **state) {
    const struct tw_box box = {-1, 1, 0, 1};
    struct tw_grid grid;
    struct tw_levels levels;
    fill(&grid, &box, 21, 11, logarithm);
    struct sums sums = trace(&grid, 10, 0);
    assert_int_equal(sums.loops, 1);
    assert_near(sums.area, .9, 1e-12);
    tw_levels_choose(&levels, &grid);
    assert_true(levels.count > 0 && levels.base < -2 && levels.base > -2.5);
    tw_grid_fini(&grid);
}

static double bowl(double x, double y) {
    return x * x + 100 * y * y;
}

static double flat(double x, double y) {
    return 7;
}

static void levels_are_powers_of_ten_and_steps_between(void **state) {
    const struct tw_box box = {-2, 2, -2, 2};
    struct tw_grid grid;
    struct tw_levels levels;
    fill(&grid, &box, 41, 41, bowl);
    tw_levels_choose(&levels, &grid);
    assert_in_range(levels.count, 8, TW_CONTOUR_LEVELS);
    assert_true(levels.base == 0);
    for (int i = 0; i < levels.count; i++) {
        assert_true(levels.at[i] < 404);
        if (i > 0)
            assert_near(log10(levels.at[i] / levels.at[i - 1]), log10(levels.at[1] / levels.at[0]),
                        1e-12);
        assert_int_equal(levels.whole[i],
                         fabs(log10(levels.at[i]) - rint(log10(levels.at[i]))) < 1e-9);
    }
    tw_grid_fini(&grid);
    fill(&grid, &box, 5, 5, flat);
    tw_levels_choose(&levels, &grid);
    assert_int_equal(levels.count, 0);
    tw_grid_fini(&grid);
    fill(&grid, &box, 41, 41, product);
    tw_levels_choose(&levels, &grid);
    assert_true(levels.base == -4 && levels.at[0] > -4);
    tw_grid_fini(&grid);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_circle_is_one_loop_with_its_area_and_length),
        cmocka_unit_test(linear_functions_are_exact),
        cmocka_unit_test(holes_turn_the_other_way),
        cmocka_unit_test(nothing_and_everything),
        cmocka_unit_test(a_saddle_is_joined_where_its_middle_is_below),
        cmocka_unit_test(what_is_not_finite_is_above),
        cmocka_unit_test(levels_are_powers_of_ten_and_steps_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
