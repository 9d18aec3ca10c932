/* The client protocol, one behaviour per test, by scripted frames. */
#include "tests/unit/client_desk.h"

static const struct tw_client_config worker = {.role = TW_ROLE_WORKER, .rank = -1};
static const struct tw_client_config evaluator = {
    .role = TW_ROLE_EVALUATOR, .rank = -1, .epoch_samples = 1000};

/* ---- happy path ---- */

static void a_worker_joins_pulls_pushes_and_pulls_again(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    assert_int_equal(desk_pull(&desk), TW_OK);
    desk_arrive_all(&desk, 5, 0, 1);
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    assert_int_equal(desk.client.held.step, 1);
    desk_push_all(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 3 E4");
    assert_int_equal(desk_pull(&desk), TW_OK);
    desk_arrive_all(&desk, 9, 1, 2);
    assert_int_equal(desk.client.held.step, 2);
    assert_int_equal(desk.client.held.version, 1);
    desk_fini(&desk);
}

static void join_says_who_we_are(void **state) {
    struct tw_client_config config = worker;
    struct desk desk;
    config.rank = 1;
    desk_init(&desk, 1, &config);
    desk_start(&desk);
    desk_greet(&desk, TW_CLIENT_CONTROL);
    assert_int_equal(desk.last.body, TW_BODY_JOIN);
    assert_false(desk.last.join.any_rank);
    assert_int_equal(desk.last.join.rank, 1);
    assert_int_equal(desk.last.join.incarnation, 0);
    assert_int_equal(desk.last.join.tensors, DESK_TENSORS);
    assert_memory_equal(desk.last.join.tensor[1].name.bytes, "b", 1);
    assert_int_equal(desk.last.join.tensor[0].shape[0], desk_elements[0]);
    assert_int_equal(desk.last.join.read, 0);
    desk_fini(&desk);
}

static void chunks_leave_lowest_first_among_the_tensors_that_are_ready(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    desk_push(&desk, 2);
    assert_string_equal(desk_handed_out(&desk, 1), "3");
    assert_false(tw_client_has_next(&desk.client, 1));
    desk_push(&desk, 1);
    desk_push(&desk, 0);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2");
    desk_end(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), "E4");
    desk_fini(&desk);
}

