/* A server that trains: exact weights, reports, metrics, members that come and go. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/scripted_peer.h"
#include "tests/integration/server_child.h"

static struct server_child server;
static struct actor one, two, judge;
static float expected[MODEL_ELEMENTS];

static int begin(void **state) {
    memset(expected, 0, sizeof(expected));
    one = two = judge = (struct actor){0};
    return 0;
}

static int end(void **state) {
    server_discard(&server);
    actor_lose(&one);
    actor_lose(&two);
    actor_lose(&judge);
    return 0;
}

static void check_begins(const char *text, const char *with) {
    if (strncmp(text, with, strlen(with)) != 0)
        fail_msg("\"%.60s\" does not begin with \"%s\"", text, with);
}

/* Whoever else is waited for first, on a machine where joining takes its time. */
static void await_waiting(const char *with) {
    const struct tw_report *report = server_await(&server, TW_REPORT_WAITING);
    while (strncmp(report->text, with, strlen(with)) != 0)
        report = server_await(&server, TW_REPORT_WAITING);
}

static void check_weights(const struct actor *actor) {
    assert_memory_equal(actor->weights, expected, sizeof(expected));
}

/* Both push the next step of a synchronous run. */
static void update_both(void) {
    actor_take(&one);
    actor_take(&two);
    check_weights(&one);
    check_weights(&two);
    actor_push(&one);
    actor_push(&two);
    model_update(expected, 0.5f, 0, 1, one.step);
}

static void leave(enum tw_status status) {
    actor_leave(&one, status);
    if (two.control)
        actor_leave(&two, status);
    if (judge.control)
        actor_leave(&judge, status);
}

static void a_sync_run_gives_exactly_the_weights_of_sgd(void **state) {
    server_start(&server, &(struct server_script){.workers = 2, .updates = 5});
    actor_join(&one, server.port, 0);
    const struct tw_report *report = server_expect(&server, TW_REPORT_JOINED);
    assert_int_equal(report->rank, 0);
    assert_int_equal(report->incarnation, 1);
    check_begins(report->peer, "127.0.0.1:");
    actor_join(&two, server.port, 1);
    server_expect(&server, TW_REPORT_JOINED);
    server_expect(&server, TW_REPORT_STARTED);
    for (int i = 0; i < 5; i++)
        update_both();
    leave(TW_OK);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->status, TW_OK);
    assert_int_equal(result->updates, 5);
    assert_int_equal(result->samples, 5 * 2 * PUSH_EXAMPLES);
    assert_true(result->train_loss == 3.0);
    assert_true(result->staleness_mean == 0);
    assert_int_equal(result->staleness_max, 0);
    assert_int_equal(strlen(result->model_sha256), 64);
    server_check_model(&server, expected);
    server_clean(&server);
}

static void an_async_run_counts_staleness(void **state) {
    server_start(&server, &(struct server_script){.mode = "async", .workers = 2, .updates = 3});
    actor_join(&one, server.port, 0);
    actor_join(&two, server.port, 1);
    actor_take(&one);
    actor_take(&two);
    for (int i = 0; i < 2; i++) { /* two of the first while the second computes */
        actor_push(&one);
        model_update(expected, 0.5f, 0, 0, one.step);
        actor_take(&one);
        check_weights(&one);
    }
    actor_push(&two);
    model_update(expected, 0.5f, 1, 1, two.step);
    leave(TW_OK);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->updates, 3);
    assert_int_equal(result->staleness_max, 2);
    assert_true(result->staleness_mean == 2.0 / 3);
    server_check_model(&server, expected);
    server_clean(&server);
}

static void ask(struct actor *actor, uint64_t samples) {
    struct tw_frame frame = {.body = TW_BODY_ASK};
    frame.ask.samples = samples;
    peer_send(actor->control, &frame, NULL);
}

static void evaluate(struct actor *actor, double loss, double accuracy) {
    struct tw_frame frame = {.body = TW_BODY_EVALUATION};
    frame.evaluation.position = actor->position;
    frame.evaluation.samples = 10;
    frame.evaluation.loss = loss;
    frame.evaluation.accuracy = accuracy;
    peer_send(actor->control, &frame, NULL);
}

