/* The client library against a server of its own making: real sockets, real threads. */
#include "tests/integration/talweg_bench.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- working ---- */

static void weights_move_as_the_gradients_say(void **state) {
    struct fake_script script = {.stop_after_steps = 20};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_OK);
    struct talweg_place place = talweg_get_place(bench.talweg);
    assert_int_equal(place.workers, 1);
    assert_int_equal(place.incarnation, 1);
    train_steps(&bench, 20);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_STOP);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_STOP);
    await(&bench.server.byes, 1);
    assert_int_equal(atomic_load(&bench.server.duplicates), 0);
    assert_int_equal(atomic_load(&bench.server.joins), 1);
    bench_fini(&bench);
}

static void a_push_leaves_while_the_program_computes(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    uint64_t step;
    int64_t before = large;
    large = 4 << 20; /* 16 MiB: far more than kernel buffers hold */
    bench_init(&bench, &script);
    large = before;
    assert_int_equal(join(&bench), TALWEG_OK);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
    assert_int_equal(talweg_push_tensor(bench.talweg, 0, bench.gradient[0]), TALWEG_OK);
    await(&bench.server.pushes, (int)bench.server.layout.chunks - 1);
    assert_int_equal(talweg_push_tensor(bench.talweg, 1, bench.gradient[1]), TALWEG_OK);
    assert_int_equal(talweg_push_end(bench.talweg, 1, 0), TALWEG_OK);
    await(&bench.server.steps, 1);
    bench_fini(&bench);
}

static void heartbeats_leave_while_the_program_computes(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_OK);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
    await(&bench.server.pings, 2);
    push_step(&bench, 1);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
    bench_fini(&bench);
}

/* Far more than kernel buffers hold, of which the server takes the first chunk. */
static void begin_a_push_that_is_stuck(struct bench *bench, struct fake_script *script) {
    uint64_t step;
    int64_t before = large;
    large = 4 << 20; /* 16 MiB */
    script->full_after_pushes = 1;
    bench_init(bench, script);
    large = before;
    assert_int_equal(join(bench), TALWEG_OK);
    assert_int_equal(talweg_pull(bench->talweg, &step), TALWEG_OK);
    push_step(bench, 1);
    await(&bench->server.pushes, 1);
}

/* More than those that were on their way before. */
static void await_heartbeats(struct bench *bench) {
    await(&bench->server.pings, atomic_load(&bench->server.pings) + 2);
    assert_int_equal(atomic_load(&bench->server.ends), 0);
}

static void *let_it_go_on(void *argument) {
    struct bench *bench = argument;
    int pings = atomic_load(&bench->server.pings);
    double give_up = seconds() + PATIENCE_S;
    while (atomic_load(&bench->server.pings) < pings + 2 && seconds() < give_up)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    bool heard = atomic_load(&bench->server.pings) >= pings + 2;
    fake_server_go_on(&bench->server);
    return heard ? bench : NULL;
}

/* While the program computes, and while it waits in a call. */
static void heartbeats_pass_a_push_that_is_stuck(void **state) {
    struct fake_script script = {.go_on = FAKE_TAKES_PUSHES};
    struct bench bench;
    pthread_t other;
    void *heard;
    uint64_t step;
    begin_a_push_that_is_stuck(&bench, &script);
    await_heartbeats(&bench);
    assert_int_equal(pthread_create(&other, NULL, let_it_go_on, &bench), 0);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
    pthread_join(other, &heard);
    assert_non_null(heard);
    assert_int_equal(step, 2);
    assert_int_equal(atomic_load(&bench.server.joins), 1);
    expect_weights(&bench, 2);
    bench_fini(&bench);
}

static void who_is_stuck_can_leave(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    begin_a_push_that_is_stuck(&bench, &script);
    talweg_leave(bench.talweg);
    bench.talweg = NULL;
    await(&bench.server.byes, 1);
    assert_int_equal(atomic_load(&bench.server.ends), 0);
    bench_fini(&bench);
}

