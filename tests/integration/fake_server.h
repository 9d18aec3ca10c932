/* A server of the wire in a thread of its own, for tests of the client library: one
 * worker, one shard, w <- w - 0.5 * (sum of gradients) / examples. It does what a
 * server must, plus what its script says. */
#ifndef TW_TEST_FAKE_SERVER_H
#define TW_TEST_FAKE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/tensor/layout.h"
#include "proto/connection.h"

#define FAKE_CONNECTIONS 32

/* What fake_server_go_on() makes of a set of weights that was kept back, or of pushes. */
enum fake_go_on {
    FAKE_SENDS_THE_REST,
    FAKE_LOSES_BULK,     /* of the first set; later ones are sent whole */
    FAKE_CANCELS_STEP,   /* likewise: the next one is released */
    FAKE_RELEASES_AGAIN, /* likewise: newer weights, and no Cancel */
    FAKE_TAKES_PUSHES,   /* which it did not (full_after_pushes) */
};

struct fake_script {
    uint32_t chunk_bytes;    /* 0: TW_CHUNK_BYTES_MIN */
    const char *token;       /* NULL: none */
    enum tw_status refuse;   /* answers Join with it; TW_OK: welcomes */
    int lose_after_pushes;   /* Push frames after which bulk is cut, once; 0: never */
    int regather_after_ends; /* Ends after which it says Regather before it applies; 0: never */
    int cancel_after_pushes; /* Push frames after which it cancels the step, once; 0: never */
    bool cancel_late;        /* weights first, then the Cancel */
    int full_after_pushes;   /* Push frames after which it reads no more of them, until
                                fake_server_go_on(); 0: never */
    int stop_after_steps;    /* then it says Stop; 0: never */
    uint32_t keep_back;      /* chunks at the end of a set that wait for fake_server_go_on() */
    enum fake_go_on go_on;
    enum tw_status stop_status;
    bool garbage;      /* answers Hello with bytes that are no frame */
    bool silent;       /* attaches and never sends weights */
    uint32_t encoding; /* Welcome.push; it understands float32 only */
    bool wrong_chunk;  /* sends weights of a chunk that does not exist */
};

struct fake_peer {
    struct fake_server *server;
    struct tw_connection *connection;
    uint8_t nonce[TW_NONCE_BYTES], client_nonce[TW_NONCE_BYTES];
    bool control, bulk;
};

struct fake_server {
    struct fake_script script;
    const struct tw_tensor_list *list;
    struct tw_layout layout;
    struct tw_chunk *chunk;
    float *weights, *gradient, *sending; /* all tensors in a row */
    int64_t *offset;                     /* of each tensor in them */
    bool *here;                          /* [chunks] of the current push */

    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t quit, go_on;
    struct tw_unpack_arena arena;
    pthread_t thread;
    int port;

    struct fake_peer peer[FAKE_CONNECTIONS];
    struct fake_peer *control, *bulk;
    uint8_t session[TW_SESSION_BYTES];
    uint32_t incarnation;
    uint64_t position, read, step; /* of the outstanding RELEASE */
    uint64_t asked;
    uint32_t kept; /* chunks of the last set that are kept back */

    /* Looked at by the test while the server runs. */
    atomic_int pushes, ends, pings, joins, byes, losses, asks, evaluations, duplicates, steps;
    atomic_int taken; /* frames of weights that are with the kernel, or lost */
    atomic_uint joined_incarnation;
    _Atomic double accuracy, auc, last_loss;
};

/* Listens and starts the thread. `list` outlives it. */
void fake_server_start(struct fake_server *server, const struct tw_tensor_list *list,
                       const struct fake_script *script);

/* The client has seen enough of a part of the weights. */
void fake_server_go_on(struct fake_server *server);

/* Ends it; returns when nothing is left. */
void fake_server_stop(struct fake_server *server);

#endif
