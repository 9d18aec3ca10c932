/* Events, gathering and commits. See sequencer.h for the life of an update. */
#include "server/core/sequencer.h"

#include <assert.h>
#include <string.h>

#include "server/core/sequencer_state.h"

/* A step emits at most a COMMIT, a RELEASE for every slot and the evaluator, a
 * PREPARE, and a handful of notices; a join answers once per rank. */
static size_t effect_room(uint32_t workers) {
    return 4 * (size_t)workers + 16;
}

static size_t aligned(size_t bytes) {
    return (bytes + 15) & ~(size_t)15;
}

size_t tw_sequencer_bytes(const struct tw_sequencer_config *config) {
    uint32_t n = config->workers;
    if (n < 1 || n > TW_WORKERS_MAX || config->shards < 1 || config->shards > TW_SERVERS_MAX)
        return 0;
    return aligned(sizeof(struct tw_sequencer)) + aligned(n * sizeof(struct tw_slot_state)) +
           aligned(n * sizeof(struct tw_member)) + aligned(n * sizeof(uint32_t)) +
           TW_CONTRIBUTION_SIDES * aligned(n * sizeof(struct tw_contribution)) +
           aligned(effect_room(n) * sizeof(struct tw_sequencer_effect));
}

static void *carve(unsigned char **at, size_t bytes) {
    void *piece = *at;
    *at += aligned(bytes);
    return piece;
}

struct tw_sequencer *tw_sequencer_init(void *memory, const struct tw_sequencer_config *config) {
    uint32_t n = config->workers;
    memset(memory, 0, tw_sequencer_bytes(config));
    unsigned char *at = memory;
    struct tw_sequencer *s = carve(&at, sizeof(*s));
    s->config = *config;
    s->slot = carve(&at, n * sizeof(*s->slot));
    s->member = carve(&at, n * sizeof(*s->member));
    s->ready = carve(&at, n * sizeof(*s->ready));
    for (int i = 0; i < TW_CONTRIBUTION_SIDES; i++)
        s->contribution[i] = carve(&at, n * sizeof(*s->contribution[i]));
    s->effect_room = effect_room(n);
    s->effect = carve(&at, s->effect_room * sizeof(*s->effect));
    return s;
}

struct tw_sequencer_effect *tw_sequencer_emit(struct tw_sequencer *s,
                                              enum tw_sequencer_effect_kind kind) {
    assert(s->effects < s->effect_room);
    struct tw_sequencer_effect *effect = &s->effect[s->effects++];
    memset(effect, 0, sizeof(*effect));
    effect->kind = kind;
    return effect;
}

struct tw_record *tw_sequencer_log(struct tw_sequencer *s, enum tw_record_kind kind) {
    struct tw_record *record = &tw_sequencer_emit(s, TW_SEQ_RECORD)->record;
    record->position = ++s->position;
    record->kind = kind;
    record->version = s->version;
    return record;
}

void tw_sequencer_release(struct tw_sequencer *s, uint32_t index) {
    struct tw_slot_state *slot = &s->slot[index];
    assert(!slot->reading);
    if (s->ending || s->member[index].state != TW_MEMBER_HERE)
        return; /* a member that is gone gets its RELEASE when it is back */
    if (s->holding) {
        slot->release_due = true;
        return;
    }
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_RELEASE);
    record->slot = index;
    record->step = slot->settled + 1;
    slot->release_due = false;
    slot->reading = true;
    slot->read_position = record->position;
    slot->read_version = s->version;
    s->reads_out++;
}

static void forget_votes(struct tw_slot_state *slot) {
    slot->votes = 0;
    slot->ready = false;
    slot->in_prepare = false;
    slot->finite = true;
    slot->bad_tensor = 0;
}

static void ready_remove(struct tw_sequencer *s, uint32_t index) {
    uint32_t n = s->config.workers, kept = 0;
    for (uint32_t i = 0; i < s->ready_count; i++) {
        uint32_t slot = s->ready[(s->ready_first + i) % n];
        if (slot != index)
            s->ready[(s->ready_first + kept++) % n] = slot;
    }
    s->ready_count = kept;
}

