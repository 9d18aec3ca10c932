/* A single weight under an update rule, step by step, in double precision: the kernels
 * of the cluster, made from the same source. For `talweg optimizer NAME`.
 */
#ifndef TW_CLI_OPTIMIZER_STEPS_H
#define TW_CLI_OPTIMIZER_STEPS_H

#include "common/base/text.h"
#include "server/core/optimizer.h"

struct tw_optimizer_step {
    double gradient, update, x; /* x after the update */
    double ratio;               /* of layer-wise rules, for which x is a tensor of its own */
    double state[TW_OPTIMIZER_STATES];
};

/* The weight goes from x0 under step[0 ... count-1].gradient; fills the rest of them. The
 * learning rate stays what the options say. */
void tw_optimizer_follow(const struct tw_optimizer *rule,
                         const struct tw_optimizer_options *options, double x0,
                         struct tw_optimizer_step *step, size_t count);

/* A table with a row per step, numbers with 17 digits. */
void tw_optimizer_steps_text(struct tw_text *out, const struct tw_optimizer *rule,
                             const struct tw_optimizer_step *step, size_t count);

/* {"optimizer":"adam","steps":[{"t":1,"gradient":g,"x":x,"update":u,"state":{...}},...]}
 * and the end of the line. Numbers that are not finite become null. */
void tw_optimizer_steps_json(struct tw_text *out, const struct tw_optimizer *rule,
                             const struct tw_optimizer_step *step, size_t count);

#endif
