/* What the log says: reducing pushes, and sweeping records over the chunks. */
#include <assert.h>
#include <string.h>

#include "common/base/ring.h"
#include "common/tensor/kernels.h"
#include "server/core/dial.h"
#include "server/core/shard_arrival.h"
#include "server/core/shard_pool.h"

/* ---- reducing ---- */

/* Where an update is made of all that take part, they are its contributors beforehand. */
void tw_shard_know_members(struct tw_shard *s) {
    s->contributors = 0;
    for (uint32_t i = 0; s->members_known && i < s->config.slots; i++)
        if (!s->slot[i].evicted)
            s->contributor[s->contributors++] = s->slot[i].open;
    if (s->config.pool)
        tw_pool_new_sums(s);
}

/* One more contributor has this chunk; when all have, it can be reduced. */
void tw_shard_count_here(struct tw_shard *s, uint32_t chunk) {
    if (++s->here[chunk] < s->contributors || s->queued[chunk])
        return;
    s->queued[chunk] = true;
    s->to_reduce[tw_ring_at(s->reduce_first, s->reduce_count++, s->chunks)] = chunk;
}

/* No chunk is reduced. */
void tw_shard_clear_sums(struct tw_shard *s) {
    s->reduced = 0;
    s->sum_finite = true;
    if (tw_shaping_needs_norm(&s->config.shaping))
        s->squares = (struct tw_exact_sum){0};
}

/* The contributors' bytes of one chunk, summed into the first one's buffer; NULL: not all of them
 * are here, withdrawn since it was queued. */
static const float *sum_all(struct tw_shard *s, uint32_t chunk) {
    if (s->here[chunk] < s->contributors)
        return NULL;
    bool corrected = tw_shard_is_corrected(s);
    for (uint32_t i = 0; i < s->contributors; i++) {
        if (corrected)
            tw_shard_correct(s, i, chunk);
        s->input[i] = tw_shard_gradient(s, s->contributor[i], chunk);
        *tw_shard_bytes_state(s, s->contributor[i], chunk) = TW_BYTES_MERGED;
    }
    s->here[chunk] = 0;
    float *sum = tw_shard_gradient(s, s->contributor[0], chunk);
    if (s->contributors > 1)
        tw_sum_tree(sum, s->input, (int)s->contributors, tw_shard_chunk(s, chunk)->count);
    return sum;
}

void tw_shard_reduce_next(struct tw_shard *s) {
    uint32_t chunk = s->to_reduce[s->reduce_first];
    s->reduce_first = tw_ring_next(s->reduce_first, s->chunks);
    s->reduce_count--;
    s->queued[chunk] = false;
    const float *sum = s->config.pool ? tw_pool_add_next(s, chunk) : sum_all(s, chunk);
    if (!sum)
        return;
    s->reduced++;
    size_t count = tw_shard_chunk(s, chunk)->count;
    /* One alone was looked at as it came; what corrections made of it was not. */
    if (s->contributors > 1 || tw_corrections_have_kernels(&s->config.shaping.corrections))
        s->sum_finite = s->sum_finite && tw_all_finite(sum, count);
    if (tw_shaping_needs_norm(&s->config.shaping) &&
        tw_shaping_trains(&s->config.shaping, tw_shard_chunk(s, chunk)->tensor))
        tw_add_squares(&s->squares, sum, count);
}

/* ---- records ---- */

static void new_push(struct tw_shard_push *push) {
    push->whole = 0;
    push->ended = push->voted = push->again = false;
    push->bad_tensor = UINT32_MAX;
    push->chunks = (struct tw_chunk_staleness){0};
}

static void new_sums(struct tw_shard *s) {
    tw_shard_clear_sums(s);
    s->preparing = false;
    if (s->config.pool)
        tw_shard_know_members(s); /* of a PERMIT there are none any more */
    else
        memset(s->here, 0, s->chunks * sizeof(*s->here));
}

/* Forgets what has come of an uncommitted push. Bytes that were summed
 * already cannot be taken back: `merged` says whether the sums go too. If not, the
 * verdict on them stays as well. */
