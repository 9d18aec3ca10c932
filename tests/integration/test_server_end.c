/* How a server ends: stopped, out of disk, out of hope; and how it fails to begin. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/scripted_peer.h"
#include "tests/integration/server_child.h"
#include "tests/lib/log_samples.h"

static struct server_child server, other;
static struct actor one;
static float expected[MODEL_ELEMENTS];

static int begin(void **state) {
    memset(expected, 0, sizeof(expected));
    one = (struct actor){0};
    return 0;
}

static int end(void **state) {
    server_discard(&server);
    server_discard(&other);
    actor_lose(&one);
    return 0;
}

static void update(void) {
    actor_take(&one);
    actor_push(&one);
    model_update(expected, 0.5f, 0, 0, one.step);
}

/* ---- stopping ---- */

static void begin_a_long_run(struct server_script script) {
    script.updates = 1000000;
    server_start(&server, &script);
    actor_join(&one, server.port, 0);
    update();
    update();
    actor_take(&one); /* so both are applied */
}

static void check_stopped(void) {
    actor_leave(&one, TW_INTERRUPTED);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->status, TW_INTERRUPTED);
    assert_int_equal(result->updates, 2);
    assert_int_equal(result->samples, 2 * PUSH_EXAMPLES);
    assert_true(result->train_loss == 3.0);
    assert_true(strlen(result->model) > 0);
    server_check_model(&server, expected);
    assert_int_equal(server_files(&server), 5);
    server_clean(&server);
}

static void sigterm_saves_the_model_so_far(void **state) {
    begin_a_long_run((struct server_script){0});
    kill(server.pid, SIGTERM);
    check_stopped();
    assert_non_null(strstr(server.last.result.error, "SIGTERM"));
}

static void ctrl_c_in_the_middle_of_a_push_saves_the_model_so_far(void **state) {
    begin_a_long_run((struct server_script){0});
    actor_push_chunk(&one, 0);
    kill(server.pid, SIGINT);
    check_stopped();
    assert_non_null(strstr(server.last.result.error, "SIGINT"));
}

static void a_readable_stop_fd_stops_too(void **state) {
    begin_a_long_run((struct server_script){.stop_pipe = true});
    assert_int_equal(write(server.stop_fd, "x", 1), 1);
    check_stopped();
}

static void stopped_before_the_start_it_saves_the_first_weights(void **state) {
    server_start(&server, &(struct server_script){.workers = 2, .updates = 5});
    actor_join(&one, server.port, 0);
    kill(server.pid, SIGTERM);
    actor_leave(&one, TW_INTERRUPTED);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->status, TW_INTERRUPTED);
    assert_int_equal(result->updates, 0);
    assert_true(isnan(result->train_loss));
    server_check_model(&server, expected);
    server_clean(&server);
}

static void a_second_signal_ends_it_at_once(void **state) {
    struct server_script script = {.limits.goodbye_ms = 60000};
    begin_a_long_run(script);
    kill(server.pid, SIGINT);
    server_await(&server, TW_REPORT_DONE); /* now it waits for us to close, a minute */
    kill(server.pid, SIGINT);
    int status;
    assert_int_equal(waitpid(server.pid, &status, 0), server.pid);
    server.pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    server_clean(&server);
}

static void peers_that_do_not_close_are_closed(void **state) {
    begin_a_long_run((struct server_script){.limits.goodbye_ms = 100});
    struct peer *silent = peer_connect(server.port); /* never says a word */
    struct peer *greeted = peer_connect(server.port);
    peer_hello(greeted);
    peer_expect(greeted, TW_BODY_CHALLENGE);
    kill(server.pid, SIGTERM);
    peer_expect(one.control, TW_BODY_STOP);
    assert_int_equal(server_end(&server)->status, TW_INTERRUPTED);
    assert_null(peer_hear(one.control));
    peer_expect_refuse(silent, TW_STOPPED);
    peer_expect_refuse(greeted, TW_STOPPED);
    peer_close(silent);
    peer_close(greeted);
    server_clean(&server);
}

