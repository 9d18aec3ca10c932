/* Operators at a node: they come and go, ask, and nobody waits for them. */
#include "tests/unit/node_desk.h"

static uint32_t join_operator(struct desk *desk) {
    struct tw_frame join = {.body = TW_BODY_JOIN};
    join.join.role = TW_ROLE_OPERATOR;
    return desk_join_with(desk, &join);
}

static enum tw_status ask(struct desk *desk, uint32_t at, uint32_t first, uint32_t ranks) {
    struct tw_frame query = {.body = TW_BODY_QUERY, .query = {first, ranks}};
    return desk_say(desk, at, &query, NULL);
}

static void test_an_operator_is_welcome_without_tensors(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 3);
    uint32_t at = join_operator(&desk);
    assert_int_equal(desk.link[at].last.body, TW_BODY_WELCOME);
    assert_int_equal(desk.link[at].last.welcome.workers, 3);
    assert_int_equal(desk.link[at].last.welcome.servers, 1);
    assert_int_equal(desk.link[at].last.welcome.session.size, 0);
    assert_false(tw_node_is_pending(desk.node, at));
    assert_int_equal(desk.events, 0);
    desk_fini(&desk);
}

static void test_an_operator_takes_no_rank_and_may_go(void **state) {
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 1);
    uint32_t at = join_operator(&desk);
    uint32_t bulk = desk_worker(&desk, -1, &control);
    assert_int_equal(desk.link[control].last.welcome.rank, 0);
    assert_int_equal(desk_count(&desk, TW_EVENT_STARTED), 1);
    desk_push_all(&desk, bulk, 0, 1);
    desk_work(&desk);
    assert_int_equal(tw_sequencer_version(tw_node_sequencer(desk.node)), 1);
    desk_lose(&desk, at);
    uint32_t next = join_operator(&desk);
    assert_int_equal(desk_body(&desk, next, TW_BODY_BYE), TW_OK);
    assert_int_equal(desk_count(&desk, TW_EVENT_LEFT), 0);
    assert_true(desk.link[control].open && desk.link[bulk].open);
    desk_push_all(&desk, bulk, 0, 1);
    desk_work(&desk);
    assert_int_equal(tw_sequencer_version(tw_node_sequencer(desk.node)), 2);
    desk_fini(&desk);
}

static void test_one_operator_too_many_is_refused(void **state) {
    struct desk desk;
    uint32_t at[TW_OPERATORS_MAX];
    desk_usual(&desk, "sync", 1);
    for (int i = 0; i < TW_OPERATORS_MAX; i++)
        at[i] = join_operator(&desk);
    desk_closed(&desk, join_operator(&desk), TW_LIMIT, "4 operators are connected already");
    desk_lose(&desk, at[2]);
    assert_true(desk.link[join_operator(&desk)].open);
    desk_fini(&desk);
}

static void expect_query(const struct desk *desk, uint32_t at, uint32_t rank, uint32_t ranks) {
    const struct tw_node_event *event = &desk->event[desk->events - 1];
    assert_int_equal(event->kind, TW_EVENT_QUERY);
    assert_int_equal(event->connection, at);
    assert_int_equal(event->rank, rank);
    assert_int_equal(event->ranks, ranks);
}

static void test_a_query_names_ranks_that_exist_and_few(void **state) {
    static const struct {
        uint32_t first, ranks, rank, answered;
    } table[] = {
        {0, 0, 0, 0},
        {0, 10, 0, 10},
        {590, 100, 590, 10},
        {0, UINT32_MAX, 0, TW_STATUS_RANKS_MAX},
        {UINT32_MAX, UINT32_MAX, 600, 0},
    };
    struct desk desk;
    desk_usual(&desk, "async", 600);
    uint32_t at = join_operator(&desk);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(ask(&desk, at, table[i].first, table[i].ranks), TW_OK);
        expect_query(&desk, at, table[i].rank, table[i].answered);
        tw_node_answered(desk.node, at);
    }
    desk_fini(&desk);
}

static void test_one_query_at_a_time(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 1);
    uint32_t at = join_operator(&desk);
    assert_int_equal(ask(&desk, at, 0, 1), TW_OK);
    assert_int_equal(ask(&desk, at, 0, 1), TW_UNEXPECTED);
    desk_closed(&desk, at, TW_UNEXPECTED, "before the last one had been answered");
    uint32_t next = join_operator(&desk); /* of the same number: nothing is left */
    assert_int_equal(next, at);
    assert_int_equal(ask(&desk, next, 0, 1), TW_OK);
    desk_fini(&desk);
}

static void test_an_operator_has_no_bulk_connection(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 1);
    join_operator(&desk);
    uint32_t at = desk_known(&desk);
    struct tw_frame attach = {.body = TW_BODY_ATTACH};
    attach.attach.role = TW_ROLE_OPERATOR;
    assert_int_equal(desk_say(&desk, at, &attach, NULL), TW_UNEXPECTED);
    desk_closed(&desk, at, TW_UNEXPECTED, "an operator has no bulk connection");
    desk_fini(&desk);
}

