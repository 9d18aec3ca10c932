/* What comes in over a connection: see connection.h.
 *
 * Happy path: libuv asks where bytes should go, the decoder says where, libuv
 * tells how many came, the decoder calls the owner for what they complete.
 * Failure: end of file and errors close; bytes that are wrong, and an owner that
 * returns a final status, finish the connection with a Refuse.
 */
#include <stdlib.h>

#include "common/net/listen.h"
#include "proto/connection_private.h"

/* Of tensor bytes the kernel wakes us for so many. To be woken costs us, and the sender who does
 * it, as much as copying tens of KiB; to wait for more than this would keep the end of a tensor
 * from being received while the rest is on its way. */
#define WAKE_BYTES (128u << 10)

/* The decoder's slow path: one block per connection, replaced when it grows; its
 * size is bounded by the decoder's frame_bytes_max. */
static void *lend(void *context, size_t bytes) {
    struct tw_connection *connection = context;
    free(connection->decoder.whole);
    return malloc(bytes);
}

static enum tw_status over(const struct tw_connection *connection, enum tw_status status) {
    return connection->state == TW_CONNECTION_OPEN ? status : TW_CLOSED;
}

static enum tw_status on_data(void *context, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    struct tw_connection *connection = context;
    return over(connection, connection->events.on_data(connection, frame, place, error));
}

static enum tw_status on_frame(void *context, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct tw_connection *connection = context;
    connection->frames++;
    return over(connection, connection->events.on_frame(connection, frame, data, error));
}

static const struct tw_decoder_sink sink = {.on_data = on_data, .on_frame = on_frame};

void tw_connection_init_reading(struct tw_connection *connection) {
    tw_decoder_init(&connection->decoder, &sink, connection, connection->host.arena, lend);
}

void tw_connection_fini_reading(struct tw_connection *connection) {
    free(connection->decoder.whole);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct tw_connection *connection = handle->data;
    void *at = connection->host.arena->stage; /* finishing: what comes is thrown away */
    size_t room = sizeof connection->host.arena->stage;
    if (connection->state == TW_CONNECTION_OPEN) {
        tw_decoder_want(&connection->decoder, &at, &room);
    }
    *buffer = uv_buf_init(at, (unsigned)room);
}

static void stop_reading(struct tw_connection *connection) {
    uv_read_stop((uv_stream_t *)&connection->stream);
    connection->reading = false;
}

/* End of file or an error. */
static void on_end(struct tw_connection *connection, int code) {
    const struct tw_frame *receiving = tw_decoder_receiving(&connection->decoder);
    stop_reading(connection);
    if (connection->state == TW_CONNECTION_FINISHING && code == UV_EOF &&
        connection->queue.entries > 0) {
        connection->peer_ended = true; /* it may still read what is queued */
    } else if (code != UV_EOF) {
        tw_connection_fail(connection, TW_CLOSED, "connection lost: %s", uv_strerror(code));
    } else if (receiving != NULL) {
        tw_connection_fail(connection, TW_CLOSED,
                           "the peer closed the connection in the middle of the %zu bytes of a "
                           "%s frame",
                           receiving->data_bytes, tw_body_name(receiving->body));
    } else if (tw_decoder_mid_frame(&connection->decoder)) {
        tw_connection_fail(connection, TW_CLOSED,
                           "the peer closed the connection in the middle of a frame");
    } else {
        tw_connection_fail(connection, TW_CLOSED, "the peer closed the connection");
    }
}

/* What the decoder answered. */
static void settle(struct tw_connection *connection, enum tw_status status,
                   const struct tw_error *error) {
    if (connection->state != TW_CONNECTION_OPEN) {
        return;
    }
    if (status == TW_AGAIN) {
        connection->waiting = true;
        connection->resuming = false;
        stop_reading(connection);
    } else if (status != TW_OK) {
        tw_connection_finish(connection, status, error->text);
    }
}

static void tell_bytes(struct tw_connection *connection) {
    if (connection->events.on_bytes != NULL)
        connection->events.on_bytes(connection);
}