static void forget_push(struct tw_shard *s, uint32_t index, bool merged, bool stale) {
    struct tw_shard_push *push = &s->push[index];
    uint32_t bad_tensor = push->bad_tensor;
    struct tw_chunk_staleness chunks = push->chunks;
    new_push(push);
    if (!merged)
        push->chunks = chunks;
    for (uint32_t c = 0; c < s->chunks; c++) {
        uint8_t *state = tw_shard_bytes_state(s, index, c);
        if (*state == TW_BYTES_HERE) {
            *state = TW_BYTES_EMPTY;
            if (s->config.pool)
                tw_pool_let_go(s, index, c);
            else if (s->members_known && s->here[c])
                s->here[c]--;
        } else if (*state == TW_BYTES_MERGED && merged) {
            *state = TW_BYTES_EMPTY;
            if (s->config.pool)
                tw_pool_let_go(s, index, c);
        } else if (*state == TW_BYTES_MERGED) {
            push->whole++;
            push->bad_tensor = bad_tensor;
        } else if (*state == TW_BYTES_RECEIVING && stale) {
            *state = TW_BYTES_STALE;
        }
    }
}

static bool is_open(const struct tw_shard *s, uint32_t index) {
    return s->slot[s->push[index].slot].open == index;
}

/* A push that is not its slot's open one gives its plane back. */
static void free_if_held(struct tw_shard *s, uint32_t index) {
    if (!is_open(s, index))
        s->push[index].used = false;
}

static uint32_t take_free_push(struct tw_shard *s) {
    for (uint32_t i = 0; i < s->pushes; i++)
        if (!s->push[i].used)
            return i;
    assert(!"more pushes are accepted than there are planes for");
    return 0;
}

static struct tw_shard_item *add_work(struct tw_shard *s, const struct tw_record *record);

static void settle(struct tw_shard *s, const struct tw_contribution *contribution) {
    uint64_t *settled = &s->slot[contribution->slot].settled;
    *settled = contribution->step > *settled ? contribution->step : *settled;
    tw_arrival_over(s, contribution->slot);
}

/* What of these weights has not left yet does not leave any more. */
static void supersede(struct tw_shard *s, uint32_t *pending) {
    if (*pending) {
        s->work[*pending - 1].superseded = true;
        s->any_superseded = true;
    }
    *pending = 0;
}

/* Weights for a step that is over: whoever holds the slot next must not take them for its own. */
static void withdraw_release(struct tw_shard *s, uint32_t index) {
    uint32_t *pending = &s->slot[index].release;
    if (*pending && s->work[*pending - 1].step <= s->slot[index].settled)
        supersede(s, pending);
}

static void on_commit(struct tw_shard *s, const struct tw_record *record) {
    uint32_t next = UINT32_MAX;
    s->version = record->version;
    for (uint32_t i = record->count; i-- > 0;) {
        uint32_t index = tw_shard_find_push(s, &record->contributions[i]);
        settle(s, &record->contributions[i]);
        s->push[index].next = next;
        next = index;
        new_push(&s->push[index]);
        bool is_swept = !s->config.pool && !s->config.on_arrival;
        memset(tw_shard_bytes_state(s, index, 0), is_swept ? TW_BYTES_COMMITTED : TW_BYTES_EMPTY,
               s->chunks);
    }
    if (s->config.pool)
        tw_pool_commit(s);
    new_sums(s);
    struct tw_shard_item *item = add_work(s, record);
    item->push = s->config.on_arrival ? UINT32_MAX : next;
    item->examples = record->examples;
    item->divisor = record->divisor;
    item->rate = record->rate;
    tw_scalars_take(s->scalars, tw_shaping_scalars(&s->config.shaping), record->scalars,
                    record->scalar_count);
    if (tw_shard_is_layer_wise(s))
        memcpy(s->ratios, record->ratios, record->ratio_count * sizeof *s->ratios);
}

/* Nothing of the update to come is here. Without a pool what is just being received may stay: the
 * same incarnation sends the same bytes. */
static void clear_sums(struct tw_shard *s) {
    for (uint32_t i = 0; i < s->config.slots; i++)
        forget_push(s, s->slot[i].open, true, s->config.pool > 0);
    new_sums(s);
}

static void on_drop(struct tw_shard *s, const struct tw_record *record) {
    bool all = s->members_known;
    for (uint32_t i = 0; i < record->count; i++) {
        uint32_t index = tw_shard_find_push(s, &record->contributions[i]);
        all = all || tw_shard_is_permitted(s, record->contributions[i].slot);
        settle(s, &record->contributions[i]);
        forget_push(s, index, true, true);
        free_if_held(s, index);
        withdraw_release(s, record->contributions[i].slot);
    }
    if (all && s->config.pool)
        clear_sums(s);
    else if (all)
        new_sums(s);
}

static void on_regather(struct tw_shard *s, uint64_t position) {
    s->regather = position;
    clear_sums(s);
}

/* Who contributes to the update to come; or, named by nobody, that those who did do not: they are
 * to send again, when they have a new permit. */
