/* Two connections that talk: order, releases, gathering, backpressure. How they
 * end: test_connection_close.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/net/address.h"
#include "tests/lib/connection_pair.h"
#include "tests/lib/frame_samples.h"

#define DATA_BYTES (1u << 20)

static unsigned char data[DATA_BYTES];

static int fill_data(void **state) {
    for (size_t i = 0; i < DATA_BYTES; i++) {
        data[i] = (unsigned char)(i * 11 + i / 241);
    }
    return 0;
}

static struct tw_frame push_of(size_t bytes) {
    return (struct tw_frame){.body = TW_BODY_PUSH, .push = {.slot = 1}, .data_bytes = bytes};
}

static struct tw_frame ping_of(uint64_t nonce) {
    return (struct tw_frame){.body = TW_BODY_PING, .ping = {.nonce = nonce}};
}

static void expect_record(const struct end *end, const struct tw_text *expected) {
    assert_int_equal(end->record.size, expected->size);
    assert_memory_equal(end->record.at, expected->at, expected->size);
}

static void expect_each_released_once(const struct end *end, size_t first, size_t count) {
    for (size_t i = 0; i < PAIR_TOKENS; i++) {
        assert_int_equal(end->released[i], i >= first && i < first + count ? 1 : 0);
    }
}

/* Sends `count` frames, a third of them with data; the tokens of those count from
 * *token on. */
static void send_many(struct end *end, struct tw_rng *rng, unsigned count, size_t *token,
                      struct tw_text *expected) {
    for (unsigned i = 0; i < count; i++) {
        if (tw_rng_below(rng, 3) == 0) {
            struct tw_frame frame = push_of(1 + tw_rng_below(rng, i % 16 ? 5000 : DATA_BYTES));
            assert_int_equal(end_send(end, &frame, data, (*token)++, expected), TW_OK);
        } else {
            const struct tw_frame *frame = &frame_samples[tw_rng_below(rng, 8)].frame;
            assert_int_equal(end_send(end, frame, NULL, 0, expected), TW_OK);
        }
    }
}

static void frames_arrive_in_order_both_ways(void **state) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct pair *pair = pair_new();
        struct tw_rng rng;
        struct tw_text from_a = {0};
        struct tw_text from_b = {0};
        size_t tokens_a = 0;
        size_t tokens_b = 0;
        tw_rng_init(&rng, seed, TW_STREAM_DELAY, 0, 0);
        pair_connect(pair);
        for (unsigned round = 0; round < 8; round++) {
            send_many(&pair->a, &rng, 50, &tokens_a, &from_a);
            send_many(&pair->b, &rng, 50, &tokens_b, &from_b);
            pair_turn(pair);
        }
        pair_run_until(pair, &pair->b.frames, 400);
        pair_run_until(pair, &pair->a.frames, 400);
        pair_run_until(pair, &pair->a.releases, (unsigned)tokens_a);
        pair_run_until(pair, &pair->b.releases, (unsigned)tokens_b);
        expect_record(&pair->b, &from_a);
        expect_record(&pair->a, &from_b);
        expect_each_released_once(&pair->a, 0, tokens_a);
        expect_each_released_once(&pair->b, 0, tokens_b);
        assert_int_equal(tw_connection_queued(pair->a.connection), 0);
        pair_free(pair);
        tw_text_fini(&from_a);
        tw_text_fini(&from_b);
    }
}

/* More frames than one gather takes, and than entries are kept for. */
static void many_small_frames_arrive(void **state) {
    struct pair *pair = pair_new();
    struct tw_text expected = {0};
    pair_connect(pair);
    for (unsigned i = 0; i < 5000; i++) {
        struct tw_frame frame = ping_of(i);
        assert_int_equal(end_send(&pair->a, &frame, NULL, 0, &expected), TW_OK);
    }
    pair_run_until(pair, &pair->b.frames, 5000);
    expect_record(&pair->b, &expected);
    assert_int_equal(pair->a.releases, 0);
    pair_free(pair);
    tw_text_fini(&expected);
}

static void a_frame_leaves_by_itself(void **state) {
    struct pair *pair = pair_new();
    struct tw_frame frame = ping_of(7);
    pair_connect(pair);
    end_send(&pair->a, &frame, NULL, 0, NULL);
    pair_run_until(pair, &pair->b.frames, 1);
    pair_free(pair);
}

