/* What the nodes of the virtual cluster want: their effects carried out, their
 * letters to each other delivered in order per pair, their work done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/core/letters.h"
#include "tests/sim/cluster_parts.h"
#include "tests/sim/oracle.h"

static struct letter *post(struct virtual_node *to) {
    if (to->inbox_first + to->inbox_count == to->inbox_room) {
        to->inbox_room = 2 * to->inbox_room + 64;
        to->inbox = realloc(to->inbox, (size_t)to->inbox_room * sizeof(*to->inbox));
    }
    struct letter *letter = &to->inbox[to->inbox_first + to->inbox_count++];
    *letter = (struct letter){0};
    return letter;
}

static const struct tw_contribution *
copy_contributions(struct letter *letter, const struct tw_contribution *from, uint32_t count) {
    letter->contributions = calloc(count + 1, sizeof(*from));
    if (count)
        memcpy(letter->contributions, from, count * sizeof(*from));
    return letter->contributions;
}

static void post_order(struct virtual_node *to, const struct tw_node_order *order) {
    struct letter *letter = post(to);
    letter->order = *order;
    if (order->kind == TW_ORDER_RECORD)
        letter->order.record.contributions =
            copy_contributions(letter, order->record.contributions, order->record.count);
    if (order->kind == TW_ORDER_RECORD && order->record.kind == TW_RECORD_DIAL) {
        snprintf(letter->mode, sizeof(letter->mode), "%s", order->record.mode);
        letter->order.record.mode = letter->mode;
    }
    if (order->kind == TW_ORDER_PREPARE)
        letter->order.prepare.contributions =
            copy_contributions(letter, order->prepare.contributions, order->prepare.count);
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
        c->counters->clipped +=
            c->config->shaping.clip_norm > 0 && record->divisor > (c->config->shaping.sum ? 1 : 0);
        break;
    case TW_RECORD_DROP:
        c->counters->drops++;
        break;
    case TW_RECORD_REGATHER:
        c->counters->regathers++;
        break;
    case TW_RECORD_DIAL:
        c->counters->turns++;
        break;
    case TW_RECORD_EVICT:
        c->counters->evictions++;
        break;
    }
}

static void on_order(struct cluster *c, const struct tw_node_order *order) {
    if (order->kind == TW_ORDER_RECORD) {
        count_record(c, &order->record);
        oracle_record(c->oracle, &order->record);
    }
    for (uint32_t s = 1; s < c->config->servers; s++)
        post_order(&c->node[s], order);
}

static void on_event(struct cluster *c, const struct tw_node_event *event) {
    if (event->kind == TW_EVENT_JOINED)
        c->counters->resumes += event->incarnation == c->last_incarnation[event->rank];
    if (event->kind == TW_EVENT_JOINED)
        c->last_incarnation[event->rank] = event->incarnation;
    if (event->kind == TW_EVENT_SAMPLED) {
        c->counters->samples++;
        oracle_check_sample(c->oracle, event->sample);
    }
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
    case TW_NODE_TO_LEAD: {
        struct letter *letter = post(&c->node[0]);
        letter->is_vote = true;
        letter->from = node;
        letter->vote = effect->vote;
        break;
    }
    case TW_NODE_TO_SHARDS:
        on_order(c, &effect->order);
        break;
    case TW_NODE_EVENT:
        on_event(c, &effect->event);
        break;
    }
}

void cluster_drain(struct cluster *c, uint32_t node) {
    struct tw_node_effect effect;
    while (tw_node_effect(c->node[node].node, &effect))
        carry_out(c, node, &effect);
}

/* All shards must have done what the log says before anybody saves or leaves. */
static void say_goodbye(struct cluster *c) {
    if (!c->finished || c->goodbye)
        return;
    for (uint32_t s = 0; s < c->config->servers; s++)
        if (c->node[s].busy || c->node[s].inbox_count)
            return;
    c->goodbye = true;
    tw_node_goodbye(c->node[0].node, c->status, "");
    cluster_drain(c, 0);
}

void cluster_work(struct cluster *c, uint32_t node) {
    enum tw_shard_work work = tw_node_work(c->node[node].node);
    cluster_drain(c, node);
    if (work == TW_SHARD_IDLE || work == TW_SHARD_BLOCKED)
        c->node[node].busy = false;
    c->counters->blocked += work == TW_SHARD_BLOCKED;
    c->counters->holds += tw_sequencer_holding(tw_node_sequencer(c->node[0].node));
    say_goodbye(c);
}

/* As its frame, and what the lead makes of it. */
static void hear_vote(struct tw_node *lead, const struct letter *letter) {
    struct tw_frame frame;
    struct tw_node_vote vote;
    struct tw_error error;
    uint8_t scratch[TW_SAMPLE_SUMS_BYTES];
    tw_vote_frame(&letter->vote, &frame, scratch);
    if (tw_vote_of_frame(&frame, letter->from, &vote, &error) != TW_OK)
        fail_msg("an honest vote is refused: %s", error.text);
    tw_node_hear_vote(lead, &vote);
}

void cluster_hear(struct cluster *c, uint32_t node) {
    struct virtual_node *to = &c->node[node];
    struct letter letter = to->inbox[to->inbox_first++];
    letter.order.record.mode = letter.mode; /* the inbox may have moved */
    if (--to->inbox_count == 0)
        to->inbox_first = 0;
    struct tw_error error;
    if (letter.is_vote)
        hear_vote(to->node, &letter);
    else if (tw_node_hear_lead(to->node, &letter.order, &error) != TW_OK)
        fail_msg("an honest lead is refused: %s", error.text);
    c->counters->prepares += !letter.is_vote && letter.order.kind == TW_ORDER_PREPARE;
    to->busy = true;
    cluster_drain(c, node);
    free(letter.contributions);
}

void cluster_free_inbox(struct virtual_node *node) {
    for (int i = 0; i < node->inbox_count; i++)
        free(node->inbox[node->inbox_first + i].contributions);
    free(node->inbox);
}
