/* Objectives: functions of the weights alone, without data. Each is a const table;
 * adding one is a table and one line in objective.c.
 *
 * They stand where a model stands (model.objective of the job), and train through the same
 * cluster, order log and replay as any other: the places where textbooks show what an
 * optimizer does are real runs here. The weights are one tensor, "x", which starts at a
 * given point. An example of an objective is a draw of its noise: a push carries the sum
 * over its examples of gradient + noise, and of the value, without noise, as the loss.
 *
 * Values and gradients are computed in double from the weights as they are, float32 in a
 * cluster, with + - * / and common/base/realmath only: the same bits everywhere.
 */
#ifndef TW_NN_OBJECTIVE_H
#define TW_NN_OBJECTIVE_H

#include "common/job/options.h"
#include "worker/nn/loss.h"

/* Coordinates that an objective may have. */
#define TW_OBJECTIVE_MAX TW_OPTION_LIST_MAX

/* Options of all objectives in one struct; a table names those it has. */
struct tw_objective_options {
    struct tw_option_list spectrum, rotation; /* of quadratic */
    int convention;
    double c, a, b, height, width;
    /* Of every objective: */
    struct tw_option_list start; /* after tw_objective_find(): [n] */
    double noise;                /* standard deviation of each coordinate of each draw */
    int n;                       /* coordinates */
};

struct tw_objective {
    const char *name;
    const char *formula; /* one line */
    const char *source;  /* NULL: common knowledge */
    const struct tw_option_rule *rules;
    int rule_count;
    int dims;            /* coordinates; 0: as many as the spectrum has */
    double beginning[2]; /* where it starts when the job does not say; the first one for all
                          * coordinates when dims is 0 */
    /* The value at x [n]; the gradient [n] too, unless NULL. */
    double (*value)(const struct tw_objective_options *options, const double *x, double *gradient);
    /* The point x [n] where the gradient is zero: the minimum, or the saddle. NULL: at 0. */
    void (*bottom)(const struct tw_objective_options *options, double *x);
};

/* The last rules of every table: start, noise. */
enum { TW_OBJECTIVE_COMMON_RULES = 2 };

/* All objectives, in the order of --help. */
extern const struct tw_objective *const tw_objectives[];
extern const int tw_objective_count;

/* Finds the objective that `variant` names, reads its options and completes them (n, start).
 * TW_JOB as tw_options_read(), and: a start or a rotation of another length. */
enum tw_status tw_objective_find(const struct tw_objective **out,
                                 struct tw_objective_options *options,
                                 const struct tw_variant *variant, struct tw_error *error);

/* The rules of the objective of this name; NULL: there is none. */
const struct tw_option_rule *tw_objective_rules(const char *name, int *count);

/* Where the gradient is zero, x [n]: the minimum of those that have one, or the saddle. */
void tw_objective_bottom(const struct tw_objective *objective,
                         const struct tw_objective_options *options, double *x);

/* The noise of a part of a slot's step: out[part->rows, n], row-major. */
void tw_objective_noise(const struct tw_objective_options *options, uint64_t seed, uint64_t slot,
                        uint64_t step, const struct tw_part *part, tw_real *out);

/* What a net of an objective computes: adds to *score the value at x [n] once for each row, and
 * sets gradient [n] to the sum over rows of gradient + noise [rows, n], rounded once. */
void tw_objective_add(const struct tw_objective *objective,
                      const struct tw_objective_options *options, const tw_real *x,
                      const tw_real *noise, int rows, tw_real *gradient, struct tw_score *score);

#endif
