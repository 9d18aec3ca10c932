/* The life of a connection: see connection.h and the states in
 * connection_private.h. Closing is one function, begin_closing(), for every
 * state and every cause; the owner hears of it when the last handle is closed. */
#include "proto/connection.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/net/listen.h"
#include "proto/connection_private.h"

/* The watch looks at least this often, so that its times are good to a second. */
#define WATCH_MS_MAX 1000

static uint64_t or_default(uint64_t value, uint64_t standard) {
    return value != 0 ? value : standard;
}

static void on_turn(uv_idle_t *turn) {
    struct tw_connection *connection = turn->data;
    uv_idle_stop(turn);
    if (connection->connect_failed != 0) {
        connection->on_open(connection, TW_UNREACHABLE, &connection->cause);
        tw_connection_close(connection);
        return;
    }
    tw_connection_read_turn(connection);
    tw_connection_flush(connection);
    if (connection->called && connection->state < TW_CONNECTION_CLOSING) {
        connection->called = false;
        connection->events.on_called(connection);
    }
}

void tw_connection_call(struct tw_connection *connection) {
    connection->called = true;
    tw_connection_want_turn(connection);
}

/* An idle handle, not a prepare handle: while it is active the loop does not
 * sleep, so that what is queued in the very phase that runs these callbacks does
 * not have to wait for an event. It is active for one turn. */
void tw_connection_want_turn(struct tw_connection *connection) {
    if (connection->state < TW_CONNECTION_CLOSING) {
        uv_idle_start(&connection->turn, on_turn);
    }
}

enum tw_status tw_connection_new(struct tw_connection **out, const struct tw_connection_host *host,
                                 const struct tw_connection_events *events, void *context) {
    struct tw_connection *connection = malloc(sizeof *connection);
    if (connection == NULL) {
        *out = NULL;
        return TW_NO_MEMORY;
    }
    memset(connection, 0, offsetof(struct tw_connection, decoder));
    connection->host = *host;
    struct tw_connection_host *limits = &connection->host;
    limits->connect_ms = or_default(host->connect_ms, TW_CONNECT_MS);
    limits->finish_ms = or_default(host->finish_ms, TW_FINISH_MS);
    limits->stalled_send_ms = or_default(host->stalled_send_ms, TW_STALLED_SEND_MS);
    limits->slow_window_ms = or_default(host->slow_window_ms, TW_SLOW_WINDOW_MS);
    limits->slow_bytes_per_s = or_default(host->slow_bytes_per_s, TW_SLOW_BYTES_PER_S);
    connection->events = *events;
    connection->drained = true;
    connection->wake_bytes = 1;
    connection->context = context;
    snprintf(connection->peer, sizeof connection->peer, "?");
    uv_timer_init(host->loop, &connection->timer);
    uv_idle_init(host->loop, &connection->turn);
    connection->handles = 2;
    connection->timer.data = connection->turn.data = connection;
    tw_connection_init_reading(connection);
    *out = connection;
    return TW_OK;
}

/* ---- closing ---- */

static void destroy(struct tw_connection *connection) {
    tw_connection_fini_reading(connection);
    free(connection);
}

static void on_handle_closed(uv_handle_t *handle) {
    struct tw_connection *connection = handle->data;
    if (--connection->handles > 0) {
        return;
    }
    connection->state = TW_CONNECTION_CLOSED;
    tw_connection_release_all(connection);
    if (connection->freed) {
        destroy(connection);
    } else {
        connection->events.on_closed(connection, &connection->cause);
    }
}

static void begin_closing(struct tw_connection *connection) {
    if (connection->state >= TW_CONNECTION_CLOSING) {
        return;
    }
    connection->state = TW_CONNECTION_CLOSING;
    connection->reading = false;
    uv_close((uv_handle_t *)&connection->timer, on_handle_closed);
    uv_close((uv_handle_t *)&connection->turn, on_handle_closed);
    if (connection->stream_initialised) {
        uv_close((uv_handle_t *)&connection->stream, on_handle_closed);
    }
}

void tw_connection_fail(struct tw_connection *connection, enum tw_status status, const char *format,
                        ...) {
    if (connection->cause.status == TW_OK) {
        char text[TW_ERROR_TEXT];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        tw_error_set(&connection->cause, status, "%s", text);
    }
    begin_closing(connection);
}

void tw_connection_close(struct tw_connection *connection) {
    tw_connection_fail(connection, TW_CLOSED, "closed by this side");
}