static void a_lost_connection_is_made_again_and_nothing_is_lost_or_doubled(void **state) {
    for (int pushes = 1; pushes <= 9; pushes += 2) {
        struct fake_script script = {.lose_after_pushes = pushes, .stop_after_steps = 5};
        struct bench bench;
        uint64_t step;
        bench_init(&bench, &script);
        assert_int_equal(join(&bench), TALWEG_OK);
        train_steps(&bench, 5);
        assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_STOP);
        assert_int_equal(atomic_load(&bench.server.losses), 1);
        assert_int_equal(atomic_load(&bench.server.joins), 2);
        assert_int_equal(atomic_load(&bench.server.joined_incarnation), 1);
        bench_fini(&bench);
    }
}

static void regather_sends_the_push_again(void **state) {
    struct fake_script script = {.regather_after_ends = 2, .stop_after_steps = 4};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_OK);
    train_steps(&bench, 4);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_STOP);
    assert_int_equal(atomic_load(&bench.server.ends), 5);
    bench_fini(&bench);
}

static void await_cancelled(const struct bench *bench) {
    double give_up = seconds() + PATIENCE_S;
    while (!talweg_cancelled(bench->talweg)) {
        struct timespec pause = {0, 100000};
        nanosleep(&pause, NULL);
        if (seconds() > give_up)
            fail_msg("not told within %d s that the step is cancelled", PATIENCE_S);
    }
}

/* The pull after a cancelled first step: nothing of it was applied, and its gradients are
 * ours again. Then one step that counts, and the end. */
static void go_on_after_the_cancelled_step(struct bench *bench) {
    uint64_t step;
    assert_int_equal(talweg_pull(bench->talweg, &step), TALWEG_OK);
    assert_int_equal(step, 2);
    assert_int_equal(talweg_cancelled(bench->talweg), 0);
    expect_weights(bench, 1);
    push_step(bench, 1);
    assert_int_equal(talweg_pull(bench->talweg, &step), TALWEG_E_STOP);
    assert_int_equal(talweg_cancelled(bench->talweg), 1);
    assert_int_equal(atomic_load(&bench->server.steps), 1);
    expect_weights(bench, 1);
    for (int64_t i = 0; i < bench->server.layout.elements; i++)
        assert_true(bench->server.weights[i] == (i < bench->tensor[0].elements ? -0.25f : -0.5f));
}

static void a_program_that_asks_leaves_a_cancelled_step(void **state) {
    for (int late = 0; late < 2; late++) {
        struct fake_script script = {
            .cancel_after_pushes = 1, .cancel_late = late, .stop_after_steps = 2};
        struct bench bench;
        uint64_t step;
        bench_init(&bench, &script);
        assert_int_equal(join(&bench), TALWEG_OK);
        assert_int_equal(talweg_cancelled(bench.talweg), 0);
        assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
        assert_int_equal(talweg_cancelled(bench.talweg), 0);
        assert_int_equal(talweg_push_tensor(bench.talweg, 1, bench.gradient[1]), TALWEG_OK);
        await_cancelled(&bench);
        if (late) /* it need not stop there: what it still pushes is not sent */
            push_step(&bench, 7);
        go_on_after_the_cancelled_step(&bench);
        assert_int_equal(atomic_load(&bench.server.pushes), 1 + bench.server.layout.chunks);
        assert_int_equal(atomic_load(&bench.server.ends), 1);
        bench_fini(&bench);
    }
}

static void a_program_that_does_not_ask_pushes_in_vain(void **state) {
    struct fake_script script = {.cancel_after_pushes = 2, .stop_after_steps = 2};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_OK);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
    push_step(&bench, 1);
    go_on_after_the_cancelled_step(&bench);
    bench_fini(&bench);
}

/* Cancelled while the helper thread is in the middle of a chunk: that chunk is completed from
 * memory that stays untouched until the next pull returns. */
static void a_large_push_is_cancelled_on_its_way(void **state) {
    struct fake_script script = {.cancel_after_pushes = 3, .stop_after_steps = 2};
    struct bench bench;
    uint64_t step;
    int64_t before = large;
    large = 4 << 20;
    bench_init(&bench, &script);
    large = before;
    assert_int_equal(join(&bench), TALWEG_OK);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
    assert_int_equal(talweg_push_tensor(bench.talweg, 0, bench.gradient[0]), TALWEG_OK);
    await_cancelled(&bench);
    go_on_after_the_cancelled_step(&bench);
    assert_true(atomic_load(&bench.server.pushes) < 2 * (int)bench.server.layout.chunks);
    bench_fini(&bench);
}

