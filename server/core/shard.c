/* A shard's memory, pushes and votes; shard_apply.c does what the log says. */
#include "server/core/shard.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/arith.h"
#include "common/base/ring.h"
#include "common/tensor/kernels.h"
#include "server/core/shard_arrival.h"
#include "server/core/shard_pool.h"

/* ---- memory ---- */

/* Chunks start on a cache line. Planes that are a multiple of a page apart would
 * fall on the same cache sets and halve the speed of an update that walks through
 * several at once, so each starts some lines later than the one before. */
enum { LINE_FLOATS = 16, STAGGER_FLOATS = 17 * LINE_FLOATS };

static size_t round_up(size_t n, size_t unit) {
    return (n + unit - 1) / unit * unit;
}

/* Of one encoded copy of the shard, whose chunks start on cache lines, too. */
static size_t encoded_floats(const struct tw_shard_config *config, size_t *offset) {
    const struct tw_layout *layout = config->layout;
    const uint32_t *first = &layout->shard_first[config->index];
    size_t bytes = 0;
    for (uint32_t c = first[0]; tw_encodings[config->pull].encode && c < first[1]; c++) {
        if (offset)
            offset[c - first[0]] = bytes;
        bytes += round_up(tw_encoding_bytes(config->pull, layout->chunk[c].count),
                          LINE_FLOATS * sizeof(float));
    }
    return bytes ? bytes / sizeof(float) + STAGGER_FLOATS : 0;
}

static size_t plane_floats(const struct tw_shard_config *config) {
    const struct tw_layout *layout = config->layout;
    size_t floats = 0;
    for (uint32_t c = layout->shard_first[config->index];
         c < layout->shard_first[config->index + 1]; c++)
        floats += round_up(layout->chunk[c].count, LINE_FLOATS);
    return floats;
}

/* Every slot's open push; those that wait, accepted, for the update to come; and as
 * many of the update being swept. */
static uint32_t push_count(const struct tw_shard_config *config) {
    return config->pool ? config->slots : config->slots + 2 * config->ahead;
}

/* One is written while the evaluator is sent the other. */
static uint32_t average_count(const struct tw_shard_config *config) {
    return config->shaping.average > 0 ? 1 + config->shaping.scores_average : 0;
}

static uint32_t plane_count(const struct tw_shard_config *config) {
    uint32_t others = config->pool ? 1 : config->spares + push_count(config);
    return 1 + (uint32_t)config->optimizer->states + average_count(config) +
           tw_shard_corrected_planes(config) +
           tw_shard_remembered_planes(config, push_count(config)) + others;
}

static size_t largest_floats(const struct tw_shard_config *config) {
    const struct tw_layout *layout = config->layout;
    uint32_t largest = 0;
    for (uint32_t c = layout->shard_first[config->index];
         c < layout->shard_first[config->index + 1]; c++)
        largest = layout->chunk[c].count > largest ? layout->chunk[c].count : largest;
    return round_up(largest, LINE_FLOATS);
}

/* A buffer of the pool: for a chunk, and the encoded copy of it. */
static size_t spare_floats(const struct tw_shard_config *config) {
    size_t floats = largest_floats(config), encoded = 0;
    if (tw_encodings[config->pull].encode)
        encoded = round_up(tw_encoding_bytes(config->pull, floats), LINE_FLOATS * sizeof(float));
    return floats + encoded / sizeof(float) + STAGGER_FLOATS;
}

size_t tw_pool_stride(const struct tw_shard *s) {
    return s->spare_stride;
}

struct tw_shard_sizes tw_shard_sizes(const struct tw_layout *layout, uint32_t index,
                                     uint32_t pull) {
    struct tw_shard_config config = {.layout = layout, .index = index, .pull = pull};
    return (struct tw_shard_sizes){.plane =
                                       (plane_floats(&config) + STAGGER_FLOATS) * sizeof(float),
                                   .encoded = encoded_floats(&config, NULL) * sizeof(float),
                                   .spare = spare_floats(&config) * sizeof(float)};
}

uint32_t tw_shard_pool_min(uint32_t slots) {
    uint32_t reserve = tw_pool_reserve(slots);
    return reserve ? reserve : 1;
}

