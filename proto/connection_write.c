/* What leaves over a connection: see connection.h.
 *
 * Happy path: frames are gathered and handed to the kernel at once; what it does
 * not take now goes into one write of libuv, and when that is done the next
 * gather follows. One write is under way at most, so libuv's queue never holds
 * more than a gather.
 * Failure: a write that fails because the peer is gone ends writing, but what the
 * peer said before (a Refuse, perhaps) is still read; the end of file that follows
 * closes. At close everything queued releases its data.
 */
#include <errno.h>
#include <sys/socket.h>

#include "proto/connection_private.h"

/* What one call writes at most, about: then others are served. */
#define FLUSH_BYTES (2 * TW_GATHER_BYTES)

static void released(void *context, uint32_t lane, void *token) {
    struct tw_connection *connection = context;
    if (connection->events.on_released != NULL && !connection->freed) {
        connection->events.on_released(connection, lane, token);
    }
}

static void on_write_failed(struct tw_connection *connection, int code) {
    connection->broken = true;
    if (!connection->reading) {
        tw_connection_fail(connection, TW_CLOSED, "connection lost: %s", uv_strerror(code));
    }
}

static void on_written(uv_write_t *request, int code) {
    struct tw_connection *connection = request->handle->data;
    size_t bytes = connection->flying;
    connection->flying = 0;
    if (connection->state >= TW_CONNECTION_CLOSING) {
        return; /* tw_connection_release_all() comes next */
    }
    if (code != 0) {
        on_write_failed(connection, code);
        return;
    }
    connection->sent += bytes;
    connection->flushing = true; /* the gather below does it all */
    tw_send_queue_take(&connection->queue, bytes, released, connection);
    connection->flushing = false;
    tw_connection_flush(connection);
}

/* What the kernel takes at once: a count of bytes, UV_EAGAIN, or another error. Not by
 * uv_try_write(), which raises SIGPIPE when the peer is gone: a library would have to
 * block it around every call. */
static ssize_t try_write(const struct tw_connection *connection, struct iovec *pieces,
                         size_t count) {
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t written;
    do {
        written = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    } while (written < 0 && errno == EINTR);
    if (written >= 0) {
        return written;
    }
    bool is_full = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
    return is_full ? UV_EAGAIN : uv_translate_sys_error(errno);
}

/* Leaves the front of the queue to libuv, until the socket has room again. */
static void begin_write(struct tw_connection *connection) {
    struct iovec pieces[TW_GATHER_PIECES];
    uv_buf_t buffers[TW_GATHER_PIECES];
    size_t bytes, count = tw_send_queue_gather(&connection->queue, pieces, &bytes);
    for (size_t i = 0; i < count; i++) {
        buffers[i] = (uv_buf_t){.base = pieces[i].iov_base, .len = pieces[i].iov_len};
    }
    if (connection->host.before_uv_write != NULL) {
        connection->host.before_uv_write(connection->host.context);
    }
    connection->flying = bytes;
    int code = uv_write(&connection->write, (uv_stream_t *)&connection->stream, buffers,
                        (unsigned)count, on_written);
    if (code != 0) {
        connection->flying = 0;
        on_write_failed(connection, code);
    }
}

static bool may_write(const struct tw_connection *connection) {
    return (connection->state == TW_CONNECTION_OPEN ||
            connection->state == TW_CONNECTION_FINISHING) &&
           connection->flying == 0 && !connection->broken && !connection->flushing &&
           !connection->corked;
}

static void on_shut(uv_shutdown_t *request, int code) {
    struct tw_connection *connection = request->handle->data;
    if (connection->state == TW_CONNECTION_FINISHING && (code != 0 || connection->peer_ended)) {
        tw_connection_close(connection);
    }
}

/* Finishing, and everything has left: no more from us. */
static void shut(struct tw_connection *connection) {
    if (connection->state != TW_CONNECTION_FINISHING || connection->queue.entries > 0 ||
        connection->shutting) {
        return;
    }
    connection->shutting = true;
    int code = uv_shutdown(&connection->shutdown, (uv_stream_t *)&connection->stream, on_shut);
    if (code != 0) {
        tw_connection_close(connection);
    }
}

