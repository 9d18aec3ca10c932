/* Events, gathering and commits. See sequencer.h for the life of an update. */
#include "server/core/sequencer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/core/sequencer_state.h"

/* A step emits at most a COMMIT, a RELEASE for every slot and the evaluator, a
 * PREPARE, two notices for every slot and a handful of others; a join answers once per rank. */
static size_t effect_room(uint32_t workers) {
    return 6 * (size_t)workers + 16;
}

/* A slot has one push that is open or waits; the others were accepted, and there are
 * fewer of those than a gather, whichever way the dial is turned. */
static uint32_t ready_room(const struct tw_sequencer_config *config) {
    return 2 * config->workers;
}

/* A step settles each push at most once, however many records say so, and permits one gather: 3 *
 * workers; those of a PREPARE, which its COMMIT names again, are kept apart. What is left over at
 * the end of the ring is less than one record's, 2 * workers. So there is room for the steps of one
 * input to a node: one, and seldom another. */
static uint32_t contribution_room(const struct tw_sequencer_config *config) {
    return 14 * config->workers;
}

/* Where chunks are applied as they come, a step has a RELEASE with scalars for each slot at most;
 * and as above there may be two steps. */
static size_t scalar_room(const struct tw_sequencer_config *config) {
    return (2 * (size_t)config->workers + 4) * tw_shaping_scalars(&config->shaping);
}

/* Elsewhere it has one PREPARE, whose scalars its COMMIT names in a later one. */
static size_t scalars_in_turn(const struct tw_sequencer_config *config) {
    return config->dial.on_arrival ? scalar_room(config) : 4 * tw_shaping_scalars(&config->shaping);
}

static size_t aligned(size_t bytes) {
    return (bytes + 15) & ~(size_t)15;
}

/* Those that have ratios. */
static uint32_t ratios(const struct tw_sequencer_config *config) {
    return config->optimizer->ratio ? config->tensors : 0;
}

size_t tw_sequencer_bytes(const struct tw_sequencer_config *config) {
    uint32_t n = config->workers;
    if (n < 1 || n > TW_WORKERS_MAX || config->shards < 1 || config->shards > TW_SERVERS_MAX ||
        config->dial.gather < 1 || config->dial.gather > n)
        return 0;
    uint32_t tensors = ratios(config);
    return aligned(tensors * sizeof(struct tw_tensor_squares)) + aligned(tensors * sizeof(double)) +
           aligned(sizeof(struct tw_sequencer)) + aligned(n * sizeof(struct tw_slot_state)) +
           aligned(n * sizeof(struct tw_member)) + aligned(n * sizeof(uint32_t)) +
           aligned(n * sizeof(uint64_t)) +
           2 * aligned(ready_room(config) * sizeof(struct tw_whole)) +
           aligned(contribution_room(config) * sizeof(struct tw_contribution)) +
           2 * aligned(n * sizeof(struct tw_contribution)) +
           aligned(scalar_room(config) * sizeof(double)) +
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
    s->live = n;
    assert(!config->dial.on_arrival || !config->shaping.corrections.count);
    s->stalest = tw_corrections_limit(&config->shaping.corrections);
    s->judge[TW_VERDICT_RATE] = tw_judge_of_rate(&config->pace);
    s->judge[TW_VERDICT_END] = config->end;
    for (int on = 0; on < TW_VERDICTS; on++)
        s->snapshot.verdict[on] = s->verdict[on] = tw_verdict_start((enum tw_verdict_on)on);
    s->slot = carve(&at, n * sizeof(*s->slot));
    s->member = carve(&at, n * sizeof(*s->member));
    s->want = carve(&at, n * sizeof(*s->want));
    s->snapshot.workers = n;
    snprintf(s->snapshot.mode, sizeof(s->snapshot.mode), "%s", config->dial.word);
    s->snapshot.step = carve(&at, n * sizeof(*s->snapshot.step));
    s->ready_room = ready_room(config);
    s->ready = carve(&at, s->ready_room * sizeof(*s->ready));
    s->prepared = carve(&at, s->ready_room * sizeof(*s->prepared));
    s->contribution_room = contribution_room(config);
    s->contribution = carve(&at, s->contribution_room * sizeof(*s->contribution));
    for (int i = 0; i < 2; i++)
        s->named[i] = carve(&at, n * sizeof(*s->named[i]));
    s->scalar = carve(&at, scalar_room(config) * sizeof(*s->scalar));
    s->effect_room = effect_room(n);
    s->effect = carve(&at, s->effect_room * sizeof(*s->effect));
    s->tensors = ratios(config);
    s->tensor = carve(&at, s->tensors * sizeof(*s->tensor));
    s->ratio = carve(&at, s->tensors * sizeof(*s->ratio));
    return s;
}

