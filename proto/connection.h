/* A connection: frames in and out over one TCP stream, on a libuv loop.
 *
 * Happy path: open (accepted, or connected) -> frames are decoded and handed to
 * the owner as they complete; tw_connection_send() queues frames, which leave in
 * gathers of up to TW_GATHER_FRAMES frames or TW_GATHER_BYTES per write. Tensor
 * bytes are neither copied in nor out, but for few.
 * Failure: anything wrong (end of file, reset, malformed bytes, a slow peer, a
 * send queue over its limit) leads to one on_closed with the cause; frames that
 * were still queued release their data before it.
 *
 * Closing is a protocol: tw_connection_close() is legal in every state and
 * idempotent; the memory comes back in on_closed, which is always called, once,
 * and from the loop, never from inside another call.
 */
#ifndef TW_PROTO_CONNECTION_H
#define TW_PROTO_CONNECTION_H

#include <uv.h>

#include "proto/frame.h"

struct tw_connection;

struct tw_connection_events {
    /* Bytes have come, or those that had to wait are looked at again; what they begin and complete
     * follows. May be NULL. */
    void (*on_bytes)(struct tw_connection *connection);
    /* As tw_decoder_sink. After TW_AGAIN from on_data nothing more is read until
     * tw_connection_resume(). A final status sends a Refuse and closes. */
    enum tw_status (*on_data)(struct tw_connection *connection, const struct tw_frame *frame,
                              void **place, struct tw_error *error);
    enum tw_status (*on_frame)(struct tw_connection *connection, const struct tw_frame *frame,
                               void *data, struct tw_error *error);
    /* A frame that carried data has left for the kernel (or will never leave):
     * its data is the caller's again. Comes from the loop, or from inside
     * tw_connection_flush(); more frames may be sent from it. */
    void (*on_released)(struct tw_connection *connection, uint32_t lane, void *token);
    /* Everything that was queued has left for the kernel. Comes as on_released does;
     * may be NULL. */
    void (*on_drained)(struct tw_connection *connection);
    /* tw_connection_call() was called before this turn of the loop. */
    void (*on_called)(struct tw_connection *connection);
    void (*on_tick)(struct tw_connection *connection); /* open, about once a second; may be NULL */
    /* The last event. `error->status` is TW_CLOSED when the peer simply went
     * away or we closed without a cause. The connection may be freed in it. */
    void (*on_closed)(struct tw_connection *connection, const struct tw_error *error);
};

/* What is the same for all connections of a loop. A limit of 0 is the one of
 * common/base/limits.h that is named beside it. */
struct tw_connection_host {
    uv_loop_t *loop;
    struct tw_unpack_arena *arena; /* one for the loop */
    size_t send_queue_bytes_max;   /* per connection; more is TW_LIMIT and closes */
    uint64_t connect_ms;           /* TW_CONNECT_MS */
    uint64_t finish_ms;            /* TW_FINISH_MS */
    uint64_t stalled_send_ms;      /* TW_STALLED_SEND_MS */
    uint64_t slow_window_ms;       /* TW_SLOW_WINDOW_MS */
    uint64_t slow_bytes_per_s;     /* TW_SLOW_BYTES_PER_S */
    /* The kernel is full, and the rest of a write is left to libuv, which may raise
     * SIGPIPE now or in any turn of the loop until it is done; every other write of a
     * connection raises none. NULL: the process ignores that signal. */
    void (*before_uv_write)(void *context);
    void *context;
};

/* Makes a connection over `stream`s to come: tw_connection_accept() or
 * tw_connection_connect() opens it. `context` is the owner's. */
enum tw_status tw_connection_new(struct tw_connection **out, const struct tw_connection_host *host,
                                 const struct tw_connection_events *events, void *context);

/* Takes the next pending connection of a listening handle. */
enum tw_status tw_connection_accept(struct tw_connection *connection, uv_stream_t *listener,
                                    struct tw_error *error);

