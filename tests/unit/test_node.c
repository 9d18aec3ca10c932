/* A node: joining, attaching, coming back, and what is refused on the way. Pushes and
 * evaluations are in test_node_work.c. */
#include "server/core/letters.h"
#include "tests/unit/node_desk.h"

/* ---- joining ---- */

static void test_a_worker_gets_welcome_attached_and_weights(void **state) {
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 2);
    uint32_t bulk = desk_worker(&desk, -1, &control);
    const struct tw_welcome *welcome = &desk.link[control].last.welcome;
    assert_int_equal(welcome->rank, 0);
    assert_int_equal(welcome->incarnation, 1);
    assert_int_equal(welcome->attempt, 1);
    assert_int_equal(welcome->workers, 2);
    assert_int_equal(welcome->slots, 2);
    assert_int_equal(welcome->slot, 0);
    assert_int_equal(welcome->width, 1);
    assert_int_equal(welcome->last_step, 0);
    assert_int_equal(welcome->servers, 1);
    assert_int_equal(welcome->chunk_bytes, TW_CHUNK_BYTES_MIN);
    assert_int_equal(desk.link[bulk].frames, 2 + DESK_CHUNKS);
    assert_int_equal(desk.link[bulk].last.body, TW_BODY_WEIGHTS);
    assert_int_equal(desk.link[bulk].last.weights.step, 1);
    assert_int_equal(desk.link[bulk].last.data_bytes, 8);
    assert_int_equal(desk.event[0].kind, TW_EVENT_JOINED);
    desk_fini(&desk);
}

static void test_a_wrong_token_is_refused(void **state) {
    struct desk desk;
    struct tw_node_config config = desk_config(&desk, "sync", 1);
    config.terms.token = DESK_TOKEN;
    config.terms.token_bytes = strlen(DESK_TOKEN);
    desk_init(&desk, &config);
    uint32_t at = desk_open(&desk);
    struct tw_frame hello = desk_hello();
    assert_int_equal(desk_say(&desk, at, &hello, NULL), TW_OK);
    assert_int_equal(desk_body(&desk, at, TW_BODY_PROOF), TW_WRONG_TOKEN);
    desk_closed(&desk, at, TW_WRONG_TOKEN, "demands a token");
    desk_worker(&desk, -1, NULL); /* with the right one */
    desk_fini(&desk);
}

static void test_joins_that_do_not_fit_are_refused(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 2);
    struct tw_frame join = desk_join_frame(TW_ROLE_WORKER, -1);
    join.join.tensors = 1;
    desk_closed(&desk, desk_join_with(&desk, &join), TW_WRONG_MODEL, "the job has 2 tensors");
    join = desk_join_frame(TW_ROLE_WORKER, 2);
    desk_closed(&desk, desk_join_with(&desk, &join), TW_LIMIT,
                "there is no rank 2: this job has 2 workers, 0 to 1");
    join = desk_join_frame(TW_ROLE_EVALUATOR, -1);
    join.join.digest = (struct tw_view){"x", 1};
    desk_closed(&desk, desk_join_with(&desk, &join), TW_WRONG_JOB, "job file");
    desk_fini(&desk);
}

static void test_ranks_that_are_held_are_refused(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 2);
    desk_worker(&desk, 0, NULL);
    desk_closed(&desk, desk_join(&desk, TW_ROLE_WORKER, 0), TW_RANK_TAKEN, "rank 0 is held");
    desk_worker(&desk, 1, NULL);
    desk_closed(&desk, desk_join(&desk, TW_ROLE_WORKER, -1), TW_NO_FREE_RANK,
                "all 2 workers of this job are connected");
    desk_fini(&desk);
}

static void test_other_numerics_are_refused(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 2);
    desk_worker(&desk, 0, NULL);
    struct tw_frame join = desk_join_frame(TW_ROLE_WORKER, 1);
    join.join.numerics = (struct tw_view){NULL, 0};
    desk_closed(&desk, desk_join_with(&desk, &join), TW_NUMERICS, "--inexact");
    desk_fini(&desk);
}

