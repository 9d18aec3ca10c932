/* Steps that are cancelled, in every state of the client and in every order relative to the
 * newer weights: Cancel comes on control, weights on bulk. One behaviour per test. */
#include "tests/unit/client_desk.h"

static const struct tw_client_config worker = {.role = TW_ROLE_WORKER, .rank = -1};

static void desk_cancel(struct desk *desk, uint64_t step) {
    struct tw_frame frame = {.body = TW_BODY_CANCEL, .cancel = {.step = step}};
    assert_int_equal(desk_frame(desk, TW_CLIENT_CONTROL, &frame, NULL), TW_OK);
}

/* Step 1 is being computed on the weights of position 5. */
static void desk_computing(struct desk *desk, uint32_t servers) {
    desk_init(desk, servers, &worker);
    desk_start(desk);
    desk_join(desk, 0);
    desk_pull(desk);
    desk_arrive_all(desk, 5, 0, 1);
    assert_int_equal(desk->client.work, TW_CLIENT_COMPUTING);
    assert_false(tw_client_cancelled(&desk->client));
}

/* The weights of step 2, and its push. */
static void expect_step_2(struct desk *desk) {
    desk_arrive_all(desk, 8, 1, 2);
    assert_int_equal(desk->client.work, TW_CLIENT_COMPUTING);
    assert_int_equal(desk->client.held.step, 2);
    assert_false(tw_client_cancelled(&desk->client));
    desk_push_all(desk);
    assert_string_equal(desk_handed_out(desk, 1), "0 1 2 3 E4");
}

static void nothing_more_of_a_cancelled_push_is_handed_out(void **state) {
    struct desk desk;
    desk_computing(&desk, 1);
    desk_push(&desk, 2);
    assert_string_equal(desk_handed_out(&desk, 1), "3");
    desk_push(&desk, 0);
    desk_cancel(&desk, 1);
    assert_true(tw_client_cancelled(&desk.client));
    assert_string_equal(desk_handed_out(&desk, 1), "");
    assert_int_equal(desk_push(&desk, 1), TW_OK);
    assert_int_equal(desk_push(&desk, 1), TW_OK); /* nobody minds */
    assert_int_equal(desk_end(&desk), TW_OK);
    assert_false(tw_client_has_next(&desk.client, 1));
    assert_int_equal(desk_pull(&desk), TW_OK);
    expect_step_2(&desk);
    desk_fini(&desk);
}

static void after_a_cancel_a_pull_may_come_at_once(void **state) {
    struct desk desk;
    desk_computing(&desk, 1);
    assert_int_equal(desk_pull(&desk), TW_UNEXPECTED);
    desk_push(&desk, 0);
    desk_cancel(&desk, 1);
    assert_int_equal(desk_pull(&desk), TW_OK);
    assert_int_equal(desk.client.work, TW_CLIENT_WAITING);
    expect_step_2(&desk);
    desk_fini(&desk);
}

static void an_end_may_come_early_when_it_is_in_vain(void **state) {
    struct desk desk;
    desk_computing(&desk, 1);
    desk_push(&desk, 0);
    assert_int_equal(desk_end(&desk), TW_UNEXPECTED);
    desk_cancel(&desk, 1);
    assert_int_equal(desk_end(&desk), TW_OK);
    assert_false(tw_client_has_next(&desk.client, 1));
    desk_pull(&desk);
    expect_step_2(&desk);
    desk_fini(&desk);
}

