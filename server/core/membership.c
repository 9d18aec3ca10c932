/* Ranks: who holds which, in which incarnation, and since when it takes part.
 *
 *   VACANT -join-> JOINED -attached to all shards-> HERE -lost-> GONE
 *                    ^                                             |
 *                    +------ join (resume, or incarnation + 1) ----+
 *
 * One that is GONE may be evicted: it does not take part until it, or another process in its
 * place, joins again.
 */
#include <string.h>

#include "server/core/sequencer_state.h"

static void refuse(struct tw_sequencer *s, const struct tw_sequencer_join *join,
                   enum tw_status status) {
    struct tw_sequencer_effect *effect = tw_sequencer_emit(s, TW_SEQ_REFUSED);
    effect->refused.ticket = join->ticket;
    effect->refused.status = status;
    effect->refused.rank = join->rank;
}

static bool is_free(const struct tw_member *member) {
    return (member->state == TW_MEMBER_VACANT || member->state == TW_MEMBER_GONE) &&
           !member->deferred;
}

/* One that nobody ever held, else one whose holder is gone (it might come back). */
static uint32_t lowest_free_rank(const struct tw_sequencer *s) {
    uint32_t gone = s->config.workers;
    for (uint32_t i = 0; i < s->config.workers; i++) {
        if (!is_free(&s->member[i]))
            continue;
        if (s->member[i].state == TW_MEMBER_VACANT)
            return i;
        gone = i < gone ? i : gone;
    }
    return gone;
}

/* TW_AGAIN: a rank is promised to a join that waits for the update under way. Whoever sent it may
 * be gone by then. */
static enum tw_status none_is_free(const struct tw_sequencer *s) {
    for (uint32_t i = 0; i < s->config.workers; i++)
        if (s->member[i].deferred)
            return TW_AGAIN;
    return TW_NO_FREE_RANK;
}

/* Which rank the join gets; the reason when it gets none. */
static enum tw_status choose_rank(const struct tw_sequencer *s,
                                  const struct tw_sequencer_join *join, uint32_t *rank) {
    if (join->any_rank && !join->incarnation) {
        *rank = lowest_free_rank(s);
        return *rank < s->config.workers ? TW_OK : none_is_free(s);
    }
    if (join->rank >= s->config.workers)
        return TW_LIMIT;
    *rank = join->rank;
    const struct tw_member *member = &s->member[join->rank];
    if (join->incarnation) {
        if (join->incarnation < member->incarnation)
            return TW_FENCED;
        return join->incarnation == member->incarnation ? TW_OK : TW_UNEXPECTED;
    }
    if (is_free(member))
        return TW_OK;
    return member->deferred ? TW_AGAIN : TW_RANK_TAKEN;
}

static enum tw_status check_numerics(struct tw_sequencer *s, const struct tw_sequencer_join *join) {
    if (!s->has_numerics) {
        memcpy(s->numerics, join->numerics, sizeof(s->numerics));
        s->has_numerics = true;
    }
    return s->config.inexact || strcmp(s->numerics, join->numerics) == 0 ? TW_OK : TW_NUMERICS;
}

/* A new process takes the rank: what its predecessor had not committed is gone. (Or one that
 * was evicted is back.) Where gradients are summed as they arrive, the sums may hold bytes of the
 * one before, which cannot be taken out again: everybody sends once more. One REGATHER is enough
 * for all joins of a step. */
static void take_over(struct tw_sequencer *s, const struct tw_sequencer_join *join, uint32_t rank) {
    struct tw_member *member = &s->member[rank];
    member->incarnation += join->incarnation == 0;
    member->resume_read = 0;
    s->live += member->evicted;
    if (member->evicted)
        tw_sequencer_draw_again(s);
    bool returns = member->evicted || member->incarnation > 1;
    member->evicted = member->evict_due = false;
    tw_sequencer_take_back(s, rank);
    tw_sequencer_forget_slot(s, rank);
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_JOIN);
    record->rank = record->slot = rank;
    record->incarnation = member->incarnation;
    memcpy(member->numerics, join->numerics, sizeof(member->numerics));
    record->numerics = member->numerics;
    if (returns && s->config.dial.members_known)
        s->regather_due = true;
}

static void regather_if_due(struct tw_sequencer *s) {
    if (!s->regather_due)
        return;
    s->regather_due = false;
    tw_sequencer_regather(s);
}

static void admit(struct tw_sequencer *s, const struct tw_sequencer_join *join, uint32_t rank) {
    struct tw_member *member = &s->member[rank];
    if (join->incarnation && !member->evicted)
        member->resume_read = join->read;
    else
        take_over(s, join, rank);
    member->state = TW_MEMBER_JOINED;
    member->attached = 0;
    member->attempt++;
    struct tw_sequencer_effect *effect = tw_sequencer_emit(s, TW_SEQ_JOINED);
    effect->joined.ticket = join->ticket;
    effect->joined.rank = rank;
    effect->joined.incarnation = member->incarnation;
    effect->joined.attempt = member->attempt;
    const struct tw_slot_state *slot = &s->slot[rank];
    effect->joined.last_step = slot->begun - (slot->reading || slot->waiting);
}

