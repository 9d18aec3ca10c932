/* Records of the order log, and what sequencer and shards say to each other.
 *
 * The sequencer's output is a sequence of records, numbered from 1: their
 * position. A shard does what they say, in their order, and nothing else; so its
 * weights are a pure function of the log and the gradients. Between READY and
 * COMMIT the two exchange votes, which are not part of the log.
 *
 *      shard                      sequencer
 *        | -- READY(push) ---------> |        it holds all of a push
 *        | <-- PREPARE(v, pushes) -- |        the dial's condition is met
 *        | -- SUMS(v) -------------> |        reduced; finite or not
 *        | <-- COMMIT(v, ...) ------ |        the update's one commit point
 *        | <-- RELEASE(slot, step) - |        weights at this position go out
 *
 * With one server these are function calls, with several they are small messages.
 */
#ifndef TW_CORE_RECORD_H
#define TW_CORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "server/core/optimizer.h"

enum tw_record_kind {
    TW_RECORD_JOIN = 1, /* rank, incarnation; drops the rank's uncommitted push */
    TW_RECORD_RELEASE,  /* slot, step: the weights at this position leave */
    TW_RECORD_COMMIT,   /* version, contributors, scalars */
    TW_RECORD_DROP,     /* contributors: their pushes are forgotten */
    TW_RECORD_REGATHER, /* version: its sums and votes are cleared, all send again */
};

/* A push that an update applies (or a DROP forgets). */
struct tw_contribution {
    uint32_t slot;
    uint64_t step;
    uint64_t read;      /* position of the RELEASE that it was computed on */
    uint64_t staleness; /* versions applied between that RELEASE and this COMMIT */
};

/* The slot of a RELEASE that goes to the evaluator. */
#define TW_SLOT_EVALUATOR UINT32_MAX

struct tw_record {
    uint64_t position; /* from 1 */
    enum tw_record_kind kind;
    uint64_t version;           /* COMMIT: the version it makes; else: the version so far */
    uint32_t rank, incarnation; /* JOIN */
    uint32_t slot;              /* RELEASE, JOIN: first slot */
    uint64_t step;              /* RELEASE */
    uint32_t count;             /* COMMIT, DROP */
    const struct tw_contribution *contributions; /* [count], in slot order; of the sequencer */
    uint64_t examples;                           /* COMMIT */
    double scalars[TW_OPTIMIZER_SCALARS];        /* COMMIT */
};

/* Shard to sequencer: all bytes of a push and its End are here. */
struct tw_ready {
    uint32_t shard, slot, incarnation;
    uint64_t step, read, examples;
    uint64_t regather; /* position of the last REGATHER that the shard has seen; 0 none */
    double loss;       /* sum over the examples */
    bool finite;
    uint32_t bad_tensor; /* when not finite: the first such tensor; TW_TENSORS_MAX: the loss */
};

/* Sequencer to shard: reduce exactly these. */
struct tw_prepare {
    uint64_t version;
    uint32_t count;
    const struct tw_contribution *contributions; /* [count], in slot order */
};

/* Shard to sequencer: the answer to PREPARE. */
struct tw_sums {
    uint32_t shard;
    uint64_t version;
    bool finite; /* the reduced gradient, on this shard */
};

#endif
