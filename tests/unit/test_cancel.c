/* Cancel, as a node says it, and pushes that stop in the middle. */
#include "tests/unit/node_desk.h"

/* Two workers in k-sync:1, at their first weights. */
static void desk_racing(struct desk *desk, uint32_t control[2], uint32_t bulk[2]) {
    desk_usual(desk, "k-sync:1", 2);
    for (int i = 0; i < 2; i++)
        bulk[i] = desk_worker(desk, i, &control[i]);
}

static void desk_update(struct desk *desk, uint32_t bulk) {
    desk_push_all(desk, bulk, 0, 1);
    desk_work(desk);
}

static void test_the_late_worker_is_told_on_control(void **state) {
    struct desk desk;
    uint32_t control[2], bulk[2];
    desk_racing(&desk, control, bulk);
    desk_update(&desk, bulk[0]);
    assert_int_equal(desk.link[control[1]].last.body, TW_BODY_CANCEL);
    assert_int_equal(desk.link[control[1]].last.cancel.step, 1);
    assert_int_equal(desk.link[control[0]].last.body, TW_BODY_WELCOME);
    assert_int_equal(desk.link[bulk[1]].last.body, TW_BODY_WEIGHTS);
    assert_int_equal(desk.link[bulk[1]].last.weights.step, 2);
    desk_fini(&desk);
}

/* One chunk is here, one is being received: both are free for the next step, the second when
 * its bytes have come. */
static void test_a_push_that_stops_in_the_middle_leaves_nothing(void **state) {
    struct desk desk;
    uint32_t control[2], bulk[2];
    void *place, *same;
    desk_racing(&desk, control, bulk);
    assert_int_equal(desk_push(&desk, bulk[1], desk_push_frame(1, 1, 1, 0)), TW_OK);
    struct tw_frame half = desk_push_frame(1, 1, 1, 1);
    assert_int_equal(desk_data(&desk, bulk[1], &half, &place), TW_OK);
    desk_update(&desk, bulk[0]);
    for (int i = 0; i < 2; i++)
        ((float *)place)[i] = 1000;
    assert_int_equal(desk_say(&desk, bulk[1], &half, place), TW_OK);
    /* No End of it, nor anything else: the next is its whole next push. */
    struct tw_frame next = desk_push_frame(1, 1, 2, 1);
    assert_int_equal(desk_data(&desk, bulk[1], &next, &same), TW_OK);
    assert_ptr_equal(same, place);
    for (int i = 0; i < 2; i++)
        ((float *)same)[i] = 1;
    assert_int_equal(desk_say(&desk, bulk[1], &next, same), TW_OK);
    assert_int_equal(desk_push(&desk, bulk[1], desk_push_frame(1, 1, 2, 0)), TW_OK);
    struct tw_frame end = desk_end_frame(&desk, bulk[1], 1, 1);
    assert_int_equal(desk_say(&desk, bulk[1], &end, NULL), TW_OK);
    desk_work(&desk);
    assert_int_equal(tw_sequencer_version(tw_node_sequencer(desk.node)), 2);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) /* 1 - 2 x 0.5 x 1 / 10 */
        for (uint32_t i = 0; i < desk.layout.chunk[c].count; i++)
            assert_float_equal(tw_shard_weights(tw_node_shard(desk.node), c)[i], 0.9F, 1e-6);
    desk_fini(&desk);
}

/* A worker that did not hear of it in time sends all the rest. */
static void test_what_comes_of_a_cancelled_step_is_thrown_away(void **state) {
    struct desk desk;
    uint32_t control[2], bulk[2];
    void *place;
    desk_racing(&desk, control, bulk);
    struct tw_frame end = desk_end_frame(&desk, bulk[1], 1, 1);
    assert_int_equal(desk_push(&desk, bulk[1], desk_push_frame(1, 1, 1, 0)), TW_OK);
    desk_update(&desk, bulk[0]);
    struct tw_frame late = desk_push_frame(1, 1, 1, 1);
    assert_int_equal(desk_data(&desk, bulk[1], &late, &place), TW_OK);
    assert_null(place);
    assert_int_equal(desk_say(&desk, bulk[1], &late, NULL), TW_OK);
    assert_int_equal(desk_say(&desk, bulk[1], &end, NULL), TW_OK);
    desk_work(&desk);
    assert_int_equal(tw_sequencer_version(tw_node_sequencer(desk.node)), 1);
    desk_push_all(&desk, bulk[1], 1, 1);
    desk_work(&desk);
    assert_int_equal(tw_sequencer_version(tw_node_sequencer(desk.node)), 2);
    desk_fini(&desk);
}

static void test_a_worker_that_is_gone_learns_it_from_its_welcome(void **state) {
    struct desk desk;
    uint32_t control[2], bulk[2];
    desk_racing(&desk, control, bulk);
    struct tw_frame resume =
        desk_resume_frame(&desk, control[1], desk.link[bulk[1]].last.weights.position);
    uint8_t session[TW_SESSION_BYTES]; /* the number of its connection is free then */
    memcpy(session, desk.link[control[1]].session, sizeof(session));
    resume.join.session.bytes = session;
    desk_lose(&desk, control[1]);
    int frames = desk.link[control[1]].frames;
    desk_update(&desk, bulk[0]);
    assert_int_equal(desk.link[control[1]].frames, frames);
    uint32_t again = desk_join_with(&desk, &resume);
    assert_int_equal(desk.link[again].last.body, TW_BODY_WELCOME);
    assert_int_equal(desk.link[again].last.welcome.last_step, 1);
    desk_fini(&desk);
}

static void test_no_worker_may_say_it(void **state) {
    struct desk desk;
    uint32_t control[2], bulk[2];
    desk_racing(&desk, control, bulk);
    assert_int_equal(desk_body(&desk, control[1], TW_BODY_CANCEL), TW_UNEXPECTED);
    desk_closed(&desk, control[1], TW_UNEXPECTED, "Cancel came where only");
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_late_worker_is_told_on_control),
        cmocka_unit_test(test_a_push_that_stops_in_the_middle_leaves_nothing),
        cmocka_unit_test(test_what_comes_of_a_cancelled_step_is_thrown_away),
        cmocka_unit_test(test_a_worker_that_is_gone_learns_it_from_its_welcome),
        cmocka_unit_test(test_no_worker_may_say_it),
    };
    return cmocka_run_group_tests_name("cancel", tests, NULL, NULL);
}
