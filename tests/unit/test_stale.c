/* What is staler than corrections allow: dropped where an update is formed, counted, and its worker
 * goes on. */
#include <math.h>

#include "tests/lib/corrections_text.h"
#include "tests/unit/sequencer_desk.h"

static void start(struct desk *desk, const char *mode, uint32_t workers, const char *line,
                  bool admission) {
    struct tw_sequencer_config config = desk_config(mode, workers, 1);
    config.shaping.corrections = tw_test_corrections(line, NULL);
    config.admission = admission;
    desk_init(desk, &config);
    desk_start(desk);
}

static void update_of(struct desk *desk, uint32_t slot) {
    desk_ready(desk, slot);
    assert_true(desk->preparing);
    desk_sums(desk, true);
}

static void one_above_the_limit_is_dropped_and_its_worker_goes_on(void **state) {
    struct desk desk;
    start(&desk, "async", 2, "staleness_limit most=2", false);
    for (int i = 0; i < 2; i++)
        update_of(&desk, 0);
    update_of(&desk, 1); /* staleness 2: just so */
    for (int i = 0; i < 3; i++)
        update_of(&desk, 0);
    desk_ready(&desk, 1); /* 3 */
    assert_false(desk.preparing);
    const struct tw_record *drop = desk_record(&desk, TW_RECORD_DROP, 0);
    assert_non_null(drop);
    assert_int_equal(drop->count, 1);
    assert_false(drop->not_finite);
    assert_int_equal(drop->contributions[0].slot, 1);
    assert_int_equal(drop->contributions[0].staleness, 3);
    assert_true(desk_released(&desk, 1));
    assert_int_equal(tw_sequencer_total(desk.sequencer).dropped, 1);
    assert_int_equal(tw_sequencer_total(desk.sequencer).staleness_max, 2);
    update_of(&desk, 1); /* the next is fresh */
    desk_fini(&desk);
}

/* It became too stale while it waited behind the update under way. */
static void one_that_waits_is_judged_by_the_update_it_would_be_part_of(void **state) {
    struct desk desk;
    start(&desk, "async", 3, "staleness_limit most=1", false);
    update_of(&desk, 0);
    desk_ready(&desk, 0);
    assert_true(desk.preparing);
    desk_ready(&desk, 1); /* staleness 1 now, 2 behind this one */
    assert_false(desk_logs(&desk, TW_RECORD_DROP));
    desk_sums(&desk, true);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->contributions[0].slot, 1);
    assert_true(desk_released(&desk, 1));
    assert_false(desk.preparing);
    desk_fini(&desk);
}

/* Fresh ones of a gather stay, and it is filled up by those that come. */
static void a_gather_is_of_those_that_are_left(void **state) {
    struct desk desk;
    start(&desk, "k-async:2", 4, "staleness_limit most=0", false);
    desk_ready(&desk, 0);
    desk_ready(&desk, 1);
    assert_true(desk.preparing);
    desk_ready(&desk, 2);
    desk_sums(&desk, true);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->count, 1);
    desk_ready(&desk, 0);
    desk_ready(&desk, 3); /* read before the first update */
    assert_false(desk.preparing);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->contributions[0].slot, 3);
    desk_ready(&desk, 2);
    assert_int_equal(desk.prepared, 2);
    desk_sums(&desk, true);
    desk_fini(&desk);
}

/* Where there is no memory for it, it is not received at all. */
static void one_without_a_permit_is_dropped_before_it_comes(void **state) {
    struct desk desk;
    start(&desk, "async", 2, "staleness_limit most=0", true);
    desk_want(&desk, 0);
    desk_want(&desk, 1);
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->contributions[0].slot, 1);
    assert_true(desk_says(&desk, TW_SEQ_CANCEL));
    assert_true(desk_released(&desk, 1));
    desk_fini(&desk);
}

static void a_permit_says_how_stale_they_are(void **state) {
    struct desk desk;
    start(&desk, "async", 2, "staleness_power", true);
    desk_want(&desk, 0);
    desk_want(&desk, 1);
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_int_equal(desk_record(&desk, TW_RECORD_PERMIT, 0)->contributions[0].staleness, 1);
    desk_fini(&desk);
}

/* The desk's rule makes scalars of the learning rate, which is .5. */
static void the_learning_rate_of_an_update_is_in_its_record(void **state) {
    struct desk desk;
    start(&desk, "async", 3, "staleness_power", false);
    for (int i = 0; i < 4; i++)
        update_of(&desk, 0);
    update_of(&desk, 1);
    const struct tw_record *commit = desk_record(&desk, TW_RECORD_COMMIT, 0);
    assert_true(commit->rate == .125 && commit->scalars[1] == .125 * 5 + 1);
    assert_true(commit->divisor == 0);
    desk_fini(&desk);
    start(&desk, "k-async:2", 3, "staleness_power", false);
    for (int i = 0; i < 4; i++) {
        desk_ready(&desk, 0);
        update_of(&desk, 1);
    }
    desk_ready(&desk, 2);
    update_of(&desk, 0); /* staleness 4 and 0, 10 examples each */
    commit = desk_record(&desk, TW_RECORD_COMMIT, 0);
    assert_true(commit->rate == .5 * 12.5 / 20 && commit->divisor == 12.5);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_above_the_limit_is_dropped_and_its_worker_goes_on),
        cmocka_unit_test(one_that_waits_is_judged_by_the_update_it_would_be_part_of),
        cmocka_unit_test(a_gather_is_of_those_that_are_left),
        cmocka_unit_test(one_without_a_permit_is_dropped_before_it_comes),
        cmocka_unit_test(a_permit_says_how_stale_they_are),
        cmocka_unit_test(the_learning_rate_of_an_update_is_in_its_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
