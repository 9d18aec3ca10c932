/* Permits: who gets one, when, and when it is taken back. That nothing starves or is lost under
 * faults: tests/sim/test_tight.c. */
#include "tests/unit/sequencer_desk.h"

static void start(struct desk *desk, const char *mode, uint32_t workers) {
    struct tw_sequencer_config config = desk_config(mode, workers, 2);
    config.admission = true;
    desk_init(desk, &config);
    desk_start(desk);
}

static void assert_permit(const struct desk *desk, uint32_t count, const uint32_t *slots) {
    const struct tw_record *record = desk_record(desk, TW_RECORD_PERMIT, 0);
    assert_non_null(record);
    assert_int_equal(record->count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(record->contributions[i].slot, slots[i]);
        assert_int_equal(record->contributions[i].step, desk->slot[slots[i]].step);
        assert_int_equal(record->contributions[i].read, desk->slot[slots[i]].read);
    }
}

static void answer_sums(struct desk *desk) {
    for (uint32_t shard = 0; shard < desk->config.shards; shard++) {
        struct tw_sequencer_event event = {.kind = TW_SEQ_SUMS};
        event.sums = (struct tw_sums){.shard = shard, .version = desk->version + 1, .finite = true};
        desk_step(desk, &event);
    }
}

static void test_one_after_another_first_come_first_served(void **state) {
    struct desk desk;
    start(&desk, "async", 3);
    desk_wants(&desk, true, true, true);
    desk_want(&desk, 2);
    assert_permit(&desk, 1, (uint32_t[]){2});
    desk_wants(&desk, false, false, true);
    desk_want(&desk, 1);
    desk_want(&desk, 0);
    assert_false(desk_logs(&desk, TW_RECORD_PERMIT)); /* one at a time */
    desk_ready(&desk, 2);
    assert_true(desk_says(&desk, TW_SEQ_PREPARE));
    answer_sums(&desk);
    assert_true(desk_logs(&desk, TW_RECORD_COMMIT));
    assert_permit(&desk, 1, (uint32_t[]){1});
    desk_fini(&desk);
}

static void test_a_gather_is_named_together_and_in_slot_order(void **state) {
    struct desk desk;
    start(&desk, "k-async:2", 3);
    desk_want(&desk, 2);
    assert_false(desk_logs(&desk, TW_RECORD_PERMIT));
    desk_want(&desk, 0);
    assert_permit(&desk, 2, (uint32_t[]){0, 2});
    desk_fini(&desk);
}

/* Where workers take turns: nobody else would get a permit before it. */
static void test_the_turn_of_one_that_is_evicted_passes_on(void **state) {
    struct desk desk;
    start(&desk, "stale-uniform:3", 3);
    desk_lose(&desk, 0);
    desk_step(&desk, &(struct tw_sequencer_event){.kind = TW_SEQ_EVICT, .evict = 0});
    assert_true(desk.slot[1].reading);
    desk_want(&desk, 1);
    assert_permit(&desk, 1, (uint32_t[]){1});
    desk_ready(&desk, 1);
    assert_true(desk_says(&desk, TW_SEQ_PREPARE));
    desk_lose(&desk, 2);
    desk_step(&desk, &(struct tw_sequencer_event){.kind = TW_SEQ_EVICT, .evict = 2});
    answer_sums(&desk);
    assert_int_equal(desk.version, 1);
    desk_want(&desk, 1); /* it is alone: every turn is its own */
    assert_permit(&desk, 1, (uint32_t[]){1});
    desk_fini(&desk);
}

static void test_who_is_told_twice_wants_once(void **state) {
    struct desk desk;
    start(&desk, "k-async:2", 3);
    desk_want(&desk, 2);
    desk_want(&desk, 2);
    assert_false(desk_logs(&desk, TW_RECORD_PERMIT));
    struct tw_sequencer_event old = {.kind = TW_SEQ_WANT};
    old.want = (struct tw_want){.slot = 1, .incarnation = desk.slot[1].incarnation, .step = 9};
    desk_step(&desk, &old);
    old.want.slot = 77;
    desk_step(&desk, &old);
    assert_false(desk_logs(&desk, TW_RECORD_PERMIT));
    desk_fini(&desk);
}

static void test_nobody_needs_one_where_all_contribute(void **state) {
    struct desk desk;
    start(&desk, "sync", 2);
    desk_want(&desk, 0);
    assert_int_equal(desk.effects, 0);
    desk_fini(&desk);
}

static void test_a_vote_without_a_permit_is_void(void **state) {
    struct desk desk;
    start(&desk, "async", 2);
    desk_ready(&desk, 0);
    assert_false(desk_says(&desk, TW_SEQ_PREPARE));
    desk_fini(&desk);
}

/* Its place is given to the next; what the others of the gather had sent is sent again. */
static void test_a_lost_holder_loses_its_permit(void **state) {
    struct desk desk;
    start(&desk, "k-async:2", 3);
    desk_want(&desk, 0);
    desk_want(&desk, 1);
    desk_ready(&desk, 0); /* whole, and to be sent again all the same */
    desk_want(&desk, 2);
    desk_lose(&desk, 1);
    assert_permit(&desk, 0, NULL);
    desk_want(&desk, 0);
    assert_permit(&desk, 2, (uint32_t[]){0, 2});
    desk_ready(&desk, 0);
    desk_ready(&desk, 2);
    assert_true(desk_says(&desk, TW_SEQ_PREPARE));
    desk_fini(&desk);
}

static void test_a_whole_push_survives_its_worker_but_not_its_successor(void **state) {
    struct desk desk;
    start(&desk, "k-async:2", 3);
    desk_want(&desk, 0);
    desk_want(&desk, 1);
    desk_ready(&desk, 0);
    desk_lose(&desk, 0);
    assert_false(desk_logs(&desk, TW_RECORD_PERMIT));
    desk_join(&desk, 0);
    assert_permit(&desk, 0, NULL);
    assert_true(desk_logs(&desk, TW_RECORD_JOIN));
    desk_fini(&desk);
}

static void test_late_ones_are_dropped_before_they_are_received(void **state) {
    struct desk desk;
    start(&desk, "backup:1", 2);
    desk_want(&desk, 0);
    assert_permit(&desk, 1, (uint32_t[]){0});
    desk_want(&desk, 1);
    desk_ready(&desk, 0);
    answer_sums(&desk);
    const struct tw_record *drop = desk_record(&desk, TW_RECORD_DROP, 0);
    assert_non_null(drop);
    assert_int_equal(drop->contributions[0].slot, 1);
    assert_true(desk_released(&desk, 1));
    assert_false(desk_logs(&desk, TW_RECORD_PERMIT));
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_after_another_first_come_first_served),
        cmocka_unit_test(test_a_gather_is_named_together_and_in_slot_order),
        cmocka_unit_test(test_the_turn_of_one_that_is_evicted_passes_on),
        cmocka_unit_test(test_who_is_told_twice_wants_once),
        cmocka_unit_test(test_nobody_needs_one_where_all_contribute),
        cmocka_unit_test(test_a_vote_without_a_permit_is_void),
        cmocka_unit_test(test_a_lost_holder_loses_its_permit),
        cmocka_unit_test(test_a_whole_push_survives_its_worker_but_not_its_successor),
        cmocka_unit_test(test_late_ones_are_dropped_before_they_are_received),
    };
    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