static void each_shard_gets_its_chunks_and_an_end_that_counts_them(void **state) {
    struct desk desk;
    desk_init(&desk, 2, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    desk_push_all(&desk);
    char first[64], second[64];
    snprintf(first, sizeof(first), "%s", desk_handed_out(&desk, 1));
    snprintf(second, sizeof(second), "%s", desk_handed_out(&desk, 2));
    assert_string_equal(first, "0 E1");
    assert_string_equal(second, "1 2 3 E3");
    desk_fini(&desk);
}

static void a_ping_leaves_at_each_heartbeat_and_pings_are_answered(void **state) {
    struct desk desk;
    struct tw_frame ping = {.body = TW_BODY_PING};
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    int before = desk.sent_count;
    desk_tick(&desk, TW_HEARTBEAT_MS - 1);
    assert_int_equal(desk.sent_count, before);
    desk_tick(&desk, 1);
    assert_int_equal(desk.sent_count, before + 1);
    assert_int_equal(desk.last.body, TW_BODY_PING);
    ping.ping.nonce = 77;
    desk_frame(&desk, TW_CLIENT_CONTROL, &ping, NULL);
    assert_int_equal(desk.last.body, TW_BODY_PONG);
    assert_int_equal(desk.last.pong.nonce, 77);
    desk_fini(&desk);
}

/* What the core hands out goes to the kernel; so many ms pass between any two things. */
static void work_a_step_in(struct desk *desk, uint64_t step, uint64_t ms) {
    desk->now += ms;
    desk_pull(desk);
    desk_arrive_all(desk, 10 * step, step - 1, step);
    desk->now += ms;
    desk_push_all(desk);
    assert_false(tw_client_awaits_sent(&desk->client));
    desk_handed_out(desk, 1);
    assert_true(tw_client_awaits_sent(&desk->client));
    desk->now += ms;
    desk_step(desk, (struct tw_client_event){.kind = TW_CLIENT_ON_SENT});
    assert_false(tw_client_awaits_sent(&desk->client));
}

static void work_a_step(struct desk *desk, uint64_t step) {
    work_a_step_in(desk, step, 3);
}

/* The lead's clock shows `ahead` ms more than ours; it answers the Pings of the start. */
static void tell_the_time(struct desk *desk, uint64_t ahead) {
    for (int i = 0; i < TW_MEASURES_PINGS; i++) {
        struct tw_frame pong = {.body = TW_BODY_PONG};
        assert_int_equal(desk->last.body, TW_BODY_PING);
        pong.pong.nonce = desk->last.ping.nonce;
        pong.pong.time = (desk->now + ahead) * 1000000;
        int before = desk->sent_count;
        assert_int_equal(desk_frame(desk, TW_CLIENT_CONTROL, &pong, NULL), TW_OK);
        assert_int_equal(desk->sent_count, before + (i + 1 < TW_MEASURES_PINGS));
    }
}

static void a_worker_tells_what_it_measured_in_the_leads_time(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    tell_the_time(&desk, 5000); /* a Ping leaves when all are joined */
    uint64_t begun = desk.now;
    work_a_step(&desk, 1);
    int before = desk.sent_count;
    assert_int_equal(tw_client_deadline(&desk.client), begun + 9 + TW_MEASURES_WAIT_MS + 1);
    desk_tick(&desk, TW_MEASURES_WAIT_MS);
    assert_int_equal(desk.sent_count, before);
    desk_tick(&desk, 1);
    assert_int_equal(desk.sent_count, before + 1);
    assert_int_equal(desk.last.ping.measures, 1);
    const struct tw_measure *measure = desk.last.ping.measure;
    assert_int_equal(measure->step, 1);
    assert_int_equal(measure->received, (begun + 3 + 5000) * 1000000);
    assert_int_equal(measure->computed, (begun + 6 + 5000) * 1000000);
    assert_int_equal(measure->sent, (begun + 9 + 5000) * 1000000);
    work_a_step(&desk, 2);
    desk_step(&desk, (struct tw_client_event){.kind = TW_CLIENT_ON_LEAVE});
    assert_int_equal(desk.sent[(desk.sent_count - 2) % DESK_SENT], TW_BODY_PING);
    assert_int_equal(desk.sent[(desk.sent_count - 1) % DESK_SENT], TW_BODY_BYE);
    desk_fini(&desk);
}

static void measures_that_are_enough_for_a_ping_leave_at_once(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    tell_the_time(&desk, 5000);
    int before = desk.sent_count;
    for (uint64_t step = 1; step < TW_MEASURES_BATCH; step++)
        work_a_step_in(&desk, step, 1);
    assert_int_equal(desk.sent_count, before);
    work_a_step_in(&desk, TW_MEASURES_BATCH, 1);
    assert_int_equal(desk.sent_count, before + 1);
    assert_int_equal(desk.last.ping.measures, TW_MEASURES_BATCH);
    assert_int_equal(tw_client_deadline(&desk.client), desk.client.ping_ms); /* and no more */
    desk_fini(&desk);
}

static void a_push_that_is_sent_again_is_measured_once(void **state) {
    struct tw_frame regather = {.body = TW_BODY_REGATHER};
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    tell_the_time(&desk, 0);
    work_a_step(&desk, 1);
    desk_frame(&desk, 1, &regather, NULL);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 3 E4");
    assert_false(tw_client_awaits_sent(&desk.client));
    desk_tick(&desk, TW_MEASURES_WAIT_MS + 1);
    assert_int_equal(desk.last.ping.measures, 1);
    desk_fini(&desk);
}

static void pings_with_measures_do_not_count_as_silence(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    tell_the_time(&desk, 0);
    for (uint64_t step = 1; step <= 5 * TW_CLIENT_SILENCE_MAX; step++) {
        work_a_step(&desk, step);
        desk_tick(&desk, TW_MEASURES_WAIT_MS + 1);
    }
    assert_int_equal(desk.client.phase, TW_CLIENT_JOINED);
    desk_fini(&desk);
}

static void an_evaluator_asks_for_each_epoch_and_reports(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &evaluator);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    assert_int_equal(desk.last.body, TW_BODY_ASK);
    assert_int_equal(desk.last.ask.samples, 1000);
    desk_arrive_all(&desk, 5, 3, 1);
    struct tw_metric_values values = {
        .loss = 0.5, .accuracy = 0.9, .top5 = NAN, .auc = 0.75, .r2 = NAN};
    desk_step(&desk, (struct tw_client_event){.kind = TW_CLIENT_ON_REPORT, .values = &values});
    assert_int_equal(desk.last.body, TW_BODY_EVALUATION);
    assert_int_equal(desk.last.evaluation.position, 5);
    assert_true(desk.last.evaluation.accuracy == 0.9);
    assert_true(desk.last.evaluation.metrics == 2 && desk.last.evaluation.auc == 0.75);
    assert_false(tw_client_has_next(&desk.client, 1));
    desk_pull(&desk);
    assert_int_equal(desk.last.ask.samples, 2000);
    desk_fini(&desk);
}