static void test_no_frame_in_the_wrong_state_gets_through(void **state) {
    static const enum tw_body at_bulk[] = {TW_BODY_JOIN, TW_BODY_PING, TW_BODY_HELLO,
                                           TW_BODY_ATTACH, TW_BODY_WEIGHTS};
    struct desk desk;
    desk_usual(&desk, "async", 2);
    for (size_t i = 0; i < sizeof(at_bulk) / sizeof(at_bulk[0]); i++) {
        uint32_t bulk = desk_worker(&desk, -1, NULL);
        assert_int_equal(desk_body(&desk, bulk, at_bulk[i]), TW_UNEXPECTED);
        desk_closed(&desk, bulk, TW_UNEXPECTED, "Push or End");
    }
    uint32_t control = desk_join(&desk, TW_ROLE_WORKER, -1);
    assert_int_equal(desk_body(&desk, control, TW_BODY_EVALUATION), TW_UNEXPECTED);
    desk_closed(&desk, control, TW_UNEXPECTED, "Evaluation came where only Ping, Pong or Bye");
    desk_fini(&desk);
}

static void test_ping_is_answered_and_bye_closes(void **state) {
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 1);
    uint32_t bulk = desk_worker(&desk, -1, &control);
    struct tw_frame ping = {.body = TW_BODY_PING};
    ping.ping.nonce = 77;
    assert_int_equal(desk_say(&desk, control, &ping, NULL), TW_OK);
    assert_int_equal(desk.link[control].last.body, TW_BODY_PONG);
    assert_int_equal(desk.link[control].last.pong.nonce, 77);
    assert_int_equal(desk_body(&desk, control, TW_BODY_PONG), TW_OK);
    assert_int_equal(desk_body(&desk, control, TW_BODY_BYE), TW_OK);
    assert_false(desk.link[control].open);
    desk_closed(&desk, bulk, TW_CLOSED, "other connection");
    assert_int_equal(desk_count(&desk, TW_EVENT_LEFT), 1);
    desk_fini(&desk);
}

/* It closes both connections, and nobody knows which the server looks at first. */
static void test_last_words_are_heard_behind_the_loss_of_bulk(void **state) {
    static const struct tw_measure measure = {1, 10, 20, 30};
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 1);
    uint32_t bulk = desk_worker(&desk, -1, &control);
    tw_node_goodbye(desk.node, TW_OK, "the run is done");
    desk_drain(&desk);
    desk_lose(&desk, bulk);
    assert_true(desk.link[control].open);
    struct tw_frame ping = {.body = TW_BODY_PING, .ping = {1, 7, 1, &measure}};
    assert_int_equal(desk_say(&desk, control, &ping, NULL), TW_OK);
    assert_int_equal(desk_count(&desk, TW_EVENT_MEASURED), 1);
    assert_int_equal(desk_body(&desk, control, TW_BODY_BYE), TW_OK);
    assert_false(desk.link[control].open);
    desk_fini(&desk);
}

static void test_only_a_joined_worker_is_heard_about_its_steps(void **state) {
    static const struct tw_measure measures[2] = {{1, 10, 20, 30}, {2, 40, 50, 60}};
    struct desk desk;
    desk_usual(&desk, "async", 2);
    uint32_t control = desk_join(&desk, TW_ROLE_WORKER, 1);
    uint32_t evaluator = desk_join(&desk, TW_ROLE_EVALUATOR, 0);
    struct tw_frame ping = {.body = TW_BODY_PING, .ping = {1, 7, 2, measures}};
    assert_int_equal(desk_say(&desk, evaluator, &ping, NULL), TW_OK);
    assert_int_equal(desk.link[evaluator].last.body, TW_BODY_PONG);
    assert_int_equal(desk_count(&desk, TW_EVENT_MEASURED), 0);
    assert_int_equal(desk_say(&desk, control, &ping, NULL), TW_OK);
    assert_int_equal(desk.link[control].last.body, TW_BODY_PONG);
    assert_int_equal(desk_count(&desk, TW_EVENT_MEASURED), 1);
    const struct tw_node_event *event = &desk.event[desk.events - 1];
    assert_int_equal(event->rank, 1);
    assert_int_equal(event->measures, 2);
    assert_ptr_equal(event->measure, measures);
    ping.ping.measures = 0;
    assert_int_equal(desk_say(&desk, control, &ping, NULL), TW_OK);
    assert_int_equal(desk_count(&desk, TW_EVENT_MEASURED), 1);
    desk_fini(&desk);
}

