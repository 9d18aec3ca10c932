/* What becomes of gradients that an update leaves behind: dropped when they come, or
 * cancelled at the COMMIT, and who is told. */
#include "tests/unit/sequencer_desk.h"

static int cancels(const struct desk *desk) {
    int n = 0;
    while (desk_effect(desk, TW_SEQ_CANCEL, n))
        n++;
    return n;
}

static void test_a_cancelled_read_is_told_and_released_anew(void **state) {
    struct desk desk;
    desk_started(&desk, "k-sync:1", 3, 2);
    desk_ready_on(&desk, 1, 0); /* its push is on one shard only */
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_int_equal(desk.version, 1);
    assert_int_equal(cancels(&desk), 2);
    for (int i = 0; i < 2; i++) {
        const struct tw_sequencer_effect *cancel = desk_effect(&desk, TW_SEQ_CANCEL, i);
        const struct tw_record *drop = desk_record(&desk, TW_RECORD_DROP, 0);
        assert_int_equal(cancel->cancel.slot, i + 1);
        assert_int_equal(cancel->cancel.step, 1);
        assert_int_equal(drop->contributions[i].slot, i + 1);
        assert_int_equal(drop->contributions[i].step, 1);
    }
    for (uint32_t slot = 0; slot < 3; slot++) {
        assert_true(desk_released(&desk, slot));
        assert_int_equal(desk.slot[slot].step, 2);
    }
    desk_fini(&desk);
}

/* It is in the queue: nobody computes it any more. */
static void test_a_whole_push_that_is_left_behind_is_dropped_and_not_told(void **state) {
    struct desk desk;
    desk_started(&desk, "k-sync:1", 3, 1);
    desk_ready(&desk, 0);
    desk_ready(&desk, 2);
    desk_sums(&desk, true);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->count, 2);
    assert_int_equal(cancels(&desk), 1);
    assert_int_equal(desk_effect(&desk, TW_SEQ_CANCEL, 0)->cancel.slot, 1);
    desk_fini(&desk);
}

static void test_the_vote_of_a_cancelled_step_is_void(void **state) {
    struct desk desk;
    desk_started(&desk, "k-sync:1", 2, 1);
    struct tw_sequencer_event late = desk_vote(&desk, 1, 0);
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_int_equal(desk_step(&desk, &late), 0);
    assert_int_equal(tw_sequencer_total(desk.sequencer).contributions, 1);
    assert_int_equal(tw_sequencer_total(desk.sequencer).dropped, 1);
    desk_ready(&desk, 1); /* the new one counts */
    assert_true(desk_says(&desk, TW_SEQ_PREPARE));
    desk_fini(&desk);
}

/* Its last votes came between PREPARE and COMMIT. */
static void test_a_push_that_gets_whole_during_a_prepare_is_left_behind(void **state) {
    static const char *const modes[] = {"k-sync:1", "backup:1"};
    for (int i = 0; i < 2; i++) {
        struct desk desk;
        desk_started(&desk, modes[i], 2, 1);
        desk_ready(&desk, 0);
        assert_true(desk.preparing);
        desk_ready(&desk, 1);
        desk_sums(&desk, true);
        assert_int_equal(cancels(&desk), 0);
        const struct tw_record *drop = desk_record(&desk, TW_RECORD_DROP, 0);
        assert_int_equal(drop->count, 1);
        assert_int_equal(drop->contributions[0].slot, 1);
        assert_true(desk_released(&desk, 1));
        desk_fini(&desk);
    }
}

static void test_backups_go_on_computing_and_are_dropped_when_they_come(void **state) {
    struct desk desk;
    desk_started(&desk, "backup:1", 2, 1);
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_int_equal(cancels(&desk), 0);
    assert_false(desk_logs(&desk, TW_RECORD_DROP));
    assert_false(desk_released(&desk, 1));
    desk_ready(&desk, 1);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->contributions[0].slot, 1);
    assert_int_equal(desk_record(&desk, TW_RECORD_DROP, 0)->contributions[0].staleness, 1);
    assert_true(desk_released(&desk, 1));
    assert_false(desk.preparing);
    assert_int_equal(tw_sequencer_total(desk.sequencer).dropped, 1);
    desk_fini(&desk);
}

static void test_a_slot_that_is_gone_is_cancelled_and_released_when_it_is_back(void **state) {
    struct desk desk;
    desk_started(&desk, "k-sync:1", 2, 1);
    uint64_t read = desk.slot[1].read;
    desk_lose(&desk, 1);
    desk_ready(&desk, 0);
    desk_sums(&desk, true);
    assert_int_equal(cancels(&desk), 1);
    assert_false(desk_released(&desk, 1));
    desk_resume(&desk, 1, read);
    assert_int_equal(desk_effect(&desk, TW_SEQ_JOINED, 0)->joined.last_step, 1);
    desk_attach(&desk, 1, 0);
    assert_true(desk_released(&desk, 1));
    assert_int_equal(desk.slot[1].step, 2);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cancelled_read_is_told_and_released_anew),
        cmocka_unit_test(test_a_whole_push_that_is_left_behind_is_dropped_and_not_told),
        cmocka_unit_test(test_the_vote_of_a_cancelled_step_is_void),
        cmocka_unit_test(test_a_push_that_gets_whole_during_a_prepare_is_left_behind),
        cmocka_unit_test(test_backups_go_on_computing_and_are_dropped_when_they_come),
        cmocka_unit_test(test_a_slot_that_is_gone_is_cancelled_and_released_when_it_is_back),
    };
    return cmocka_run_group_tests_name("late", tests, NULL, NULL);
}