static void an_evaluator_pulls_and_reports_until_the_end(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    bench.config.evaluator = 1;
    bench.config.epoch_samples = 100;
    assert_int_equal(join(&bench), TALWEG_OK);
    for (uint64_t i = 1; i <= 2; i++) {
        assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
        assert_int_equal(talweg_samples(bench.talweg), 100 * i);
        assert_int_equal(talweg_push_tensor(bench.talweg, 0, bench.gradient[0]), TALWEG_E_ARGUMENT);
        assert_int_equal(talweg_report_metric(bench.talweg, "auc", 0.125), TALWEG_OK);
        assert_int_equal(talweg_report_metric(bench.talweg, "f1", 0.5), TALWEG_E_ARGUMENT);
        assert_int_equal(talweg_report(bench.talweg, 0.5, 0.25 * (double)i), TALWEG_OK);
    }
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_STOP);
    assert_int_equal(atomic_load(&bench.server.evaluations), 2);
    assert_true(atomic_load(&bench.server.accuracy) == 0.5);
    assert_true(atomic_load(&bench.server.auc) == 0.125);
    bench_fini(&bench);
}

/* ---- ends ---- */

static void a_failed_run_says_why(void **state) {
    struct fake_script script = {.stop_after_steps = 1, .stop_status = TW_NOT_FINITE};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_OK);
    train_steps(&bench, 1);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_FAILED);
    assert_string_equal(talweg_error(bench.talweg), "the run failed: the script is over");
    bench_fini(&bench);
}

static void leaving_early_says_bye(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_OK);
    train_steps(&bench, 2);
    talweg_leave(bench.talweg);
    bench.talweg = NULL;
    await(&bench.server.byes, 1);
    bench_fini(&bench);
}

static void stop_fd_ends_a_pull_that_waits(void **state) {
    struct fake_script script = {.silent = true};
    struct bench bench;
    uint64_t step;
    int ends[2];
    bench_init(&bench, &script);
    assert_int_equal(pipe(ends), 0);
    bench.config.stop_fd = ends[0];
    assert_int_equal(join(&bench), TALWEG_OK);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_INTERRUPTED);
    bench_fini(&bench);
    close(ends[0]);
    close(ends[1]);
}

/* ---- failures ---- */

/* A port that nobody listens on: bound, and never listening. */
static int closed_port(int *socket_fd) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    *socket_fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(*socket_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(*socket_fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static void no_server_is_an_error_that_says_where(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    int fd;
    bench_init(&bench, &script);
    snprintf(bench.address, sizeof(bench.address), "127.0.0.1:%d", closed_port(&fd));
    bench.config.connect_seconds = 1;
    double start = seconds();
    assert_int_equal(join(&bench), TALWEG_E_CONNECT);
    assert_true(seconds() - start >= 0.99);
    assert_non_null(strstr(talweg_error(bench.talweg), bench.address));
    assert_non_null(strstr(talweg_error(bench.talweg), "connection refused"));
    bench_fini(&bench);
    close(fd);
}

static void a_refusal_is_told(void **state) {
    struct fake_script script = {.refuse = TW_RANK_TAKEN};
    struct bench bench;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_E_REFUSED);
    assert_non_null(strstr(talweg_error(bench.talweg), "rank-taken: the script says so"));
    bench_fini(&bench);
}

static void an_encoding_of_a_newer_server_is_refused_by_name(void **state) {
    struct fake_script script = {.encoding = 99};
    struct bench bench;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_E_REFUSED);
    assert_non_null(strstr(talweg_error(bench.talweg), "does not know (number 99)"));
    bench_fini(&bench);
    assert_int_equal(bench.server.pushes, 0);
}

static void a_token_lets_us_in_and_another_does_not(void **state) {
    static const char right[] = "0123456789abcdef", wrong[] = "0123456789abcdeF";
    struct fake_script script = {.token = right};
    struct bench bench;
    bench_init(&bench, &script);
    bench.config.token = wrong;
    bench.config.token_bytes = 16;
    assert_int_equal(join(&bench), TALWEG_E_REFUSED);
    talweg_leave(bench.talweg);
    bench.config.token = NULL;
    assert_int_equal(join(&bench), TALWEG_E_REFUSED);
    talweg_leave(bench.talweg);
    bench.config.token = right;
    assert_int_equal(join(&bench), TALWEG_OK);
    train_steps(&bench, 1);
    bench_fini(&bench);
}

