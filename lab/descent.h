/* An optimizer on an objective, in double precision and in one process.
 *
 * The update rules and the surfaces are those of the cluster: prepare() and the double
 * instance of the kernels (server/core/optimizer.h), value() of the objective
 * (worker/nn/objective.h). What differs is what a cluster rounds: here weights and gradients
 * are not cut to float32. Used by `talweg landscape` and `talweg theory`.
 *
 * No files, clocks or randomness of its own: noise is the draw of slot 0 of the seed, as in a
 * run with one slot and batch 1.
 */
#ifndef TW_LAB_DESCENT_H
#define TW_LAB_DESCENT_H

#include "server/core/optimizer.h"
#include "worker/nn/objective.h"

struct tw_descent {
    const struct tw_optimizer *rule; /* borrowed, as all pointers here */
    const struct tw_optimizer_options *rule_options;
    const struct tw_objective *objective;
    const struct tw_objective_options *surface;
    uint64_t seed;
    uint64_t t; /* steps made */
    double weights[TW_OBJECTIVE_MAX];
    double state[TW_OPTIMIZER_STATES][TW_OBJECTIVE_MAX];
};

/* Begins at `start` [n]. The caller has set the borrowed pointers and the seed. */
void tw_descent_begin(struct tw_descent *descent, const double *start);

/* One update. Numbers may overflow: the caller looks. */
void tw_descent_step(struct tw_descent *descent);

/* The point [n] that the rule is about: the weights; but the x of a rule that keeps one beside
 * the weights it publishes (nesterov=lookup), as textbooks draw it. Borrowed. */
const double *tw_descent_point(const struct tw_descent *descent);

/* The way of the first `steps` steps in a plane. */
struct tw_path {
    size_t steps; /* asked for */
    size_t last;  /* the last step whose point and value are finite; < steps: it blew up */
    double *x;    /* [last + 1, 2], row-major: x[2 t] is x1 after t steps. Ours */
    double *f;    /* [last + 1]. Ours */
};

/* Follows a descent of two coordinates that was just begun. TW_NO_MEMORY. */
enum tw_status tw_path_init(struct tw_path *path, struct tw_descent *descent, size_t steps,
                            struct tw_error *error);
void tw_path_fini(struct tw_path *path);

#endif
