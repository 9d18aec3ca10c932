/* A worker that begins on a set of weights before all of it is here. One behaviour per test. */
#include "tests/unit/client_desk.h"

static const struct tw_client_config worker = {.role = TW_ROLE_WORKER, .rank = -1};

static enum tw_status desk_begin(struct desk *desk) {
    return desk_step(desk, (struct tw_client_event){.kind = TW_CLIENT_ON_BEGIN});
}

static enum tw_status desk_want(struct desk *desk, int tensor) {
    return desk_step(desk, (struct tw_client_event){.kind = TW_CLIENT_ON_WANT, .tensor = tensor});
}

static enum tw_status chunk_arrives(struct desk *desk, uint64_t position, uint64_t step,
                                    uint32_t chunk) {
    struct tw_frame frame = desk_weights(desk, position, step - 1, step, chunk);
    return desk_arrive(desk, &frame, (float)position);
}

/* Of the weights of step 1, at position 5, these chunks are here, and it has begun. */
static void desk_begun(struct desk *desk, uint32_t servers, uint32_t chunks) {
    desk_init(desk, servers, &worker);
    desk_start(desk);
    desk_join(desk, 0);
    desk_pull(desk);
    for (uint32_t chunk = 0; chunk < chunks; chunk++)
        assert_int_equal(chunk_arrives(desk, 5, 1, chunk), TW_OK);
    assert_int_equal(desk_begin(desk), TW_OK);
    assert_int_equal(desk->client.work, TW_CLIENT_BEGUN);
    assert_false(tw_client_cancelled(&desk->client));
}

/* It pulls again, and gets step 2. */
static void expect_step_2(struct desk *desk) {
    assert_true(tw_client_cancelled(&desk->client));
    assert_int_equal(desk_pull(desk), TW_OK);
    assert_int_equal(desk->client.work, TW_CLIENT_WAITING);
    desk_arrive_all(desk, 8, 1, 2);
    assert_int_equal(desk->client.work, TW_CLIENT_COMPUTING);
    assert_int_equal(desk->client.held.step, 2);
    for (int i = 0; i < DESK_TENSORS; i++)
        assert_true(desk->weights[i][0] == 8);
    desk_push_all(desk);
    assert_string_equal(desk_handed_out(desk, 1), "0 1 2 3 E4");
}

static void expect_here(const struct desk *desk, bool w, bool b, bool c) {
    assert_int_equal(tw_client_has_tensor(&desk->client, 0), w);
    assert_int_equal(tw_client_has_tensor(&desk->client, 1), b);
    assert_int_equal(tw_client_has_tensor(&desk->client, 2), c);
}

/* ---- it goes well ---- */

static void it_may_begin_when_the_first_frame_has_come(void **state) {
    struct desk desk;
    void *place;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    assert_false(tw_client_may_begin(&desk.client));
    desk_pull(&desk);
    assert_false(tw_client_may_begin(&desk.client));
    struct tw_frame frame = desk_weights(&desk, 5, 0, 1, 0);
    assert_int_equal(tw_client_place(&desk.client, 1, &frame, &place, &desk.error), TW_OK);
    assert_true(tw_client_may_begin(&desk.client));
    assert_int_equal(desk_begin(&desk), TW_OK);
    assert_int_equal(tw_client_set(&desk.client)->step, 1);
    assert_int_equal(tw_client_set(&desk.client)->position, 5);
    expect_here(&desk, false, false, false);
    desk_fini(&desk);
}

