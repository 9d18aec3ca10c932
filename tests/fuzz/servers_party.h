/* Two servers of one job, their links to each other and two honest workers, for the fuzz target of
 * servers. This is the servers' shell: it carries out what the nodes want, and delivers what they
 * say to each other as bytes, through real decoders, when it is told to.
 */
#ifndef TW_FUZZ_SERVERS_PARTY_H
#define TW_FUZZ_SERVERS_PARTY_H

#include "common/base/rng.h"
#include "server/core/letters.h"

enum {
    SERVERS = 2,
    WORKERS = 2,
    TENSORS = 2,
    UPDATES = 4,
    EXAMPLES = 2,
    CONNECTIONS = 32,
    LETTERS = 512
};
enum {
    FLAG_ASYNC = 1,
    FLAG_CLIP = 2,
    FLAG_LAMB = 4,
    FLAG_EPOCHS = 8,
    FLAG_POOL = 16,
    FLAG_HOGWILD = 32, /* instead of all those that it excludes */
};

/* What one server says to the other, frame by frame; the oldest is first. */
struct link {
    struct servers *party;
    uint32_t to;
    struct tw_decoder decoder;
    struct tw_order_inbox *orders; /* of the link to server 1 */
    bool over;                     /* something was refused, or it was cut */
    struct letter {
        size_t size;
        unsigned char *bytes;
    } letter[LETTERS];
    size_t letters;
};

/* An honest worker, in values: its frames are those that a decoder would give. */
struct worker {
    uint32_t control, bulk[SERVERS]; /* at the lead; at each server */
    struct tw_welcome welcome;
    uint8_t session[TW_SESSION_BYTES];
    bool leaving; /* its connections are being cut, one after the other */
    bool welcomed, here[SERVERS], pushed[SERVERS], ended[SERVERS];
    uint64_t read, step;
};

struct servers {
    unsigned flags;
    struct tw_tensor tensors[TENSORS];
    struct tw_tensor_list list;
    struct tw_chunk chunk[TENSORS];
    struct tw_layout layout;
    uint8_t digest[TW_DIGEST_BYTES], layout_digest[TW_DIGEST_BYTES];
    struct tw_node *node[SERVERS];
    struct link link[SERVERS]; /* [to] */
    uint32_t served;           /* connection of server 1 at the lead */
    struct worker worker[WORKERS];
    struct tw_unpack_arena arena;
    struct tw_rng rng;
    uint32_t saves[SERVERS], saved;
    bool lied, stopped, finished;
    /* What was said last, for frames that nobody sent. */
    struct tw_ready ready;
    uint64_t position, version;
};

/* In which the run begins. */
const char *servers_mode(const struct servers *s);
/* Both servers are there, and the workers have joined. */
struct servers *servers_new(unsigned flags);
void servers_free(struct servers *s);

/* The other one hears this many of the letters on their way to it. */
void servers_hear(struct link *link, size_t letters);
void servers_work(struct servers *s, uint32_t node, unsigned pieces);
/* The next thing that a worker does at a server, if there is any. */
void servers_act(struct servers *s, uint32_t worker, uint32_t node);
/* A worker is lost, and joins again. */
void servers_cut(struct servers *s, uint32_t worker);
/* The lead is asked for a turn of the dial, an eviction, a checkpoint or the end. */
void servers_ask(struct servers *s, unsigned what);

void servers_say(struct link *link, const struct tw_frame *frame);
void servers_say_order(struct servers *s, const struct tw_node_order *order);
void servers_add(struct link *link, const void *bytes, size_t size);
/* The oldest letter: is lost, comes twice, comes last, has another bit. */
void servers_forget(struct link *link);
void servers_repeat(struct link *link);
void servers_put_off(struct link *link);
void servers_change(struct link *link, unsigned at, unsigned bit);

/* What server 1 asks the lead for; and a stranger that asks for the same after a handshake. */
struct tw_frame servers_serve(const struct servers *s);
void servers_stranger(struct servers *s, const struct tw_frame *frame);

/* All that is still to come comes; when nobody lied the run ends. */
void servers_heal(struct servers *s);

#endif
