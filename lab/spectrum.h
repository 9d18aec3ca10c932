/* The curvature of an objective at a point: its Hessian by differences of the gradient, and the
 * eigenvalues and eigenvectors of that. Used by theory.h.
 */
#ifndef TW_LAB_SPECTRUM_H
#define TW_LAB_SPECTRUM_H

#include "worker/nn/objective.h"

struct tw_spectrum {
    int n;
    double value[TW_OBJECTIVE_MAX];                    /* increasing */
    double vector[TW_OBJECTIVE_MAX][TW_OBJECTIVE_MAX]; /* vector[k] belongs to value[k]; length 1 */
    double error; /* by how much the Hessian changed with twice the distance, relative to its
                   * largest element: what to trust it by */
};

/* Central differences of fourth order. Their distance grows from a tiny one, while the result
 * changes less and less (rounding), until it changes more (the third derivatives, or a wall):
 * those of a quadratic form are exact but for rounding. */
void tw_spectrum_at(struct tw_spectrum *out, const struct tw_objective *objective,
                    const struct tw_objective_options *options, const double *x);

/* Eigenvalues and eigenvectors of a symmetric matrix, which is overwritten (Jacobi 1846, in
 * cycles). For out->n x out->n elements of `matrix`. */
void tw_spectrum_of(struct tw_spectrum *out, double matrix[][TW_OBJECTIVE_MAX]);

#endif
