#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/arith.h"

static void what_fits_is_exact(void **state) {
    size_t size;
    assert_true(tw_size_add(SIZE_MAX - 1, 1, &size));
    assert_true(size == SIZE_MAX);
    assert_true(tw_size_multiply(SIZE_MAX, 1, &size));
    assert_true(size == SIZE_MAX);
    assert_true(tw_size_multiply(0, SIZE_MAX, &size));
    assert_true(size == 0);

    int64_t i64;
    assert_true(tw_i64_add(INT64_MAX, INT64_MIN, &i64));
    assert_true(i64 == -1);
    assert_true(tw_i64_multiply(INT64_MIN, 1, &i64));
    assert_true(i64 == INT64_MIN);
    assert_true(tw_i64_multiply(INT64_C(3037000499), INT64_C(3037000499), &i64));

    uint64_t u64;
    assert_true(tw_u64_multiply(UINT32_MAX, UINT32_MAX, &u64));
    assert_true(u64 == UINT64_C(0xfffffffe00000001));
    assert_true(tw_u64_add(UINT64_MAX, 0, &u64));
}

static void what_does_not_fit_is_refused(void **state) {
    size_t size;
    assert_false(tw_size_add(SIZE_MAX, 1, &size));
    assert_false(tw_size_multiply(SIZE_MAX / 2 + 1, 2, &size));

    int64_t i64;
    assert_false(tw_i64_add(INT64_MAX, 1, &i64));
    assert_false(tw_i64_add(INT64_MIN, -1, &i64));
    assert_false(tw_i64_multiply(INT64_MIN, -1, &i64));
    assert_false(tw_i64_multiply(INT64_C(3037000500), INT64_C(3037000500), &i64));

    uint64_t u64;
    assert_false(tw_u64_add(UINT64_MAX, 1, &u64));
    assert_false(tw_u64_multiply(UINT64_C(1) << 32, UINT64_C(1) << 32, &u64));
}

static void the_result_may_replace_an_operand(void **state) {
    int64_t elements = 1;
    static const int64_t shape[] = {60000, 28, 28};
    for (size_t i = 0; i < 3; i++)
        assert_true(tw_i64_multiply(elements, shape[i], &elements));
    assert_true(elements == 47040000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_is_exact),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(the_result_may_replace_an_operand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
