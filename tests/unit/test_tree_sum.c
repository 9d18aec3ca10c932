/* The sum of doubles by the tree of tw_sum_tree(), compared with the tree written out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/tree_sum.h"

static double sum_of(const double *x, int count) {
    struct tw_tree_sum sum = {0};
    for (int i = 0; i < count; i++)
        tw_tree_sum_add(&sum, x[i]);
    return tw_tree_sum_total(&sum);
}

/* Of so different sizes that every order of adding them rounds otherwise. */
static const double x[8] = {1, 0x1p53, -0x1p53, 3, 0x1p-3, 1e16, -1e16, 0.1};

static void few_numbers(void **state) {
    assert_true(sum_of(x, 0) == 0);
    assert_true(sum_of(x, 1) == 1);
    assert_true(sum_of(x, 2) == x[0] + x[1]);
    assert_true(sum_of(x, 3) == (x[0] + x[1]) + x[2]);
}

static void what_is_left_is_folded_from_the_right(void **state) {
    double four = (x[0] + x[1]) + (x[2] + x[3]);
    assert_true(sum_of(x, 7) == four + ((x[4] + x[5]) + x[6]));
    assert_true(sum_of(x, 8) == four + ((x[4] + x[5]) + (x[6] + x[7])));
    double in_a_row = 0;
    for (int i = 0; i < 8; i++)
        in_a_row += x[i];
    assert_true(sum_of(x, 8) != in_a_row); /* or these numbers would show nothing */
}

static void an_aligned_block_may_be_summed_before(void **state) {
    for (int width = 1; width <= 8; width *= 2) {
        double blocks[8];
        for (int i = 0; i < 8 / width; i++)
            blocks[i] = sum_of(x + i * width, width);
        assert_true(sum_of(blocks, 8 / width) == sum_of(x, 8));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_numbers),
        cmocka_unit_test(what_is_left_is_folded_from_the_right),
        cmocka_unit_test(an_aligned_block_may_be_summed_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
