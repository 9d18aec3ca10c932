/* Votes become whole pushes, whole pushes an update, and an update a COMMIT. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/tree_sum.h"
#include "server/core/sequencer_state.h"

/* ---- arrays of contributions ---- */

struct tw_contribution *tw_sequencer_take(struct tw_sequencer *s, uint32_t count) {
    if (count > s->contribution_room - s->contributions)
        s->contributions = 0;
    s->contributions += count;
    return s->contribution + s->contributions - count;
}

static struct tw_contribution contribution_of(const struct tw_sequencer *s,
                                              const struct tw_whole *whole) {
    return (struct tw_contribution){
        .slot = whole->slot,
        .step = whole->step,
        .read = whole->read_position,
        .staleness = s->version - whole->read_version,
        .examples = whole->examples,
        .loss = whole->loss,
    };
}

static bool before(const struct tw_whole *a, const struct tw_whole *b) {
    return a->slot != b->slot ? a->slot < b->slot : a->step < b->step;
}

/* Lets whole[at] sink until both whole[2 at + 1] and whole[2 at + 2] come before it. */
static void sink(struct tw_whole *whole, uint32_t at, uint32_t count) {
    struct tw_whole moving = whole[at];
    for (uint32_t below = 2 * at + 1; below < count; below = 2 * at + 1) {
        if (below + 1 < count && before(&whole[below], &whole[below + 1]))
            below++;
        if (!before(&moving, &whole[below]))
            break;
        whole[at] = whole[below];
        at = below;
    }
    whole[at] = moving;
}

/* By slot, then step; no two are equal. A heap: a thousand arrive in any order. */
void tw_sequencer_sort(struct tw_whole *whole, uint32_t count) {
    for (uint32_t i = count / 2; i-- > 0;)
        sink(whole, i, count);
    for (uint32_t left = count; left-- > 1;) {
        struct tw_whole last = whole[left];
        whole[left] = whole[0];
        whole[0] = last;
        sink(whole, 0, left);
    }
}

/* ---- dropping ---- */

static void report_not_finite(struct tw_sequencer *s, const struct tw_whole *whole) {
    struct tw_sequencer_effect *effect = tw_sequencer_emit(s, TW_SEQ_DROPPED);
    effect->dropped.slot = whole->slot;
    effect->dropped.tensor = whole->finite ? TW_TENSORS_MAX + 1 : whole->bad_tensor;
    effect->dropped.step = whole->step;
}

static void count_not_finite(struct tw_sequencer *s) {
    uint32_t most = s->config.goes_on ? TW_NOT_FINITE_ENOUGH : TW_NOT_FINITE_MAX;
    s->total.not_finite++;
    s->stretch.not_finite++;
    if (++s->not_finite_in_a_row >= most)
        tw_sequencer_end(s, TW_NOT_FINITE);
}

/* Logs that these are over without having been applied. Open reads among them are
 * void: their workers are told, and what still comes of their pushes is thrown away. */
const struct tw_contribution *tw_sequencer_drop(struct tw_sequencer *s,
                                                const struct tw_whole *whole, uint32_t count,
                                                bool not_finite) {
    struct tw_contribution *contribution = tw_sequencer_take(s, count);
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_DROP);
    record->not_finite = not_finite;
    record->count = count;
    record->contributions = contribution;
    for (uint32_t i = 0; i < count; i++) {
        struct tw_slot_state *slot = &s->slot[whole[i].slot];
        contribution[i] = contribution_of(s, &whole[i]);
        s->staleness.dropped += contribution[i].staleness;
        s->reads_out--;
        tw_sequencer_settle(s, whole[i].slot, whole[i].step);
        if (slot->reading && slot->begun == whole[i].step) {
            tw_sequencer_tell_cancelled(s, whole[i].slot);
            slot->reading = false;
        }
        if (!whole[i].released)
            slot->waiting = false;
    }
    s->total.dropped += count;
    s->stretch.dropped += count;
    return contribution;
}

