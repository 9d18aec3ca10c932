/* A node at work: pushes, evaluations and the end, over connections. Who may connect is in
 * test_node.c. */
#include "tests/unit/node_desk.h"

/* ---- pushing ---- */

static void test_a_push_of_all_is_an_update(void **state) {
    struct desk desk;
    uint32_t bulk[2];
    desk_usual(&desk, "sync", 2);
    for (int i = 0; i < 2; i++)
        bulk[i] = desk_worker(&desk, i, NULL);
    for (uint32_t i = 0; i < 2; i++)
        desk_push_all(&desk, bulk[i], i, 1);
    desk_work(&desk);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(desk.link[bulk[i]].last.weights.version, 1);
        assert_int_equal(desk.link[bulk[i]].last.weights.step, 2);
    }
    float expected = 1 - 0.5F * (2.0F / 20.0F); /* all gradients are 1 */
    assert_true(tw_shard_weights(tw_node_shard(desk.node), 1)[0] == expected);
    desk_fini(&desk);
}

static void test_the_end_of_an_update_is_told_with_the_weights_that_follow(void **state) {
    struct desk desk;
    int frames = 0;
    desk_usual(&desk, "async", 1);
    uint32_t bulk = desk_worker(&desk, 0, NULL);
    desk_push_all(&desk, bulk, 0, 1);
    for (int i = 0; desk_count(&desk, TW_EVENT_APPLIED) == 0; i++) {
        assert_true(i < 10);
        frames = desk.link[bulk].frames;
        tw_node_work(desk.node);
        desk_drain(&desk);
    }
    assert_int_equal(desk.link[bulk].frames, frames + 1);
    assert_int_equal(desk.link[bulk].last.weights.version, 1);
    assert_int_equal(desk.link[bulk].last.weights.chunk, 1);
    desk_fini(&desk);
}

/* Two workers with four slots each: a push has the number of the first. */
static void test_a_worker_of_several_slots_pushes_as_the_first(void **state) {
    struct desk desk;
    uint32_t bulk[2], control;
    struct tw_node_config config = desk_config(&desk, "sync", 2);
    config.width = 4;
    desk_init(&desk, &config);
    for (int i = 0; i < 2; i++) {
        bulk[i] = desk_worker(&desk, i, &control);
        const struct tw_welcome *welcome = &desk.link[control].last.welcome;
        assert_int_equal(welcome->workers, 2);
        assert_int_equal(welcome->slots, 8);
        assert_int_equal(welcome->slot, 4 * i);
        assert_int_equal(welcome->width, 4);
    }
    for (uint32_t i = 0; i < 2; i++)
        desk_push_all(&desk, bulk[i], 4 * i, 1);
    desk_work(&desk);
    for (int i = 0; i < 2; i++)
        assert_int_equal(desk.link[bulk[i]].last.weights.version, 1);
    void *place;
    struct tw_frame frame = desk_push_frame(1, 1, 2, 0);
    assert_int_equal(desk_data(&desk, bulk[1], &frame, &place), TW_UNEXPECTED);
    desk_closed(&desk, bulk[1], TW_UNEXPECTED,
                "pushes as slot 1, incarnation 1; its slots begin with 4");
    desk_fini(&desk);
}

static void refused_push(struct desk *desk, struct tw_frame frame, enum tw_status status,
                         const char *words) {
    void *place;
    uint32_t bulk = desk_worker(desk, 1, NULL);
    assert_int_equal(desk_data(desk, bulk, &frame, &place), status);
    desk_closed(desk, bulk, status, words);
}

static void test_a_worker_pushes_for_itself_only(void **state) {
    struct desk desk;
    desk_usual(&desk, "async", 2);
    desk_worker(&desk, 0, NULL);
    refused_push(&desk, desk_push_frame(0, 1, 1, 0), TW_UNEXPECTED,
                 "rank 1, incarnation 1 pushes as slot 0, incarnation 1");
    refused_push(&desk, desk_push_frame(1, 1, 1, 0), TW_UNEXPECTED,
                 "rank 1, incarnation 2 pushes as slot 1, incarnation 1");
    uint32_t bulk = desk_worker(&desk, 1, NULL);
    struct tw_frame end = desk_end_frame(&desk, bulk, 0, 1);
    assert_int_equal(desk_say(&desk, bulk, &end, NULL), TW_UNEXPECTED);
    desk_closed(&desk, bulk, TW_UNEXPECTED, "pushes as slot 0");
    desk_fini(&desk);
}

