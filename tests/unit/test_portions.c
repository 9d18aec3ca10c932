/* How test data is cut for several evaluators. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

#include "server/core/portions.h"

static struct tw_portions portions;

/* They follow each other, are whole batches but for the end, and are all there is. */
static void assert_covered(uint64_t samples, uint32_t evaluators, bool ranked) {
    uint64_t next = 0;
    tw_portions_cut(&portions, samples, evaluators, ranked);
    assert_in_range(portions.count, 1, TW_PORTIONS_MAX);
    assert_int_equal(portions.left, portions.count);
    for (uint32_t i = 0; i < portions.count; i++) {
        uint64_t size = tw_portions_samples(&portions, i);
        assert_int_equal(tw_portions_first(&portions, i), next);
        assert_int_equal(next % TW_EVALUATION_ROWS, 0);
        assert_true(size > 0);
        assert_true(!ranked || portions.count == 1 || size <= TW_TALLY_SCORES);
        next += size;
    }
    assert_int_equal(next, samples);
}

static void all_samples_are_in_one_portion(void **state) {
    static const uint64_t sizes[] = {1,    255,   256,   257,    511,
                                     1000, 10000, 99999, 262144, UINT64_C(1) << 60};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (uint32_t e = 1; e <= TW_EVALUATORS_MAX; e++) {
            assert_covered(sizes[s], e, false);
            if (sizes[s] <= TW_SPREAD_SCORES_MAX)
                assert_covered(sizes[s], e, true);
        }
}

static void one_evaluator_has_one_portion(void **state) {
    assert_covered(100000, 1, true);
    assert_int_equal(portions.count, 1);
}

static void there_are_some_more_than_evaluators(void **state) {
    assert_covered(10000, 2, false); /* 40 batches */
    assert_int_equal(portions.count, 8);
    assert_covered(700, 2, false); /* 3 batches */
    assert_int_equal(portions.count, 3);
    assert_covered(256, 2, false);
    assert_int_equal(portions.count, 1);
}

static void what_comes_back_is_taken_again(void **state) {
    tw_portions_cut(&portions, 600, 3, false);
    assert_int_equal(tw_portions_take(&portions), 0);
    assert_int_equal(tw_portions_take(&portions), 1);
    tw_portions_back(&portions, 0);
    assert_int_equal(tw_portions_take(&portions), 0);
    assert_int_equal(tw_portions_take(&portions), 2);
    assert_int_equal(tw_portions_take(&portions), TW_NO_PORTION);
    for (uint32_t i = 0; i < 3; i++)
        tw_portions_done(&portions, i);
    assert_int_equal(portions.left, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_samples_are_in_one_portion),
        cmocka_unit_test(one_evaluator_has_one_portion),
        cmocka_unit_test(there_are_some_more_than_evaluators),
        cmocka_unit_test(what_comes_back_is_taken_again),
    };
    return cmocka_run_group_tests_name("portions", tests, NULL, NULL);
}
