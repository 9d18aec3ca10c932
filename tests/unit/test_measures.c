/* What a worker measures, and in whose time it says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/core/measures.h"

#define MS 1000000ul

/* A Ping at `asked`, its Pong `round` later, read by the lead in the middle: its clock
 * shows `ahead` more than ours. */
static void exchange(struct tw_measures *m, uint64_t nonce, uint64_t asked, uint64_t round,
                     uint64_t ahead) {
    tw_measures_pinged(m, nonce, asked);
    tw_measures_ponged(m, nonce, asked + round / 2 + ahead, asked + round);
}

static void step(struct tw_measures *m, uint64_t number, uint64_t at) {
    tw_measures_received(m, number, at);
    tw_measures_computed(m, at + 5);
    tw_measures_sent(m, at + 7);
}

static struct tw_ping take(struct tw_measures *m) {
    struct tw_ping ping = {0};
    tw_measures_take(m, &ping);
    return ping;
}

static void a_step_is_told_in_the_leads_time(void **state) {
    struct tw_measures m = {0};
    exchange(&m, 1, 1000, 20, 500000);
    step(&m, 7, 2000);
    struct tw_ping ping = take(&m);
    assert_int_equal(ping.measures, 1);
    assert_int_equal(ping.measure[0].step, 7);
    assert_int_equal(ping.measure[0].received, 502000);
    assert_int_equal(ping.measure[0].computed, 502005);
    assert_int_equal(ping.measure[0].sent, 502007);
    assert_int_equal(take(&m).measures, 0);
}

static void our_clock_may_be_ahead(void **state) {
    struct tw_measures m = {0};
    exchange(&m, 1, 9000, 20, -8000ul);
    step(&m, 1, 9100);
    assert_int_equal(take(&m).measure[0].received, 1100);
    step(&m, 2, 5000); /* before the lead's time began: it is clamped */
    assert_int_equal(take(&m).measure[0].received, 1);
}

static void the_shortest_round_trip_decides(void **state) {
    struct tw_measures m = {0};
    exchange(&m, 1, 1000, 100, 70); /* wrong by up to 50 */
    exchange(&m, 2, 2000, 10, 60);
    exchange(&m, 3, 3000, 100, 90);
    step(&m, 1, 4000);
    assert_int_equal(take(&m).measure[0].received, 4060);
}

static void an_old_round_trip_is_trusted_less_and_less(void **state) {
    struct tw_measures m = {0};
    exchange(&m, 1, 1000 * MS, 1000, 50 * MS);
    exchange(&m, 2, 1001 * MS, 3000, 60 * MS); /* 100 ns of drift since: too long a trip */
    step(&m, 1, 2000 * MS);
    assert_int_equal(take(&m).measure[0].received, 2050 * MS);
    exchange(&m, 3, 11000 * MS, 3000, 60 * MS); /* 1 ms of drift since */
    step(&m, 2, 12000 * MS);
    assert_int_equal(take(&m).measure[0].received, 12060 * MS);
}

static void only_the_answer_to_the_last_ping_counts_and_once(void **state) {
    struct tw_measures m = {0};
    tw_measures_pinged(&m, 1, 1000);
    tw_measures_pinged(&m, 2, 2000);
    tw_measures_ponged(&m, 1, 77, 2010);
    tw_measures_ponged(&m, 0, 77, 2010);
    step(&m, 1, 3000);
    assert_int_equal(tw_measures_due_ns(&m), UINT64_MAX);
    tw_measures_ponged(&m, 2, 9000, 2010);
    tw_measures_ponged(&m, 2, 1, 2010);
    assert_int_equal(take(&m).measure[0].received, 3000 + 9000 - 2005);
}

static void nothing_leaves_for_a_lead_that_tells_no_time(void **state) {
    struct tw_measures m = {0};
    tw_measures_pinged(&m, 1, 1000);
    tw_measures_ponged(&m, 1, 0, 1010);
    step(&m, 1, 2000);
    assert_int_equal(tw_measures_due_ns(&m), UINT64_MAX);
    assert_int_equal(take(&m).measures, 0);
}

static void measures_leave_in_batches_or_after_a_while(void **state) {
    struct tw_measures m = {0};
    exchange(&m, 1, 1000, 10, 0);
    assert_int_equal(tw_measures_due_ns(&m), UINT64_MAX);
    step(&m, 1, 5000);
    assert_int_equal(tw_measures_due_ns(&m), 5007 + TW_MEASURES_WAIT_MS * MS);
    for (uint64_t i = 2; i <= TW_MEASURES_BATCH; i++)
        step(&m, i, 5000 + 100 * i);
    assert_true(tw_measures_due_ns(&m) <= 5007);
    assert_int_equal(take(&m).measures, TW_MEASURES_BATCH);
    assert_int_equal(tw_measures_due_ns(&m), UINT64_MAX);
}

static void the_oldest_make_room_where_nobody_takes_them(void **state) {
    struct tw_measures m = {0};
    for (uint64_t i = 1; i <= TW_MEASURES_BATCH + 3; i++)
        step(&m, i, 1000 * i);
    exchange(&m, 1, 100000, 10, 0);
    struct tw_ping ping = take(&m);
    assert_int_equal(ping.measures, TW_MEASURES_BATCH);
    assert_int_equal(ping.measure[0].step, 4);
    assert_int_equal(ping.measure[TW_MEASURES_BATCH - 1].step, TW_MEASURES_BATCH + 3);
}

static void a_step_that_was_given_up_has_no_more_times_than_it_came_to(void **state) {
    struct tw_measures m = {0};
    exchange(&m, 1, 1000, 10, 0);
    tw_measures_received(&m, 1, 2000);
    step(&m, 2, 3000);
    struct tw_ping ping = take(&m);
    assert_int_equal(ping.measures, 2);
    assert_int_equal(ping.measure[0].received, 2000);
    assert_int_equal(ping.measure[0].computed, 0);
    assert_int_equal(ping.measure[0].sent, 0);
    assert_int_equal(ping.measure[1].step, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_told_in_the_leads_time),
        cmocka_unit_test(our_clock_may_be_ahead),
        cmocka_unit_test(the_shortest_round_trip_decides),
        cmocka_unit_test(an_old_round_trip_is_trusted_less_and_less),
        cmocka_unit_test(only_the_answer_to_the_last_ping_counts_and_once),
        cmocka_unit_test(nothing_leaves_for_a_lead_that_tells_no_time),
        cmocka_unit_test(measures_leave_in_batches_or_after_a_while),
        cmocka_unit_test(the_oldest_make_room_where_nobody_takes_them),
        cmocka_unit_test(a_step_that_was_given_up_has_no_more_times_than_it_came_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