static void test_an_operator_that_pushes_is_refused(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 1);
    uint32_t at = join_operator(&desk);
    struct tw_frame push = desk_push_frame(0, 1, 1, 0);
    void *place;
    assert_int_equal(desk_data(&desk, at, &push, &place), TW_UNEXPECTED);
    desk_closed(&desk, at, TW_UNEXPECTED, "Push came where only Query, Turn");
    desk_fini(&desk);
}

static void test_operators_are_told_of_the_end_and_then_turned_away(void **state) {
    struct desk desk;
    desk_usual(&desk, "sync", 1);
    uint32_t at = join_operator(&desk);
    tw_node_goodbye(desk.node, TW_OK, "the run is done");
    desk_drain(&desk);
    assert_int_equal(desk.link[at].last.body, TW_BODY_STOP);
    desk_closed(&desk, join_operator(&desk), TW_STOPPED, "the run is over");
    desk_fini(&desk);
}

static void test_an_operator_of_another_run_is_refused(void **state) {
    struct desk desk;
    uint8_t job[TW_JOB_ID_BYTES] = {1};
    desk_usual(&desk, "sync", 1);
    struct tw_frame join = {.body = TW_BODY_JOIN};
    join.join.role = TW_ROLE_OPERATOR;
    join.join.job = (struct tw_view){job, sizeof(job)};
    desk_closed(&desk, desk_join_with(&desk, &join), TW_WRONG_JOB, "another run's server");
    desk_fini(&desk);
}

/* ---- turning the dial ---- */

static enum tw_status ask_turn(struct desk *desk, uint32_t at, const char *mode) {
    struct tw_frame frame = {.body = TW_BODY_TURN};
    frame.turn.mode = (struct tw_view){mode, strlen(mode)};
    return desk_say(desk, at, &frame, NULL);
}

static void test_a_turn_is_answered_with_its_place_in_the_log(void **state) {
    struct desk desk;
    uint32_t control;
    desk_usual(&desk, "sync", 2);
    uint32_t at = join_operator(&desk);
    desk_worker(&desk, -1, &control);
    assert_int_equal(ask_turn(&desk, at, "ssp:03"), TW_OK);
    const struct tw_frame *last = &desk.link[at].last;
    assert_int_equal(last->body, TW_BODY_TURNED);
    assert_int_equal(last->turned.mode.size, 5);
    assert_memory_equal(last->turned.mode.bytes, "ssp:3", 5);
    assert_int_equal(last->turned.version, 0);
    assert_int_equal(last->turned.position, 3); /* JOIN, RELEASE, DIAL */
    assert_int_equal(desk_count(&desk, TW_EVENT_TURNED), 1);
    assert_int_equal(ask_turn(&desk, at, "async"), TW_OK); /* and again */
    desk_fini(&desk);
}

static void test_a_mode_that_cannot_be_changes_nothing(void **state) {
    static const struct {
        const char *mode, *words;
        enum tw_status status;
    } table[] = {
        {"asink", "--mode asink: consistency.mode: unknown mode", TW_JOB},
        {"k-sync:3", "must be from 1 to 2", TW_JOB},
        {"hogwild", "from its start to its end, or never; this one is in \"sync\"", TW_UNSUPPORTED},
        {"sync", "the mode is \"sync\" already", TW_UNEXPECTED},
        {"", "1 to 64 bytes", TW_MALFORMED},
        {"k-batch-async:0000000000000000000000000000000000000000000000000001", "1 to 64 bytes",
         TW_MALFORMED},
    };
    struct desk desk;
    desk_usual(&desk, "sync", 2);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint32_t at = join_operator(&desk);
        assert_int_equal(ask_turn(&desk, at, table[i].mode), table[i].status);
        desk_closed(&desk, at, table[i].status, table[i].words);
    }
    assert_int_equal(tw_sequencer_position(tw_node_sequencer(desk.node)), 0);
    assert_int_equal(desk_count(&desk, TW_EVENT_TURNED), 0);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_operator_is_welcome_without_tensors),
        cmocka_unit_test(test_an_operator_takes_no_rank_and_may_go),
        cmocka_unit_test(test_one_operator_too_many_is_refused),
        cmocka_unit_test(test_a_query_names_ranks_that_exist_and_few),
        cmocka_unit_test(test_one_query_at_a_time),
        cmocka_unit_test(test_an_operator_has_no_bulk_connection),
        cmocka_unit_test(test_an_operator_that_pushes_is_refused),
        cmocka_unit_test(test_operators_are_told_of_the_end_and_then_turned_away),
        cmocka_unit_test(test_an_operator_of_another_run_is_refused),
        cmocka_unit_test(test_a_turn_is_answered_with_its_place_in_the_log),
        cmocka_unit_test(test_a_mode_that_cannot_be_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