/* Begins to connect; on_open says how it ended (TW_OK, or TW_UNREACHABLE with
 * the cause, after which the connection is closed and on_closed follows). It
 * comes from the loop, also for what failed at once, and not at all when the
 * connection is closed before. */
enum tw_status tw_connection_connect(struct tw_connection *connection, const struct sockaddr *to,
                                     void (*on_open)(struct tw_connection *, enum tw_status,
                                                     const struct tw_error *),
                                     struct tw_error *error);

void *tw_connection_context(const struct tw_connection *connection);
void tw_connection_set_context(struct tw_connection *connection, void *context);

/* "127.0.0.1:4711"; valid as long as the connection. */
const char *tw_connection_peer(const struct tw_connection *connection);

/* The decoder's limits: see tw_decoder_limit(). */
void tw_connection_limit(struct tw_connection *connection, size_t frame_bytes_max,
                         bool data_allowed);

/* Queues a frame, also while it is still connecting. Its small fields are encoded
 * now (texts are cut to TW_ERROR_TEXT bytes, names of tensors to TW_NAME_MAX);
 * frame->data_bytes bytes at `data` are borrowed until on_released(token), which
 * comes for every frame with data, exactly once. TW_LIMIT (and the connection
 * closes) when the queue is over its bound, TW_CLOSED when it is closing already,
 * TW_NO_MEMORY: on_released is then not called. */
enum tw_status tw_connection_send(struct tw_connection *connection, const struct tw_frame *frame,
                                  const void *data, void *token);

/* Another bound of the queue than the host's. */
void tw_connection_bound(struct tw_connection *connection, size_t send_queue_bytes_max);

/* It is connecting or open, and not on its way out. */
bool tw_connection_is_alive(const struct tw_connection *connection);

/* Takes back the frames of a lane with tensor bytes that have not begun to leave: newer ones
 * make them worthless. on_released comes for each, from inside this call. */
void tw_connection_drop_data(struct tw_connection *connection, uint32_t lane);

/* Nobody wants the tensor bytes that are arriving now any more: the place that on_data gave is not
 * written any more, on_frame comes without data. */
void tw_connection_discard(struct tw_connection *connection);

/* on_called in the next turn of the loop, unless the connection closes before. */
void tw_connection_call(struct tw_connection *connection);

/* Writes as much as the kernel takes now. Called by itself at the end of each
 * read callback and once per loop turn; call it when latency matters. */
void tw_connection_flush(struct tw_connection *connection);

/* A write is left to libuv: see before_uv_write. */
bool tw_connection_is_writing(const struct tw_connection *connection);

/* Bytes that are queued and not yet with the kernel. */
size_t tw_connection_queued(const struct tw_connection *connection);

/* Frames that are queued and not yet whole with the kernel. */
size_t tw_connection_frames(const struct tw_connection *connection);

/* Asks on_data again after TW_AGAIN, and goes on reading: in the next turn of the
 * loop, never from inside this call. */
void tw_connection_resume(struct tw_connection *connection);

/* Reads nothing until tw_connection_unpause(), whatever comes: not even that the peer has
 * gone. For connections that have to wait their turn. */
void tw_connection_pause(struct tw_connection *connection);
void tw_connection_unpause(struct tw_connection *connection);

/* Sends what is queued, then Refuse{status, text} when status is not TW_OK, then
 * closes; at the latest after 1 s (finish_ms). No event but on_released and
 * on_closed comes after it; on_closed gets `status` and `text`. */
void tw_connection_finish(struct tw_connection *connection, enum tw_status status,
                          const char *text);

/* Closes at once. */
void tw_connection_close(struct tw_connection *connection);

/* Frees a connection that was never opened, or after on_closed. At any other
 * moment it closes at once, without any further event: for owners that are going
 * away themselves and hold no data in the queue. */
void tw_connection_free(struct tw_connection *connection);

#endif
