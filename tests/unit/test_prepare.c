/* What is learned from the training data, and done to samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "worker/data/prepare.h"

/* Three samples of four elements: ordinary, constant, far from zero, with a missing one. */
static const float rows[3][4] = {{1, 7, 1e6f, 2}, {2, 7, 1e6f + 1, NAN}, {6, 7, 1e6f + 2, 4}};
static const struct tw_dataset data = {.count = 3,
                                       .dims = 1,
                                       .shape = {4},
                                       .elements = 4,
                                       .kind = TW_ROWS_FLOATS,
                                       .rows = rows,
                                       .labels = (const int32_t[3]){0, 1, 2},
                                       .samples_name = (char *)"memory"};

static void means_and_deviations_by_hand(void **state) {
    struct tw_preparation p;
    struct tw_error error;
    assert_int_equal(tw_prepare(&p, &data, true, &error), TW_OK);
    assert_true(p.mean[0] == 3 && p.mean[1] == 7 && p.mean[2] == 1e6f + 1 && p.mean[3] == 3);
    assert_true(p.factor[0] == (float)(1 / sqrt(14.0 / 3)) && p.factor[1] == 1);
    assert_true(p.factor[2] == (float)(1 / sqrt(2.0 / 3)) && p.factor[3] == 1);
    float x[4] = {6, 8, 1e6f, NAN};
    tw_prepare_row(&p, x);
    assert_true(x[0] == 3 * p.factor[0] && x[1] == 1 && x[2] == -p.factor[2] && x[3] == 0);
    tw_preparation_fini(&p);
    tw_preparation_fini(&p);
}

static void without_scaling_only_what_is_missing_changes(void **state) {
    struct tw_preparation p;
    struct tw_error error;
    assert_int_equal(tw_prepare(&p, &data, false, &error), TW_OK);
    float x[4] = {6, 8, 1e6f, NAN};
    tw_prepare_row(&p, x);
    assert_true(x[0] == 6 && x[1] == 8 && x[2] == 1e6f && x[3] == 3);
    tw_preparation_fini(&p);
}

/* Another data set gets what was learned from the first. */
static void samples_are_prepared_as_they_are_gathered(void **state) {
    struct tw_preparation p;
    struct tw_error error;
    struct tw_dataset other = data;
    float x[8];
    int32_t labels[2];
    assert_int_equal(tw_prepare(&p, &data, true, &error), TW_OK);
    other.preparation = &p;
    tw_dataset_gather(&other, (const uint32_t[]){2, 1}, 2,
                      &(struct tw_batch){.x = x, .labels = labels});
    for (int row = 0; row < 2; row++) {
        float expected[4];
        memcpy(expected, rows[2 - row], sizeof expected);
        tw_prepare_row(&p, expected);
        assert_memory_equal(x + 4 * row, expected, sizeof expected);
    }
    assert_true(labels[0] == 2 && labels[1] == 1);
    tw_preparation_fini(&p);
}

static void an_element_that_nobody_has_is_named(void **state) {
    static const float none[2][2] = {{1, NAN}, {2, NAN}};
    struct tw_dataset holes = data;
    struct tw_preparation p;
    struct tw_error error;
    holes.rows = none;
    holes.count = 2;
    holes.elements = holes.shape[0] = 2;
    assert_int_equal(tw_prepare(&p, &holes, true, &error), TW_DATA);
    assert_string_equal(error.text, "memory: element 1 (counted from 0) of the samples is missing "
                                    "in all of them; leave it out");
    assert_null(p.mean);
}

/* 1 / 1e-39 is no float. */
static void nearly_constant_is_constant(void **state) {
    static const float tiny[2][2] = {{1e-39f, 3}, {3e-39f, 5}};
    struct tw_dataset small = data;
    struct tw_preparation p;
    struct tw_error error;
    small.rows = tiny;
    small.count = 2;
    small.elements = small.shape[0] = 2;
    assert_int_equal(tw_prepare(&p, &small, true, &error), TW_OK);
    assert_true(p.factor[0] == 1 && p.factor[1] == 1);
    tw_preparation_fini(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_and_deviations_by_hand),
        cmocka_unit_test(without_scaling_only_what_is_missing_changes),
        cmocka_unit_test(samples_are_prepared_as_they_are_gathered),
        cmocka_unit_test(an_element_that_nobody_has_is_named),
        cmocka_unit_test(nearly_constant_is_constant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
