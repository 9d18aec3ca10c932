/* How connections end: in every state, by every cause, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/address.h"
#include "tests/lib/connection_pair.h"

#define DATA_BYTES (1u << 20)

static unsigned char data[DATA_BYTES];

static const struct tw_frame ping = {.body = TW_BODY_PING, .ping = {.nonce = 1}};
static const struct tw_frame push = {.body = TW_BODY_PUSH, .data_bytes = DATA_BYTES};

static void expect_closed(const struct end *end, enum tw_status status, const char *text) {
    if (end->error.status != status || strstr(end->error.text, text) == NULL) {
        fail_msg("expected %s with '%s', got %s: %s", tw_status_name(status), text,
                 tw_status_name(end->error.status), end->error.text);
    }
    assert_int_equal(end->closed, 1);
}

/* Reads what is there until the end of file (or a reset); a terminated string. */
static char *read_all(int fd, size_t *size) {
    const size_t room = 1 << 16;
    char *text = calloc(1, room);
    ssize_t count;
    *size = 0;
    while (*size < room - 1 && (count = read(fd, text + *size, room - 1 - *size)) > 0) {
        *size += (size_t)count;
    }
    return text;
}

/* ---- by this side ---- */

static void close_before_it_opened(void **state) {
    struct pair *pair = pair_new();
    pair_begin_connect(pair, NULL);
    tw_connection_close(pair->a.connection);
    tw_connection_close(pair->a.connection);
    assert_int_equal(pair->a.closed, 0);
    pair_run_until(pair, &pair->a.closed, 1);
    expect_closed(&pair->a, TW_CLOSED, "closed by this side");
    assert_int_equal(pair->a.opened, 0);
    pair_free(pair);
}

static void close_of_a_new_one(void **state) {
    static const struct tw_connection_events none = {0};
    struct pair *pair = pair_new();
    struct tw_connection *connection;
    assert_int_equal(tw_connection_new(&connection, &pair->host, &none, NULL), TW_OK);
    tw_connection_free(connection); /* never opened */
    assert_int_equal(tw_connection_new(&connection, &pair->host, &none, NULL), TW_OK);
    tw_connection_close(connection);
    tw_connection_free(connection); /* closing: no event comes any more */
    pair_free(pair);
}

static void close_releases_what_is_queued(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair->b.blocked = 1; /* so that most of it stays queued, some of it in a write */
    for (size_t i = 0; i < 40; i++) {
        end_send(&pair->a, &push, data, i, NULL);
    }
    pair_run_until(pair, &pair->b.again, 1);
    tw_connection_close(pair->a.connection);
    assert_int_equal(end_send(&pair->a, &push, data, 99, NULL), TW_CLOSED);
    assert_int_equal(pair->a.closed, 0);
    pair_run_until(pair, &pair->a.closed, 1);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(pair->a.released[i], 1);
    }
    assert_int_equal(pair->a.releases, 40);
    pair_free(pair);
}

static void close_it(struct end *end) {
    tw_connection_close(end->connection);
    assert_int_equal(end->closed, 0);
}

static void close_on_frame(struct end *end, const struct tw_frame *frame) {
    close_it(end);
}

static void close_inside_on_frame(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair->b.when_frame = close_on_frame;
    end_send(&pair->a, &ping, NULL, 0, NULL);
    end_send(&pair->a, &ping, NULL, 0, NULL);
    pair_run_until(pair, &pair->b.closed, 1);
    assert_int_equal(pair->b.frames, 1); /* the second came with it */
    pair_run_until(pair, &pair->a.closed, 1);
    pair_free(pair);
}

static void close_inside_on_data(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair->b.when_data = close_it;
    end_send(&pair->a, &push, data, 0, NULL);
    pair_run_until(pair, &pair->b.closed, 1);
    assert_int_equal(pair->b.frames, 0);
    pair_run_until(pair, &pair->a.closed, 1);
    assert_int_equal(pair->a.releases, 1);
    pair_free(pair);
}

static void close_inside_on_released(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair->a.when_released = close_it;
    for (size_t i = 0; i < 10; i++) {
        end_send(&pair->a, &push, data, i, NULL);
    }
    pair_run_until(pair, &pair->a.closed, 1);
    assert_int_equal(pair->a.releases, 10);
    pair_free(pair);
}

static void close_inside_on_open(void **state) {
    struct pair *pair = pair_new();
    pair->a.when_open = close_it;
    pair_begin_connect(pair, NULL);
    pair_run_until(pair, &pair->a.closed, 1);
    pair_free(pair);
}

