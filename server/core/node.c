/* Inputs of a node, and the way between its parts: sequencer, shard, effects.
 * node_session.c has what peers say. */
#include "server/core/node.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "common/base/ring.h"
#include "server/core/node_state.h"

static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* One input causes at most a Regather or Stop to every worker, their closings,
 * the records of one sequencer step, a few answers, the effect that is being carried out, and what
 * the sequencer is told, and that an update is over, at most once for every worker; to each
 * evaluator weights, or what to do next, and its portion once more to another. */
static uint32_t effect_room(const struct tw_node_config *config) {
    return 11 * config->shard.slots + 2 * config->connections + 3 * TW_EVALUATORS_MAX + 64;
}

/* There are none. From the start again: what a thousand workers may need at once is seldom
 * touched. */
static void start_effects(struct tw_node *n) {
    n->effect_next = n->effect_end = 0;
    n->effect_taken = n->effect_room - 1;
}

static size_t steps_bytes(const struct tw_node_config *config) {
    return (size_t)config->shard.layout->list->count * sizeof(struct tw_tensor_squares);
}

size_t tw_node_bytes(const struct tw_node_config *config) {
    size_t sequencer = tw_sequencer_bytes(&config->sequencer);
    size_t shard = tw_shard_bytes(&config->shard);
    if (!sequencer || !shard)
        return 0;
    return aligned(sizeof(struct tw_node)) + aligned(sequencer) +
           aligned(config->shard.slots * sizeof(struct tw_node_member)) +
           aligned(config->connections * sizeof(struct tw_node_connection)) +
           aligned(effect_room(config) * sizeof(struct tw_node_effect)) +
           aligned(steps_bytes(config)) + aligned(tw_node_evaluation_bytes(config)) + shard;
}

struct tw_node *tw_node_init(void *memory, const struct tw_node_config *config) {
    unsigned char *at = memory;
    struct tw_node *n = memory;
    assert(config->terms.push == config->shard.push && config->terms.pull == config->shard.pull);
    n->config = *config;
    n->config.width = config->width ? config->width : 1;
    at += aligned(sizeof(*n));
    n->lead = config->shard.index == 0;
    if (n->lead)
        n->sequencer = tw_sequencer_init(at, &config->sequencer);
    at += aligned(tw_sequencer_bytes(&config->sequencer));
    n->member = (void *)at;
    at += aligned(config->shard.slots * sizeof(*n->member));
    n->connection = (void *)at;
    at += aligned(config->connections * sizeof(*n->connection));
    n->effect = (void *)at;
    n->effect_room = effect_room(config);
    start_effects(n);
    at += aligned(n->effect_room * sizeof(*n->effect));
    n->steps = (void *)at;
    at += aligned(steps_bytes(config));
    tw_node_evaluation_init(n, at);
    at += aligned(tw_node_evaluation_bytes(config));
    n->shard = tw_shard_init(at, &config->shard);
    for (uint32_t i = 0; i < config->shard.slots; i++)
        n->member[i].control = n->member[i].bulk = TW_NO_CONNECTION;
    return n;
}

/* ---- effects ---- */

struct tw_node_effect *tw_node_emit(struct tw_node *n, enum tw_node_effect_kind kind) {
    struct tw_node_effect *effect = &n->effect[n->effect_end];
    n->effect_end = tw_ring_next(n->effect_end, n->effect_room);
    assert(n->effect_end != n->effect_taken);
    effect->kind = kind;
    effect->connection = TW_NO_CONNECTION;
    return effect;
}

struct tw_node_effect *tw_node_effect(struct tw_node *n) {
    uint32_t at = n->effect_next;
    if (at == n->effect_end) {
        start_effects(n);
        return NULL;
    }
    n->effect_taken = at;
    n->effect_next = tw_ring_next(at, n->effect_room);
    return &n->effect[at];
}

bool tw_node_has_effects(const struct tw_node *n) {
    return n->effect_next != n->effect_end;
}

struct tw_frame *tw_node_say(struct tw_node *n, uint32_t connection, enum tw_body body) {
    struct tw_node_effect *effect = tw_node_emit(n, TW_NODE_SEND);
    effect->connection = connection;
    effect->frame = (struct tw_frame){.body = body};
    effect->data = NULL;
    effect->token = effect->rank = 0;
    return &effect->frame;
}

struct tw_node_event *tw_node_tell(struct tw_node *n, enum tw_node_event_kind kind) {
    struct tw_node_event *event = &tw_node_emit(n, TW_NODE_EVENT)->event;
    memset(event, 0, offsetof(struct tw_node_event, step) + sizeof(event->step));
    event->kind = kind;
    event->connection = TW_NO_CONNECTION;
    return event;
}

