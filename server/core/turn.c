/* Turning the dial while a run goes on: by the job, right after an update, or because
 * somebody asks, at once or right after the update under way.
 *
 * DIAL cancels every push that is not committed and every read, levels the clocks, and each
 * slot gets a RELEASE: what follows depends on nothing before it but the weights. The evaluator's
 * reads are not touched.
 */
#include <assert.h>

#include "server/core/sequencer_state.h"

static void answer(struct tw_sequencer *s, uint64_t ticket, enum tw_status status) {
    struct tw_sequencer_effect *effect = tw_sequencer_emit(s, TW_SEQ_TURNED);
    effect->turned.ticket = ticket;
    effect->turned.status = status;
}

/* `dial` outlives the effects of this step. */
static void turn(struct tw_sequencer *s, const struct tw_dial *dial) {
    assert(!s->preparing);
    tw_sequencer_log(s, TW_RECORD_DIAL)->mode = dial->word;
    s->config.dial = *dial;
    s->next_slot = 0;
    tw_sequencer_spend_permits(s);
    for (uint32_t i = 0; i < s->config.workers; i++) {
        tw_sequencer_cancel_slot(s, i);
        tw_sequencer_owe_release(s, i, true);
    }
    tw_sequencer_level_clocks(s);
}

bool tw_sequencer_turn_if_due(struct tw_sequencer *s) {
    const struct tw_sequencer_config *config = &s->config;
    bool turned = false;
    if (s->ending || tw_sequencer_at_end(s))
        return false;
    for (; s->turns < config->turn_count && config->turns[s->turns].update <= s->version;
         s->turns++) {
        turn(s, &config->turns[s->turns].dial);
        turned = true;
    }
    if (s->turn_asked) {
        s->turn_asked = false;
        turn(s, &s->asked.dial);
        answer(s, s->asked.ticket, TW_OK);
        turned = true;
    }
    return turned;
}

void tw_sequencer_on_turn(struct tw_sequencer *s, const struct tw_sequencer_turn *asked) {
    if (s->ending || s->turn_asked) {
        answer(s, asked->ticket, s->ending ? TW_STOPPED : TW_UNEXPECTED);
        return;
    }
    s->asked = *asked;
    s->turn_asked = true;
    if (s->preparing)
        return;
    tw_sequencer_turn_if_due(s);
    tw_sequencer_release_due(s);
}

/* The run has ended before the update under way was answered. */
void tw_sequencer_refuse_turn(struct tw_sequencer *s) {
    if (!s->turn_asked)
        return;
    s->turn_asked = false;
    answer(s, s->asked.ticket, TW_STOPPED);
}