static void freed_inside_on_closed(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair->a.free_when_closed = true;
    pair->b.free_when_closed = true;
    tw_connection_close(pair->a.connection);
    pair_run_until(pair, &pair->a.closed, 1);
    pair_run_until(pair, &pair->b.closed, 1);
    expect_closed(&pair->b, TW_CLOSED, "the peer closed the connection");
    pair_free(pair);
}

static void free_while_open(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    end_send(&pair->a, &push, data, 0, NULL);
    tw_connection_free(pair->a.connection);
    pair->a.connection = NULL;
    pair_run_until(pair, &pair->b.closed, 1);
    assert_int_equal(pair->a.closed, 0);
    assert_int_equal(pair->a.releases, 0);
    pair_free(pair);
}

/* ---- last words ---- */

static unsigned heard_status;
static char heard_text[TW_ERROR_TEXT];

static void hear(struct end *end, const struct tw_frame *frame) {
    if (frame->body == TW_BODY_REFUSE) {
        heard_status = frame->refuse.status;
        memcpy(heard_text, frame->refuse.text.bytes, frame->refuse.text.size);
        heard_text[frame->refuse.text.size] = '\0';
    }
}

static void finish_sends_the_queue_and_a_refuse(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair->b.when_frame = hear;
    for (size_t i = 0; i < 20; i++) {
        end_send(&pair->a, &push, data, i, NULL);
    }
    tw_connection_finish(pair->a.connection, TW_FENCED, "rank 3 is held by another");
    assert_int_equal(end_send(&pair->a, &ping, NULL, 0, NULL), TW_CLOSED);
    tw_connection_finish(pair->a.connection, TW_JOB, "only the first word counts");
    pair_run_until(pair, &pair->a.closed, 1);
    pair_run_until(pair, &pair->b.closed, 1);
    assert_int_equal(pair->b.frames, 21);
    assert_int_equal(heard_status, TW_FENCED);
    assert_string_equal(heard_text, "rank 3 is held by another");
    expect_closed(&pair->a, TW_FENCED, "rank 3 is held by another");
    expect_closed(&pair->b, TW_CLOSED, "the peer closed the connection");
    pair_free(pair);
}

static void finish_without_a_cause(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    end_send(&pair->a, &ping, NULL, 0, NULL);
    tw_connection_finish(pair->a.connection, TW_OK, "");
    pair_run_until(pair, &pair->a.closed, 1);
    pair_run_until(pair, &pair->b.closed, 1);
    assert_int_equal(pair->b.frames, 1);
    expect_closed(&pair->a, TW_CLOSED, "closed by this side");
    pair_free(pair);
}

/* The peer is in the middle of sending megabytes, and hears the Refuse anyway. */
static void a_refuse_is_not_overtaken_by_a_reset(void **state) {
    struct pair *pair = pair_new();
    pair_connect(pair);
    pair->a.when_frame = hear;
    heard_text[0] = '\0';
    pair->b.blocked = 1;
    for (size_t i = 0; i < 40; i++) {
        end_send(&pair->a, &push, data, i, NULL);
    }
    pair_run_until(pair, &pair->b.again, 1);
    tw_connection_finish(pair->b.connection, TW_STALE, "that step is over");
    pair_run_until(pair, &pair->a.frames, 1);
    assert_string_equal(heard_text, "that step is over");
    pair_run_until(pair, &pair->b.closed, 1);
    pair_free(pair);
}

static void finish_has_a_deadline(void **state) {
    struct pair *pair = pair_new();
    pair->host.finish_ms = 20;
    int fd = pair_connect_socket(pair);
    for (size_t i = 0; i < 40; i++) {
        end_send(&pair->b, &push, data, i, NULL);
    }
    tw_connection_finish(pair->b.connection, TW_STOPPED, "the run is over");
    pair_run_until(pair, &pair->b.closed, 1);
    assert_int_equal(pair->b.releases, 40);
    expect_closed(&pair->b, TW_STOPPED, "the run is over");
    close(fd);
    pair_free(pair);
}

/* ---- by the peer ---- */

static void peer_closes_in_mid_frame(void **state) {
    struct pair *pair = pair_new();
    unsigned char bytes[64];
    size_t size = tw_frame_encode(&push, bytes, sizeof bytes);
    int fd = pair_connect_socket(pair);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(write(fd, data, 1000), 1000);
    close(fd);
    pair_run_until(pair, &pair->b.closed, 1);
    expect_closed(&pair->b, TW_CLOSED, "in the middle of the 1048576 bytes of a Push frame");
    pair_free(pair);
}

