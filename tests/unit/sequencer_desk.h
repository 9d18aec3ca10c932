/* A sequencer on a desk: events go in by hand, the effects of the last one lie open.
 *
 * The desk keeps what shards and members know (the last RELEASE of each slot, who
 * holds a rank), so that desk_ready() is a vote that counts unless a test makes it
 * wrong. After every event it checks what must hold always: positions without a
 * gap, one RELEASE outstanding per slot, no (slot, step) twice, staleness of
 * contributions as the log gives it, and the staleness identity.
 */
#ifndef TW_TEST_SEQUENCER_DESK_H
#define TW_TEST_SEQUENCER_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/core/sequencer.h"

#define DESK_SLOTS 8

struct desk_slot {
    uint32_t incarnation, attempt;
    uint64_t step, read, read_version; /* of its last RELEASE */
    uint64_t settled;
    bool reading, evicted;
};

struct desk {
    struct tw_sequencer_config config;
    struct tw_sequencer *sequencer;
    const struct tw_sequencer_effect *effect; /* of the last event */
    size_t effects;
    struct desk_slot slot[DESK_SLOTS];
    uint64_t position, version, regather;
    uint64_t staleness; /* sum over all contributions */
    bool preparing;
    uint32_t prepared; /* contributors of the PREPARE under way */
    uint64_t ticket;
};

static const struct tw_optimizer_options desk_options = {.lr = 0.5};

static void desk_prepare_scalars(const struct tw_optimizer_options *options, uint64_t t, double lr,
                                 double *out) {
    for (int i = 0; i < TW_OPTIMIZER_SCALARS; i++)
        out[i] = lr * (double)t + i;
}

/* Only prepare() is for the sequencer. */
static const struct tw_optimizer desk_rule = {.name = "desk", .prepare = desk_prepare_scalars};

/* A configuration that has no end, no epochs and no evaluator: tests add them. */
static inline struct tw_sequencer_config desk_config(const char *mode, uint32_t workers,
                                                     uint32_t shards) {
    struct tw_sequencer_config config = {
        .workers = workers, .shards = shards, .optimizer = &desk_rule, .options = desk_options};
    struct tw_where where = {"desk", 1};
    assert_in_range(workers, 1, DESK_SLOTS);
    assert_int_equal(tw_dial_parse(mode, where, (int)workers, &config.dial, NULL), TW_OK);
    return config;
}

static inline void desk_init(struct desk *desk, const struct tw_sequencer_config *config) {
    *desk = (struct desk){.config = *config};
    size_t bytes = tw_sequencer_bytes(config);
    assert_true(bytes > 0);
    desk->sequencer = tw_sequencer_init(malloc(bytes), config);
}

static inline void desk_fini(struct desk *desk) {
    free(desk->sequencer); /* it is the first thing in its memory */
}

/* ---- what it says ---- */

static inline void desk_settle(struct desk *desk, const struct tw_contribution *c) {
    struct desk_slot *slot = &desk->slot[c->slot];
    assert_true(slot->reading);
    assert_int_equal(c->step, slot->settled + 1);
    assert_int_equal(c->read, slot->read);
    slot->settled = c->step;
    slot->reading = false;
}

static inline void desk_commit(struct desk *desk, const struct tw_record *record) {
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        assert_true(i == 0 || c->slot > record->contributions[i - 1].slot);
        assert_int_equal(c->staleness, desk->version - desk->slot[c->slot].read_version);
        desk->staleness += c->staleness;
        desk_settle(desk, c);
    }
    desk->version++;
    desk->preparing = false;
}

static inline void desk_release(struct desk *desk, const struct tw_record *record) {
    if (record->slot == TW_SLOT_EVALUATOR)
        return;
    struct desk_slot *slot = &desk->slot[record->slot];
    assert_int_equal(record->step, slot->settled + 1);
    slot->reading = true;
    slot->step = record->step;
    slot->read = record->position;
    slot->read_version = desk->version;
}

/* What is out is over; the next step is one that was never released. */
static inline void desk_cancel(struct desk_slot *slot) {
    slot->settled = slot->step > slot->settled ? slot->step : slot->settled;
    slot->reading = false;
}

/* A new process; or, after an EVICT, perhaps the same one. */
static inline void desk_join_record(struct desk_slot *slot, const struct tw_record *record) {
    if (!slot->evicted || record->incarnation != slot->incarnation)
        assert_int_equal(record->incarnation, slot->incarnation + 1);
    slot->incarnation = record->incarnation;
    slot->reading = slot->evicted = false;
    slot->step = slot->settled;
}

