/* A shard's insides, shared by shard.c (memory, pushes, votes), shard_apply.c (records, reducing,
 * sweeping), shard_weights.c (updates of a chunk, weights that leave), shard_arrival.c (chunks that
 * are applied as they come), shard_squares.c (norms of tensors), shard_correct.c (late gradients)
 * and order_check.c, which only looks. Private to them. */
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
    bool again;                 /* some of its bytes were thrown away: it is to be sent once more */
    uint64_t examples, correct; /* as in tw_end */
    double loss;
    uint32_t bad_tensor; /* UINT32_MAX: all finite so far */
    uint32_t next;       /* contributor of the same COMMIT; UINT32_MAX: the last */
    uint64_t staleness;  /* of the update that it is being summed for */
    float weight;        /* in it, for that (correction.h) */
    /* Where chunks are applied as they come: with what its RELEASE says; those that were. */
    double rate;
    struct tw_chunk_staleness chunks;
};

/* What of a chunk is counted where it is updated as gradients come. */
struct tw_chunk_account {
    uint64_t version;                       /* gradients that were applied to it */
    uint64_t out;                           /* reads of it that are out */
    uint64_t applied, dropped, outstanding; /* as in tw_staleness */
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
    enum tw_record_kind kind; /* COMMIT, RELEASE or CHECKPOINT */
    bool superseded;          /* RELEASE: a later one to the same slot came */
    uint64_t position, version, step, examples;
    uint32_t slot; /* RELEASE: to whom */
    uint32_t push; /* COMMIT: the first contributor, whose buffer holds the sum; UINT32_MAX: it was
                      applied as it came */
    double divisor, rate;
};

/* A buffer of the pool. */
struct tw_shard_spare {
    uint32_t owner; /* a push, or COPY */
    uint32_t chunk;
    uint32_t next; /* of the same chunk, or of those that are free; UINT32_MAX: the last */
};

struct tw_shard {
    struct tw_shard_config config;
    bool members_known;     /* as the dial is now */
    uint32_t first, chunks; /* chunks [first, first + chunks) of the layout */
    size_t plane;           /* floats of one copy of the shard, padded */
    size_t stride;          /* floats between planes: staggered, see shard.c */
    size_t *offset;         /* [chunks] of a chunk in a plane */
    float *planes;          /* weights, states, pushes, spare weights: */
    float *push_plane;      /* the first of pushes, */
    float *behind_pushes;   /* and what comes behind the last */
    size_t *encoded_offset; /* [chunks] in bytes, of a chunk in an encoded copy */
    uint32_t push_planes;   /* planes of pushes; with a pool 1, of the sums */
    size_t encoded_stride;  /* floats that an encoded copy takes; 0: weights leave as they are */

    uint32_t *current;   /* [chunks] plane that holds the weights */
    size_t tokens;       /* of weights, by tw_shard_token(); those of averages follow */
    uint32_t *refs;      /* [tokens + averages * chunks] sends under way, per buffer */
    bool *encoded;       /* [tokens] its encoded copy is of the weights that are in it */
    uint32_t averages;   /* buffers of averaged weights: 2 where they are sent, 1, or 0 */
    uint8_t *averaged;   /* [chunks] which of them holds the average */
    uint32_t corrected;  /* arrays of the states of corrections */
    uint8_t *observed;   /* [chunks] which of two holds the state; the other, what it is to be */
    uint8_t *own;        /* [slots * chunks] the same, of states that each worker has */
    uint32_t remembered; /* planes of weights that pushes are computed on: one each, or none */

    struct tw_shard_slot *slot; /* [slots] */
    uint32_t pushes;
    struct tw_shard_push *push; /* [pushes] */
    uint8_t *bytes;             /* [pushes * chunks] enum tw_bytes_state */
    uint32_t *votes;            /* ring [pushes] of those that have a READY to give */
    uint32_t vote_first, vote_count;

    uint32_t *contributor; /* [pushes] of the update being reduced */
    uint32_t contributors; /* of all slots, when members are known; else of the PREPARE */
    const float **input;   /* [pushes] for the reduction */
    uint32_t *here;        /* [chunks] contributors that have it, not yet reduced; with a pool:
                              that are in the sum */
    uint32_t *to_reduce;   /* ring [chunks] */
    bool *queued;          /* [chunks] is in that ring */
    uint32_t reduce_first, reduce_count, reduced;
    uint64_t regather;           /* position of the last REGATHER */
    bool sum_finite;             /* of the chunks that are reduced */
    struct tw_exact_sum squares; /* of the same, when the update may be clipped by norm */
    bool preparing;
    uint64_t prepare_version, prepare_examples;
    double prepare_weighted, prepare_rate, prepare_scalars[TW_RECORD_SCALARS];
    uint32_t measured; /* chunks of it whose steps are summed, of a layer-wise rule */
    struct tw_tensor_squares step_sum; /* of the tensor that these have come to */
    uint64_t version;                  /* of the last COMMIT */