static void on_permit(struct tw_shard *s, const struct tw_record *record) {
    for (uint32_t i = 0; i < s->contributors; i++) {
        s->wants[s->contributor[i]] = false;
        forget_push(s, s->contributor[i], true, true);
    }
    new_sums(s);
    if (!record->count)
        s->regather = record->position;
    for (uint32_t i = 0; i < record->count; i++)
        s->contributor[i] = tw_shard_find_push(s, &record->contributions[i]);
    s->contributors = record->count;
    tw_shard_weigh(s, record->contributions, record->count);
    tw_pool_new_sums(s);
}

static void open_push(struct tw_shard *s, const struct tw_record *record) {
    struct tw_shard_push *push = &s->push[s->slot[record->slot].open];
    if (!push->used)
        new_push(push);
    push->used = true;
    push->slot = record->slot;
    push->step = record->step;
    push->position = record->position;
    push->staleness = 0;
    push->weight = 1;
    if (!s->config.on_arrival)
        return; /* its COMMIT will say with what it is applied */
    push->rate = record->rate;
    tw_scalars_take(tw_shard_push_scalars(s, s->slot[record->slot].open),
                    tw_shaping_scalars(&s->config.shaping), record->scalars, record->scalar_count);
}

/* Nothing of the slot that is not committed is left. */
static void clear_slot(struct tw_shard *s, uint32_t index, bool merged) {
    if (s->config.pool)
        s->wants[index] = false;
    for (uint32_t i = 0; i < s->pushes; i++) {
        bool sweeping = *tw_shard_bytes_state(s, i, s->chunks - 1) == TW_BYTES_COMMITTED;
        if (!s->push[i].used || s->push[i].slot != index || (sweeping && !is_open(s, i)))
            continue;
        forget_push(s, i, merged, true);
        free_if_held(s, i);
    }
}

/* Whatever still comes of the slot's step is over. */
static void cancel_slot(struct tw_shard *s, uint32_t index) {
    clear_slot(s, index, true);
    s->slot[index].settled = s->slot[index].step;
    tw_arrival_over(s, index);
    withdraw_release(s, index);
}

/* A new process holds the slot, or one that was evicted is back. */
static void on_join(struct tw_shard *s, const struct tw_record *record) {
    struct tw_shard_slot *slot = &s->slot[record->slot];
    /* With a pool sums cannot lose one of theirs: a REGATHER follows. */
    if (s->config.pool && s->members_known && (slot->evicted || record->incarnation > 1))
        clear_sums(s);
    slot->incarnation = record->incarnation;
    if (s->config.on_arrival) /* part of its step may be in the weights: it is not done again */
        cancel_slot(s, record->slot);
    else
        clear_slot(s, record->slot, false);
    supersede(s, &slot->release); /* its own are still to come, for the same step */
    slot->step = slot->settled;
    if (slot->evicted) {
        slot->evicted = false;
        if (s->members_known)
            tw_shard_know_members(s);
    }
}

/* Sums that count on its bytes are cleared by the REGATHER that follows. */
static void on_evict(struct tw_shard *s, const struct tw_record *record) {
    if (s->config.pool && s->members_known)
        clear_sums(s);
    cancel_slot(s, record->slot);
    s->slot[record->slot].evicted = true;
    if (s->members_known)
        tw_shard_know_members(s);
}

static void turn_to(struct tw_shard *s, const char *mode) {
    struct tw_dial dial;
    enum tw_status status = tw_dial_parse(mode, (struct tw_where){.file = "order log"},
                                          (int)s->config.slots, &dial, NULL);
    assert(status == TW_OK && tw_dial_ahead(&dial) <= s->config.ahead);
    (void)status;
    for (uint32_t i = 0; i < s->config.slots; i++)
        cancel_slot(s, i);
    new_sums(s);
    s->reduce_count = 0;
    memset(s->queued, 0, s->chunks * sizeof(*s->queued));
    s->members_known = tw_shard_sums_early(s, dial.members_known);
    tw_shard_know_members(s);
}

/* The first record: nothing is here yet but what the arrays are filled with. */
static void on_rollback(struct tw_shard *s, const struct tw_record *record) {
    turn_to(s, record->mode);
    s->version = record->version;
    tw_arrival_start(s, record->version);
    for (uint32_t i = 0; i < s->config.slots; i++)
        s->slot[i].step = s->slot[i].settled = record->steps[i];
}

static void on_checkpoint(struct tw_shard *s, const struct tw_record *record) {
    add_work(s, record);
    s->saving = true;
}