static void flush_hands_over_at_once(void **state) {
    struct pair *pair = pair_new();
    struct tw_frame frame = push_of(1000);
    pair_connect(pair);
    end_send(&pair->a, &frame, data, 5, NULL);
    assert_int_equal(tw_connection_queued(pair->a.connection),
                     tw_frame_prefix_bytes(&frame) + 1000);
    tw_connection_flush(pair->a.connection);
    assert_int_equal(tw_connection_queued(pair->a.connection), 0);
    expect_each_released_once(&pair->a, 5, 1);
    pair_free(pair);
}

/* A frame without data behind one that the kernel does not take at once. */
static void it_is_told_when_all_has_left_and_once(void **state) {
    struct pair *pair = pair_new();
    struct tw_frame large = push_of(DATA_BYTES), small = ping_of(1);
    enum { FRAMES = 20 };
    pair_connect(pair);
    tw_connection_flush(pair->a.connection);
    assert_int_equal(pair->a.drained, 0);
    pair->b.blocked = 1; /* nothing is read meanwhile */
    for (int i = 0; i < FRAMES; i++)
        end_send(&pair->a, &large, data, (size_t)i, NULL);
    end_send(&pair->a, &small, NULL, 0, NULL);
    tw_connection_flush(pair->a.connection);
    assert_true(tw_connection_queued(pair->a.connection) > 0);
    assert_int_equal(pair->a.drained, 0);
    pair_run_until(pair, &pair->b.again, 1);
    pair->b.blocked = 0;
    tw_connection_resume(pair->b.connection);
    pair_run_until(pair, &pair->b.frames, FRAMES + 1);
    assert_int_equal(pair->a.drained, 1);
    tw_connection_flush(pair->a.connection);
    assert_int_equal(pair->a.drained, 1);
    end_send(&pair->a, &small, NULL, 0, NULL);
    tw_connection_flush(pair->a.connection);
    assert_int_equal(pair->a.drained, 2);
    pair_free(pair);
}

static void frames_queued_while_connecting_leave(void **state) {
    struct pair *pair = pair_new();
    struct tw_text expected = {0};
    struct tw_frame frame = ping_of(3);
    pair_begin_connect(pair, NULL);
    end_send(&pair->a, &frame, NULL, 0, &expected);
    pair_run_until(pair, &pair->b.frames, 1);
    expect_record(&pair->b, &expected);
    pair_free(pair);
    tw_text_fini(&expected);
}

static void send_next(struct end *end) {
    if (end->releases < 300) {
        struct tw_frame frame = push_of(DATA_BYTES / 4);
        assert_int_equal(end_send(end, &frame, data, end->releases, NULL), TW_OK);
    }
}

static void more_may_be_sent_when_released(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair->a.when_released = send_next;
    struct tw_frame frame = push_of(DATA_BYTES / 4);
    end_send(&pair->a, &frame, data, 0, NULL);
    pair_run_until(pair, &pair->b.frames, 300);
    pair_run_until(pair, &pair->a.releases, 300);
    expect_each_released_once(&pair->a, 0, 300);
    pair_free(pair);
}

static void answer(struct end *end, const struct tw_frame *frame) {
    struct tw_frame pong = {.body = TW_BODY_PONG, .pong = {frame->ping.nonce}};
    end_send(end, &pong, NULL, 0, NULL);
}

static void an_answer_leaves_with_the_read(void **state) {
    struct pair *pair = pair_new();
    struct tw_frame frame = ping_of(1);
    pair_connect(pair);
    pair->b.when_frame = answer;
    end_send(&pair->a, &frame, NULL, 0, NULL);
    pair_run_until(pair, &pair->b.frames, 1);
    assert_int_equal(tw_connection_queued(pair->b.connection), 0);
    pair_run_until(pair, &pair->a.frames, 1);
    pair_free(pair);
}