/* Once each time that the queue has become empty. */
static void tell_drained(struct tw_connection *connection) {
    if (connection->drained || connection->queue.entries > 0 || connection->flying > 0 ||
        connection->state != TW_CONNECTION_OPEN)
        return;
    connection->drained = true;
    if (connection->events.on_drained != NULL)
        connection->events.on_drained(connection);
}

/* Nothing is left for the next turn of the loop: it may sleep. */
static void rest(struct tw_connection *connection) {
    if (connection->queue.entries == 0 && !connection->read_owed && !connection->called)
        uv_idle_stop(&connection->turn);
}

void tw_connection_flush(struct tw_connection *connection) {
    size_t total = 0;
    while (may_write(connection) && connection->queue.entries > 0) {
        if (total >= FLUSH_BYTES) { /* the owner refills as fast as it is emptied */
            tw_connection_want_turn(connection);
            return;
        }
        struct iovec pieces[TW_GATHER_PIECES];
        size_t bytes, count = tw_send_queue_gather(&connection->queue, pieces, &bytes);
        ssize_t written = try_write(connection, pieces, count);
        if (written < 0 && written != UV_EAGAIN) {
            on_write_failed(connection, (int)written);
            return;
        }
        size_t taken = written > 0 ? (size_t)written : 0;
        connection->sent += taken;
        total += taken;
        connection->flushing = true;
        tw_send_queue_take(&connection->queue, taken, released, connection);
        connection->flushing = false;
        if (taken < bytes && may_write(connection)) {
            begin_write(connection);
        }
    }
    if (may_write(connection)) {
        rest(connection);
        shut(connection);
        tell_drained(connection);
    }
}

void tw_connection_drop_data(struct tw_connection *connection, uint32_t lane) {
    if (connection->state > TW_CONNECTION_OPEN || connection->flushing) {
        return;
    }
    connection->flushing = true; /* nothing may be written while entries go */
    tw_send_queue_drop_data(&connection->queue, lane, connection->flying, released, connection);
    connection->flushing = false;
}

uint64_t tw_connection_sent(const struct tw_connection *connection) {
    size_t waiting = connection->flying > 0
                         ? uv_stream_get_write_queue_size((const uv_stream_t *)&connection->stream)
                         : 0;
    return connection->sent + connection->flying - waiting;
}

bool tw_connection_is_writing(const struct tw_connection *connection) {
    return connection->flying > 0;
}

size_t tw_connection_queued(const struct tw_connection *connection) {
    return connection->queue.bytes - (size_t)(tw_connection_sent(connection) - connection->sent);
}

size_t tw_connection_frames(const struct tw_connection *connection) {
    return connection->queue.entries;
}

enum tw_status tw_connection_send(struct tw_connection *connection, const struct tw_frame *frame,
                                  const void *data, void *token) {
    if (connection->state > TW_CONNECTION_OPEN) {
        return TW_CLOSED;
    }
    unsigned char room[TW_PLAIN_MAX];
    const unsigned char *written = NULL;
    struct tw_frame_bytes bytes = {.prefix = tw_frame_write_plain(frame, room, &written)};
    if (bytes.prefix == 0)
        bytes = tw_frame_measure(frame);
    size_t cost = tw_send_queue_cost(&connection->queue, bytes.prefix + frame->data_bytes);
    if (cost > connection->host.send_queue_bytes_max) {
        tw_connection_fail(connection, TW_LIMIT,
                           "%zu bytes wait to be sent; at most %zu are allowed", cost,
                           connection->host.send_queue_bytes_max);
        return TW_LIMIT;
    }
    enum tw_status status =
        tw_send_queue_put(&connection->queue, frame, bytes, written, data, token);
    if (status != TW_OK) {
        tw_connection_fail(connection, status, "cannot queue a %s frame: %s",
                           tw_body_name(frame->body), tw_status_text(status));
        return status;
    }
    connection->drained = false;
    if (connection->state == TW_CONNECTION_OPEN && connection->flying == 0) {
        tw_connection_want_turn(connection);
    }
    return TW_OK;
}

void tw_connection_release_all(struct tw_connection *connection) {
    connection->flushing = true;
    tw_send_queue_take(&connection->queue, connection->queue.bytes, released, connection);
    tw_send_queue_fini(&connection->queue);
}
