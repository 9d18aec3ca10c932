/* A line that is shared: who is done when, against times worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "common/base/rng.h"
#include "sim/line.h"

enum { ROOM = 64 };

struct desk {
    struct tw_line line;
    struct tw_agenda_event heap[ROOM];
};

static void init(struct desk *desk) {
    tw_line_init(&desk->line, desk->heap, ROOM);
    assert_true(tw_line_due(&desk->line) == UINT64_MAX);
}

/* The next one is `who`, at this time and not a nanosecond before. */
static void expect(struct desk *desk, uint64_t time_ns, uint64_t who) {
    uint64_t found = 0;
    assert_int_equal(tw_line_due(&desk->line), time_ns);
    assert_true(time_ns == 0 || !tw_line_done(&desk->line, time_ns - 1, &found));
    assert_true(tw_line_done(&desk->line, time_ns, &found));
    assert_int_equal(found, who);
}

static void alone_it_takes_what_it_takes(void **state) {
    struct desk desk;
    init(&desk);
    tw_line_begin(&desk.line, 1000, 70, 1);
    expect(&desk, 1070, 1);
    tw_line_begin(&desk.line, 5000, 70, 2); /* it was idle in between */
    expect(&desk, 5070, 2);
    assert_true(tw_line_due(&desk.line) == UINT64_MAX);
}

static void two_that_begin_together_take_twice_as_long(void **state) {
    struct desk desk;
    init(&desk);
    tw_line_begin(&desk.line, 0, 100, 1);
    tw_line_begin(&desk.line, 0, 100, 2);
    expect(&desk, 200, 1); /* in the order in which they began */
    expect(&desk, 200, 2);
}

/* 1 has 80 left when 2 comes with 50: both go on at half the rate. Then 1 has 30 left, alone. */
static void a_short_one_is_not_held_up_by_a_long_one(void **state) {
    struct desk desk;
    init(&desk);
    tw_line_begin(&desk.line, 0, 100, 1);
    tw_line_begin(&desk.line, 20, 50, 2);
    expect(&desk, 120, 2);
    expect(&desk, 150, 1);
}

/* A heartbeat of 1 among ten that take a million: it is there after 11. */
static void a_heartbeat_waits_for_nobody(void **state) {
    struct desk desk;
    init(&desk);
    for (uint64_t i = 0; i < 10; i++)
        tw_line_begin(&desk.line, 0, 1000000, i);
    tw_line_begin(&desk.line, 500, 1, 10);
    expect(&desk, 511, 10);
    for (uint64_t i = 0; i < 10; i++)
        expect(&desk, 10000001, i);
}

/* The third comes at 7 ns, when each of the two has had 3.5: there is half of one that must not be
 * lost, or both would be done a nanosecond later. */
static void parts_of_a_nanosecond_add_up(void **state) {
    struct desk desk;
    init(&desk);
    tw_line_begin(&desk.line, 0, 1000, 0);
    tw_line_begin(&desk.line, 0, 1000, 1);
    tw_line_begin(&desk.line, 7, 1, 2);
    expect(&desk, 10, 2);
    expect(&desk, 2001, 0);
    expect(&desk, 2001, 1);
}

static void what_takes_nothing_is_done_at_once(void **state) {
    struct desk desk;
    init(&desk);
    tw_line_begin(&desk.line, 7, 0, 1);
    expect(&desk, 7, 1);
}

/* Together they would take longer than time can count. */
static void what_never_ends_is_due_behind_the_end(void **state) {
    struct desk desk;
    uint64_t who;
    init(&desk);
    for (uint64_t i = 0; i < 32; i++)
        tw_line_begin(&desk.line, 5, UINT64_C(1000000000000000000), i);
    assert_true(tw_line_due(&desk.line) == UINT64_MAX - 1);
    assert_false(tw_line_done(&desk.line, INT64_MAX, &who));
}

/* Whoever comes when: while somebody is at work the line is, and it does no more than a line can.
 * The first of them keeps it busy all the time. */
static void it_works_all_the_time_and_no_faster(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 5, TW_STREAM_NOISE, 0, 0);
    for (int run = 0; run < 100; run++) {
        struct desk desk;
        uint64_t now = 0, sum = 10000000, who;
        init(&desk);
        tw_line_begin(&desk.line, 0, sum, 0);
        for (uint64_t i = 1; i < ROOM; i++) {
            uint64_t work = tw_rng_next(&rng) % 10000, then = now + tw_rng_next(&rng) % 10000;
            while (tw_line_due(&desk.line) <= then) {
                now = tw_line_due(&desk.line);
                assert_true(tw_line_done(&desk.line, now, &who));
            }
            tw_line_begin(&desk.line, now = then, work, i);
            sum += work;
        }
        for (uint64_t due; (due = tw_line_due(&desk.line)) != UINT64_MAX; now = due)
            assert_true(tw_line_done(&desk.line, due, &who));
        assert_in_range(now, sum, sum + ROOM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_it_takes_what_it_takes),
        cmocka_unit_test(two_that_begin_together_take_twice_as_long),
        cmocka_unit_test(a_short_one_is_not_held_up_by_a_long_one),
        cmocka_unit_test(a_heartbeat_waits_for_nobody),
        cmocka_unit_test(parts_of_a_nanosecond_add_up),
        cmocka_unit_test(what_takes_nothing_is_done_at_once),
        cmocka_unit_test(what_never_ends_is_due_behind_the_end),
        cmocka_unit_test(it_works_all_the_time_and_no_faster),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
