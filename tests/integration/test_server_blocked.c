/* A worker whose push the server does not take, since it has no place for it: what goes over the
 * other connection does not wait behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/integration/scripted_peer.h"
#include "tests/integration/server_child.h"

/* More than the sockets of both sides hold: the same chunk so many times; the first one counts. */
enum { REPEATED = 64, SETTLED_MS = 50 };

struct long_push {
    unsigned char *bytes;
    size_t size, sent;
};

static struct server_child server;
static struct actor first, second;
static struct long_push pushing;
static float expected[MODEL_ELEMENTS];

static int begin(void **state) {
    memset(expected, 0, sizeof(expected));
    first = second = (struct actor){0};
    pushing = (struct long_push){0};
    return 0;
}

static int end(void **state) {
    server_discard(&server);
    actor_lose(&first);
    actor_lose(&second);
    free(pushing.bytes);
    return 0;
}

/* Memory for one push, and for part of another. */
static void start(int updates) {
    struct server_script script = {.workers = 2, .updates = updates, .memory = "{inflight: 2MiB}"};
    server_start(&server, &script);
    actor_join(&first, server.port, 0);
    actor_join(&second, server.port, 1);
    server_await(&server, TW_REPORT_STARTED);
}

static void add_chunk(struct long_push *push, const struct actor *actor, uint32_t chunk) {
    uint32_t at = model_first[chunk], count = model_first[chunk + 1] - at;
    struct tw_frame frame = {.body = TW_BODY_PUSH, .data_bytes = count * sizeof(float)};
    frame.push.slot = actor->rank;
    frame.push.incarnation = actor->incarnation;
    frame.push.step = actor->step;
    frame.push.chunk = chunk;
    push->size += tw_frame_encode(&frame, push->bytes + push->size, 128);
    for (uint32_t i = 0; i < count; i++, push->size += sizeof(float)) {
        float element = model_gradient(actor->rank, actor->step, at + i);
        memcpy(push->bytes + push->size, &element, sizeof(element));
    }
}

/* As long as the other side takes more of it. */
static void send_on(struct long_push *push, const struct actor *actor) {
    struct pollfd ready = {.fd = actor->bulk->fd, .events = POLLOUT};
    while (push->sent < push->size && poll(&ready, 1, SETTLED_MS) > 0) {
        ssize_t count = send(ready.fd, push->bytes + push->sent, push->size - push->sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
        assert_true(count > 0 || errno == EAGAIN);
        push->sent += count > 0 ? (size_t)count : 0;
    }
}

/* The second worker's push of its step, up to where the server takes no more of it. */
static void push_until_it_is_stuck(void) {
    struct tw_frame last = end_frame(&second);
    free(pushing.bytes);
    pushing = (struct long_push){
        .bytes = malloc((MODEL_CHUNKS + REPEATED) * (size_t)(TW_CHUNK_BYTES_DEFAULT + 128) + 128)};
    assert_non_null(pushing.bytes);
    for (uint32_t chunk = 0; chunk < MODEL_CHUNKS; chunk++)
        add_chunk(&pushing, &second, chunk);
    for (int i = 0; i < REPEATED; i++)
        add_chunk(&pushing, &second, 0);
    pushing.size += tw_frame_encode(&last, pushing.bytes + pushing.size, 128);
    send_on(&pushing, &second);
    assert_true(pushing.sent < pushing.size);
}

static void control_is_answered(uint64_t nonce) {
    struct tw_frame ping = {.body = TW_BODY_PING, .ping = {.nonce = nonce}};
    peer_send(second.control, &ping, NULL);
    assert_int_equal(peer_expect(second.control, TW_BODY_PONG)->frame.pong.nonce, nonce);
}

static void update(uint64_t step) {
    actor_take(&first);
    assert_memory_equal(first.weights, expected, sizeof(expected));
    assert_int_equal(first.step, step);
    actor_push(&first); /* its chunks go into the sums, and the other's behind them */
}

static void heartbeats_pass_a_push_that_is_stuck(void **state) {
    enum { UPDATES = 3 };
    start(UPDATES);
    for (uint64_t step = 1; step <= UPDATES; step++) {
        actor_take(&second);
        push_until_it_is_stuck();
        for (uint64_t i = 1; i <= 20; i++)
            control_is_answered(100 * step + i);
        send_on(&pushing, &second);
        assert_true(pushing.sent < pushing.size); /* it was so all the time */
        update(step);
        peer_send_bytes(second.bulk, pushing.bytes + pushing.sent, pushing.size - pushing.sent);
        model_update(expected, 0.5f, 0, 1, step);
    }
    actor_leave(&first, TW_OK);
    actor_leave(&second, TW_OK);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_check_model(&server, expected);
    server_clean(&server);
}

/* Its Bye is heard, and its rank is free for another, whose push counts alone. */
static void who_is_stuck_can_leave(void **state) {
    start(1);
    actor_take(&second);
    push_until_it_is_stuck();
    peer_send(second.control, &(struct tw_frame){.body = TW_BODY_BYE}, NULL);
    server_await(&server, TW_REPORT_LEFT);
    actor_lose(&second);
    actor_join(&second, server.port, 1);
    actor_take(&second);
    update(1);
    actor_push(&second);
    model_update(expected, 0.5f, 0, 1, 1);
    actor_leave(&first, TW_OK);
    actor_leave(&second, TW_OK);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_check_model(&server, expected);
    server_clean(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(heartbeats_pass_a_push_that_is_stuck),
        TEST(who_is_stuck_can_leave),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
