/* Many who share a connection are answered together, and not all at once: a write of the server has
 * half of what one may hold, so that they work on these answers while it works on the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "common/base/limits.h"
#include "proto/varint.h"
#include "tests/integration/scripted_peer.h"
#include "tests/integration/server_child.h"
#include "worker/io/link.h"

enum { WORKERS = TW_GATHER_FRAMES, ELEMENTS = 16, UPDATES = 50 };

static struct server_child server;

/* Of the server's writes; it is a child of this process. */
static struct {
    pid_t test;
    size_t answers, most; /* ever, and in one of them */
} * seen;

/* How many Weights begin in what is written, which begins with a frame. */
static size_t count_answers(const struct msghdr *message) {
    size_t answers = 0;
    uint64_t rest = 0, key; /* rest: of the frame that goes on */
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const unsigned char *at = message->msg_iov[i].iov_base;
        size_t left = message->msg_iov[i].iov_len;
        while (left > 0) {
            if (rest == 0) {
                size_t head = (size_t)tw_varint_get(at, left, TW_VARINT_MAX, &rest);
                rest += head;
                answers += tw_varint_get(at + head, left - head, TW_VARINT_MAX, &key) > 0 &&
                           key >> 3 == TW_BODY_WEIGHTS;
            }
            size_t passed = rest < left ? (size_t)rest : left;
            at += passed;
            left -= passed;
            rest -= passed;
        }
    }
    return answers;
}

/* In place of the C library's. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    if (seen != NULL && getpid() != seen->test) {
        size_t answers = count_answers(message);
        seen->answers += answers;
        seen->most = answers > seen->most ? answers : seen->most;
    }
    return syscall(SYS_sendmsg, fd, message, flags);
}

struct pusher {
    struct tw_shell shell; /* first: on_weights finds the rest by it */
    float weights[ELEMENTS];
    float *places[1];
};

static void on_weights(struct tw_shell *shell) {
    static const float gradient[ELEMENTS];
    struct tw_client_event push[] = {
        {.kind = TW_CLIENT_ON_PUSH, .gradient = gradient},
        {.kind = TW_CLIENT_ON_END, .examples = 1},
        {.kind = TW_CLIENT_ON_PULL},
    };
    struct tw_error error;
    assert_int_equal(tw_shell_steps(shell, push, 3, tw_shell_moment(shell), &error), TW_OK);
}

static void begin(struct pusher *pusher, int rank, uv_loop_t *loop, struct tw_shell_group *group,
                  const char *address, struct tw_tensor_list *list) {
    struct tw_client_event first[] = {{.kind = TW_CLIENT_ON_START}, {.kind = TW_CLIENT_ON_PULL}};
    struct tw_error error;
    pusher->places[0] = pusher->weights;
    struct tw_client_config config = {.role = TW_ROLE_WORKER,
                                      .rank = rank,
                                      .server = address,
                                      .numerics = "test",
                                      .list = list,
                                      .weights = pusher->places,
                                      .connect_ms = 1000 * PEER_PATIENCE_S,
                                      .seed = (uint64_t)rank};
    assert_int_equal(tw_shell_init(&pusher->shell, loop, &config, group, &error), TW_OK);
    pusher->shell.on_weights = on_weights;
    assert_int_equal(tw_shell_steps(&pusher->shell, first, 2, 0, &error), TW_OK);
}

static bool all_are_over(const struct pusher *pushers) {
    for (int rank = 0; rank < WORKERS; rank++)
        if (!tw_client_over(&pushers[rank].shell.client))
            return false;
    return true;
}

static void answers_leave_in_halves(void **state) {
    static const struct tw_init zero = {TW_INIT_CONSTANT, 0};
    struct server_script script = {.workers = WORKERS,
                                   .updates = UPDATES,
                                   .elements = ELEMENTS,
                                   .memory = "{inflight: 64MiB}",
                                   .limits.pending = 2 * WORKERS};
    struct tw_shell_group *group = calloc(1, sizeof(*group));
    struct pusher *pushers = calloc(WORKERS, sizeof(*pushers));
    struct tw_tensor tensor;
    struct tw_tensor_list list = {.tensors = &tensor, .count = 1};
    char address[32];
    uv_loop_t loop;
    server_start(&server, &script);
    snprintf(address, sizeof(address), "127.0.0.1:%d", server.port);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(tw_tensor_init(&tensor, "w", 1, (int64_t[]){ELEMENTS}, zero, NULL), TW_OK);
    for (int rank = 0; rank < WORKERS; rank++)
        begin(&pushers[rank], rank, &loop, group, address, &list);
    while (!all_are_over(pushers))
        uv_run(&loop, UV_RUN_ONCE);
    for (int rank = 0; rank < WORKERS; rank++) {
        assert_int_equal(pushers[rank].shell.client.ending, TW_CLIENT_RUN_OVER);
        tw_shell_fini(&pushers[rank].shell);
    }
    while (uv_loop_alive(&loop)) /* a connection may outlive its last lane a little */
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_clean(&server);
    assert_in_range(seen->answers, WORKERS * UPDATES, WORKERS * (UPDATES + 1));
    assert_in_range(seen->most, 2, TW_GATHER_FRAMES / 2);
    free(pushers);
    free(group);
}

static int discard(void **state) {
    server_discard(&server);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(answers_leave_in_halves, discard),
    };
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (seen == MAP_FAILED)
        return 1;
    seen->test = getpid();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
