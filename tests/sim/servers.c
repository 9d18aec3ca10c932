/* What the nodes of the virtual cluster want: their effects carried out, their
 * letters to each other delivered as bytes, in order per pair, their work done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "tests/sim/cluster_parts.h"
#include "tests/sim/oracle.h"

/* ---- what servers say to each other ---- */

static void say(struct server_link *link, const struct tw_frame *frame) {
    unsigned char bytes[TW_ORDER_PART_BYTES + 128];
    size_t size = tw_frame_encode(frame, bytes, sizeof(bytes));
    assert_true(size > 0 && frame->data_bytes == 0);
    double lies = link->cluster->config->lies;
    if (lies > 0 && (double)cluster_below(link->cluster, 1 << 20) < lies * (1 << 20))
        cluster_lie(link, bytes, size);
    else
        stream_add(&link->stream, bytes, size);
}

static void say_vote(struct server_link *link, const struct tw_node_vote *vote) {
    struct tw_frame frame;
    uint8_t scratch[TW_SAMPLE_SUMS_BYTES];
    tw_vote_frame(vote, &frame, scratch);
    say(link, &frame);
}

static void say_order(struct server_link *link, const struct tw_node_order *order) {
    static struct tw_order_outbox outbox;
    struct tw_frame frame;
    tw_order_put(&outbox, order);
    while (tw_order_next(&outbox, &frame))
        say(link, &frame);
}

static void count_record(struct cluster *c, const struct tw_record *record) {
    switch (record->kind) {
    case TW_RECORD_JOIN:
        c->counters->joins++;
        c->counters->takeovers += record->incarnation > 1;
        break;
    case TW_RECORD_RELEASE:
        c->counters->releases++;
        c->counters->evaluations += record->slot == TW_SLOT_EVALUATOR;
        c->counters->late_releases += record->version > 0 && record->slot != TW_SLOT_EVALUATOR;
        break;
    case TW_RECORD_COMMIT:
        c->counters->commits++;
        c->counters->ratios += record->ratio_count;
        c->counters->clipped +=
            c->config->shaping.clip_norm > 0 && record->divisor > (c->config->shaping.sum ? 1 : 0);
        break;
    case TW_RECORD_DROP:
        c->counters->drops++;
        break;
    case TW_RECORD_REGATHER:
        c->counters->regathers++;
        break;
    case TW_RECORD_PERMIT:
        c->counters->permits += record->count > 0;
        c->counters->taken_back += record->count == 0;
        break;
    case TW_RECORD_VERDICT:
        break;
    case TW_RECORD_DIAL:
        c->counters->turns++;
        break;
    case TW_RECORD_EVICT:
        c->counters->evictions++;
        break;
    case TW_RECORD_CHECKPOINT:
        c->counters->checkpoints++;
        break;
    case TW_RECORD_ROLLBACK:
        break;
    }
}

static void on_order(struct cluster *c, const struct tw_node_order *order) {
    if (order->kind == TW_ORDER_RECORD) {
        count_record(c, &order->record);
        mirror_record(c->mirror, &order->record);
        if (c->arrivals && !c->lied)
            arrivals_record(c->arrivals, &order->record);
        else if (!c->lied)
            oracle_record(c->oracle, &order->record);
    }
    for (uint32_t s = 1; s < c->config->servers; s++)
        say_order(&c->node[s].heard[0], order);
}

static void on_event(struct cluster *c, const struct tw_node_event *event) {
    if (event->kind == TW_EVENT_JOINED)
        c->counters->resumes += event->incarnation == c->last_incarnation[event->rank];
    if (event->kind == TW_EVENT_JOINED)
        c->last_incarnation[event->rank] = event->incarnation;
    if (event->kind == TW_EVENT_SAMPLED) {
        c->counters->samples++;
        if (!c->lied)
            oracle_check_sample(c->oracle, event->sample, event->steps);
    }
    if (c->scorers)
        scorers_event(c->scorers, event);
    if (event->kind == TW_EVENT_FINISHED) {
        c->finished = true;
        c->status = event->status;
    }
}

