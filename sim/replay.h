/* Replay: makes the weights of a recorded run again, from its order log.
 *
 *     tw_replay_new -> tw_replay_record, for each record in order -> tw_replay_weights
 *
 * The log says which step of which slot was computed on which weights, and what each
 * update applied. Gradients are computed again by worker/nn on the samples that the
 * sampler names, summed by the same tree, and applied by the same kernels with the
 * scalars of the COMMIT: so every bit is that of the run, without any process of
 * it. Where the log and what is computed can be compared they are: examples and loss
 * of every contribution, and what the caller knows of the weights (tw_replay_expect()); the
 * first that differs is named.
 *
 * Counterfactuals: another rule (`own_scalars`), other data, seeds or models, or
 * `fresh`: the same data in the same order, but every gradient is computed on the
 * weights just before its COMMIT, so that nothing is stale. Then nothing is
 * compared (`changed`).
 *
 * Used by `talweg replay`. One thread, which has called tw_gemm_start(). No files, no
 * clock. Memory: one version of the weights per gradient that is being computed (those that
 * read the same version share it), the rule's state, one net per batch shape, and
 * log2(slots * parts) + 1 gradients; with local steps one more of each (elastic: one version for
 * each slot of the job); and one float for each weight for each state of a correction (of dana: of
 * each worker). A log is not trusted: what cannot be is TW_DATA with the position of the record.
 */
#ifndef TW_SIM_REPLAY_H
#define TW_SIM_REPLAY_H

#include "common/job/job.h"
#include "common/tensor/sample.h"
#include "server/core/optimizer.h"
#include "server/core/record.h"
#include "server/core/schedule.h"
#include "server/core/shaping.h"
#include "server/core/verdict.h"
#include "worker/data/augment.h"
#include "worker/data/own.h"
#include "worker/nn/model.h"

struct tw_replay_config {
    const struct tw_model *model; /* borrowed, like all pointers here; has layers */
    struct tw_train_data train;   /* fits the model, of all slots; none: an objective */
    uint64_t epoch_samples;       /* in an epoch of all slots; 0: an objective */
    enum tw_data_shard shard;
    int64_t batch; /* over all slots */
    struct tw_seeds seeds;
    float *const *initial;     /* as tw_shard_config.initial */
    struct tw_augment augment; /* of the samples; zeros: none */
    uint32_t push, pull; /* enum tw_encoding_number: gradients and weights are rounded likewise */
    uint32_t slots;      /* gradients of an update by all workers */
    uint32_t width;      /* of them of each worker: 1, or a power of two */
    uint32_t parts;      /* in which each is computed, likewise */
    struct tw_local_steps local;       /* at least 1 */
    uint64_t end_samples, end_updates; /* at which a run ends, as the sequencer's; 0: none */
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options options;
    struct tw_pace pace;
    struct tw_shaping shaping;
    struct tw_judge end; /* of the verdicts on it */
    uint64_t sums_every; /* updates between two whose change of each tensor is kept; 0: never */
    bool own_scalars;    /* scalars and divisors are computed anew; else those of the log */
    bool fresh;
    bool changed;         /* another run than the recorded one: nothing is compared */
    const char *numerics; /* ours */
    bool inexact;         /* other numerics ids are fine, and losses may differ */
};

/* What the records so far amount to. */
struct tw_replay_total {
    uint64_t position, version, samples;
    uint64_t contributions, staleness_sum, staleness_max;
    uint64_t dropped;        /* pushes that were not applied */
    uint64_t not_finite;     /* times that this was why */
    double loss;             /* sum over the samples */
    uint64_t borders;        /* ends of epochs, and of the run, that were passed */
    double train_loss;       /* mean over the samples between the last two borders; NaN: none yet */
    double train_accuracy;   /* likewise; NaN also of an objective */
    uint64_t correct;        /* samples that the model got right */
    double border_staleness; /* likewise the mean staleness, and the largest */
    uint64_t border_staleness_max;
    double rate;                            /* learning rate of the last update */
    struct tw_verdict verdict[TW_VERDICTS]; /* the last ones */
    double update_loss, norm; /* mean loss and norm of the last update; norm: where verdicts ask */
    uint64_t checked, checked_version; /* updates that were as expected, and the last of them */
};

/* What the run's trace.log says of an update: the hash of the weights after it, and sums of
 * squares (common/tensor/sample.h). */
struct tw_replay_expected {
    uint64_t version;
    bool hashed, summed; /* which of the two */
    uint64_t hash;
    double gradient, update, weights;
};

struct tw_replay;

/* TW_NO_MEMORY; TW_JOB: the batch is too small for the slots. *out is the caller's. */
enum tw_status tw_replay_new(struct tw_replay **out, const struct tw_replay_config *config,
                             struct tw_error *error);

/* NULL is fine. */
void tw_replay_free(struct tw_replay *replay);

/* The next record that stands: those that a ROLLBACK takes back are left out, and it follows the
 * record that it goes back to. After a failure the weights are those of the last COMMIT that went
 * well (or of the one that is not as expected), and no record may follow.
 * TW_NUMERICS: a worker of the run had another numerics id than ours (unless inexact), or
 * a loss differs from the recorded one; TW_DATA: the log contradicts itself or
 * the job; TW_NOT_FINITE: an update that was changed is not finite; TW_NO_MEMORY. */
enum tw_status tw_replay_record(struct tw_replay *replay, const struct tw_record *record,
                                struct tw_error *error);

/* What the COMMIT of this version, which is still to come, must amount to, to the bit; it is
 * compared when it has been applied, and what differs is TW_NUMERICS. Copied; a second one
 * takes the place of the first. Not for runs that are changed. */
void tw_replay_expect(struct tw_replay *replay, const struct tw_replay_expected *expected);

const struct tw_replay_total *tw_replay_total(const struct tw_replay *replay);

/* The weights of each tensor after the last update with a sum (sums_every), and how far it moved
 * them: [tensors], until the next record. *version: that update; NULL: there was none. */
const struct tw_tensor_squares *tw_replay_change(const struct tw_replay *replay, uint64_t *version);

/* The weights as they are now, tensor after tensor without gaps. */
const float *tw_replay_weights(const struct tw_replay *replay);
/* Their average, likewise; NULL: the job has none. */
const float *tw_replay_average(const struct tw_replay *replay);
/* How many they are. */
size_t tw_replay_elements(const struct tw_replay *replay);

/* What an evaluator would get now: the weights, or their average if the job says so, [tensors]. */
const float *const *tw_replay_evaluated(const struct tw_replay *replay);

#endif
