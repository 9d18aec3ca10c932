/* The node's effects, and its work.
 *
 * An input is followed at once by its effects. Work is done after the sockets
 * have been served, in the same turn of the loop, in slices short enough that the
 * next sockets do not wait; an idle handle keeps the loop from sleeping while
 * there is more. A small model's update (last End in, weights out) fits into one
 * slice.
 *
 * What is queued leaves at the end of the slice, gathered; of a large model
 * earlier, so that it is received while the rest is updated: the first bytes at
 * once, for the sake of whoever waits, then as many together as make a write cheap. So do answers
 * to many who share a connection: their process works on some while we work on the others, else
 * each would wait for the other in turn. */
#include "server/io/server_state.h"

#define SLICE_NS 200000u
#define SLICE_PIECES 1024
#define SMALL_ELEMENTS (4 << 10) /* of a model: so many pieces of work have one moment, since */
#define SMALL_PIECES 8           /* each takes less than some looks at the clock */
#define FIRST_BYTES (256u << 10)
#define FLUSH_BYTES (1u << 20)
#define FLUSH_FRAMES (TW_GATHER_FRAMES / 2)

static void on_idle(uv_idle_t *idle) {
    /* Its being active is all that it is for. */
}

void tw_pump_wake(struct tw_server *server) {
    if (server->pump.awake || server->phase == TW_SERVER_CLOSING)
        return;
    server->pump.awake = true;
    uv_idle_start(&server->pump.idle, on_idle);
}

static void sleep_until_woken(struct tw_server *server, bool blocked) {
    server->pump.awake = false;
    server->pump.blocked = blocked;
    uv_idle_stop(&server->pump.idle);
}

void tw_pump_sent(struct tw_server *server, uint32_t token) {
    tw_node_sent(server->node, token);
    if (server->pump.blocked)
        tw_pump_wake(server);
}

/* ---- flushing ---- */

/* What leaves in it has left at one moment, behind the write. */
static void flush_lane(struct tw_server *server, struct tw_lane *lane) {
    tw_server_end_moment(server);
    server->pump.flushing = true;
    tw_lane_flush(lane);
    server->pump.flushing = false;
}

/* While the peer takes nothing there is no use in trying. */
static bool is_due(const struct tw_link *link) {
    if (link->unflushed_bytes >= (link->begins ? FIRST_BYTES : FLUSH_BYTES))
        return true;
    return tw_lane_frames(link->lane) >= FLUSH_FRAMES && !tw_lane_is_writing(link->lane);
}

static void note_queued(struct tw_server *server, struct tw_link *link, size_t bytes) {
    link->unflushed_bytes += bytes;
    if (is_due(link)) {
        link->unflushed_bytes = 0;
        link->begins = false;
        tw_order_writer_flush(&server->order);
        flush_lane(server, link->lane);
    } else if (!link->is_unflushed) {
        link->is_unflushed = true;
        link->next_unflushed = server->pump.unflushed;
        server->pump.unflushed = link;
    }
}

static void flush(struct tw_server *server) {
    while (server->pump.unflushed) {
        struct tw_link *link = server->pump.unflushed;
        server->pump.unflushed = link->next_unflushed;
        link->is_unflushed = link->begins = false;
        link->unflushed_bytes = 0;
        flush_lane(server, link->lane);
    }
}

void tw_pump_forget(struct tw_server *server, struct tw_link *link) {
    struct tw_link **at = &server->pump.unflushed;
    if (!link->is_unflushed)
        return;
    while (*at != link)
        at = &(*at)->next_unflushed;
    *at = link->next_unflushed;
    link->is_unflushed = false;
}

/* ---- effects ---- */

/* A slow worker may be given newer weights before older ones have left (its read was
 * cancelled): those are of no use any more, and must not pile up. */
static void replace_older_weights(struct tw_link *link, const struct tw_frame *frame) {
    if (frame->body != TW_BODY_WEIGHTS || frame->weights.position <= link->weights_position)
        return;
    link->weights_position = frame->weights.position;
    link->begins = true;
    link->weights_last = UINT32_MAX;
    if (tw_lane_queued(link->lane))
        tw_lane_drop_data(link->lane);
}

/* When the last chunk has gone to the kernel, the weights are served. */
static void note_last_chunk(const struct tw_server *server, struct tw_link *link,
                            const struct tw_node_effect *effect) {
    if (effect->frame.body != TW_BODY_WEIGHTS ||
        effect->frame.weights.chunk + 1 != server->layout.shard_first[1])
        return;
    link->weights_rank = effect->rank;
    link->weights_last = effect->token;
}

static void queue_frame(struct tw_server *server, struct tw_node_effect *effect) {
    struct tw_link *link = server->link[effect->connection];
    struct tw_frame *frame = &effect->frame;
    if (frame->body == TW_BODY_PONG)
        frame->pong.time = tw_trace_time(&server->trace, tw_server_now(server));
    if (link) {
        replace_older_weights(link, frame);
        note_last_chunk(server, link, effect);
    }
    size_t bytes = effect->frame.data_bytes;
    void *token = (void *)(uintptr_t)effect->token;
    bool queued = link && tw_lane_send(link->lane, frame, effect->data, token) == TW_OK;
    if (queued)
        note_queued(server, link, bytes);
    else if (bytes)
        tw_pump_sent(server, effect->token);
}

