/* CHECKPOINT: the point of the log at which everything is saved; ROLLBACK: the run goes on from
 * there.
 *
 * A CHECKPOINT may stand anywhere between two updates. What is saved is what was committed: the
 * snapshot knows no reads and no pushes, and the same holds after a ROLLBACK, where all ranks are
 * vacant, clocks are level, and each slot goes on with the step after the last that was settled. In
 * `sync` right after a COMMIT nothing else was there, so the gradients to come are the very same.
 *
 * Where chunks are applied as they come, what is saved has parts of pushes in it, too, and these
 * steps are over: each slot goes on with the step after the last that it was released.
 *
 * Where an evaluation decides on the learning rate (reduce_on_plateau) or on the end (stop), a
 * CHECKPOINT that falls on the end of its epoch waits for that verdict, as training does: nobody
 * would evaluate once more.
 *
 * One is saved at a time: the next CHECKPOINT waits, with the COMMIT that it comes with, until the
 * shell says that the last one is safe (SAVED).
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "server/core/sequencer_state.h"

static void take_snapshot(struct tw_sequencer *s) {
    struct tw_sequencer_snapshot *to = &s->snapshot;
    to->position = s->position;
    to->version = s->version;
    snprintf(to->mode, sizeof(to->mode), "%s", s->config.dial.word);
    to->turns = s->turns;
    to->evaluations = s->evaluations;
    to->not_finite = s->not_finite_in_a_row;
    to->rate = s->rate;
    memcpy(to->verdict, s->verdict, sizeof(to->verdict));
    to->total = s->total;
    to->stretch = s->stretch;
    for (uint32_t i = 0; i < s->config.workers; i++)
        to->step[i] = s->config.dial.on_arrival ? s->slot[i].released : s->slot[i].settled;
}

void tw_sequencer_snapshot_copy(struct tw_sequencer_snapshot *to,
                                const struct tw_sequencer_snapshot *from) {
    uint64_t *step = to->step;
    memcpy(step, from->step, from->workers * sizeof(*step));
    *to = *from;
    to->step = step;
}

static bool may_stand(const struct tw_sequencer *s) {
    return !s->saving && !s->ending && !s->judging && !s->verdict_due;
}

static void checkpoint(struct tw_sequencer *s) {
    tw_sequencer_log(s, TW_RECORD_CHECKPOINT);
    take_snapshot(s);
    s->saving = true;
    s->checkpoint_due = false;
}

/* After a COMMIT. The last update of a run needs none: what follows is the model. */
void tw_sequencer_checkpoint_if_due(struct tw_sequencer *s) {
    uint64_t every = s->config.checkpoint_every;
    if (every && s->version % every == 0)
        s->checkpoint_due = true;
    if (s->checkpoint_due && may_stand(s))
        checkpoint(s);
}

/* After the verdict, or when none comes any more; training still holds. */
void tw_sequencer_checkpoint_after_verdict(struct tw_sequencer *s) {
    if (s->checkpoint_due && may_stand(s))
        checkpoint(s);
}

/* Before the end that a signal makes: of what came after the last one. */
void tw_sequencer_checkpoint_last(struct tw_sequencer *s) {
    if (s->version > s->snapshot.version && may_stand(s))
        checkpoint(s);
}

/* Nothing has happened yet. */
void tw_sequencer_on_resume(struct tw_sequencer *s, const struct tw_sequencer_resume *resume) {
    const struct tw_sequencer_snapshot *from = resume->from;
    assert(!s->position && from->workers == s->config.workers);
    enum tw_status status = tw_dial_parse(from->mode, (struct tw_where){.file = "checkpoint"},
                                          (int)s->config.workers, &s->config.dial, NULL);
    assert(status == TW_OK);
    (void)status;
    s->position = resume->position;
    s->version = from->version;
    s->turns = from->turns;
    s->evaluations = from->evaluations;
    s->not_finite_in_a_row = from->not_finite;
    s->rate = from->rate;
    memcpy(s->verdict, from->verdict, sizeof(s->verdict));
    s->config.pace.rate.options.reductions = from->verdict[TW_VERDICT_RATE].reductions;
    s->total = from->total;
    s->stretch = from->stretch;
    for (uint32_t i = 0; i < s->config.workers; i++) {
        struct tw_slot_state *slot = &s->slot[i];
        slot->settled = slot->begun = slot->released = from->step[i];
    }
    take_snapshot(s);
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_ROLLBACK);
    record->generation = resume->generation;
    record->to = from->position;
    record->mode = s->snapshot.mode;
    record->ranks = s->config.workers;
    record->steps = s->snapshot.step;
}
