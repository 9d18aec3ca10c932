/* What rules that keep running means have in common: the words of their options,
 * the bias correction, and where eps stands.
 *
 * Included by the files of the rules only. Everything here is computed once per
 * update, in prepare(), in double.
 */
#ifndef TW_CORE_OPTIMIZER_MOMENTS_H
#define TW_CORE_OPTIMIZER_MOMENTS_H

#include "server/core/optimizer_kernels.h"

/* Under the root or beside it: root(v) + eps, root(v + eps); hat: beside the root of
 * a v that is not corrected. A rule without correction has the first two only. */
enum tw_eps_at { TW_EPS_OUTSIDE, TW_EPS_INSIDE, TW_EPS_HAT };
extern const char *const tw_eps_at_names[], *const tw_eps_at_hat_names[];

/* A mean m that starts at 0 is too small by 1 - beta^t: divide by that (paper), by
 * 1 - beta (nopower), or leave it (none). */
enum tw_bias { TW_BIAS_PAPER, TW_BIAS_NOPOWER, TW_BIAS_NONE };
extern const char *const tw_bias_names[];

/* What a change of lr means to a velocity: all of it is rescaled (outside), or each
 * gradient keeps the lr of its own time (inside). */
enum tw_lr_at { TW_LR_OUTSIDE, TW_LR_INSIDE };
extern const char *const tw_lr_at_names[];

double tw_bias_divisor(enum tw_bias bias, double beta, uint64_t t);

/* Every form of eps as root(v + inside) + outside, for a v that is still to be divided
 * by c2 when the root has been divided by root(c2):
 *     root(v/c2) + eps = (root(v) + eps root(c2)) / root(c2)
 *     root(v/c2 + eps) = root(v + eps c2) / root(c2)
 *     hat              = (root(v) + eps) / root(c2) */
struct tw_eps {
    double inside, outside;
};
struct tw_eps tw_eps_place(enum tw_eps_at at, double eps, double c2);

/* The first seven scalars of adam, adamw and amsgrad:
 *     m = beta1 m + rest1 g; v = beta2 v + rest2 g^2
 *     step = rate m / (root(v + inside) + outside) */
enum {
    TW_ADAM_BETA1,
    TW_ADAM_REST1,
    TW_ADAM_BETA2,
    TW_ADAM_REST2,
    TW_ADAM_RATE,
    TW_ADAM_INSIDE,
    TW_ADAM_OUTSIDE,
    TW_ADAM_OWN /* the first that is the rule's own; 0 so far */
};
void tw_adam_scalars(const struct tw_optimizer_options *options, double lr, double c1, double c2,
                     double *out);

#endif
