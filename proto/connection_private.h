/* The inside of a connection: connection.c (its life), connection_read.c,
 * connection_write.c. Private to proto/.
 *
 *     NEW -> OPEN (accepted)                 any -> CLOSING -> CLOSED
 *     NEW -> CONNECTING -> OPEN
 *     OPEN -> FINISHING -> CLOSING
 *
 * FINISHING: what is queued still leaves, then our direction is shut; what comes
 * in is thrown away until the peer has closed too or the time is up. (Closing at
 * once with unread bytes would send a reset, and the reset would overtake the
 * Refuse.)
 */
#ifndef TW_PROTO_CONNECTION_PRIVATE_H
#define TW_PROTO_CONNECTION_PRIVATE_H

#include "common/net/address.h"
#include "proto/connection.h"
#include "proto/send_queue.h"

enum tw_connection_state {
    TW_CONNECTION_NEW,
    TW_CONNECTION_CONNECTING,
    TW_CONNECTION_OPEN,
    TW_CONNECTION_FINISHING,
    TW_CONNECTION_CLOSING,
    TW_CONNECTION_CLOSED,
};

struct tw_connection {
    struct tw_connection_host host; /* its limits are set, no longer 0 */
    struct tw_connection_events events;
    void *context;
    enum tw_connection_state state;
    struct tw_error cause; /* for on_closed; TW_OK: none yet */
    char peer[TW_ADDRESS_TEXT];

    /* Handles; those that are initialised and not yet closed are counted. */
    uv_tcp_t stream;
    uv_os_fd_t fd;    /* of the stream, once it is open */
    uv_timer_t timer; /* connecting: deadline; open: watch; finishing: deadline */
    uv_idle_t turn;   /* active: something is to be done in the next loop turn */
    unsigned handles;
    bool stream_initialised;
    bool freed;  /* by the owner, before the handles were closed */
    bool called; /* on_called is due */

    /* Connecting. */
    uv_connect_t connecting;
    void (*on_open)(struct tw_connection *, enum tw_status, const struct tw_error *);
    int connect_failed; /* libuv's code, when it failed at once */

    /* Reading. */
    bool reading;      /* libuv reads */
    bool paused;       /* by the owner */
    bool waiting;      /* on_data said TW_AGAIN */
    bool resuming;     /* tw_connection_resume() was called since */
    bool read_owed;    /* the next turn has something to do for reading */
    bool peer_ended;   /* end of file came while finishing */
    size_t turn_bytes; /* read since the last turn */
    uint64_t received, frames;
    size_t wake_bytes; /* the kernel wakes us when so many have come */

    /* Writing. */
    struct tw_send_queue queue;
    uv_write_t write;
    uv_shutdown_t shutdown;
    size_t flying; /* bytes in `write`; 0: none is under way */
    bool flushing, broken, shutting;
    bool corked;  /* bytes that came are looked at: what they cause leaves together */
    bool drained; /* the owner was told so, and nothing was queued since */
    uint64_t sent;

    /* Watch: when it last looked, and when progress was last seen. */
    uint64_t watched_ms, sent_ms, slow_ms;
    uint64_t sent_then, received_then, frames_then;

    /* Reading. Last: its stage is large, and its pages are not touched before they are used,
     * which a thousand connections that bring little feel. */
    struct tw_decoder decoder;
};

/* ---- connection.c ---- */

/* Closes because of `status`; the first cause is the one that is told. */
void tw_connection_fail(struct tw_connection *connection, enum tw_status status, const char *format,
                        ...) __attribute__((format(printf, 3, 4)));

/* Something is to be done in the next loop turn, before the loop sleeps. */
void tw_connection_want_turn(struct tw_connection *connection);

/* The bytes that left, also those of the write under way. */
uint64_t tw_connection_sent(const struct tw_connection *connection);

/* ---- connection_read.c ---- */

void tw_connection_init_reading(struct tw_connection *connection);
void tw_connection_fini_reading(struct tw_connection *connection);

/* What has come is read soon, however little it is. */
void tw_connection_wake_early(struct tw_connection *connection);

/* (Re)starts reading unless the owner must be asked first. */
void tw_connection_read(struct tw_connection *connection);

/* What the next turn owes to reading: asks on_data again, goes on after a pause. */
void tw_connection_read_turn(struct tw_connection *connection);

/* ---- connection_write.c ---- */

/* After the last handle is closed: all frames release their data. */
void tw_connection_release_all(struct tw_connection *connection);

#endif
