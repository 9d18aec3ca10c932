/* Corrections for late gradients: what is done about the staleness of a gradient before it becomes
 * part of an update. Each is a const table in one file; a job stacks them (`corrections`).
 *
 * The staleness tau of a contribution is the number of updates applied between the RELEASE it was
 * computed on and its own COMMIT; nothing is ever done to one of staleness 0, so that modes
 * without late gradients have the same bits with and without corrections (but for one that is a
 * momentum). There are three kinds:
 *
 *   factors   f(tau) of the learning rate; those of a stack are multiplied
 *   a limit   gradients above it are dropped: logged, counted, never applied
 *   kernels   that change the gradient, element by element, in the order of the stack: by the
 *             weights that it was computed on, which shards then remember for each push, and those
 *             as they are now
 *
 * An update of contributions i, each the sum S_i over n_i examples, is to move the weights by
 *
 *     lr sum_i f(tau_i) S_i / sum_i n_i
 *
 * and the learning rate of an update is one number, which rules with a state (momentum, adam) use
 * in ways of their own. So with m the smallest tau_i the contributions get weights
 * c_i = f(tau_i) / f(m), exactly 1 for the freshest, and the update is made with
 *
 *     gradient        sum_i c_i S_i / sum_i c_i n_i
 *     learning rate   lr f(m) sum_i c_i n_i / sum_i n_i
 *
 * whose product is the above. With one contribution the gradient is untouched, and the learning
 * rate is lr f(tau), as the papers have it. (`gradient: sum` divides by nothing: then the gradient
 * is sum_i c_i S_i, and the learning rate lr f(m).) Kernels see S_i as it came, before c_i.
 *
 * A kernel may have a state, one float for each weight, which starts at 0; or one for each weight
 * and worker. What observe() makes of it stands beside it until the COMMIT, and is forgotten
 * without one.
 *
 * Used by the sequencer (limit, learning rate, divisor), shards and replay (weights, kernels).
 * Pure; the same bits for any split of the elements and for every instruction set.
 */
#ifndef TW_CORE_CORRECTION_H
#define TW_CORE_CORRECTION_H

#include "common/job/job.h"
#include "proto/order_log.h"

/* Options of all corrections in one struct; a table names those it has. */
struct tw_correction_options {
    double power, decay;
    int from; /* enum of correction_factors.c */
    int64_t most;
    double lambda, rho, eps, momentum;
};

/* A contribution of a tensor that has a gradient, or some elements of it. */
struct tw_correction_work {
    size_t count;
    float *gradient;      /* its sum over `examples`, corrected in place */
    const float *weights; /* as they are */
    const float *read;    /* as they were when they left for it */
    const float *state_in;
    float *state_out; /* may be state_in, but not overlap it in part */
    uint64_t examples;
    uint64_t updates; /* applied so far */
};

struct tw_correction {
    const char *name;
    const char *formula; /* one line */
    const char *source;  /* paper and equation */
    const struct tw_option_rule *rules;
    int rule_count;
    /* Of the learning rate: in (0, 1], 1 at staleness 0, and not growing with it. NULL: 1. */
    double (*factor)(const struct tw_correction_options *options, uint64_t staleness);
    /* The largest staleness that is applied. NULL: any. */
    uint64_t (*limit)(const struct tw_correction_options *options);
    const char *family; /* of which a stack has one; NULL: it is alone */
    bool remembers;     /* correct() needs `read` */
    /* It is a momentum: correct() of every contribution, fresh ones, too; and only beside a rule
     * that has no states of its own. */
    bool momentum;
    const char *state; /* its name, also in checkpoints; NULL: none */
    bool of_worker;    /* each worker has its own; then with observe() */
    /* Kernels; each may be NULL. observe() of every contribution: from state_in to state_out;
     * correct() of late ones (of a momentum: of all), behind it: the gradient. */
    void (*observe)(const struct tw_correction_options *options,
                    const struct tw_correction_work *work);
    void (*correct)(const struct tw_correction_options *options,
                    const struct tw_correction_work *work);
    /* Of every update, when it has been applied: the state, in place, from the weights before and
     * after it. */
    void (*watch)(const struct tw_correction_options *options, const float *before,
                  const float *after, float *state, size_t count);
};

