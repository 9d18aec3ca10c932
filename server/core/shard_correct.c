/* What corrections for late gradients do to contributions, before they are summed. */
#include "common/tensor/kernels.h"
#include "server/core/shard_state.h"

void tw_shard_weigh(struct tw_shard *s, const struct tw_contribution *contributions,
                    uint32_t count) {
    const struct tw_corrections *corrections = &s->config.shaping.corrections;
    uint64_t freshest = tw_contributions_freshest(contributions, count);
    for (uint32_t i = 0; i < count; i++) {
        struct tw_shard_push *push = &s->push[tw_shard_find_push(s, &contributions[i])];
        push->staleness = contributions[i].staleness;
        push->weight = (float)tw_corrections_weight(corrections, push->staleness, freshest);
    }
}

void tw_shard_correct(struct tw_shard *s, uint32_t index, uint32_t chunk) {
    const struct tw_shard_push *push = &s->push[index];
    const struct tw_chunk *at = tw_shard_chunk(s, chunk);
    if (push->weight == 1 || !tw_shaping_trains(&s->config.shaping, at->tensor))
        return;
    float *gradient = tw_shard_gradient(s, index, chunk);
    tw_multiply(gradient, gradient, push->weight, at->count);
}
