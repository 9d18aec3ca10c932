/* A node: everything a server process does, without I/O: sessions, a shard, and
 * in the lead the sequencer. The libuv shell (server/io), the virtual cluster of
 * the tests and the simulator drive the same node.
 *
 * The shell tells it what happened (open, data, frame, lost, sent, stop, and what
 * other nodes said), drains its effects after each such call, and gives it work
 * when there is nothing more urgent to do:
 *
 *      tw_node_frame(...);                       an input
 *      while ((effect = tw_node_effect(node))) ... carry out, in order
 *      ...
 *      tw_node_work(node); drain effects         one piece of work on one chunk
 *
 * With several servers, what sequencer and shards say to each other leaves as
 * effects TO_LEAD and TO_SHARDS and comes in by tw_node_hear_*(); what a lead says
 * to its own shard never leaves. Values in effects point into the node and are
 * valid until its next call.
 */
#ifndef TW_CORE_NODE_H
#define TW_CORE_NODE_H

#include "server/core/sequencer.h"
#include "server/core/session.h"
#include "server/core/shard.h"

#define TW_NODE_RANDOM_BYTES (TW_NONCE_BYTES + TW_SESSION_BYTES)
#define TW_NO_CONNECTION UINT32_MAX
#define TW_NOBODY UINT32_MAX  /* no rank */
#define TW_SERVER_ADDRESS 264 /* "HOST:PORT", with its terminating zero */

struct tw_node_config {
    struct tw_session_terms terms;
    struct tw_sequencer_config sequencer; /* read by the lead (shard index 0) only */
    struct tw_shard_config shard;         /* slots: one per worker, whatever the width */
    uint32_t width; /* slots that each worker owns; 0: 1 (README.md, "Slots") */
    /* What several evaluators count together: of real targets (`values`) `outputs` numbers each, or
     * labels of so many classes. None of both: they are not put together, and there is at most one
     * evaluator. */
    struct tw_node_scoring {
        uint32_t outputs, classes;
        bool values;
    } scoring;
    uint32_t evaluators; /* so many are to be there before the sequencer hears of one; 0: one */
    bool keeps_mode; /* the dial is not turned: a step that a slot has made cannot be taken back */
    uint32_t servers;
    uint32_t connections; /* room for so many at once */
    bool resumes;         /* the lead: nobody joins before tw_node_restored() */
    bool tells_inputs;    /* the lead: INPUT for all that the sequencer is told */
};

enum tw_node_effect_kind {
    TW_NODE_SEND,      /* connection, frame, data, token */
    TW_NODE_CLOSE,     /* connection, status, text: after what was sent to it */
    TW_NODE_RESUME,    /* connection: data() said TW_AGAIN, ask again */
    TW_NODE_SAVE,      /* save: a chunk of our shard; answer with tw_node_saved() */
    TW_NODE_TO_LEAD,   /* vote: to the lead's node */
    TW_NODE_TO_SHARDS, /* order: to all other nodes, in order; its records are the log */
    TW_NODE_EVENT,     /* event: for people and metrics */
    TW_NODE_INPUT, /* input: the sequencer is told this; before the effects that follow from it */
};

/* Shard to sequencer, and back. */
struct tw_node_vote {
    enum {
        TW_VOTE_READY,
        TW_VOTE_SUMS,
        TW_VOTE_ATTACHED,
        TW_VOTE_LOST,
        TW_VOTE_SAMPLE,
        TW_VOTE_SQUARES
    } kind;
    union {
        struct tw_ready ready;
        struct tw_sums sums;
        struct tw_sample sample; /* of one shard's chunks; not for the sequencer */
        struct tw_squares squares;
        struct {
            uint32_t rank, attempt, shard;
        };
    };
};
struct tw_node_order {
    enum { TW_ORDER_RECORD, TW_ORDER_PREPARE, TW_ORDER_MEMBER } kind;
    uint64_t evaluators; /* RECORD, a RELEASE to the evaluator: bit n, number n gets the weights */
    union {
        struct tw_record record;
        struct tw_prepare prepare;
        struct {
            enum tw_role role;
            uint32_t rank, incarnation, attempt;
            uint8_t session[TW_SESSION_BYTES];
        } member; /* who may attach */
    };
};

