/* Where the time of all workers went, from what a lead says of two of them: one computes for 10 s,
 * the other for 30, and both wait until all is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/core/timesheet.h"

#define S 1000000000ull

struct desk {
    struct tw_timesheet sheet;
    void *memory;
    uint64_t now, step;
};

static void tell(struct desk *desk, enum tw_node_event_kind kind, uint32_t rank) {
    struct tw_node_event event = {.kind = kind, .rank = rank};
    tw_timesheet_event(&desk->sheet, &event, desk->now);
}

static void release(struct desk *desk, uint32_t rank) {
    struct tw_record record = {.kind = TW_RECORD_RELEASE, .slot = rank, .step = desk->step};
    tw_timesheet_record(&desk->sheet, &record, desk->now);
    tw_waiting_served(desk->sheet.account, rank, desk->now);
}

static struct desk desk_started(uint32_t workers) {
    struct desk desk = {.memory = calloc(1, tw_timesheet_bytes(workers)), .now = 7 * S, .step = 1};
    assert_non_null(desk.memory);
    tw_timesheet_init(&desk.sheet, desk.memory, workers);
    for (uint32_t rank = 0; rank < workers; rank++)
        tw_waiting_here(desk.sheet.account, rank, false, desk.now);
    desk.now += 5 * S; /* before the start nothing counts */
    tell(&desk, TW_EVENT_STARTED, 0);
    for (uint32_t rank = 0; rank < workers; rank++)
        release(&desk, rank);
    return desk;
}

static void arrive(struct desk *desk, uint32_t rank) {
    tw_waiting_arriving(desk->sheet.account, rank, desk->now);
    tw_waiting_arrived(desk->sheet.account, rank, desk->step, desk->now);
}

static void commit(struct desk *desk, uint32_t workers) {
    struct tw_contribution contribution[32];
    for (uint32_t rank = 0; rank < workers; rank++)
        contribution[rank] = (struct tw_contribution){.slot = rank};
    struct tw_record record = {
        .kind = TW_RECORD_COMMIT, .contributions = contribution, .count = workers};
    tw_timesheet_record(&desk->sheet, &record, desk->now);
}

/* All compute for 10 s, the last one for 30. */
static void update(struct desk *desk) {
    uint32_t workers = desk->sheet.workers;
    desk->now += 10 * S;
    for (uint32_t rank = 0; rank + 1 < workers; rank++)
        arrive(desk, rank);
    desk->now += 20 * S;
    arrive(desk, workers - 1);
    commit(desk, workers);
    desk->step++;
    for (uint32_t rank = 0; rank < workers; rank++)
        release(desk, rank);
}

static void expect_line(const struct desk *desk, uint32_t line, uint32_t rank, const char *text) {
    char found[256];
    uint32_t whose = 99;
    assert_true(tw_timesheet_line(&desk->sheet, desk->now, line, &whose, found, sizeof found));
    assert_string_equal(found, text);
    assert_int_equal(whose, rank);
}

static void expect_no_line(const struct desk *desk, uint32_t line) {
    char found[256];
    uint32_t whose;
    assert_false(tw_timesheet_line(&desk->sheet, desk->now, line, &whose, found, sizeof found));
}

static void expect_stretch(struct desk *desk, double computing, double waiting, double network,
                           double away, int64_t culprit, double seconds) {
    struct tw_border_times times = tw_timesheet_stretch(&desk->sheet, desk->now);
    assert_true(times.computing == computing);
    assert_true(times.waiting == waiting);
    assert_true(times.network == network);
    assert_true(times.away == away);
    assert_int_equal(times.culprit, culprit);
    assert_true(times.culprit_seconds == seconds);
}

static void test_each_stretch_has_its_own_time(void **state) {
    struct desk desk = desk_started(2);
    update(&desk);
    update(&desk);
    expect_stretch(&desk, 80, 40, 0, 0, 1, 40);
    update(&desk);
    expect_stretch(&desk, 40, 20, 0, 0, 1, 20);
    expect_stretch(&desk, 0, 0, 0, 0, -1, 0);
    free(desk.memory);
}

/* The second border is taken back with what lies behind it; what was lost is in the next one, and
 * so is the time until all are there again. */
static void test_a_run_that_begins_again_loses_no_time(void **state) {
    struct desk desk = desk_started(2);
    struct tw_timesheet_border *kept = calloc(1, tw_timesheet_border_bytes(2));
    update(&desk);
    expect_stretch(&desk, 40, 20, 0, 0, 1, 20);
    tw_timesheet_keep(&desk.sheet, kept);
    update(&desk);
    expect_stretch(&desk, 40, 20, 0, 0, 1, 20);
    desk.now += 4 * S;
    tw_waiting_again(desk.sheet.account, desk.now);
    tw_timesheet_take_back(&desk.sheet, kept);
    desk.now += 6 * S;
    for (uint32_t rank = 0; rank < 2; rank++) {
        tw_waiting_here(desk.sheet.account, rank, false, desk.now);
        release(&desk, rank);
    }
    update(&desk);
    expect_stretch(&desk, 40 + 8 + 40, 20 + 20, 0, 12, 1, 40);
    expect_line(
        &desk, 0, 0,
        "worker 0: 34 % computing, 60 % waiting (60 % for worker 1), 0 % network, 6 % away");
    free(kept);
    free(desk.memory);
}

