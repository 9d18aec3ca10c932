/* A peer of a server that says exactly what a test tells it to: a blocking socket
 * and the frame codec, nothing else. Used by the tests of server/io.
 *
 * Hearing waits at most PEER_PATIENCE_S and then fails the test. Everything that a
 * frame borrows is kept until the next frame is heard.
 */
#ifndef TW_TESTS_SCRIPTED_PEER_H
#define TW_TESTS_SCRIPTED_PEER_H

#include <stdbool.h>

#include "proto/frame.h"

#define PEER_PATIENCE_S 120
#define PEER_QUEUE 128

/* The model of these tests: two tensors in chunks of 256 KiB at most, together more
 * than a socket takes whose peer does not read. */
enum {
    MODEL_W = 200000,
    MODEL_B = 3,
    MODEL_ELEMENTS = MODEL_W + MODEL_B,
    MODEL_CHUNKS = 5,
    CHUNK_FLOATS = TW_CHUNK_BYTES_DEFAULT / 4,
};
extern const uint32_t model_first[MODEL_CHUNKS + 1]; /* element of each chunk's start */

struct heard {
    struct tw_frame frame;
    uint8_t views[2][TW_ERROR_TEXT]; /* what its views point to */
    float *data;
};

struct peer {
    int fd;
    struct tw_decoder decoder;
    struct tw_unpack_arena arena;
    struct heard *queue[PEER_QUEUE], *current;
    unsigned queued;
    float *place;
    uint8_t nonce[TW_NONCE_BYTES];
    struct tw_challenge challenge; /* as heard; its views are gone */
    uint8_t proof[TW_PROOF_BYTES]; /* of the server */
};

struct peer *peer_connect(int port);
struct peer *peer_connect_narrow(int port); /* takes next to nothing that it does not hear */
void peer_close(struct peer *peer);         /* also frees; NULL is fine */

void peer_send_bytes(struct peer *peer, const void *bytes, size_t size);
void peer_send(struct peer *peer, const struct tw_frame *frame, const void *data);

/* The next frame, or NULL at the end of the stream. */
const struct heard *peer_hear(struct peer *peer);
/* The same; it must be this one. */
const struct heard *peer_expect(struct peer *peer, enum tw_body body);
/* A Refuse with this status, and then the end of the stream. Returns its text. */
const char *peer_expect_refuse(struct peer *peer, enum tw_status status);

/* Parts of the handshake. `token` NULL: none. */
void peer_hello(struct peer *peer);
void peer_prove(struct peer *peer, const char *token);

/* A Join that fits the model, for the test to spoil. */
extern const struct tw_tensor_shape model_shapes[2];
struct tw_frame join_frame(int rank);

/* A worker (or evaluator) made of two peers. */
struct actor {
    int port;
    const char *token;
    bool narrow; /* its bulk connection */
    enum tw_role role;
    struct peer *control, *bulk;
    uint32_t rank, incarnation, attempt;
    uint8_t session[TW_SESSION_BYTES], job[TW_JOB_ID_BYTES];
    uint64_t position, version, step, last_step;
    float weights[MODEL_ELEMENTS];
};

/* Connects, joins (rank -1: any; the evaluator has none), attaches. */
void actor_join(struct actor *actor, int port, int rank);
void actor_join_evaluator(struct actor *actor, int port);
/* Joins by a frame of the test's own making, over a new connection. */
void actor_join_with(struct actor *actor, const struct tw_frame *join);
void actor_attach(struct actor *actor);
/* Loses both connections; comes back as the same process. */
void actor_lose(struct actor *actor);
void actor_resume(struct actor *actor);
/* A complete set of weights. */
void actor_take(struct actor *actor);
/* Gradient bytes of a chunk, and the End. */
void actor_push_chunk(struct actor *actor, uint32_t chunk);
struct tw_frame end_frame(const struct actor *actor);
void actor_end(struct actor *actor);
/* All chunks and the End. */
void actor_push(struct actor *actor);
/* Hears Stop with this status on control, answers Bye, closes. */
void actor_leave(struct actor *actor, enum tw_status status);

/* What every actor pushes: whole numbers, so that every mean of few is exact. */
#define PUSH_EXAMPLES 2
float model_gradient(uint32_t rank, uint64_t step, uint32_t element);
/* Subtracts lr * (sum over ranks [first, last] of gradients of `step`) / examples. */
void model_update(float *weights, float lr, uint32_t first, uint32_t last, uint64_t step);

#endif