void tw_pump_queue(struct tw_server *server, struct tw_link *link, const struct tw_frame *frame,
                   const void *data, uint32_t token) {
    struct tw_frame ours = *frame;
    /* When it fails the link is lost, and that is told. */
    if (tw_lane_send(link->lane, &ours, data, (void *)(uintptr_t)token) != TW_OK)
        return;
    if (data)
        tw_pump_wake(server); /* it may be all that there is to do in this turn of the loop */
    note_queued(server, link, 0);
}

static void carry_out(struct tw_server *server, struct tw_node_effect *effect, uint64_t now_ns) {
    struct tw_link *link;
    switch (effect->kind) {
    case TW_NODE_SEND:
        queue_frame(server, effect);
        break;
    case TW_NODE_CLOSE:
        link = server->link[effect->connection];
        if (link)
            tw_links_part(link, effect->status, effect->text);
        break;
    case TW_NODE_RESUME:
        link = server->link[effect->connection];
        if (link)
            tw_lane_resume(link->lane);
        break;
    case TW_NODE_EVENT:
        tw_narrator_event(server, &effect->event, now_ns);
        tw_trace_event(&server->trace, &effect->event, now_ns);
        break;
    case TW_NODE_SAVE:
        if (server->config->index)
            tw_lead_save(server, &effect->save);
        else
            tw_saver_own(server, effect->save.chunk);
        break;
    case TW_NODE_TO_SHARDS: /* the records are the log */
        tw_shards_order(server, &effect->order);
        if (effect->order.kind == TW_ORDER_RECORD) {
            tw_order_writer_add(&server->order, &effect->order.record);
            tw_trace_record(&server->trace, &effect->order.record, now_ns);
            tw_waits_record(server, &effect->order.record, now_ns);
            if (effect->order.record.kind == TW_RECORD_CHECKPOINT)
                tw_saver_begin(server);
        }
        break;
    case TW_NODE_INPUT:
        tw_trace_input(&server->trace, &effect->input, now_ns);
        break;
    case TW_NODE_TO_LEAD:
        tw_lead_vote(server, &effect->vote);
        break;
    }
}

static void set_clock(struct tw_server *server) {
    if (server->config->index)
        return; /* the lead has it */
    bool runs = server->narrator.started && !server->finished &&
                !tw_sequencer_holding(tw_node_sequencer(server->node));
    if (runs == server->clock.runs)
        return;
    tw_training_clock_set(&server->clock, runs, tw_server_moment(server));
    tw_waits_hold(server);
}

static void carry_out_all(struct tw_server *server) {
    struct tw_node_effect *effect;
    while ((effect = tw_node_effect(server->node)) != NULL)
        carry_out(server, effect, tw_server_moment(server));
}

void tw_pump_carry_out(struct tw_server *server) {
    carry_out_all(server);
    set_clock(server);
}

/* ---- work ---- */

static void work_on_piece(struct tw_server *server) {
    enum tw_shard_work result = tw_node_work(server->node);
    if (result == TW_SHARD_IDLE || result == TW_SHARD_BLOCKED)
        sleep_until_woken(server, result == TW_SHARD_BLOCKED);
    if (result == TW_SHARD_IDLE)
        tw_lead_idle(server);
    if (tw_node_has_effects(server->node))
        carry_out_all(server); /* may wake it again */
}

static void work(struct tw_server *server) {
    uint64_t end = tw_server_now(server) + SLICE_NS;
    int together = server->layout.elements <= SMALL_ELEMENTS ? SMALL_PIECES : 1;
    for (int pieces = 0;
         pieces < SLICE_PIECES && server->pump.awake && tw_server_moment(server) < end;
         pieces += together) {
        tw_server_end_moment(server); /* what follows from a piece comes behind it */
        for (int i = 0; i < together && server->pump.awake; i++)
            work_on_piece(server);
        set_clock(server); /* all of them have one moment */
    }
}

static void on_check(uv_check_t *check) {
    struct tw_server *server = check->data;
    tw_server_end_moment(server);
    if (server->pump.awake)
        work(server);
    tw_server_end_moment(server);
    tw_order_writer_flush(&server->order); /* before what follows from it leaves */
    flush(server);
    tw_lead_flush(server);
    tw_trace_settle(&server->trace);
    tw_operators_answer(server);
    if (server->line_length)
        tw_links_let_in(server);
    if (server->order.failed.status != TW_OK)
        tw_server_stop(server);
    if (server->shards.lost.status != TW_OK && server->phase <= TW_SERVER_COLLECTING)
        tw_server_fail(server, &server->shards.lost);
    if (server->finished && server->phase == TW_SERVER_RUNNING && !tw_saver_is_busy(server)) {
        tw_server_conclude(server);
        flush(server);
    }
}

/* Whoever is woken, by a socket, a signal or a timer, has a moment of his own. */
static void on_sleep(uv_prepare_t *sleep) {
    struct tw_server *server = sleep->data;
    tw_server_end_moment(server);
}

void tw_pump_init(struct tw_server *server) {
    uv_idle_init(&server->loop, &server->pump.idle);
    uv_check_init(&server->loop, &server->pump.check);
    uv_prepare_init(&server->loop, &server->pump.sleep);
    server->pump.check.data = server->pump.sleep.data = server;
    uv_check_start(&server->pump.check, on_check);
    uv_prepare_start(&server->pump.sleep, on_sleep);
}