static void test_a_measure_moves_time_to_the_network(void **state) {
    struct desk desk = desk_started(2);
    struct tw_measure measure = {.step = 1, .received = 100, .computed = 100 + 4 * S};
    struct tw_measure wrong = {.step = 1, .received = 100, .computed = 50}; /* is not believed */
    struct tw_node_event event = {
        .kind = TW_EVENT_MEASURED, .rank = 0, .measures = 1, .measure = &wrong};
    update(&desk);
    tw_timesheet_event(&desk.sheet, &event, desk.now);
    event.measure = &measure;
    tw_timesheet_event(&desk.sheet, &event, desk.now);
    expect_stretch(&desk, 34, 20, 6, 0, 1, 20);
    free(desk.memory);
}

static void test_who_leaves_is_away_and_after_the_end_nothing_counts(void **state) {
    struct desk desk = desk_started(2);
    update(&desk);
    tell(&desk, TW_EVENT_LEFT, 0);
    desk.now += 3 * S;
    tell(&desk, TW_EVENT_FINISHED, 0);
    desk.now += 100 * S;
    expect_stretch(&desk, 43, 20, 0, 3, 1, 20);
    free(desk.memory);
}

/* Its weights are nobody's step. */
static void test_the_evaluator_has_no_account(void **state) {
    struct desk desk = desk_started(1);
    struct tw_record record = {
        .kind = TW_RECORD_RELEASE, .slot = TW_SLOT_EVALUATOR, .step = desk.step};
    tw_timesheet_record(&desk.sheet, &record, desk.now);
    update(&desk);
    expect_stretch(&desk, 30, 0, 0, 0, -1, 0);
    free(desk.memory);
}

static void test_of_few_workers_each_has_a_line(void **state) {
    struct desk desk = desk_started(2);
    update(&desk);
    expect_line(&desk, 0, 0,
                "worker 0: 33 % computing, 67 % waiting (67 % for worker 1), 0 % network");
    expect_line(&desk, 1, 1, "worker 1: 100 % computing, 0 % waiting, 0 % network");
    expect_no_line(&desk, 2);
    free(desk.memory);
}

static void test_who_was_away_and_who_waited_for_the_evaluator_is_said(void **state) {
    struct desk desk = desk_started(1);
    update(&desk);
    arrive(&desk, 0);
    tw_waiting_hold(desk.sheet.account, true, desk.now);
    desk.now += 10 * S;
    tw_waiting_hold(desk.sheet.account, false, desk.now);
    desk.step++;
    release(&desk, 0);
    tell(&desk, TW_EVENT_LEFT, 0);
    desk.now += 10 * S;
    expect_line(&desk, 0, 0,
                "worker 0: 60 % computing, 20 % waiting (20 % for the evaluator), 0 % network, "
                "20 % away");
    free(desk.memory);
}

static void test_of_many_all_together_and_the_worst(void **state) {
    struct desk desk = desk_started(9);
    update(&desk);
    expect_line(&desk, 0, 0, "9 workers together: 41 % computing, 59 % waiting, 0 % network");
    expect_line(&desk, 1, 0, "most was waited for worker 8: 20 s by each of the others");
    expect_line(&desk, 2, 8, "worker 8: 100 % computing, 0 % waiting, 0 % network");
    expect_no_line(&desk, 3);
    free(desk.memory);
}

static void test_where_nobody_waited_nobody_is_named(void **state) {
    struct desk desk = desk_started(9);
    desk.now += S;
    expect_line(&desk, 0, 0, "9 workers together: 100 % computing, 0 % waiting, 0 % network");
    expect_no_line(&desk, 1);
    expect_no_line(&desk, 2);
    free(desk.memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_stretch_has_its_own_time),
        cmocka_unit_test(test_a_run_that_begins_again_loses_no_time),
        cmocka_unit_test(test_a_measure_moves_time_to_the_network),
        cmocka_unit_test(test_who_leaves_is_away_and_after_the_end_nothing_counts),
        cmocka_unit_test(test_the_evaluator_has_no_account),
        cmocka_unit_test(test_of_few_workers_each_has_a_line),
        cmocka_unit_test(test_who_was_away_and_who_waited_for_the_evaluator_is_said),
        cmocka_unit_test(test_of_many_all_together_and_the_worst),
        cmocka_unit_test(test_where_nobody_waited_nobody_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