void tw_sequencer_cancel_read(struct tw_sequencer *s, uint32_t index) {
    struct tw_slot_state *slot = &s->slot[index];
    if (slot->ready)
        ready_remove(s, index);
    forget_votes(slot);
    if (!slot->reading)
        return;
    slot->reading = false;
    s->reads_out--;
    s->staleness.dropped += s->version - slot->read_version;
}

static void next_side(struct tw_sequencer *s) {
    s->side = (s->side + 1) % TW_CONTRIBUTION_SIDES;
    s->contributions = 0;
}

/* All shards clear the sums and votes of the update to come; reads stay out. */
void tw_sequencer_regather(struct tw_sequencer *s) {
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_REGATHER);
    record->version = s->version + 1;
    s->regather = record->position;
    for (uint32_t i = 0; i < s->config.workers; i++)
        forget_votes(&s->slot[i]);
    s->ready_count = 0;
}

/* ---- dropping what is not finite ---- */

static void count_not_finite(struct tw_sequencer *s) {
    if (++s->not_finite_in_a_row >= TW_NOT_FINITE_MAX)
        tw_sequencer_end(s, TW_NOT_FINITE);
}

static void report_dropped(struct tw_sequencer *s, uint32_t index) {
    const struct tw_slot_state *slot = &s->slot[index];
    struct tw_sequencer_effect *effect = tw_sequencer_emit(s, TW_SEQ_DROPPED);
    effect->dropped.slot = index;
    effect->dropped.tensor = slot->finite ? TW_TENSORS_MAX + 1 : slot->bad_tensor;
    effect->dropped.step = slot->settled + 1;
}

/* Forgets the pushes of the current contribution array; their slots go on to the
 * next step on the weights as they are. */
static void drop_contributions(struct tw_sequencer *s) {
    const struct tw_contribution *contribution = s->contribution[s->side];
    bool named = false;
    for (uint32_t i = 0; i < s->contributions; i++)
        if (!s->slot[contribution[i].slot].finite) {
            report_dropped(s, contribution[i].slot);
            named = true;
        }
    if (!named)
        report_dropped(s, contribution[0].slot);
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_DROP);
    record->count = s->contributions;
    record->contributions = contribution;
    for (uint32_t i = 0; i < s->contributions; i++) {
        struct tw_slot_state *slot = &s->slot[contribution[i].slot];
        slot->settled = contribution[i].step;
        slot->ready = false; /* it is no longer in the queue */
        tw_sequencer_cancel_read(s, contribution[i].slot);
    }
    count_not_finite(s);
    for (uint32_t i = 0; i < s->contributions; i++)
        tw_sequencer_release(s, contribution[i].slot);
    next_side(s);
}

/* ---- gathering ---- */

static void take(struct tw_sequencer *s, uint32_t index) {
    struct tw_slot_state *slot = &s->slot[index];
    slot->in_prepare = true;
    s->contribution[s->side][s->contributions++] = (struct tw_contribution){
        .slot = index,
        .step = slot->settled + 1,
        .read = slot->read_position,
        .staleness = s->version - slot->read_version,
        .examples = slot->examples,
        .loss = slot->loss,
    };
}

/* Moves the first `count` ready slots into the contribution array, in slot order. */
static bool take_ready(struct tw_sequencer *s, uint32_t count) {
    uint32_t n = s->config.workers;
    bool finite = true;
    for (uint32_t i = 0; i < count; i++) {
        struct tw_slot_state *slot = &s->slot[s->ready[(s->ready_first + i) % n]];
        slot->in_prepare = true;
        finite = finite && slot->finite;
    }
    s->contributions = 0;
    if (count == 1)
        take(s, s->ready[s->ready_first]);
    else
        for (uint32_t i = 0; i < n; i++)
            if (s->slot[i].in_prepare)
                take(s, i);
    s->ready_first = (s->ready_first + count) % n;
    s->ready_count -= count;
    return finite;
}

