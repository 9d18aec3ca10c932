#include "worker/io/score.h"

enum tw_status tw_scorer_init(struct tw_scorer *scorer, const struct tw_model *model,
                              const struct tw_dataset *data, struct tw_error *error) {
    static const float *none[TW_TENSORS_MAX]; /* bound to others before each run */
    *scorer = (struct tw_scorer){.data = data};
    enum tw_status status =
        tw_metrics_init(&scorer->metrics, model, data->count, data->outputs > 0, error);
    if (status != TW_OK)
        return status;
    return tw_net_new(&scorer->net, model, TW_NET_EVALUATION_ROWS, false, none, error);
}

void tw_scorer_fini(struct tw_scorer *scorer) {
    tw_metrics_fini(&scorer->metrics);
    tw_net_free(scorer->net);
    *scorer = (struct tw_scorer){0};
}

struct tw_metric_values tw_scorer_run(struct tw_scorer *scorer, const float *const *weights) {
    uint32_t positions[TW_NET_EVALUATION_ROWS], rows = TW_NET_EVALUATION_ROWS;
    const struct tw_dataset *data = scorer->data;
    tw_net_bind(scorer->net, weights);
    tw_metrics_clear(&scorer->metrics);
    for (uint32_t first = 0; first < data->count; first += rows) {
        uint32_t here = data->count - first < rows ? data->count - first : rows;
        for (uint32_t i = 0; i < here; i++)
            positions[i] = first + i;
        tw_dataset_gather(data, positions, (int)here, tw_net_batch(scorer->net));
        tw_net_evaluate(scorer->net, (int)here, NULL);
        tw_metrics_add_batch(&scorer->metrics, tw_net_outputs(scorer->net),
                             tw_net_batch(scorer->net), (int)here);
    }
    return tw_metrics_values(&scorer->metrics);
}
