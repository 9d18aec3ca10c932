/* Chunks that are applied as they come. Private to shard*.c. */
#ifndef TW_CORE_SHARD_ARRIVAL_H
#define TW_CORE_SHARD_ARRIVAL_H

#include "server/core/shard_state.h"

/* The chunk's weights leave for this slot. Other shards: nothing. */
void tw_arrival_read(struct tw_shard *s, uint32_t slot, uint32_t chunk);
/* What the slot has not pushed of its step is over. Likewise. */
void tw_arrival_over(struct tw_shard *s, uint32_t slot);
/* The run begins with weights of this version. Likewise. */
void tw_arrival_start(struct tw_shard *s, uint64_t version);

/* A chunk of this push has arrived: it is applied, or waits. */
void tw_arrival_take(struct tw_shard *s, uint32_t push, uint32_t chunk, bool finite);
/* Applies one that waits. */
enum tw_shard_work tw_arrival_next(struct tw_shard *s);

#endif
