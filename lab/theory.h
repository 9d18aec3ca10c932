/* What theory says of gradient descent and of momentum near a point where the gradient is zero,
 * beside what is measured by running them there.
 *
 * With the eigenvalues l = lambda_min and L = lambda_max of the Hessian and kappa = L / l
 * (Polyak 1964; Goh 2017, "Why momentum really works"):
 *
 *     gradient descent is stable for lr < 2 / L, fastest with lr = 2 / (l + L), and there the
 *     error shrinks by (kappa - 1) / (kappa + 1) with every step;
 *     momentum is fastest with lr = 4 / (sqrt l + sqrt L)^2 and
 *     momentum = ((sqrt kappa - 1) / (sqrt kappa + 1))^2, and there it shrinks by the root of
 *     that, but for a factor that grows as fast as the number of steps.
 *
 * Measured numbers know nothing of these formulas: they come from steps of the update rules sgd
 * and momentum in double precision (descent.h) on the objective itself, begun so near to the
 * point that it looks like a quadratic form there. Used by `talweg theory`.
 */
#ifndef TW_LAB_THEORY_H
#define TW_LAB_THEORY_H

#include "lab/descent.h"
#include "lab/spectrum.h"

/* Beyond so many steps nothing is measured. */
#define TW_THEORY_STEPS 2000000

enum tw_theory_kind {
    TW_THEORY_MINIMUM, /* all eigenvalues are positive */
    TW_THEORY_FLAT,    /* some are zero, none is negative */
    TW_THEORY_SADDLE,  /* of both signs */
    TW_THEORY_HILL,    /* none is positive: nothing to go down to */
};

struct tw_theory_row {
    const char *key;            /* "gd_lr"; for programs */
    const char *method;         /* "gradient descent" */
    const char *text;           /* "best lr" */
    const char *formula;        /* "2 / (lambda_min + lambda_max)" */
    double predicted, measured; /* NaN: would take too many steps */
};

enum { TW_THEORY_ROWS = 8 };

struct tw_theory {
    double at[TW_OBJECTIVE_MAX]; /* the point */
    struct tw_spectrum spectrum;
    enum tw_theory_kind kind;
    double condition; /* L / l; infinite when flat, NaN for saddles and hills */
    double distance;  /* from the point, at which was measured */
    int rows;
    struct tw_theory_row row[TW_THEORY_ROWS];
};

/* The objective's noise is left out. */
void tw_theory_compare(struct tw_theory *out, const struct tw_objective *objective,
                       const struct tw_objective_options *options);

#endif
