/* What an evaluation found out about a model: a number for each metric (worker/nn/metrics.h), NaN
 * where there is none. Used by whoever computes, sends, or writes them.
 */
#ifndef TW_BASE_METRIC_VALUES_H
#define TW_BASE_METRIC_VALUES_H

#include <math.h>

/* By their names, which are keys of JSON (behind "test_" in metrics.jsonl). The first two are told
 * of every evaluation, the others where there is one. */
#define TW_METRIC_VALUES_MORE(X)                                                                   \
    X(top5)                                                                                        \
    X(auc)                                                                                         \
    X(r2)

struct tw_metric_values {
    double loss, accuracy;
#define X(name) double name;
    TW_METRIC_VALUES_MORE(X)
#undef X
};

static inline struct tw_metric_values tw_metric_values_none(void) {
    return (struct tw_metric_values){.loss = (double)NAN,
                                     .accuracy = (double)NAN,
#define X(name) .name = (double)NAN,
                                     TW_METRIC_VALUES_MORE(X)
#undef X
    };
}

#endif