/* Whether the update under way would be another one with this rank joined or evicted. */
static bool must_wait(const struct tw_sequencer *s, uint32_t rank) {
    return tw_sequencer_in_prepare(s, rank) || (s->preparing && s->config.dial.members_known);
}

static void join_one(struct tw_sequencer *s, const struct tw_sequencer_join *join) {
    uint32_t rank = 0;
    enum tw_status status = s->ending ? TW_STOPPED : choose_rank(s, join, &rank);
    if (status == TW_OK)
        status = check_numerics(s, join);
    if (status != TW_OK) {
        refuse(s, join, status);
        return;
    }
    if (must_wait(s, rank)) {
        if (s->member[rank].deferred) { /* the one before it went away meanwhile */
            refuse(s, &s->member[rank].join, TW_RANK_TAKEN);
        }
        s->member[rank].deferred = s->deferring = true;
        s->member[rank].join = *join;
        s->member[rank].join.rank = rank;
        s->member[rank].join.any_rank = false;
        return;
    }
    admit(s, join, rank);
}

void tw_sequencer_on_join(struct tw_sequencer *s, const struct tw_sequencer_join *join) {
    join_one(s, join);
    regather_if_due(s);
}

/* ---- evicting ---- */

/* Where sums may hold its bytes, or count on them, everybody sends again. */
static void evict(struct tw_sequencer *s, uint32_t rank) {
    struct tw_member *member = &s->member[rank];
    member->evict_due = false;
    if (s->ending || !s->started || member->state != TW_MEMBER_GONE || member->deferred ||
        member->evicted)
        return;
    tw_sequencer_take_back(s, rank);
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_EVICT);
    record->rank = record->slot = rank;
    tw_sequencer_cancel_slot(s, rank);
    member->evicted = true;
    s->live--;
    tw_sequencer_draw_again(s);
    s->regather_due = s->regather_due || s->config.dial.members_known;
    tw_sequencer_find_slowest(s);
}

void tw_sequencer_on_evict(struct tw_sequencer *s, uint32_t rank) {
    if (rank >= s->config.workers)
        return;
    if (must_wait(s, rank)) {
        s->member[rank].evict_due = s->deferring = true;
        return;
    }
    evict(s, rank);
    regather_if_due(s);
    tw_sequencer_release_due(s); /* it holds nobody back any more */
}

void tw_sequencer_run_deferred(struct tw_sequencer *s) {
    if (!s->deferring)
        return;
    s->deferring = false;
    for (uint32_t rank = 0; rank < s->config.workers; rank++) {
        if (s->member[rank].evict_due)
            evict(s, rank);
        if (!s->member[rank].deferred)
            continue;
        s->member[rank].deferred = false;
        join_one(s, &s->member[rank].join);
    }
    regather_if_due(s);
    tw_sequencer_release_due(s);
}

void tw_sequencer_maybe_start(struct tw_sequencer *s) {
    if (s->started || s->here_once < s->config.workers || (s->config.evaluator && !s->evaluator))
        return;
    s->started = true;
    tw_sequencer_emit(s, TW_SEQ_STARTED);
    tw_sequencer_release_due(s);
}

void tw_sequencer_on_attached(struct tw_sequencer *s, uint32_t rank, uint32_t attempt,
                              uint32_t shard) {
    if (rank >= s->config.workers || shard >= s->config.shards)
        return;
    struct tw_member *member = &s->member[rank];
    if (member->state != TW_MEMBER_JOINED || member->attempt != attempt)
        return;
    member->attached |= UINT64_C(1) << shard;
    if (member->attached != UINT64_MAX >> (64 - s->config.shards))
        return;
    member->state = TW_MEMBER_HERE;
    if (!member->was_here) {
        member->was_here = true;
        s->here_once++;
    }
    if (!tw_sequencer_awaits(s, rank, member->resume_read)) {
        if (s->slot[rank].reading)
            tw_sequencer_take_back(s, rank);
        tw_sequencer_cancel_read(s, rank);
        tw_sequencer_release(s, rank);
    }
    tw_sequencer_maybe_start(s);
}

void tw_sequencer_on_lost(struct tw_sequencer *s, uint32_t rank, uint32_t attempt) {
    if (rank >= s->config.workers || s->member[rank].attempt != attempt)
        return;
    if (s->member[rank].state == TW_MEMBER_JOINED || s->member[rank].state == TW_MEMBER_HERE)
        s->member[rank].state = TW_MEMBER_GONE;
    if (s->slot[rank].reading)
        tw_sequencer_take_back(s, rank); /* somebody else may have its place */
}