/* An epoch is two updates of four examples. */
static const struct server_script with_judge = {
    .workers = 2, .updates = 4, .train_samples = 8, .evaluator = true};

static void join_all_three(void) {
    actor_join(&one, server.port, 0);
    actor_join(&two, server.port, 1);
    actor_join_evaluator(&judge, server.port);
    ask(&judge, 8);
    server_await(&server, TW_REPORT_STARTED);
}

static void metrics_hold_a_line_per_epoch_with_its_evaluation(void **state) {
    server_start(&server, &with_judge);
    join_all_three();
    for (int epoch = 1; epoch <= 2; epoch++) {
        update_both();
        update_both();
        actor_take(&judge);
        check_weights(&judge);
        assert_int_equal(judge.version, 2 * epoch);
        evaluate(&judge, 1.0 / epoch, 0.5 * epoch);
        ask(&judge, 8 * (uint64_t)(epoch + 1));
        const struct tw_report *report = server_expect(&server, TW_REPORT_EPOCH);
        assert_int_equal(report->updates, 2 * epoch);
        assert_true(report->epoch == epoch);
        assert_true(report->test_accuracy == 0.5 * epoch);
        assert_true(report->train_loss == 3.0);
    }
    leave(TW_OK);
    const struct tw_result *result = server_end(&server);
    assert_true(result->test_loss == 0.5);
    assert_true(result->test_accuracy == 1.0);
    char *metrics = server_file(&server, "metrics.jsonl");
    char *second = strchr(metrics, '\n') + 1;
    check_begins(metrics, "{\"epoch\":1,\"updates\":2,\"samples\":8,\"seconds\":");
    check_begins(second, "{\"epoch\":2,\"updates\":4,\"samples\":16,\"seconds\":");
    assert_non_null(strstr(
        second, "\"lr\":0.5,\"train_loss\":3,\"train_accuracy\":null,\"test_loss\":0.5,"
                "\"test_accuracy\":1,\"staleness_mean\":0,"
                "\"staleness_max\":0,\"chunk_staleness_mean\":null,\"chunk_staleness_max\":null,"
                "\"dropped\":0,\"not_finite\":0,\"computing\":"));
    assert_non_null(strstr(second, "\"waited_for_seconds\":"));
    assert_string_equal(strchr(second, '\n'), "\n");
    free(metrics);
    server_clean(&server);
}

static void an_epoch_that_an_update_overshoots_has_its_whole_number(void **state) {
    /* n = 3, updates of 2: epochs end at 4 and 6, the run in the middle of one. */
    server_start(&server, &(struct server_script){.updates = 4, .train_samples = 3});
    actor_join(&one, server.port, 0);
    for (int i = 0; i < 4; i++) {
        actor_take(&one);
        actor_push(&one);
    }
    leave(TW_OK);
    server_end(&server);
    char *metrics = server_file(&server, "metrics.jsonl"), *line = metrics;
    check_begins(line, "{\"epoch\":1,\"updates\":2,\"samples\":4,");
    line = strchr(line, '\n') + 1;
    check_begins(line, "{\"epoch\":2,\"updates\":3,\"samples\":6,");
    line = strchr(line, '\n') + 1;
    check_begins(line, "{\"epoch\":2.6666666666666665,\"updates\":4,");
    assert_string_equal(strchr(line, '\n'), "\n");
    free(metrics);
    server_clean(&server);
}

static void an_evaluation_of_older_weights_is_not_the_result(void **state) {
    server_start(&server, &with_judge);
    join_all_three();
    update_both();
    update_both();
    actor_take(&judge);
    evaluate(&judge, 1, 0.5);
    ask(&judge, 16);
    server_expect(&server, TW_REPORT_EPOCH);
    update_both();
    actor_take(&one); /* it is applied */
    kill(server.pid, SIGTERM);
    leave(TW_INTERRUPTED);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->updates, 3);
    assert_true(isnan(result->test_loss) && isnan(result->test_accuracy));
    assert_true(result->train_loss == 3.0);
    server_clean(&server);
}