static void test_pushes_that_cannot_be_are_refused(void **state) {
    struct desk desk;
    desk_usual(&desk, "async", 2);
    refused_push(&desk, desk_push_frame(1, 1, 1, 2), TW_MALFORMED, "chunk 2 is not");
    refused_push(&desk, desk_push_frame(1, 2, 2, 0), TW_UNEXPECTED, "pushes step 2");
    struct tw_frame frame = desk_push_frame(1, 3, 1, 0);
    frame.data_bytes = 4;
    refused_push(&desk, frame, TW_MALFORMED, "has 16 bytes as f32, the push brings 4");
    frame = (struct tw_frame){.body = TW_BODY_END, .data_bytes = 4};
    refused_push(&desk, frame, TW_MALFORMED, "End with data");
    uint32_t bulk = desk_worker(&desk, 1, NULL);
    frame = desk_push_frame(1, 5, 1, 0);
    frame.data_bytes = 0;
    assert_int_equal(desk_say(&desk, bulk, &frame, NULL), TW_MALFORMED);
    desk_closed(&desk, bulk, TW_MALFORMED, "Push without data");
    desk_fini(&desk);
}

static void test_a_connection_lost_in_mid_chunk_gives_its_place_back(void **state) {
    struct desk desk;
    void *place;
    desk_usual(&desk, "async", 1);
    uint32_t bulk = desk_worker(&desk, 0, NULL);
    struct tw_frame push = desk_push_frame(0, 1, 1, 0);
    assert_int_equal(desk_data(&desk, bulk, &push, &place), TW_OK);
    assert_non_null(place);
    desk_lose(&desk, bulk);
    bulk = desk_worker(&desk, 0, NULL);
    desk_push_all(&desk, bulk, 0, 2);
    desk_work(&desk);
    assert_int_equal(desk.link[bulk].last.weights.version, 1);
    desk_fini(&desk);
}

static void test_a_paused_connection_is_resumed_when_there_is_a_place(void **state) {
    struct desk desk;
    void *place;
    desk_usual(&desk, "async", 1);
    uint32_t bulk = desk_worker(&desk, 0, NULL);
    desk_push_all(&desk, bulk, 0, 1);
    for (int i = 0; tw_sequencer_version(tw_node_sequencer(desk.node)) == 0; i++) {
        assert_true(i < 10);
        tw_node_work(desk.node);
        desk_drain(&desk);
    }
    struct tw_frame push = desk_push_frame(0, 1, 2, 0); /* before its weights have come */
    assert_int_equal(desk_data(&desk, bulk, &push, &place), TW_AGAIN);
    assert_false(desk.link[bulk].resumed);
    desk_work(&desk);
    assert_true(desk.link[bulk].resumed);
    assert_int_equal(desk_data(&desk, bulk, &push, &place), TW_OK);
    assert_non_null(place);
    desk_fini(&desk);
}

static void test_a_takeover_tells_the_others_to_send_again(void **state) {
    struct desk desk;
    uint32_t bulk[2];
    desk_usual(&desk, "sync", 2);
    for (int i = 0; i < 2; i++)
        bulk[i] = desk_worker(&desk, i, NULL);
    desk_push_all(&desk, bulk[0], 0, 1);
    desk_work(&desk);
    struct tw_weights given = desk.link[bulk[0]].last.weights;
    desk_lose(&desk, bulk[1]);
    bulk[1] = desk_worker(&desk, 1, NULL);
    assert_int_equal(desk.link[bulk[0]].last.body, TW_BODY_REGATHER);
    assert_int_equal(desk.link[bulk[0]].last.regather.version, 1);
    desk_push_all(&desk, bulk[1], 1, 2);
    desk_work(&desk);
    assert_int_equal(tw_sequencer_version(tw_node_sequencer(desk.node)), 0);
    desk.link[bulk[0]].last = (struct tw_frame){.body = TW_BODY_WEIGHTS, .weights = given};
    desk_push_all(&desk, bulk[0], 0, 1);
    desk_work(&desk);
    assert_int_equal(tw_sequencer_version(tw_node_sequencer(desk.node)), 1);
    desk_fini(&desk);
}

