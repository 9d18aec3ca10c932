/* DC-ASGD: Zheng, Meng, Wang, Chen, Yu, Ma and Liu, "Asynchronous Stochastic Gradient Descent with
 * Delay Compensation", 2017: the first term of a Taylor series towards the weights as they are now,
 * with the squares of the gradient in the place of the diagonal of the Hessian.
 *
 * A contribution is a sum S over n examples; the gradient g of the paper is their mean, so that
 *
 *     g + lambda g g (w - w_read)   is   S + (lambda / n) S S (w - w_read)   over n.
 */
#include <math.h>

#include "common/tensor/clones.h"
#include "server/core/correction.h"

#define MEMBER(member) .offset = offsetof(struct tw_correction_options, member)
#define EACH_ELEMENT TW_INDEPENDENT for (size_t i = 0; i < work->count; i++)

static const struct tw_option_rule constant_rules[] = {
    {.key = "lambda",
     MEMBER(lambda),
     .type = TW_OPTION_REAL,
     .fallback = 0.04,
     .min_open = true,
     .max = 1e9,
     .text = "how much of the step between the weights is made up for"},
};

TW_CLONES static void compensate(const struct tw_correction_options *options,
                                 const struct tw_correction_work *work) {
    const float strength = (float)(options->lambda / (double)work->examples);
    const float *const w = work->weights, *const read = work->read;
    float *const g = work->gradient;
    EACH_ELEMENT {
        g[i] = g[i] + strength * g[i] * g[i] * (w[i] - read[i]);
    }
}

const struct tw_correction tw_correction_dc_asgd = {
    .name = "dc_asgd",
    .formula = "g + lambda g g (w - w_read), element by element",
    .source = "Zheng et al., \"Asynchronous Stochastic Gradient Descent with Delay Compensation\", "
              "2017, DC-ASGD-c",
    .family = "DC-ASGD",
    .rules = constant_rules,
    .rule_count = sizeof constant_rules / sizeof constant_rules[0],
    .remembers = true,
    .correct = compensate,
};

/* ---- with a strength that goes by the size of gradients ---- */

static const struct tw_option_rule adaptive_rules[] = {
    {.key = "lambda",
     MEMBER(lambda),
     .type = TW_OPTION_REAL,
     .fallback = 2,
     .min_open = true,
     .max = 1e9,
     .text = "lambda0"},
    {.key = "rho",
     MEMBER(rho),
     .type = TW_OPTION_REAL,
     .fallback = 0.95,
     .min = 0,
     .max = 1,
     .max_open = true,
     .text = "the share of itself that the mean square keeps with each gradient"},
    {.key = "eps",
     MEMBER(eps),
     .type = TW_OPTION_REAL,
     .fallback = 1e-7,
     .min = 0x1p-126,
     .max = 1,
     .text = "keeps the divisor from 0"},
};

TW_CLONES static void add_square(const struct tw_correction_options *options,
                                 const struct tw_correction_work *work) {
    const float n = (float)work->examples;
    const float keep = (float)options->rho, rest = (float)(1 - options->rho);
    const float *const g = work->gradient, *const in = work->state_in;
    float *const out = work->state_out;
    EACH_ELEMENT {
        const float mean = g[i] / n;
        out[i] = keep * in[i] + rest * mean * mean;
    }
}

TW_CLONES static void compensate_by_square(const struct tw_correction_options *options,
                                           const struct tw_correction_work *work) {
    const float strength = (float)(options->lambda / (double)work->examples);
    const float eps = (float)options->eps;
    const float *const w = work->weights, *const read = work->read;
    const float *const square = work->state_out;
    float *const g = work->gradient;
    EACH_ELEMENT {
        const float mine = strength / sqrtf(square[i] + eps);
        g[i] = g[i] + mine * g[i] * g[i] * (w[i] - read[i]);
    }
}

const struct tw_correction tw_correction_dc_asgd_adaptive = {
    .name = "dc_asgd_adaptive",
    .formula = "ms = rho ms + (1 - rho) g g with every gradient; "
               "g + lambda / sqrt(ms + eps) g g (w - w_read)",
    .source = "Zheng et al. 2017, DC-ASGD-a",
    .family = "DC-ASGD",
    .rules = adaptive_rules,
    .rule_count = sizeof adaptive_rules / sizeof adaptive_rules[0],
    .remembers = true,
    .state = "dc_ms",
    .observe = add_square,
    .correct = compensate_by_square,
};