static void release_all(struct tw_sequencer *s, const struct tw_contribution *contribution,
                        uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!s->slot[contribution[i].slot].reading)
            tw_sequencer_release(s, contribution[i].slot);
    tw_sequencer_release_due(s); /* a drop moves a clock on: others may begin */
}

/* The update under way is not finite: all of it goes. */
static void drop_prepared(struct tw_sequencer *s) {
    bool named = false;
    for (uint32_t i = 0; i < s->prepared_count; i++)
        if (!s->prepared[i].finite) {
            report_not_finite(s, &s->prepared[i]);
            named = true;
        }
    if (!named)
        report_not_finite(s, &s->prepared[0]);
    uint32_t count = s->prepared_count;
    s->prepared_count = 0;
    tw_sequencer_spend_permits(s);
    const struct tw_contribution *dropped = tw_sequencer_drop(s, s->prepared, count, true);
    count_not_finite(s);
    if (tw_sequencer_turn_if_due(s))
        tw_sequencer_release_due(s);
    else
        release_all(s, dropped, count);
}

/* ---- what an update leaves behind ---- */

bool tw_sequencer_is_late(const struct tw_sequencer *s, const struct tw_whole *whole) {
    return s->config.dial.late == TW_LATE_DROP && whole->read_version < s->version;
}

bool tw_sequencer_is_stale(const struct tw_sequencer *s, const struct tw_whole *whole) {
    return s->version - whole->read_version > s->stalest;
}

/* Whole pushes that would be staler in the next update than corrections allow. Of a slot's pushes
 * the first are the stalest, so steps are settled in their order. */
static void drop_stale(struct tw_sequencer *s) {
    struct tw_whole *stale = s->prepared; /* there is no update under way */
    uint32_t count = 0, kept = 0;
    if (s->stalest == UINT64_MAX)
        return;
    for (uint32_t i = 0; i < s->ready_count; i++) {
        const struct tw_whole *whole = tw_sequencer_ready(s, i);
        if (tw_sequencer_is_stale(s, whole))
            stale[count++] = *whole;
        else if (kept++ != i)
            *tw_sequencer_ready(s, kept - 1) = *whole;
    }
    s->ready_count = kept;
    if (!count)
        return;
    tw_sequencer_sort(stale, count);
    release_all(s, tw_sequencer_drop(s, stale, count, false), count);
}

/* After a COMMIT: whole pushes that came too late for it, and, where the dial says
 * so, the reads that are still out. */
static void leave(struct tw_sequencer *s, bool cancel) {
    struct tw_whole *left = s->prepared; /* the update's own were settled */
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->ready_count; i++)
        left[count++] = *tw_sequencer_ready(s, i);
    s->ready_count = 0;
    if (cancel)
        for (uint32_t i = 0; i < s->config.workers; i++)
            if (s->slot[i].reading)
                left[count++] = s->slot[i].read;
    if (!count)
        return;
    tw_sequencer_sort(left, count);
    tw_sequencer_drop(s, left, count, false);
    for (uint32_t i = 0; i < count; i++)
        tw_sequencer_owe_release(s, left[i].slot, true);
}

static void leave_behind(struct tw_sequencer *s) {
    if (s->config.dial.late != TW_LATE_USE)
        leave(s, s->config.dial.late == TW_LATE_CANCEL);
}

void tw_sequencer_drop_all(struct tw_sequencer *s) {
    assert(!s->preparing && !s->prepared_count);
    leave(s, true);
}

/* ---- votes ---- */

/* Counts whole pushes into the update to come: their slots go on at once, all but
 * the one that completes it. */
static void accept(struct tw_sequencer *s) {
    if (s->config.dial.release != TW_RELEASE_AT_ACCEPTANCE || s->preparing || !s->started)
        return;
    for (uint32_t i = 0; i < s->ready_count && i + 1 < s->config.dial.gather; i++) {
        struct tw_whole *whole = tw_sequencer_ready(s, i);
        if (whole->released)
            continue;
        whole->released = true;
        s->slot[whole->slot].waiting = false;
        tw_sequencer_release(s, whole->slot);
    }
}

