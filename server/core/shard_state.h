/* A shard's insides, shared by shard.c (memory, pushes, votes), shard_apply.c (records,
 * reducing, sweeping) and order_check.c, which only looks. Private to them. */
#ifndef TW_CORE_SHARD_STATE_H
#define TW_CORE_SHARD_STATE_H

#include "server/core/shard.h"

enum tw_bytes_state {
    TW_BYTES_EMPTY,
    TW_BYTES_RECEIVING,
    TW_BYTES_STALE, /* being received for an incarnation or read that is over */
    TW_BYTES_HERE,
    TW_BYTES_MERGED,
    TW_BYTES_COMMITTED,
};

/* One gradient of one slot, in the plane of the same number. */
struct tw_shard_push {
    bool used; /* a slot's open push, or held until it is swept or dropped */
    uint32_t slot;
    uint64_t step, position; /* of the RELEASE that it answers */
    uint32_t whole;          /* chunks HERE or MERGED */
    bool ended, voted, in_votes;
    uint64_t examples;
    double loss;
    uint32_t bad_tensor; /* UINT32_MAX: all finite so far */
    uint32_t next;       /* contributor of the same COMMIT; UINT32_MAX: the last */
};

struct tw_shard_slot {
    uint32_t incarnation;
    bool evicted;     /* no update waits for it */
    uint64_t step;    /* of its last RELEASE: the push to come */
    uint64_t settled; /* last step committed, dropped or cancelled */
    uint32_t open;    /* push that takes what comes */
    uint32_t release; /* 1 + index of its RELEASE in work; 0: none pending */
};

/* A record that is to be done to every chunk. */
struct tw_shard_item {
    enum tw_record_kind kind; /* COMMIT or RELEASE */
    bool superseded;          /* RELEASE: a later one to the same slot came */
    uint64_t position, version, step, examples;
    uint32_t slot; /* RELEASE: to whom */
    uint32_t push; /* COMMIT: the first contributor, whose buffer holds the sum */
    double divisor, rate;
    double scalars[TW_RECORD_SCALARS];
};

struct tw_shard {
    struct tw_shard_config config;
    bool members_known;     /* as the dial is now */
    uint32_t first, chunks; /* chunks [first, first + chunks) of the layout */
    size_t plane;           /* floats of one copy of the shard, padded */
    size_t stride;          /* floats between planes: staggered, see shard.c */
    size_t *offset;         /* [chunks] of a chunk in a plane */
    float *planes;          /* weights, states, pushes, spare weights */
    size_t *encoded_offset; /* [chunks] in bytes, of a chunk in an encoded copy */
    size_t encoded_stride;  /* floats that an encoded copy takes; 0: weights leave as they are */

    uint32_t *current; /* [chunks] plane that holds the weights */
    uint32_t *refs;    /* [(1 + spares) * chunks] sends under way, per buffer */
    bool *encoded;     /* [the same] its encoded copy is of the weights that are in it */

    struct tw_shard_slot *slot; /* [slots] */
    uint32_t pushes;
    struct tw_shard_push *push; /* [pushes] */
    uint8_t *bytes;             /* [pushes * chunks] enum tw_bytes_state */
    uint32_t *votes;            /* ring [pushes] of those that have a READY to give */
    uint32_t vote_first, vote_count;

    uint32_t *contributor; /* [pushes] of the update being reduced */
    uint32_t contributors; /* of all slots, when members are known; else of the PREPARE */
    const float **input;   /* [pushes] for the reduction */
    uint32_t *here;        /* [chunks] contributors that have it, not yet reduced */
    uint32_t *to_reduce;   /* ring [chunks] */
    bool *queued;          /* [chunks] is in that ring */
    uint32_t reduce_first, reduce_count, reduced;
    uint64_t regather;           /* position of the last REGATHER */
    bool sum_finite;             /* of the chunks that are reduced */
    struct tw_exact_sum squares; /* of the same, when the update may be clipped by norm */
    bool preparing;
    uint64_t prepare_version;
    uint64_t version; /* of the last COMMIT */

    struct tw_shard_item *work; /* [work_room] */
    uint32_t works, work_room;
    uint32_t batch;       /* of them being swept; 0: none */
    uint32_t item, chunk; /* where the sweep stands */
    uint32_t evaluator_release;

    struct tw_sample sample; /* of the COMMIT being swept: there is one at most */
    float *before;           /* [largest chunk] its weights before it, when they are sampled */
};

static inline float *tw_shard_plane(const struct tw_shard *s, uint32_t plane, uint32_t chunk) {
    return s->planes + plane * s->stride + s->offset[chunk];
}
static inline float *tw_shard_gradient(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    uint32_t plane = 1 + (uint32_t)s->config.optimizer->states + push;
    return tw_shard_plane(s, plane, chunk);
}
static inline float *tw_shard_state(const struct tw_shard *s, uint32_t state, uint32_t chunk) {
    return tw_shard_plane(s, 1 + state, chunk);
}
/* Behind the pushes, so that memory never needed is never touched: the encoded copy of plane 0,
 * and then for each spare its weights and their encoded copy. */
static inline float *tw_shard_behind_pushes(const struct tw_shard *s, uint32_t copy) {
    uint32_t before = 1 + (uint32_t)s->config.optimizer->states + s->pushes;
    return s->planes + before * s->stride + copy * (s->stride + s->encoded_stride);
}
/* Buffers of weights: plane 0, and the spares. */
static inline float *tw_shard_buffer(const struct tw_shard *s, uint32_t copy, uint32_t chunk) {
    if (copy == 0)
        return tw_shard_plane(s, 0, chunk);
    return tw_shard_behind_pushes(s, copy) - s->stride + s->offset[chunk];
}
static inline void *tw_shard_encoded(const struct tw_shard *s, uint32_t copy, uint32_t chunk) {
    return (unsigned char *)tw_shard_behind_pushes(s, copy) + s->encoded_offset[chunk];
}
static inline const struct tw_chunk *tw_shard_chunk(const struct tw_shard *s, uint32_t chunk) {
    return &s->config.layout->chunk[s->first + chunk];
}
static inline uint8_t *tw_shard_bytes_state(struct tw_shard *s, uint32_t push, uint32_t chunk) {
    return &s->bytes[(size_t)push * s->chunks + chunk];
}

/* shard.c: the push of a slot's step that is here; UINT32_MAX: none is. */
uint32_t tw_shard_look_for_push(const struct tw_shard *s, uint32_t slot, uint64_t step);
/* The same, of one that must be. */
uint32_t tw_shard_find_push(const struct tw_shard *s, const struct tw_contribution *contribution);

/* shard_apply.c */
void tw_shard_know_members(struct tw_shard *s);
void tw_shard_count_here(struct tw_shard *s, uint32_t chunk);
void tw_shard_clear_sums(struct tw_shard *s);
enum tw_shard_work tw_shard_reduce_next(struct tw_shard *s);
enum tw_shard_work tw_shard_sweep_next(struct tw_shard *s, struct tw_shard_effect *effect);

#endif