static void test_there_is_no_room_for_one_connection_too_many(void **state) {
    struct desk desk;
    uint8_t random[TW_NODE_RANDOM_BYTES] = {0};
    desk_usual(&desk, "sync", 1);
    for (int i = 0; i < DESK_LINKS; i++)
        assert_true(tw_node_is_pending(desk.node, desk_open(&desk)));
    assert_int_equal(tw_node_open(desk.node, random), TW_NO_CONNECTION);
    desk_lose(&desk, 7);
    assert_int_equal(tw_node_open(desk.node, random), 7);
    desk_fini(&desk);
}

/* ---- coming back ---- */

static void test_losing_one_connection_closes_the_other(void **state) {
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 1);
    uint32_t bulk = desk_worker(&desk, -1, &control);
    desk_lose(&desk, bulk);
    desk_closed(&desk, control, TW_CLOSED, "other connection is lost");
    assert_int_equal(desk_count(&desk, TW_EVENT_LEFT), 1);
    desk_fini(&desk);
}

static void test_a_resume_closes_the_old_connections(void **state) {
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 1);
    uint32_t bulk = desk_worker(&desk, -1, &control);
    uint64_t read = desk.link[bulk].last.weights.position;
    struct tw_frame join = desk_resume_frame(&desk, control, read);
    uint32_t again = desk_join_with(&desk, &join);
    desk_closed(&desk, control, TW_CLOSED, "connected again");
    desk_closed(&desk, bulk, TW_CLOSED, "connected again");
    assert_int_equal(desk.link[again].last.welcome.incarnation, 1);
    assert_int_equal(desk.link[again].last.welcome.attempt, 2);
    assert_memory_equal(desk.link[again].session, desk.link[control].session, TW_SESSION_BYTES);
    uint32_t bulk_again = desk_attach(&desk, again, TW_ROLE_WORKER);
    desk_work(&desk);
    assert_int_equal(desk.link[bulk_again].last.body, TW_BODY_ATTACHED); /* it holds them */
    desk_fini(&desk);
}

static void test_a_resume_with_another_session_is_fenced(void **state) {
    static const uint8_t wrong[TW_SESSION_BYTES] = {0};
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 1);
    desk_worker(&desk, -1, &control);
    struct tw_frame join = desk_resume_frame(&desk, control, 0);
    join.join.session.bytes = wrong;
    desk_closed(&desk, desk_join_with(&desk, &join), TW_FENCED, "does not fit rank 0");
    join.join.session = (struct tw_view){NULL, 0};
    desk_closed(&desk, desk_join_with(&desk, &join), TW_FENCED, "does not fit rank 0");
    assert_true(desk.link[control].open);
    desk_fini(&desk);
}

/* Whatever incarnation and rank it names, a key of another size is not read. */
static void test_a_resume_without_a_session_reads_none(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 2);
    desk_worker(&desk, 0, NULL);
    struct tw_frame join = desk_join_frame(TW_ROLE_WORKER, 0);
    join.join.incarnation = 9;
    desk_closed(&desk, desk_join_with(&desk, &join), TW_UNEXPECTED, "rank 0 cannot be given");
    join.join.rank = 1;
    desk_closed(&desk, desk_join_with(&desk, &join), TW_UNEXPECTED, "rank 1 cannot be given");
    join.join.rank = 70;
    desk_closed(&desk, desk_join_with(&desk, &join), TW_LIMIT, "no rank 70");
    join.join.rank = 1;
    join.join.session = (struct tw_view){"x", 1};
    desk_closed(&desk, desk_join_with(&desk, &join), TW_UNEXPECTED, "rank 1 cannot be given");
    desk_fini(&desk);
}

static void test_the_predecessor_is_fenced(void **state) {
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 1);
    uint32_t bulk = desk_worker(&desk, -1, &control);
    struct tw_frame resume = desk_resume_frame(&desk, control, 0);
    struct tw_frame attach = desk_attach_frame(&desk, control, TW_ROLE_WORKER);
    uint8_t session[TW_SESSION_BYTES];
    memcpy(session, desk.link[control].session, sizeof(session));
    resume.join.session.bytes = attach.attach.session.bytes = session;
    desk_lose(&desk, bulk);
    uint32_t next;
    desk_worker(&desk, 0, &next);
    assert_int_equal(desk.link[next].last.welcome.incarnation, 2);
    desk_closed(&desk, desk_join_with(&desk, &resume), TW_FENCED, "taken over rank 0");
    desk_closed(&desk, desk_join_with(&desk, &attach), TW_FENCED, "taken over rank 0");
    assert_true(desk.link[next].open);
    desk_fini(&desk);
}