static void on_whole(struct tw_sequencer *s, const struct tw_whole *whole) {
    struct tw_slot_state *slot = &s->slot[whole->slot];
    slot->reading = false;
    slot->waiting = true;
    if (tw_sequencer_is_late(s, whole)) {
        release_all(s, tw_sequencer_drop(s, whole, 1, false), 1);
        return;
    }
    /* Behind an accepted push of its slot it waits in the queue: steps are settled in order. */
    if (!whole->finite && !tw_sequencer_knows(s) && whole->step == slot->settled + 1) {
        report_not_finite(s, whole);
        const struct tw_contribution *dropped = tw_sequencer_drop(s, whole, 1, true);
        count_not_finite(s);
        release_all(s, dropped, 1);
        return;
    }
    assert(s->ready_count < s->ready_room);
    *tw_sequencer_ready(s, s->ready_count++) = *whole;
}

void tw_sequencer_on_ready(struct tw_sequencer *s, const struct tw_ready *ready) {
    if (ready->slot >= s->config.workers || ready->shard >= s->config.shards)
        return;
    struct tw_slot_state *slot = &s->slot[ready->slot];
    struct tw_whole *read = &slot->read;
    bool current = slot->reading && s->member[ready->slot].incarnation == ready->incarnation &&
                   ready->step == read->step && ready->read == read->read_position &&
                   ready->regather == s->regather;
    if (s->config.admission && !s->config.dial.members_known && !slot->permitted)
        return; /* it has not begun */
    if (!current || (slot->votes >> ready->shard & 1))
        return;
    if (!slot->votes) {
        read->examples = ready->examples;
        read->correct = ready->correct;
        read->loss = ready->loss;
    }
    if (!ready->finite && read->finite) {
        read->finite = false;
        read->bad_tensor = ready->bad_tensor;
    }
    if (ready->chunks)
        tw_chunk_staleness_add(
            &read->chunks, &(struct tw_chunk_staleness){ready->chunks, ready->ages, ready->oldest});
    slot->votes |= UINT64_C(1) << ready->shard;
    if (slot->votes == UINT64_MAX >> (64 - s->config.shards))
        on_whole(s, read);
}

void tw_sequencer_await_again(struct tw_slot_state *slot) {
    slot->reading = slot->reading || slot->waiting;
    slot->waiting = false;
    slot->votes = 0;
    slot->read.finite = true;
}

/* All shards clear the sums and votes of the update to come; reads stay out. */
void tw_sequencer_regather(struct tw_sequencer *s) {
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_REGATHER);
    record->version = s->version + 1;
    s->regather = record->position;
    s->ready_count = 0;
    for (uint32_t i = 0; i < s->config.workers; i++)
        tw_sequencer_await_again(&s->slot[i]);
}

/* ---- updates ---- */

static void name_prepared(struct tw_sequencer *s, struct tw_contribution *contribution) {
    for (uint32_t i = 0; i < s->prepared_count; i++)
        contribution[i] = contribution_of(s, &s->prepared[i]);
    s->terms.count = s->prepared_count;
    s->terms.contributions = contribution;
}

static bool take(struct tw_sequencer *s) {
    bool finite = true;
    s->prepared_count = tw_sequencer_gather(s);
    for (uint32_t i = 0; i < s->prepared_count; i++) {
        s->prepared[i] = *tw_sequencer_ready(s, i);
        finite = finite && s->prepared[i].finite;
    }
    s->ready_first = tw_ring_at(s->ready_first, s->prepared_count, s->ready_room);
    s->ready_count -= s->prepared_count;
    tw_sequencer_sort(s->prepared, s->prepared_count);
    return finite;
}