/* Not all of its text, which is long. */
static void clear(struct tw_error *error) {
    error->status = TW_OK;
    error->text[0] = '\0';
}

static void wake_after(struct tw_connection *connection, size_t bytes) {
    if (bytes != connection->wake_bytes)
        tw_socket_wake_after(&connection->stream, bytes);
    connection->wake_bytes = bytes;
}

void tw_connection_wake_early(struct tw_connection *connection) {
    wake_after(connection, 1);
}

/* After a read that left nothing in the socket the kernel is to wait for more, but only for bytes
 * that are sure to come: else a frame that is shorter than these would not be seen. */
static void set_wake(struct tw_connection *connection, bool is_empty) {
    size_t most = is_empty ? WAKE_BYTES : connection->wake_bytes;
    size_t owed = tw_decoder_owed(&connection->decoder), bytes = owed < most ? owed : most;
    wake_after(connection, bytes > 0 ? bytes : 1);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    struct tw_connection *connection = stream->data;
    if (count < 0) {
        on_end(connection, (int)count);
        return;
    }
    if (count == 0) {
        return;
    }
    connection->received += (size_t)count;
    if (connection->state != TW_CONNECTION_OPEN) {
        return;
    }
    tell_bytes(connection);
    struct tw_error error;
    clear(&error);
    connection->corked = true;
    settle(connection, tw_decoder_advance(&connection->decoder, (size_t)count, &error), &error);
    connection->corked = false;
    set_wake(connection, (size_t)count < buffer->len);
    connection->turn_bytes += (size_t)count;
    if (connection->reading && connection->turn_bytes >= TW_READ_TURN_BYTES) {
        stop_reading(connection); /* others first */
        connection->read_owed = true;
        tw_connection_want_turn(connection);
    }
    tw_connection_flush(connection);
}

void tw_connection_read(struct tw_connection *connection) {
    bool may = connection->state == TW_CONNECTION_OPEN
                   ? !connection->waiting && !connection->paused
                   : connection->state == TW_CONNECTION_FINISHING && !connection->peer_ended;
    if (connection->state == TW_CONNECTION_FINISHING) {
        tw_connection_wake_early(connection); /* for all that comes, so that it is thrown away */
    }
    if (!may || connection->reading) {
        return;
    }
    int code = uv_read_start((uv_stream_t *)&connection->stream, on_alloc, on_read);
    if (code != 0) {
        tw_connection_fail(connection, TW_IO, "cannot read: %s", uv_strerror(code));
        return;
    }
    connection->reading = true;
}

void tw_connection_read_turn(struct tw_connection *connection) {
    connection->turn_bytes = 0;
    connection->read_owed = false;
    if (connection->resuming && connection->waiting && connection->state == TW_CONNECTION_OPEN) {
        struct tw_error error;
        clear(&error);
        connection->waiting = false;
        tell_bytes(connection);
        connection->corked = true;
        settle(connection, tw_decoder_resume(&connection->decoder, &error), &error);
        connection->corked = false;
    }
    tw_connection_read(connection);
}

void tw_connection_resume(struct tw_connection *connection) {
    if (connection->state == TW_CONNECTION_OPEN) {
        connection->resuming = connection->read_owed = true;
        tw_connection_want_turn(connection);
    }
}

void tw_connection_discard(struct tw_connection *connection) {
    tw_decoder_discard(&connection->decoder);
}

void tw_connection_pause(struct tw_connection *connection) {
    connection->paused = true;
    if (connection->reading)
        stop_reading(connection);
}

void tw_connection_unpause(struct tw_connection *connection) {
    connection->paused = false;
    if (connection->state == TW_CONNECTION_OPEN) {
        connection->read_owed = true;
        tw_connection_want_turn(connection);
    }
}

void tw_connection_limit(struct tw_connection *connection, size_t frame_bytes_max,
                         bool data_allowed) {
    tw_decoder_limit(&connection->decoder, frame_bytes_max, data_allowed);
}
