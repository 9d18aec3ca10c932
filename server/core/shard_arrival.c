/* Chunks that are applied as they come (tw_dial.on_arrival), and how stale each of them was.
 *
 * Happy path: a chunk's weights leave for a slot: its read of the chunk is out -> its gradient of
 * the chunk arrives, and is applied at once -> the read is over; its age, in gradients that were
 * applied to the chunk meanwhile, is the staleness. When somebody is still being sent all copies of
 * the chunk, or it is being saved, the gradient waits in its place.
 *
 * Each chunk counts for itself, and of each this holds at any time (as tw_staleness, of one chunk):
 *     applied + ages of reads that are out + dropped = outstanding
 */
#include "server/core/shard_arrival.h"

#include <assert.h>

static uint64_t *read_of(const struct tw_shard *s, uint32_t slot, uint32_t chunk) {
    return &s->read[(size_t)slot * s->chunks + chunk];
}

/* ---- reads ---- */

static uint64_t ages(const struct tw_shard *s, uint32_t chunk, uint64_t *count) {
    uint64_t sum = 0;
    *count = 0;
    for (uint32_t i = 0; i < s->config.slots; i++) {
        uint64_t read = *read_of(s, i, chunk);
        sum += read ? s->account[chunk].version - (read - 1) : 0;
        *count += read != 0;
    }
    return sum;
}

static bool holds(const struct tw_shard *s, uint32_t chunk) {
    const struct tw_chunk_account *account = &s->account[chunk];
    uint64_t count, in_flight = ages(s, chunk, &count);
    return count == account->out &&
           account->applied + in_flight + account->dropped == account->outstanding;
}

/* It checks all slots; only in builds that check themselves. */
static void check(const struct tw_shard *s, uint32_t chunk) {
#ifdef TALWEG_CHECKS
    assert(holds(s, chunk));
#endif
}

static void drop_read(struct tw_shard *s, uint32_t slot, uint32_t chunk) {
    struct tw_chunk_account *account = &s->account[chunk];
    uint64_t *read = read_of(s, slot, chunk);
    if (!*read)
        return;
    account->dropped += account->version - (*read - 1);
    account->out--;
    *read = 0;
    check(s, chunk);
}

/* What of this step was applied before its weights had to leave again is not read once more. */
void tw_arrival_read(struct tw_shard *s, uint32_t slot, uint32_t chunk) {
    if (!s->config.on_arrival || slot == TW_SLOT_EVALUATOR)
        return;
    drop_read(s, slot, chunk);
    if (*tw_shard_bytes_state(s, s->slot[slot].open, chunk) == TW_BYTES_MERGED)
        return;
    *read_of(s, slot, chunk) = 1 + s->account[chunk].version;
    s->account[chunk].out++;
}

void tw_arrival_over(struct tw_shard *s, uint32_t slot) {
    for (uint32_t c = 0; s->config.on_arrival && c < s->chunks; c++)
        drop_read(s, slot, c);
}

void tw_arrival_start(struct tw_shard *s, uint64_t version) {
    for (uint32_t c = 0; s->config.on_arrival && c < s->chunks; c++)
        s->account[c].version = version;
}

/* ---- applying ---- */

static void count(struct tw_shard *s, struct tw_shard_push *push, uint32_t chunk) {
    struct tw_chunk_account *account = &s->account[chunk];
    uint64_t *read = read_of(s, push->slot, chunk);
    assert(*read); /* nothing is received before its weights have left */
    uint64_t staleness = account->version - (*read - 1);
    *read = 0;
    account->applied += staleness;
    account->outstanding += --account->out;
    account->version++;
    tw_chunk_staleness_add(&push->chunks, &(struct tw_chunk_staleness){1, staleness, staleness});
    check(s, chunk);
}

static void is_done(struct tw_shard *s, uint32_t index, uint32_t chunk) {
    *tw_shard_bytes_state(s, index, chunk) = TW_BYTES_MERGED;
    s->push[index].whole++;
    s->freed = true;
    tw_shard_vote_if_whole(s, index);
}

/* False: not now. The update is that of the chunk's own count. */
static bool apply(struct tw_shard *s, uint32_t index, uint32_t chunk) {
    struct tw_shard_push *push = &s->push[index];
    uint64_t examples = tw_shard_share(s, push->slot);
    const struct tw_update_terms terms = {
        .version = s->account[chunk].version + 1,
        .examples = examples,
        .divisor = tw_shaping_divisor(&s->config.shaping, examples, (double)examples, 0),
        .rate = push->rate,
        .scalars = tw_shard_push_scalars(s, index)};
    if (tw_shard_update(s, chunk, &terms, tw_shard_push_plane(s, index, chunk), NULL) ==
        TW_SHARD_BLOCKED)
        return false;
    count(s, push, chunk);
    is_done(s, index, chunk);
    return true;
}

void tw_arrival_take(struct tw_shard *s, uint32_t index, uint32_t chunk, bool finite) {
    size_t at = (size_t)index * s->chunks + chunk;
    if (!finite) { /* the weights stay as they are; what is left of the push is applied */
        drop_read(s, s->push[index].slot, chunk);
        is_done(s, index, chunk);
    } else if (!apply(s, index, chunk) && !s->arrives[at]) {
        size_t room = (size_t)s->pushes * s->chunks;
        s->arrives[at] = true;
        s->arrival[(s->arrival_first + s->arrivals++) % room] = at;
    }
}

/* The first that need not wait any more. Those that were forgotten meanwhile leave the queue. */
enum tw_shard_work tw_arrival_next(struct tw_shard *s) {
    size_t room = (size_t)s->pushes * s->chunks;
    for (size_t tries = s->arrivals; tries > 0; tries--) {
        size_t at = s->arrival[s->arrival_first];
        bool waits = s->bytes[at] == TW_BYTES_HERE;
        s->arrival_first = (s->arrival_first + 1) % room;
        s->arrivals--;
        s->arrives[at] = false;
        if (!waits || apply(s, (uint32_t)(at / s->chunks), (uint32_t)(at % s->chunks)))
            return TW_SHARD_WORKED;
        s->arrives[at] = true;
        s->arrival[(s->arrival_first + s->arrivals++) % room] = at;
    }
    return TW_SHARD_BLOCKED;
}

/* ---- looking ---- */

enum tw_status tw_shard_check_staleness(const struct tw_shard *s, struct tw_error *error) {
    for (uint32_t c = 0; s->config.on_arrival && c < s->chunks; c++)
        if (!holds(s, c))
            return tw_error_set(
                error, TW_INTERNAL,
                "a bug in Talweg: the staleness identity does not hold for chunk %u; "
                "please report it",
                s->first + c);
    return TW_OK;
}