/* The update's scalars are decided here: a shard may need them to answer. */
static void prepare(struct tw_sequencer *s) {
    struct tw_prepare *prepare = &s->terms;
    s->preparing = true;
    s->sums = 0;
    s->sums_finite = true;
    if (tw_shaping_needs_norm(&s->config.shaping))
        s->squares = (struct tw_exact_sum){0};
    if (s->tensors)
        memset(s->tensor, 0, s->tensors * sizeof(*s->tensor));
    name_prepared(s, s->named[s->version % 2]);
    prepare->version = s->version + 1;
    prepare->examples = 0;
    for (uint32_t i = 0; i < prepare->count; i++)
        prepare->examples += prepare->contributions[i].examples;
    const struct tw_shaping *shaping = &s->config.shaping;
    s->weighted =
        tw_corrections_examples(&shaping->corrections, prepare->contributions, prepare->count);
    double lateness = tw_shaping_lateness(
        shaping, tw_contributions_freshest(prepare->contributions, prepare->count),
        prepare->examples, s->weighted);
    double *scalars = tw_sequencer_take_scalars(s);
    prepare->rate =
        tw_shaping_prepare(shaping, &s->config.pace, s->config.optimizer, &s->config.options,
                           lateness, s->version, s->total.examples, scalars);
    prepare->scalar_count = (uint32_t)tw_shaping_scalars(shaping);
    prepare->scalars = scalars;
    tw_sequencer_emit(s, TW_SEQ_PREPARE)->prepare = *prepare;
}

static void account(struct tw_stretch *stretch, uint64_t staleness, const struct tw_whole *whole) {
    stretch->contributions++;
    stretch->examples += whole->examples;
    if (whole->correct) {
        stretch->scored += whole->examples;
        stretch->correct += whole->correct - 1;
    }
    if (whole->chunks.chunks)
        tw_chunk_staleness_add(&stretch->chunks, &whole->chunks);
    stretch->staleness_sum += staleness;
    if (staleness > stretch->staleness_max)
        stretch->staleness_max = staleness;
}

static void apply(struct tw_sequencer *s, const struct tw_whole *whole, uint64_t staleness) {
    account(&s->total, staleness, whole);
    account(&s->stretch, staleness, whole);
    s->staleness.applied += staleness;
    s->reads_out--;
    tw_sequencer_settle(s, whole->slot, whole->step);
    if (!whole->released)
        s->slot[whole->slot].waiting = false;
}

/* By the tree that sums the gradients, so that a rank's slots may be added up before. */
static double loss_of(const struct tw_contribution *contribution, uint32_t count) {
    struct tw_tree_sum sum;
    tw_tree_sum_begin(&sum);
    for (uint32_t i = 0; i < count; i++)
        tw_tree_sum_add(&sum, contribution[i].loss);
    return tw_tree_sum_total(&sum);
}

static void commit(struct tw_sequencer *s) {
    const struct tw_contribution *contribution = s->terms.contributions;
    uint32_t count = s->terms.count;
    uint64_t before_examples = s->total.examples;
    bool measured = tw_shaping_needs_norm(&s->config.shaping);
    double squares = measured ? tw_exact_sum_value(&s->squares) : 0;
    s->not_finite_in_a_row = 0;
    s->staleness.outstanding += s->reads_out - count;
    s->version++;
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_COMMIT);
    record->count = count;
    record->contributions = contribution;
    record->rate = s->rate = s->terms.rate;
    record->scalar_count = s->terms.scalar_count;
    record->scalars = s->terms.scalars;
    record->examples = s->terms.examples;
    record->divisor =
        tw_shaping_divisor(&s->config.shaping, record->examples, s->weighted, squares);
    record->ratio_count = s->tensors;
    record->ratios = s->ratio;
    if (s->config.dial.on_arrival)
        record->chunks = s->prepared[0].chunks;
    s->total.updates++;
    s->stretch.updates++;
    for (uint32_t i = 0; i < count; i++)
        apply(s, &s->prepared[i], contribution[i].staleness);
    record->loss = loss_of(contribution, count);
    s->total.loss += record->loss;
    s->stretch.loss += record->loss;
    s->prepared_count = 0;
    if (s->config.dial.imposed)
        tw_sequencer_pass_on(s);
    tw_sequencer_spend_permits(s);
    bool ends_epoch = tw_sequencer_ends_epoch(s, before_examples);
    double norm = measured ? tw_shaping_norm(&s->config.shaping, s->weighted, squares) : 0;
    tw_sequencer_judge(s, ends_epoch, record->loss / (double)record->examples, norm);
    if (!tw_sequencer_turn_if_due(s)) /* a turn leaves nothing */
        leave_behind(s);
    tw_sequencer_after_commit(s, ends_epoch);
    tw_sequencer_checkpoint_if_due(s);
    tw_sequencer_release_contributors(s, contribution, count);
}