struct tw_sequencer_effect *tw_sequencer_emit(struct tw_sequencer *s,
                                              enum tw_sequencer_effect_kind kind) {
    assert(s->effects < s->effect_room);
    struct tw_sequencer_effect *effect = &s->effect[s->effects++];
    effect->kind = kind;
    return effect;
}

struct tw_record *tw_sequencer_log(struct tw_sequencer *s, enum tw_record_kind kind) {
    struct tw_record *record = &tw_sequencer_emit(s, TW_SEQ_RECORD)->record;
    *record = (struct tw_record){.position = ++s->position, .kind = kind, .version = s->version};
    return record;
}

double *tw_sequencer_take_scalars(struct tw_sequencer *s) {
    size_t count = tw_shaping_scalars(&s->config.shaping);
    if (s->scalars + count > scalars_in_turn(&s->config))
        s->scalars = 0;
    s->scalars += count;
    return s->scalar + s->scalars - count;
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
        tw_sequencer_on_ready(s, &event->ready);
        break;
    case TW_SEQ_WANT:
        tw_sequencer_on_want(s, &event->want);
        break;
    case TW_SEQ_SUMS:
        tw_sequencer_on_sums(s, &event->sums);
        break;
    case TW_SEQ_SQUARES:
        tw_sequencer_on_squares(s, &event->squares);
        break;
    case TW_SEQ_EVALUATOR:
        tw_sequencer_on_evaluator(s, event->present);
        break;
    case TW_SEQ_ASK:
        tw_sequencer_on_ask(s, event->samples);
        break;
    case TW_SEQ_EVALUATED:
        tw_sequencer_on_evaluated(s, event->loss);
        break;
    case TW_SEQ_TURN:
        tw_sequencer_on_turn(s, &event->turn);
        break;
    case TW_SEQ_EVICT:
        tw_sequencer_on_evict(s, event->evict);
        break;
    case TW_SEQ_CHECKPOINT:
        s->checkpoint_due = true;
        break;
    case TW_SEQ_SAVED:
        s->saving = false;
        break;
    case TW_SEQ_RESUME:
        tw_sequencer_on_resume(s, &event->resume);
        break;
    case TW_SEQ_STOP:
        if (event->saves)
            tw_sequencer_checkpoint_last(s);
        tw_sequencer_end(s, TW_INTERRUPTED);
        break;
    }
}

/* Reads that are out: open, in the queue, or in the update under way. */
static uint64_t in_flight(const struct tw_sequencer *s, uint64_t *count) {
    uint64_t ages = 0;
    *count = s->ready_count + s->prepared_count;
    for (uint32_t i = 0; i < s->ready_count; i++)
        ages += s->version - s->ready[tw_ring_at(s->ready_first, i, s->ready_room)].read_version;
    for (uint32_t i = 0; i < s->prepared_count; i++)
        ages += s->version - s->prepared[i].read_version;
    for (uint32_t i = 0; i < s->config.workers; i++)
        if (s->slot[i].reading) {
            ages += s->version - s->slot[i].read.read_version;
            ++*count;
        }
    return ages;
}

