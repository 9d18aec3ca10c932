/* The order log, and what sequencer and shards say to each other.
 *
 * The sequencer's output is a sequence of records, numbered from 1: their
 * position. A shard does what they say, in their order, and nothing else; so its
 * weights are a pure function of the log and the gradients. Between READY and
 * COMMIT the two exchange votes, which are not part of the log.
 *
 *      shard                      sequencer
 *        | -- READY(push) ---------> |        it holds all of a push
 *        | <-- PREPARE(v, pushes) -- |        the dial's condition is met
 *        | -- SQUARES(v, tensor) --> |        of each tensor, if the rule is layer-wise
 *        | -- SUMS(v) -------------> |        reduced; finite or not
 *        | <-- COMMIT(v, ...) ------ |        the update's one commit point
 *        | <-- RELEASE(slot, step) - |        weights at this position go out
 *
 * With one server these are function calls, with several they are small messages.
 * The records themselves are values of proto/order_log.h, which also knows them as
 * bytes of the file order.log.
 */
#ifndef TW_CORE_RECORD_H
#define TW_CORE_RECORD_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/sample.h"
#include "proto/frame.h"
#include "proto/order_log.h"
#include "server/core/optimizer.h"

/* Shard to sequencer: struct tw_ready (proto/frame.h) when all bytes of a push and its End are
 * here, and this as the answer to PREPARE. */
struct tw_sums {
    uint32_t shard;
    uint64_t version;
    bool finite;                 /* the reduced gradient, on this shard */
    struct tw_exact_sum squares; /* of its elements, where the update may be clipped by norm */
};

/* The lead's shard to the sequencer: the bytes of this push wait to be received. */
struct tw_want {
    uint32_t slot, incarnation;
    uint64_t step;
};

/* Shard to sequencer, of its chunks of one tensor: the weights, and a step that they take. Before
 * its SUMS: the step that the rule would take in this update. Also for people: of an update that
 * was applied, the step taken and the weights behind it. */
struct tw_squares {
    uint32_t shard, tensor;
    uint64_t version;
    bool applied;
    struct tw_tensor_squares of;
};

/* Sequencer to shard: reduce exactly these. The rest is what the COMMIT will say. */
struct tw_prepare {
    uint64_t version;
    uint32_t count;
    const struct tw_contribution *contributions; /* [count], in slot order */
    uint64_t examples;
    double rate;
    uint32_t scalar_count;
    const double *scalars; /* [scalar_count] */
};

#endif