/* Ends a connection that the node no longer wants to hear from. */
void tw_node_close(struct tw_node *n, uint32_t connection, enum tw_status status,
                   const char *text) {
    if (connection == TW_NO_CONNECTION ||
        n->connection[connection].session.state == TW_SESSION_CLOSED)
        return; /* none, or lost already */
    struct tw_node_effect *effect = tw_node_emit(n, TW_NODE_CLOSE);
    effect->connection = connection;
    effect->status = status;
    effect->text = text;
}

/* ---- sequencer ---- */

void tw_node_say_again(struct tw_node *n, uint32_t rank) {
    uint64_t version = tw_shard_version(n->shard) + 1;
    if (n->member[rank].bulk != TW_NO_CONNECTION)
        tw_node_say(n, n->member[rank].bulk, TW_BODY_REGATHER)->regather.version = version;
}

/* Their permits are taken back. */
static void say_again(struct tw_node *n) {
    for (uint32_t i = 0; i < n->config.shard.slots; i++)
        if (tw_shard_is_permitted(n->shard, i))
            tw_node_say_again(n, i);
}

/* Each shard says it itself, when it has cleared its sums: what is sent again
 * cannot overtake the record. */
static void say_regather(struct tw_node *n, uint64_t version) {
    for (uint32_t i = 0; i < n->config.shard.slots; i++)
        if (n->member[i].bulk != TW_NO_CONNECTION)
            tw_node_say(n, n->member[i].bulk, TW_BODY_REGATHER)->regather.version = version;
}

static void tell_evicted(struct tw_node *n, const struct tw_record *record) {
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_EVICTED);
    event->rank = record->rank;
    event->version = record->version;
}

static void tell_verdict(struct tw_node *n, const struct tw_record *record) {
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_VERDICT);
    event->verdict = record->verdict;
    event->version = record->version;
    event->samples = tw_sequencer_total(n->sequencer).examples;
}

static void obey_record(struct tw_node *n, const struct tw_record *record) {
    if (record->kind == TW_RECORD_PERMIT && !record->count)
        say_again(n);
    tw_shard_record(n->shard, record);
    if (record->kind == TW_RECORD_REGATHER)
        say_regather(n, record->version);
    if (record->kind == TW_RECORD_ROLLBACK)
        n->generation = record->generation;
}

/* To our own shard, and to all others; the records are the log, too. */
static void order_record(struct tw_node *n, const struct tw_record *record) {
    obey_record(n, record);
    if (record->kind == TW_RECORD_RELEASE && record->slot == TW_SLOT_EVALUATOR)
        tw_node_deal(n, record);
    struct tw_node_order *order = &tw_node_emit(n, TW_NODE_TO_SHARDS)->order;
    order->kind = TW_ORDER_RECORD;
    order->evaluators = n->evaluation.to;
    order->record = *record;
}

static void order_prepare(struct tw_node *n, const struct tw_prepare *prepare) {
    tw_shard_prepare(n->shard, prepare);
    if (n->config.servers == 1)
        return;
    struct tw_node_order *order = &tw_node_emit(n, TW_NODE_TO_SHARDS)->order;
    order->kind = TW_ORDER_PREPARE;
    order->prepare = *prepare;
}

void tw_node_order_member(struct tw_node *n, const struct tw_node_order *order) {
    tw_node_learn_member(n, order);
    if (n->config.servers > 1)
        tw_node_emit(n, TW_NODE_TO_SHARDS)->order = *order;
}

static void on_border(struct tw_node *n, const struct tw_sequencer_effect *effect) {
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_BORDER);
    event->samples = effect->border.samples;
    event->version = effect->border.version;
    event->stretch = effect->border.stretch;
    event->rate = effect->border.rate;
    event->evaluated = effect->border.evaluated;
}

/* A worker that is gone learns it from last_step of its next Welcome. */
static void say_cancel(struct tw_node *n, uint32_t slot, uint64_t step) {
    if (n->member[slot].control != TW_NO_CONNECTION)
        tw_node_say(n, n->member[slot].control, TW_BODY_CANCEL)->cancel.step = step;
}