/* Walks through all arrays; with `memory` NULL only measures. */
static size_t carve(struct tw_shard *s, unsigned char *memory) {
    size_t at = round_up(sizeof(*s), 64);
    uint32_t slots = s->config.slots, chunks = s->chunks, pool = s->config.pool;
    uint32_t pool_slots = pool ? slots : 0, pool_chunks = pool ? chunks : 0;
#define CARVE(field, count)                                                                        \
    do {                                                                                           \
        if (memory)                                                                                \
            s->field = (void *)(memory + at);                                                      \
        at += round_up((size_t)(count) * sizeof(*s->field), 64);                                   \
    } while (0)
    CARVE(offset, chunks);
    CARVE(current, chunks);
    s->tokens = pool ? (size_t)chunks + pool : (1 + (size_t)s->config.spares) * chunks;
    CARVE(refs, s->tokens + (size_t)s->averages * chunks);
    CARVE(averaged, chunks);
    CARVE(observed, chunks);
    bool own = tw_corrections_of_workers(&s->config.shaping.corrections);
    CARVE(own, own ? (size_t)slots * chunks : 0);
    CARVE(encoded, s->tokens);
    CARVE(encoded_offset, chunks);
    CARVE(slot, slots);
    CARVE(push, s->pushes);
    CARVE(bytes, (size_t)s->pushes * chunks);
    CARVE(votes, s->pushes);
    CARVE(contributor, s->pushes);
    CARVE(input, s->pushes);
    CARVE(here, chunks);
    CARVE(to_reduce, chunks);
    CARVE(queued, chunks);
    CARVE(work, s->work_room);
    CARVE(spare, pool);
    CARVE(home, pool_chunks);
    CARVE(held, pool_chunks);
    CARVE(order, pool_chunks);
    CARVE(turn, pool_slots);
    CARVE(wants, pool_slots);
    CARVE(in_wanted, pool_slots);
    CARVE(wanted, pool_slots);
    size_t arriving = s->config.on_arrival ? (size_t)s->pushes * chunks : 0;
    CARVE(account, s->config.on_arrival ? chunks : 0);
    CARVE(read, arriving);
    CARVE(arrival, arriving);
    CARVE(arrives, arriving);
    size_t scalars = s->config.on_arrival ? tw_shaping_scalars(&s->config.shaping) : 0;
    CARVE(push_scalars, s->pushes * scalars);
    bool layer_wise = tw_shard_is_layer_wise(s), scratch = layer_wise || s->config.sums_every;
    scratch = scratch || tw_corrections_watch(&s->config.shaping.corrections);
    CARVE(ratios, layer_wise ? s->config.layout->list->count : 0);
    CARVE(scratch, scratch ? s->config.layout->chunk_bytes / sizeof(float) : 0);
    CARVE(planes, s->stride * plane_count(&s->config) +
                      s->encoded_stride * (pool ? 1 : 1 + s->config.spares));
    CARVE(spare_floats, s->spare_stride * pool);
#undef CARVE
    return at;
}

static void measure(struct tw_shard *s, const struct tw_shard_config *config) {
    const uint32_t *first = &config->layout->shard_first[config->index];
    *s = (struct tw_shard){.config = *config, .first = first[0], .chunks = first[1] - first[0]};
    s->pushes = push_count(config);
    if (config->on_arrival) /* no version is ever whole */
        s->config.hash_every = s->config.sums_every = 0;
    s->averages = average_count(config);
    s->corrected = tw_shard_corrected_planes(config);
    s->remembered = tw_shard_remembered_planes(config, s->pushes);
    s->plane = plane_floats(config);
    s->stride = s->plane + STAGGER_FLOATS;
    s->push_planes = config->pool ? 1 : s->pushes;
    s->encoded_stride = encoded_floats(config, NULL);
    s->spare_weights = largest_floats(config);
    s->spare_stride = spare_floats(config);
    /* Per slot at most one COMMIT, one RELEASE that is valid and one, superseded,
     * in the batch being swept; the same for the evaluator; one CHECKPOINT. */
    s->work_room = 3 * config->slots + 5;
}