/* ---- attaching ---- */

static void test_attaching_without_having_joined_is_refused(void **state) {
    static const uint8_t zeros[TW_SESSION_BYTES] = {0};
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 2);
    struct tw_frame attach = {.body = TW_BODY_ATTACH};
    attach.attach.session = (struct tw_view){zeros, TW_SESSION_BYTES};
    desk_closed(&desk, desk_join_with(&desk, &attach), TW_UNEXPECTED, "rank 0 has not joined");
    attach.attach.role = TW_ROLE_EVALUATOR;
    desk_closed(&desk, desk_join_with(&desk, &attach), TW_UNEXPECTED, "has not joined");
    control = desk_join(&desk, TW_ROLE_WORKER, 0);
    attach = desk_attach_frame(&desk, control, TW_ROLE_WORKER);
    attach.attach.session.bytes = zeros;
    desk_closed(&desk, desk_join_with(&desk, &attach), TW_UNEXPECTED, "rank 0 has not joined");
    attach = desk_attach_frame(&desk, control, TW_ROLE_WORKER);
    attach.attach.attempt++;
    desk_closed(&desk, desk_join_with(&desk, &attach), TW_UNEXPECTED, "rank 0 has not joined");
    attach = desk_attach_frame(&desk, control, TW_ROLE_WORKER);
    attach.attach.session.size--;
    desk_closed(&desk, desk_join_with(&desk, &attach), TW_MALFORMED, "a session key has 16 bytes");
    attach = desk_attach_frame(&desk, control, TW_ROLE_WORKER);
    attach.attach.rank = 2;
    desk_closed(&desk, desk_join_with(&desk, &attach), TW_MALFORMED, "there is no rank 2");
    assert_true(desk.link[control].open);
    desk_fini(&desk);
}

static void test_attaching_twice_is_refused(void **state) {
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 1);
    uint32_t bulk = desk_worker(&desk, -1, &control);
    struct tw_frame attach = desk_attach_frame(&desk, control, TW_ROLE_WORKER);
    desk_closed(&desk, desk_join_with(&desk, &attach), TW_UNEXPECTED, "rank 0 is attached already");
    assert_true(desk.link[bulk].open);
    desk_fini(&desk);
}

/* ---- joins that wait ---- */

/* Two workers in sync have voted, the PREPARE is under way, and both are lost. */
static void lose_both_in_mid_update(struct desk *desk) {
    uint32_t bulk[2];
    desk_usual(desk, "sync", 2);
    for (int i = 0; i < 2; i++)
        bulk[i] = desk_worker(desk, i, NULL);
    for (uint32_t i = 0; i < 2; i++)
        desk_push_all(desk, bulk[i], i, 1);
    for (int i = 0; i < 2; i++) { /* the two votes, and not the sums */
        tw_node_work(desk->node);
        desk_drain(desk);
    }
    for (uint32_t i = 0; i < 2; i++)
        assert_false(tw_sequencer_standing(tw_node_sequencer(desk->node), i).wanted);
    for (int i = 0; i < 2; i++)
        desk_lose(desk, bulk[i]);
}

static void test_a_join_in_mid_update_is_answered_after_it(void **state) {
    struct desk desk;
    lose_both_in_mid_update(&desk);
    uint32_t at = desk_join(&desk, TW_ROLE_WORKER, 1);
    assert_int_equal(desk.link[at].last.body, TW_BODY_CHALLENGE);
    assert_int_equal(desk_body(&desk, at, TW_BODY_PING), TW_OK);
    desk_work(&desk);
    assert_int_equal(desk.link[at].last.body, TW_BODY_WELCOME);
    assert_int_equal(desk.link[at].last.welcome.incarnation, 2);
    assert_int_equal(desk.link[at].last.welcome.last_step, 1);
    assert_int_equal(tw_sequencer_version(tw_node_sequencer(desk.node)), 1);
    desk_fini(&desk);
}