void tw_connection_free(struct tw_connection *connection) {
    if (connection == NULL) {
        return;
    }
    if (connection->handles == 0) {
        destroy(connection);
        return;
    }
    connection->freed = true;
    begin_closing(connection);
}

static void on_finish_deadline(uv_timer_t *timer) {
    tw_connection_close(timer->data);
}

void tw_connection_finish(struct tw_connection *connection, enum tw_status status,
                          const char *text) {
    if (connection->state != TW_CONNECTION_OPEN) {
        if (connection->state < TW_CONNECTION_OPEN) {
            tw_connection_fail(connection, status == TW_OK ? TW_CLOSED : status, "%s", text);
        }
        return;
    }
    tw_error_set(&connection->cause, status == TW_OK ? TW_CLOSED : status, "%s",
                 status == TW_OK ? "closed by this side" : text);
    if (status != TW_OK) {
        const char *name = tw_status_name(status);
        struct tw_frame refuse = {
            .body = TW_BODY_REFUSE,
            .refuse = {.status = status,
                       .name = {name, strlen(name)},
                       .text = {text, strlen(text)}},
        };
        (void)tw_send_queue_put(&connection->queue, &refuse, tw_frame_measure(&refuse), NULL, NULL,
                                NULL);
    }
    connection->state = TW_CONNECTION_FINISHING;
    uv_update_time(connection->host.loop);
    uv_timer_start(&connection->timer, on_finish_deadline, connection->host.finish_ms, 0);
    tw_connection_want_turn(connection);
}

/* ---- watching ---- */

/* Has nothing left for too long? */
static void watch_sending(struct tw_connection *connection, uint64_t now) {
    uint64_t sent = tw_connection_sent(connection);
    if (connection->queue.entries == 0 || sent != connection->sent_then) {
        connection->sent_ms = now;
        connection->sent_then = sent;
    } else if (now - connection->sent_ms >= connection->host.stalled_send_ms) {
        tw_connection_fail(connection, TW_SLOW_PEER,
                           "the peer has taken nothing for %llu ms; %zu bytes wait to be sent",
                           (unsigned long long)(now - connection->sent_ms),
                           tw_connection_queued(connection));
    }
}

/* Does a frame that has begun come too slowly? Time in which we do not read, or
 * between frames, does not count. */
static void watch_receiving(struct tw_connection *connection, uint64_t now) {
    uint64_t bytes = connection->received - connection->received_then;
    uint64_t passed = now - connection->slow_ms;
    bool owes = connection->reading && tw_decoder_mid_frame(&connection->decoder);
    if (owes && connection->frames == connection->frames_then) {
        if (passed < connection->host.slow_window_ms) {
            return;
        }
        if (bytes < connection->host.slow_bytes_per_s * passed / 1000) {
            char text[160];
            snprintf(text, sizeof text,
                     "%llu bytes in %llu ms in the middle of a frame; at least %llu bytes/s are "
                     "expected",
                     (unsigned long long)bytes, (unsigned long long)passed,
                     (unsigned long long)connection->host.slow_bytes_per_s);
            tw_connection_finish(connection, TW_SLOW_PEER, text);
            return;
        }
    }
    connection->slow_ms = now;
    connection->received_then = connection->received;
    connection->frames_then = connection->frames;
}

static void on_watch(uv_timer_t *timer) {
    struct tw_connection *connection = timer->data;
    uint64_t now = uv_now(connection->host.loop);
    if (now - connection->watched_ms > 3 * uv_timer_get_repeat(timer)) {
        /* We ourselves were stopped; nobody else is to blame for that time. */
        connection->sent_ms = connection->slow_ms = now;
        connection->received_then = connection->received;
    }
    connection->watched_ms = now;
    if (connection->broken) {
        tw_connection_fail(connection, TW_CLOSED, "connection lost while sending");
        return;
    }
    watch_sending(connection, now);
    if (connection->state == TW_CONNECTION_OPEN) {
        watch_receiving(connection, now);
        tw_connection_wake_early(connection); /* a slow peer's bytes count, too */
    }
    if (connection->state == TW_CONNECTION_OPEN && connection->events.on_tick != NULL) {
        connection->events.on_tick(connection);
    }
}

static void begin_watch(struct tw_connection *connection) {
    const struct tw_connection_host *limits = &connection->host;
    uint64_t period = limits->stalled_send_ms < limits->slow_window_ms ? limits->stalled_send_ms
                                                                       : limits->slow_window_ms;
    period = period / 4 > WATCH_MS_MAX ? WATCH_MS_MAX : period / 4 + 1;
    uv_update_time(limits->loop);
    connection->watched_ms = connection->sent_ms = connection->slow_ms = uv_now(limits->loop);
    uv_timer_start(&connection->timer, on_watch, period, period);
}