static void newer_weights_say_the_same_before_the_cancel_comes(void **state) {
    struct desk desk;
    desk_computing(&desk, 1);
    desk_push(&desk, 0);
    struct tw_frame next = desk_weights(&desk, 8, 1, 2, 0);
    assert_int_equal(desk_arrive(&desk, &next, 8), TW_AGAIN);
    assert_true(tw_client_cancelled(&desk.client));
    assert_string_equal(desk_handed_out(&desk, 1), "");
    assert_int_equal(desk_pull(&desk), TW_OK);
    desk_arrive_all(&desk, 8, 1, 2);
    desk_cancel(&desk, 1); /* late: step 2 goes on */
    assert_false(tw_client_cancelled(&desk.client));
    desk_push_all(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 3 E4");
    desk_fini(&desk);
}

static void a_push_that_has_ended_stops_where_it_is(void **state) {
    struct desk desk;
    struct tw_frame frame, regather = {.body = TW_BODY_REGATHER};
    const void *data;
    desk_computing(&desk, 2);
    desk_push_all(&desk);
    assert_true(tw_client_next(&desk.client, 2, &frame, &data));
    desk_cancel(&desk, 1);
    assert_string_equal(desk_handed_out(&desk, 1), "");
    assert_string_equal(desk_handed_out(&desk, 2), "");
    desk_frame(&desk, 2, &regather, NULL); /* nor again */
    assert_string_equal(desk_handed_out(&desk, 2), "");
    desk_fini(&desk);
}

/* Its weights had not all come: nobody should begin to compute on them. */
static void weights_of_a_cancelled_step_complete_no_pull(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    struct tw_frame first = desk_weights(&desk, 5, 0, 1, 0);
    assert_int_equal(desk_arrive(&desk, &first, 5), TW_OK);
    desk_cancel(&desk, 1);
    for (uint32_t chunk = 1; chunk < DESK_CHUNKS; chunk++) {
        struct tw_frame frame = desk_weights(&desk, 5, 0, 1, chunk);
        assert_int_equal(desk_arrive(&desk, &frame, 5), TW_OK);
    }
    assert_int_equal(desk.client.work, TW_CLIENT_WAITING);
    expect_step_2(&desk);
    desk_fini(&desk);
}

/* The Cancel was quicker than all of the weights, twice. */
static void a_cancel_before_the_weights_of_its_step(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_cancel(&desk, 1);
    assert_false(tw_client_cancelled(&desk.client)); /* nothing was pulled yet */
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    assert_int_equal(desk.client.work, TW_CLIENT_WAITING);
    desk_cancel(&desk, 3);
    desk_arrive_all(&desk, 9, 2, 3); /* those of step 2 never left the server */
    assert_int_equal(desk.client.work, TW_CLIENT_WAITING);
    desk_arrive_all(&desk, 12, 3, 4);
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    assert_int_equal(desk.client.held.step, 4);
    desk_fini(&desk);
}

static void a_cancel_of_a_later_step_is_one_of_ours_too(void **state) {
    struct desk desk;
    desk_computing(&desk, 1);
    desk_cancel(&desk, 4);
    assert_true(tw_client_cancelled(&desk.client));
    desk_fini(&desk);
}

static void a_cancel_of_an_earlier_step_is_over(void **state) {
    struct desk desk;
    desk_computing(&desk, 1);
    desk_push_all(&desk);
    desk_handed_out(&desk, 1);
    desk_pull(&desk);
    desk_arrive_all(&desk, 8, 1, 2);
    desk_cancel(&desk, 1);
    assert_false(tw_client_cancelled(&desk.client));
    desk_fini(&desk);
}

/* The Cancel was lost with the connection; the Welcome says the same. */
static void a_step_that_is_over_when_we_are_back_is_cancelled(void **state) {
    struct desk desk;
    desk_computing(&desk, 1);
    desk_push(&desk, 0);
    desk_lose(&desk, TW_CLIENT_CONTROL, TW_CLOSED);
    assert_false(tw_client_cancelled(&desk.client));
    desk.now = tw_client_deadline(&desk.client);
    desk_tick(&desk, 0);
    desk_join(&desk, 1);
    assert_true(tw_client_cancelled(&desk.client));
    assert_false(tw_client_has_next(&desk.client, 1));
    assert_int_equal(desk_pull(&desk), TW_OK);
    expect_step_2(&desk);
    desk_fini(&desk);
}

static void a_cancel_while_the_bulk_connection_is_made_again(void **state) {
    struct desk desk;
    desk_computing(&desk, 1);
    desk_push(&desk, 0);
    desk_lose(&desk, 1, TW_CLOSED);
    desk_cancel(&desk, 1); /* control is still there */
    assert_true(tw_client_cancelled(&desk.client));
    desk.now = tw_client_deadline(&desk.client);
    desk_tick(&desk, 0);
    desk_join(&desk, 1);
    assert_false(tw_client_has_next(&desk.client, 1));
    desk_fini(&desk);
}

static void the_end_of_the_run_cancels_too(void **state) {
    struct desk desk;
    struct tw_frame stop = {.body = TW_BODY_STOP};
    desk_computing(&desk, 1);
    desk_frame(&desk, TW_CLIENT_CONTROL, &stop, NULL);
    assert_true(tw_client_cancelled(&desk.client));
    assert_int_equal(desk_pull(&desk), TW_STOPPED);
    desk_fini(&desk);
}

/* ---- what is wrong ---- */

static void a_cancel_that_names_no_step_breaks_the_protocol(void **state) {
    struct desk desk;
    struct tw_frame frame = {.body = TW_BODY_CANCEL};
    desk_computing(&desk, 1);
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &frame, NULL), TW_MALFORMED);
    assert_int_equal(desk.client.ending, TW_CLIENT_VIOLATION);
    assert_non_null(strstr(desk.client.error.text, "a Cancel of step 0"));
    desk_fini(&desk);
}

static void an_evaluator_has_nothing_to_cancel(void **state) {
    const struct tw_client_config evaluator = {
        .role = TW_ROLE_EVALUATOR, .rank = -1, .epoch_samples = 1000};
    struct desk desk;
    struct tw_frame frame = {.body = TW_BODY_CANCEL, .cancel = {.step = 1}};
    desk_init(&desk, 1, &evaluator);
    desk_start(&desk);
    desk_join(&desk, 0);
    assert_false(tw_client_cancelled(&desk.client));
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &frame, NULL), TW_UNEXPECTED);
    assert_int_equal(desk.client.ending, TW_CLIENT_VIOLATION);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_more_of_a_cancelled_push_is_handed_out),
        cmocka_unit_test(after_a_cancel_a_pull_may_come_at_once),
        cmocka_unit_test(an_end_may_come_early_when_it_is_in_vain),
        cmocka_unit_test(newer_weights_say_the_same_before_the_cancel_comes),
        cmocka_unit_test(a_push_that_has_ended_stops_where_it_is),
        cmocka_unit_test(weights_of_a_cancelled_step_complete_no_pull),
        cmocka_unit_test(a_cancel_before_the_weights_of_its_step),
        cmocka_unit_test(a_cancel_of_a_later_step_is_one_of_ours_too),
        cmocka_unit_test(a_cancel_of_an_earlier_step_is_over),
        cmocka_unit_test(a_step_that_is_over_when_we_are_back_is_cancelled),
        cmocka_unit_test(a_cancel_while_the_bulk_connection_is_made_again),
        cmocka_unit_test(the_end_of_the_run_cancels_too),
        cmocka_unit_test(a_cancel_that_names_no_step_breaks_the_protocol),
        cmocka_unit_test(an_evaluator_has_nothing_to_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