/* Shards have applied it as it came. */
static void count_applied(struct tw_sequencer *s) {
    s->squares = (struct tw_exact_sum){0};
    s->weighted = (double)s->prepared[0].examples;
    s->terms =
        (struct tw_prepare){.examples = s->prepared[0].examples, .rate = s->prepared[0].rate};
    name_prepared(s, tw_sequencer_take(s, s->prepared_count));
    commit(s);
}

/* Enough pushes for an update wait, in front; where staleness is imposed, that of whom it is the
 * turn. */
static bool is_complete(struct tw_sequencer *s) {
    uint32_t at = 0;
    if (s->ready_count < tw_sequencer_gather(s))
        return false;
    if (!s->config.dial.imposed)
        return true;
    if (!s->slot[s->next_slot].waiting)
        return false;
    for (; tw_sequencer_ready(s, at)->slot != s->next_slot; at++)
        assert(at + 1 < s->ready_count);
    if (at > 0) {
        struct tw_whole next = *tw_sequencer_ready(s, at);
        *tw_sequencer_ready(s, at) = *tw_sequencer_ready(s, 0);
        *tw_sequencer_ready(s, 0) = next;
    }
    return true;
}

void tw_sequencer_form(struct tw_sequencer *s) {
    while (s->started && !s->preparing && !s->ending && !s->holding) {
        drop_stale(s);
        accept(s);
        if (s->config.dial.imposed && s->member[s->next_slot].evicted)
            tw_sequencer_pass_on(s);
        tw_sequencer_permit(s);
        if (!is_complete(s))
            return;
        if (!take(s)) {
            drop_prepared(s);
            continue;
        }
        if (s->config.dial.on_arrival)
            count_applied(s);
        else
            prepare(s);
    }
}

void tw_sequencer_on_squares(struct tw_sequencer *s, const struct tw_squares *squares) {
    if (!s->preparing || squares->version != s->version + 1 || squares->shard >= s->config.shards ||
        s->sums >> squares->shard & 1 || squares->tensor >= s->tensors)
        return;
    tw_tensor_squares_merge(&s->tensor[squares->tensor], &squares->of);
}

/* False: not all of them are finite numbers. */
static bool find_ratios(struct tw_sequencer *s) {
    bool finite = true;
    for (uint32_t t = 0; t < s->tensors; t++) {
        s->ratio[t] = tw_shaping_ratio(&s->config.shaping, s->config.optimizer, s->terms.scalars, t,
                                       &s->tensor[t]);
        finite = finite && isfinite(s->ratio[t]);
    }
    return finite;
}

void tw_sequencer_on_sums(struct tw_sequencer *s, const struct tw_sums *sums) {
    if (!s->preparing || sums->version != s->version + 1 || sums->shard >= s->config.shards ||
        s->sums >> sums->shard & 1)
        return;
    if (tw_shaping_needs_norm(&s->config.shaping))
        tw_exact_sum_merge(&s->squares, &sums->squares);
    s->sums |= UINT64_C(1) << sums->shard;
    s->sums_finite = s->sums_finite && sums->finite;
    if (s->sums != UINT64_MAX >> (64 - s->config.shards))
        return;
    s->preparing = false;
    if (s->sums_finite && find_ratios(s))
        commit(s);
    else
        drop_prepared(s);
    tw_sequencer_run_deferred(s);
}
