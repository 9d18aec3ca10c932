/* How the memory for gradients and copies (`memory.inflight` of a job) is laid out.
 *
 * Who uses it: the check of a job before anything starts, and each server for itself. All servers
 * come to the same decision, for it is made from what all of them know. Either every server has
 * room for a whole push of every slot, and for what the job's modes keep besides: then everybody
 * may push at any time. Or none of them is laid out for that: updates get their contributors by
 * PERMIT where the mode does not name them, and gradients are summed as they arrive
 * (server/core/shard_pool.h).
 *
 * Corrections that change gradients need room for everything, and those that remember weights as
 * much again for each push.
 *
 * Bytes are those of one server: weights and the rule's state are not among them.
 */
#ifndef TW_CORE_MEMORY_PLAN_H
#define TW_CORE_MEMORY_PLAN_H

#include "common/job/job.h"
#include "common/tensor/layout.h"
#include "server/core/dial.h"

struct tw_memory_plan {
    bool admission; /* as in tw_sequencer_config */
    /* As in tw_shard_config. */
    uint32_t ahead, spares, pool;
};

/* For server `index` of a job with these modes. TW_JOB: memory.inflight is too small; the message
 * has the least that would do. */
enum tw_status tw_memory_plan(const struct tw_job *job, const struct tw_layout *layout,
                              uint32_t index, const struct tw_dial *dial,
                              const struct tw_dial_turn *turns, uint32_t turn_count,
                              struct tw_memory_plan *out, struct tw_error *error);

#endif
