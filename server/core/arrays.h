/* What is kept for each weight: array 0 the weights, then the states of the rule, the average, if
 * the job has one, and the states of corrections. The same on all servers of a job, and by these
 * names in its checkpoints.
 *
 * Used by the shard, by checkpoints, and where a job is checked. No state, no allocation.
 */
#ifndef TW_CORE_ARRAYS_H
#define TW_CORE_ARRAYS_H

#include "server/core/optimizer.h"
#include "server/core/shaping.h"

/* All are borrowed. */
struct tw_arrays {
    const struct tw_optimizer *optimizer;
    const struct tw_shaping *shaping;
    uint32_t workers;
};

uint32_t tw_arrays_count(const struct tw_arrays *arrays);

/* The name of one of them: "" for the weights, else that of the state, or "average". */
void tw_array_name(const struct tw_arrays *arrays, uint32_t array, char out[TW_ARRAY_NAME]);

/* The one of this name, which need not be terminated. Takes as long for a thousand workers as for
 * one. False: there is none. */
bool tw_array_find(const struct tw_arrays *arrays, const char *name, size_t size, uint32_t *out);

#endif
