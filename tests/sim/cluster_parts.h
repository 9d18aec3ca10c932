/* The insides of the virtual cluster, shared by cluster.c (the schedule), cluster_make.c, wire.c
 * (streams and connections), workers.c and servers.c (what these want). */
#ifndef TW_TESTS_CLUSTER_PARTS_H
#define TW_TESTS_CLUSTER_PARTS_H

#include "common/base/rng.h"
#include "server/core/letters.h"
#include "tests/sim/arrivals.h"
#include "tests/sim/cluster.h"
#include "tests/sim/mirror.h"
#include "tests/sim/scorers.h"

#define CLUSTER_WORKERS 64          /* processes, dead ones included until reaped */
#define CLUSTER_CONNECTIONS 128     /* per node */
#define CLUSTER_CONNECTIONS_ALL 512 /* of the cluster */
#define CLUSTER_TURNS 8
#define CLUSTER_TOKEN "a virtual secret of enough bytes"

/* One direction of a connection: bytes on their way. */
struct stream {
    unsigned char *bytes;
    size_t size, room, at;
};

/* A frame that a server has queued; its data is the shard's until it leaves. */
struct queued {
    unsigned char prefix[4096];
    size_t prefix_bytes;
    const void *data;
    size_t data_bytes;
    uint32_t token;
};

struct wire {
    bool used;
    int worker, link;
    uint32_t node, connection;     /* number at the node; TW_NO_CONNECTION until open */
    bool open;                     /* was made */
    bool node_alive, worker_alive; /* the ends that exist */
    bool node_eof, worker_eof;     /* what that end will notice when it has read all */
    bool node_closing;             /* closes when the queue is empty */
    bool cut;                      /* nothing gets through any more */
    struct stream up, down;
    struct queued *queue;
    int queue_first, queue_count, queue_room;
    struct tw_decoder *up_decoder, *down_decoder;
    bool up_paused, down_paused;
    uint64_t weights_position; /* of the last weights that the node sent on it, */
    uint32_t weights_chunk;    /* and which they were */
};

struct virtual_worker {
    bool used, evaluator;
    int rank; /* asked for; -1 any */
    struct tw_client client;
    void *memory;
    float *weights[CLUSTER_TENSORS], *gradient[CLUSTER_TENSORS];
    bool early;                   /* it begins on a part of the weights */
    uint64_t begun;               /* position on which it did so last */
    bool taken[CLUSTER_TENSORS];  /* of these; */
    float *copy[CLUSTER_TENSORS]; /* what it computes on */
    uint64_t computed;            /* position whose gradient was computed */
    int tensors;                  /* pushed of it */
    int first_tensor;             /* pushed first, where the order is any */
    uint64_t examples;
    double loss;
    struct tw_metric_values values; /* of its last report */
};

/* What one server says to another: frames in a stream, as between processes. */
struct server_link {
    struct cluster *cluster;
    uint32_t from, to;
    struct stream stream;
    struct tw_decoder decoder;
    struct tw_order_inbox *orders; /* what the lead says; else NULL */
};

struct virtual_node {
    struct tw_node *node;
    bool busy;                 /* work() may have something to do */
    uint32_t to_save;          /* chunks of a CHECKPOINT that are said, and not saved yet */
    struct server_link *heard; /* [servers]: what each of them says to it */
};

enum action_kind {
    ACT_NODE_WORK,
    ACT_NODE_HEARS,
    ACT_SAVED, /* a chunk is on the disk */
    ACT_WORKER,
    ACT_RESTART,
    ACT_OPEN,      /* a connection is made */
    ACT_UP,        /* bytes arrive at the node */
    ACT_DOWN,      /* bytes arrive at the worker */
    ACT_SEND,      /* a queued frame of the node leaves */
    ACT_NODE_LOST, /* the node notices that the worker's end is gone */
    ACT_WORKER_LOST,
};

struct action {
    enum action_kind kind;
    int index;
};