size_t tw_shard_bytes(const struct tw_shard_config *config) {
    struct tw_shard s;
    measure(&s, config);
    size_t floats, pool, bytes, small;
    if (!tw_size_multiply(s.stride + s.encoded_stride, plane_count(config), &floats) ||
        !tw_size_multiply(s.spare_stride, config->pool, &pool) || pool > SIZE_MAX - floats ||
        !tw_size_multiply(floats + pool, sizeof(float), &bytes) ||
        !tw_size_multiply((size_t)s.pushes + 64, (size_t)s.chunks + 64, &small) ||
        bytes > SIZE_MAX / 4 || small > SIZE_MAX / 64)
        return 0;
    return carve(&s, NULL);
}

static void fill_weights(struct tw_shard *s) {
    const struct tw_layout *layout = s->config.layout;
    size_t at = 0;
    for (uint32_t c = 0; c < s->chunks; c++) {
        const struct tw_chunk *chunk = tw_shard_chunk(s, c);
        s->offset[c] = at;
        at += round_up(chunk->count, LINE_FLOATS);
        float *weights = tw_shard_buffer(s, 0, c);
        const float *initial = s->config.initial ? s->config.initial[chunk->tensor] : NULL;
        if (initial)
            memcpy(weights, initial + chunk->first, chunk->count * sizeof(float));
        else
            tw_tensor_fill(&layout->list->tensors[chunk->tensor], (int)chunk->tensor,
                           s->config.seed, chunk->first, chunk->count, weights);
        for (int i = 0; i < s->config.optimizer->states; i++)
            if (s->config.optimizer->state[i].start == TW_STATE_WEIGHTS)
                memcpy(tw_shard_state(s, (uint32_t)i, c), weights, chunk->count * sizeof(float));
        if (s->averages)
            memcpy(tw_shard_average_buffer(s, 0, c), weights, chunk->count * sizeof(float));
    }
}

struct tw_shard *tw_shard_init(void *memory, const struct tw_shard_config *config) {
    struct tw_shard *s = memory;
    measure(s, config);
    carve(s, memory);
    s->push_plane = s->planes + (1 + tw_shard_kept(s)) * s->stride;
    s->behind_pushes = s->push_plane + s->push_planes * s->stride;
    encoded_floats(config, s->encoded_offset);
    fill_weights(s);
    s->sum_finite = true;
    for (uint32_t i = 0; i < config->slots; i++) {
        s->slot[i].open = i;
        s->push[i] = (struct tw_shard_push){.used = true, .slot = i, .bad_tensor = UINT32_MAX};
    }
    s->members_known = tw_shard_sums_early(s, config->members_known);
    if (config->pool)
        tw_pool_init(s);
    tw_shard_know_members(s);
    return s;
}

/* ---- pushes ---- */

float *tw_shard_gradient(const struct tw_shard *s, uint32_t push, uint32_t chunk) {
    return s->config.pool ? tw_pool_gradient(s, push, chunk) : tw_shard_push_plane(s, push, chunk);
}

/* What frames of a push have in common: TW_OK it is awaited; TW_STALE it is over
 * and may be thrown away; anything else is the peer's fault. */
static enum tw_status check_push(const struct tw_shard *s, uint32_t index, uint32_t incarnation,
                                 uint64_t step, struct tw_error *error) {
    if (index >= s->config.slots)
        return tw_error_set(error, TW_MALFORMED, "rank %u is out of range: there are %u", index,
                            s->config.slots);
    const struct tw_shard_slot *slot = &s->slot[index];
    if (incarnation < slot->incarnation || step <= slot->settled)
        return TW_STALE;
    if (incarnation > slot->incarnation)
        return tw_error_set(error, TW_UNEXPECTED, "rank %u is held by incarnation %u, not %u",
                            index, slot->incarnation, incarnation);
    if (step < slot->step)
        return TW_STALE;
    if (step > slot->step)
        return tw_error_set(error, TW_UNEXPECTED,
                            "rank %u pushes step %llu, but its weights are for step %llu", index,
                            (unsigned long long)step, (unsigned long long)slot->step);
    return TW_OK;
}

/* In which this chunk's gradients come. */
static uint32_t push_encoding(const struct tw_shard *s, uint32_t chunk) {
    const struct tw_tensor_list *list = s->config.layout->list;
    return tw_tensor_push_encoding(&list->tensors[tw_shard_chunk(s, chunk)->tensor],
                                   s->config.push);
}

/* Its weights have not all left, and so cannot be answered. */
static bool is_early(const struct tw_shard *s, uint32_t slot) {
    return s->config.on_arrival && s->slot[slot].release;
}