/* All corrections, in the order of --help. */
extern const struct tw_correction *const tw_corrections_known[];
extern const int tw_correction_count;

/* A stack of them. All zeros: none. */
struct tw_corrections {
    uint32_t count;
    struct {
        const struct tw_correction *kind;
        struct tw_correction_options options;
    } at[TW_CORRECTIONS_MAX];
};

/* The states of a correction, each an array with a number for each weight. */
static inline uint32_t tw_correction_states_of(const struct tw_correction *kind, uint32_t workers) {
    return kind->state == NULL ? 0 : kind->of_worker ? workers : 1;
}
/* Arrays for each of them: two, where observe() needs another to write to. */
static inline uint32_t tw_correction_arrays(const struct tw_correction *kind) {
    return kind->observe == NULL ? 1 : 2;
}

/* Where the states of a stack are for some elements, those of one worker, by the number of the
 * correction; NULL: it has none. `out` is `in`, but for those with observe(), of which it may be
 * another array. */
struct tw_correction_states {
    const float *in[TW_CORRECTIONS_MAX];
    float *out[TW_CORRECTIONS_MAX];
};

/* The table of this name, for struct tw_rule_book and the command line; NULL: there is none. */
const struct tw_correction *tw_correction_named(const char *name);

/* The same, of a variant. TW_JOB: unknown, with the nearest known one. */
enum tw_status tw_correction_need(const struct tw_correction **out,
                                  const struct tw_variant *variant, struct tw_error *error);

/* What the job says. TW_JOB: an unknown name (with the nearest known one), as tw_options_read(),
 * one name twice, two of a family, or kernels beside local steps. */
enum tw_status tw_corrections_find(struct tw_corrections *out, const struct tw_job *job,
                                   struct tw_error *error);

/* The largest staleness that is applied; UINT64_MAX: any. */
uint64_t tw_corrections_limit(const struct tw_corrections *corrections);

/* Whether it has kernels at all; needs the weights that gradients were computed on; and those
 * before an update. */
bool tw_corrections_have_kernels(const struct tw_corrections *corrections);
bool tw_corrections_remember(const struct tw_corrections *corrections);
bool tw_corrections_watch(const struct tw_corrections *corrections);
/* Whether one has a state of each worker. */
bool tw_corrections_of_workers(const struct tw_corrections *corrections);

/* All kernels on a contribution of this staleness; in `work` all but the states. */
void tw_corrections_correct(const struct tw_corrections *corrections, uint64_t staleness,
                            struct tw_correction_work work,
                            const struct tw_correction_states *states);
/* All of an update that was applied; states->out is written. */
void tw_corrections_applied(const struct tw_corrections *corrections, const float *before,
                            const float *after, size_t count,
                            const struct tw_correction_states *states);

/* How many states the stack has, and the name of one: "gap_step", or "dana_v.3" of worker 3. */
#define TW_ARRAY_NAME 24 /* with its terminating zero */
uint32_t tw_correction_states(const struct tw_corrections *corrections, uint32_t workers);
void tw_correction_state_name(const struct tw_corrections *corrections, uint32_t workers,
                              uint32_t n, char out[TW_ARRAY_NAME]);
/* The other way round. False: none has this name. */
bool tw_correction_state_find(const struct tw_corrections *corrections, uint32_t workers,
                              const char *name, uint32_t *n);

/* Whether the job's corrections have kernels, and whether one remembers weights; of one that is not
 * found yet it is not asked. */
bool tw_job_has_kernels(const struct tw_job *job);
bool tw_job_remembers(const struct tw_job *job);

/* f(staleness) of the whole stack, at least 2^-512: so quotients of two are finite. */
double tw_corrections_factor(const struct tw_corrections *corrections, uint64_t staleness);

/* The smallest staleness among contributions. */
uint64_t tw_contributions_freshest(const struct tw_contribution *contributions, uint32_t count);

/* c of a contribution of an update whose freshest has the staleness `freshest`. */
double tw_corrections_weight(const struct tw_corrections *corrections, uint64_t staleness,
                             uint64_t freshest);

/* sum_i c_i n_i over them, in their order; without corrections that of their examples. */
double tw_corrections_examples(const struct tw_corrections *corrections,
                               const struct tw_contribution *contributions, uint32_t count);

#endif