struct restart {
    int rank;
    bool evaluator;
};

struct cluster {
    const struct cluster_config *config;
    struct cluster_counters *counters;
    struct tw_rng rng;
    uint64_t now_ms, steps;
    struct tw_tensor_list list;
    struct tw_chunk *chunk;
    struct tw_layout layout;
    struct tw_dial_turn turn[CLUSTER_TURNS]; /* of the job */
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options options;
    struct virtual_node node[8];
    struct virtual_worker worker[CLUSTER_WORKERS];
    struct wire wire[CLUSTER_CONNECTIONS_ALL];
    struct tw_unpack_arena arena;
    struct arrivals *arrivals; /* NULL: the oracle knows */
    struct oracle *oracle;
    struct mirror *mirror;
    struct scorers *scorers; /* NULL: there is one evaluator */
    struct restart restart[4 * CLUSTER_WORKERS];
    int restarts;
    uint32_t saved; /* chunks of the last CHECKPOINT, of all nodes */
    int frozen;     /* a process that stands still; -1 none */
    bool finished, goodbye;
    bool lied, over; /* over: a lie was refused */
    uint32_t last_incarnation[CLUSTER_WORKERS];
    enum tw_status status;
    struct action action[8 * CLUSTER_CONNECTIONS_ALL];
    int actions;
};

/* Whether a lie explains what would be a failure; then the run is over. */
bool cluster_blames_a_lie(struct cluster *c);
uint64_t cluster_below(struct cluster *c, uint64_t n);
void cluster_tell_worker(struct cluster *c, struct virtual_worker *w, struct tw_client_event event);

/* cluster_make.c */
void cluster_make(struct cluster *c);
void cluster_turn(struct cluster *c); /* an operator turns the dial */

/* workers.c */
void cluster_start_worker(struct cluster *c, int index, int rank, bool evaluator);
void cluster_free_worker(struct cluster *c, struct virtual_worker *w);
bool cluster_worker_has_work(const struct cluster *c, const struct virtual_worker *w);
void cluster_worker_acts(struct cluster *c, struct virtual_worker *w); /* its next thing */

/* servers.c */
void cluster_drain(struct cluster *c, uint32_t node);
void cluster_work(struct cluster *c, uint32_t node);
bool cluster_has_mail(const struct cluster *c, uint32_t node);
void cluster_hear(struct cluster *c, uint32_t node);
void cluster_link_servers(struct cluster *c);
/* lies.c: puts something wrong into the stream, perhaps behind the honest frame. */
void cluster_lie(struct server_link *link, const unsigned char *honest, size_t size);
void cluster_unlink_servers(struct cluster *c);
void cluster_act_nodes(struct cluster *c);
void cluster_saved(struct cluster *c, uint32_t node);

/* wire.c */
void stream_add(struct stream *s, const void *bytes, size_t size);
size_t stream_left(const struct stream *s);
/* Into `at`, mostly all that there is, up to `room`; how much. */
size_t stream_take(struct cluster *c, struct stream *stream, void *at, size_t room);
struct wire *wire_of(struct cluster *c, uint32_t node, uint32_t connection);
void wire_queue(struct cluster *c, struct wire *wire, const struct tw_frame *frame,
                const void *data, uint32_t token);
void wire_close_node(struct cluster *c, struct wire *wire, enum tw_status status, const char *text);
void wire_resume_up(struct cluster *c, struct wire *wire);
void wire_cut(struct cluster *c, struct wire *wire);     /* both ends will notice */
void wire_abandon(struct cluster *c, struct wire *wire); /* the worker's process is gone */
int wire_actions(const struct wire *wire, struct action *out, int index);
void wire_act(struct cluster *c, struct wire *wire, enum action_kind kind);
void wire_end_node(struct cluster *c, struct wire *wire);
void wire_free(struct wire *wire);

/* servers.c: the weights are what they must be; of which mode it is says who knows that. */
void cluster_check_weights(struct cluster *c, struct cluster_result *result);

#endif