/* One waits for its first weights, one for those of a border, and neither takes
 * them; meanwhile the third changes them. */
static void nobody_has_to_wait_for_those_who_read_slowly(void **state) {
    server_start(
        &server,
        &(struct server_script){
            .mode = "async", .workers = 2, .updates = 8, .train_samples = 8, .evaluator = true});
    two.narrow = judge.narrow = true;
    join_all_three();
    static float at_border[MODEL_ELEMENTS];
    for (int i = 0; i < 7; i++) {
        actor_take(&one);
        check_weights(&one);
        actor_push(&one);
        model_update(expected, 0.5f, 0, 0, one.step);
        if (i == 3)
            memcpy(at_border, expected, sizeof(at_border));
    }
    actor_take(&judge);
    assert_int_equal(judge.version, 4);
    assert_memory_equal(judge.weights, at_border, sizeof(at_border));
    evaluate(&judge, 1, 1);
    ask(&judge, 16);
    actor_take(&two);
    assert_int_equal(two.version, 0);
    for (int i = 0; i < MODEL_ELEMENTS; i++)
        assert_true(two.weights[i] == 0);
    actor_take(&one);
    actor_push(&one);
    actor_take(&judge);
    evaluate(&judge, 1, 1);
    ask(&judge, 24);
    leave(TW_OK);
    server_end(&server);
    server_clean(&server);
}

static void training_does_not_start_without_the_evaluator(void **state) {
    struct server_script script = with_judge;
    script.limits.waiting_ms = 200;
    server_start(&server, &script);
    actor_join(&one, server.port, 0);
    actor_join(&two, server.port, 1);
    await_waiting("for the evaluator, which has not joined for");
    actor_join_evaluator(&judge, server.port);
    server_await(&server, TW_REPORT_STARTED);
    ask(&judge, 8);
    for (int i = 0; i < 4; i++) {
        update_both();
        if (i % 2) {
            actor_take(&judge);
            evaluate(&judge, 1, 0);
            ask(&judge, 16);
        }
    }
    leave(TW_OK);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_clean(&server);
}

static void lines_wait_no_longer_for_an_evaluator_that_is_gone(void **state) {
    server_start(&server, &with_judge);
    join_all_three();
    update_both();
    update_both();
    actor_take(&judge);
    actor_lose(&judge);
    const struct tw_report *report = server_expect(&server, TW_REPORT_EPOCH);
    assert_true(report->test_accuracy != report->test_accuracy); /* NaN */
    update_both();
    update_both();
    leave(TW_OK);
    server_expect(&server, TW_REPORT_EPOCH);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->status, TW_OK);
    assert_true(result->test_loss != result->test_loss);
    char *metrics = server_file(&server, "metrics.jsonl");
    assert_non_null(strstr(metrics, "\"test_loss\":null,\"test_accuracy\":null"));
    free(metrics);
    server_clean(&server);
}

static void progress_is_told_at_most_ten_times_a_second(void **state) {
    enum { REPORTS = 5 };
    server_start(&server, &(struct server_script){.updates = 1000000, .progress = true});
    actor_join(&one, server.port, 0);
    server_await(&server, TW_REPORT_STARTED);
    unsigned reports = 0;
    uint64_t updates = 0;
    while (reports < REPORTS) {
        actor_take(&one);
        actor_push(&one);
        const struct tw_report *report = server_hear(&server);
        if (!report || report->kind != TW_REPORT_PROGRESS)
            continue;
        assert_true(report->updates > updates);
        assert_true(report->samples == report->updates * PUSH_EXAMPLES);
        updates = report->updates;
        reports++;
        /* The server's clock has milliseconds. */
        assert_true(reports <= (report->seconds + 0.001) * 10 + 1);
    }
    kill(server.pid, SIGTERM);
    leave(TW_INTERRUPTED);
    server_end(&server);
    server_clean(&server);
}