static void again_stops_reading_until_resume(void **state) {
    struct pair *pair = pair_new();
    struct tw_text expected = {0};
    pair_connect(pair);
    pair->b.blocked = 1;
    for (unsigned i = 0; i < 40; i++) {
        struct tw_frame frame = push_of(DATA_BYTES);
        frame.push.chunk = i;
        end_send(&pair->a, &frame, data, i, &expected);
    }
    pair_run_until(pair, &pair->b.again, 1);
    for (unsigned i = 0; i < 50; i++) {
        pair_turn(pair);
    }
    /* The kernel has taken what it can hold; the rest waits at the sender. */
    assert_true(tw_connection_queued(pair->a.connection) > 16 * DATA_BYTES);
    assert_int_equal(pair->b.frames, 0);
    assert_int_equal(pair->b.again, 1);

    tw_connection_resume(pair->b.connection); /* still blocked: asked once more */
    assert_int_equal(pair->b.again, 1);
    pair_run_until(pair, &pair->b.again, 2);
    pair->b.blocked = 0;
    tw_connection_resume(pair->b.connection);
    pair_run_until(pair, &pair->b.frames, 40);
    pair_run_until(pair, &pair->a.releases, 40);
    expect_record(&pair->b, &expected);
    expect_each_released_once(&pair->a, 0, 40);
    pair_free(pair);
    tw_text_fini(&expected);
}

static void a_paused_connection_hears_nothing_until_its_turn_comes(void **state) {
    struct pair *pair = pair_new();
    struct tw_frame frame = ping_of(1);
    pair_connect(pair);
    tw_connection_pause(pair->b.connection);
    end_send(&pair->a, &frame, NULL, 0, NULL);
    end_send(&pair->b, &frame, NULL, 0, NULL); /* it may speak */
    pair_run_until(pair, &pair->a.frames, 1);
    for (int i = 0; i < 50; i++)
        pair_turn(pair);
    assert_int_equal(pair->b.frames, 0);
    tw_connection_unpause(pair->b.connection);
    pair_run_until(pair, &pair->b.frames, 1);
    pair_free(pair);
}

/* ---- writes that are left to libuv ---- */

static unsigned warnings;

static void count_warning(void *context) {
    assert_ptr_equal(context, &warnings);
    warnings++;
}

static void who_runs_the_loop_is_told_before_libuv_writes(void **state) {
    struct pair *pair = pair_new();
    struct tw_frame small = ping_of(1), large = push_of(DATA_BYTES);
    enum { FRAMES = 60 };
    warnings = 0;
    pair->host.before_uv_write = count_warning;
    pair->host.context = &warnings;
    pair_connect(pair);
    end_send(&pair->a, &small, NULL, 0, NULL);
    pair_run_until(pair, &pair->b.frames, 1);
    assert_int_equal(warnings, 0); /* the kernel took it at once */
    pair->b.blocked = 1;
    for (size_t i = 0; i < FRAMES; i++)
        end_send(&pair->a, &large, data, i, NULL);
    pair_run_until(pair, &pair->b.again, 1);
    while (!tw_connection_is_writing(pair->a.connection))
        pair_turn(pair);
    assert_true(warnings > 0);
    pair->b.blocked = 0;
    tw_connection_resume(pair->b.connection);
    pair_run_until(pair, &pair->a.releases, FRAMES);
    assert_false(tw_connection_is_writing(pair->a.connection));
    pair_free(pair);
}

static void block_now(struct end *end) {
    end->blocked = 1;
}

static void again_between_frames_that_came_together(void **state) {
    struct pair *pair = pair_new();
    struct tw_text expected = {0};
    pair_connect(pair);
    pair->b.when_data = block_now; /* each place blocks the next */
    for (unsigned i = 0; i < 20; i++) {
        struct tw_frame frame = push_of(10 + 100 * i);
        end_send(&pair->a, &frame, data, i, &expected);
        frame = ping_of(i);
        end_send(&pair->a, &frame, NULL, 0, &expected);
    }
    for (unsigned i = 1; i < 20; i++) {
        pair_run_until(pair, &pair->b.again, i);
        assert_int_equal(pair->b.frames, 2 * i);
        pair->b.blocked = 0;
        tw_connection_resume(pair->b.connection);
    }
    pair_run_until(pair, &pair->b.frames, 40);
    expect_record(&pair->b, &expected);
    pair_free(pair);
    tw_text_fini(&expected);
}

