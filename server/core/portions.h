/* The test data of one evaluation, cut into portions for several evaluators, and how far each is.
 *
 *      WAITS --take--> OUT --done--> DONE
 *        ^              |
 *        `---- back ----'   its evaluator is gone
 *
 * A portion is a run of whole batches of the one shape in which evaluators compute
 * (TW_EVALUATION_ROWS), so that every forward pass has the bits that it has when one evaluator
 * scores all of the data. There are some more of them than evaluators: a fast one takes more, and
 * one that dies leaves less behind.
 *
 * Used by node_evaluator.c alone. Knows nothing of who has a portion. Pure.
 */
#ifndef TW_CORE_PORTIONS_H
#define TW_CORE_PORTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/limits.h"

#define TW_NO_PORTION UINT32_MAX

enum tw_portion_state { TW_PORTION_WAITS, TW_PORTION_OUT, TW_PORTION_DONE };

struct tw_portions {
    uint64_t samples, size; /* of all; of a portion, but for the last, which may be smaller */
    uint32_t count, left;   /* left: not done */
    uint8_t state[TW_PORTIONS_MAX];
    uint32_t outputs[TW_PORTIONS_MAX]; /* of real targets: so many of its sums are merged */
};

/* For so many evaluators; `ranked`: the scores of a portion fit into one frame. At least one
 * sample, where `ranked` at most TW_SPREAD_SCORES_MAX. All wait. */
void tw_portions_cut(struct tw_portions *portions, uint64_t samples, uint32_t evaluators,
                     bool ranked);

uint64_t tw_portions_first(const struct tw_portions *portions, uint32_t portion);
uint64_t tw_portions_samples(const struct tw_portions *portions, uint32_t portion);

/* The first that waits, which is out then; TW_NO_PORTION: none does. */
uint32_t tw_portions_take(struct tw_portions *portions);
void tw_portions_back(struct tw_portions *portions, uint32_t portion);
void tw_portions_done(struct tw_portions *portions, uint32_t portion);

#endif