void tw_sequencer_form(struct tw_sequencer *s) {
    while (s->started && !s->preparing && !s->ending && !s->holding &&
           s->ready_count >= s->config.dial.gather) {
        if (!take_ready(s, s->config.dial.gather)) {
            drop_contributions(s);
            continue;
        }
        s->preparing = true;
        s->sums = 0;
        s->sums_finite = true;
        struct tw_prepare *prepare = &tw_sequencer_emit(s, TW_SEQ_PREPARE)->prepare;
        prepare->version = s->version + 1;
        prepare->count = s->contributions;
        prepare->contributions = s->contribution[s->side];
    }
}

static void on_ready(struct tw_sequencer *s, const struct tw_ready *ready) {
    if (ready->slot >= s->config.workers || ready->shard >= s->config.shards)
        return;
    struct tw_slot_state *slot = &s->slot[ready->slot];
    bool current = slot->reading && s->member[ready->slot].incarnation == ready->incarnation &&
                   ready->step == slot->settled + 1 && ready->read == slot->read_position &&
                   ready->regather == s->regather;
    if (!current || (slot->votes >> ready->shard & 1))
        return;
    if (!slot->votes) {
        slot->finite = true;
        slot->examples = ready->examples;
        slot->loss = ready->loss;
    }
    if (!ready->finite && slot->finite) {
        slot->finite = false;
        slot->bad_tensor = ready->bad_tensor;
    }
    slot->votes |= UINT64_C(1) << ready->shard;
    uint64_t all = UINT64_MAX >> (64 - s->config.shards);
    if (slot->votes != all)
        return;
    slot->ready = true;
    s->ready[(s->ready_first + s->ready_count++) % s->config.workers] = ready->slot;
}

/* ---- commit ---- */

static void account(struct tw_stretch *stretch, uint64_t staleness, uint64_t examples,
                    double loss) {
    stretch->contributions++;
    stretch->examples += examples;
    stretch->loss += loss;
    stretch->staleness_sum += staleness;
    if (staleness > stretch->staleness_max)
        stretch->staleness_max = staleness;
}

static void settle(struct tw_sequencer *s, const struct tw_contribution *c) {
    struct tw_slot_state *slot = &s->slot[c->slot];
    account(&s->total, c->staleness, c->examples, c->loss);
    account(&s->stretch, c->staleness, c->examples, c->loss);
    s->staleness.applied += c->staleness;
    slot->settled = c->step;
    slot->reading = false;
    s->reads_out--;
    forget_votes(slot);
}

static void commit(struct tw_sequencer *s) {
    const struct tw_contribution *contribution = s->contribution[s->side];
    uint64_t before = s->total.examples;
    double loss = 0;
    s->not_finite_in_a_row = 0;
    s->staleness.outstanding += s->reads_out - s->contributions;
    s->version++;
    struct tw_record *record = tw_sequencer_log(s, TW_RECORD_COMMIT);
    record->count = s->contributions;
    record->contributions = contribution;
    s->config.optimizer->prepare(&s->config.options, s->version, s->config.options.lr,
                                 record->scalars);
    s->total.updates++;
    s->stretch.updates++;
    for (uint32_t i = 0; i < s->contributions; i++) {
        settle(s, &contribution[i]);
        loss += contribution[i].loss;
    }
    record->examples = s->total.examples - before;
    record->loss = loss;
    tw_sequencer_after_commit(s, before);
    for (uint32_t i = 0; i < s->contributions; i++)
        tw_sequencer_release(s, contribution[i].slot);
    next_side(s);
}

static void on_sums(struct tw_sequencer *s, const struct tw_sums *sums) {
    if (!s->preparing || sums->version != s->version + 1 || sums->shard >= s->config.shards)
        return;
    s->sums |= UINT64_C(1) << sums->shard;
    s->sums_finite = s->sums_finite && sums->finite;
    if (s->sums != UINT64_MAX >> (64 - s->config.shards))
        return;
    s->preparing = false;
    if (s->sums_finite)
        commit(s);
    else
        drop_contributions(s);
    tw_sequencer_run_deferred_joins(s);
}

