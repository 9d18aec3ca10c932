/* The insides of replay, shared by replay.c (records, bookkeeping), replay_gradient.c
 * (what workers do) and replay_update.c (what shards do). Private to them. */
#ifndef TW_SIM_REPLAY_STATE_H
#define TW_SIM_REPLAY_STATE_H

#include "common/tensor/encoding.h"
#include "common/tensor/sample.h"
#include "sim/replay.h"
#include "worker/data/sampler.h"
#include "worker/nn/net.h"

/* As many floats as the weights are, at their own distance from a page's start: several
 * that are walked through together do not compete for the same lines of a cache. */
struct tw_plane {
    void *memory;
    float *at; /* [elements]; NULL: none yet */
};

/* One version of the weights: the current one, or one that slots compute on. */
struct tw_version {
    struct tw_plane plane;
    const float **tensors;   /* [tensors] into it */
    uint32_t refs;           /* reads of it, and 1 for the current one */
    struct tw_version *next; /* of the free ones */
};

/* A RELEASE whose push is neither committed nor dropped. */
struct tw_read {
    uint64_t position, version, step;
    struct tw_version *weights;
    struct tw_read *next; /* of the same rank, or of the free ones */
};

/* A worker: a block of slots, which the log names by the first. */
struct tw_replay_rank {
    struct tw_read *reads; /* where workers go on before their push is committed, several */
    uint64_t settled;      /* highest step that was committed or dropped */
};

struct tw_replay_slot {
    struct tw_version *own;     /* its weights when elastic; NULL: none yet */
    struct tw_sampler *sampler; /* NULL until its first step */
    uint32_t rows;              /* of each step */
};

/* Depth of the summing tree over all that an update can have: slots, and parts of each. */
#define TW_SUMS_MAX 28

struct tw_replay {
    struct tw_replay_config config;
    struct tw_replay_total total;
    bool over; /* a record failed */
    double stretch_loss;
    uint64_t stretch_correct;
    uint64_t stretch_samples, stretch_contributions, stretch_staleness, stretch_staleness_max;
    size_t elements;
    uint32_t planes; /* made so far */
    struct tw_version *current, *unused;
    struct tw_version *received; /* what arrives of a version; NULL until it is needed */
    struct tw_plane state[TW_OPTIMIZER_STATES];
    struct tw_plane *correction[TW_CORRECTIONS_MAX]; /* states of each: one, or [ranks] */
    struct tw_plane average;                         /* of the weights, where the job has one */
    const float **average_tensors;                   /* [tensors] into it */
    struct tw_replay_slot *slot;                     /* [slots] */
    struct tw_replay_rank *rank;                     /* [ranks] */
    uint32_t ranks;
    struct tw_read *read_memory; /* [2 * ranks]: one that is open each, and a gather */
    struct tw_read *unused_read;
    struct tw_net *net[2];    /* of the batch shapes that occur; made at their first part */
    uint32_t *samples;        /* [rows of the largest share] */
    struct tw_version *local; /* where local steps have led; NULL until it is needed, as: */
    struct tw_plane path;     /* the sum of their gradients */
    struct tw_plane sum[TW_SUMS_MAX];
    uint32_t sum_parts[TW_SUMS_MAX]; /* gradients in each */
    int sums;
    float *gradient;   /* of the last slot, or the sum of all */
    uint64_t freshest; /* the smallest staleness of the update being made */
    double weighted;   /* its examples, as tw_corrections_examples() */
    struct tw_replay_expected expected;
    struct tw_sample sample;          /* of the last version that was expected or is due */
    struct tw_tensor_squares *change; /* [tensors] of the last one with sums */
    uint64_t change_version;          /* 0: there was none */
};

/* replay.c */
enum tw_status tw_replay_plane(struct tw_replay *replay, struct tw_plane *plane,
                               struct tw_error *error);
/* An epoch ends, or the run. */
void tw_replay_end_stretch(struct tw_replay *replay);

/* replay_verdict.c */
enum tw_status tw_replay_verdict(struct tw_replay *replay, const struct tw_record *record,
                                 struct tw_error *error);

/* replay_gradient.c: how the batch is shared out. */
enum tw_status tw_replay_share_batch(struct tw_replay *replay, struct tw_error *error);
/* The version as workers get it, whatever their weights are encoded in; valid until the next
 * call. */
enum tw_status tw_replay_receive(struct tw_replay *replay, const struct tw_version *version,
                                 const struct tw_version **out, struct tw_error *error);
/* Computes what the worker of this block of slots pushes for a step with these weights into
 * replay->gradient. */
enum tw_status tw_replay_push(struct tw_replay *replay, uint32_t slot, uint64_t step,
                              const struct tw_version *version, struct tw_score *score,
                              struct tw_error *error);
/* A new process has this block of slots: elastic, they begin with the weights of their next
 * step. */
void tw_replay_forget_own(struct tw_replay *replay, uint32_t slot);

/* replay_update.c: versions. */
enum tw_status tw_version_take(struct tw_replay *replay, struct tw_version **out,
                               struct tw_error *error);
void tw_version_drop(struct tw_replay *replay, struct tw_version *version);
/* Adds replay->gradient, a sum over `parts`, to the sums from number `base` on; last:
 * replay->gradient is the sum of them all, and they are gone. */
enum tw_status tw_replay_add(struct tw_replay *replay, int base, uint32_t parts, bool last,
                             struct tw_error *error);
/* The states of corrections, which start at 0. TW_NO_MEMORY; what is there is freed later. */
enum tw_status tw_replay_make_corrections(struct tw_replay *replay, struct tw_error *error);
void tw_replay_free_corrections(struct tw_replay *replay);
/* replay->gradient, a sum over `examples` that a rank computed on these weights, becomes what
 * corrections make of it. */
void tw_replay_correct(struct tw_replay *replay, uint32_t rank, const float *read,
                       uint64_t staleness, uint64_t examples);
/* replay->gradient becomes what arrives of it. */
void tw_replay_round(struct tw_replay *replay);
/* The sum of squares of replay->gradient, as clipping by norm takes it. */
double tw_replay_squares(const struct tw_replay *replay);
/* What a layer-wise rule makes of replay->gradient, with the terms of its update but for the
 * ratios: those, [tensors]. TW_NOT_FINITE. */
enum tw_status tw_replay_ratios(const struct tw_replay *replay, const struct tw_update_terms *terms,
                                double *ratios, struct tw_error *error);
/* Applies replay->gradient. */
enum tw_status tw_replay_apply(struct tw_replay *replay, const struct tw_update_terms *terms,
                               struct tw_error *error);

/* replay_terms.c: what the update of a COMMIT applies with: of the log, or computed anew into
 * `own`; what can be compared is. TW_DATA, TW_NUMERICS, TW_NOT_FINITE. */
struct tw_replay_terms {
    double scalars[TW_RECORD_SCALARS], ratios[TW_TENSORS_MAX];
};
enum tw_status tw_replay_terms(const struct tw_replay *replay, const struct tw_record *record,
                               uint64_t samples_before, struct tw_replay_terms *own,
                               struct tw_update_terms *terms, struct tw_error *error);

/* replay_check.c: begins the sample of this version; whether there is anything to take. */
bool tw_replay_begin_sample(struct tw_replay *replay, uint64_t version);
/* What its update amounts to: weights before and after it, and the gradient that the rule got. */
void tw_replay_sample(struct tw_replay *replay, const float *before, const float *after);
/* What the last update amounted to is what the caller expects of it. */
enum tw_status tw_replay_check(struct tw_replay *replay, struct tw_error *error);

#endif
