/* Weights that a program takes over tensor by tensor, while others are still on their way: the
 * server keeps the last tensor back until it is told to go on. */
#include "tests/integration/talweg_bench.h"

#include <unistd.h>

#include "worker/io/link.h"

static void begin(struct bench *bench, uint64_t expected) {
    uint64_t step = 0;
    if (talweg_pull_begin(bench->talweg, &step) != TALWEG_OK)
        fail_msg("step %llu: %s", (unsigned long long)expected, talweg_error(bench->talweg));
    assert_int_equal(step, expected);
}

/* The first tensor is here, the second is not. */
static void bench_begun(struct bench *bench, enum fake_go_on go_on) {
    struct fake_script script = {.keep_back = 1, .go_on = go_on};
    bench_init(bench, &script);
    assert_int_equal(join(bench), TALWEG_OK);
    begin(bench, 1);
    assert_int_equal(talweg_pull_tensor(bench->talweg, 0), TALWEG_OK);
    assert_int_equal(talweg_cancelled(bench->talweg), 0);
}

static void tensors_are_taken_over_one_by_one(void **state) {
    struct bench bench;
    bench_begun(&bench, FAKE_SENDS_THE_REST);
    for (uint64_t t = 1; t <= 4; t++) {
        if (t > 1)
            begin(&bench, t);
        assert_int_equal(talweg_version(bench.talweg), t - 1);
        assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_OK);
        for (int64_t j = 0; j < large; j++)
            assert_true(bench.weights[0][j] == -0.25f * (float)(t * (t - 1) / 2));
        assert_int_equal(talweg_push_tensor(bench.talweg, 0, bench.gradient[0]), TALWEG_E_ARGUMENT);
        assert_non_null(strstr(talweg_error(bench.talweg), "talweg_pull_tensor()"));
        fake_server_go_on(&bench.server);
        assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_OK);
        assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_OK); /* still */
        expect_weights(&bench, t);
        push_step(&bench, t);
    }
    assert_int_equal(atomic_load(&bench.server.duplicates), 0);
    bench_fini(&bench);
}

static void both_kinds_of_pull_may_take_turns(void **state) {
    struct fake_script script = {.stop_after_steps = 4};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_OK);
    for (uint64_t t = 1; t <= 4; t++) {
        if (t % 2) {
            assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_OK);
        } else {
            begin(&bench, t);
            assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_OK);
            assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_OK);
        }
        expect_weights(&bench, t);
        push_step(&bench, t);
    }
    assert_int_equal(talweg_pull_begin(bench.talweg, &step), TALWEG_E_STOP);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_E_STOP);
    bench_fini(&bench);
}

/* The end is heard inside of the pull, or, in a `talweg_cancelled()`, before it. */
static void after_a_pull_that_failed_no_tensor_is_there(void **state) {
    for (int heard_before = 0; heard_before < 2; heard_before++) {
        struct fake_script script = {.stop_after_steps = 2};
        struct bench bench;
        uint64_t step;
        bench_init(&bench, &script);
        assert_int_equal(join(&bench), TALWEG_OK);
        train_steps(&bench, 2);
        double give_up = seconds() + PATIENCE_S;
        while (heard_before && !talweg_cancelled(bench.talweg))
            assert_true(seconds() < give_up);
        assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_STOP);
        for (int i = 0; i < 2; i++)
            assert_int_equal(talweg_pull_tensor(bench.talweg, i), TALWEG_E_STOP);
        bench_fini(&bench);
    }
}

/* 16 MiB, more than kernel buffers hold; nobody is inside of the library. */
static void weights_arrive_while_the_program_computes(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    int64_t before = large;
    large = 4 << 20;
    bench_init(&bench, &script);
    large = before;
    assert_int_equal(join(&bench), TALWEG_OK);
    begin(&bench, 1);
    await(&bench.server.taken, (int)bench.server.layout.chunks);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_OK);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_OK);
    expect_weights(&bench, 1);
    push_step(&bench, 1);
    await(&bench.server.steps, 1);
    bench_fini(&bench);
}

static void shell_tell(struct tw_shell *shell, enum tw_client_event_kind kind) {
    struct tw_error error;
    assert_int_equal(tw_shell_step(shell, &(struct tw_client_event){.kind = kind}, &error), TW_OK);
}