enum tw_status tw_shard_place(struct tw_shard *s, const struct tw_push *push, size_t data_bytes,
                              void **place, struct tw_error *error) {
    *place = NULL;
    if (push->chunk < s->first || push->chunk - s->first >= s->chunks)
        return tw_error_set(error, TW_MALFORMED,
                            "chunk %u is not on this server, which has %u to %u", push->chunk,
                            s->first, s->first + s->chunks - 1);
    uint32_t c = push->chunk - s->first;
    size_t count = tw_shard_chunk(s, c)->count;
    uint32_t encoding = push_encoding(s, c);
    size_t expected = tw_encoding_bytes(encoding, count);
    if (data_bytes != expected)
        return tw_error_set(error, TW_MALFORMED,
                            "chunk %u has %zu bytes as %s, the push brings %zu", push->chunk,
                            expected, tw_encodings[encoding].name, data_bytes);
    enum tw_status status = check_push(s, push->slot, push->incarnation, push->step, error);
    if (status != TW_OK)
        return status == TW_STALE ? TW_OK : status;
    if (is_early(s, push->slot))
        return TW_AGAIN;
    uint32_t open = s->slot[push->slot].open;
    uint8_t *state = tw_shard_bytes_state(s, open, c);
    switch (*state) {
    case TW_BYTES_EMPTY:
        *place = s->config.pool ? NULL : tw_shard_push_plane(s, open, c);
        if (s->config.pool)
            status = tw_pool_place(s, open, c, place);
        if (*place) {
            *state = TW_BYTES_RECEIVING;
            *place = tw_encoding_place(encoding, *place, count);
        }
        return status;
    case TW_BYTES_HERE:
    case TW_BYTES_MERGED:
        return TW_OK; /* sent twice: the first one counts, the bytes are the same */
    default:
        return TW_AGAIN;
    }
}

bool tw_shard_has_place(const struct tw_shard *s, const struct tw_push *push) {
    if (check_push(s, push->slot, push->incarnation, push->step, NULL) != TW_OK)
        return true; /* to be thrown away */
    if (is_early(s, push->slot))
        return false;
    uint32_t open = s->slot[push->slot].open, c = push->chunk - s->first;
    switch (s->bytes[(size_t)open * s->chunks + c]) {
    case TW_BYTES_EMPTY:
        return !s->config.pool || tw_pool_has_place(s, open, c);
    case TW_BYTES_HERE:
    case TW_BYTES_MERGED:
        return true;
    default:
        return false;
    }
}

bool tw_shard_freed(struct tw_shard *s) {
    bool freed = s->freed;
    s->freed = false;
    return freed;
}

/* Bytes of a push that is over, or not awaited any more, have come or will not. */
static void forget_bytes(struct tw_shard *s, uint32_t index, uint32_t chunk) {
    *tw_shard_bytes_state(s, index, chunk) = TW_BYTES_EMPTY;
    if (s->config.pool)
        tw_pool_let_go(s, index, chunk);
    s->freed = true;
}

void tw_shard_vote_if_whole(struct tw_shard *s, uint32_t index) {
    struct tw_shard_push *push = &s->push[index];
    if (push->voted || !push->ended || push->whole < s->chunks)
        return;
    push->voted = true;
    if (push->in_votes)
        return;
    push->in_votes = true;
    s->votes[tw_ring_at(s->vote_first, s->vote_count++, s->pushes)] = index;
}

void tw_shard_arrived(struct tw_shard *s, const struct tw_push *frame) {
    uint32_t c = frame->chunk - s->first, open = s->slot[frame->slot].open;
    uint8_t *state = tw_shard_bytes_state(s, open, c);
    if (*state != TW_BYTES_RECEIVING) {
        assert(*state == TW_BYTES_STALE);
        forget_bytes(s, open, c);
        return;
    }
    struct tw_shard_push *push = &s->push[open];
    const struct tw_chunk *chunk = tw_shard_chunk(s, c);
    *state = TW_BYTES_HERE;
    float *gradient = tw_shard_gradient(s, open, c);
    tw_encoding_settle(push_encoding(s, c), gradient, chunk->count);
    bool finite = tw_all_finite(gradient, chunk->count);
    if (!finite && chunk->tensor < push->bad_tensor)
        push->bad_tensor = chunk->tensor;
    if (s->config.on_arrival) {
        tw_arrival_take(s, open, c, finite);
        return;
    }
    push->whole++;
    if (s->config.pool)
        tw_pool_arrived(s, open, c);
    else if (s->members_known)
        tw_shard_count_here(s, c);
    tw_shard_vote_if_whole(s, open);
}

