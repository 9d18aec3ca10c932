/* What corrections for late gradients do to contributions before they are summed, and what they
 * keep for that.
 *
 * A state that every contribution changes has two arrays: the first contribution of an update
 * writes from the one into the other, those behind it change that in place, and the COMMIT makes it
 * the state. So an update that is dropped has changed nothing. */
#include <string.h>

#include "common/tensor/kernels.h"
#include "server/core/shard_state.h"

static const struct tw_corrections *stack_of(const struct tw_shard *s) {
    return &s->config.shaping.corrections;
}

uint32_t tw_shard_corrected_planes(const struct tw_shard_config *config) {
    const struct tw_corrections *corrections = &config->shaping.corrections;
    uint32_t arrays = 0;
    for (uint32_t i = 0; i < corrections->count; i++)
        arrays += tw_correction_states_of(corrections->at[i].kind, config->slots) *
                  tw_correction_arrays(corrections->at[i].kind);
    return arrays;
}

uint32_t tw_shard_remembered_planes(const struct tw_shard_config *config, uint32_t pushes) {
    return tw_corrections_remember(&config->shaping.corrections) ? pushes : 0;
}

void tw_shard_weigh(struct tw_shard *s, const struct tw_contribution *contributions,
                    uint32_t count) {
    if (!stack_of(s)->count)
        return;
    uint64_t freshest = tw_contributions_freshest(contributions, count);
    for (uint32_t i = 0; i < count; i++) {
        struct tw_shard_push *push = &s->push[tw_shard_find_push(s, &contributions[i])];
        push->staleness = contributions[i].staleness;
        push->weight = (float)tw_corrections_weight(stack_of(s), push->staleness, freshest);
    }
}

/* Which of two arrays holds the state; the other is what it is to be. */
static uint8_t *holder(const struct tw_shard *s, const struct tw_correction *kind, uint32_t slot,
                       uint32_t chunk) {
    return kind->of_worker ? &s->own[(size_t)slot * s->chunks + chunk] : &s->observed[chunk];
}

/* A contribution to the update under way, and whether others of it came before: of anybody, and of
 * the same worker. */
struct turn {
    uint32_t slot;
    bool first, first_of_slot;
};

/* Before it; out: what it will be. */
static struct tw_correction_states states_of(const struct tw_shard *s, uint32_t chunk,
                                             struct turn turn) {
    struct tw_correction_states states = {{NULL}, {NULL}};
    uint32_t array = 0;
    for (uint32_t i = 0; i < stack_of(s)->count; i++) {
        const struct tw_correction *kind = stack_of(s)->at[i].kind;
        uint32_t count = tw_correction_states_of(kind, s->config.slots);
        uint32_t arrays = tw_correction_arrays(kind);
        uint32_t mine = array + (kind->of_worker ? arrays * turn.slot : 0);
        array += count * arrays;
        if (!count)
            continue;
        uint32_t now = arrays == 2 ? *holder(s, kind, turn.slot, chunk) : 0;
        bool first = kind->of_worker ? turn.first_of_slot : turn.first;
        states.out[i] = tw_shard_corrected(s, mine + (arrays == 2 ? 1 - now : 0), chunk);
        states.in[i] =
            arrays == 2 && first ? tw_shard_corrected(s, mine + now, chunk) : states.out[i];
    }
    return states;
}

void tw_shard_correct(struct tw_shard *s, uint32_t number, uint32_t chunk) {
    uint32_t index = s->contributor[number];
    const struct tw_shard_push *push = &s->push[index];
    const struct tw_chunk *at = tw_shard_chunk(s, chunk);
    if (!tw_shaping_trains(&s->config.shaping, at->tensor))
        return;
    float *gradient = tw_shard_gradient(s, index, chunk);
    if (tw_corrections_have_kernels(stack_of(s))) {
        bool first = number == 0;
        struct turn turn = {push->slot, first,
                            first || s->push[s->contributor[number - 1]].slot != push->slot};
        struct tw_correction_states states = states_of(s, chunk, turn);
        struct tw_correction_work work = {
            .count = at->count,
            .gradient = gradient,
            .weights = tw_shard_buffer(s, s->current[chunk], chunk),
            .read = s->remembered ? tw_shard_remembered(s, index, chunk) : NULL,
            .examples = push->examples,
            .updates = s->version,
        };
        tw_corrections_correct(stack_of(s), push->staleness, work, &states);
    }
    if (push->weight != 1)
        tw_multiply(gradient, gradient, push->weight, at->count);
}

void tw_shard_remember(struct tw_shard *s, const struct tw_shard_item *release, uint32_t chunk) {
    if (!s->remembered || release->slot == TW_SLOT_EVALUATOR)
        return;
    uint32_t push = tw_shard_look_for_push(s, release->slot, release->step);
    if (push != UINT32_MAX) /* else it is over already */
        memcpy(tw_shard_remembered(s, push, chunk), tw_shard_buffer(s, s->current[chunk], chunk),
               tw_shard_chunk(s, chunk)->count * sizeof(float));
}

/* What was to be the state of each contributor of the COMMIT being swept, is. */
static void keep_own(struct tw_shard *s, uint32_t chunk) {
    uint32_t before = UINT32_MAX;
    for (uint32_t i = s->work[s->item].push; i != UINT32_MAX; i = s->push[i].next) {
        uint32_t slot = s->push[i].slot;
        uint8_t *own = &s->own[(size_t)slot * s->chunks + chunk];
        *own = slot != before ? 1 - *own : *own;
        before = slot;
    }
}

void tw_shard_note_applied(struct tw_shard *s, uint32_t chunk, const float *after) {
    if (!s->corrected)
        return;
    const struct tw_chunk *at = tw_shard_chunk(s, chunk);
    struct tw_correction_states states = states_of(s, chunk, (struct turn){.slot = 0});
    if (!tw_shaping_trains(&s->config.shaping, at->tensor))
        return;
    tw_corrections_applied(stack_of(s), s->scratch, after, at->count, &states);
    s->observed[chunk] = 1 - s->observed[chunk];
    if (tw_corrections_of_workers(stack_of(s)))
        keep_own(s, chunk);
}

/* ---- checkpoints ---- */

float *tw_shard_correction_state(const struct tw_shard *s, uint32_t n, uint32_t chunk) {
    uint32_t array = 0;
    for (uint32_t i = 0;; i++) {
        const struct tw_correction *kind = stack_of(s)->at[i].kind;
        uint32_t count = tw_correction_states_of(kind, s->config.slots);
        uint32_t arrays = tw_correction_arrays(kind);
        if (n < count)
            return tw_shard_corrected(
                s, array + n * arrays + (arrays == 2 ? *holder(s, kind, n, chunk) : 0), chunk);
        n -= count;
        array += count * arrays;
    }
}