static void after_an_event_that_fails_no_other_is_told(void **state) {
    struct tw_client_event events[] = {{.kind = TW_CLIENT_ON_END}, {.kind = TW_CLIENT_ON_PULL}};
    struct fake_script script = {0};
    struct bench bench;
    struct tw_error error;
    struct tw_shell shell;
    uv_loop_t loop;
    bench_init(&bench, &script);
    struct tw_client_config config = {
        .server = bench.address, .numerics = "test", .list = &bench.list, .weights = bench.weights};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(tw_shell_init(&shell, &loop, &config, NULL, &error), TW_OK);
    assert_int_equal(tw_shell_steps(&shell, events, 2, 0, &error), TW_UNEXPECTED);
    assert_int_equal(shell.client.work, TW_CLIENT_IDLE);
    assert_int_equal(tw_shell_steps(&shell, events + 1, 1, 0, &error), TW_OK);
    assert_int_equal(shell.client.work, TW_CLIENT_WAITING);
    tw_shell_fini(&shell);
    assert_int_equal(uv_loop_close(&loop), 0);
    bench_fini(&bench);
}

/* Whoever drives the loop goes on receiving as long as more is to come than sockets hold; not when
 * it is little, or will not come. */
static void a_shell_is_busy_while_much_is_to_come(void **state) {
    const uint32_t kept[] = {1, 12}; /* chunks of 64 KiB */
    for (int i = 0; i < 2; i++) {
        struct fake_script script = {.keep_back = kept[i], .go_on = FAKE_LOSES_BULK};
        struct bench bench;
        struct tw_error error;
        struct tw_shell shell;
        uv_loop_t loop;
        int64_t before = large;
        large = 20 * (TW_CHUNK_BYTES_MIN / 4);
        bench_init(&bench, &script);
        large = before;
        struct tw_client_config config = {.role = TW_ROLE_WORKER,
                                          .rank = -1,
                                          .server = bench.address,
                                          .numerics = "test",
                                          .list = &bench.list,
                                          .weights = bench.weights,
                                          .connect_ms = 1000 * PATIENCE_S};
        assert_int_equal(uv_loop_init(&loop), 0);
        assert_int_equal(tw_shell_init(&shell, &loop, &config, NULL, &error), TW_OK);
        shell_tell(&shell, TW_CLIENT_ON_START);
        shell_tell(&shell, TW_CLIENT_ON_PULL);
        while (!tw_client_may_begin(&shell.client))
            uv_run(&loop, UV_RUN_ONCE);
        shell_tell(&shell, TW_CLIENT_ON_BEGIN);
        const uint32_t all = bench.server.layout.chunks;
        while (shell.client.arrived < all - kept[i])
            uv_run(&loop, UV_RUN_ONCE);
        assert_int_equal(tw_shell_busy(&shell), kept[i] > 8);
        fake_server_go_on(&bench.server);
        while (!tw_client_cancelled(&shell.client) || shell.client.phase != TW_CLIENT_JOINED)
            uv_run(&loop, UV_RUN_ONCE);
        assert_int_equal(shell.client.work, TW_CLIENT_BEGUN);
        assert_false(tw_shell_busy(&shell));
        tw_shell_fini(&shell);
        assert_int_equal(uv_loop_close(&loop), 0);
        bench_fini(&bench);
    }
}

static void a_set_that_is_cut_off_is_begun_again(void **state) {
    struct bench bench;
    bench_begun(&bench, FAKE_LOSES_BULK);
    fake_server_go_on(&bench.server);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_E_AGAIN);
    assert_int_equal(talweg_cancelled(bench.talweg), 1);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_E_AGAIN);
    begin(&bench, 1); /* the same step, and other weights for it */
    assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_OK);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_OK);
    expect_weights(&bench, 1);
    push_step(&bench, 1);
    await(&bench.server.steps, 1);
    assert_int_equal(atomic_load(&bench.server.joins), 2);
    assert_int_equal(atomic_load(&bench.server.duplicates), 0);
    bench_fini(&bench);
}

