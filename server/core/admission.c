/* Permits: whose pushes make the next update, where shards have no memory for everybody's.
 *
 *   reading -WANT-> wants -PERMIT-> permitted -all voted-> waiting -COMMIT, DROP-> idle
 *      ^                                |                     |
 *      '------------- taken back -------+---------------------'
 */
#include <assert.h>

#include "server/core/sequencer_state.h"

static bool permits(const struct tw_sequencer *s) {
    return s->config.admission && !s->config.dial.members_known;
}

void tw_sequencer_on_want(struct tw_sequencer *s, const struct tw_want *want) {
    if (!permits(s) || want->slot >= s->config.workers)
        return;
    struct tw_slot_state *slot = &s->slot[want->slot];
    if (!slot->reading || slot->permitted || want->step != slot->begun ||
        want->incarnation != s->member[want->slot].incarnation)
        return;
    slot->wants = true;
    if (slot->listed)
        return; /* from a step that was cancelled: it keeps its place */
    slot->listed = true;
    s->want[s->wants++] = want->slot;
}

/* Where staleness is imposed it is known whose push makes the next update. */
static bool may_be_next(const struct tw_sequencer *s, uint32_t slot) {
    return !s->config.dial.imposed || slot == s->next_slot;
}

static bool is_waiting(const struct tw_sequencer *s, uint32_t slot) {
    return s->slot[slot].wants && s->slot[slot].reading &&
           s->member[slot].state == TW_MEMBER_HERE && may_be_next(s, slot);
}

/* Where late gradients are not used they need not be received. */
static void drop_late(struct tw_sequencer *s) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->wants; i++) {
        struct tw_slot_state *slot = &s->slot[s->want[i]];
        if (slot->wants && slot->reading &&
            (tw_sequencer_is_late(s, &slot->read) || tw_sequencer_is_stale(s, &slot->read)))
            s->prepared[count++] = slot->read;
    }
    if (!count)
        return;
    tw_sequencer_sort(s->prepared, count);
    tw_sequencer_drop(s, s->prepared, count, false);
    for (uint32_t i = 0; i < count; i++)
        tw_sequencer_owe_release(s, s->prepared[i].slot, true);
    tw_sequencer_release_due(s);
}

/* The first `count` that wait leave the list, and with them those that want nothing any more. */
static void take_first(struct tw_sequencer *s, uint32_t count) {
    uint32_t kept = 0, taken = 0;
    for (uint32_t i = 0; i < s->wants; i++) {
        struct tw_slot_state *slot = &s->slot[s->want[i]];
        bool take = taken < count && is_waiting(s, s->want[i]);
        if (take) {
            s->prepared[taken++] = slot->read;
            slot->permitted = true;
        }
        slot->wants = slot->wants && slot->reading && !take;
        slot->listed = slot->wants;
        if (slot->listed)
            s->want[kept++] = s->want[i];
    }
    s->wants = kept;
    s->permitted = taken;
}

void tw_sequencer_permit(struct tw_sequencer *s) {
    uint32_t waiting = 0, gather = tw_sequencer_gather(s);
    if (!permits(s) || s->permitted)
        return;
    assert(!s->preparing);
    drop_late(s);
    for (uint32_t i = 0; i < s->wants; i++)
        waiting += is_waiting(s, s->want[i]);
    if (waiting < gather)
        return;
    take_first(s, gather);
    tw_sequencer_sort(s->prepared, gather);
    struct tw_contribution *contribution = tw_sequencer_take(s, gather);
    for (uint32_t i = 0; i < gather; i++)
        contribution[i] =
            (struct tw_contribution){.slot = s->prepared[i].slot,
                                     .step = s->prepared[i].step,
                                     .read = s->prepared[i].read_position,
                                     .staleness = s->version - s->prepared[i].read_version};
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_PERMIT);
    record->count = gather;
    record->contributions = contribution;
}

void tw_sequencer_spend_permits(struct tw_sequencer *s) {
    for (uint32_t i = 0; s->permitted && i < s->config.workers; i++)
        s->slot[i].permitted = false;
    s->permitted = 0;
}

void tw_sequencer_take_back(struct tw_sequencer *s, uint32_t index) {
    if (!s->slot[index].permitted)
        return;
    assert(!s->preparing);
    s->regather = tw_sequencer_log(s, TW_RECORD_PERMIT)->position;
    s->ready_count = 0;
    for (uint32_t i = 0; i < s->config.workers; i++)
        if (s->slot[i].permitted)
            tw_sequencer_await_again(&s->slot[i]);
    tw_sequencer_spend_permits(s);
}