/* ---- opening ---- */

static void open_with(struct tw_connection *connection, const struct sockaddr *peer) {
    tw_address_name(peer, connection->peer);
    tw_socket_tune(&connection->stream, peer);
    if (connection->host.stalled_send_ms > TW_DEAD_PEER_MS)
        tw_socket_patience(&connection->stream, connection->host.stalled_send_ms);
    (void)uv_fileno((const uv_handle_t *)&connection->stream, &connection->fd);
    connection->state = TW_CONNECTION_OPEN;
    begin_watch(connection);
    tw_connection_read(connection);
}

static int init_stream(struct tw_connection *connection, unsigned family) {
    int code = uv_tcp_init_ex(connection->host.loop, &connection->stream, family);
    if (code == 0) {
        connection->stream.data = connection;
        connection->stream_initialised = true;
        connection->handles++;
    }
    return code;
}

enum tw_status tw_connection_accept(struct tw_connection *connection, uv_stream_t *listener,
                                    struct tw_error *error) {
    struct sockaddr_storage peer;
    int size = sizeof peer;
    int code = init_stream(connection, AF_UNSPEC);
    if (code == 0) {
        code = uv_accept(listener, (uv_stream_t *)&connection->stream);
    }
    if (code == 0) {
        code = uv_tcp_getpeername(&connection->stream, (struct sockaddr *)&peer, &size);
    }
    if (code != 0) {
        return tw_error_set(error, TW_IO, "cannot accept a connection: %s", uv_strerror(code));
    }
    open_with(connection, (const struct sockaddr *)&peer);
    return TW_OK;
}

static void connect_failed(struct tw_connection *connection, int code) {
    tw_error_set(&connection->cause, TW_UNREACHABLE, "cannot connect to %s: %s", connection->peer,
                 uv_strerror(code));
}

static void on_connected(uv_connect_t *request, int code) {
    struct tw_connection *connection = request->handle->data;
    struct sockaddr_storage peer;
    int size = sizeof peer;
    if (connection->state != TW_CONNECTION_CONNECTING) {
        return;
    }
    if (code == 0) {
        code = uv_tcp_getpeername(&connection->stream, (struct sockaddr *)&peer, &size);
    }
    if (code != 0) {
        connect_failed(connection, code);
        connection->on_open(connection, TW_UNREACHABLE, &connection->cause);
        tw_connection_close(connection);
        return;
    }
    open_with(connection, (const struct sockaddr *)&peer);
    connection->on_open(connection, TW_OK, &connection->cause);
    if (connection->state == TW_CONNECTION_OPEN) {
        tw_connection_flush(connection);
    }
}

static void on_connect_deadline(uv_timer_t *timer) {
    struct tw_connection *connection = timer->data;
    connect_failed(connection, UV_ETIMEDOUT);
    connection->on_open(connection, TW_UNREACHABLE, &connection->cause);
    tw_connection_close(connection);
}

enum tw_status tw_connection_connect(struct tw_connection *connection, const struct sockaddr *to,
                                     void (*on_open)(struct tw_connection *, enum tw_status,
                                                     const struct tw_error *),
                                     struct tw_error *error) {
    connection->on_open = on_open;
    connection->state = TW_CONNECTION_CONNECTING;
    tw_address_name(to, connection->peer);
    int code = init_stream(connection, to->sa_family);
    if (code == 0) {
        tw_socket_size(&connection->stream);
        code = uv_tcp_connect(&connection->connecting, &connection->stream, to, on_connected);
    }
    if (code != 0) {
        connect_failed(connection, code);
        connection->connect_failed = code;
        tw_connection_want_turn(connection);
        return TW_OK;
    }
    uv_update_time(connection->host.loop);
    uv_timer_start(&connection->timer, on_connect_deadline, connection->host.connect_ms, 0);
    return TW_OK;
}

/* ---- what it is ---- */

void tw_connection_bound(struct tw_connection *connection, size_t send_queue_bytes_max) {
    connection->host.send_queue_bytes_max = send_queue_bytes_max;
}

bool tw_connection_is_alive(const struct tw_connection *connection) {
    return connection->state <= TW_CONNECTION_OPEN;
}

void *tw_connection_context(const struct tw_connection *connection) {
    return connection->context;
}

void tw_connection_set_context(struct tw_connection *connection, void *context) {
    connection->context = context;
}

const char *tw_connection_peer(const struct tw_connection *connection) {
    return connection->peer;
}
