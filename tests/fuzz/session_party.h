/* One node and who is connected to it, for the fuzz target of sessions: peers whose
 * bytes nobody vouches for, through real decoders, and two honest workers. The party
 * is the node's shell: it carries out what the node wants.
 */
#ifndef TW_FUZZ_SESSION_PARTY_H
#define TW_FUZZ_SESSION_PARTY_H

#include "common/base/rng.h"
#include "server/core/node.h"

enum {
    FLAG_ASYNC = 1,
    FLAG_TOKEN = 2,
    FLAG_EPOCHS = 4,
    FLAG_ADAM = 8,
    FLAG_HALF = 16,
    FLAG_ARRIVAL = 32,
    FLAG_PORTIONS = 64, /* evaluators share out test data of TESTED samples */
};

/* Bytes of a chunk of a push. */
size_t party_push_bytes(unsigned flags, uint32_t chunk);
enum { PEERS = 6, LINKS = 16, TENSORS = 2, CHUNKS = 2, UPDATES = 5, TESTED = 600 };
#define STREAM_MAX (256u << 10)

/* A connection that nobody needs to trust. */
struct peer {
    uint32_t number; /* at the node; TW_NO_CONNECTION: closed */
    struct tw_decoder decoder;
    void *lent;
    unsigned char *stream; /* [STREAM_MAX] what is on its way */
    size_t first, end;
    bool paused;
    uint8_t nonce[TW_NONCE_BYTES];
    struct tw_portion portion; /* that it was given last */
};

/* An honest worker, in values: its frames are those that a decoder would give. */
struct worker {
    uint32_t control, bulk;
    struct tw_welcome welcome;
    uint8_t session[TW_SESSION_BYTES], nonce[TW_NONCE_BYTES];
    bool welcomed, attached;
    uint64_t read, step;
    uint32_t chunks; /* of these weights */
    uint32_t pushed; /* Push frames; CHUNKS + 1: and the End */
};

struct party {
    unsigned flags;
    struct tw_tensor tensors[TENSORS];
    struct tw_tensor_list list;
    struct tw_chunk chunk[CHUNKS];
    struct tw_layout layout;
    struct tw_node *node;
    struct peer peer[PEERS];
    struct worker good[2];
    struct tw_unpack_arena arena;
    struct tw_rng rng;
    /* What peers learn from the frames that are sent to them, by role. */
    struct tw_welcome welcome[2];
    uint8_t session[2][TW_SESSION_BYTES];
    struct tw_weights weights[2];
    bool hold; /* weights for peers do not leave */
    uint32_t held[4 * LINKS * CHUNKS];
    size_t held_count;
    bool stopped, finished;
};

struct end { /* context of a decoder */
    struct party *party;
    struct peer *peer;
};

/* Aborts, saying what does not hold. */
void party_must(bool holds, const char *what);

/* A node with one honest worker that has joined. */
struct party *party_new(unsigned flags);
void party_free(struct party *c);

/* Nothing happens when it is open; `end` is its decoder's context. */
void party_open(struct party *c, struct peer *peer, struct end *end);
void party_cut(struct party *c, struct peer *peer, const char *why);
/* At most `bytes` of what is on its way to the node arrive. */
void party_feed(struct party *c, struct peer *peer, size_t bytes);

void party_work(struct party *c, unsigned pieces);
void party_drain(struct party *c);
/* The weights that were held back have left. */
void party_release_held(struct party *c);

/* The next thing that an honest worker does, if there is any. */
void party_act(struct party *c, struct worker *w);
/* All others are cut off; two honest workers finish what there is to do. */
void party_heal(struct party *c);

/* Valid frames; the proof lies in `room`, TW_PROOF_BYTES. */
struct tw_frame party_hello(void);
struct tw_frame party_proof(const uint8_t *theirs, uint8_t *room);
struct tw_frame party_join(enum tw_role role);

#endif