static void no_progress_is_told_when_there_is_none(void **state) {
    struct server_script script = {.updates = 1, .progress = true, .limits.waiting_ms = 400};
    server_start(&server, &script);
    actor_join(&one, server.port, 0);
    server_await(&server, TW_REPORT_STARTED);
    server_expect(&server, TW_REPORT_WAITING);
    actor_take(&one);
    actor_push(&one);
    leave(TW_OK);
    server_end(&server);
    server_clean(&server);
}

/* ---- members ---- */

static void a_worker_that_comes_back_goes_on_where_it_was(void **state) {
    server_start(&server, &(struct server_script){.workers = 2, .updates = 3});
    actor_join(&one, server.port, 0);
    actor_join(&two, server.port, 1);
    update_both();
    actor_take(&one);
    actor_take(&two);
    actor_push(&two);
    actor_push_chunk(&one, 0); /* cut off between two chunks */
    actor_lose(&one);
    const struct tw_report *report = server_await(&server, TW_REPORT_LEFT);
    assert_int_equal(report->rank, 0);
    actor_resume(&one);
    assert_int_equal(one.incarnation, 1);
    assert_true(one.last_step < one.step);
    actor_push(&one);
    model_update(expected, 0.5f, 0, 1, one.step);
    update_both();
    leave(TW_OK);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_check_model(&server, expected);
    server_clean(&server);
}

static void a_chunk_cut_in_the_middle_is_sent_again(void **state) {
    server_start(&server, &(struct server_script){.workers = 1, .updates = 1});
    actor_join(&one, server.port, 0);
    actor_take(&one);
    static const float part[100];
    struct tw_frame frame = {.body = TW_BODY_PUSH, .data_bytes = TW_CHUNK_BYTES_DEFAULT};
    unsigned char prefix[128];
    frame.push.incarnation = 1;
    frame.push.step = one.step;
    peer_send_bytes(one.bulk, prefix, tw_frame_encode(&frame, prefix, sizeof(prefix)));
    peer_send_bytes(one.bulk, part, sizeof(part));
    actor_lose(&one);
    actor_resume(&one);
    actor_push(&one);
    model_update(expected, 0.5f, 0, 0, one.step);
    leave(TW_OK);
    server_end(&server);
    server_check_model(&server, expected);
    server_clean(&server);
}

static void a_successor_takes_over_and_the_old_one_is_fenced(void **state) {
    server_start(&server, &(struct server_script){.workers = 2, .updates = 3});
    actor_join(&one, server.port, 0);
    actor_join(&two, server.port, 1);
    update_both();
    actor_take(&one);
    actor_take(&two);
    actor_push(&one);
    actor_push(&two); /* voted, so perhaps committed: the update is complete */
    model_update(expected, 0.5f, 0, 1, one.step);
    actor_take(&one);
    actor_push_chunk(&one, 0);
    struct actor old = two;
    actor_lose(&two);
    server_await(&server, TW_REPORT_LEFT);
    actor_join(&two, server.port, 1);
    assert_int_equal(two.incarnation, 2);
    assert_int_equal(two.last_step, 2);
    /* The old one, with its own key. */
    struct peer *peer = peer_connect(server.port);
    struct tw_frame join = join_frame(1);
    join.join.incarnation = old.incarnation;
    join.join.session = (struct tw_view){old.session, sizeof(old.session)};
    peer_hello(peer);
    peer_prove(peer, NULL);
    peer_send(peer, &join, NULL);
    peer_expect_refuse(peer, TW_FENCED);
    peer_close(peer);
    /* What was gathered of this update is gathered once more. */
    peer_expect(one.bulk, TW_BODY_REGATHER);
    actor_push(&one);
    actor_take(&two);
    check_weights(&two);
    actor_push(&two);
    model_update(expected, 0.5f, 0, 1, one.step);
    leave(TW_OK);
    assert_int_equal(server_end(&server)->updates, 3);
    server_check_model(&server, expected);
    server_clean(&server);
}