static void peer_closes_in_mid_prefix(void **state) {
    struct pair *pair = pair_new();
    int fd = pair_connect_socket(pair);
    assert_int_equal(write(fd, "\x20\x4a", 2), 2);
    close(fd);
    pair_run_until(pair, &pair->b.closed, 1);
    expect_closed(&pair->b, TW_CLOSED, "in the middle of a frame");
    pair_free(pair);
}

static void peer_resets(void **state) {
    struct pair *pair = pair_new();
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    int fd = pair_connect_socket(pair);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
    pair_run_until(pair, &pair->b.closed, 1);
    expect_closed(&pair->b, TW_CLOSED, "connection lost: connection reset by peer");
    pair_free(pair);
}

static void peer_resets_while_we_send(void **state) {
    struct pair *pair = pair_new();
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    int fd = pair_connect_socket(pair);
    for (size_t i = 0; i < 40; i++) {
        end_send(&pair->b, &push, data, i, NULL);
    }
    pair_turn(pair);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
    pair_run_until(pair, &pair->b.closed, 1);
    assert_int_equal(pair->b.releases, 40);
    assert_int_equal(pair->b.error.status, TW_CLOSED);
    pair_free(pair);
}

/* ---- peers that are slow ---- */

static void a_peer_that_stops_in_mid_frame(void **state) {
    struct pair *pair = pair_new();
    unsigned char bytes[64];
    size_t size = tw_frame_encode(&push, bytes, sizeof bytes);
    pair->host.slow_window_ms = 30;
    int fd = pair_connect_socket(pair);
    assert_int_equal(write(fd, bytes, size), size);
    char said[TW_ERROR_TEXT + 64];
    ssize_t heard;
    while ((heard = recv(fd, said, sizeof said, MSG_DONTWAIT)) <= 0)
        pair_turn(pair);
    assert_non_null(memmem(said, (size_t)heard, "slow-peer", 9));
    close(fd);
    pair_run_until(pair, &pair->b.closed, 1);
    expect_closed(&pair->b, TW_SLOW_PEER, "in the middle of a frame; at least 16384 bytes/s");
    pair_free(pair);
}

static void a_peer_that_takes_nothing(void **state) {
    struct pair *pair = pair_new();
    pair->host.stalled_send_ms = 30;
    int fd = pair_connect_socket(pair);
    for (size_t i = 0; i < 40; i++) {
        end_send(&pair->b, &push, data, i, NULL);
    }
    pair_run_until(pair, &pair->b.closed, 1);
    expect_closed(&pair->b, TW_SLOW_PEER, "the peer has taken nothing for ");
    assert_int_equal(pair->b.releases, 40);
    close(fd);
    pair_free(pair);
}

static void note_tick(uv_timer_t *timer) {
    ++*(unsigned *)timer->data;
}

/* A connection between frames, and one that waits for its own owner, are not slow
 * peers: many windows pass, and both live. */
static void silence_between_frames_is_no_fault(void **state) {
    struct pair *pair = pair_new();
    uv_timer_t timer;
    unsigned ticks = 0;
    pair->host.slow_window_ms = 100;
    pair_connect(pair);
    pair->b.blocked = 1;
    end_send(&pair->a, &push, data, 0, NULL);
    pair_run_until(pair, &pair->b.again, 1);
    uv_timer_init(&pair->loop, &timer);
    timer.data = &ticks;
    uv_timer_start(&timer, note_tick, 100, 100);
    pair_run_until(pair, &ticks, 4);
    uv_close((uv_handle_t *)&timer, NULL);
    assert_int_equal(pair->a.closed + pair->b.closed, 0);
    pair->b.blocked = 0;
    tw_connection_resume(pair->b.connection);
    pair_run_until(pair, &pair->b.frames, 1);
    pair_free(pair);
}

/* ---- peers that are something else ---- */

static void a_browser_is_told(void **state) {
    struct pair *pair = pair_new();
    size_t size;
    int fd = pair_connect_socket(pair);
    tw_connection_limit(pair->b.connection, TW_HELLO_BYTES_MAX, false);
    assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    shutdown(fd, SHUT_WR);
    pair_run_until(pair, &pair->b.closed, 1);
    expect_closed(&pair->b, TW_MALFORMED, "the peer speaks HTTP, not the protocol of Talweg");
    char *said = read_all(fd, &size);
    assert_non_null(memmem(said, size, "the peer speaks HTTP", 20));
    free(said);
    close(fd);
    pair_free(pair);
}

