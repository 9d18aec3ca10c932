/* A cluster in virtual time: the real nodes (server/core) and the real clients (worker/core)
 * in one process, and a clock that jumps from one event to the next.
 *
 * What a real cluster leaves to machines is here a matter of the config: how long a step takes
 * (sim/delay.h), how long a frame travels, how long a server is busy with a push, who dies, stands
 * still or comes late. What workers compute, and who listens, is the program's. Everything else is
 * done by the same step functions as in a real cluster, and what they say to each other goes
 * through the same frames.
 *
 * Events come in the order (time, priority, worker, sequence) of sim/agenda.h; what takes no
 * virtual time is done at once, in the order in which it was said, and a server works when there is
 * nothing more to hear. So the same config gives the same run, bit for bit, on every machine.
 *
 * Who uses it: `talweg sim`, and tests of laws. No clock, no files, no threads. It allocates when
 * it is made, and where what is under way outgrows what there is.
 */
#ifndef TW_SIM_WORLD_H
#define TW_SIM_WORLD_H

#include "server/core/memory_plan.h"
#include "server/core/node.h"
#include "sim/delay.h"

/* What a push says besides its gradient. */
struct tw_world_push {
    uint64_t examples, correct; /* as in struct tw_end */
    double loss;                /* sum over the examples */
};

/* What workers compute, and who listens. Any function but gradient may be NULL. */
struct tw_world_program {
    void *context;
    /* The sum over the slots [slot, slot + width) of their gradients of this step at these weights
     * into gradient, tensor after tensor. Any status but TW_OK ends the run with it. */
    enum tw_status (*gradient)(void *context, uint32_t slot, uint32_t width, uint64_t step,
                               const float *const *weights, float *gradient,
                               struct tw_world_push *push, struct tw_error *error);
    /* The evaluator's; needed when there is one. Takes no virtual time. */
    enum tw_status (*evaluate)(void *context, const float *const *weights,
                               struct tw_metric_values *values, struct tw_error *error);
    /* A new process has this rank. */
    void (*begins)(void *context, uint32_t rank);
    /* A record of the order log; an event of the lead; what its sequencer is told, where the node
     * tells its inputs; the weights of this position have reached the wire that takes them to a
     * rank; a push begins to arrive at the lead, or its End is heard there. */
    void (*record)(void *context, const struct tw_record *record, uint64_t now_ns);
    void (*event)(void *context, const struct tw_node_event *event, uint64_t now_ns);
    void (*input)(void *context, const struct tw_sequencer_event *input, uint64_t now_ns);
    void (*served)(void *context, uint32_t rank, uint64_t position, uint64_t now_ns);
    void (*heard)(void *context, uint32_t rank, const struct tw_frame *frame, uint64_t now_ns);
    /* The run, whose processes all died at `died_ns`, begins again from this CHECKPOINT (position
     * 0: from its start): all nodes are new, and the lead hears of it behind this. */
    void (*again)(void *context, const struct tw_sequencer_snapshot *from, uint32_t generation,
                  uint64_t died_ns, uint64_t now_ns);
    /* A CHECKPOINT has been logged, and this is what the run could begin again from; and then what
     * is saved of each server: the arrays of its chunks, in their order. */
    void (*checkpoint)(void *context, const struct tw_sequencer_snapshot *snapshot,
                       uint64_t now_ns);
    void (*saves)(void *context, uint32_t server, const float *array);
    /* After every event, unless all processes are dead; true: stop, as a signal would. */
    bool (*stops)(void *context);
};

/* What happens to a worker, or a server, at a time; to one that is not there, nothing. */
enum tw_mishap_kind {
    TW_MISHAP_DEATH, /* its process dies; another takes its rank `seconds` later; INFINITY: none */
    TW_MISHAP_PAUSE, /* it stands still for `seconds` */
    TW_MISHAP_ABSENCE, /* it comes at this time, not at the start */
    /* A server's process dies, and the run with it; `seconds` later all processes are started
     * anew, and go on from the last checkpoint. INFINITY: the run fails */
    TW_MISHAP_SERVER_DEATH,
    TW_MISHAP_SERVER_PAUSE, /* it stands still for `seconds`; what is sent to it waits */
};
struct tw_mishap {
    enum tw_mishap_kind kind;
    uint32_t rank; /* of a server: its index */
    double at, seconds;
};