static void test_a_push_that_is_not_finite_is_reported(void **state) {
    struct desk desk;
    void *place;
    static const float infinite[2] = {1, 1e30F * 1e30F};
    desk_usual(&desk, "async", 1);
    uint32_t bulk = desk_worker(&desk, 0, NULL);
    struct tw_frame end = desk_end_frame(&desk, bulk, 0, 1);
    struct tw_frame push = desk_push_frame(0, 1, 1, 1);
    assert_int_equal(desk_push(&desk, bulk, desk_push_frame(0, 1, 1, 0)), TW_OK);
    assert_int_equal(desk_data(&desk, bulk, &push, &place), TW_OK);
    memcpy(place, infinite, sizeof(infinite));
    assert_int_equal(desk_say(&desk, bulk, &push, place), TW_OK);
    assert_int_equal(desk_say(&desk, bulk, &end, NULL), TW_OK);
    desk_work(&desk);
    assert_int_equal(desk_count(&desk, TW_EVENT_DROPPED), 1);
    assert_int_equal(desk.event[desk.events - 1].tensor, 1);
    assert_int_equal(desk.event[desk.events - 1].slot, 0);
    assert_int_equal(desk.event[desk.events - 1].step, 1);
    assert_int_equal(desk.link[bulk].last.weights.step, 2);
    assert_int_equal(desk.link[bulk].last.weights.version, 0);
    desk_fini(&desk);
}

/* ---- the evaluator ---- */

/* One worker in async, an epoch of 10 examples: every update is a border. */
static uint32_t evaluated_desk(struct desk *desk, uint32_t *control, uint32_t *evaluator_bulk) {
    struct tw_node_config config = desk_config(desk, "async", 1);
    config.sequencer.samples = 10;
    config.sequencer.evaluator = true;
    desk_init(desk, &config);
    *control = desk_join(desk, TW_ROLE_EVALUATOR, -1);
    *evaluator_bulk = desk_attach(desk, *control, TW_ROLE_EVALUATOR);
    return desk_worker(desk, 0, NULL);
}

static enum tw_status ask(struct desk *desk, uint32_t at, uint64_t samples) {
    struct tw_frame frame = {.body = TW_BODY_ASK};
    frame.ask.samples = samples;
    return desk_say(desk, at, &frame, NULL);
}

static enum tw_status evaluate(struct desk *desk, uint32_t at, uint64_t position) {
    struct tw_frame frame = {.body = TW_BODY_EVALUATION};
    frame.evaluation.position = position;
    frame.evaluation.loss = 0.5;
    frame.evaluation.accuracy = 0.75;
    frame.evaluation.metrics = 1 << 2 | 1u << 31; /* r2, and one that nobody knows */
    frame.evaluation.r2 = -0.5;
    return desk_say(desk, at, &frame, NULL);
}

static void test_the_evaluator_asks_gets_weights_and_answers(void **state) {
    struct desk desk;
    uint32_t control, evaluator;
    uint32_t bulk = evaluated_desk(&desk, &control, &evaluator);
    assert_int_equal(ask(&desk, control, 10), TW_OK);
    desk_push_all(&desk, bulk, 0, 1);
    desk_work(&desk);
    assert_int_equal(desk.link[evaluator].last.body, TW_BODY_WEIGHTS);
    assert_int_equal(desk.link[evaluator].last.weights.version, 1);
    assert_int_equal(desk.link[evaluator].last.weights.step, 1);
    desk.events = 0;
    assert_int_equal(evaluate(&desk, control, desk.link[evaluator].last.weights.position), TW_OK);
    assert_int_equal(desk.event[0].kind, TW_EVENT_EVALUATED);
    assert_int_equal(desk.event[0].version, 1);
    const struct tw_metric_values *values = &desk.event[0].values;
    assert_true(values->loss == 0.5 && values->accuracy == 0.75 && values->r2 == -0.5);
    assert_true(isnan(values->top5) && isnan(values->auc));
    desk_fini(&desk);
}

static void test_an_evaluation_sent_again_counts_once(void **state) {
    struct desk desk;
    uint32_t control, evaluator;
    uint32_t bulk = evaluated_desk(&desk, &control, &evaluator);
    uint64_t position[2];
    for (int i = 0; i < 2; i++) {
        ask(&desk, control, 10 * (uint64_t)(i + 1));
        desk_push_all(&desk, bulk, 0, 1);
        desk_work(&desk);
        position[i] = desk.link[evaluator].last.weights.position;
        if (i == 0)
            assert_int_equal(evaluate(&desk, control, position[0]), TW_OK);
    }
    /* As after a reconnect: it does not know whether the first one came through. */
    assert_int_equal(evaluate(&desk, control, position[0]), TW_OK);
    assert_int_equal(desk_count(&desk, TW_EVENT_EVALUATED), 1);
    assert_int_equal(evaluate(&desk, control, position[1]), TW_OK);
    assert_int_equal(evaluate(&desk, control, position[1]), TW_OK);
    assert_int_equal(desk_count(&desk, TW_EVENT_EVALUATED), 2);
    desk_fini(&desk);
}

