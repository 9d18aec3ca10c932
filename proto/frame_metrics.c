/* Metrics of an Evaluation: NaN in the program, a bit that is not set on the wire. */
#include "proto/frame.h"

void tw_evaluation_put(struct tw_evaluation *evaluation, const struct tw_metric_values *values) {
    uint32_t bit = 1;
    evaluation->loss = values->loss;
    evaluation->accuracy = values->accuracy;
    evaluation->metrics = 0;
#define X(name)                                                                                    \
    if (!isnan(values->name))                                                                      \
        evaluation->metrics |= bit;                                                                \
    evaluation->name = isnan(values->name) ? 0 : values->name;                                     \
    bit <<= 1;
    TW_METRIC_VALUES_MORE(X)
#undef X
}

struct tw_metric_values tw_evaluation_values(const struct tw_evaluation *evaluation) {
    struct tw_metric_values values = tw_metric_values_none();
    uint32_t bit = 1;
    values.loss = evaluation->loss;
    values.accuracy = evaluation->accuracy;
#define X(name)                                                                                    \
    if (evaluation->metrics & bit)                                                                 \
        values.name = evaluation->name;                                                            \
    bit <<= 1;
    TW_METRIC_VALUES_MORE(X)
#undef X
    return values;
}