/* Nothing but the tempo of the updates before makes it speak up here. */
static void an_update_that_takes_ten_times_as_long_is_said(void **state) {
    struct server_script script = {
        .workers = 2, .updates = 12, .times = true, .limits.waiting_ms = 3600 * 1000};
    server_start(&server, &script);
    actor_join(&one, server.port, 0);
    actor_join(&two, server.port, 1);
    server_await(&server, TW_REPORT_STARTED);
    for (int i = 0; i < 11; i++)
        update_both();
    actor_take(&two);
    actor_take(&one);
    actor_push(&one);
    await_waiting("for rank 1, which has been computing step 12 for ");
    assert_int_equal(server.last.rank, 1);
    actor_push(&two);
    model_update(expected, 0.5f, 0, 1, one.step);
    leave(TW_OK);
    check_begins(server_await(&server, TW_REPORT_TIMES)->text, "worker 0: ");
    assert_non_null(strstr(server.last.text, " % for worker 1)"));
    check_begins(server_expect(&server, TW_REPORT_TIMES)->text, "worker 1: ");
    server_end(&server);
    server_clean(&server);
}

static void a_straggler_is_named_in_any_mode(void **state) {
    struct server_script script = {
        .workers = 2, .updates = 3, .mode = "async", .limits.straggler_ms = 300};
    server_start(&server, &script);
    actor_join(&one, server.port, 0);
    actor_join(&two, server.port, 1);
    server_await(&server, TW_REPORT_STARTED);
    actor_take(&two);
    for (int i = 0; i < 2; i++) {
        actor_take(&one);
        actor_push(&one);
    }
    actor_take(&one);
    const struct tw_report *report = server_await(&server, TW_REPORT_STRAGGLER);
    while (report->rank != 1)
        report = server_await(&server, TW_REPORT_STRAGGLER);
    check_begins(report->text, "rank 1, ");
    assert_non_null(strstr(report->text, "step 1 "));
    actor_push(&two);
    leave(TW_OK);
    server_end(&server);
    server_clean(&server);
}

static void who_is_missing_is_said_by_name(void **state) {
    struct server_script script = {.workers = 2, .updates = 2, .limits.waiting_ms = 200};
    server_start(&server, &script);
    actor_join(&one, server.port, 0);
    await_waiting("for rank 1, which has not joined for");
    assert_int_equal(server.last.rank, 1);
    actor_join(&two, server.port, -1);
    assert_int_equal(two.rank, 1);
    update_both();
    actor_take(&two);
    actor_take(&one);
    actor_push(&one);
    await_waiting("for rank 1, which has been computing step 2 for");
    actor_lose(&two);
    await_waiting("for rank 1, which has been gone for");
    actor_join(&two, server.port, 1);
    actor_take(&two);
    peer_expect(one.bulk, TW_BODY_REGATHER);
    actor_push(&one);
    actor_push(&two);
    model_update(expected, 0.5f, 0, 1, one.step);
    leave(TW_OK);
    server_end(&server);
    server_check_model(&server, expected);
    server_clean(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_sync_run_gives_exactly_the_weights_of_sgd),
        TEST(an_async_run_counts_staleness),
        TEST(metrics_hold_a_line_per_epoch_with_its_evaluation),
        TEST(an_epoch_that_an_update_overshoots_has_its_whole_number),
        TEST(an_evaluation_of_older_weights_is_not_the_result),
        TEST(nobody_has_to_wait_for_those_who_read_slowly),
        TEST(training_does_not_start_without_the_evaluator),
        TEST(lines_wait_no_longer_for_an_evaluator_that_is_gone),
        TEST(progress_is_told_at_most_ten_times_a_second),
        TEST(no_progress_is_told_when_there_is_none),
        TEST(a_worker_that_comes_back_goes_on_where_it_was),
        TEST(a_chunk_cut_in_the_middle_is_sent_again),
        TEST(a_successor_takes_over_and_the_old_one_is_fenced),
        TEST(an_update_that_takes_ten_times_as_long_is_said),
        TEST(a_straggler_is_named_in_any_mode),
        TEST(who_is_missing_is_said_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