static inline void desk_note_record(struct desk *desk, const struct tw_record *record) {
    assert_int_equal(record->position, ++desk->position);
    switch (record->kind) {
    case TW_RECORD_COMMIT:
        desk_commit(desk, record);
        break;
    case TW_RECORD_DROP:
        for (uint32_t i = 0; i < record->count; i++)
            desk_settle(desk, &record->contributions[i]);
        desk->preparing = false;
        break;
    case TW_RECORD_RELEASE:
        desk_release(desk, record);
        break;
    case TW_RECORD_JOIN:
        desk_join_record(&desk->slot[record->rank], record);
        break;
    case TW_RECORD_CHECKPOINT:
    case TW_RECORD_ROLLBACK:
        break;
    case TW_RECORD_REGATHER:
        assert_int_equal(record->version, desk->version + 1);
        desk->regather = record->position;
        break;
    case TW_RECORD_PERMIT:
        if (!record->count)
            desk->regather = record->position;
        break;
    case TW_RECORD_VERDICT:
        break;
    case TW_RECORD_DIAL:
        for (uint32_t i = 0; i < desk->config.workers; i++)
            desk_cancel(&desk->slot[i]);
        break;
    case TW_RECORD_EVICT:
        assert_int_equal(record->rank, record->slot);
        assert_false(desk->slot[record->slot].evicted);
        desk_cancel(&desk->slot[record->slot]);
        desk->slot[record->slot].evicted = true;
        break;
    }
    if (record->kind != TW_RECORD_REGATHER)
        assert_int_equal(record->version, desk->version);
}

static inline void desk_note(struct desk *desk, const struct tw_sequencer_effect *effect) {
    if (effect->kind == TW_SEQ_RECORD)
        desk_note_record(desk, &effect->record);
    if (effect->kind == TW_SEQ_JOINED)
        desk->slot[effect->joined.rank].attempt = effect->joined.attempt;
    if (effect->kind == TW_SEQ_PREPARE) {
        assert_false(desk->preparing);
        desk->preparing = true;
        desk->prepared = effect->prepare.count;
    }
}

static inline size_t desk_step(struct desk *desk, const struct tw_sequencer_event *event) {
    desk->effects = tw_sequencer_step(desk->sequencer, event, &desk->effect);
    for (size_t i = 0; i < desk->effects; i++)
        desk_note(desk, &desk->effect[i]);
    struct tw_staleness s = tw_sequencer_staleness(desk->sequencer);
    assert_int_equal(s.applied, desk->staleness);
    assert_int_equal(s.applied + s.in_flight + s.dropped, s.outstanding);
    assert_int_equal(tw_sequencer_version(desk->sequencer), desk->version);
    assert_int_equal(tw_sequencer_position(desk->sequencer), desk->position);
    return desk->effects;
}

/* The n-th (from 0) effect of a kind of the last event; NULL: there are fewer. */
static inline const struct tw_sequencer_effect *
desk_effect(const struct desk *desk, enum tw_sequencer_effect_kind kind, int n) {
    for (size_t i = 0; i < desk->effects; i++)
        if (desk->effect[i].kind == kind && n-- == 0)
            return &desk->effect[i];
    return NULL;
}

static inline const struct tw_record *desk_record(const struct desk *desk, enum tw_record_kind kind,
                                                  int n) {
    for (size_t i = 0; i < desk->effects; i++)
        if (desk->effect[i].kind == TW_SEQ_RECORD && desk->effect[i].record.kind == kind &&
            n-- == 0)
            return &desk->effect[i].record;
    return NULL;
}

static inline bool desk_says(const struct desk *desk, enum tw_sequencer_effect_kind kind) {
    return desk_effect(desk, kind, 0) != NULL;
}
static inline bool desk_logs(const struct desk *desk, enum tw_record_kind kind) {
    return desk_record(desk, kind, 0) != NULL;
}

static inline bool desk_released(const struct desk *desk, uint32_t slot) {
    const struct tw_record *record;
    for (int i = 0; (record = desk_record(desk, TW_RECORD_RELEASE, i)); i++)
        if (record->slot == slot)
            return true;
    return false;
}

/* ---- what happens to it ---- */

static inline struct tw_sequencer_event desk_join_event(struct desk *desk, int rank) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_JOIN};
    event.join.ticket = ++desk->ticket;
    event.join.any_rank = rank < 0;
    event.join.rank = rank < 0 ? 0 : (uint32_t)rank;
    strcpy(event.join.numerics, "desk");
    return event;
}

/* A new process asks for a rank; -1: any. */
static inline void desk_join(struct desk *desk, int rank) {
    struct tw_sequencer_event event = desk_join_event(desk, rank);
    desk_step(desk, &event);
}

/* The holder of a rank is back, with the weights of position `read`. */
static inline void desk_resume(struct desk *desk, uint32_t rank, uint64_t read) {
    struct tw_sequencer_event event = desk_join_event(desk, (int)rank);
    event.join.incarnation = desk->slot[rank].incarnation;
    event.join.read = read;
    desk_step(desk, &event);
}