static void carry_out(struct cluster *c, uint32_t node, const struct tw_node_effect *effect) {
    struct wire *wire = wire_of(c, node, effect->connection);
    switch (effect->kind) {
    case TW_NODE_SEND:
        c->counters->cancels += effect->frame.body == TW_BODY_CANCEL;
        if (effect->frame.body == TW_BODY_PORTION)
            scorers_given(c->scorers, &effect->frame.portion);
        c->counters->sent_again += effect->frame.body == TW_BODY_REGATHER;
        if (wire)
            wire_queue(c, wire, &effect->frame, effect->data, effect->token);
        else if (effect->frame.data_bytes)
            tw_node_sent(c->node[node].node, effect->token);
        break;
    case TW_NODE_CLOSE:
        if (wire)
            wire_close_node(c, wire, effect->status, effect->text);
        break;
    case TW_NODE_RESUME:
        if (wire)
            wire_resume_up(c, wire);
        break;
    case TW_NODE_TO_LEAD:
        say_vote(&c->node[0].heard[node], &effect->vote);
        break;
    case TW_NODE_TO_SHARDS:
        on_order(c, &effect->order);
        break;
    case TW_NODE_INPUT:
        mirror_input(c->mirror, &effect->input);
        break;
    case TW_NODE_SAVE:
        c->node[node].to_save++;
        break;
    case TW_NODE_EVENT:
        on_event(c, &effect->event);
        break;
    }
}

void cluster_drain(struct cluster *c, uint32_t node) {
    const struct tw_node_effect *effect;
    while ((effect = tw_node_effect(c->node[node].node)) != NULL)
        carry_out(c, node, effect);
}

/* All shards must have done what the log says before anybody saves or leaves. */
static void say_goodbye(struct cluster *c) {
    if (!c->finished || c->goodbye)
        return;
    for (uint32_t s = 0; s < c->config->servers; s++)
        if (c->node[s].busy || cluster_has_mail(c, s))
            return;
    c->goodbye = true;
    tw_node_goodbye(c->node[0].node, c->status, "");
    cluster_drain(c, 0);
}

void cluster_work(struct cluster *c, uint32_t node) {
    enum tw_shard_work work = tw_node_work(c->node[node].node);
    if (work == TW_SHARD_IDLE || work == TW_SHARD_BLOCKED)
        c->node[node].busy = false;
    cluster_drain(c, node); /* may wake it again */
    c->counters->blocked += work == TW_SHARD_BLOCKED;
    c->counters->holds += tw_sequencer_holding(tw_node_sequencer(c->node[0].node));
    say_goodbye(c);
}

/* What the nodes could do next. */
void cluster_act_nodes(struct cluster *c) {
    for (uint32_t s = 0; s < c->config->servers; s++) {
        if (c->node[s].busy)
            c->action[c->actions++] = (struct action){ACT_NODE_WORK, (int)s};
        if (c->node[s].to_save)
            c->action[c->actions++] = (struct action){ACT_SAVED, (int)s};
        if (cluster_has_mail(c, s))
            c->action[c->actions++] = (struct action){ACT_NODE_HEARS, (int)s};
    }
}

/* The disk is slow: updates of the chunk wait meanwhile, and the next CHECKPOINT for all. */
void cluster_saved(struct cluster *c, uint32_t node) {
    c->node[node].to_save--;
    tw_node_saved(c->node[node].node);
    c->node[node].busy = true;
    if (++c->saved == c->layout.chunks) {
        c->saved = 0;
        tw_node_checkpointed(c->node[0].node);
        c->node[0].busy = true;
        cluster_drain(c, 0);
    }
    cluster_drain(c, node);
}

/* ---- hearing it ---- */

static enum tw_status hear_lead(struct server_link *link, const struct tw_frame *frame,
                                struct tw_error *error) {
    struct tw_node_order order;
    enum tw_status status = tw_order_take(link->orders, frame, &order, error);
    if (status != TW_OK)
        return status == TW_AGAIN ? TW_OK : status;
    link->cluster->counters->prepares += order.kind == TW_ORDER_PREPARE;
    return tw_node_hear_lead(link->cluster->node[link->to].node, &order, error);
}

/* As the sessions of both sides see to it. */
static bool may_say(const struct server_link *link, enum tw_body body) {
    return link->to ? body == TW_BODY_ORDER || body == TW_BODY_MEMBER
                    : body == TW_BODY_READY || body == TW_BODY_SUMS || body == TW_BODY_REACH ||
                          body == TW_BODY_SAMPLE || body == TW_BODY_SQUARES;
}

static enum tw_status on_frame(void *context, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct server_link *link = context;
    if (!may_say(link, frame->body))
        return tw_error_set(error, TW_UNEXPECTED, "a %s between servers",
                            tw_body_name(frame->body));
    enum tw_status status =
        link->to ? hear_lead(link, frame, error)
                 : tw_node_hear_shard(link->cluster->node[0].node, link->from, frame, error);
    link->cluster->node[link->to].busy = true;
    cluster_drain(link->cluster, link->to);
    return status;
}

