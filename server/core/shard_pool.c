/* See shard_pool.h. */
#include "server/core/shard_pool.h"

#include <assert.h>
#include <string.h>

#include "common/base/ring.h"
#include "common/tensor/kernels.h"

#define NONE UINT32_MAX
#define SWEEPING (UINT32_MAX - 1) /* owner of a home whose sum belongs to a COMMIT */
#define COPY (UINT32_MAX - 2)     /* owner of a spare buffer that holds weights */

/* ---- spare buffers ---- */

uint32_t tw_pool_reserve(uint32_t slots) {
    uint32_t levels = 0;
    while (UINT32_C(1) << levels < slots)
        levels++;
    return levels;
}

void tw_pool_init(struct tw_shard *s) {
    s->free_spare = NONE;
    for (uint32_t i = s->config.pool; i-- > 0;) {
        s->spare[i].next = s->free_spare;
        s->free_spare = i;
    }
    s->free_spares = s->config.pool;
    for (uint32_t c = 0; c < s->chunks; c++)
        s->home[c] = s->held[c] = NONE;
    for (uint32_t i = 0; i < s->config.slots; i++)
        s->turn[i] = NONE;
}

static float *spare_at(const struct tw_shard *s, uint32_t spare) {
    return s->spare_floats + spare * tw_pool_stride(s);
}

static uint32_t take(struct tw_shard *s, uint32_t owner, uint32_t chunk) {
    uint32_t spare = s->free_spare;
    assert(spare != NONE);
    s->free_spare = s->spare[spare].next;
    s->free_spares--;
    s->spare[spare] = (struct tw_shard_spare){.owner = owner, .chunk = chunk, .next = NONE};
    return spare;
}

static void give_back(struct tw_shard *s, uint32_t spare) {
    s->spare[spare].next = s->free_spare;
    s->free_spare = spare;
    s->free_spares++;
    s->freed = true;
}

static uint32_t find(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    uint32_t spare = s->held[chunk];
    while (spare != NONE && s->spare[spare].owner != push)
        spare = s->spare[spare].next;
    return spare;
}

/* ---- the focus ---- */

static uint32_t focus_of(const struct tw_shard *s) {
    return s->focus < s->begun ? s->order[s->focus] : NONE;
}

static bool has_begun(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    uint8_t state = s->bytes[(size_t)push * s->chunks + chunk];
    return state == TW_BYTES_RECEIVING || state == TW_BYTES_HERE;
}

/* Spare buffers that must stay free for what the tree of the focus may still need. */
static uint32_t kept_free(const struct tw_shard *s) {
    uint32_t reserve = tw_pool_reserve(s->config.slots), chunk = focus_of(s);
    if (chunk == NONE)
        return reserve;
    uint32_t added = s->here[chunk];
    uint32_t used = (uint32_t)__builtin_popcount(added) - 1 + /* the leftmost is at home */
                    has_begun(s, s->contributor[added], chunk);
    return reserve > used ? reserve - used : 0;
}

static bool is_its_turn(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    return s->contributor[s->here[chunk]] == push;
}

static bool has_spare(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    if (chunk == focus_of(s) && is_its_turn(s, push, chunk))
        return s->free_spares > 0;
    return s->free_spares > kept_free(s);
}

/* Its turn has come, but it sends something else first. */
static bool is_out_of_order(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    uint32_t focus = focus_of(s);
    return focus != NONE && focus != chunk && is_its_turn(s, push, focus) &&
           s->bytes[(size_t)push * s->chunks + focus] == TW_BYTES_EMPTY;
}

/* ---- places ---- */

/* Only the lead's shard asks; the answer comes to all. */
static bool may_want(const struct tw_shard *s, uint32_t push) {
    return !s->wants[push] && !s->members_known && !s->config.index;
}

bool tw_pool_has_place(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    uint32_t turn = s->turn[push];
    if (turn == NONE)
        return may_want(s, push);
    if (turn == 0)
        return s->home[chunk] == NONE;
    return has_spare(s, push, chunk) || is_out_of_order(s, push, chunk);
}

static void want_permit(struct tw_shard *s, uint32_t push) {
    if (!may_want(s, push))
        return;
    s->wants[push] = true;
    if (s->in_wanted[push])
        return; /* withdrawn before it was told */
    s->in_wanted[push] = true;
    s->wanted[tw_ring_at(s->want_first, s->want_count++, s->config.slots)] = push;
}

enum tw_status tw_pool_place(struct tw_shard *s, uint32_t push, uint32_t chunk, void **place) {
    uint32_t turn = s->turn[push];
    if (turn == NONE) {
        want_permit(s, push);
        return TW_AGAIN;
    }
    if (turn == 0) {
        if (s->home[chunk] != NONE)
            return TW_AGAIN;
        s->home[chunk] = push;
        *place = tw_pool_sum(s, chunk);
        return TW_OK;
    }
    if (has_spare(s, push, chunk)) {
        uint32_t spare = take(s, push, chunk);
        s->spare[spare].next = s->held[chunk];
        s->held[chunk] = spare;
        *place = spare_at(s, spare);
        return TW_OK;
    }
    if (!is_out_of_order(s, push, chunk))
        return TW_AGAIN;
    s->push[push].again = true;
    return TW_OK;
}