#ifdef TALWEG_CHECKS
static void check(const struct tw_sequencer *s) {
    uint64_t count, ages = in_flight(s, &count);
    uint32_t dues = 0;
    for (uint32_t i = 0; i < s->config.workers; i++) {
        const struct tw_slot_state *slot = &s->slot[i];
        assert(!slot->reading || !slot->waiting);
        assert(!slot->permitted || slot->reading || slot->waiting);
        assert(!slot->wants || slot->listed);
        assert(slot->begun >= slot->settled && slot->released >= slot->begun);
        assert(s->config.dial.clock_bound < 0 || s->member[i].evicted ||
               slot->clock >= s->clock_min);
        assert(!s->member[i].evicted || (!slot->reading && !slot->waiting));
        dues += slot->release_due;
    }
    assert(dues == s->dues);
    assert(count == s->reads_out);
    assert(s->staleness.applied + s->staleness.dropped + ages == s->staleness.outstanding);
}
#endif

size_t tw_sequencer_step(struct tw_sequencer *s, const struct tw_sequencer_event *event,
                         const struct tw_sequencer_effect **effects) {
    s->effects = 0;
    if (!s->finished) {
        dispatch(s, event);
        tw_sequencer_form(s);
        if (s->ending) { /* perhaps before the update under way was answered */
            tw_sequencer_refuse_turn(s);
            tw_sequencer_run_deferred(s);
        }
    } else if (event->kind == TW_SEQ_JOIN) {
        tw_sequencer_on_join(s, &event->join);
    } else if (event->kind == TW_SEQ_TURN) {
        tw_sequencer_on_turn(s, &event->turn);
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
const struct tw_sequencer_config *tw_sequencer_config_of(const struct tw_sequencer *s) {
    return &s->config;
}
const struct tw_pace *tw_sequencer_pace(const struct tw_sequencer *s) {
    return &s->config.pace;
}
const struct tw_sequencer_snapshot *tw_sequencer_snapshot(const struct tw_sequencer *s) {
    return &s->snapshot;
}
const struct tw_dial *tw_sequencer_dial(const struct tw_sequencer *s) {
    return &s->config.dial;
}
uint32_t tw_sequencer_live(const struct tw_sequencer *s) {
    return s->live;
}
bool tw_sequencer_holding(const struct tw_sequencer *s) {
    return s->holding || (s->ending && !s->finished);
}

struct tw_staleness tw_sequencer_staleness(const struct tw_sequencer *s) {
    struct tw_staleness staleness = s->staleness;
    uint64_t count;
    staleness.in_flight = in_flight(s, &count);
    return staleness;
}

enum tw_status tw_sequencer_check_staleness(const struct tw_sequencer *s, struct tw_error *error) {
    struct tw_staleness sums = tw_sequencer_staleness(s);
    if (sums.applied + sums.in_flight + sums.dropped == sums.outstanding)
        return TW_OK;
    return tw_error_set(error, TW_INTERNAL,
                        "a bug in Talweg: the staleness identity does not hold: applied %" PRIu64
                        " + in flight %" PRIu64 " + dropped %" PRIu64 " is not %" PRIu64
                        "; please report it",
                        sums.applied, sums.in_flight, sums.dropped, sums.outstanding);
}

/* Whether the next update waits for this rank: its push is missing, and no clock bound holds it
 * back itself. Between two events no update can be formed of what is there. */
static bool is_wanted(const struct tw_sequencer *s, uint32_t rank) {
    const struct tw_slot_state *slot = &s->slot[rank];
    if (s->ending || s->holding || s->preparing || slot->waiting)
        return false;
    if (!s->started)
        return !s->member[rank].was_here;
    if (s->config.dial.imposed) /* those of others wait, too */
        return rank == s->next_slot;
    if (s->permitted)
        return slot->permitted;
    return s->config.dial.clock_bound < 0 || slot->clock <= s->clock_min;
}

struct tw_standing tw_sequencer_standing(const struct tw_sequencer *s, uint32_t rank) {
    return (struct tw_standing){.came = s->member[rank].was_here,
                                .here = s->member[rank].state == TW_MEMBER_HERE,
                                .reading = s->slot[rank].reading,
                                .wanted = is_wanted(s, rank),
                                .evicted = s->member[rank].evicted,
                                .permitted = s->slot[rank].permitted,
                                .step = s->slot[rank].begun};
}
