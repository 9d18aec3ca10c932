/* What `talweg status` prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "cli/status_text.h"

static struct tw_told_run usual(struct tw_told_rank *rank, uint32_t count) {
    struct tw_told_run run = {.count = count, .rank = rank};
    run.status = (struct tw_run_status){
        .phase = TW_PHASE_TRAINING,
        .workers = count,
        .version = 1234,
        .samples = 157952,
        .samples_total = 600000,
        .epoch = 2.632,
        .seconds = 30,
        .samples_per_second = 5265.2,
        .train_loss = 0.25,
        .update_seconds = 0.025,
        .since_update = 5.04,
    };
    strcpy(run.mode, "sync");
    return run;
}

static struct tw_told_rank waiting_rank(uint32_t number) {
    struct tw_told_rank rank = {.status = {.rank = number,
                                           .state = TW_RANK_WAITING,
                                           .step = 1235,
                                           .since = 5,
                                           .computing = 10,
                                           .waiting = 15,
                                           .network = 5,
                                           .culprit = 2,
                                           .culprit_seconds = 2.3}};
    return rank;
}

static void expect_text(const struct tw_told_run *run, bool all, const char *expected) {
    struct tw_text text = {0};
    tw_status_to_text(&text, run, "runs/first", all);
    assert_string_equal(text.at, expected);
    tw_text_fini(&text);
}

static void a_run_that_waits_says_for_whom(void **state) {
    struct tw_told_rank rank[2] = {waiting_rank(0), waiting_rank(1)};
    struct tw_told_run run = usual(rank, 2);
    rank[1].status.state = TW_RANK_COMPUTING;
    rank[1].status.since = 5.1;
    rank[1].status.silent = 5.2;
    rank[1].status.culprit = 0;
    strcpy(run.waiting, "for rank 1, which has been computing step 1235 for 5 s");
    expect_text(
        &run, false,
        "runs/first: training, sync, 2 workers\n"
        "1,234 updates  epoch 2.63  30 s of training  5,265 samples/s  train loss 0.2500\n"
        "157,952 of 600,000 samples  staleness 0.00 on average, at most 0\n"
        "an update comes every 25 ms; the last one 5.0 s ago\n"
        "waiting for rank 1, which has been computing step 1235 for 5 s\n"
        "\n"
        "worker      step  now                           computing waiting network  waited "
        "for\n"
        "     0      1235  waiting 5.0 s                      33 %    50 %    17 %  worker 1 "
        "(2.3 s)\n"
        "     1      1235  computing 5.1 s, silent 5.2 s      33 %    50 %    17 %\n");
}

static void a_run_that_has_not_begun(void **state) {
    struct tw_told_rank rank[1] = {{.status = {.state = TW_RANK_ABSENT}}};
    struct tw_told_run run = {.count = 1, .rank = rank, .status = {.workers = 1}};
    run.status.train_loss = (double)NAN;
    strcpy(run.mode, "async");
    expect_text(&run, false,
                "runs/first: waiting until all workers have joined, async, 1 worker\n"
                "0 updates  0.0 s of training\n"
                "0 samples  staleness 0.00 on average, at most 0\n"
                "\n"
                "worker      step  now                           computing waiting network  waited "
                "for\n"
                "     0         0  has not joined               \n");
}

static size_t lines_of(const struct tw_told_run *run, bool all, const char *first) {
    struct tw_text text = {0};
    size_t lines = 0;
    tw_status_to_text(&text, run, "r", all);
    const char *table = strstr(text.at, "worker      step");
    assert_non_null(table);
    table = strchr(table, '\n') + 1;
    if (strncmp(table, first, strlen(first)) != 0)
        fail_msg("\"%.60s\" does not begin with \"%s\"", table, first);
    for (const char *at = table; *at; at++)
        lines += *at == '\n';
    tw_text_fini(&text);
    return lines;
}

static void of_many_workers_those_that_matter_are_shown(void **state) {
    struct tw_told_rank *rank = calloc(1000, sizeof *rank);
    assert_non_null(rank);
    for (uint32_t i = 0; i < 1000; i++)
        rank[i] = waiting_rank(i);
    struct tw_told_run run = usual(rank, 1000);
    rank[700].status.state = TW_RANK_SENDING;
    assert_int_equal(lines_of(&run, false, "   700 "), TW_STATUS_LINES + 1);
    rank[900].status.state = TW_RANK_GONE;
    rank[900].status.away = 1;
    assert_int_equal(lines_of(&run, false, "   900 "), TW_STATUS_LINES + 1);
    assert_int_equal(lines_of(&run, true, "     0 "), 1000);
    run.count = TW_STATUS_LINES;
    assert_int_equal(lines_of(&run, false, "     0 "), TW_STATUS_LINES);
    free(rank);
}

static void numbers_of_a_newer_server_have_no_name(void **state) {
    struct tw_told_rank rank[1] = {waiting_rank(0)};
    struct tw_told_run run = usual(rank, 1);
    struct tw_text text = {0};
    rank[0].status.state = (enum tw_rank_state)77;
    run.status.phase = (enum tw_phase)77;
    tw_status_to_text(&text, &run, "r", false);
    assert_non_null(strstr(text.at, "r: ?, sync"));
    assert_non_null(strstr(text.at, "  ? 5.0 s"));
    tw_text_fini(&text);
}

static void one_object_holds_everything(void **state) {
    struct tw_told_rank rank[1] = {waiting_rank(0)};
    struct tw_told_run run = usual(rank, 1);
    struct tw_text text = {0};
    run.status.samples_total = 0;
    run.status.train_loss = (double)NAN;
    strcpy(rank[0].peer, "10.0.0.7:5123");
    tw_status_to_json(&text, &run, "runs/first");
    assert_string_equal(
        text.at,
        "{\"status\":\"running\",\"error\":null,\"run\":\"runs/first\",\"mode\":\"sync\","
        "\"phase\":\"training\",\"workers\":1,\"updates\":1234,\"samples\":157952,"
        "\"samples_total\":null,\"epoch\":2.632,\"seconds\":30,\"samples_per_second\":5265.2,"
        "\"train_loss\":null,\"staleness_mean\":0,\"staleness_max\":0,\"dropped\":0,"
        "\"update_seconds\":0.025,\"since_update\":5.04,\"waiting\":null,\"ranks\":[{\"rank\":0,"
        "\"state\":\"waiting\",\"step\":1235,\"since\":5,\"silent\":0,\"computing\":10,"
        "\"waiting\":15,\"network\":5,\"away\":0,\"waited_for\":1,\"waited_for_seconds\":2.3,"
        "\"others_waited\":0,\"peer\":\"10.0.0.7:5123\"}]}\n");
    tw_text_fini(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_waits_says_for_whom),
        cmocka_unit_test(a_run_that_has_not_begun),
        cmocka_unit_test(of_many_workers_those_that_matter_are_shown),
        cmocka_unit_test(numbers_of_a_newer_server_have_no_name),
        cmocka_unit_test(one_object_holds_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