struct tw_world_config {
    struct tw_node_config node; /* of all servers, but for shard.index and what the plans say */
    const struct tw_memory_plan *plans; /* [node.servers] */
    const struct tw_tensor_list *list;  /* borrowed, as all pointers are */
    uint64_t epoch_samples;             /* of the evaluator, if node.sequencer.evaluator */
    const char *numerics;
    struct tw_delay delay;          /* of a step of a worker */
    const struct tw_delay *service; /* how long a server is busy with a push; NULL: not at all */
    double latency;                 /* of every frame, in seconds */
    double bandwidth;  /* of each process, each way, shared by its connections, in bytes per second;
                          INFINITY: no limit */
    double stands_for; /* bytes on the network for each of a tensor; 0: one, as it is */
    const struct tw_mishap *mishaps; /* [mishap_count] */
    size_t mishap_count;
    double loss_seconds; /* a worker that is gone for so long is lost; INFINITY: never */
    bool loss_fails;     /* then the run ends; else the worker is evicted */
    /* Between two checkpoints, besides those of node.sequencer.checkpoint_every; 0: none. */
    double checkpoint_seconds;
    uint64_t seed;        /* of handshakes and back-offs */
    bool measures;        /* workers tell the lead what they measure of their steps */
    uint32_t local_steps; /* delays that computing a push takes; 0: one */
    struct tw_world_program program;
};

struct tw_world;

/* TW_USAGE: a mishap of a rank or server that there is not, at or for a negative time, or all
 * workers die for good. */
enum tw_status tw_world_check_mishaps(const struct tw_mishap *mishaps, size_t count,
                                      uint32_t workers, uint32_t servers, struct tw_error *error);

/* TW_NO_MEMORY; TW_LIMIT: too many chunks; TW_USAGE: as tw_world_check_mishaps(). *out is the
 * caller's. */
enum tw_status tw_world_new(struct tw_world **out, const struct tw_world_config *config,
                            struct tw_error *error);

/* NULL is fine. */
void tw_world_free(struct tw_world *world);

/* To the end of the run; then all shards have done what the log says. The status is the run's:
 * TW_OK, TW_INTERRUPTED, TW_NOT_FINITE as FINISHED has it; TW_CLOSED: a worker is lost, and
 * loss_fails, or a server is, for good; what the program said; TW_LIMIT: virtual time has come to
 * its end; TW_UNEXPECTED: nothing can ever happen again, and the run is not over (it waits for
 * somebody who never comes); TW_NO_MEMORY. */
enum tw_status tw_world_run(struct tw_world *world, struct tw_error *error);

/* After a run that has come to its end, when all is saved and nobody asks for its time any more:
 * the lead lets everybody go, and hears what they have measured of their last steps, as a real one
 * does (and no longer than that waits). It takes virtual time. */
void tw_world_goodbye(struct tw_world *world);

/* Virtual time since the start. */
uint64_t tw_world_now_ns(const struct tw_world *world);

/* Events so far: deliveries and everything on the agenda. */
uint64_t tw_world_events(const struct tw_world *world);

const struct tw_node *tw_world_lead(const struct tw_world *world);

/* Whether a server is gone, and its part of the weights with it. */
bool tw_world_is_broken(const struct tw_world *world);

/* Of each chunk, where they are applied as they come: as tw_shard_check_staleness(). */
enum tw_status tw_world_check_staleness(const struct tw_world *world, struct tw_error *error);

/* The weights as they are, chunks of all shards together, into out [elements of the list]. */
void tw_world_weights(const struct tw_world *world, float *out);

/* Likewise their average, where the job has one: false if not. */
bool tw_world_average(const struct tw_world *world, float *out);

#endif