static void queue_over_its_bound_closes(void **state) {
    struct pair *pair = pair_new();
    struct tw_frame frame = push_of(DATA_BYTES);
    pair->host.send_queue_bytes_max = 4 * DATA_BYTES;
    pair_connect(pair);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(end_send(&pair->a, &frame, data, i, NULL), TW_OK);
    }
    assert_int_equal(end_send(&pair->a, &frame, data, 3, NULL), TW_LIMIT);
    assert_int_equal(end_send(&pair->a, &frame, data, 4, NULL), TW_CLOSED);
    assert_int_equal(pair->a.closed, 0); /* never from inside */
    assert_int_equal(pair->a.releases, 0);
    pair_run_until(pair, &pair->a.closed, 1);
    expect_each_released_once(&pair->a, 0, 3);
    assert_int_equal(pair->a.error.status, TW_LIMIT);
    assert_non_null(strstr(pair->a.error.text, "at most 4194304 are allowed"));
    pair_free(pair);
}

/* Small frames count with the memory that they take. */
static void queue_of_small_frames_is_bounded(void **state) {
    struct pair *pair = pair_new();
    unsigned sent = 0;
    pair->host.send_queue_bytes_max = 1u << 20;
    pair_connect(pair);
    struct tw_frame frame = ping_of(1);
    while (end_send(&pair->a, &frame, NULL, 0, NULL) == TW_OK) {
        sent++;
    }
    assert_in_range(sent, 2000, 12000);
    pair_run_until(pair, &pair->a.closed, 1);
    pair_free(pair);
}

static void small_fields_over_the_limit_are_not_sent(void **state) {
    struct pair *pair = pair_new();
    char *bytes = calloc(1, TW_SMALL_FIELDS_MAX);
    struct tw_frame frame = {.body = TW_BODY_PROOF, .proof = {{bytes, TW_SMALL_FIELDS_MAX}}};
    pair_connect(pair);
    assert_int_equal(end_send(&pair->a, &frame, NULL, 0, NULL), TW_LIMIT);
    pair_run_until(pair, &pair->a.closed, 1);
    assert_non_null(strstr(pair->a.error.text, "cannot queue a Proof frame"));
    pair_free(pair);
    free(bytes);
}

static void peer_has_a_name(void **state) {
    struct pair *pair = pair_new();
    char name[TW_ADDRESS_TEXT];
    pair_connect(pair);
    assert_string_equal(tw_connection_peer(pair->a.connection),
                        tw_address_name((struct sockaddr *)&pair->address, name));
    assert_memory_equal(tw_connection_peer(pair->b.connection), "127.0.0.1:", 10);
    tw_connection_set_context(pair->a.connection, &pair->b);
    assert_ptr_equal(tw_connection_context(pair->a.connection), &pair->b);
    tw_connection_set_context(pair->a.connection, &pair->a);
    pair_free(pair);
}

/* ---- being woken ---- */

/* The first `bytes` of a tensor's, behind its frame's small fields, and looked at. */
static int begin_tensor(struct pair *pair, size_t bytes) {
    struct tw_frame frame = push_of(DATA_BYTES);
    unsigned char prefix[128];
    int fd = pair_connect_socket(pair);
    size_t size = tw_frame_encode(&frame, prefix, sizeof prefix);
    assert_int_equal(write(fd, prefix, size), size);
    assert_int_equal(write(fd, data, bytes), bytes);
    while (pair->b.place == NULL)
        pair_turn(pair);
    return fd;
}

/* Only the accepted end is one of the loop's that can be read. */
static void find_stream(uv_handle_t *handle, void *argument) {
    uv_os_fd_t fd;
    if (handle->type == UV_TCP && uv_is_readable((uv_stream_t *)handle) &&
        uv_fileno(handle, &fd) == 0)
        *(uv_os_fd_t *)argument = fd;
}

/* After so many bytes the connection is woken; *unread: so many are there. */
static size_t wake_bytes(struct pair *pair, size_t *unread) {
    int bytes = 0, there = 0;
    socklen_t size = sizeof bytes;
    uv_os_fd_t fd = -1;
    uv_walk(&pair->loop, find_stream, &fd);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, &size), 0);
    assert_int_equal(ioctl(fd, FIONREAD, &there), 0);
    *unread = (size_t)there;
    return (size_t)bytes;
}