static void on_release(struct tw_shard *s, const struct tw_record *record) {
    uint32_t *pending = &s->evaluator_release;
    if (record->slot != TW_SLOT_EVALUATOR) {
        struct tw_shard_slot *slot = &s->slot[record->slot];
        bool accepted = record->step > slot->step && slot->settled < slot->step;
        if (accepted)
            slot->open = take_free_push(s);
        else
            forget_push(s, slot->open, false, true);
        if (s->config.pool)
            s->wants[record->slot] = false;
        slot->step = record->step;
        open_push(s, record);
        pending = &slot->release;
    }
    supersede(s, pending);
    struct tw_shard_item *item = add_work(s, record);
    item->slot = record->slot;
    item->step = record->step;
    *pending = (uint32_t)(item - s->work) + 1;
}

void tw_shard_record(struct tw_shard *s, const struct tw_record *record) {
    s->freed = true;
    switch (record->kind) {
    case TW_RECORD_JOIN:
        on_join(s, record);
        break;
    case TW_RECORD_RELEASE:
        on_release(s, record);
        break;
    case TW_RECORD_COMMIT:
        on_commit(s, record);
        break;
    case TW_RECORD_DROP:
        on_drop(s, record);
        break;
    case TW_RECORD_REGATHER:
        on_regather(s, record->position);
        break;
    case TW_RECORD_PERMIT:
        on_permit(s, record);
        break;
    case TW_RECORD_DIAL:
        turn_to(s, record->mode);
        break;
    case TW_RECORD_ROLLBACK:
        on_rollback(s, record);
        break;
    case TW_RECORD_CHECKPOINT:
        on_checkpoint(s, record);
        break;
    case TW_RECORD_EVICT:
        on_evict(s, record);
        break;
    case TW_RECORD_VERDICT:
        break; /* rates come with each COMMIT */
    }
}

/* ---- sweeping ---- */

static void note_pending(struct tw_shard *s, const struct tw_shard_item *item, uint32_t value) {
    if (item->kind != TW_RECORD_RELEASE || item->superseded)
        return;
    if (item->slot == TW_SLOT_EVALUATOR)
        s->evaluator_release = value;
    else
        s->slot[item->slot].release = value;
}

/* Takes the first `swept` items out, and those that are superseded and not being
 * swept; the rest moves down. */
static void squeeze(struct tw_shard *s, uint32_t swept) {
    uint32_t kept = 0;
    s->any_superseded = false;
    for (uint32_t i = 0; i < s->works; i++) {
        struct tw_shard_item *item = &s->work[i];
        bool gone = i < swept || (item->superseded && i >= s->batch);
        note_pending(s, item, gone ? 0 : kept + 1);
        if (gone)
            continue;
        if (kept != i)
            s->work[kept] = *item;
        kept++;
    }
    s->works = kept;
}

static struct tw_shard_item *add_work(struct tw_shard *s, const struct tw_record *record) {
    if (s->works == s->work_room)
        squeeze(s, 0);
    assert(s->works < s->work_room);
    struct tw_shard_item *item = &s->work[s->works++];
    item->kind = record->kind;
    item->superseded = false;
    item->position = record->position;
    item->version = record->version;
    return item;
}

/* The gradients that the COMMIT was made of are not needed any more. */
static void leave_gradients(struct tw_shard *s, const struct tw_shard_item *item, uint32_t chunk) {
    s->freed = true;
    if (s->config.pool) {
        tw_pool_swept(s, chunk);
        return;
    }
    for (uint32_t i = item->push; i != UINT32_MAX; i = s->push[i].next) {
        *tw_shard_bytes_state(s, i, chunk) = TW_BYTES_EMPTY;
        if (chunk + 1 == s->chunks)
            free_if_held(s, i);
    }
}

/* One chunk of the update of a COMMIT. One that was applied as it came is only told. */
static enum tw_shard_work apply(struct tw_shard *s, const struct tw_shard_item *item,
                                uint32_t chunk, struct tw_shard_effect *effect) {
    const struct tw_update_terms terms = {.version = item->version,
                                          .examples = item->examples,
                                          .divisor = item->divisor,
                                          .rate = item->rate,
                                          .scalars = s->scalars,
                                          .ratios = tw_shard_is_layer_wise(s) ? s->ratios : NULL};
    enum tw_shard_work result = TW_SHARD_WORKED;
    if (item->push == UINT32_MAX)
        s->sample = (struct tw_sample){.version = item->version};
    else
        result = tw_shard_update(s, chunk, &terms,
                                 s->config.pool ? tw_pool_sum(s, chunk)
                                                : tw_shard_push_plane(s, item->push, chunk),
                                 effect);
    if (result == TW_SHARD_BLOCKED)
        return result;
    leave_gradients(s, item, chunk);
    s->applied_due = chunk + 1 == s->chunks;
    return result;
}

