/* How long a rank has been gone, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/core/absence.h"

enum { GRACE = 5000 };

/* Ticks of 100 ms until it is due; how long that took. */
static uint64_t until_due(struct tw_absence *absence) {
    uint64_t passed = 0;
    while (!tw_absence_tick(absence, true, 100, GRACE))
        passed += 100;
    return passed;
}

static void who_is_here_is_never_due(void **state) {
    struct tw_absence absence = {false};
    for (int i = 0; i < 1000; i++)
        assert_false(tw_absence_tick(&absence, false, 100, 0));
}

static void who_is_gone_is_due_after_its_grace(void **state) {
    struct tw_absence absence = {false};
    assert_false(tw_absence_tick(&absence, false, 100, GRACE));
    assert_int_equal(until_due(&absence), GRACE);
    assert_int_equal(absence.gone_ms, GRACE);
    assert_true(tw_absence_tick(&absence, true, 100, GRACE)); /* until something is done */
}

/* The tick before it was noticed is no time of its absence. */
static void the_first_tick_counts_nothing(void **state) {
    struct tw_absence absence = {false};
    assert_false(tw_absence_tick(&absence, true, 100, 1));
    assert_int_equal(absence.gone_ms, 0);
    assert_true(tw_absence_tick(&absence, true, 1, 1));
}

static void without_grace_it_is_due_at_once(void **state) {
    struct tw_absence absence = {false};
    assert_true(tw_absence_tick(&absence, true, 100, 0));
}

static void who_comes_back_begins_anew(void **state) {
    struct tw_absence absence = {false};
    for (int i = 0; i < 50; i++)
        assert_false(tw_absence_tick(&absence, true, 100, GRACE));
    assert_false(tw_absence_tick(&absence, false, 100, GRACE));
    assert_int_equal(until_due(&absence), GRACE);
}

/* The lead was stopped for an hour: nobody could have joined. */
static void a_late_tick_blames_nobody(void **state) {
    struct tw_absence absence = {false};
    assert_false(tw_absence_tick(&absence, true, 100, GRACE));
    assert_false(tw_absence_tick(&absence, true, 3600 * 1000, GRACE));
    assert_int_equal(absence.gone_ms, TW_ABSENCE_TICK_MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_here_is_never_due),
        cmocka_unit_test(who_is_gone_is_due_after_its_grace),
        cmocka_unit_test(the_first_tick_counts_nothing),
        cmocka_unit_test(without_grace_it_is_due_at_once),
        cmocka_unit_test(who_comes_back_begins_anew),
        cmocka_unit_test(a_late_tick_blames_nobody),
    };
    return cmocka_run_group_tests_name("absence", tests, NULL, NULL);
}