static void carry_out(struct tw_node *n, const struct tw_sequencer_effect *effect) {
    struct tw_node_event *event;
    switch (effect->kind) {
    case TW_SEQ_RECORD:
        order_record(n, &effect->record);
        if (effect->record.kind == TW_RECORD_DIAL)
            tw_node_tell_turned(n, &effect->record);
        if (effect->record.kind == TW_RECORD_EVICT)
            tell_evicted(n, &effect->record);
        if (effect->record.kind == TW_RECORD_VERDICT)
            tell_verdict(n, &effect->record);
        break;
    case TW_SEQ_PREPARE:
        tw_node_tell(n, TW_EVENT_PREPARED)->version = effect->prepare.version;
        order_prepare(n, &effect->prepare);
        break;
    case TW_SEQ_JOINED:
        tw_node_on_joined(n, effect);
        break;
    case TW_SEQ_REFUSED:
        tw_node_on_refused(n, effect);
        break;
    case TW_SEQ_STARTED:
        tw_node_tell(n, TW_EVENT_STARTED);
        break;
    case TW_SEQ_BORDER:
        on_border(n, effect);
        break;
    case TW_SEQ_GIVEN_UP:
        tw_node_tell(n, TW_EVENT_GIVEN_UP)->version = effect->given_up;
        break;
    case TW_SEQ_DROPPED:
        event = tw_node_tell(n, TW_EVENT_DROPPED);
        event->slot = effect->dropped.slot * n->config.width;
        event->tensor = effect->dropped.tensor;
        event->step = effect->dropped.step;
        break;
    case TW_SEQ_CANCEL:
        say_cancel(n, effect->cancel.slot, effect->cancel.step);
        break;
    case TW_SEQ_TURNED:
        tw_node_on_turned(n, effect);
        break;
    case TW_SEQ_FINISHED:
        n->finished = true;
        n->finished_status = effect->finished.status;
        break;
    }
}

/* Joins that were granted to connections which are gone: lost at once. */
static void bury_orphans(struct tw_node *n) {
    n->orphans = false;
    for (uint32_t rank = 0; rank < n->config.shard.slots; rank++) {
        if (!n->member[rank].orphan)
            continue;
        n->member[rank].orphan = false;
        struct tw_sequencer_event lost = {.kind = TW_SEQ_LOST};
        lost.rank = rank;
        lost.attempt = n->member[rank].attempt;
        tw_node_sequence(n, &lost);
    }
}

/* What the sequencer is told next, to be filled in: where it is told to others as well, in the
 * effect that does so. */
static struct tw_sequencer_event *next_input(struct tw_node *n, enum tw_sequencer_event_kind kind) {
    struct tw_sequencer_event *event =
        n->config.tells_inputs ? &tw_node_emit(n, TW_NODE_INPUT)->input : &n->input;
    event->kind = kind;
    return event;
}

static void step(struct tw_node *n, const struct tw_sequencer_event *event) {
    const struct tw_sequencer_effect *effects;
    size_t count = tw_sequencer_step(n->sequencer, event, &effects);
    for (size_t i = 0; i < count; i++)
        carry_out(n, &effects[i]);
    if (n->orphans)
        bury_orphans(n);
}

void tw_node_sequence(struct tw_node *n, const struct tw_sequencer_event *event) {
    struct tw_sequencer_event *input = next_input(n, event->kind);
    *input = *event;
    step(n, input);
}

/* ---- votes ---- */

/* What a shard says goes to our own sequencer, or to the lead. */
void tw_node_vote(struct tw_node *n, const struct tw_node_vote *vote) {
    if (n->lead)
        tw_node_hear_vote(n, vote);
    else
        tw_node_emit(n, TW_NODE_TO_LEAD)->vote = *vote;
}

static struct tw_node_vote *vote_to_lead(struct tw_node *n, int kind) {
    struct tw_node_vote *vote = &tw_node_emit(n, TW_NODE_TO_LEAD)->vote;
    vote->kind = kind;
    return vote;
}

static void hear_ready(struct tw_node *n, const struct tw_ready *ready) {
    struct tw_sequencer_event *event = next_input(n, TW_SEQ_READY);
    event->ready = *ready;
    step(n, event);
}

static void hear_sums(struct tw_node *n, const struct tw_sums *sums) {
    struct tw_sequencer_event *event = next_input(n, TW_SEQ_SUMS);
    event->sums = *sums;
    step(n, event);
}

/* Likewise, each before the sample that it is part of. */
static void collect_steps(struct tw_node *n, const struct tw_squares *squares) {
    uint32_t tensors = (uint32_t)n->config.shard.layout->list->count;
    if (squares->tensor >= tensors)
        return;
    if (n->steps_version != squares->version)
        memset(n->steps, 0, tensors * sizeof(*n->steps));
    n->steps_version = squares->version;
    tw_tensor_squares_merge(&n->steps[squares->tensor], &squares->of);
}

