/* Which bytes of which tensor are which chunk, and which server owns it.
 *
 * A chunk is a run of elements of one tensor, a whole number of blocks long
 * (the last of a tensor may be shorter). Chunks are numbered through the tensor
 * list in order; this is the canonical order in which everybody sends them.
 * The layout is a pure function of (tensor list, chunk size, number of
 * servers): every process computes it for itself and gets the same one.
 */
#ifndef TW_TENSOR_LAYOUT_H
#define TW_TENSOR_LAYOUT_H

#include "common/tensor/tensor.h"

struct tw_chunk {
    uint32_t tensor; /* index in the list */
    uint32_t shard;  /* owner: a contiguous run of chunks each, balanced by bytes */
    int64_t first;   /* first element, counted from the tensor's start */
    uint32_t count;  /* elements, >= 1 */
};

struct tw_layout {
    const struct tw_tensor_list *list; /* borrowed; outlives the layout */
    uint32_t chunk_bytes;
    uint32_t servers;
    uint32_t chunks;
    struct tw_chunk *chunk;                   /* [chunks], memory of the caller */
    uint32_t shard_first[TW_SERVERS_MAX + 1]; /* shard s owns chunks [s], [s+1) */
    int64_t elements;                         /* of all tensors */
};

/* How many chunks the list has; 0 when they do not fit in 32 bits. */
uint32_t tw_layout_count(const struct tw_tensor_list *list, uint32_t chunk_bytes);

/* Fills `layout`; `memory` has room for tw_layout_count() chunks and is
 * borrowed. TW_LIMIT: chunk_bytes out of range or no multiple of a block, more
 * servers than chunks. */
enum tw_status tw_layout_init(struct tw_layout *layout, const struct tw_tensor_list *list,
                              uint32_t chunk_bytes, uint32_t servers, struct tw_chunk *memory,
                              struct tw_error *error);

/* A digest of what servers must agree on: the chunks, and which is whose. */
void tw_layout_digest(const struct tw_layout *layout, uint8_t digest[32]);

#endif