static void test_joins_answered_after_their_connections_are_gone_hold_no_rank(void **state) {
    struct desk desk;
    uint32_t at[2];
    lose_both_in_mid_update(&desk);
    for (int i = 0; i < 2; i++)
        at[i] = desk_join(&desk, TW_ROLE_WORKER, i);
    for (int i = 0; i < 2; i++)
        desk_lose(&desk, at[i]);
    uint32_t other = desk_open(&desk); /* has the number of one of them */
    assert_int_equal(other, at[0] < at[1] ? at[0] : at[1]);
    desk_work(&desk);
    assert_int_equal(desk.link[other].frames, 0);
    for (int i = 0; i < 2; i++) {
        uint32_t control;
        desk_worker(&desk, i, &control);
        assert_int_equal(desk.link[control].last.welcome.incarnation, 3);
    }
    desk_fini(&desk);
}

static void test_a_join_is_not_answered_to_the_next_with_its_number(void **state) {
    struct desk desk;
    lose_both_in_mid_update(&desk);
    uint32_t gone = desk_join(&desk, TW_ROLE_WORKER, 0);
    desk_lose(&desk, gone);
    uint32_t other = desk_join(&desk, TW_ROLE_WORKER, 1); /* waits as well */
    assert_int_equal(other, gone);
    desk_work(&desk);
    assert_int_equal(desk.link[other].last.body, TW_BODY_WELCOME);
    assert_int_equal(desk.link[other].last.welcome.rank, 1);
    assert_int_equal(desk.link[other].frames, 2);
    desk_worker(&desk, 0, NULL);
    desk_fini(&desk);
}

static void test_a_join_that_waits_is_refused_at_a_stop(void **state) {
    struct desk desk;
    lose_both_in_mid_update(&desk);
    uint32_t at = desk_join(&desk, TW_ROLE_WORKER, 1);
    tw_node_stop(desk.node, false);
    desk_drain(&desk);
    desk_closed(&desk, at, TW_STOPPED, "the run is over");
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_EVENT_FINISHED), 1);
    desk_fini(&desk);
}

/* ---- several servers ---- */

static struct tw_node_order member_order(uint32_t attempt, uint8_t key) {
    struct tw_node_order order = {.kind = TW_ORDER_MEMBER};
    order.member.rank = 1;
    order.member.incarnation = 1;
    order.member.attempt = attempt;
    memset(order.member.session, key, TW_SESSION_BYTES);
    return order;
}

static uint32_t attach_at_second(struct desk *desk, uint32_t attempt, uint8_t key) {
    uint8_t session[TW_SESSION_BYTES];
    memset(session, key, sizeof(session));
    struct tw_frame frame = {.body = TW_BODY_ATTACH};
    frame.attach.rank = 1;
    frame.attach.incarnation = 1;
    frame.attach.attempt = attempt;
    frame.attach.session = (struct tw_view){session, sizeof(session)};
    return desk_join_with(desk, &frame);
}

static void second_server(struct desk *desk) {
    struct tw_node_config config = desk_config(desk, "sync", 2);
    config.servers = 2;
    config.shard.index = 1;
    desk_init(desk, &config);
}

static void test_an_attach_that_overtakes_the_lead_waits(void **state) {
    struct desk desk;
    second_server(&desk);
    uint32_t at = attach_at_second(&desk, 1, 3);
    assert_int_equal(desk.link[at].last.body, TW_BODY_CHALLENGE);
    assert_int_equal(desk.votes, 0);
    struct tw_node_order order = member_order(1, 3);
    tw_node_hear_order(desk.node, &order);
    desk_drain(&desk);
    assert_int_equal(desk.link[at].last.body, TW_BODY_ATTACHED);
    assert_int_equal(desk.votes, 1);
    assert_int_equal(desk.vote[0].kind, TW_VOTE_ATTACHED);
    assert_int_equal(desk.vote[0].rank, 1);
    assert_int_equal(desk.vote[0].shard, 1);
    desk_lose(&desk, at);
    assert_int_equal(desk.votes, 2);
    assert_int_equal(desk.vote[1].kind, TW_VOTE_LOST);
    desk_fini(&desk);
}

static void test_an_attach_that_waits_with_a_wrong_key_is_fenced(void **state) {
    struct desk desk;
    second_server(&desk);
    uint32_t wrong = attach_at_second(&desk, 1, 4);
    uint32_t later = attach_at_second(&desk, 2, 3);
    struct tw_node_order order = member_order(1, 3);
    tw_node_hear_order(desk.node, &order);
    desk_drain(&desk);
    desk_closed(&desk, wrong, TW_FENCED, "taken over");
    assert_true(desk.link[later].open); /* its turn may come */
    assert_int_equal(desk.votes, 0);
    desk_fini(&desk);
}