static void go_on_with_step_2(struct bench *bench) {
    uint64_t step;
    push_step(bench, 7); /* in vain: it is not sent */
    assert_int_equal(talweg_pull(bench->talweg, &step), TALWEG_OK);
    assert_int_equal(step, 2);
    assert_int_equal(talweg_cancelled(bench->talweg), 0);
    expect_weights(bench, 1);
    push_step(bench, 1);
    await(&bench->server.steps, 1);
    assert_int_equal(atomic_load(&bench->server.ends), 1);
}

static void a_step_that_is_cancelled_while_its_weights_arrive_is_left(void **state) {
    struct bench bench;
    bench_begun(&bench, FAKE_CANCELS_STEP);
    fake_server_go_on(&bench.server);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_E_AGAIN);
    go_on_with_step_2(&bench);
    bench_fini(&bench);
}

static void newer_weights_leave_those_alone_that_are_in_use(void **state) {
    struct bench bench;
    bench_begun(&bench, FAKE_RELEASES_AGAIN);
    bench.weights[0][0] = 42; /* nothing may write there any more */
    fake_server_go_on(&bench.server);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_E_AGAIN);
    assert_true(bench.weights[0][0] == 42);
    go_on_with_step_2(&bench);
    bench_fini(&bench);
}

static void stop_fd_ends_the_wait_for_a_tensor(void **state) {
    struct fake_script script = {.keep_back = 1};
    struct bench bench;
    int ends[2];
    bench_init(&bench, &script);
    assert_int_equal(pipe(ends), 0);
    bench.config.stop_fd = ends[0];
    assert_int_equal(join(&bench), TALWEG_OK);
    begin(&bench, 1);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_E_INTERRUPTED);
    bench_fini(&bench);
    close(ends[0]);
    close(ends[1]);
}

static void an_evaluator_has_all_of_them_at_once(void **state) {
    struct fake_script script = {0};
    struct bench bench;
    bench_init(&bench, &script);
    bench.config.evaluator = 1;
    bench.config.epoch_samples = 100;
    assert_int_equal(join(&bench), TALWEG_OK);
    begin(&bench, 1);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_OK);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_OK);
    expect_weights(&bench, 1);
    assert_int_equal(talweg_report(bench.talweg, 0.5, 0.25), TALWEG_OK);
    bench_fini(&bench);
}

static void wrong_calls_are_named_and_harmless(void **state) {
    struct fake_script script = {.keep_back = 1};
    struct bench bench;
    uint64_t step;
    bench_init(&bench, &script);
    assert_int_equal(join(&bench), TALWEG_OK);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_E_ARGUMENT);
    begin(&bench, 1);
    assert_int_equal(talweg_pull_tensor(bench.talweg, -1), TALWEG_E_ARGUMENT);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 2), TALWEG_E_ARGUMENT);
    assert_int_equal(talweg_pull_begin(bench.talweg, &step), TALWEG_E_ARGUMENT);
    assert_int_equal(talweg_pull(bench.talweg, &step), TALWEG_E_ARGUMENT);
    assert_int_equal(talweg_push_end(bench.talweg, 1, 0), TALWEG_E_ARGUMENT);
    fake_server_go_on(&bench.server);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 1), TALWEG_OK);
    assert_int_equal(talweg_push_tensor(bench.talweg, 1, bench.gradient[1]), TALWEG_E_ARGUMENT);
    assert_int_equal(talweg_pull_tensor(bench.talweg, 0), TALWEG_OK);
    expect_weights(&bench, 1);
    push_step(&bench, 1);
    await(&bench.server.steps, 1);
    bench_fini(&bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_taken_over_one_by_one),
        cmocka_unit_test(both_kinds_of_pull_may_take_turns),
        cmocka_unit_test(after_a_pull_that_failed_no_tensor_is_there),
        cmocka_unit_test(weights_arrive_while_the_program_computes),
        cmocka_unit_test(after_an_event_that_fails_no_other_is_told),
        cmocka_unit_test(a_shell_is_busy_while_much_is_to_come),
        cmocka_unit_test(a_set_that_is_cut_off_is_begun_again),
        cmocka_unit_test(a_step_that_is_cancelled_while_its_weights_arrive_is_left),
        cmocka_unit_test(newer_weights_leave_those_alone_that_are_in_use),
        cmocka_unit_test(stop_fd_ends_the_wait_for_a_tensor),
        cmocka_unit_test(an_evaluator_has_all_of_them_at_once),
        cmocka_unit_test(wrong_calls_are_named_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