enum tw_node_event_kind {
    TW_EVENT_JOINED,    /* rank, incarnation, connection */
    TW_EVENT_LEFT,      /* rank, incarnation; text: why */
    TW_EVENT_SERVER,    /* rank: its index; present, connection; else text: why it is lost */
    TW_EVENT_EVALUATOR, /* present; rank: its number; ranks: how many are there now */
    TW_EVENT_STARTED,
    TW_EVENT_BORDER,    /* border, as the sequencer's */
    TW_EVENT_EVALUATED, /* version, samples, values */
    TW_EVENT_GIVEN_UP,  /* version: it will not be evaluated */
    TW_EVENT_DROPPED,   /* dropped, as the sequencer's */
    TW_EVENT_ARRIVED,   /* rank, step: all of this push is on our shard */
    TW_EVENT_PREPARED,  /* version: enough pushes have come */
    TW_EVENT_APPLIED,   /* version: our shard has applied it */
    TW_EVENT_SAMPLED,   /* sample: of all shards */
    TW_EVENT_MEASURED,  /* rank, measures: what a worker says of its steps, unchecked */
    TW_EVENT_FINISHED,  /* status; the weights are final and may be saved */
    TW_EVENT_QUERY,     /* connection, rank, ranks: answer, then say tw_node_answered() */
    TW_EVENT_TURNED,    /* version; text: the mode from here on */
    TW_EVENT_EVICTED,   /* rank, version */
    TW_EVENT_VERDICT,   /* verdict, version, samples: on the learning rate or the end */
};

struct tw_node_event {
    enum tw_node_event_kind kind;
    uint32_t rank, incarnation, connection;
    const char *text;
    bool present;
    uint32_t ranks; /* QUERY: wanted, from `rank` on; within the job's */
    enum tw_status status;
    uint64_t version, samples;
    uint64_t step; /* DROPPED, ARRIVED */
    /* The rest is there in these kinds only; what is above is 0 where it does not belong. */
    union {
        struct {            /* BORDER */
            bool evaluated; /* an evaluation of it will come */
            double rate;
            struct tw_stretch stretch;
        };
        struct tw_metric_values values; /* EVALUATED */
        struct {                        /* DROPPED */
            uint32_t slot, tensor;      /* the first slot of the push */
        };
        struct { /* MEASURED */
            size_t measures;
            const struct tw_measure *measure; /* [measures]; borrowed from the frame */
        };
        struct { /* SAMPLED */
            const struct tw_sample *sample;
            const struct tw_tensor_squares *steps; /* with sums: [tensors], weights and changes */
        };
        struct tw_verdict verdict; /* VERDICT */
    };
};

struct tw_node_effect {
    enum tw_node_effect_kind kind;
    uint32_t connection; /* SEND, CLOSE, RESUME; else TW_NO_CONNECTION */
    union {
        struct { /* SEND */
            struct tw_frame frame;
            const void *data; /* NULL: it has none */
            uint32_t token;   /* with data: tw_node_sent(token) when it has left */
            uint32_t rank;    /* with data: to whom; or TW_SLOT_EVALUATOR */
        };
        struct { /* CLOSE */
            enum tw_status status;
            const char *text;
        };
        struct tw_node_vote vote;
        struct tw_node_order order;
        struct tw_node_event event;
        struct tw_shard_save save;
        struct tw_sequencer_event input; /* what RESUME points to is the caller's */
    };
};

struct tw_node;

size_t tw_node_bytes(const struct tw_node_config *config);
/* `memory`: zeroed, 64-aligned. */
struct tw_node *tw_node_init(void *memory, const struct tw_node_config *config);

/* A connection was accepted; `random`: TW_NODE_RANDOM_BYTES fresh random bytes.
 * Returns its number; TW_NO_CONNECTION when there is no room. */
uint32_t tw_node_open(struct tw_node *node, const uint8_t *random);

/* As on_data and on_frame of proto/frame.h. A status that is neither TW_OK nor
 * TW_AGAIN: refuse the peer with it (and say tw_node_lost). */
enum tw_status tw_node_data(struct tw_node *node, uint32_t connection, const struct tw_frame *frame,
                            void **place, struct tw_error *error);
enum tw_status tw_node_frame(struct tw_node *node, uint32_t connection,
                             const struct tw_frame *frame, const void *data,
                             struct tw_error *error);

/* The connection is gone, and why. Bytes of a frame that was arriving are no longer
 * written: the place that data() gave is free. */