static void who_joins_after_the_end_hears_that_it_is_over(void **state) {
    begin_a_long_run((struct server_script){.limits.goodbye_ms = 60000});
    kill(server.pid, SIGTERM);
    server_await(&server, TW_REPORT_DONE);
    struct peer *late = peer_connect(server.port);
    struct tw_frame join = join_frame(0);
    peer_hello(late);
    peer_prove(late, NULL);
    peer_send(late, &join, NULL);
    peer_expect_refuse(late, TW_STOPPED);
    peer_close(late);
    actor_leave(&one, TW_INTERRUPTED);
    int status;
    assert_int_equal(waitpid(server.pid, &status, 0), server.pid);
    server.pid = 0;
    assert_int_equal(WEXITSTATUS(status), 3);
    server_clean(&server);
}

/* ---- a full disk ---- */

static void a_disk_that_is_full_at_the_end_is_reported(void **state) {
    server_start(&server, &(struct server_script){.updates = 2, .file_bytes = 40000});
    actor_join(&one, server.port, 0);
    update();
    update();
    actor_leave(&one, TW_IO);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->status, TW_IO);
    assert_non_null(strstr(result->error, "model.safetensors"));
    assert_non_null(strstr(result->error, "File too large"));
    assert_string_equal(result->model, "");
    assert_string_equal(result->model_sha256, "");
    assert_int_equal(server_files(&server), 3); /* metrics.jsonl and the logs; no temporary file */
    server_clean(&server);
}

static void a_disk_that_is_full_in_between_leaves_whole_lines(void **state) {
    /* An epoch is one update; a line has more than 250 bytes, two are too many. */
    struct server_script script = {.updates = 3, .train_samples = 2, .file_bytes = 500};
    server_start(&server, &script);
    actor_join(&one, server.port, 0);
    for (int i = 0; i < 3; i++)
        update();
    actor_leave(&one, TW_IO);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->status, TW_IO);
    assert_int_equal(result->updates, 3);
    assert_non_null(strstr(result->error, "metrics.jsonl"));
    char *metrics = server_file(&server, "metrics.jsonl");
    assert_non_null(strchr(metrics, '\n'));
    assert_string_equal(strchr(metrics, '\n'), "\n");
    free(metrics);
    server_clean(&server);
}

static void a_disk_that_is_full_for_the_order_ends_the_run_by_name(void **state) {
    /* JOIN and RELEASE fit, the first COMMIT does not. */
    server_start(&server, &(struct server_script){.updates = 1000, .file_bytes = 50});
    actor_join(&one, server.port, 0);
    update();
    actor_leave(&one, TW_IO);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->status, TW_IO);
    assert_int_equal(result->updates, 1);
    assert_non_null(strstr(result->error, "order.log: File too large"));
    assert_null(strstr(result->error, "stopped"));
    /* It ends behind its last whole record. */
    struct log_memory memory = {.bytes = server_file(&server, "order.log"), .size = 0};
    char path[128];
    struct stat about;
    snprintf(path, sizeof path, "%s/order.log", server.out);
    assert_int_equal(stat(path, &about), 0);
    memory.size = (size_t)about.st_size;
    struct tw_order_log_reader *reader;
    struct tw_record record;
    assert_int_equal(tw_order_log_reader_new(&reader, log_source, &memory, NULL), TW_OK);
    assert_int_equal(tw_order_log_next(reader, &record, NULL), TW_OK);
    assert_int_equal(record.kind, TW_RECORD_JOIN);
    assert_int_equal(tw_order_log_next(reader, &record, NULL), TW_OK);
    assert_int_equal(record.kind, TW_RECORD_RELEASE);
    assert_int_equal(tw_order_log_next(reader, &record, NULL), TW_CLOSED);
    tw_order_log_reader_free(reader);
    free((void *)(uintptr_t)memory.bytes);
    server_clean(&server);
}

/* ---- gradients that are not finite ---- */

static void push_a_bad_chunk(uint32_t chunk) {
    struct tw_frame frame = {.body = TW_BODY_PUSH};
    uint32_t count = model_first[chunk + 1] - model_first[chunk];
    float *data = calloc(count, sizeof(float));
    data[count - 1] = NAN;
    frame.push.incarnation = one.incarnation;
    frame.push.step = one.step;
    frame.push.chunk = chunk;
    frame.data_bytes = count * sizeof(float);
    peer_send(one.bulk, &frame, data);
    free(data);
}