void tw_shard_aborted(struct tw_shard *s, const struct tw_push *push) {
    uint32_t open = s->slot[push->slot].open;
    uint8_t *state = tw_shard_bytes_state(s, open, push->chunk - s->first);
    assert(*state == TW_BYTES_RECEIVING || *state == TW_BYTES_STALE);
    forget_bytes(s, open, push->chunk - s->first);
}

enum tw_status tw_shard_end(struct tw_shard *s, const struct tw_end *end, struct tw_error *error) {
    enum tw_status status = check_push(s, end->slot, end->incarnation, end->step, error);
    if (status != TW_OK)
        return status == TW_STALE ? TW_OK : status;
    struct tw_shard_push *push = &s->push[s->slot[end->slot].open];
    if (end->read != push->position)
        return tw_error_set(error, TW_UNEXPECTED,
                            "rank %u, step %llu was computed on the weights of position %llu, but "
                            "it was given those of %llu",
                            end->slot, (unsigned long long)end->step, (unsigned long long)end->read,
                            (unsigned long long)push->position);
    if (is_early(s, end->slot))
        return tw_error_set(error, TW_UNEXPECTED,
                            "rank %u, step %llu ends before all of its weights have left",
                            end->slot, (unsigned long long)end->step);
    if (end->frames != s->chunks)
        return tw_error_set(error, TW_MALFORMED,
                            "rank %u, step %llu ends after %u chunks; this server has %u",
                            end->slot, (unsigned long long)end->step, end->frames, s->chunks);
    if (end->examples < 1 || end->examples > (uint64_t)TW_ELEMENTS_MAX)
        return tw_error_set(error, TW_MALFORMED, "rank %u, step %llu: %llu examples", end->slot,
                            (unsigned long long)end->step, (unsigned long long)end->examples);
    if (end->correct > end->examples + 1)
        return tw_error_set(
            error, TW_MALFORMED, "rank %u, step %llu: %llu of %llu examples are said to be right",
            end->slot, (unsigned long long)end->step, (unsigned long long)end->correct - 1,
            (unsigned long long)end->examples);
    if (s->config.on_arrival && end->examples != tw_shard_share(s, end->slot))
        return tw_error_set(
            error, TW_UNEXPECTED,
            "rank %u, step %llu is of %llu examples; in this mode a chunk is applied "
            "before its push ends, so a push must be of the slot's part of the "
            "job's batch, %llu",
            end->slot, (unsigned long long)end->step, (unsigned long long)end->examples,
            (unsigned long long)tw_shard_share(s, end->slot));
    if (push->ended || push->again)
        return TW_OK;
    push->ended = true;
    push->examples = end->examples;
    push->correct = end->correct;
    push->loss = end->loss;
    tw_shard_vote_if_whole(s, s->slot[end->slot].open);
    return TW_OK;
}

bool tw_shard_wants_again(struct tw_shard *s, uint32_t slot) {
    struct tw_shard_push *push = &s->push[s->slot[slot].open];
    bool again = push->again;
    push->again = false;
    return again;
}

uint64_t tw_shard_version(const struct tw_shard *s) {
    return s->version;
}

bool tw_shard_is_pooled(const struct tw_shard *s) {
    return s->config.pool > 0;
}

uint32_t tw_shard_ahead(const struct tw_shard *s) {
    return s->config.ahead;
}

bool tw_shard_is_permitted(const struct tw_shard *s, uint32_t slot) {
    return s->config.pool && !s->members_known && s->turn[slot] != UINT32_MAX;
}

uint32_t tw_shard_look_for_push(const struct tw_shard *s, uint32_t slot, uint64_t step) {
    uint32_t open = s->slot[slot].open;
    if (s->push[open].step == step)
        return open;
    for (uint32_t i = 0; i < s->pushes; i++)
        if (s->push[i].used && s->push[i].slot == slot && s->push[i].step == step)
            return i;
    return UINT32_MAX;
}

