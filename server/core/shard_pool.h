/* Where the gradients of a shard wait when there is no memory for a whole push of every slot.
 * Private to the shard: shard.c and shard_apply.c ask, shard_pool.c answers.
 *
 * The contributors of the update to come are known then: all that take part, or those that the
 * log has given a PERMIT. Each chunk has one place of its own, its home: the first contributor's
 * bytes go there, and there the sum is in the end. The others' bytes go into spare buffers of
 * one size, and are added in slot order as soon as their turn comes, along the fixed tree: of
 * m contributors that were added, one partial sum is left for each bit of m, in the buffer of its
 * leftmost contributor. (The tree is that of tw_sum_tree(): the bits are the same.)
 *
 * Why this cannot starve itself. The focus is the first chunk, in the order in which the first
 * contributor sent them, that is not summed. ceil(log2 slots) spare buffers are only for the
 * focus, and there for the contributor whose turn it is: with the home that is all that the tree
 * ever holds. Whoever sends in the same order has brought the focus before anything behind it; so
 * the contributor whose turn it is either has it here, or is about to send just that. Of one that
 * sends in another order, and is stuck, the bytes are thrown away: at its End it is asked to send
 * again (`again`), and each time brings at least the focus.
 *
 * Copies of weights that are being sent take what spare buffers are left; when none is, an
 * update waits until they have been sent.
 */
#ifndef TW_CORE_SHARD_POOL_H
#define TW_CORE_SHARD_POOL_H

#include "server/core/shard_state.h"

/* Spare buffers that are only for the focus. */
uint32_t tw_pool_reserve(uint32_t slots);

/* Floats from one spare buffer to the next. */
size_t tw_pool_stride(const struct tw_shard *s);

void tw_pool_init(struct tw_shard *s);

/* Who contributes was set: nothing is here of the update to come. */
void tw_pool_new_sums(struct tw_shard *s);

/* Whether place() would not say TW_AGAIN, or would want a permit. */
bool tw_pool_has_place(const struct tw_shard *s, uint32_t push, uint32_t chunk);

/* Takes a buffer for a chunk that is EMPTY. TW_OK with *place NULL: throw its bytes away; TW_AGAIN:
 * no buffer, or no permit, yet. */
enum tw_status tw_pool_place(struct tw_shard *s, uint32_t push, uint32_t chunk, void **place);

/* The buffer of a chunk that is RECEIVING, STALE, HERE, or the leftmost of a partial sum. */
float *tw_pool_gradient(const struct tw_shard *s, uint32_t push, uint32_t chunk);

/* Gives the buffer back, if it has one. */
void tw_pool_let_go(struct tw_shard *s, uint32_t push, uint32_t chunk);

/* A chunk is HERE. */
void tw_pool_arrived(struct tw_shard *s, uint32_t push, uint32_t chunk);

/* Adds one contributor's bytes to the sum of a chunk that is queued; the finished sum, or NULL. */
const float *tw_pool_add_next(struct tw_shard *s, uint32_t chunk);

/* All sums belong to the COMMIT that is to be swept; and one chunk of it was. */
void tw_pool_commit(struct tw_shard *s);
void tw_pool_swept(struct tw_shard *s, uint32_t chunk);
float *tw_pool_sum(const struct tw_shard *s, uint32_t chunk);

/* Copies of weights: numbers of spare buffers + 1, as tw_shard.current has them; UINT32_MAX: none
 * is free. */
uint32_t tw_pool_take_copy(struct tw_shard *s, uint32_t chunk);
void tw_pool_free_copy(struct tw_shard *s, uint32_t copy);

#endif
