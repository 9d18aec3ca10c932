/* A shard when the dial is turned or a slot is evicted: what it had gathered is gone, and it
 * gathers as the log says from there on. */
#include "tests/unit/shard_desk.h"

static void release_all(struct desk *desk) {
    for (uint32_t slot = 0; slot < desk->config.slots; slot++)
        desk_release(desk, slot);
}

static void *place_of(struct desk *desk, uint32_t slot, uint32_t chunk) {
    struct tw_push push = desk_push_of(desk, slot, chunk);
    void *place;
    assert_int_equal(desk_place(desk, &push, &place), TW_OK);
    return place;
}

static void assert_sums(struct desk *desk, uint64_t version) {
    desk_forget(desk);
    desk_work(desk);
    assert_int_equal(desk_count(desk, TW_SHARD_SUMS), 1);
    assert_int_equal(desk_said(desk, TW_SHARD_SUMS, 0)->sums.version, version);
}

static void test_what_was_gathered_is_gone(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_push(&desk, 1, 2);
    desk_push(&desk, 1, 3);
    desk_work_once(&desk); /* some of it summed */
    desk_forget(&desk);
    desk_dial(&desk, "async");
    assert_null(place_of(&desk, 1, 0)); /* of a step that is over */
    desk_end(&desk, 1);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 0);
    release_all(&desk);
    desk_push_all(&desk, 1);
    desk_work(&desk);
    assert_int_equal(desk_said(&desk, TW_SHARD_READY, 0)->ready.step, 2);
    desk_prepare(&desk, 1, 1);
    assert_sums(&desk, 1);
    desk_commit(&desk, 1, 1);
    assert_int_equal(desk_work(&desk), TW_SHARD_IDLE);
    desk_fini(&desk);
}

static void test_bytes_on_their_way_at_the_turn_are_thrown_away(void **state) {
    struct desk desk;
    void *place;
    desk_init(&desk, false, 1);
    desk_start(&desk);
    desk_begin(&desk, 0, 1);
    desk_dial(&desk, "sync");
    desk_release(&desk, 0);
    struct tw_push push = desk_push_of(&desk, 0, 1);
    assert_int_equal(desk_place(&desk, &push, &place), TW_AGAIN);
    push.step--;
    tw_shard_arrived(desk.shard, &push);
    desk_push_all(&desk, 0);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 1);
    desk_fini(&desk);
}

static void test_turned_to_sync_it_sums_as_pushes_arrive(void **state) {
    struct desk desk;
    desk_init(&desk, false, 3);
    desk_start(&desk);
    desk_push_all(&desk, 1);
    desk_work(&desk);
    desk_dial(&desk, "sync");
    release_all(&desk);
    desk_work(&desk);
    desk_sent(&desk);
    for (uint32_t slot = 3; slot-- > 0;)
        desk_push_all(&desk, slot);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 3);
    desk_prepare(&desk, 0, 3);
    assert_int_equal(desk_work_once(&desk), TW_SHARD_EFFECT); /* nothing is left to sum */
    assert_int_equal(desk_count(&desk, TW_SHARD_SUMS), 1);
    desk_fini(&desk);
}

/* Pushes that wait, accepted, and those that are being applied have planes of their own: none
 * is lost by a turn. */
static void test_planes_of_accepted_pushes_come_back(void **state) {
    struct desk desk;
    desk_init(&desk, false, 2);
    desk_start(&desk);
    for (int i = 0; i < 12; i++) {
        desk_dial(&desk, i % 2 ? "k-batch-async:2" : "k-batch-sync:2");
        release_all(&desk);
        for (int ahead = 0; ahead < 2; ahead++) {
            desk_push_all(&desk, 0);
            desk_work(&desk);
            struct tw_record record = desk_record(&desk, TW_RECORD_RELEASE);
            record.step = ++desk.slot[0].step; /* at acceptance */
            desk.slot[0].read = record.position;
            tw_shard_record(desk.shard, &record);
        }
        desk_work(&desk);
        desk_sent(&desk);
    }
    desk_fini(&desk);
}

/* The sweep of an update goes on while the dial is turned. */
static void test_an_update_being_applied_is_not_touched(void **state) {
    struct desk desk;
    desk_init(&desk, true, 2);
    desk_start(&desk);
    desk_push_all(&desk, 0);
    desk_push_all(&desk, 1);
    desk_work(&desk);
    desk_prepare(&desk, 0, 2);
    desk_work(&desk);
    float before = tw_shard_weights(desk.shard, 4)[0];
    desk_commit(&desk, 0, 2);
    desk_work_once(&desk);
    desk_dial(&desk, "async");
    release_all(&desk);
    desk_forget(&desk);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_SEND), 2 * DESK_CHUNKS);
    float sum = desk_gradient(0, 1, 2, 0) + desk_gradient(1, 1, 2, 0);
    assert_true(tw_shard_weights(desk.shard, 4)[0] == before - 0.25F * (sum / (2 * DESK_EXAMPLES)));
    desk_fini(&desk);
}

static void test_an_update_without_one_that_was_evicted(void **state) {
    struct desk desk;
    desk_init(&desk, true, 3);
    desk_start(&desk);
    for (uint32_t slot = 0; slot < 3; slot++)
        desk_push_all(&desk, slot);
    desk_work(&desk); /* all is summed */
    desk_evict(&desk, 0);
    desk_regather(&desk);
    assert_null(place_of(&desk, 0, 0));
    desk_forget(&desk);
    desk_push_all(&desk, 1);
    desk_push_all(&desk, 2);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_SHARD_READY), 2);
    desk_prepare(&desk, 1, 2);
    assert_sums(&desk, 1);
    desk_commit(&desk, 1, 2);
    desk_join(&desk, 0); /* it is back */
    desk_regather(&desk);
    release_all(&desk);
    desk_work(&desk);
    desk_sent(&desk);
    for (uint32_t slot = 0; slot < 3; slot++)
        desk_push_all(&desk, slot);
    desk_work(&desk);
    desk_prepare(&desk, 0, 3);
    assert_sums(&desk, 2);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_gathered_is_gone),
        cmocka_unit_test(test_bytes_on_their_way_at_the_turn_are_thrown_away),
        cmocka_unit_test(test_turned_to_sync_it_sums_as_pushes_arrive),
        cmocka_unit_test(test_planes_of_accepted_pushes_come_back),
        cmocka_unit_test(test_an_update_being_applied_is_not_touched),
        cmocka_unit_test(test_an_update_without_one_that_was_evicted),
    };
    return cmocka_run_group_tests_name("shard_turn", tests, NULL, NULL);
}