/* The encoded copy of the weights that are in this buffer; made for the first who gets it. */
static const void *encoded_weights(struct tw_shard *s, uint32_t copy, uint32_t chunk) {
    void *out = tw_shard_encoded(s, copy, chunk);
    bool *is_made = &s->encoded[tw_shard_token(s, copy, chunk)];
    if (!*is_made)
        tw_encodings[s->config.pull].encode(out, tw_shard_buffer(s, copy, chunk),
                                            tw_shard_chunk(s, chunk)->count);
    *is_made = true;
    return out;
}

static void send(struct tw_shard *s, const struct tw_shard_item *item, uint32_t chunk,
                 struct tw_shard_effect *effect) {
    bool averaged = item->slot == TW_SLOT_EVALUATOR && s->config.shaping.scores_average;
    uint32_t copy = s->current[chunk];
    tw_arrival_read(s, item->slot, chunk);
    uint32_t token = averaged ? tw_shard_token_of_average(s, s->averaged[chunk], chunk)
                              : tw_shard_token(s, copy, chunk);
    bool plain = item->slot == TW_SLOT_EVALUATOR || !s->encoded_stride;
    uint32_t encoding = plain ? TW_ENCODING_F32 : s->config.pull;
    s->refs[token]++;
    tw_shard_remember(s, item, chunk);
    effect->kind = TW_SHARD_SEND;
    effect->send = (struct tw_shard_send){
        .slot = item->slot,
        .position = item->position,
        .version = item->version,
        .step = item->step,
        .chunk = s->first + chunk,
        .data = averaged ? tw_shard_average_buffer(s, s->averaged[chunk], chunk)
                : plain  ? tw_shard_buffer(s, copy, chunk)
                         : encoded_weights(s, copy, chunk),
        .bytes = tw_encoding_bytes(encoding, tw_shard_chunk(s, chunk)->count),
        .token = token};
}

/* What is saved of a chunk stays as it is until it is. */
static void save(struct tw_shard *s, const struct tw_shard_item *item, uint32_t chunk,
                 struct tw_shard_effect *effect) {
    if (chunk == 0)
        s->saved = 0;
    s->to_save = chunk + 1;
    *effect = (struct tw_shard_effect){
        .kind = TW_SHARD_SAVE, .save = {.position = item->position, .chunk = s->first + chunk}};
}

/* `sample` is that of the last COMMIT, also when nothing is measured. */
static void tell_applied(struct tw_shard *s, struct tw_shard_effect *effect) {
    effect->kind = TW_SHARD_APPLIED;
    effect->applied.version = s->sample.version;
    effect->applied.sample = tw_sample_measures(&s->sample) ? &s->sample : NULL;
    s->applied_due = false;
}

/* Moves the sweep on by one; false when the batch is done. */
static void advance(struct tw_shard *s) {
    if (++s->item < s->batch)
        return;
    s->item = 0;
    if (++s->chunk < s->chunks)
        return;
    s->chunk = 0;
    uint32_t swept = s->batch;
    s->batch = 0;
    squeeze(s, swept);
    s->freed = true; /* whoever was too early with an answer */
}

enum tw_shard_work tw_shard_sweep_next(struct tw_shard *s, struct tw_shard_effect *effect) {
    if (s->applied_due) { /* behind the squares of its last tensor */
        tell_applied(s, effect);
        return TW_SHARD_EFFECT;
    }
    if (!s->works)
        return TW_SHARD_IDLE;
    if (!s->batch) {
        if (s->any_superseded) /* so that a batch holds one RELEASE per slot at most */
            squeeze(s, 0);
        s->batch = s->works;
        s->item = s->chunk = 0;
    }
    if (!s->batch)
        return TW_SHARD_IDLE;
    const struct tw_shard_item *item = &s->work[s->item];
    enum tw_shard_work result = TW_SHARD_WORKED;
    if (item->kind == TW_RECORD_COMMIT) {
        result = apply(s, item, s->chunk, effect);
        if (result == TW_SHARD_BLOCKED)
            return result;
    } else if (item->kind == TW_RECORD_CHECKPOINT) {
        save(s, item, s->chunk, effect);
        result = TW_SHARD_EFFECT;
    } else if (!item->superseded) {
        send(s, item, s->chunk, effect);
        result = TW_SHARD_EFFECT;
    }
    advance(s);
    if (result == TW_SHARD_WORKED && s->applied_due) {
        tell_applied(s, effect);
        result = TW_SHARD_EFFECT;
    }
    return result;
}
