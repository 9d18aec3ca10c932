/* The weights of a shard, the arrays that stand beside them, and their copies: which buffer has
 * them, who is being sent them, and one update of one chunk. */
#include <assert.h>

#include "server/core/shard_pool.h"

/* ---- looking ---- */

const float *tw_shard_weights(const struct tw_shard *s, uint32_t chunk) {
    return tw_shard_buffer(s, s->current[chunk - s->first], chunk - s->first);
}

struct tw_arrays tw_shard_arrays_of(const struct tw_shard *s) {
    return (struct tw_arrays){s->config.optimizer, &s->config.shaping, s->config.slots};
}

uint32_t tw_shard_arrays(const struct tw_shard *s) {
    struct tw_arrays arrays = tw_shard_arrays_of(s);
    return tw_arrays_count(&arrays);
}

float *tw_shard_array(const struct tw_shard *s, uint32_t array, uint32_t chunk) {
    uint32_t c = chunk - s->first, states = (uint32_t)s->config.optimizer->states;
    uint32_t averages = s->averages > 0;
    if (!array)
        return tw_shard_buffer(s, s->current[c], c);
    if (array <= states)
        return tw_shard_state(s, array - 1, c);
    return array <= states + averages
               ? tw_shard_average_buffer(s, s->averaged[c], c)
               : tw_shard_correction_state(s, array - 1 - states - averages, c);
}

void tw_shard_saved(struct tw_shard *s) {
    assert(s->saved < s->to_save);
    s->saved++;
    s->saving = s->saved < s->chunks;
}

const float *tw_shard_average(const struct tw_shard *s, uint32_t chunk) {
    uint32_t c = chunk - s->first;
    return s->averages ? tw_shard_average_buffer(s, s->averaged[c], c) : NULL;
}

void *tw_shard_encoded(const struct tw_shard *s, uint32_t copy, uint32_t chunk) {
    if (s->config.pool && copy)
        return tw_shard_buffer(s, copy, chunk) + s->spare_weights;
    return (unsigned char *)tw_shard_behind_pushes(s, copy) + s->encoded_offset[chunk];
}

/* Old weights that nobody is sending any more. */
void tw_shard_sent(struct tw_shard *s, uint32_t token) {
    assert(s->refs[token] > 0);
    bool of_pool = s->config.pool && token >= s->chunks && token < s->tokens;
    if (--s->refs[token] || !of_pool)
        return;
    uint32_t copy = token - s->chunks + 1;
    if (s->current[s->spare[copy - 1].chunk] != copy)
        tw_pool_free_copy(s, copy);
}

void tw_shard_hold(struct tw_shard *s, uint32_t token) {
    assert(s->refs[token] > 0);
    s->refs[token]++;
}

/* ---- writing ---- */

/* The copy that the update of a chunk writes into: the current one when nobody
 * is sending it, else a spare. UINT32_MAX: none is free. */
static uint32_t writable_copy(struct tw_shard *s, uint32_t chunk) {
    uint32_t current = s->current[chunk], copies = s->config.pool ? 0 : s->config.spares;
    bool is_free = !s->refs[tw_shard_token(s, current, chunk)];
    if (is_free && !s->config.pool)
        return current;
    for (uint32_t copy = 0; copy <= copies; copy++)
        if (!s->refs[tw_shard_token(s, copy, chunk)])
            return copy; /* with a pool: back to the plane as soon as that is possible */
    if (is_free)
        return current;
    return s->config.pool ? tw_pool_take_copy(s, chunk) : UINT32_MAX;
}

/* The weights of this chunk are in another buffer now. */
static void move_weights(struct tw_shard *s, uint32_t chunk, uint32_t copy) {
    uint32_t old = s->current[chunk];
    s->current[chunk] = copy;
    if (s->config.pool && old && old != copy && !s->refs[tw_shard_token(s, old, chunk)])
        tw_pool_free_copy(s, old);
}

static uint32_t writable_average(const struct tw_shard *s, uint32_t chunk) {
    uint32_t which = s->averaged[chunk];
    for (uint32_t i = 0; i < s->averages; i++, which = (which + 1) % s->averages)
        if (!s->refs[tw_shard_token_of_average(s, which, chunk)])
            return which;
    return UINT32_MAX;
}

static void average(struct tw_shard *s, uint32_t chunk, uint32_t into, const float *weights) {
    tw_shaping_average(&s->config.shaping, tw_shard_average_buffer(s, s->averaged[chunk], chunk),
                       weights, tw_shard_average_buffer(s, into, chunk),
                       tw_shard_chunk(s, chunk)->count);
    s->averaged[chunk] = (uint8_t)into;
}

enum tw_shard_work tw_shard_update(struct tw_shard *s, uint32_t chunk,
                                   const struct tw_update_terms *terms, float *gradient,
                                   struct tw_shard_effect *effect) {
    bool is_saved = chunk < s->saved || chunk >= s->to_save;
    uint32_t into = s->averages ? writable_average(s, chunk) : 0;
    bool may = is_saved && into != UINT32_MAX; /* only then a copy is taken */
    uint32_t copy = may ? writable_copy(s, chunk) : UINT32_MAX;
    if (copy == UINT32_MAX)
        return TW_SHARD_BLOCKED;
    const struct tw_chunk *at = tw_shard_chunk(s, chunk);
    struct tw_optimizer_float work = {
        .count = at->count,
        .weights_in = tw_shard_buffer(s, s->current[chunk], chunk),
        .weights_out = tw_shard_buffer(s, copy, chunk),
    };
    for (int i = 0; i < s->config.optimizer->states; i++)
        work.state[i] = tw_shard_state(s, (uint32_t)i, chunk);
    if (effect)
        tw_shard_begin_sample(s, terms->version, chunk, &work);
    tw_shaping_apply(&s->config.shaping, s->config.optimizer, &s->config.options, terms, at->tensor,
                     &work, gradient);
    bool effects = effect && tw_shard_end_sample(s, chunk, &work, effect);
    move_weights(s, chunk, copy);
    s->encoded[tw_shard_token(s, copy, chunk)] = false;
    if (s->averages)
        average(s, chunk, into, work.weights_out);
    return effects ? TW_SHARD_EFFECT : TW_SHARD_WORKED;
}
