/* Gap-Aware: Barkai, Hakimi and Schuster, "Gap-Aware Mitigation of Gradient Staleness", 2020, by
 * parameters: a gradient is divided by how many usual steps its weight has moved since it was
 * read, plus one.
 *
 * The paper's usual step is the largest learning rate so far times the root mean square of what it
 * multiplies; ours is the root mean square of the steps that updates really made, whatever the
 * rule, so that it follows a schedule.
 */
#include <math.h>

#include "common/base/realmath.h"
#include "common/tensor/clones.h"
#include "server/core/correction.h"

#define MEMBER(member) .offset = offsetof(struct tw_correction_options, member)

static const struct tw_option_rule rules[] = {
    {.key = "rho",
     MEMBER(rho),
     .type = TW_OPTION_REAL,
     .fallback = 0.999,
     .min = 0,
     .max = 1,
     .max_open = true,
     .text = "the share of itself that the mean square of steps keeps with each update"},
    {.key = "eps",
     MEMBER(eps),
     .type = TW_OPTION_REAL,
     .fallback = 1e-8,
     .min = 0x1p-126,
     .max = 1,
     .text = "a step that counts as none"},
};

TW_CLONES static void divide_by_gap(const struct tw_correction_options *options,
                                    const struct tw_correction_work *work) {
    const float unbias = (float)(1 / (1 - tw_power(options->rho, (double)work->updates)));
    const float eps = (float)options->eps;
    const float *const w = work->weights, *const read = work->read;
    const float *const square = work->state_in;
    float *const g = work->gradient;
    TW_INDEPENDENT
    for (size_t i = 0; i < work->count; i++) {
        const float usual = sqrtf(unbias * square[i]) + eps;
        g[i] = g[i] / (1 + fabsf(w[i] - read[i]) / usual);
    }
}

TW_CLONES static void add_step(const struct tw_correction_options *options, const float *before,
                               const float *after, float *square, size_t count) {
    const float keep = (float)options->rho, rest = (float)(1 - options->rho);
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        const float step = after[i] - before[i];
        square[i] = keep * square[i] + rest * step * step;
    }
}

const struct tw_correction tw_correction_gap_aware = {
    .name = "gap_aware",
    .formula = "g / (1 + |w - w_read| / C), element by element; C: the root mean square of steps",
    .source =
        "Barkai, Hakimi and Schuster, \"Gap-Aware Mitigation of Gradient Staleness\", 2020, by "
        "parameters",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .remembers = true,
    .state = "gap_step",
    .correct = divide_by_gap,
    .watch = add_step,
};