/* ---- sets of weights ---- */

static void half_a_set_is_no_set(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    for (uint32_t chunk = 0; chunk < DESK_CHUNKS - 1; chunk++) {
        struct tw_frame frame = desk_weights(&desk, 5, 0, 1, chunk);
        desk_arrive(&desk, &frame, 1);
    }
    assert_int_equal(desk.client.work, TW_CLIENT_WAITING);
    assert_int_equal(tw_client_missing(&desk.client), 1);
    desk_fini(&desk);
}

static void a_newer_position_restarts_the_set_and_an_older_one_is_thrown_away(void **state) {
    struct desk desk;
    desk_init(&desk, 2, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    struct tw_frame old0 = desk_weights(&desk, 5, 0, 1, 0);
    struct tw_frame old1 = desk_weights(&desk, 5, 0, 1, 1);
    desk_arrive(&desk, &old0, 5);
    struct tw_frame new0 = desk_weights(&desk, 6, 1, 1, 0);
    desk_arrive(&desk, &new0, 6);
    void *place = &desk;
    assert_int_equal(tw_client_place(&desk.client, 2, &old1, &place, &desk.error), TW_OK);
    assert_null(place);
    assert_int_equal(desk_frame(&desk, 2, &old1, NULL), TW_OK);
    assert_int_equal(tw_client_missing(&desk.client), 3);
    for (uint32_t chunk = 1; chunk < DESK_CHUNKS; chunk++) {
        struct tw_frame frame = desk_weights(&desk, 6, 1, 1, chunk);
        assert_int_equal(desk_arrive(&desk, &frame, 6), TW_OK);
    }
    assert_int_equal(desk.client.held.position, 6);
    for (int i = 0; i < DESK_TENSORS; i++)
        for (int64_t j = 0; j < desk_elements[i]; j++)
            assert_true(desk.weights[i][j] == 6);
    desk_fini(&desk);
}

static void weights_wait_outside_until_the_next_pull(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    struct tw_frame first = desk_weights(&desk, 5, 0, 1, 0);
    assert_int_equal(desk_arrive(&desk, &first, 5), TW_AGAIN);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    struct tw_frame next = desk_weights(&desk, 8, 1, 2, 0);
    assert_int_equal(desk_arrive(&desk, &next, 8), TW_AGAIN);
    assert_true(desk.weights[0][0] == 5);
    desk_push_all(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), ""); /* that push is settled */
    desk_pull(&desk);
    desk_arrive_all(&desk, 8, 1, 2);
    assert_int_equal(desk.client.held.step, 2);
    desk_fini(&desk);
}

/* ---- again ---- */

