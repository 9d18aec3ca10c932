/* Update rules. Each is a const table in one file; adding one is a new file and
 * one line in optimizer.c.
 *
 * An update is split in two, so that every shard does the same thing: once per
 * update the sequencer computes its scalars (learning rate, bias corrections) in
 * double precision, and they travel in the COMMIT as bits; then each shard runs
 * the kernel over its elements with them. Kernels are pure and element-wise, in
 * float32 with contraction off: the same bits for any split of the elements and
 * for every instruction set. The double-precision instance is made from the same
 * source and serves tests and `talweg optimizer`.
 *
 * A layer-wise rule needs norms of whole tensors between the two: each shard says the squares of
 * its part, the sequencer makes of them one number for each tensor, which travels in the COMMIT.
 */
#ifndef TW_CORE_OPTIMIZER_H
#define TW_CORE_OPTIMIZER_H

#include "common/job/options.h"

#define TW_OPTIMIZER_SCALARS TW_RULE_SCALARS
#define TW_OPTIMIZER_STATES 4

/* How a state tensor starts. */
enum tw_state_start { TW_STATE_ZERO, TW_STATE_WEIGHTS };

/* Options of all rules in one struct; a rule's table names those it has. */
struct tw_optimizer_options {
    double lr, momentum, dampening, beta1, beta2, eps;
    double rho, lr_decay, momentum_decay, weight_decay, beta, l1, l2, trust;
    int eps_at, bias, lr_at, nesterov, form; /* enums of docs/optimizers.md */
    bool centered;
};

struct tw_optimizer_float {
    size_t count;
    const float *gradient;
    const float *weights_in; /* may be weights_out: in place, else copy-on-write */
    float *weights_out;
    float *state[TW_OPTIMIZER_STATES]; /* updated in place */
    const double *scalars;             /* [TW_OPTIMIZER_SCALARS], from prepare() */
    double ratio;                      /* of this tensor, from ratio(); unused by other rules */
};
struct tw_optimizer_double { /* the same, in double */
    size_t count;
    const double *gradient, *weights_in;
    double *weights_out, *state[TW_OPTIMIZER_STATES];
    const double *scalars;
    double ratio;
};

/* Up to which learning rate a rule shrinks the error along a direction of curvature lambda, in the
 * long run and without noise: factor / lambda. */
struct tw_optimizer_limit {
    double (*factor)(const struct tw_optimizer_options *options); /* NULL: no such thing is known */
    const char *formula;                                          /* "2 / lambda_max" */
};

/* A tensor beside the weights. */
struct tw_optimizer_state {
    const char *name; /* "m", "v": also in checkpoints */
    enum tw_state_start start;
};

struct tw_optimizer {
    const char *name;
    const char *formula; /* one line */
    const char *source;  /* paper and equation */
    const struct tw_option_rule *rules;
    int rule_count;
    int states;
    struct tw_optimizer_state state[TW_OPTIMIZER_STATES]; /* [states] */
    struct tw_optimizer_limit limit;
    /* All weights follow from the states and the learning rate of the last update, also those
     * without a gradient: a rate for one update alone would scale them all, and back. */
    bool weighs_by_rate;
    /* NULL, or the table for these options: a rule of this name whose states are
     * others, such as nesterov's lookup form. Never in tw_optimizers[]. */
    const struct tw_optimizer *(*form)(const struct tw_optimizer_options *options);
    /* Scalars of update t (t = 1, 2, ...) at learning rate `lr`, into
     * out[TW_OPTIMIZER_SCALARS], all of them. */
    void (*prepare)(const struct tw_optimizer_options *options, uint64_t t, double lr, double *out);
    void (*apply_float)(const struct tw_optimizer_options *options,
                        const struct tw_optimizer_float *work);
    void (*apply_double)(const struct tw_optimizer_options *options,
                         const struct tw_optimizer_double *work);
    /* Layer-wise rules; NULL in all others. They ask for two norms of each tensor before an update
     * is applied: of its weights, and of a step. step_*() writes that step to weights_out and
     * touches nothing else; it may depend on weights, states, gradient and the scalars. ratio()
     * makes of the norms what apply_*() then finds in `ratio`: finite, and not negative. */
    void (*step_float)(const struct tw_optimizer_options *options,
                       const struct tw_optimizer_float *work);
    void (*step_double)(const struct tw_optimizer_options *options,
                        const struct tw_optimizer_double *work);
    double (*ratio)(const double *scalars, double weights, double step);
};

/* apply_double() for weights that are one whole tensor, with the ratio that it needs; `scratch`
 * [count], for layer-wise rules. Returns the ratio; 1 for other rules. */
double tw_optimizer_apply_tensor(const struct tw_optimizer *optimizer,
                                 const struct tw_optimizer_options *options,
                                 struct tw_optimizer_double *work, double *scratch);

/* All rules, in the order of --help. */
extern const struct tw_optimizer *const tw_optimizers[];
extern const int tw_optimizer_count;

/* Finds the rule that `variant` names and reads its options; TW_JOB as
 * tw_options_read(). */
enum tw_status tw_optimizer_find(const struct tw_optimizer **out,
                                 struct tw_optimizer_options *options,
                                 const struct tw_variant *variant, struct tw_error *error);

#endif
