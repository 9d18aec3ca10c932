/* What is done around every update rule, the same for all of them: the scale of the gradient,
 * clipping, weight decay, and groups of tensors.
 *
 * In this order, for each element of an update, behind what corrections for late gradients
 * (correction.h) have done to its contributions:
 *
 *     g = sum of the contributions / divisor     mean or sum over examples, clipped by norm; with
 *                                                local steps the sum of their means
 *     g = g within [-value, value]               clip by value
 *     g = g + l2 w                               L2 penalty
 *     w = w (1 - rate decoupled)                 decoupled decay
 *     rule(g, w)
 *     a = average a + (1 - average) w            averaged weights, kept beside w
 *
 * A tensor that is a statistic (tw_tensor.update) has no gradient, and none of this: it becomes
 *     keep w + (1 - keep) mean,  mean = sum of the contributions / examples
 * and what clips by norm, measures gradients and steps, or decays leaves it out.
 *
 * The norm is that of the whole gradient, over all tensors and servers: each shard adds the
 * squares of its part of the reduced gradient (tw_add_squares() of common/tensor/sample.h) into
 * SUMS, the sequencer those of all shards, and the divisor travels in the COMMIT. So it is decided
 * once; the sums are exact, so its bits do not depend on chunk size or number of servers.
 * The weights of a decay and the rate of a group are those of the update itself.
 *
 * Used by the sequencer (divisor), shards and replay (applying). Pure.
 */
#ifndef TW_CORE_SHAPING_H
#define TW_CORE_SHAPING_H

#include "common/job/job.h"
#include "common/tensor/sample.h"
#include "proto/order_log.h"
#include "server/core/correction.h"
#include "server/core/schedule.h"

/* How one tensor is treated. */
struct tw_treatment {
    uint32_t rate; /* index into tw_shaping.rate and .bare */
    bool decay;    /* weight decay that is not the rule's own holds for it */
    enum tw_tensor_update update;
    double keep; /* as in tw_tensor */
};

struct tw_shaping {
    bool sum;                     /* the gradient is the sum over the examples, not their mean */
    uint32_t local_steps;         /* its mean is per local step; 0: there is one */
    double clip_norm, clip_value; /* 0: none */
    double l2, decoupled;         /* weight decay; 0: none */
    uint32_t rates;               /* learning rates, as multiples of the schedule's; 0: only 1 */
    double rate[TW_RATES_MAX];    /* [rates], the first is 1 */
    double average;      /* decay of the average of the weights beside them; 0: there is none */
    bool scores_average; /* the evaluator gets it instead of the weights */
    struct tw_corrections corrections; /* for late gradients */
    bool norm_wanted;                  /* somebody else asks how long the gradient is */
    bool bare[TW_RATES_MAX]; /* [rates] of tensors without the weight decay of the rule itself */
    const struct tw_treatment *treatment; /* [tensors], borrowed; NULL: all have rate 0 and decay */
};

/* What a job says of its updates, for these tensors; `treatment` [list->count] is the caller's,
 * which *out borrows. TW_JOB: a group that fits no tensor, more than TW_RATES_MAX rates, weight
 * decay with a rule that has its own or that computes weights from its states alone, a factor of
 * the learning rate with a rule whose weights all follow from that, a momentum with one that keeps
 * states, more states than a checkpoint holds. */
enum tw_status tw_shaping_find(struct tw_shaping *out, const struct tw_job *job,
                               const struct tw_optimizer *optimizer,
                               const struct tw_tensor_list *list, struct tw_treatment *treatment,
                               struct tw_error *error);

/* Numbers that the rule has for one update. */
static inline size_t tw_shaping_scalars(const struct tw_shaping *shaping) {
    return (size_t)(shaping->rates ? shaping->rates : 1) * TW_OPTIMIZER_SCALARS;
}

/* After an update: the average that goes with these weights, of elements that are side by side.
 * It starts as the first weights, and then each time: keep `average` of itself, take the rest from
 * the weights. `out` may be `average`. */
void tw_shaping_average(const struct tw_shaping *shaping, const float *average,
                        const float *weights, float *out, size_t count);

/* What an update applies with: of its COMMIT. */
struct tw_update_terms {
    uint64_t version; /* it makes this one, from 1 */
    uint64_t examples;
    double divisor;        /* as tw_record.divisor */
    double rate;           /* learning rate before multiples */
    const double *scalars; /* [rates][TW_OPTIMIZER_SCALARS] */
    const double *ratios;  /* [tensors], of layer-wise rules */
};

/* Whether SUMS must have the squares. */
static inline bool tw_shaping_needs_norm(const struct tw_shaping *shaping) {
    return shaping->clip_norm > 0 || shaping->norm_wanted;
}

/* Whether this tensor has a gradient; else it is a statistic. */
static inline bool tw_shaping_trains(const struct tw_shaping *shaping, uint32_t tensor) {
    return shaping->treatment == NULL || shaping->treatment[tensor].update == TW_TENSOR_TRAINED;
}

/* The divisor of an update: `weighted` as tw_corrections_examples() has it, `squares` the sum of
 * squares of the summed gradient (any value without a clip). 0 for a plain mean, which needs no
 * saying. */
double tw_shaping_divisor(const struct tw_shaping *shaping, uint64_t examples, double weighted,
                          double squares);

/* The norm of the gradient before any clip: likewise, where SUMS have the squares. */
double tw_shaping_norm(const struct tw_shaping *shaping, double weighted, double squares);

/* What an update's learning rate is multiplied by for the staleness of its contributions, of which
 * `freshest` is the smallest. */
double tw_shaping_lateness(const struct tw_shaping *shaping, uint64_t freshest, uint64_t examples,
                           double weighted);

/* Scalars of all rates into out[tw_shaping_scalars()]; returns the learning rate, `lateness` times
 * the schedule's. Other arguments as tw_pace_prepare(). */
double tw_shaping_prepare(const struct tw_shaping *shaping, const struct tw_pace *pace,
                          const struct tw_optimizer *optimizer,
                          const struct tw_optimizer_options *options, double lateness,
                          uint64_t updates, uint64_t samples, double *out);

/* The step that a layer-wise rule would take, for some elements of tensor number `tensor`, into
 * work->weights_out: an array of its own, the only one that is written. In `work`: weights and
 * states. Zeros for a statistic. */
void tw_shaping_step(const struct tw_shaping *shaping, const struct tw_optimizer *optimizer,
                     const struct tw_optimizer_options *options,
                     const struct tw_update_terms *terms, uint32_t tensor,
                     struct tw_optimizer_float *work, const float *gradient);

/* The ratio of a tensor, from all of its squares; not finite where they are not. */
double tw_shaping_ratio(const struct tw_shaping *shaping, const struct tw_optimizer *optimizer,
                        const double *scalars, uint32_t tensor,
                        const struct tw_tensor_squares *squares);

/* Applies an update to some elements of tensor number `tensor`. In `work`: the summed gradient,
 * which is overwritten, weights and states; its scalars are set here. */
void tw_shaping_apply(const struct tw_shaping *shaping, const struct tw_optimizer *optimizer,
                      const struct tw_optimizer_options *options,
                      const struct tw_update_terms *terms, uint32_t tensor,
                      struct tw_optimizer_float *work, float *gradient);

#endif
