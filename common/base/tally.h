/* What an evaluation counts, and the metrics that follow from it: counts and exact sums over any
 * part of the test data. Tallies of parts are merged without a change of one bit, whoever made
 * them and in whichever order they come; only the numbers at the end are rounded.
 *
 *     loss, accuracy, top5: sums and counts
 *     r2: of each output four exact sums, and the least and largest target
 *     auc: the score of every sample, in order
 *
 * Used by whoever looks at outputs (worker/nn/metrics.h), and by the lead, which adds up what
 * several evaluators counted (server/core/node_evaluator.c). Pure: memory is handed to it, and it
 * never looks at a model or at samples. Parts travel as bytes (docs/protocol.md, "Parts of an
 * evaluation").
 */
#ifndef TW_BASE_TALLY_H
#define TW_BASE_TALLY_H

#include <stddef.h>

#include "common/base/exact_sum.h"
#include "common/base/metric_values.h"
#include "common/base/status.h"

/* Of one output with real targets. Exact sums are of numbers that are not negative, so those of
 * targets are two. */
struct tw_tally_fit {
    struct tw_exact_sum residual, square, above, below;
    double least, most;
};

/* How much a sample looks like class 1, and whether it is. */
struct tw_tally_score {
    double score;
    bool positive;
};

struct tw_tally {
    uint32_t outputs, classes;
    bool valued; /* targets are real numbers, not labels */
    uint64_t samples, correct, among_five;
    struct tw_exact_sum loss;
    struct tw_tally_fit *fit;     /* [outputs], where valued */
    struct tw_tally_score *score; /* [room], of two classes, else NULL; */
    uint64_t scores, room;        /* so many are there, in any order, or in their own */
    bool unordered;               /* one of them is no number */
};

/* Whether samples have scores: labels of two classes. */
bool tw_tally_ranks(const struct tw_tally *tally);

/* Nothing is counted; what it is of stays. Before anything else. */
void tw_tally_clear(struct tw_tally *tally);

/* Their numbers; NaN where there is none. Scores are in ascending order. */
double tw_tally_loss(const struct tw_tally *tally);
double tw_tally_accuracy(const struct tw_tally *tally);
double tw_tally_top_five(const struct tw_tally *tally);
double tw_tally_area(const struct tw_tally *tally);
double tw_tally_r_squared(const struct tw_tally *tally);
struct tw_metric_values tw_tally_values(const struct tw_tally *tally);

/* ---- bytes ---- */

#define TW_TALLY_FIT_BYTES (4 * TW_EXACT_SUM_BYTES + 16)
#define TW_TALLY_SCORE_BYTES 9

/* One after the other, into fits * TW_TALLY_FIT_BYTES, or scores * TW_TALLY_SCORE_BYTES. */
void tw_tally_put_fits(const struct tw_tally_fit *fit, uint32_t fits, uint8_t *out);
void tw_tally_put_scores(const struct tw_tally_score *score, uint64_t scores, uint8_t *out);

/* The fits of some outputs, of samples that are not counted yet. TW_MALFORMED: the least target is
 * no number, or is above the largest. Then nothing is merged. */
enum tw_status tw_tally_merge_fits(struct tw_tally_fit *fit, uint32_t fits, const uint8_t *bytes,
                                   struct tw_error *error);

/* Scores in ascending order, of samples that are not counted yet; the room is checked by the
 * caller. TW_MALFORMED: they are not in order, or one is no number. Then nothing is merged. */
enum tw_status tw_tally_merge_scores(struct tw_tally *tally, const uint8_t *bytes, uint64_t scores,
                                     struct tw_error *error);

#endif