static void a_tensor_is_here_when_all_of_its_chunks_are(void **state) {
    struct desk desk;
    desk_begun(&desk, 1, 1);
    assert_int_equal(tw_client_bytes_to_come(&desk.client), 4 * (5 + 3 + 7));
    expect_here(&desk, false, false, false);
    chunk_arrives(&desk, 5, 1, 1);
    expect_here(&desk, true, false, false);
    chunk_arrives(&desk, 5, 1, 3); /* as from another shard */
    expect_here(&desk, true, false, true);
    assert_int_equal(desk.client.work, TW_CLIENT_BEGUN);
    chunk_arrives(&desk, 5, 1, 2);
    expect_here(&desk, true, true, true);
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    assert_int_equal(tw_client_bytes_to_come(&desk.client), 0);
    desk_push_all(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 3 E4");
    desk_fini(&desk);
}

static void to_begin_with_a_complete_set_changes_nothing(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    assert_int_equal(desk_begin(&desk), TW_OK);
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    expect_here(&desk, true, true, true);
    assert_int_equal(desk_want(&desk, 2), TW_OK);
    desk_push_all(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 3 E4");
    desk_fini(&desk);
}

/* 40 ms of waiting for the first layer, none for the last: so much later the computing seems to
 * have begun. */
static void time_spent_waiting_for_a_tensor_is_no_computing(void **state) {
    struct desk desk;
    desk_begun(&desk, 1, 1);
    uint64_t begun = desk.now;
    desk.now += 10;
    desk_want(&desk, 0);
    desk.now += 40;
    chunk_arrives(&desk, 5, 1, 1);
    desk.now += 20;
    chunk_arrives(&desk, 5, 1, 2);
    desk_want(&desk, 1);
    desk.now += 20;
    chunk_arrives(&desk, 5, 1, 3);
    assert_true(desk.client.measures.open);
    assert_int_equal(desk.client.measures.step.step, 1);
    assert_int_equal(desk.client.measures.step.received, (begun + 40) * 1000000);
    desk_fini(&desk);
}

static void the_wait_for_the_last_tensor_ends_with_it(void **state) {
    struct desk desk;
    desk_begun(&desk, 1, 3);
    uint64_t begun = desk.now;
    desk_want(&desk, 2);
    desk.now += 30;
    chunk_arrives(&desk, 5, 1, 3);
    assert_int_equal(desk.client.measures.step.received, (begun + 30) * 1000000);
    desk_fini(&desk);
}

static void a_regather_before_the_push_has_begun_changes_nothing(void **state) {
    struct desk desk;
    struct tw_frame regather = {.body = TW_BODY_REGATHER};
    desk_begun(&desk, 1, 2);
    assert_int_equal(desk_frame(&desk, 1, &regather, NULL), TW_OK);
    assert_string_equal(desk_handed_out(&desk, 1), "");
    chunk_arrives(&desk, 5, 1, 2);
    chunk_arrives(&desk, 5, 1, 3);
    desk_push_all(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 3 E4");
    desk_fini(&desk);
}

/* ---- the rest never comes ---- */

static void newer_weights_wait_and_say_that_its_step_is_over(void **state) {
    struct desk desk;
    desk_begun(&desk, 1, 2);
    assert_int_equal(chunk_arrives(&desk, 8, 2, 0), TW_AGAIN);
    for (int64_t i = 0; i < desk_elements[0]; i++)
        assert_true(desk.weights[0][i] == 5); /* somebody computes on them */
    assert_int_equal(tw_client_bytes_to_come(&desk.client), 0);
    expect_step_2(&desk);
    desk_fini(&desk);
}

static void what_another_shard_still_has_of_them_is_thrown_away(void **state) {
    struct desk desk;
    void *place = &desk;
    desk_begun(&desk, 2, 1);
    assert_int_equal(chunk_arrives(&desk, 8, 2, 0), TW_AGAIN);
    struct tw_frame old = desk_weights(&desk, 5, 0, 1, 1);
    assert_int_equal(tw_client_place(&desk.client, 2, &old, &place, &desk.error), TW_OK);
    assert_null(place);
    desk_pull(&desk);
    assert_int_equal(tw_client_place(&desk.client, 2, &old, &place, &desk.error), TW_OK);
    assert_null(place);
    desk_arrive_all(&desk, 8, 1, 2);
    assert_int_equal(desk.client.held.position, 8);
    desk_fini(&desk);
}

/* Half of a chunk was here when newer ones came from the other shard. */
static void a_chunk_that_was_under_way_makes_nothing_complete(void **state) {
    struct desk desk;
    void *place;
    desk_begun(&desk, 2, 3);
    struct tw_frame last = desk_weights(&desk, 5, 0, 1, 3);
    assert_int_equal(tw_client_place(&desk.client, 2, &last, &place, &desk.error), TW_OK);
    assert_non_null(place);
    assert_int_equal(chunk_arrives(&desk, 8, 2, 0), TW_AGAIN);
    assert_int_equal(desk_frame(&desk, 2, &last, place), TW_OK);
    assert_int_equal(desk.client.work, TW_CLIENT_BEGUN);
    expect_here(&desk, false, false, false);
    assert_true(tw_client_cancelled(&desk.client));
    desk_fini(&desk);
}

static void a_cancel_ends_it(void **state) {
    struct desk desk;
    struct tw_frame cancel = {.body = TW_BODY_CANCEL, .cancel = {.step = 1}};
    desk_begun(&desk, 1, 2);
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &cancel, NULL), TW_OK);
    assert_true(tw_client_cancelled(&desk.client));
    chunk_arrives(&desk, 5, 1, 2);
    chunk_arrives(&desk, 5, 1, 3); /* complete, and still in vain */
    assert_int_equal(desk.client.work, TW_CLIENT_BEGUN);
    expect_step_2(&desk);
    desk_fini(&desk);
}

static void a_step_that_is_cancelled_is_not_begun(void **state) {
    struct desk desk;
    struct tw_frame cancel = {.body = TW_BODY_CANCEL, .cancel = {.step = 1}};
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    chunk_arrives(&desk, 5, 1, 0);
    desk_frame(&desk, TW_CLIENT_CONTROL, &cancel, NULL);
    assert_false(tw_client_may_begin(&desk.client));
    assert_int_equal(desk_begin(&desk), TW_UNEXPECTED);
    assert_int_equal(desk.client.work, TW_CLIENT_WAITING);
    desk_fini(&desk);
}

static void what_is_pushed_in_vain_is_not_sent(void **state) {
    struct desk desk;
    desk_begun(&desk, 1, 2);
    assert_int_equal(desk_push(&desk, 2), TW_UNEXPECTED);
    assert_int_equal(desk_end(&desk), TW_UNEXPECTED);
    assert_int_equal(desk.client.work, TW_CLIENT_BEGUN);
    chunk_arrives(&desk, 8, 2, 0);
    desk_push_all(&desk);
    assert_int_equal(desk.client.work, TW_CLIENT_PUSHING);
    assert_string_equal(desk_handed_out(&desk, 1), "");
    desk_pull(&desk);
    desk_arrive_all(&desk, 8, 1, 2);
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    desk_fini(&desk);
}

/* ---- connections ---- */

static void join_again(struct desk *desk, uint64_t last_step) {
    assert_int_equal(desk->client.phase, TW_CLIENT_RECONNECTING);
    desk->now = tw_client_deadline(&desk->client);
    desk_tick(desk, 0);
    desk_join(desk, last_step);
}

/* The weights after that wait, also those of the same position. */
static void a_set_that_is_cut_off_is_over(void **state) {
    struct desk desk;
    desk_begun(&desk, 1, 2);
    desk_lose(&desk, 1, TW_CLOSED);
    assert_true(tw_client_cancelled(&desk.client));
    expect_here(&desk, false, false, false);
    join_again(&desk, 0);
    assert_int_equal(chunk_arrives(&desk, 5, 1, 0), TW_AGAIN);
    assert_true(tw_client_cancelled(&desk.client));
    assert_int_equal(desk_pull(&desk), TW_OK);
    assert_int_equal(chunk_arrives(&desk, 5, 1, 0), TW_OK);
    assert_int_equal(desk_begin(&desk), TW_OK);
    expect_here(&desk, false, false, false); /* nothing of before counts */
    for (uint32_t chunk = 1; chunk < DESK_CHUNKS; chunk++)
        chunk_arrives(&desk, 5, 1, chunk);
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    desk_push_all(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 3 E4");
    desk_fini(&desk);
}

/* Until it is complete, its predecessor's weights are what a Join tells of. */
static void a_join_does_not_tell_of_a_part_of_a_set(void **state) {
    struct desk desk;
    desk_begun(&desk, 1, 2);
    desk_lose(&desk, TW_CLIENT_CONTROL, TW_CLOSED);
    desk.now = tw_client_deadline(&desk.client);
    desk_tick(&desk, 0);
    desk_greet(&desk, TW_CLIENT_CONTROL);
    assert_int_equal(desk.last.body, TW_BODY_JOIN);
    assert_int_equal(desk.last.join.read, 0);
    desk_fini(&desk);
}

static void the_end_of_the_run_ends_it(void **state) {
    struct desk desk;
    struct tw_frame stop = {.body = TW_BODY_STOP};
    desk_begun(&desk, 1, 2);
    desk_frame(&desk, TW_CLIENT_CONTROL, &stop, NULL);
    assert_true(tw_client_cancelled(&desk.client));
    assert_int_equal(desk_want(&desk, 2), TW_STOPPED);
    assert_int_equal(desk_push(&desk, 2), TW_STOPPED);
    assert_int_equal(desk_pull(&desk), TW_STOPPED);
    desk_fini(&desk);
}

/* ---- out of order ---- */

static void calls_out_of_order_are_named_and_change_nothing(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    assert_int_equal(desk_begin(&desk), TW_UNEXPECTED);
    assert_non_null(strstr(desk.error.text, "no weights are arriving"));
    assert_int_equal(desk_want(&desk, 0), TW_UNEXPECTED);
    desk_pull(&desk);
    assert_int_equal(desk_begin(&desk), TW_UNEXPECTED);
    assert_int_equal(desk_want(&desk, 0), TW_UNEXPECTED);
    chunk_arrives(&desk, 5, 1, 0);
    assert_int_equal(desk_begin(&desk), TW_OK);
    assert_int_equal(desk_begin(&desk), TW_UNEXPECTED);
    assert_int_equal(desk_want(&desk, -1), TW_UNEXPECTED);
    assert_int_equal(desk_want(&desk, DESK_TENSORS), TW_UNEXPECTED);
    assert_int_equal(desk_pull(&desk), TW_UNEXPECTED);
    assert_non_null(strstr(desk.error.text, "before the push of step 1 has ended"));
    assert_int_equal(desk_push(&desk, 0), TW_UNEXPECTED);
    assert_non_null(strstr(desk.error.text, "before all weights of step 1 are here"));
    assert_int_equal(desk.client.work, TW_CLIENT_BEGUN);
    desk_fini(&desk);
}

static void an_evaluator_does_not_begin_early(void **state) {
    const struct tw_client_config evaluator = {
        .role = TW_ROLE_EVALUATOR, .rank = -1, .epoch_samples = 1000};
    struct desk desk;
    desk_init(&desk, 1, &evaluator);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    chunk_arrives(&desk, 5, 1, 0);
    assert_false(tw_client_may_begin(&desk.client));
    assert_int_equal(desk_begin(&desk), TW_UNEXPECTED);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_may_begin_when_the_first_frame_has_come),
        cmocka_unit_test(a_tensor_is_here_when_all_of_its_chunks_are),
        cmocka_unit_test(to_begin_with_a_complete_set_changes_nothing),
        cmocka_unit_test(time_spent_waiting_for_a_tensor_is_no_computing),
        cmocka_unit_test(the_wait_for_the_last_tensor_ends_with_it),
        cmocka_unit_test(a_regather_before_the_push_has_begun_changes_nothing),
        cmocka_unit_test(newer_weights_wait_and_say_that_its_step_is_over),
        cmocka_unit_test(what_another_shard_still_has_of_them_is_thrown_away),
        cmocka_unit_test(a_chunk_that_was_under_way_makes_nothing_complete),
        cmocka_unit_test(a_cancel_ends_it),
        cmocka_unit_test(a_step_that_is_cancelled_is_not_begun),
        cmocka_unit_test(what_is_pushed_in_vain_is_not_sent),
        cmocka_unit_test(a_set_that_is_cut_off_is_over),
        cmocka_unit_test(a_join_does_not_tell_of_a_part_of_a_set),
        cmocka_unit_test(the_end_of_the_run_ends_it),
        cmocka_unit_test(calls_out_of_order_are_named_and_change_nothing),
        cmocka_unit_test(an_evaluator_does_not_begin_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