static void garbage_harms_only_its_connection(void **state) {
    struct pair *pair = pair_new();
    pair->host.finish_ms = 20;
    int fd = pair_connect_socket(pair);
    memset(data, 0xff, 100);
    assert_int_equal(write(fd, data, DATA_BYTES / 16), DATA_BYTES / 16);
    pair_run_until(pair, &pair->b.closed, 1);
    expect_closed(&pair->b, TW_MALFORMED, "the peer's first bytes are not those of Talweg");
    close(fd);
    pair_free(pair);
}

/* ---- servers that are not there ---- */

static void nobody_listens(void **state) {
    struct pair *pair = pair_new();
    struct sockaddr_storage nobody = pair->address;
    uv_tcp_t taken; /* bound, but not listening: connections are refused */
    int size = sizeof nobody;
    uv_tcp_init(&pair->loop, &taken);
    ((struct sockaddr_in *)&nobody)->sin_port = 0;
    assert_int_equal(uv_tcp_bind(&taken, (struct sockaddr *)&nobody, 0), 0);
    assert_int_equal(uv_tcp_getsockname(&taken, (struct sockaddr *)&nobody, &size), 0);
    pair_begin_connect(pair, (struct sockaddr *)&nobody);
    pair_run_until(pair, &pair->a.closed, 1);
    assert_int_equal(pair->a.opened, 1);
    assert_int_equal(pair->a.open_status, TW_UNREACHABLE);
    expect_closed(&pair->a, TW_UNREACHABLE, ": connection refused");
    assert_non_null(strstr(pair->a.error.text, "cannot connect to 127.0.0.1:"));
    uv_close((uv_handle_t *)&taken, NULL);
    pair_free(pair);
}

/* What fails inside connect() is told from the loop too. */
static void no_way_to_the_address(void **state) {
    struct pair *pair = pair_new();
    struct sockaddr_in broadcast = {.sin_family = AF_INET, .sin_port = 1};
    broadcast.sin_addr.s_addr = INADDR_BROADCAST;
    pair_begin_connect(pair, (struct sockaddr *)&broadcast);
    assert_int_equal(pair->a.opened, 0);
    pair_run_until(pair, &pair->a.closed, 1);
    assert_int_equal(pair->a.opened, 1);
    expect_closed(&pair->a, TW_UNREACHABLE, "cannot connect to 255.255.255.255:256: ");
    pair_free(pair);
}

/* A listener whose queue is full answers nobody. */
static void connecting_has_a_deadline(void **state) {
    struct pair *pair = pair_new();
    struct sockaddr_in here = {.sin_family = AF_INET};
    socklen_t size = sizeof here;
    int others[3];
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &size), 0);
    for (int i = 0; i < 3; i++) {
        others[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(others[i], (struct sockaddr *)&here, sizeof here);
    }
    pair->host.connect_ms = 20;
    pair_begin_connect(pair, (struct sockaddr *)&here);
    pair_run_until(pair, &pair->a.closed, 1);
    assert_int_equal(pair->a.open_status, TW_UNREACHABLE);
    expect_closed(&pair->a, TW_UNREACHABLE, "timed out");
    for (int i = 0; i < 3; i++) {
        close(others[i]);
    }
    close(fd);
    pair_free(pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_before_it_opened),
        cmocka_unit_test(close_of_a_new_one),
        cmocka_unit_test(close_releases_what_is_queued),
        cmocka_unit_test(close_inside_on_frame),
        cmocka_unit_test(close_inside_on_data),
        cmocka_unit_test(close_inside_on_released),
        cmocka_unit_test(close_inside_on_open),
        cmocka_unit_test(freed_inside_on_closed),
        cmocka_unit_test(free_while_open),
        cmocka_unit_test(finish_sends_the_queue_and_a_refuse),
        cmocka_unit_test(finish_without_a_cause),
        cmocka_unit_test(a_refuse_is_not_overtaken_by_a_reset),
        cmocka_unit_test(finish_has_a_deadline),
        cmocka_unit_test(peer_closes_in_mid_frame),
        cmocka_unit_test(peer_closes_in_mid_prefix),
        cmocka_unit_test(peer_resets),
        cmocka_unit_test(peer_resets_while_we_send),
        cmocka_unit_test(a_peer_that_stops_in_mid_frame),
        cmocka_unit_test(a_peer_that_takes_nothing),
        cmocka_unit_test(silence_between_frames_is_no_fault),
        cmocka_unit_test(a_browser_is_told),
        cmocka_unit_test(garbage_harms_only_its_connection),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(no_way_to_the_address),
        cmocka_unit_test(connecting_has_a_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
