/* What an update applies with: rate, scalars, divisor, ratios. */
#include <inttypes.h>

#include "sim/replay_state.h"

/* Whether the log is to say the same as we do. */
static bool is_comparable(const struct tw_replay *replay) {
    return !replay->config.changed && !replay->config.inexact;
}

static enum tw_status compare_divisor(const struct tw_replay *replay,
                                      const struct tw_record *record, double ours,
                                      struct tw_error *error) {
    if (!is_comparable(replay) || ours == record->divisor)
        return TW_OK;
    return tw_error_set(error, TW_NUMERICS,
                        "update %" PRIu64 " is the first that differs: the sum of its gradients "
                        "was divided by %.17g in the run, here it is %.17g",
                        record->version, record->divisor, ours);
}

static enum tw_status compare_ratios(const struct tw_replay *replay, const struct tw_record *record,
                                     const double *ours, struct tw_error *error) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    for (uint32_t t = 0; is_comparable(replay) && t < record->ratio_count; t++)
        if (ours[t] != record->ratios[t])
            return tw_error_set(error, TW_NUMERICS,
                                "update %" PRIu64 " is the first that differs: the ratio of tensor "
                                "%s was %.17g in the run, here it is %.17g",
                                record->version, list->tensors[t].name, record->ratios[t], ours[t]);
    return TW_OK;
}

/* Of a layer-wise rule. A log without them is of another rule. */
static enum tw_status find_ratios(const struct tw_replay *replay, const struct tw_record *record,
                                  struct tw_update_terms *terms, double *ratios,
                                  struct tw_error *error) {
    const struct tw_replay_config *config = &replay->config;
    uint32_t wanted = config->optimizer->ratio ? (uint32_t)config->model->list.count : 0;
    if (!config->own_scalars && record->ratio_count != wanted)
        return tw_error_set(error, TW_DATA,
                            "update %" PRIu64 " has ratios of %u tensors, where %u would be right",
                            record->version, record->ratio_count, wanted);
    if (!wanted)
        return TW_OK;
    enum tw_status status = tw_replay_ratios(replay, terms, ratios, error);
    if (status == TW_OK && !config->own_scalars)
        status = compare_ratios(replay, record, ratios, error);
    terms->ratios = config->own_scalars ? ratios : record->ratios;
    return status;
}

enum tw_status tw_replay_terms(const struct tw_replay *replay, const struct tw_record *record,
                               uint64_t samples_before, struct tw_replay_terms *own,
                               struct tw_update_terms *terms, struct tw_error *error) {
    const struct tw_replay_config *config = &replay->config;
    double squares = tw_shaping_needs_norm(&config->shaping) ? tw_replay_squares(replay) : 0;
    *terms = (struct tw_update_terms){.version = replay->total.version + 1,
                                      .examples = replay->total.samples - samples_before,
                                      .divisor = record->divisor,
                                      .rate = record->rate,
                                      .scalars = own->scalars};
    double divisor =
        tw_shaping_divisor(&config->shaping, terms->examples, replay->weighted, squares);
    enum tw_status status = TW_OK;
    if (config->own_scalars) {
        terms->divisor = divisor;
        terms->rate =
            tw_shaping_prepare(&config->shaping, &config->pace, config->optimizer, &config->options,
                               tw_shaping_lateness(&config->shaping, replay->freshest,
                                                   terms->examples, replay->weighted),
                               record->version - 1, samples_before, own->scalars);
    } else {
        tw_scalars_take(own->scalars, TW_RECORD_SCALARS, record->scalars, record->scalar_count);
        status = compare_divisor(replay, record, divisor, error);
    }
    return status == TW_OK ? find_ratios(replay, record, terms, own->ratios, error) : status;
}
