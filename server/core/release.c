/* Reads: who holds weights of which position, who gets the next ones, and when.
 *
 *   idle -RELEASE-> reading -all voted-> waiting -COMMIT, DROP-> idle
 *                      |                    '-accepted: RELEASE-> reading ...
 *                      '-cancelled-> idle     (by a turn of the dial or an EVICT: all of them)
 */
#include <assert.h>

#include "server/core/sequencer_state.h"

/* ---- clocks ---- */

/* Those that were evicted hold nobody back. With nobody left all stays as it is. */
void tw_sequencer_find_slowest(struct tw_sequencer *s) {
    uint64_t least = UINT64_MAX;
    s->slowest = 0;
    s->look = true;
    for (uint32_t i = 0; i < s->config.workers; i++) {
        if (s->member[i].evicted || s->slot[i].clock > least)
            continue;
        s->slowest = s->slot[i].clock < least ? 1 : s->slowest + 1;
        least = s->slot[i].clock;
    }
    if (least != UINT64_MAX)
        s->clock_min = least;
}

/* All begin again side by side. */
void tw_sequencer_level_clocks(struct tw_sequencer *s) {
    tw_sequencer_find_slowest(s);
    for (uint32_t i = 0; i < s->config.workers; i++)
        s->slot[i].clock = s->clock_min;
    s->slowest = 0;
}

static bool too_far_ahead(const struct tw_sequencer *s, const struct tw_slot_state *slot) {
    int64_t bound = s->config.dial.clock_bound;
    return bound >= 0 && slot->clock - s->clock_min > (uint64_t)bound;
}

/* A step is over: committed, or dropped. */
void tw_sequencer_settle(struct tw_sequencer *s, uint32_t index, uint64_t step) {
    struct tw_slot_state *slot = &s->slot[index];
    assert(step > slot->settled);
    slot->settled = step;
    slot->clock++;
    /* Not at each step of each slot, but when the last of the slowest has gone on. */
    if (s->config.dial.clock_bound >= 0 && slot->clock == s->clock_min + 1 &&
        (s->slowest == 0 || --s->slowest == 0))
        tw_sequencer_find_slowest(s);
}

/* ---- imposed staleness ---- */

void tw_sequencer_pass_on(struct tw_sequencer *s) {
    s->slot[s->next_slot].drawn = false;
    for (uint32_t i = 0; i < s->config.workers; i++) {
        s->next_slot = (s->next_slot + 1) % s->config.workers;
        if (!s->member[s->next_slot].evicted)
            return;
    }
}

void tw_sequencer_draw_again(struct tw_sequencer *s) {
    s->look = true;
    for (uint32_t i = 0; i < s->config.workers; i++)
        s->slot[i].drawn = false;
}

/* As turns stand now: those that were evicted have none. */
static uint64_t update_of(const struct tw_sequencer *s, uint32_t index) {
    uint32_t n = s->config.workers, behind = index < s->next_slot ? n : 0;
    uint32_t between = index + behind - s->next_slot;
    if (s->live < n) {
        between = 0;
        for (uint32_t i = s->next_slot; i != index; i = (i + 1) % n)
            between += !s->member[i].evicted;
    }
    return s->version + 1 + between;
}

/* The version that was drawn is not there yet. */
static bool waits_for_version(struct tw_sequencer *s, const struct tw_slot_state *slot) {
    if (!slot->drawn || s->version >= slot->from)
        return false;
    s->soonest = slot->from < s->soonest ? slot->from : s->soonest;
    return true;
}

/* What is to be older than the first weights, or than the slot's last update, is made of the oldest
 * that it can have. */
static bool too_early(struct tw_sequencer *s, struct tw_slot_state *slot, uint32_t index) {
    const struct tw_dial *dial = &s->config.dial;
    if (!dial->imposed)
        return false;
    if (!slot->drawn) {
        uint64_t update = update_of(s, index);
        uint64_t age = tw_imposed_draw(dial->imposed, dial->imposed_number, s->config.workers,
                                       s->config.seed, update);
        slot->from = age < update ? update - 1 - age : 0;
        slot->drawn = true;
    }
    return waits_for_version(s, slot);
}

/* ---- releasing ---- */

static void set_due(struct tw_sequencer *s, struct tw_slot_state *slot, bool due) {
    s->dues += (uint32_t)due - (uint32_t)slot->release_due;
    slot->release_due = due;
}

void tw_sequencer_owe_release(struct tw_sequencer *s, uint32_t slot, bool due) {
    set_due(s, &s->slot[slot], due);
    s->look = s->look || due;
}

/* What its push will be applied with: that of the update that would be next now. */
static void give_terms(struct tw_sequencer *s, struct tw_slot_state *slot,
                       struct tw_record *record) {
    double *scalars = tw_sequencer_take_scalars(s);
    record->rate = slot->read.rate =
        tw_shaping_prepare(&s->config.shaping, &s->config.pace, s->config.optimizer,
                           &s->config.options, 1, s->version, s->total.examples, scalars);
    record->scalar_count = (uint32_t)tw_shaping_scalars(&s->config.shaping);
    record->scalars = scalars;
}

/* Gives the slot the weights as they are, if it may have them now. A member that is
 * gone gets its RELEASE when it is back. */