    struct tw_shard_item *work; /* [work_room] */
    uint32_t works, work_room;
    uint32_t batch;       /* of them being swept; 0: none */
    uint32_t item, chunk; /* where the sweep stands */
    uint32_t evaluator_release;
    bool any_superseded;     /* of the items; perhaps only of those being swept */
    bool saving;             /* a CHECKPOINT has come whose chunks are not all saved */
    uint32_t to_save, saved; /* chunks [saved, to_save) are being saved */

    /* With a pool (shard_pool.h) only. */
    struct tw_shard_spare *spare;     /* [pool] */
    uint32_t free_spare, free_spares; /* list of those that are free */
    float *spare_floats;              /* [pool * spare_stride] */
    size_t spare_stride;              /* floats between them, staggered too */
    size_t spare_weights;             /* floats of one, before the encoded copy of them */
    uint32_t *home;                   /* [chunks] push that has the chunk's own place */
    uint32_t *held;                   /* [chunks] list of spare buffers */
    uint32_t *turn;                   /* [slots] place among the contributors; UINT32_MAX: none */
    uint32_t *order;                  /* [chunks] as the first contributor sent them */
    uint32_t begun, focus;            /* how many it has sent; the first that is not summed */
    bool *wants;                      /* [slots] has begun without a permit */
    bool *in_wanted;                  /* [slots] is in that ring, so no slot is twice: */
    uint32_t *wanted;                 /* ring [slots] of those of whom that is to be told */
    uint32_t want_first, want_count;
    bool freed; /* somebody who got TW_AGAIN may have a place now */

    /* Where chunks are applied as they come (shard_arrival.c) only. */
    struct tw_chunk_account *account; /* [chunks] */
    uint64_t *read; /* [slots * chunks] 1 + version of the weights that are out; 0: none are */
    size_t *arrival, arrival_first, arrivals; /* ring [pushes * chunks] of bytes that wait; */
    bool *arrives;                            /* [pushes * chunks] is in it */
    double *push_scalars;                     /* [pushes][tw_shaping_scalars()], with its rate */

    struct tw_sample sample;             /* of the COMMIT being swept (on_arrival: of the
                                            last that was): there is one at most */
    struct tw_tensor_squares change_sum; /* of the tensor that the sweep has come to */
    bool applied_due;                    /* the update's last chunk is done; to be told */
    double *ratios;                      /* [tensors] of that COMMIT, of a layer-wise rule */
    double scalars[TW_RECORD_SCALARS];   /* of it, as many as the rule has */
    float *scratch; /* [largest chunk] a step, or weights before their update: when sampled, or when
                       a correction watches steps */
};

static inline float *tw_shard_plane(const struct tw_shard *s, uint32_t plane, uint32_t chunk) {
    return s->planes + plane * s->stride + s->offset[chunk];
}
/* Planes that stand beside the weights: states of the rule, averages, states of corrections, and
 * remembered weights. */
static inline uint32_t tw_shard_kept(const struct tw_shard *s) {
    return (uint32_t)s->config.optimizer->states + s->averages + s->corrected + s->remembered;
}
static inline float *tw_shard_average_buffer(const struct tw_shard *s, uint32_t which,
                                             uint32_t chunk) {
    return tw_shard_plane(s, 1 + (uint32_t)s->config.optimizer->states + which, chunk);
}
static inline float *tw_shard_corrected(const struct tw_shard *s, uint32_t array, uint32_t chunk) {
    return tw_shard_plane(s, 1 + (uint32_t)s->config.optimizer->states + s->averages + array,
                          chunk);
}
static inline float *tw_shard_remembered(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    return tw_shard_corrected(s, s->corrected + push, chunk);
}
static inline float *tw_shard_state(const struct tw_shard *s, uint32_t state, uint32_t chunk) {
    return tw_shard_plane(s, 1 + state, chunk);
}
/* Of a push; with a pool plane 0 of these holds the sums. */
static inline float *tw_shard_push_plane(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    return s->push_plane + push * s->stride + s->offset[chunk];
}
/* Behind the pushes: the encoded copy of plane 0, and then for each spare its weights and their
 * encoded copy. */
static inline float *tw_shard_behind_pushes(const struct tw_shard *s, uint32_t copy) {
    return s->behind_pushes + copy * (s->stride + s->encoded_stride);
}
/* Copies of weights: 0 is their plane; then come the spares, or the buffers of the pool. */
static inline float *tw_shard_buffer(const struct tw_shard *s, uint32_t copy, uint32_t chunk) {
    if (!copy)
        return tw_shard_plane(s, 0, chunk);
    if (s->config.pool)
        return s->spare_floats + (copy - 1) * s->spare_stride;
    return tw_shard_behind_pushes(s, copy) - s->stride + s->offset[chunk];
}
void *tw_shard_encoded(const struct tw_shard *s, uint32_t copy, uint32_t chunk);
/* What counts its sends: index in `refs`. */
static inline uint32_t tw_shard_token(const struct tw_shard *s, uint32_t copy, uint32_t chunk) {
    if (!s->config.pool)
        return copy * s->chunks + chunk;
    return copy ? s->chunks + copy - 1 : chunk;
}
/* Likewise for the average, which only the evaluator is sent. */
static inline uint32_t tw_shard_token_of_average(const struct tw_shard *s, uint32_t which,
                                                 uint32_t chunk) {
    return (uint32_t)s->tokens + which * s->chunks + chunk;
}
/* Who contributes to the update to come is known before it is prepared. */
static inline bool tw_shard_knows(const struct tw_shard *s) {
    return s->members_known || s->config.pool;
}
static inline const struct tw_chunk *tw_shard_chunk(const struct tw_shard *s, uint32_t chunk) {
    return &s->config.layout->chunk[s->first + chunk];
}
/* Of a push, where chunks are applied as they come: with its rate. */
static inline double *tw_shard_push_scalars(const struct tw_shard *s, uint32_t push) {
    return s->push_scalars + push * tw_shaping_scalars(&s->config.shaping);
}
static inline uint8_t *tw_shard_bytes_state(struct tw_shard *s, uint32_t push, uint32_t chunk) {
    return &s->bytes[(size_t)push * s->chunks + chunk];
}

