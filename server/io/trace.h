/* What the lead measures, and what workers say that they did: entries of trace.log.
 *
 * The core has no clock: it reports what happens (records, events), and here it gets its
 * time. Workers are told our clock in every Pong and say theirs in Pings. They may lie:
 * what cannot be is left out and counted, and no more than one entry is written per step.
 *
 * Used by pump.c and links.c, who see everything pass. With `trace: {on: false}` every
 * function does nothing.
 */
#ifndef TW_IO_TRACE_H
#define TW_IO_TRACE_H

#include "common/job/job.h"
#include "server/core/inputs.h"
#include "server/core/node.h"
#include "server/io/trace_writer.h"

/* The step of a rank that is under way; and since when it has nothing to do. */
struct tw_rank_trace {
    bool open;
    uint64_t step, read, asked, served;
    uint64_t idle;     /* 0: it has something to do */
    uint64_t measured; /* last step that the worker told of */
};

struct tw_update_trace {
    uint64_t version, prepared, committed;
};

struct tw_trace {
    bool on;
    uint64_t origin_ns; /* of the caller's clock: time 0 */
    uint32_t width, workers;
    struct tw_rank_trace *rank;     /* [workers] */
    struct tw_update_trace *update; /* ring [updates], by version */
    uint32_t updates;               /* a power of two */
    uint64_t hashed;                /* last version that was */
    uint64_t senseless;             /* measures of workers that were left out */
    bool tells_inputs;
    uint64_t inputs; /* so far */
    struct tw_trace_writer writer;
};

/* The trace.log of generation N becomes trace-gN.log: each has one of its own. Where there is one
 * already (a generation was begun, and died before its first record), the newer says nothing, and
 * is removed. None is fine. TW_LIMIT: the path is too long; TW_IO. */
enum tw_status tw_trace_put_by(const char *folder, uint32_t generation, struct tw_error *error);

/* Opens trace.log and writes its header, with what the job does not say of its sequencer. `now_ns`,
 * here and below, is by any clock that never goes back. TW_NO_MEMORY, and as
 * tw_trace_writer_open(). */
enum tw_status tw_trace_open(struct tw_trace *trace, const struct tw_job *job,
                             const struct tw_sequencer_config *sequencer, const char *folder,
                             uint64_t now_ns, struct tw_error *error);

/* Nanoseconds since the header, never 0; 0 when there is no trace. */
uint64_t tw_trace_time(const struct tw_trace *trace, uint64_t now_ns);

/* A record of the sequencer; an event of the node. */
void tw_trace_record(struct tw_trace *trace, const struct tw_record *record, uint64_t now_ns);
void tw_trace_event(struct tw_trace *trace, const struct tw_node_event *event, uint64_t now_ns);

/* What the sequencer is told; nothing with `trace: {inputs: false}`. */
void tw_trace_input(struct tw_trace *trace, const struct tw_sequencer_event *event,
                    uint64_t now_ns);

/* The last byte of a rank's weights of this position has gone to the kernel. */
void tw_trace_served(struct tw_trace *trace, uint32_t rank, uint64_t position, uint64_t now_ns);

/* Training is over; the hash of the final weights, unless it is there already. */
void tw_trace_end(struct tw_trace *trace, const struct tw_sample *sample);

/* Packs what waits: when what follows from it has left. */
void tw_trace_settle(struct tw_trace *trace);
/* Gives what waits to the kernel. */
void tw_trace_flush(struct tw_trace *trace);

/* Harmless after a failed open, and twice. Flushes. */
void tw_trace_close(struct tw_trace *trace);

#endif