static void push_bad(uint32_t bad_chunk) {
    for (uint32_t chunk = 0; chunk < MODEL_CHUNKS; chunk++)
        if (chunk == bad_chunk)
            push_a_bad_chunk(chunk);
        else
            actor_push_chunk(&one, chunk);
    actor_end(&one);
}

static void a_push_that_is_not_finite_is_left_out(void **state) {
    server_start(&server, &(struct server_script){.updates = 2});
    actor_join(&one, server.port, 0);
    update();
    actor_take(&one);
    push_bad(MODEL_CHUNKS - 1);
    update();
    assert_int_equal(one.step, 3);
    actor_leave(&one, TW_OK);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_check_model(&server, expected);
    char *log = server_log(&server);
    assert_non_null(strstr(log, "not finite: gradient of tensor b, slot 0, step 2;"));
    free(log);
    server_clean(&server);
}

static void three_in_a_row_end_the_run(void **state) {
    server_start(&server, &(struct server_script){.updates = 5});
    actor_join(&one, server.port, 0);
    update();
    for (int i = 0; i < 3; i++) {
        actor_take(&one);
        push_bad(i == 2 ? MODEL_CHUNKS - 1 : 0);
    }
    actor_leave(&one, TW_NOT_FINITE);
    const struct tw_result *result = server_end(&server);
    assert_int_equal(result->status, TW_NOT_FINITE);
    assert_non_null(strstr(result->error, "tensor w, slot 0, step 2"));
    assert_non_null(strstr(result->error, "tensor w, slot 0, step 3"));
    assert_non_null(strstr(result->error, "tensor b, slot 0, step 4"));
    assert_non_null(strstr(result->error, "diverged at update "));
    assert_non_null(strstr(result->error, "optimizer.lr is 0.5"));
    assert_int_equal(result->updates, 1);
    server_check_model(&server, expected);
    server_clean(&server);
}

/* ---- failing to begin ---- */

static void a_port_in_use_is_said(void **state) {
    char listen[32];
    server_start(&server, &(struct server_script){.updates = 1});
    snprintf(listen, sizeof(listen), "127.0.0.1:%d", server.port);
    server_start_failing(&other, &(struct server_script){.updates = 1, .listen = listen});
    assert_int_equal(other.last.result.status, TW_IO);
    assert_non_null(strstr(other.last.result.error, listen));
    assert_non_null(strstr(other.last.result.error, "address already in use"));
    server_clean(&other);
    kill(server.pid, SIGTERM);
    server_end(&server);
    server_clean(&server);
}

static void a_run_directory_that_is_missing_is_said(void **state) {
    server_start_failing(&server, &(struct server_script){.updates = 1, .out = "/nowhere/at/all"});
    assert_int_equal(server.last.result.status, TW_IO);
    assert_non_null(strstr(server.last.result.error, "/nowhere/at/all/order.log"));
    server_clean(&server);
}

static void metrics_of_an_earlier_run_are_not_overwritten(void **state) {
    server_start(&server, &(struct server_script){.updates = 1});
    server_start_failing(&other, &(struct server_script){.updates = 1, .out = server.out});
    assert_int_equal(other.last.result.status, TW_IO);
    assert_non_null(strstr(other.last.result.error, "exists"));
    server_clean(&other);
    kill(server.pid, SIGTERM);
    server_end(&server);
    server_clean(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(sigterm_saves_the_model_so_far),
        TEST(ctrl_c_in_the_middle_of_a_push_saves_the_model_so_far),
        TEST(a_readable_stop_fd_stops_too),
        TEST(stopped_before_the_start_it_saves_the_first_weights),
        TEST(a_second_signal_ends_it_at_once),
        TEST(peers_that_do_not_close_are_closed),
        TEST(who_joins_after_the_end_hears_that_it_is_over),
        TEST(a_disk_that_is_full_at_the_end_is_reported),
        TEST(a_disk_that_is_full_in_between_leaves_whole_lines),
        TEST(a_disk_that_is_full_for_the_order_ends_the_run_by_name),
        TEST(a_push_that_is_not_finite_is_left_out),
        TEST(three_in_a_row_end_the_run),
        TEST(a_port_in_use_is_said),
        TEST(a_run_directory_that_is_missing_is_said),
        TEST(metrics_of_an_earlier_run_are_not_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