uint32_t tw_shard_find_push(const struct tw_shard *s, const struct tw_contribution *contribution) {
    uint32_t push = tw_shard_look_for_push(s, contribution->slot, contribution->step);
    assert(push != UINT32_MAX); /* the log names only what is here */
    return push;
}

/* ---- work ---- */

static bool give_vote(struct tw_shard *s, struct tw_shard_effect *effect) {
    while (s->vote_count) {
        uint32_t index = s->votes[s->vote_first];
        struct tw_shard_push *push = &s->push[index];
        s->vote_first = tw_ring_next(s->vote_first, s->pushes);
        s->vote_count--;
        push->in_votes = false;
        if (!push->voted)
            continue; /* withdrawn by a JOIN or REGATHER in between */
        bool loss_finite = isfinite(push->loss);
        effect->kind = TW_SHARD_READY;
        effect->ready = (struct tw_ready){
            .shard = s->config.index,
            .slot = push->slot,
            .incarnation = s->slot[push->slot].incarnation,
            .step = push->step,
            .read = push->position,
            .examples = push->examples,
            .correct = push->correct,
            .chunks = push->chunks.chunks,
            .ages = push->chunks.sum,
            .oldest = push->chunks.most,
            .regather = s->regather,
            .loss = push->loss,
            .finite = push->bad_tensor == UINT32_MAX && loss_finite,
            .bad_tensor = push->bad_tensor == UINT32_MAX ? TW_TENSORS_MAX : push->bad_tensor};
        return true;
    }
    return false;
}

void tw_shard_prepare(struct tw_shard *s, const struct tw_prepare *prepare) {
    assert(!s->preparing);
    s->preparing = true;
    s->prepare_version = prepare->version;
    tw_shard_begin_steps(s, prepare);
    if (tw_shard_knows(s))
        return;
    s->contributors = prepare->count;
    for (uint32_t i = 0; i < prepare->count; i++)
        s->contributor[i] = tw_shard_find_push(s, &prepare->contributions[i]);
    tw_shard_weigh(s, prepare->contributions, prepare->count);
    tw_shard_clear_sums(s);
    for (uint32_t c = 0; c < s->chunks; c++) {
        s->here[c] = prepare->count - 1;
        tw_shard_count_here(s, c);
    }
}

static enum tw_shard_work answer_prepare(struct tw_shard *s, struct tw_shard_effect *effect) {
    s->preparing = false;
    effect->kind = TW_SHARD_SUMS;
    effect->sums = (struct tw_sums){.shard = s->config.index,
                                    .version = s->prepare_version,
                                    .finite = s->sum_finite,
                                    .squares = s->squares};
    return TW_SHARD_EFFECT;
}

/* One who has begun to push without a permit, and still wants one. */
static bool give_want(struct tw_shard *s, struct tw_shard_effect *effect) {
    while (s->want_count) {
        uint32_t index = s->wanted[s->want_first];
        s->want_first = tw_ring_next(s->want_first, s->config.slots);
        s->want_count--;
        s->in_wanted[index] = false;
        if (!s->wants[index])
            continue; /* withdrawn in between */
        *effect = (struct tw_shard_effect){.kind = TW_SHARD_WANT,
                                           .want = {.slot = index,
                                                    .incarnation = s->slot[index].incarnation,
                                                    .step = s->slot[index].step}};
        return true;
    }
    return false;
}

enum tw_shard_work tw_shard_next(struct tw_shard *s, struct tw_shard_effect *effect) {
    if (give_vote(s, effect) || give_want(s, effect))
        return TW_SHARD_EFFECT;
    /* What the log says comes first: so at most one COMMIT waits to be swept, and
     * the planes of its pushes are free again before those of the next are summed. */
    enum tw_shard_work work = tw_shard_sweep_next(s, effect);
    if (work != TW_SHARD_IDLE)
        return work;
    if (s->arrivals)
        return tw_arrival_next(s);
    bool reduces = s->reduce_count > 0;
    if (reduces)
        tw_shard_reduce_next(s);
    bool is_summed = s->preparing && s->reduced >= s->chunks;
    if (is_summed && tw_shard_has_steps(s))
        return answer_prepare(s, effect);
    if (reduces)
        return TW_SHARD_WORKED;
    return is_summed ? tw_shard_step_next(s, effect) : TW_SHARD_IDLE;
}
