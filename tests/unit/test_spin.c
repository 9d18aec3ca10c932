#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/spin.h"

#define CAP 100000u
#define LOST 3000000u
#define REST (TW_SPIN_REST_TIMES * LOST)

static struct tw_spin begun(uint32_t window_ns) {
    struct tw_spin spin;
    tw_spin_init(&spin, CAP);
    spin.window_ns = window_ns;
    return spin;
}

static void it_begins_by_sleeping(void **state) {
    struct tw_spin spin;
    memset(&spin, 0xff, sizeof spin);
    tw_spin_init(&spin, CAP);
    assert_int_equal(tw_spin_window(&spin, 0), 0);
    assert_int_equal(tw_spin_window(&spin, UINT64_MAX), 0);
}

static void a_wait_that_a_longer_window_would_have_caught_doubles_it(void **state) {
    struct tw_spin spin = begun(0);
    static const uint32_t expected[] = {10000, 20000, 40000, 80000, CAP};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        tw_spin_waited(&spin, CAP);
        assert_int_equal(tw_spin_window(&spin, 1), expected[i]);
    }
    tw_spin_waited(&spin, CAP);
    assert_int_equal(tw_spin_window(&spin, 1), CAP);
}

static void a_wait_that_was_caught_changes_nothing(void **state) {
    struct tw_spin spin = begun(20000);
    tw_spin_waited(&spin, 20000);
    tw_spin_waited(&spin, 1);
    tw_spin_waited(&spin, 0);
    assert_int_equal(spin.window_ns, 20000);
    tw_spin_waited(&spin, 20001);
    assert_int_equal(spin.window_ns, 40000);
}

static void a_wait_beyond_the_cap_halves_it_down_to_nothing(void **state) {
    struct tw_spin spin = begun(CAP);
    static const uint32_t expected[] = {50000, 25000, 12500, 0, 0};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        tw_spin_waited(&spin, CAP + 1);
        assert_int_equal(spin.window_ns, expected[i]);
    }
    tw_spin_waited(&spin, UINT64_MAX);
    assert_int_equal(spin.window_ns, 0);
}

static void no_waits_lead_beyond_the_cap(void **state) {
    static const uint32_t caps[] = {0, 1, 5000, 10000, 15000, CAP, 1000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        struct tw_spin spin;
        uint64_t number = 1;
        tw_spin_init(&spin, caps[i]);
        for (int wait = 0; wait < 2000; wait++) {
            number = number * 6364136223846793005u + 1442695040888963407u;
            tw_spin_waited(&spin, (number >> 33) % (2 * (uint64_t)caps[i] + 2));
            assert_true(spin.window_ns <= caps[i]);
        }
        for (int wait = 0; wait < 32 && caps[i]; wait++)
            tw_spin_waited(&spin, caps[i]);
        assert_int_equal(spin.window_ns, caps[i]);
    }
}

/* Until when nothing is polled for, if others want the core now, and had it for so long. */
static uint64_t crowd(struct tw_spin *spin, uint64_t now_ns, uint64_t lost_ns) {
    tw_spin_crowded(spin, now_ns, lost_ns);
    spin->window_ns = CAP; /* waits were short all the while */
    assert_int_equal(tw_spin_window(spin, now_ns), 0);
    assert_int_equal(tw_spin_window(spin, spin->rested_ns - 1), 0);
    assert_int_equal(tw_spin_window(spin, spin->rested_ns), CAP);
    return spin->rested_ns;
}

static void when_others_want_the_core_it_sleeps_for_a_while(void **state) {
    struct tw_spin spin = begun(CAP);
    assert_int_equal(crowd(&spin, 1000, LOST), 1000 + REST);
    tw_spin_crowded(&spin, UINT64_MAX / 2, LOST);
    assert_int_equal(spin.window_ns, 0);
}

static void the_longer_the_more_they_took(void **state) {
    static const uint64_t lost[] = {1, 20000, LOST, 99999999};
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++) {
        struct tw_spin spin = begun(CAP);
        assert_int_equal(crowd(&spin, 7, lost[i]), 7 + TW_SPIN_REST_TIMES * lost[i]);
    }
    struct tw_spin spin = begun(CAP);
    assert_int_equal(crowd(&spin, 7, 100000001), 7 + (uint64_t)TW_SPIN_REST_NS_MAX);
    spin = begun(CAP);
    assert_int_equal(crowd(&spin, 7, UINT64_MAX), 7 + (uint64_t)TW_SPIN_REST_NS_MAX);
}

static void and_for_a_longer_one_while_they_are_still_there(void **state) {
    struct tw_spin spin = begun(CAP);
    uint64_t at_ns = 1, rest_ns = REST;
    for (int i = 0; i < 40; i++) {
        uint64_t until_ns = crowd(&spin, at_ns, i % 2 ? 20000 : LOST); /* who stays is not alone */
        assert_int_equal(until_ns - at_ns, rest_ns);
        rest_ns = 2 * rest_ns < TW_SPIN_REST_NS_MAX ? 2 * rest_ns : TW_SPIN_REST_NS_MAX;
        at_ns = until_ns + 1;
    }
    assert_int_equal(rest_ns, TW_SPIN_REST_NS_MAX);
}

static void one_who_takes_more_than_before_is_given_more(void **state) {
    struct tw_spin spin = begun(CAP);
    uint64_t until_ns = crowd(&spin, 1, 20000);
    assert_int_equal(crowd(&spin, until_ns, LOST), until_ns + REST);
}

static void they_had_gone_when_it_was_alone_for_as_long_as_it_slept(void **state) {
    struct tw_spin spin = begun(CAP);
    uint64_t until_ns = crowd(&spin, crowd(&spin, 1, LOST), LOST);
    assert_int_equal(spin.rest_ns, 2 * REST);
    tw_spin_crowded(&spin, until_ns + 2 * REST + 1, LOST);
    assert_int_equal(spin.rest_ns, REST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_by_sleeping),
        cmocka_unit_test(a_wait_that_a_longer_window_would_have_caught_doubles_it),
        cmocka_unit_test(a_wait_that_was_caught_changes_nothing),
        cmocka_unit_test(a_wait_beyond_the_cap_halves_it_down_to_nothing),
        cmocka_unit_test(no_waits_lead_beyond_the_cap),
        cmocka_unit_test(when_others_want_the_core_it_sleeps_for_a_while),
        cmocka_unit_test(the_longer_the_more_they_took),
        cmocka_unit_test(and_for_a_longer_one_while_they_are_still_there),
        cmocka_unit_test(one_who_takes_more_than_before_is_given_more),
        cmocka_unit_test(they_had_gone_when_it_was_alone_for_as_long_as_it_slept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
