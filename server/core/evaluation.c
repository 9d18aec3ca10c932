/* Borders of epochs, the evaluator, and the end of a run.
 *
 * The evaluator has no rank and no slot. It asks; at the next border its ask is
 * answered by a RELEASE right after the COMMIT that crossed it. When a border
 * comes and the evaluator is still busy with the one before, training holds:
 * nothing is committed or released until it has asked again. After the last
 * update the run waits for the last evaluation in the same way.
 *
 * Where the learning rate (reduce_on_plateau) or the end (stop) goes by a loss, each border has a
 * verdict: at once by the loss of training; by that of the test data when it has come, and until
 * then training holds. Without data there are no borders: each update has one.
 */
#include <assert.h>

#include "server/core/sequencer_state.h"

static void finish_if_done(struct tw_sequencer *s) {
    if (!s->ending || s->finished)
        return;
    bool wait = s->evaluator && (s->due || s->evaluating) && s->end_status == TW_OK;
    if (wait)
        return;
    s->finished = true;
    tw_sequencer_emit(s, TW_SEQ_FINISHED)->finished.status = s->end_status;
}

/* Whether verdicts of this kind go by that loss now. */
static bool is_judged_by(const struct tw_sequencer *s, int on, enum tw_watch which) {
    return !s->ending && tw_judge_watches(&s->judge[on], which) &&
           (on != TW_VERDICT_RATE ||
            tw_pace_has_begun(&s->config.pace, s->version, s->total.examples));
}

static void decide(struct tw_sequencer *s, enum tw_watch which, double loss) {
    for (int on = 0; on < TW_VERDICTS; on++) {
        if (!is_judged_by(s, on, which))
            continue;
        tw_verdict_see(&s->verdict[on], &s->judge[on], loss);
        tw_sequencer_log(s, TW_RECORD_VERDICT)->verdict = s->verdict[on];
    }
    s->config.pace.rate.options.reductions = s->verdict[TW_VERDICT_RATE].reductions;
}

bool tw_sequencer_ends_epoch(const struct tw_sequencer *s, uint64_t samples_before) {
    uint64_t n = s->config.samples;
    return n && s->total.examples / n > samples_before / n;
}

void tw_sequencer_judge(struct tw_sequencer *s, bool ends_epoch, double loss, double norm) {
    struct tw_verdict *end = &s->verdict[TW_VERDICT_END];
    if (tw_sequencer_at_end(s))
        return;
    if (ends_epoch)
        decide(s, TW_WATCH_TRAIN, s->stretch.loss / (double)s->stretch.examples);
    else if (!s->config.samples)
        decide(s, TW_WATCH_TRAIN, loss);
    if (end->stop == TW_STOP_NOT && tw_verdict_see_gradient(end, &s->judge[TW_VERDICT_END], norm))
        tw_sequencer_log(s, TW_RECORD_VERDICT)->verdict = *end;
}

/* Gives the evaluator the weights of this position if one is due and it asks. */
static void answer(struct tw_sequencer *s) {
    if (!s->due || !s->asking)
        return;
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_RELEASE);
    record->slot = TW_SLOT_EVALUATOR;
    record->step = ++s->evaluations;
    s->due = s->asking = false;
    s->evaluating = true;
    s->evaluating_version = s->version;
    s->judging = s->verdict_due;
    s->verdict_due = false;
}

static void stop_holding(struct tw_sequencer *s) {
    if (!s->holding || s->due || s->judging)
        return;
    s->holding = false;
    tw_sequencer_release_due(s);
}

