/* Metrics: what predictions are worth, by counts and by sums that are exact, so that the numbers do
 * not depend on who computed which part of the predictions, or in which order.
 *
 *     tw_metrics_init -> tw_metrics_add, for each row -> value() of each of tw_metrics_table
 *
 * What is counted, and what follows from it, is common/base/tally.h; here is who counts. Each
 * metric is a line of one table (metrics.c); one that says nothing of a model (the area under
 * a curve for ten classes, an accuracy of real targets) is NaN.
 *
 * Used by `talweg predict`, and by whoever evaluates for a run (worker/io/score.h). One thread.
 */
#ifndef TW_NN_METRICS_H
#define TW_NN_METRICS_H

#include "common/base/tally.h"
#include "worker/nn/model.h"

/* A confusion matrix has at most so many classes. */
#define TW_METRICS_CLASSES_MAX 1024

struct tw_metrics {
    const struct tw_model *model;
    struct tw_tally tally;
    uint64_t *confusion; /* [classes of the label][classes predicted]; NULL: too many */
};

struct tw_metric {
    const char *name; /* as a key of JSON */
    const char *text; /* one line for people */
    /* NaN: there is none. */
    double (*value)(struct tw_metrics *metrics);
};

extern const struct tw_metric tw_metrics_table[];
extern const int tw_metrics_count;

/* For predictions of this model on `examples` samples, with labels or (`valued`) real targets.
 * TW_NO_MEMORY. Fini in any case. */
enum tw_status tw_metrics_init(struct tw_metrics *metrics, const struct tw_model *model,
                               uint64_t examples, bool valued, struct tw_error *error);
void tw_metrics_fini(struct tw_metrics *metrics);

/* As after tw_metrics_init(). */
void tw_metrics_clear(struct tw_metrics *metrics);

/* One row: `out` [outputs] as the net has them, before any softmax. */
void tw_metrics_add(struct tw_metrics *metrics, const tw_real *out, struct tw_target target);

/* The first `count` rows of `out` [rows, outputs], which are what a batch should be. */
void tw_metrics_add_batch(struct tw_metrics *metrics, const tw_real *out,
                          const struct tw_batch *batch, int count);

/* The tally, its scores in ascending order. */
const struct tw_tally *tw_metrics_tally(struct tw_metrics *metrics);

/* All of the table. */
struct tw_metric_values tw_metrics_values(struct tw_metrics *metrics);

/* The class that a row stands for: the largest output, of equal ones the first; of a single one 1
 * when it is above 0. */
int32_t tw_predicted_class(const tw_real *out, int outputs);

#endif
