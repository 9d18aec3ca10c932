/* What the caller knows of the weights on the way, compared with what they are. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "sim/replay_state.h"

void tw_replay_expect(struct tw_replay *replay, const struct tw_replay_expected *expected) {
    assert(!replay->config.changed);
    replay->expected = *expected;
}

bool tw_replay_begin_sample(struct tw_replay *replay, uint64_t version) {
    const struct tw_replay_expected *expected = &replay->expected;
    bool told = expected->version == version;
    bool due = tw_sample_is_due(version, replay->config.sums_every);
    bool hashed = told && expected->hashed, summed = due || (told && expected->summed);
    tw_sample_begin(&replay->sample, version, hashed, summed);
    return hashed || summed;
}

/* Over whole tensors: it is the same as over the chunks of shards. */
void tw_replay_sample(struct tw_replay *replay, const float *before, const float *after) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    size_t at = 0;
    if (replay->sample.summed) {
        memset(replay->change, 0, (size_t)list->count * sizeof *replay->change);
        replay->change_version = replay->sample.version;
    }
    for (int t = 0; t < list->count; t++) {
        size_t count = (size_t)list->tensors[t].elements;
        if (tw_shaping_trains(&replay->config.shaping, (uint32_t)t)) {
            tw_sample_gradient(&replay->sample, replay->gradient + at, count);
            tw_sample_change(&replay->sample, &replay->change[t], before + at, after + at, count);
        }
        tw_sample_hash(&replay->sample, (uint32_t)t, 0, after + at, count);
        at += count;
    }
}

static enum tw_status differs(const struct tw_replay *replay, const char *what, double recorded,
                              double ours, struct tw_error *error) {
    return tw_error_set(error, TW_NUMERICS,
                        "update %" PRIu64 " is the first that is seen to differ: the sum of "
                        "squares of the %s was %.17g in the run and is %.17g here",
                        replay->total.version, what, recorded, ours);
}

/* The update that has just been applied is what the caller expects. */
enum tw_status tw_replay_check(struct tw_replay *replay, struct tw_error *error) {
    const struct tw_replay_expected *expected = &replay->expected;
    const struct tw_sample *sample = &replay->sample;
    if (expected->version != replay->total.version || replay->config.inexact)
        return TW_OK;
    double gradient = tw_exact_sum_value(&sample->gradient);
    double update = tw_exact_sum_value(&sample->update);
    double weights = tw_exact_sum_value(&sample->weights);
    if (expected->summed && gradient != expected->gradient)
        return differs(replay, "gradient", expected->gradient, gradient, error);
    if (expected->summed && update != expected->update)
        return differs(replay, "change of the weights", expected->update, update, error);
    if (expected->summed && weights != expected->weights)
        return differs(replay, "weights", expected->weights, weights, error);
    if (expected->hashed && sample->hash != expected->hash)
        return tw_error_set(error, TW_NUMERICS,
                            "update %" PRIu64 " is the first that is seen to differ: the hash of "
                            "the weights was %016" PRIx64 " in the run and is %016" PRIx64 " here",
                            replay->total.version, expected->hash, sample->hash);
    replay->total.checked++;
    replay->total.checked_version = replay->total.version;
    return TW_OK;
}

const struct tw_tensor_squares *tw_replay_change(const struct tw_replay *replay,
                                                 uint64_t *version) {
    *version = replay->change_version;
    return replay->change_version ? replay->change : NULL;
}