static void regather_sends_what_was_begun_from_the_first_chunk(void **state) {
    struct desk desk;
    struct tw_frame regather = {.body = TW_BODY_REGATHER};
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    assert_int_equal(desk_frame(&desk, 1, &regather, NULL), TW_OK);
    desk_arrive_all(&desk, 5, 0, 1);
    assert_int_equal(desk_frame(&desk, 1, &regather, NULL), TW_OK);
    assert_string_equal(desk_handed_out(&desk, 1), "");
    desk_push(&desk, 2);
    assert_string_equal(desk_handed_out(&desk, 1), "3");
    desk_frame(&desk, 1, &regather, NULL);
    assert_string_equal(desk_handed_out(&desk, 1), "3");
    desk_push(&desk, 0);
    desk_push(&desk, 1);
    desk_end(&desk);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 E4");
    desk_frame(&desk, 1, &regather, NULL);
    assert_string_equal(desk_handed_out(&desk, 1), "0 1 2 3 E4");
    desk_fini(&desk);
}

static void lose_and_join_again(struct desk *desk, int link, uint64_t last_step) {
    desk_lose(desk, link, TW_CLOSED);
    assert_int_equal(desk->client.phase, TW_CLIENT_RECONNECTING);
    desk->now = tw_client_deadline(&desk->client);
    desk_tick(desk, 0);
    assert_int_equal(desk->client.phase, TW_CLIENT_GREETING);
    desk_join(desk, last_step);
}

static void after_a_loss_an_unsettled_push_is_sent_again(void **state) {
    struct desk desk;
    desk_init(&desk, 2, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    desk_push_all(&desk);
    desk_handed_out(&desk, 1);
    desk_handed_out(&desk, 2);
    lose_and_join_again(&desk, 2, 0);
    assert_string_equal(desk_handed_out(&desk, 1), "0 E1");
    assert_string_equal(desk_handed_out(&desk, 2), "1 2 3 E3");
    desk_fini(&desk);
}

static void after_a_loss_a_settled_push_is_not_sent_again(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    desk_push_all(&desk);
    desk_pull(&desk);
    struct tw_frame half = desk_weights(&desk, 7, 1, 2, 0);
    desk_arrive(&desk, &half, 7);
    lose_and_join_again(&desk, TW_CLIENT_CONTROL, 1);
    assert_int_equal(tw_client_missing(&desk.client), DESK_CHUNKS);
    assert_string_equal(desk_handed_out(&desk, 1), "");
    desk_arrive_all(&desk, 11, 1, 2); /* a set of its own: nothing of 7 counts */
    assert_int_equal(desk.client.held.position, 11);
    desk_fini(&desk);
}

static void a_push_that_was_settled_while_we_were_away_is_not_sent_again(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    desk_push_all(&desk);
    lose_and_join_again(&desk, TW_CLIENT_CONTROL, 1);
    assert_string_equal(desk_handed_out(&desk, 1), "");
    desk_fini(&desk);
}

static void joining_again_names_incarnation_session_and_read(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    desk_lose(&desk, TW_CLIENT_CONTROL, TW_CLOSED);
    desk.now = tw_client_deadline(&desk.client);
    desk_tick(&desk, 0);
    desk_greet(&desk, TW_CLIENT_CONTROL);
    const struct tw_join *join = &desk.last.join;
    assert_false(join->any_rank);
    assert_int_equal(join->rank, 1);
    assert_int_equal(join->incarnation, 1);
    assert_int_equal(join->read, 5);
    assert_memory_equal(join->session.bytes, desk.session, TW_SESSION_BYTES);
    assert_memory_equal(join->job.bytes, desk.job, TW_JOB_ID_BYTES);
    desk_fini(&desk);
}

static void an_evaluator_repeats_report_and_question_after_a_loss(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &evaluator);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 3, 1);
    struct tw_metric_values values = {.loss = 0.5};
    desk_step(&desk, (struct tw_client_event){.kind = TW_CLIENT_ON_REPORT, .values = &values});
    desk_pull(&desk);
    int before = desk.sent_count;
    lose_and_join_again(&desk, TW_CLIENT_CONTROL, 1);
    assert_int_equal(desk.sent[(desk.sent_count - 2) % DESK_SENT], TW_BODY_EVALUATION);
    assert_int_equal(desk.last.body, TW_BODY_ASK);
    assert_int_equal(desk.last.ask.samples, 2000);
    assert_true(desk.sent_count > before);
    desk_fini(&desk);
}