/* ---- step ---- */

static void dispatch(struct tw_sequencer *s, const struct tw_sequencer_event *event) {
    switch (event->kind) {
    case TW_SEQ_JOIN:
        tw_sequencer_on_join(s, &event->join);
        break;
    case TW_SEQ_ATTACHED:
        tw_sequencer_on_attached(s, event->rank, event->attempt, event->shard);
        break;
    case TW_SEQ_LOST:
        tw_sequencer_on_lost(s, event->rank, event->attempt);
        break;
    case TW_SEQ_READY:
        on_ready(s, &event->ready);
        break;
    case TW_SEQ_SUMS:
        on_sums(s, &event->sums);
        break;
    case TW_SEQ_EVALUATOR:
        tw_sequencer_on_evaluator(s, event->present);
        break;
    case TW_SEQ_ASK:
        tw_sequencer_on_ask(s, event->samples);
        break;
    case TW_SEQ_EVALUATED:
        tw_sequencer_on_evaluated(s);
        break;
    case TW_SEQ_STOP:
        tw_sequencer_end(s, TW_INTERRUPTED);
        tw_sequencer_run_deferred_joins(s); /* no SUMS will be heard: they are refused */
        break;
    }
}

#ifdef TALWEG_CHECKS
static void check(const struct tw_sequencer *s) {
    uint64_t reads = 0, in_flight = 0, ready = 0;
    for (uint32_t i = 0; i < s->config.workers; i++) {
        const struct tw_slot_state *slot = &s->slot[i];
        reads += slot->reading;
        in_flight += slot->reading ? s->version - slot->read_version : 0;
        ready += slot->ready && !slot->in_prepare;
        assert(!slot->ready || slot->reading);
        assert(!slot->in_prepare || s->preparing || s->ending);
    }
    assert(reads == s->reads_out);
    assert(ready == s->ready_count);
    assert(s->staleness.applied + s->staleness.dropped + in_flight == s->staleness.outstanding);
}
#endif

size_t tw_sequencer_step(struct tw_sequencer *s, const struct tw_sequencer_event *event,
                         const struct tw_sequencer_effect **effects) {
    s->effects = 0;
    if (!s->finished) {
        dispatch(s, event);
        tw_sequencer_form(s);
    } else if (event->kind == TW_SEQ_JOIN) {
        tw_sequencer_on_join(s, &event->join);
    }
#ifdef TALWEG_CHECKS
    check(s);
#endif
    *effects = s->effect;
    return s->effects;
}

/* ---- looking ---- */

uint64_t tw_sequencer_version(const struct tw_sequencer *s) {
    return s->version;
}
uint64_t tw_sequencer_position(const struct tw_sequencer *s) {
    return s->position;
}
struct tw_stretch tw_sequencer_total(const struct tw_sequencer *s) {
    return s->total;
}
struct tw_stretch tw_sequencer_stretch(const struct tw_sequencer *s) {
    return s->stretch;
}
bool tw_sequencer_holding(const struct tw_sequencer *s) {
    return s->holding || (s->ending && !s->finished);
}

struct tw_staleness tw_sequencer_staleness(const struct tw_sequencer *s) {
    struct tw_staleness staleness = s->staleness;
    for (uint32_t i = 0; i < s->config.workers; i++)
        if (s->slot[i].reading)
            staleness.in_flight += s->version - s->slot[i].read_version;
    return staleness;
}

int tw_sequencer_waiting_for(const struct tw_sequencer *s, bool *joined) {
    if (s->ending || s->holding || s->preparing ||
        (s->started && s->ready_count >= s->config.dial.gather))
        return -1;
    for (uint32_t i = 0; i < s->config.workers; i++)
        if (!s->slot[i].ready && (s->started || !s->member[i].was_here)) {
            *joined = s->member[i].state == TW_MEMBER_HERE;
            return (int)i;
        }
    return -1;
}