/* Examples of a push of this slot: its part of the batch, in each of its local steps. */
static inline uint64_t tw_shard_share(const struct tw_shard *s, uint32_t slot) {
    uint64_t steps = s->config.shaping.local_steps > 1 ? s->config.shaping.local_steps : 1;
    return tw_job_share(s->config.batch, s->config.slots, slot) * steps;
}

/* shard.c */
/* Gradients are summed as they arrive: what does not go where corrections look at each as a whole,
 * and so must know its End. */
static inline bool tw_shard_sums_early(const struct tw_shard *s, bool members_known) {
    return members_known && !tw_corrections_have_kernels(&s->config.shaping.corrections);
}
void tw_shard_vote_if_whole(struct tw_shard *s, uint32_t push);
float *tw_shard_gradient(const struct tw_shard *s, uint32_t push, uint32_t chunk);
/* The push of a slot's step that is here; UINT32_MAX: none is. */
uint32_t tw_shard_look_for_push(const struct tw_shard *s, uint32_t slot, uint64_t step);
/* The same, of one that must be. */
uint32_t tw_shard_find_push(const struct tw_shard *s, const struct tw_contribution *contribution);

/* shard_squares.c: the update being prepared; has_steps: there is nothing (more) to measure */
bool tw_shard_is_layer_wise(const struct tw_shard *s);
void tw_shard_begin_steps(struct tw_shard *s, const struct tw_prepare *prepare);
bool tw_shard_has_steps(const struct tw_shard *s);
enum tw_shard_work tw_shard_step_next(struct tw_shard *s, struct tw_shard_effect *effect);
/* ... and the one that is swept, around its work on a chunk; `work` as the rule got it, with the
 * shaped gradient. True: *effect is to be carried out. */
void tw_shard_begin_sample(struct tw_shard *s, uint64_t version, uint32_t chunk,
                           const struct tw_optimizer_float *work);
bool tw_shard_end_sample(struct tw_shard *s, uint32_t chunk, const struct tw_optimizer_float *work,
                         struct tw_shard_effect *effect);

static inline bool tw_shard_is_corrected(const struct tw_shard *s) {
    return s->config.shaping.corrections.count > 0;
}
/* shard_correct.c: contributions of an update that become known; where they are corrected, a chunk
 * of one of them, by its number among them, in place, just before it is summed, one after the
 * other; weights that leave for a push; and the update being swept, that was applied to a chunk,
 * with the weights before it in `scratch` where that is needed */
void tw_shard_weigh(struct tw_shard *s, const struct tw_contribution *contributions,
                    uint32_t count);
void tw_shard_correct(struct tw_shard *s, uint32_t number, uint32_t chunk);
void tw_shard_remember(struct tw_shard *s, const struct tw_shard_item *release, uint32_t chunk);
void tw_shard_note_applied(struct tw_shard *s, uint32_t chunk, const float *after);
/* Planes that a shard needs for that: of states, and of remembered weights. */
uint32_t tw_shard_corrected_planes(const struct tw_shard_config *config);
uint32_t tw_shard_remembered_planes(const struct tw_shard_config *config, uint32_t pushes);
/* The n-th state of the stack, as tw_correction_state_name() counts. */
float *tw_shard_correction_state(const struct tw_shard *s, uint32_t n, uint32_t chunk);

/* shard_apply.c */
void tw_shard_know_members(struct tw_shard *s);
void tw_shard_count_here(struct tw_shard *s, uint32_t chunk);
void tw_shard_clear_sums(struct tw_shard *s);
void tw_shard_reduce_next(struct tw_shard *s);
enum tw_shard_work tw_shard_sweep_next(struct tw_shard *s, struct tw_shard_effect *effect);

/* shard_weights.c */
/* One update of one chunk, from a gradient that it may overwrite; `effect` NULL: nothing is
 * measured. TW_SHARD_BLOCKED: it has to wait for tw_shard_sent() or tw_shard_saved(). */
enum tw_shard_work tw_shard_update(struct tw_shard *s, uint32_t chunk,
                                   const struct tw_update_terms *terms, float *gradient,
                                   struct tw_shard_effect *effect);

#endif
