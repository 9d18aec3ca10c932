/* What an evaluator says of weights: the metrics of a model on a whole data set.
 *
 * Used by the evaluator of a run (train.c), the simulator and replay. One batch shape for all
 * (TW_NET_EVALUATION_ROWS), the last one filled up with zeros, and sums that are exact: the bits
 * do not depend on who asks, and are those of `talweg predict`. Nor on how many score a part each:
 * what one counts of its part is bytes, which the lead adds up (common/base/tally.h).
 */
#ifndef TW_WORKER_IO_SCORE_H
#define TW_WORKER_IO_SCORE_H

#include "common/base/metric_values.h"
#include "worker/data/dataset.h"
#include "worker/nn/metrics.h"
#include "worker/nn/net.h"

/* All of it is zero until it is made. */
struct tw_scorer {
    const struct tw_dataset *data;
    struct tw_net *net;
    struct tw_metrics metrics;
    uint8_t loss[TW_EXACT_SUM_BYTES];
    uint8_t *fits, *scores; /* [fit_bytes], [score_bytes] of the last part; NULL: it has none */
    size_t fit_bytes, score_bytes;
};

/* For a model with layers, and data that fits it; both outlive the scorer. TW_NO_MEMORY. Fini in
 * any case. */
enum tw_status tw_scorer_init(struct tw_scorer *scorer, const struct tw_model *model,
                              const struct tw_dataset *data, struct tw_error *error);
void tw_scorer_fini(struct tw_scorer *scorer);

/* At these weights [tensors]. */
struct tw_metric_values tw_scorer_run(struct tw_scorer *scorer, const float *const *weights);

/* The same of a part, of whole batches but for the end of the data, into the counts of `metrics`
 * and the bytes of the scorer. TW_NO_MEMORY. */
enum tw_status tw_scorer_part(struct tw_scorer *scorer, const float *const *weights, uint32_t first,
                              uint32_t samples, struct tw_error *error);

#endif