/* Once every second what is there is read, besides. */
static void small_pieces_of_a_tensor_are_read_together(void **state) {
    enum { PIECE = 1000, REST = DATA_BYTES - PIECE };
    struct pair *pair = pair_new();
    int fd = begin_tensor(pair, PIECE);
    for (size_t at = PIECE; at < DATA_BYTES; at += PIECE) {
        size_t size = at <= REST ? PIECE : DATA_BYTES - at;
        assert_int_equal(write(fd, data + at, size), size);
        pair_turn(pair);
    }
    pair_run_until(pair, &pair->b.frames, 1);
    assert_true(pair->b.bytes < DATA_BYTES / PIECE / 2);
    close(fd);
    pair_free(pair);
}

static void a_connection_waits_for_no_more_than_is_sure_to_come(void **state) {
    struct pair *pair = pair_new();
    struct tw_rng rng;
    size_t at = 20000, unread;
    int fd = begin_tensor(pair, at);
    tw_rng_init(&rng, 1, TW_STREAM_DELAY, 0, 0);
    while (pair->b.frames == 0) {
        size_t rest = DATA_BYTES - at, size = 1 + tw_rng_below(&rng, 200000);
        size = size < rest ? size : rest;
        assert_int_equal(write(fd, data + at, size), size);
        at += size;
        pair_turn(pair);
        size_t wake = wake_bytes(pair, &unread);
        assert_true(wake == 1 || wake <= DATA_BYTES - at + unread);
    }
    assert_int_equal(wake_bytes(pair, &unread), 1);
    close(fd);
    pair_free(pair);
}

static void few_bytes_are_read_all_the_same(void **state) {
    struct pair *pair = pair_new();
    pair->host.slow_window_ms = 30;
    pair->host.slow_bytes_per_s = 1;
    int fd = begin_tensor(pair, 20000);
    for (int i = 0; i < 3; i++) {
        unsigned seen = pair->b.bytes;
        assert_int_equal(write(fd, data, 10), 10);
        pair_run_until(pair, &pair->b.bytes, seen + 1);
    }
    close(fd);
    pair_free(pair);
}

static void what_is_thrown_away_is_read(void **state) {
    struct pair *pair = pair_new();
    size_t unread;
    pair->host.finish_ms = 1000000;
    int fd = begin_tensor(pair, 20000);
    tw_connection_finish(pair->b.connection, TW_LIMIT, "enough");
    assert_int_equal(write(fd, data, 10), 10);
    do {
        pair_turn(pair);
        wake_bytes(pair, &unread);
    } while (unread > 0);
    close(fd);
    pair_run_until(pair, &pair->b.closed, 1);
    pair_free(pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_in_order_both_ways),
        cmocka_unit_test(many_small_frames_arrive),
        cmocka_unit_test(a_frame_leaves_by_itself),
        cmocka_unit_test(flush_hands_over_at_once),
        cmocka_unit_test(it_is_told_when_all_has_left_and_once),
        cmocka_unit_test(frames_queued_while_connecting_leave),
        cmocka_unit_test(more_may_be_sent_when_released),
        cmocka_unit_test(an_answer_leaves_with_the_read),
        cmocka_unit_test(again_stops_reading_until_resume),
        cmocka_unit_test(a_paused_connection_hears_nothing_until_its_turn_comes),
        cmocka_unit_test(who_runs_the_loop_is_told_before_libuv_writes),
        cmocka_unit_test(again_between_frames_that_came_together),
        cmocka_unit_test(queue_over_its_bound_closes),
        cmocka_unit_test(queue_of_small_frames_is_bounded),
        cmocka_unit_test(small_fields_over_the_limit_are_not_sent),
        cmocka_unit_test(peer_has_a_name),
        cmocka_unit_test(small_pieces_of_a_tensor_are_read_together),
        cmocka_unit_test(a_connection_waits_for_no_more_than_is_sure_to_come),
        cmocka_unit_test(few_bytes_are_read_all_the_same),
        cmocka_unit_test(what_is_thrown_away_is_read),
    };
    return cmocka_run_group_tests(tests, fill_data, NULL);
}
