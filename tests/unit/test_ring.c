#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/ring.h"

static void places_go_round(void **state) {
    (void)state;
    for (uint32_t room = 1; room < 6; room++)
        for (uint32_t first = 0; first < room; first++)
            for (uint32_t i = 0; i <= room; i++)
                assert_int_equal(tw_ring_at(first, i, room), (first + i) % room);
    for (uint32_t room = 1; room < 6; room++)
        for (uint32_t at = 0; at < room; at++)
            assert_int_equal(tw_ring_next(at, room), (at + 1) % room);
}

static void a_ring_may_be_as_large_as_numbers_go(void **state) {
    (void)state;
    assert_int_equal(tw_ring_at(UINT32_MAX - 1, UINT32_MAX - 1, UINT32_MAX), UINT32_MAX - 2);
    assert_int_equal(tw_ring_at(UINT32_MAX - 1, 0, UINT32_MAX), UINT32_MAX - 1);
    assert_int_equal(tw_ring_next(UINT32_MAX - 1, UINT32_MAX), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_go_round),
        cmocka_unit_test(a_ring_may_be_as_large_as_numbers_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