void tw_sequencer_release(struct tw_sequencer *s, uint32_t index) {
    struct tw_slot_state *slot = &s->slot[index];
    assert(!slot->reading);
    if (s->ending || slot->waiting || s->member[index].state != TW_MEMBER_HERE)
        return;
    /* What is pushed before all are there would be applied. */
    bool not_all_here = s->config.dial.on_arrival && !s->started;
    set_due(s, slot,
            s->holding || not_all_here || too_far_ahead(s, slot) || too_early(s, slot, index));
    if (slot->release_due)
        return;
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_RELEASE);
    record->slot = index;
    record->step = slot->released = ++slot->begun;
    slot->reading = true;
    slot->wants = false;
    slot->votes = 0;
    slot->read = (struct tw_whole){.slot = index,
                                   .step = slot->begun,
                                   .read_position = record->position,
                                   .read_version = s->version,
                                   .finite = true};
    s->reads_out++;
    if (s->config.dial.on_arrival)
        give_terms(s, slot, record);
}

/* Those that were held back, and may go on now. */
void tw_sequencer_release_due(struct tw_sequencer *s) {
    s->look = false;
    s->soonest = UINT64_MAX;
    for (uint32_t i = 0; i < s->config.workers && s->dues; i++)
        if (s->slot[i].release_due && !s->slot[i].reading && !waits_for_version(s, &s->slot[i]))
            tw_sequencer_release(s, i);
}

/* In the order of slots. Where none of the others can have waited for this there is no need to look
 * at all of them. */
void tw_sequencer_release_contributors(struct tw_sequencer *s,
                                       const struct tw_contribution *contribution, uint32_t count) {
    bool alone = s->dues == 0 || (!s->look && s->version < s->soonest);
    for (uint32_t i = 0; i < count; i++)
        set_due(s, &s->slot[contribution[i].slot], true);
    for (uint32_t i = 0; alone && i < count; i++)
        if (!s->slot[contribution[i].slot].reading)
            tw_sequencer_release(s, contribution[i].slot);
    if (!alone)
        tw_sequencer_release_due(s);
}

/* ---- cancelling ---- */

static void count_dropped(struct tw_sequencer *s, const struct tw_whole *read) {
    s->reads_out--;
    s->staleness.dropped += s->version - read->read_version;
}

/* The open read is over: whoever computes on it may stop. */
void tw_sequencer_tell_cancelled(struct tw_sequencer *s, uint32_t index) {
    struct tw_sequencer_effect *effect = tw_sequencer_emit(s, TW_SEQ_CANCEL);
    effect->cancel.slot = index;
    effect->cancel.step = s->slot[index].begun;
}

/* The open read is void; its step will be released again. */
void tw_sequencer_cancel_read(struct tw_sequencer *s, uint32_t index) {
    struct tw_slot_state *slot = &s->slot[index];
    if (!slot->reading)
        return;
    slot->reading = false;
    slot->begun--;
    count_dropped(s, &slot->read);
}

/* Nothing of the slot that is not committed counts any more. How many pushes and
 * reads that were. */
static uint32_t clear_slot(struct tw_sequencer *s, uint32_t index) {
    struct tw_slot_state *slot = &s->slot[index];
    uint32_t kept = 0, cleared = slot->reading;
    tw_sequencer_cancel_read(s, index);
    for (uint32_t i = 0; i < s->ready_count; i++) {
        struct tw_whole *whole = tw_sequencer_ready(s, i);
        if (whole->slot == index)
            count_dropped(s, whole);
        else
            *tw_sequencer_ready(s, kept++) = *whole;
    }
    cleared += s->ready_count - kept;
    s->ready_count = kept;
    slot->waiting = slot->wants = false;
    tw_sequencer_owe_release(s, index, false);
    return cleared;
}

/* A new process begins where the last one was settled; where part of a push may be in the weights
 * already, behind it. */
void tw_sequencer_forget_slot(struct tw_sequencer *s, uint32_t index) {
    struct tw_slot_state *slot = &s->slot[index];
    if (s->config.dial.on_arrival) {
        tw_sequencer_cancel_slot(s, index);
        return;
    }
    clear_slot(s, index);
    slot->begun = slot->released = slot->settled;
    if (s->config.dial.clock_bound >= 0) {
        slot->clock = s->clock_min;
        tw_sequencer_find_slowest(s);
    }
}

/* The slot goes on with a step that was never released, so that whatever is on its way to or
 * from its worker is over wherever it arrives. */
void tw_sequencer_cancel_slot(struct tw_sequencer *s, uint32_t index) {
    struct tw_slot_state *slot = &s->slot[index];
    if (slot->reading)
        tw_sequencer_tell_cancelled(s, index);
    uint32_t cleared = clear_slot(s, index);
    slot->begun = slot->settled = slot->released;
    slot->drawn = false; /* a turn of the dial may bring another law */
    s->total.dropped += cleared;
    s->stretch.dropped += cleared;
}

/* ---- looking ---- */

/* Whether the push of the read at `position` is awaited, or has come and is not
 * settled: then its worker needs no other weights. */
bool tw_sequencer_awaits(struct tw_sequencer *s, uint32_t index, uint64_t position) {
    const struct tw_slot_state *slot = &s->slot[index];
    if (slot->reading)
        return slot->read.read_position == position;
    return slot->waiting;
}

bool tw_sequencer_in_prepare(const struct tw_sequencer *s, uint32_t slot) {
    if (s->preparing)
        for (uint32_t i = 0; i < s->prepared_count; i++)
            if (s->prepared[i].slot == slot)
                return true;
    return false;
}