static enum tw_status no_data(void *context, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    return tw_error_set(error, TW_UNEXPECTED, "servers send each other no tensors here");
}

static const struct tw_decoder_sink sink = {no_data, on_frame};

bool cluster_has_mail(const struct cluster *c, uint32_t node) {
    for (uint32_t s = 0; s < c->config->servers; s++)
        if (stream_left(&c->node[node].heard[s].stream))
            return true;
    return false;
}

/* Some bytes of what one server says to another; seldom more than one frame of them. */
void cluster_hear(struct cluster *c, uint32_t node) {
    enum { PIECE = 96 };
    struct tw_error error;
    void *at;
    size_t room;
    uint32_t from = (uint32_t)cluster_below(c, c->config->servers);
    while (!stream_left(&c->node[node].heard[from].stream))
        from = (from + 1) % c->config->servers;
    struct server_link *link = &c->node[node].heard[from];
    tw_decoder_want(&link->decoder, &at, &room);
    size_t size = stream_take(c, &link->stream, at, room < PIECE ? room : PIECE);
    if (tw_decoder_advance(&link->decoder, size, &error) != TW_OK && !cluster_blames_a_lie(c))
        fail_msg("schedule %llu: an honest server %u is refused by server %u: %s",
                 (unsigned long long)(c->config->schedule ? c->config->schedule : c->config->seed),
                 from, node, error.text);
}

void cluster_link_servers(struct cluster *c) {
    for (uint32_t to = 0; to < c->config->servers; to++) {
        c->node[to].heard = calloc(c->config->servers, sizeof(*c->node[to].heard));
        for (uint32_t from = 0; from < c->config->servers; from++) {
            struct server_link *link = &c->node[to].heard[from];
            link->cluster = c;
            link->from = from;
            link->to = to;
            link->orders = to && !from ? calloc(1, sizeof(*link->orders)) : NULL;
            tw_decoder_init(&link->decoder, &sink, link, &c->arena, NULL);
            tw_decoder_limit(&link->decoder, TW_FRAME_BYTES_MAX, false);
        }
    }
}

void cluster_unlink_servers(struct cluster *c) {
    mirror_free(c->mirror);
    for (uint32_t to = 0; to < c->config->servers; to++) {
        for (uint32_t from = 0; from < c->config->servers; from++) {
            free(c->node[to].heard[from].stream.bytes);
            free(c->node[to].heard[from].orders);
        }
        free(c->node[to].heard);
    }
}

/* ---- the end ---- */

/* Where no log says what the weights are. */
static void check_arrivals(struct cluster *c) {
    bool plain = strcmp(c->config->optimizer, ARRIVALS_RULE) == 0;
    for (uint32_t i = 0; i < c->layout.chunks; i++) {
        const struct tw_chunk *chunk = &c->layout.chunk[i];
        const struct tw_shard *shard = tw_node_shard(c->node[chunk->shard].node);
        struct tw_error error;
        if (plain && chunk->tensor == 0 && !c->lied)
            arrivals_check(c->arrivals, chunk, tw_shard_weights(shard, i));
        if (tw_shard_check_staleness(shard, &error) != TW_OK)
            fail_msg("seed %" PRIu64 ": %s", c->config->seed, error.text);
    }
}

static void hash_weights(struct cluster *c, struct cluster_result *result) {
    struct tw_sha256 real, oracle;
    tw_sha256_init(&real);
    tw_sha256_init(&oracle);
    for (uint32_t i = 0; i < c->layout.chunks; i++) {
        const struct tw_chunk *chunk = &c->layout.chunk[i];
        const struct tw_shard *shard = tw_node_shard(c->node[chunk->shard].node);
        const float *weights = tw_shard_weights(shard, i);
        const float *expected = oracle_weights(c->oracle, (int)chunk->tensor) + chunk->first;
        tw_sha256_update(&real, weights, chunk->count * sizeof(float));
        tw_sha256_update(&oracle, expected, chunk->count * sizeof(float));
        const float *average = oracle_average(c->oracle, (int)chunk->tensor);
        if (!average)
            assert_null(tw_shard_average(shard, i));
        else if (!c->lied)
            assert_memory_equal(tw_shard_average(shard, i), average + chunk->first,
                                chunk->count * sizeof(float));
    }
    tw_sha256_final(&real, result->weights);
    tw_sha256_final(&oracle, result->replayed);
}

void cluster_check_weights(struct cluster *c, struct cluster_result *result) {
    if (c->arrivals)
        check_arrivals(c);
    else
        hash_weights(c, result);
}