static inline void desk_attach(struct desk *desk, uint32_t rank, uint32_t shard) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_ATTACHED};
    event.rank = rank;
    event.attempt = desk->slot[rank].attempt;
    event.shard = shard;
    desk_step(desk, &event);
}

static inline void desk_attach_all(struct desk *desk, uint32_t rank) {
    for (uint32_t shard = 0; shard < desk->config.shards; shard++)
        desk_attach(desk, rank, shard);
}

static inline void desk_lose(struct desk *desk, uint32_t rank) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_LOST};
    event.rank = rank;
    event.attempt = desk->slot[rank].attempt;
    desk_step(desk, &event);
}

/* Everybody joins and is attached. */
static inline void desk_start(struct desk *desk) {
    for (uint32_t rank = 0; rank < desk->config.workers; rank++) {
        desk_join(desk, (int)rank);
        desk_attach_all(desk, rank);
    }
}

/* The vote of a shard for the push that it waits for: 10 examples, loss 1. */
static inline struct tw_sequencer_event desk_vote(const struct desk *desk, uint32_t slot,
                                                  uint32_t shard) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_READY};
    event.ready = (struct tw_ready){.shard = shard,
                                    .slot = slot,
                                    .incarnation = desk->slot[slot].incarnation,
                                    .step = desk->slot[slot].step,
                                    .read = desk->slot[slot].read,
                                    .regather = desk->regather,
                                    .examples = 10,
                                    .loss = 1,
                                    .finite = true};
    return event;
}

static inline void desk_ready_on(struct desk *desk, uint32_t slot, uint32_t shard) {
    struct tw_sequencer_event event = desk_vote(desk, slot, shard);
    desk_step(desk, &event);
}

/* All shards vote for a slot's push. */
static inline void desk_ready(struct desk *desk, uint32_t slot) {
    for (uint32_t shard = 0; shard < desk->config.shards; shard++)
        desk_ready_on(desk, slot, shard);
}

/* Bytes of a slot's push wait for a PERMIT. */
static inline void desk_want(struct desk *desk, uint32_t slot) {
    const struct desk_slot *of = &desk->slot[slot];
    struct tw_sequencer_event event = {.kind = TW_SEQ_WANT};
    event.want = (struct tw_want){.slot = slot, .incarnation = of->incarnation, .step = of->step};
    desk_step(desk, &event);
}

static inline void desk_sums_on(struct desk *desk, uint32_t shard, bool finite) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_SUMS};
    event.sums = (struct tw_sums){.shard = shard, .version = desk->version + 1, .finite = finite};
    desk_step(desk, &event);
}

/* All shards answer the PREPARE under way. */
static inline void desk_sums(struct desk *desk, bool finite) {
    for (uint32_t shard = 0; shard < desk->config.shards; shard++)
        desk_sums_on(desk, shard, finite);
}

/* One update: in sync of all slots, in async of the lowest that has a read. */
static inline void desk_update(struct desk *desk) {
    for (uint32_t slot = 0; slot < desk->config.workers && !desk->preparing; slot++)
        if (desk->slot[slot].reading)
            desk_ready(desk, slot);
    assert_true(desk->preparing);
    desk_sums(desk, true);
}

/* Whether the next update waits for each of the first three. */
static inline void desk_wants(const struct desk *desk, bool first, bool second, bool third) {
    const bool wanted[3] = {first, second, third};
    for (uint32_t i = 0; i < 3 && i < desk->config.workers; i++)
        assert_int_equal(tw_sequencer_standing(desk->sequencer, i).wanted, wanted[i]);
}

static inline void desk_evaluator(struct desk *desk, bool present) {
    desk_step(desk, &(struct tw_sequencer_event){.kind = TW_SEQ_EVALUATOR, .present = present});
}
static inline void desk_ask(struct desk *desk, uint64_t samples) {
    desk_step(desk, &(struct tw_sequencer_event){.kind = TW_SEQ_ASK, .samples = samples});
}
static inline void desk_evaluated(struct desk *desk) {
    desk_step(desk, &(struct tw_sequencer_event){.kind = TW_SEQ_EVALUATED});
}
/* ... and says how large the loss is. */
static inline void desk_evaluated_as(struct desk *desk, double loss) {
    desk_step(desk, &(struct tw_sequencer_event){.kind = TW_SEQ_EVALUATED, .loss = loss});
}
static inline void desk_stop(struct desk *desk) {
    desk_step(desk, &(struct tw_sequencer_event){.kind = TW_SEQ_STOP});
}

/* A desk at which `workers` have joined, and their first RELEASEs are out. */
static inline void desk_started(struct desk *desk, const char *mode, uint32_t workers,
                                uint32_t shards) {
    struct tw_sequencer_config config = desk_config(mode, workers, shards);
    desk_init(desk, &config);
    desk_start(desk);
}

#endif