float *tw_pool_gradient(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    if (s->home[chunk] == push)
        return tw_pool_sum(s, chunk);
    uint32_t spare = find(s, push, chunk);
    assert(spare != NONE);
    return spare_at(s, spare);
}

void tw_pool_let_go(struct tw_shard *s, uint32_t push, uint32_t chunk) {
    if (s->home[chunk] == push) {
        s->home[chunk] = NONE;
        s->freed = true;
        return;
    }
    uint32_t *at = &s->held[chunk];
    while (*at != NONE && s->spare[*at].owner != push)
        at = &s->spare[*at].next;
    if (*at == NONE)
        return;
    uint32_t spare = *at;
    *at = s->spare[spare].next;
    give_back(s, spare);
}

/* ---- sums ---- */

void tw_pool_new_sums(struct tw_shard *s) {
    memset(s->here, 0, s->chunks * sizeof(*s->here));
    s->begun = s->focus = 0;
    for (uint32_t i = 0; i < s->config.slots; i++)
        s->turn[i] = NONE;
    for (uint32_t i = 0; i < s->contributors; i++)
        s->turn[s->contributor[i]] = i;
    s->freed = true;
}

static void queue_if_next(struct tw_shard *s, uint32_t chunk) {
    uint32_t added = s->here[chunk];
    if (s->queued[chunk] || added >= s->contributors ||
        *tw_shard_bytes_state(s, s->contributor[added], chunk) != TW_BYTES_HERE)
        return;
    s->queued[chunk] = true;
    s->to_reduce[tw_ring_at(s->reduce_first, s->reduce_count++, s->chunks)] = chunk;
}

void tw_pool_arrived(struct tw_shard *s, uint32_t push, uint32_t chunk) {
    if (s->turn[push] == s->here[chunk])
        queue_if_next(s, chunk);
}

/* The node that begins at contributor `left` gets what the one at `right` holds. */
static void join(struct tw_shard *s, uint32_t chunk, uint32_t left, uint32_t right) {
    float *sum = tw_pool_gradient(s, s->contributor[left], chunk);
    const float *both[2] = {sum, tw_pool_gradient(s, s->contributor[right], chunk)};
    tw_sum_tree(sum, both, 2, tw_shard_chunk(s, chunk)->count);
    tw_pool_let_go(s, s->contributor[right], chunk);
}

/* What is left of the tree is folded from the right. */
static void fold(struct tw_shard *s, uint32_t chunk) {
    uint32_t right = s->contributors & (s->contributors - 1);
    while (right) {
        uint32_t left = right & (right - 1);
        join(s, chunk, left, right);
        right = left;
    }
}

static void move_focus(struct tw_shard *s) {
    while (s->focus < s->begun && s->here[s->order[s->focus]] == s->contributors)
        s->focus++;
}

const float *tw_pool_add_next(struct tw_shard *s, uint32_t chunk) {
    uint32_t added = s->here[chunk], node = added, width = 1;
    if (added >= s->contributors ||
        *tw_shard_bytes_state(s, s->contributor[added], chunk) != TW_BYTES_HERE)
        return NULL; /* withdrawn since it was queued */
    *tw_shard_bytes_state(s, s->contributor[added], chunk) = TW_BYTES_MERGED;
    if (tw_shard_is_corrected(s))
        tw_shard_correct(s, added, chunk);
    for (uint32_t bits = added; bits & 1; bits >>= 1, width *= 2) {
        join(s, chunk, node - width, node);
        node -= width;
    }
    if (!added)
        s->order[s->begun++] = chunk;
    s->here[chunk]++;
    s->freed = true; /* it is the next one's turn */
    if (s->here[chunk] < s->contributors) {
        queue_if_next(s, chunk);
        return NULL;
    }
    fold(s, chunk);
    move_focus(s);
    return tw_pool_sum(s, chunk);
}

void tw_pool_commit(struct tw_shard *s) {
    for (uint32_t c = 0; c < s->chunks; c++)
        s->home[c] = SWEEPING;
}

float *tw_pool_sum(const struct tw_shard *s, uint32_t chunk) {
    return tw_shard_push_plane(s, 0, chunk);
}

void tw_pool_swept(struct tw_shard *s, uint32_t chunk) {
    assert(s->home[chunk] == SWEEPING);
    s->home[chunk] = NONE;
    s->freed = true;
}

/* ---- copies ---- */

uint32_t tw_pool_take_copy(struct tw_shard *s, uint32_t chunk) {
    return s->free_spares > kept_free(s) ? 1 + take(s, COPY, chunk) : NONE;
}

void tw_pool_free_copy(struct tw_shard *s, uint32_t copy) {
    assert(s->spare[copy - 1].owner == COPY);
    give_back(s, copy - 1);
}