/* Who has one, number 0, and does not say so. */
static void test_an_older_lead_has_one_evaluator(void **state) {
    struct desk desk;
    second_server(&desk);
    struct tw_node_order member = member_order(1, 3);
    member.member.role = TW_ROLE_EVALUATOR;
    member.member.rank = 0;
    tw_node_hear_order(desk.node, &member);
    struct tw_frame frame = {.body = TW_BODY_ATTACH};
    frame.attach = (struct tw_attach){.role = TW_ROLE_EVALUATOR, .incarnation = 1, .attempt = 1};
    frame.attach.session = (struct tw_view){member.member.session, TW_SESSION_BYTES};
    uint32_t at = desk_join_with(&desk, &frame);
    assert_int_equal(desk.link[at].last.body, TW_BODY_ATTACHED);
    struct tw_node_order release = {.kind = TW_ORDER_RECORD};
    release.record.kind = TW_RECORD_RELEASE;
    release.record.slot = TW_SLOT_EVALUATOR;
    release.record.position = release.record.step = 1;
    tw_node_hear_order(desk.node, &release);
    desk_work(&desk);
    assert_int_equal(desk.link[at].last.body, TW_BODY_WEIGHTS);
    desk_fini(&desk);
}

static void test_only_the_lead_takes_joins(void **state) {
    struct desk desk;
    second_server(&desk);
    desk_closed(&desk, desk_join(&desk, TW_ROLE_WORKER, 0), TW_UNEXPECTED, "join at server 0");
    desk_fini(&desk);
}

/* By a Refuse: a frame that "waits" (TW_AGAIN) would never be answered. */
static void test_a_worker_that_comes_before_a_server_is_told_to_try_again(void **state) {
    struct desk desk;
    struct tw_node_config config = desk_config(&desk, "sync", 2);
    config.servers = 2;
    desk_init(&desk, &config);
    struct tw_frame join = desk_join_frame(TW_ROLE_WORKER, 0);
    uint32_t at = desk_known(&desk);
    assert_int_equal(desk_say(&desk, at, &join, NULL), TW_OK);
    desk_closed(&desk, at, TW_AGAIN, "server 1 of 2 has not come yet");
    desk_fini(&desk);
}

/* Of a server that fits; `layout` is what it points to. */
static struct tw_frame serve_frame(const struct desk *desk, uint8_t layout[TW_DIGEST_BYTES]) {
    struct tw_frame frame = {.body = TW_BODY_SERVE};
    tw_layout_digest(&desk->layout, layout);
    frame.serve.index = 1;
    frame.serve.servers = 2;
    frame.serve.digest = (struct tw_view){desk->config.terms.digest, TW_DIGEST_BYTES};
    frame.serve.layout = (struct tw_view){layout, TW_DIGEST_BYTES};
    frame.serve.address = (struct tw_view){":1", 2};
    frame.serve.ahead = desk->config.shard.ahead;
    return frame;
}

/* A server that is there, on this connection. */
static uint32_t serve(struct desk *desk) {
    uint8_t layout[TW_DIGEST_BYTES];
    struct tw_frame frame = serve_frame(desk, layout);
    uint32_t at = desk_known(desk);
    assert_int_equal(desk_say(desk, at, &frame, NULL), TW_OK);
    return at;
}

/* Its shard would wait for permits that nobody gives, or not wait for those that are given. */
static void test_a_server_with_other_memory_is_refused(void **state) {
    for (int way = 0; way < 3; way++) {
        struct desk desk;
        struct tw_node_config config = desk_config(&desk, "sync", 2);
        uint8_t layout[TW_DIGEST_BYTES];
        config.servers = 2;
        config.shard.ahead = 1;
        desk_init(&desk, &config);
        struct tw_frame frame = serve_frame(&desk, layout);
        frame.serve.pooled = way == 0;
        frame.serve.ahead = (uint32_t[]){0, 0, 2}[way];
        uint32_t at = desk_known(&desk);
        assert_int_equal(desk_say(&desk, at, &frame, NULL), TW_WRONG_JOB);
        desk_closed(&desk, at, TW_WRONG_JOB, way == 2 ? "has more room" : "has less room");
        assert_int_equal(tw_node_missing_server(desk.node), 1);
        desk_fini(&desk);
    }
}