static void a_server_of_something_else_is_named(void **state) {
    struct fake_script script = {.garbage = true};
    struct bench bench;
    bench_init(&bench, &script);
    int result = join(&bench);
    assert_true(result == TALWEG_E_FAILED || result == TALWEG_E_CONNECT);
    assert_non_null(strstr(talweg_error(bench.talweg), bench.address));
    bench_fini(&bench);
}

static void a_server_that_breaks_the_protocol_is_named(void **state) {
    struct fake_script script = {.wrong_chunk = true};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    int result = join(&bench);
    if (result == TALWEG_OK) /* else the weights were faster */
        result = talweg_pull(bench.talweg, &step);
    assert_int_equal(result, TALWEG_E_FAILED);
    assert_non_null(strstr(talweg_error(bench.talweg), "broke the protocol"));
    bench_fini(&bench);
}

/* What stands behind its size is not its own, be it whatever: the struct ended before poll_us. */
static void a_program_of_an_older_header_has_the_defaults(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    bench_init(&bench, &script);
    bench.config.size = offsetof(struct talweg_config, test_valued) + sizeof(int64_t);
    assert_int_equal(bench.config.size, offsetof(struct talweg_config, poll_us));
    bench.config.poll_us = 1001;
    assert_int_equal(join(&bench), TALWEG_OK);
    bench_fini(&bench);
}

static void wrong_calls_are_named_and_harmless(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    bench.config.server = "nonsense";
    assert_int_equal(join(&bench), TALWEG_E_ARGUMENT);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_ARGUMENT);
    talweg_leave(bench.talweg);
    bench.config.server = bench.address;
    bench.config.tensor_count = 0;
    assert_int_equal(join(&bench), TALWEG_E_ARGUMENT);
    talweg_leave(bench.talweg);
    bench.config.tensor_count = 2;
    bench.config.poll_us = 1001;
    assert_int_equal(join(&bench), TALWEG_E_ARGUMENT);
    assert_string_equal(talweg_error(bench.talweg),
                        "config.poll_us is out of range; -1 sleeps at once");
    talweg_leave(bench.talweg);
    bench.config.poll_us = -1;
    assert_int_equal(join(&bench), TALWEG_OK);
    assert_int_equal(talweg_push_end(bench.talweg, 1, 0), TALWEG_E_ARGUMENT);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
    assert_int_equal(talweg_push_tensor(bench.talweg, 7, bench.gradient[0]), TALWEG_E_ARGUMENT);
    assert_string_equal(talweg_error(bench.talweg), "a push of tensor 7 of 2");
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_ARGUMENT);
    push_step(&bench, 1);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
    expect_weights(&bench, 2);
    bench_fini(&bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_move_as_the_gradients_say),
        cmocka_unit_test(a_push_leaves_while_the_program_computes),
        cmocka_unit_test(heartbeats_leave_while_the_program_computes),
        cmocka_unit_test(heartbeats_pass_a_push_that_is_stuck),
        cmocka_unit_test(who_is_stuck_can_leave),
        cmocka_unit_test(a_lost_connection_is_made_again_and_nothing_is_lost_or_doubled),
        cmocka_unit_test(regather_sends_the_push_again),
        cmocka_unit_test(a_program_that_asks_leaves_a_cancelled_step),
        cmocka_unit_test(a_program_that_does_not_ask_pushes_in_vain),
        cmocka_unit_test(a_large_push_is_cancelled_on_its_way),
        cmocka_unit_test(an_evaluator_pulls_and_reports_until_the_end),
        cmocka_unit_test(a_failed_run_says_why),
        cmocka_unit_test(leaving_early_says_bye),
        cmocka_unit_test(stop_fd_ends_a_pull_that_waits),
        cmocka_unit_test(no_server_is_an_error_that_says_where),
        cmocka_unit_test(a_refusal_is_told),
        cmocka_unit_test(an_encoding_of_a_newer_server_is_refused_by_name),
        cmocka_unit_test(a_token_lets_us_in_and_another_does_not),
        cmocka_unit_test(a_server_of_something_else_is_named),
        cmocka_unit_test(a_server_that_breaks_the_protocol_is_named),
        cmocka_unit_test(a_program_of_an_older_header_has_the_defaults),
        cmocka_unit_test(wrong_calls_are_named_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