static void pauses_between_tries_are_bounded_and_differ(void **state) {
    struct desk desk;
    uint64_t longest = 0, first = 0;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    for (int i = 0; i < 12; i++) {
        desk_lose(&desk, TW_CLIENT_CONTROL, TW_UNREACHABLE);
        assert_int_equal(desk.client.phase, TW_CLIENT_RECONNECTING);
        uint64_t pause = tw_client_deadline(&desk.client) - desk.now;
        assert_true(pause < ((uint64_t)TW_CLIENT_BACKOFF_MIN_MS << (i < 6 ? i : 6)) &&
                    pause < TW_CLIENT_BACKOFF_MAX_MS);
        longest = pause > longest ? pause : longest;
        first = i == 0 ? pause : first;
        desk_tick(&desk, pause);
    }
    assert_true(longest > 4 * first);
    desk_fini(&desk);
}

static void it_gives_up_after_connect_ms_and_says_where_and_why(void **state) {
    struct tw_client_config config = worker;
    struct desk desk;
    config.connect_ms = 3000;
    desk_init(&desk, 1, &config);
    desk_start(&desk);
    uint64_t start = desk.now;
    while (desk.client.phase != TW_CLIENT_FAILED) {
        assert_true(desk.now <= start + 3000);
        desk_lose(&desk, TW_CLIENT_CONTROL, TW_UNREACHABLE);
        if (desk.client.phase == TW_CLIENT_RECONNECTING)
            desk_tick(&desk, tw_client_deadline(&desk.client) - desk.now);
    }
    assert_int_equal(desk.now, start + 3000);
    assert_int_equal(desk.client.ending, TW_CLIENT_UNREACHABLE);
    assert_string_equal(desk.client.error.text, "no server at desk:1 (connection reset) after 3 s: "
                                                "start it, or check the address");
    desk_fini(&desk);
}

static void a_server_that_takes_the_connection_and_is_silent_is_tried_again(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_opened(&desk, TW_CLIENT_CONTROL);
    desk_tick(&desk, TW_CLIENT_TRY_MS);
    assert_int_equal(desk.client.phase, TW_CLIENT_RECONNECTING);
    assert_false(desk.open[TW_CLIENT_CONTROL]);
    desk_fini(&desk);
}

static void a_server_that_stops_answering_counts_as_lost(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    for (int i = 0; i < TW_CLIENT_SILENCE_MAX; i++)
        desk_tick(&desk, TW_HEARTBEAT_MS);
    assert_int_equal(desk.client.phase, TW_CLIENT_JOINED);
    desk_tick(&desk, TW_HEARTBEAT_MS);
    assert_int_equal(desk.client.phase, TW_CLIENT_RECONNECTING);
    desk_fini(&desk);
}

static void a_full_server_is_tried_again(void **state) {
    struct desk desk;
    struct tw_frame refuse = {.body = TW_BODY_REFUSE};
    refuse.refuse.status = TW_LIMIT;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_opened(&desk, TW_CLIENT_CONTROL);
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &refuse, NULL), TW_OK);
    assert_int_equal(desk.client.phase, TW_CLIENT_RECONNECTING);
    desk_fini(&desk);
}

/* ---- the end ---- */

static void stop_is_answered_with_bye_even_while_bulk_is_lost(void **state) {
    struct desk desk;
    struct tw_frame stop = {.body = TW_BODY_STOP};
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_lose(&desk, 1, TW_CLOSED);
    assert_true(desk.open[TW_CLIENT_CONTROL]);
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &stop, NULL), TW_OK);
    assert_int_equal(desk.last.body, TW_BODY_BYE);
    assert_int_equal(desk.client.phase, TW_CLIENT_STOPPED);
    assert_int_equal(desk.client.ending, TW_CLIENT_RUN_OVER);
    assert_false(desk.open[TW_CLIENT_CONTROL]);
    assert_int_equal(desk_pull(&desk), TW_STOPPED);
    assert_true(tw_client_deadline(&desk.client) == UINT64_MAX);
    desk_fini(&desk);
}