void tw_node_lost(struct tw_node *node, uint32_t connection, const char *why);
void tw_node_sent(struct tw_node *node, uint32_t token);
/* `saves`: with a CHECKPOINT before the end, if there was an update since the last one. */
void tw_node_stop(struct tw_node *node, bool saves);

/* Checkpoints (docs/checkpoints.md). The lead: one is wanted; the last one is safe on all servers,
 * or given up. Everybody: the next chunk of our shard is saved. */
void tw_node_checkpoint(struct tw_node *node);
void tw_node_checkpointed(struct tw_node *node);
void tw_node_saved(struct tw_node *node);
/* The lead of a node that resumes, once, when all servers are there: logs the ROLLBACK. Then the
 * arrays of all shards are filled, and tw_node_restored() lets workers in. */
void tw_node_resume(struct tw_node *node, const struct tw_sequencer_resume *resume);
void tw_node_restored(struct tw_node *node);
/* From 0: of the ROLLBACK that the run goes on from. */
uint32_t tw_node_generation(const struct tw_node *node);
/* Where to: the arrays of our shard. */
struct tw_shard *tw_node_shard_to_fill(struct tw_node *node);

/* Turns the dial to another mode ("ssp:3"), now or right after the update under way; then comes
 * TURNED. Changes nothing and says why: TW_JOB, TW_UNSUPPORTED: there is no such mode for this
 * job; TW_UNEXPECTED: it is the mode already, or another turn waits; TW_STOPPED: the run is
 * over, or will be after this update (then there is no TURNED). Only at the lead. */
enum tw_status tw_node_turn(struct tw_node *node, const char *mode, struct tw_error *error);

/* This rank has been gone for too long: if it is still gone it takes part no more (EVICTED). */
void tw_node_evict(struct tw_node *node, uint32_t rank);

void tw_node_hear_order(struct tw_node *node, const struct tw_node_order *order);
/* What came over a wire from another server, a vote of shard `shard` or an order of the lead, may
 * be wrong: TW_UNEXPECTED, TW_MALFORMED, and nothing is done. */
enum tw_status tw_node_hear_shard(struct tw_node *node, uint32_t shard,
                                  const struct tw_frame *frame, struct tw_error *error);
enum tw_status tw_node_hear_lead(struct tw_node *node, const struct tw_node_order *order,
                                 struct tw_error *error);

/* The lead: nobody joins before all servers are there. The lowest that is not; 0: all are. */
uint32_t tw_node_missing_server(const struct tw_node *node);
/* Connection of server `index`, or TW_NO_CONNECTION. */
uint32_t tw_node_server(const struct tw_node *node, uint32_t index);
/* [TW_SERVER_ADDRESS], what workers are told; the shell may correct it. */
char *tw_node_server_address(struct tw_node *node, uint32_t index);
/* Server `index` is there: a shell without connections between servers says so. */
void tw_node_add_server(struct tw_node *node, uint32_t index, uint32_t connection);

/* The next effect, NULL: none is left. It lies in the node until the next call of this function,
 * whatever else the node is told before that; the caller may write into it. */
struct tw_node_effect *tw_node_effect(struct tw_node *node);
bool tw_node_has_effects(const struct tw_node *node);
/* A piece of work on a chunk; behind the last one of an update, whose end is told, one more. */
enum tw_shard_work tw_node_work(struct tw_node *node);

/* An operator's Query was answered: it may ask again. */
void tw_node_answered(struct tw_node *node, uint32_t connection);

/* Sends Stop{status, text} to everybody and closes their connections. */
void tw_node_goodbye(struct tw_node *node, enum tw_status status, const char *text);

/* Greeted and not more: how many connections have not joined or attached yet. */
bool tw_node_is_pending(const struct tw_node *node, uint32_t connection);

/* The rank of the worker on a connection; TW_NOBODY: it is no worker's, or not yet. */
uint32_t tw_node_rank(const struct tw_node *node, uint32_t connection);

/* The control connection of an evaluator. */
bool tw_node_is_evaluator(const struct tw_node *node, uint32_t connection);

/* An operator's connection. */
bool tw_node_is_operator(const struct tw_node *node, uint32_t connection);

const struct tw_sequencer *tw_node_sequencer(const struct tw_node *node);
const struct tw_shard *tw_node_shard(const struct tw_node *node);

#endif