static void test_an_evaluation_of_what_was_not_sent_is_refused(void **state) {
    for (int i = 0; i < 2; i++) {
        struct desk desk;
        uint32_t control, evaluator;
        uint32_t bulk = evaluated_desk(&desk, &control, &evaluator);
        assert_int_equal(evaluate(&desk, control, i ? 1 : 0), TW_UNEXPECTED);
        desk_closed(&desk, control, TW_UNEXPECTED, "the weights sent were those of position 0");
        desk_closed(&desk, evaluator, TW_CLOSED, "other connection");
        assert_int_equal(desk_count(&desk, TW_EVENT_EVALUATED), 0);
        desk_push_all(&desk, bulk, 0, 1); /* and the worker goes on */
        desk_work(&desk);
        assert_int_equal(desk.link[bulk].last.weights.version, 1);
        desk_fini(&desk);
    }
}

static void test_there_is_one_evaluator(void **state) {
    struct desk desk;
    uint32_t control, evaluator;
    evaluated_desk(&desk, &control, &evaluator);
    desk_closed(&desk, desk_join(&desk, TW_ROLE_EVALUATOR, -1), TW_RANK_TAKEN,
                "there is an evaluator already");
    desk_lose(&desk, evaluator);
    desk_closed(&desk, control, TW_CLOSED, "the evaluator's other connection");
    uint32_t next = desk_join(&desk, TW_ROLE_EVALUATOR, -1);
    assert_int_equal(desk.link[next].last.welcome.incarnation, 2);
    desk_attach(&desk, next, TW_ROLE_EVALUATOR);
    struct tw_frame join = desk_join_frame(TW_ROLE_EVALUATOR, -1);
    join.join.incarnation = 1;
    join.join.session = (struct tw_view){desk.link[control].session, TW_SESSION_BYTES};
    desk_closed(&desk, desk_join_with(&desk, &join), TW_FENCED, "another evaluator has taken over");
    desk_fini(&desk);
}

static void test_an_evaluator_may_not_push(void **state) {
    struct desk desk;
    uint32_t control, evaluator;
    void *place;
    evaluated_desk(&desk, &control, &evaluator);
    struct tw_frame push = desk_push_frame(0, 1, 1, 0);
    assert_int_equal(desk_data(&desk, evaluator, &push, &place), TW_UNEXPECTED);
    desk_closed(&desk, evaluator, TW_UNEXPECTED, "Push came where only nothing may come");
    desk_fini(&desk);
}

/* ---- the end ---- */

static void test_finished_is_told_when_the_weights_are_final(void **state) {
    struct desk desk;
    struct tw_node_config config = desk_config(&desk, "async", 1);
    config.sequencer.end_updates = 1;
    desk_init(&desk, &config);
    uint32_t control, bulk = desk_worker(&desk, 0, &control);
    desk_push_all(&desk, bulk, 0, 1);
    float before = tw_shard_weights(tw_node_shard(desk.node), 1)[0];
    while (desk_count(&desk, TW_EVENT_FINISHED) == 0) {
        tw_node_work(desk.node);
        desk_drain(&desk);
    }
    assert_false(tw_shard_weights(tw_node_shard(desk.node), 1)[0] == before);
    tw_node_goodbye(desk.node, TW_OK, "done");
    desk_drain(&desk);
    assert_int_equal(desk.link[control].last.body, TW_BODY_STOP);
    desk_closed(&desk, desk_join(&desk, TW_ROLE_WORKER, -1), TW_STOPPED, "the run is over");
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_push_of_all_is_an_update),
        cmocka_unit_test(test_the_end_of_an_update_is_told_with_the_weights_that_follow),
        cmocka_unit_test(test_a_worker_of_several_slots_pushes_as_the_first),
        cmocka_unit_test(test_a_worker_pushes_for_itself_only),
        cmocka_unit_test(test_pushes_that_cannot_be_are_refused),
        cmocka_unit_test(test_a_connection_lost_in_mid_chunk_gives_its_place_back),
        cmocka_unit_test(test_a_paused_connection_is_resumed_when_there_is_a_place),
        cmocka_unit_test(test_a_takeover_tells_the_others_to_send_again),
        cmocka_unit_test(test_a_push_that_is_not_finite_is_reported),
        cmocka_unit_test(test_the_evaluator_asks_gets_weights_and_answers),
        cmocka_unit_test(test_an_evaluation_sent_again_counts_once),
        cmocka_unit_test(test_an_evaluation_of_what_was_not_sent_is_refused),
        cmocka_unit_test(test_there_is_one_evaluator),
        cmocka_unit_test(test_an_evaluator_may_not_push),
        cmocka_unit_test(test_finished_is_told_when_the_weights_are_final),
    };
    return cmocka_run_group_tests_name("node at work", tests, NULL, NULL);
}