static void border(struct tw_sequencer *s) {
    bool wanted = s->evaluator && (!s->asking || s->ending || s->ask_samples <= s->total.examples);
    s->due = wanted;
    struct tw_sequencer_effect *effect = tw_sequencer_emit(s, TW_SEQ_BORDER);
    effect->border.samples = s->total.examples;
    effect->border.version = s->version;
    effect->border.stretch = s->stretch;
    effect->border.rate = s->rate;
    effect->border.evaluated = wanted;
    s->verdict_due = wanted && (is_judged_by(s, TW_VERDICT_RATE, TW_WATCH_TEST) ||
                                is_judged_by(s, TW_VERDICT_END, TW_WATCH_TEST));
    s->stretch = (struct tw_stretch){0};
    answer(s);
    s->holding = (s->due || s->judging) && !s->ending;
}

/* Whether the run has what it was to have, or enough. */
bool tw_sequencer_at_end(const struct tw_sequencer *s) {
    const struct tw_sequencer_config *config = &s->config;
    return s->verdict[TW_VERDICT_END].stop != TW_STOP_NOT ||
           (config->end_samples && s->total.examples >= config->end_samples) ||
           (config->end_updates && s->version >= config->end_updates);
}

static void begin_end(struct tw_sequencer *s, enum tw_status status) {
    bool begins = !s->ending;
    s->ending = true;
    s->end_status = status;
    if (begins && s->config.dial.on_arrival)
        tw_sequencer_drop_all(s); /* the weights stay as they are */
}

void tw_sequencer_after_commit(struct tw_sequencer *s, bool ends_epoch) {
    bool end = tw_sequencer_at_end(s);
    if (end)
        begin_end(s, TW_OK);
    if (end || ends_epoch)
        border(s);
    finish_if_done(s);
}

/* Who had asked, or had weights, is gone, and another is there. What training waits for, or the end
 * of the run, is evaluated once more: the version is still the same, since nothing is committed
 * meanwhile. Any other, and one beside which newer weights are due, is given up. */
static void replace_evaluator(struct tw_sequencer *s) {
    s->asking = false;
    if (!s->evaluating)
        return;
    s->evaluating = false;
    if (!s->due && (s->judging || s->ending)) {
        assert(s->version == s->evaluating_version);
        s->due = true;
        s->verdict_due = s->judging;
        s->judging = false;
        return;
    }
    assert(!s->judging); /* so nothing has waited for it */
    tw_sequencer_emit(s, TW_SEQ_GIVEN_UP)->given_up = s->evaluating_version;
}

void tw_sequencer_on_evaluator(struct tw_sequencer *s, bool present) {
    bool waited = s->judging || s->verdict_due;
    if (present && s->evaluator) {
        replace_evaluator(s);
        return;
    }
    s->evaluator = present;
    if (!present)
        s->asking = s->evaluating = s->due = s->judging = s->verdict_due = false;
    if (waited && !present)
        tw_sequencer_checkpoint_after_verdict(s);
    tw_sequencer_maybe_start(s);
    stop_holding(s);
    finish_if_done(s);
}

void tw_sequencer_on_ask(struct tw_sequencer *s, uint64_t samples) {
    if (!s->evaluator || s->asking || s->evaluating)
        return;
    s->asking = true;
    s->ask_samples = samples;
    answer(s);
    stop_holding(s);
    finish_if_done(s);
}

void tw_sequencer_on_evaluated(struct tw_sequencer *s, double loss) {
    bool decides = s->judging && !s->ending;
    s->evaluating = s->judging = false;
    if (decides) {
        decide(s, TW_WATCH_TEST, loss);
        /* These weights were evaluated, unless chunks have come meanwhile: then once more. */
        s->due = s->due || (tw_sequencer_at_end(s) && s->config.dial.on_arrival);
        if (tw_sequencer_at_end(s))
            tw_sequencer_end(s, TW_OK);
        tw_sequencer_checkpoint_after_verdict(s);
    }
    stop_holding(s);
    finish_if_done(s);
}

void tw_sequencer_end(struct tw_sequencer *s, enum tw_status status) {
    if (s->finished)
        return;
    begin_end(s, status);
    s->holding = false;
    finish_if_done(s);
}