static void hear_squares(struct tw_node *n, const struct tw_squares *squares) {
    if (squares->applied) {
        collect_steps(n, squares);
        return;
    }
    struct tw_sequencer_event *event = next_input(n, TW_SEQ_SQUARES);
    event->squares = *squares;
    step(n, event);
}

/* A shard tells its sample of an update before it answers PREPARE for the next one, so there are
 * never two versions at once; from one that does what it likes, the sample under way is lost. */
static void collect_sample(struct tw_node *n, const struct tw_sample *part) {
    if (n->samples && n->sample.version != part->version)
        n->samples = 0;
    if (n->samples)
        tw_sample_merge(&n->sample, part);
    else
        n->sample = *part;
    if (++n->samples < n->config.servers)
        return;
    n->samples = 0;
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_SAMPLED);
    event->sample = &n->sample;
    event->steps = n->steps_version == n->sample.version ? n->steps : NULL;
}

void tw_node_hear_vote(struct tw_node *n, const struct tw_node_vote *vote) {
    switch (vote->kind) {
    case TW_VOTE_READY:
        hear_ready(n, &vote->ready);
        break;
    case TW_VOTE_SUMS:
        hear_sums(n, &vote->sums);
        break;
    case TW_VOTE_ATTACHED:
        tw_node_sequence(n, &(struct tw_sequencer_event){.kind = TW_SEQ_ATTACHED,
                                                         .rank = vote->rank,
                                                         .attempt = vote->attempt,
                                                         .shard = vote->shard});
        break;
    case TW_VOTE_SAMPLE:
        collect_sample(n, &vote->sample);
        break;
    case TW_VOTE_SQUARES:
        hear_squares(n, &vote->squares);
        break;
    case TW_VOTE_LOST: /* a bulk connection on another server: the worker is lost to us */
        if (!n->over)  /* else it leaves, and its last words may still be on control */
            tw_node_drop_worker(n, vote->rank, vote->attempt, "lost its connection to a server");
        break;
    }
}

void tw_node_hear_order(struct tw_node *n, const struct tw_node_order *order) {
    switch (order->kind) {
    case TW_ORDER_RECORD:
        obey_record(n, &order->record);
        if (order->record.kind == TW_RECORD_RELEASE && order->record.slot == TW_SLOT_EVALUATOR)
            n->evaluation.to = order->evaluators ? order->evaluators : 1; /* an older lead's one */
        break;
    case TW_ORDER_PREPARE:
        tw_shard_prepare(n->shard, &order->prepare);
        break;
    case TW_ORDER_MEMBER:
        tw_node_learn_member(n, order);
        break;
    }
}

void tw_node_stop(struct tw_node *n, bool saves) {
    if (n->lead)
        tw_node_sequence(n, &(struct tw_sequencer_event){.kind = TW_SEQ_STOP, .saves = saves});
}

void tw_node_checkpoint(struct tw_node *n) {
    tw_node_sequence(n, &(struct tw_sequencer_event){.kind = TW_SEQ_CHECKPOINT});
}

void tw_node_checkpointed(struct tw_node *n) {
    tw_node_sequence(n, &(struct tw_sequencer_event){.kind = TW_SEQ_SAVED});
}

void tw_node_saved(struct tw_node *n) {
    tw_shard_saved(n->shard);
}

void tw_node_resume(struct tw_node *n, const struct tw_sequencer_resume *resume) {
    tw_node_sequence(n, &(struct tw_sequencer_event){.kind = TW_SEQ_RESUME, .resume = *resume});
}

void tw_node_restored(struct tw_node *n) {
    n->restored = true;
}

uint32_t tw_node_generation(const struct tw_node *n) {
    return n->generation;
}

struct tw_shard *tw_node_shard_to_fill(struct tw_node *n) {
    return n->shard;
}

void tw_node_evict(struct tw_node *n, uint32_t rank) {
    tw_node_sequence(n, &(struct tw_sequencer_event){.kind = TW_SEQ_EVICT, .evict = rank});
}

/* ---- work ---- */

static void send_chunk(struct tw_node *n, const struct tw_shard_send *send, uint32_t connection) {
    struct tw_node_effect *effect = tw_node_emit(n, TW_NODE_SEND);
    tw_shard_hold(n->shard, send->token);
    effect->connection = connection;
    effect->rank = send->slot;
    effect->data = send->data;
    effect->token = send->token;
    effect->frame.body = TW_BODY_WEIGHTS;
    effect->frame.data_bytes = send->bytes;
    effect->frame.weights = (struct tw_weights){.position = send->position,
                                                .version = send->version,
                                                .step = send->step,
                                                .generation = n->generation,
                                                .chunk = send->chunk};
}