static void stop_with_an_error_tells_the_error(void **state) {
    struct desk desk;
    struct tw_frame stop = {.body = TW_BODY_STOP};
    stop.stop.status = TW_NOT_FINITE;
    stop.stop.text = (struct tw_view){"rank 0 pushed NaN", 17};
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_frame(&desk, TW_CLIENT_CONTROL, &stop, NULL);
    assert_int_equal(desk.client.ending, TW_CLIENT_RUN_FAILED);
    assert_int_equal(desk.client.error.status, TW_NOT_FINITE);
    assert_string_equal(desk.client.error.text, "the run failed: rank 0 pushed NaN");
    desk_fini(&desk);
}

static void leaving_says_bye_and_closes_everything(void **state) {
    struct desk desk;
    desk_init(&desk, 2, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_step(&desk, (struct tw_client_event){.kind = TW_CLIENT_ON_LEAVE});
    assert_int_equal(desk.last.body, TW_BODY_BYE);
    for (int i = 0; i < 3; i++)
        assert_false(desk.open[i]);
    desk_fini(&desk);
}

static void a_refusal_is_final_and_told(void **state) {
    struct desk desk;
    struct tw_frame refuse = {.body = TW_BODY_REFUSE};
    refuse.refuse.status = TW_RANK_TAKEN;
    refuse.refuse.text = (struct tw_view){"rank 1 is held by 10.0.0.2", 26};
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_greet(&desk, TW_CLIENT_CONTROL);
    desk_frame(&desk, TW_CLIENT_CONTROL, &refuse, NULL);
    assert_int_equal(desk.client.ending, TW_CLIENT_REFUSED);
    assert_int_equal(desk.client.error.status, TW_RANK_TAKEN);
    assert_string_equal(desk.client.error.text, "refused by the server at desk:1: rank-taken: rank "
                                                "1 is held by 10.0.0.2");
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_joins_pulls_pushes_and_pulls_again),
        cmocka_unit_test(join_says_who_we_are),
        cmocka_unit_test(chunks_leave_lowest_first_among_the_tensors_that_are_ready),
        cmocka_unit_test(each_shard_gets_its_chunks_and_an_end_that_counts_them),
        cmocka_unit_test(a_ping_leaves_at_each_heartbeat_and_pings_are_answered),
        cmocka_unit_test(a_worker_tells_what_it_measured_in_the_leads_time),
        cmocka_unit_test(measures_that_are_enough_for_a_ping_leave_at_once),
        cmocka_unit_test(a_push_that_is_sent_again_is_measured_once),
        cmocka_unit_test(pings_with_measures_do_not_count_as_silence),
        cmocka_unit_test(an_evaluator_asks_for_each_epoch_and_reports),
        cmocka_unit_test(half_a_set_is_no_set),
        cmocka_unit_test(a_newer_position_restarts_the_set_and_an_older_one_is_thrown_away),
        cmocka_unit_test(weights_wait_outside_until_the_next_pull),
        cmocka_unit_test(regather_sends_what_was_begun_from_the_first_chunk),
        cmocka_unit_test(after_a_loss_an_unsettled_push_is_sent_again),
        cmocka_unit_test(after_a_loss_a_settled_push_is_not_sent_again),
        cmocka_unit_test(a_push_that_was_settled_while_we_were_away_is_not_sent_again),
        cmocka_unit_test(joining_again_names_incarnation_session_and_read),
        cmocka_unit_test(an_evaluator_repeats_report_and_question_after_a_loss),
        cmocka_unit_test(pauses_between_tries_are_bounded_and_differ),
        cmocka_unit_test(it_gives_up_after_connect_ms_and_says_where_and_why),
        cmocka_unit_test(a_server_that_takes_the_connection_and_is_silent_is_tried_again),
        cmocka_unit_test(a_server_that_stops_answering_counts_as_lost),
        cmocka_unit_test(a_full_server_is_tried_again),
        cmocka_unit_test(stop_is_answered_with_bye_even_while_bulk_is_lost),
        cmocka_unit_test(stop_with_an_error_tells_the_error),
        cmocka_unit_test(leaving_says_bye_and_closes_everything),
        cmocka_unit_test(a_refusal_is_final_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