static void test_squares_of_a_tensor_that_is_not_there_are_refused(void **state) {
    for (int way = 0; way < 4; way++) {
        struct desk desk;
        struct tw_node_config config = desk_config(&desk, "sync", 2);
        uint8_t sums[TW_TENSOR_SUMS_BYTES] = {0};
        config.servers = 2;
        desk_init(&desk, &config);
        uint32_t at = serve(&desk), tensors = (uint32_t)desk.list.count;
        struct tw_frame frame = {.body = TW_BODY_SQUARES};
        frame.squares.version = 1;
        frame.squares.applied = way & 1;
        frame.squares.tensor = way & 2 ? tensors : tensors - 1;
        frame.squares.sums = (struct tw_view){sums, sizeof(sums)};
        enum tw_status status = desk_say(&desk, at, &frame, NULL);
        assert_int_equal(status, way & 2 ? TW_UNEXPECTED : TW_OK);
        desk_fini(&desk);
    }
}

/* All its connections break, and both servers notice. */
static void test_a_worker_that_two_servers_lose_leaves_once(void **state) {
    for (int told_first = 0; told_first < 2; told_first++) {
        struct desk desk;
        struct tw_node_config config = desk_config(&desk, "sync", 2);
        config.servers = 2;
        desk_init(&desk, &config);
        tw_node_add_server(desk.node, 1, TW_NO_CONNECTION);
        uint32_t control = desk_join(&desk, TW_ROLE_WORKER, 1);
        struct tw_frame lost = {.body = TW_BODY_REACH};
        lost.reach.rank = 1;
        lost.reach.attempt = desk.link[control].last.welcome.attempt;
        if (!told_first)
            desk_lose(&desk, control);
        assert_int_equal(tw_node_hear_shard(desk.node, 1, &lost, NULL), TW_OK);
        desk_drain(&desk);
        assert_false(desk.link[control].open);
        assert_int_equal(desk_count(&desk, TW_EVENT_LEFT), 1);
        desk_fini(&desk);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_worker_gets_welcome_attached_and_weights),
        cmocka_unit_test(test_a_wrong_token_is_refused),
        cmocka_unit_test(test_joins_that_do_not_fit_are_refused),
        cmocka_unit_test(test_ranks_that_are_held_are_refused),
        cmocka_unit_test(test_other_numerics_are_refused),
        cmocka_unit_test(test_no_frame_in_the_wrong_state_gets_through),
        cmocka_unit_test(test_ping_is_answered_and_bye_closes),
        cmocka_unit_test(test_last_words_are_heard_behind_the_loss_of_bulk),
        cmocka_unit_test(test_only_a_joined_worker_is_heard_about_its_steps),
        cmocka_unit_test(test_there_is_no_room_for_one_connection_too_many),
        cmocka_unit_test(test_losing_one_connection_closes_the_other),
        cmocka_unit_test(test_a_resume_closes_the_old_connections),
        cmocka_unit_test(test_a_resume_with_another_session_is_fenced),
        cmocka_unit_test(test_a_resume_without_a_session_reads_none),
        cmocka_unit_test(test_the_predecessor_is_fenced),
        cmocka_unit_test(test_attaching_without_having_joined_is_refused),
        cmocka_unit_test(test_attaching_twice_is_refused),
        cmocka_unit_test(test_a_join_in_mid_update_is_answered_after_it),
        cmocka_unit_test(test_joins_answered_after_their_connections_are_gone_hold_no_rank),
        cmocka_unit_test(test_a_join_is_not_answered_to_the_next_with_its_number),
        cmocka_unit_test(test_a_join_that_waits_is_refused_at_a_stop),
        cmocka_unit_test(test_an_attach_that_overtakes_the_lead_waits),
        cmocka_unit_test(test_an_attach_that_waits_with_a_wrong_key_is_fenced),
        cmocka_unit_test(test_an_older_lead_has_one_evaluator),
        cmocka_unit_test(test_only_the_lead_takes_joins),
        cmocka_unit_test(test_a_worker_that_comes_before_a_server_is_told_to_try_again),
        cmocka_unit_test(test_a_server_with_other_memory_is_refused),
        cmocka_unit_test(test_squares_of_a_tensor_that_is_not_there_are_refused),
        cmocka_unit_test(test_a_worker_that_two_servers_lose_leaves_once),
    };
    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