/* Each who gets it holds it once; the shard's own hold ends here. */
static void send_weights(struct tw_node *n, const struct tw_shard_send *send) {
    if (send->slot != TW_SLOT_EVALUATOR) {
        if (n->member[send->slot].bulk != TW_NO_CONNECTION)
            send_chunk(n, send, n->member[send->slot].bulk);
    } else {
        for (uint32_t i = 0; i < TW_EVALUATORS_MAX; i++)
            if (n->evaluation.to >> i & 1 && n->evaluator[i].member.bulk != TW_NO_CONNECTION)
                send_chunk(n, send, n->evaluator[i].member.bulk);
    }
    tw_shard_sent(n->shard, send->token);
}

/* A piece of work may have freed what a paused connection waits for. */
static void resume_paused(struct tw_node *n) {
    if (!n->paused || !tw_shard_freed(n->shard))
        return;
    n->paused = 0;
    for (uint32_t i = 0; i < n->config.connections; i++) {
        struct tw_node_connection *connection = &n->connection[i];
        if (!connection->paused)
            continue;
        connection->paused = !tw_shard_has_place(n->shard, &connection->push);
        n->paused += connection->paused;
        if (!connection->paused)
            tw_node_emit(n, TW_NODE_RESUME)->connection = i;
    }
}

static void tell_arrived(struct tw_node *n, const struct tw_ready *ready) {
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_ARRIVED);
    event->rank = ready->slot;
    event->step = ready->step;
}

static void on_applied(struct tw_node *n, const struct tw_applied *applied) {
    tw_node_tell(n, TW_EVENT_APPLIED)->version = applied->version;
    if (applied->sample && n->lead)
        collect_sample(n, applied->sample);
    else if (applied->sample)
        vote_to_lead(n, TW_VOTE_SAMPLE)->sample = *applied->sample;
}

/* A vote of our own shard needs no copy to be heard. */
static void on_ready(struct tw_node *n, const struct tw_ready *ready) {
    tell_arrived(n, ready);
    if (n->lead)
        hear_ready(n, ready);
    else
        vote_to_lead(n, TW_VOTE_READY)->ready = *ready;
}

static void on_sums(struct tw_node *n, const struct tw_sums *sums) {
    if (n->lead)
        hear_sums(n, sums);
    else
        vote_to_lead(n, TW_VOTE_SUMS)->sums = *sums;
}

static void on_squares(struct tw_node *n, const struct tw_squares *squares) {
    if (n->lead)
        hear_squares(n, squares);
    else
        vote_to_lead(n, TW_VOTE_SQUARES)->squares = *squares;
}

/* The last piece of an update comes together with what follows it, mostly weights that leave. */
static enum tw_shard_work next_piece(struct tw_node *n, struct tw_shard_effect *effect) {
    for (;;) {
        enum tw_shard_work work = tw_shard_next(n->shard, effect);
        if (work != TW_SHARD_EFFECT || effect->kind != TW_SHARD_APPLIED)
            return work;
        on_applied(n, &effect->applied);
    }
}

enum tw_shard_work tw_node_work(struct tw_node *n) {
    struct tw_shard_effect effect;
    enum tw_shard_work work = next_piece(n, &effect);
    if (work == TW_SHARD_IDLE) {
        resume_paused(n);
        if (n->finished && !n->told_finished) {
            n->told_finished = true;
            tw_node_tell(n, TW_EVENT_FINISHED)->status = n->finished_status;
        }
        return work;
    }
    if (work != TW_SHARD_EFFECT)
        return work;
    switch (effect.kind) {
    case TW_SHARD_READY:
        on_ready(n, &effect.ready);
        break;
    case TW_SHARD_SUMS:
        on_sums(n, &effect.sums);
        break;
    case TW_SHARD_WANT:
        if (n->lead)
            tw_node_sequence(
                n, &(struct tw_sequencer_event){.kind = TW_SEQ_WANT, .want = effect.want});
        break;
    case TW_SHARD_SQUARES:
        on_squares(n, &effect.squares);
        break;
    case TW_SHARD_SEND:
        send_weights(n, &effect.send);
        break;
    case TW_SHARD_SAVE:
        tw_node_emit(n, TW_NODE_SAVE)->save = effect.save;
        break;
    case TW_SHARD_APPLIED: /* is told already */
        break;
    }
    return work;
}

void tw_node_sent(struct tw_node *n, uint32_t token) {
    tw_shard_sent(n->shard, token);
}

const struct tw_sequencer *tw_node_sequencer(const struct tw_node *n) {
    return n->sequencer;
}
const struct tw_shard *tw_node_shard(const struct tw_node *n) {
    return n->shard;
}
