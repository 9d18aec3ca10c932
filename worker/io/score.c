#include "worker/io/score.h"

#include <stdlib.h>

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
    free(scorer->fits);
    free(scorer->scores);
    *scorer = (struct tw_scorer){0};
}

static void score(struct tw_scorer *scorer, const float *const *weights, uint32_t from,
                  uint32_t end) {
    uint32_t positions[TW_NET_EVALUATION_ROWS], rows = TW_NET_EVALUATION_ROWS;
    tw_net_bind(scorer->net, weights);
    tw_metrics_clear(&scorer->metrics);
    for (uint32_t first = from; first < end; first += rows) {
        uint32_t here = end - first < rows ? end - first : rows;
        for (uint32_t i = 0; i < here; i++)
            positions[i] = first + i;
        tw_dataset_gather(scorer->data, positions, (int)here, tw_net_batch(scorer->net));
        tw_net_evaluate(scorer->net, (int)here, NULL);
        tw_metrics_add_batch(&scorer->metrics, tw_net_outputs(scorer->net),
                             tw_net_batch(scorer->net), (int)here);
    }
}

struct tw_metric_values tw_scorer_run(struct tw_scorer *scorer, const float *const *weights) {
    score(scorer, weights, 0, scorer->data->count);
    return tw_metrics_values(&scorer->metrics);
}

static enum tw_status make_room(uint8_t **bytes, size_t *size, size_t wanted,
                                struct tw_error *error) {
    if (wanted > *size) {
        free(*bytes);
        *bytes = malloc(wanted);
    }
    *size = wanted;
    if (wanted && !*bytes)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a part of an evaluation");
    return TW_OK;
}

enum tw_status tw_scorer_part(struct tw_scorer *scorer, const float *const *weights, uint32_t first,
                              uint32_t samples, struct tw_error *error) {
    score(scorer, weights, first, first + samples);
    const struct tw_tally *tally = tw_metrics_tally(&scorer->metrics);
    bool ranked = tw_tally_ranks(tally) && !tally->unordered;
    uint32_t fits = tally->valued ? tally->outputs : 0;
    uint64_t scores = ranked ? tally->scores : 0;
    enum tw_status status =
        make_room(&scorer->fits, &scorer->fit_bytes, fits * (size_t)TW_TALLY_FIT_BYTES, error);
    if (status == TW_OK)
        status =
            make_room(&scorer->scores, &scorer->score_bytes, scores * TW_TALLY_SCORE_BYTES, error);
    if (status != TW_OK)
        return status;
    tw_exact_sum_put(scorer->loss, &tally->loss);
    tw_tally_put_fits(tally->fit, fits, scorer->fits);
    tw_tally_put_scores(tally->score, scores, scorer->scores);
    return TW_OK;
}
