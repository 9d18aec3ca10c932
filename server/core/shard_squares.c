/* Squares of whole tensors, which a shard says tensor by tensor, of the chunks that it has: for
 * layer-wise rules before an update, and of what an update has done, when that is sampled.
 *
 * The chunks of a tensor are neighbours, and are walked through in order: one sum at a time. */
#include <assert.h>
#include <string.h>

#include "server/core/shard_pool.h"
#include "server/core/shard_state.h"

static bool is_last_of_tensor(const struct tw_shard *s, uint32_t chunk) {
    return chunk + 1 == s->chunks ||
           tw_shard_chunk(s, chunk + 1)->tensor != tw_shard_chunk(s, chunk)->tensor;
}

/* Says a sum, and begins the next. */
static void say(const struct tw_shard *s, uint32_t chunk, uint64_t version, bool applied,
                struct tw_tensor_squares *sum, struct tw_shard_effect *effect) {
    *effect = (struct tw_shard_effect){.kind = TW_SHARD_SQUARES,
                                       .squares = {.shard = s->config.index,
                                                   .tensor = tw_shard_chunk(s, chunk)->tensor,
                                                   .version = version,
                                                   .applied = applied,
                                                   .of = *sum}};
    *sum = (struct tw_tensor_squares){0};
}

bool tw_shard_is_layer_wise(const struct tw_shard *s) {
    return s->config.optimizer->ratio != NULL;
}

/* ---- before an update ---- */

void tw_shard_begin_steps(struct tw_shard *s, const struct tw_prepare *prepare) {
    if (!tw_shard_is_layer_wise(s))
        return;
    s->measured = 0;
    s->step_sum = (struct tw_tensor_squares){0};
    s->prepare_examples = prepare->examples;
    s->prepare_weighted = tw_corrections_examples(&s->config.shaping.corrections,
                                                  prepare->contributions, prepare->count);
    s->prepare_rate = prepare->rate;
    tw_scalars_take(s->prepare_scalars, tw_shaping_scalars(&s->config.shaping), prepare->scalars,
                    prepare->scalar_count);
}

bool tw_shard_has_steps(const struct tw_shard *s) {
    return !tw_shard_is_layer_wise(s) || !s->sum_finite || s->measured == s->chunks;
}

/* Weights and states are those of the last COMMIT: it was swept before. */
enum tw_shard_work tw_shard_step_next(struct tw_shard *s, struct tw_shard_effect *effect) {
    uint32_t chunk = s->measured++;
    const struct tw_shard_config *config = &s->config;
    const struct tw_update_terms terms = {
        .version = s->prepare_version,
        .examples = s->prepare_examples,
        .divisor =
            tw_shaping_divisor(&config->shaping, s->prepare_examples, s->prepare_weighted, 0),
        .rate = s->prepare_rate,
        .scalars = s->prepare_scalars};
    struct tw_optimizer_float work = {
        .count = tw_shard_chunk(s, chunk)->count,
        .weights_in = tw_shard_buffer(s, s->current[chunk], chunk),
        .weights_out = s->scratch,
    };
    for (int i = 0; i < config->optimizer->states; i++)
        work.state[i] = tw_shard_state(s, (uint32_t)i, chunk);
    tw_shaping_step(&config->shaping, config->optimizer, &config->options, &terms,
                    tw_shard_chunk(s, chunk)->tensor, &work,
                    config->pool ? tw_pool_sum(s, chunk)
                                 : tw_shard_push_plane(s, s->contributor[0], chunk));
    tw_add_squares(&s->step_sum.weights, work.weights_in, work.count);
    tw_add_squares(&s->step_sum.step, s->scratch, work.count);
    if (!is_last_of_tensor(s, chunk))
        return TW_SHARD_WORKED;
    say(s, chunk, s->prepare_version, false, &s->step_sum, effect);
    return TW_SHARD_EFFECT;
}

/* ---- behind one ---- */

/* Weights of this chunk are there only before the update. */
void tw_shard_begin_sample(struct tw_shard *s, uint64_t version, uint32_t chunk,
                           const struct tw_optimizer_float *work) {
    if (chunk == 0)
        tw_sample_begin(&s->sample, version, tw_sample_is_due(version, s->config.hash_every),
                        tw_sample_is_due(version, s->config.sums_every));
    if (s->sample.summed || tw_corrections_watch(&s->config.shaping.corrections))
        memcpy(s->scratch, work->weights_in, work->count * sizeof(float));
}

bool tw_shard_end_sample(struct tw_shard *s, uint32_t chunk, const struct tw_optimizer_float *work,
                         struct tw_shard_effect *effect) {
    const struct tw_chunk *at = tw_shard_chunk(s, chunk);
    tw_shard_note_applied(s, chunk, work->weights_out);
    if (!tw_sample_measures(&s->sample))
        return false;
    tw_sample_hash(&s->sample, at->tensor, at->first, work->weights_out, work->count);
    if (tw_shaping_trains(&s->config.shaping, at->tensor)) {
        tw_sample_gradient(&s->sample, work->gradient, work->count);
        tw_sample_change(&s->sample, &s->change_sum, s->scratch, work->weights_out, work->count);
    }
    if (!s->sample.summed || !is_last_of_tensor(s, chunk))
        return false;
    say(s, chunk, s->sample.version, true, &s->change_sum, effect);
    return true;
}
