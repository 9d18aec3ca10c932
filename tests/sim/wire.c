/* Connections of the virtual cluster: bytes in both directions, through the real
 * encoder and decoder, cut and split wherever the schedule likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/cluster_parts.h"

/* ---- streams ---- */

void stream_add(struct stream *s, const void *bytes, size_t size) {
    if (!bytes || !size)
        return;
    if (s->at == s->size)
        s->at = s->size = 0;
    if (s->size + size > s->room) {
        s->room = 2 * (s->size + size);
        s->bytes = realloc(s->bytes, s->room);
    }
    memcpy(s->bytes + s->size, bytes, size);
    s->size += size;
}

size_t stream_left(const struct stream *s) {
    return s->size - s->at;
}

/* ---- the sinks of the decoders ---- */

struct end { /* context of a decoder */
    struct cluster *cluster;
    struct wire *wire;
};

static enum tw_status node_data(void *context, const struct tw_frame *frame, void **place,
                                struct tw_error *error) {
    struct end *end = context;
    struct tw_node *node = end->cluster->node[end->wire->node].node;
    enum tw_status status = tw_node_data(node, end->wire->connection, frame, place, error);
    if (status == TW_AGAIN) {
        end->cluster->counters->pauses++;
        end->cluster->node[end->wire->node].busy = true; /* it may have to ask for a permit */
    }
    if (status == TW_OK && !*place)
        end->cluster->counters->duplicates++;
    return status;
}

static enum tw_status node_frame(void *context, const struct tw_frame *frame, void *data,
                                 struct tw_error *error) {
    struct end *end = context;
    struct tw_node *node = end->cluster->node[end->wire->node].node;
    enum tw_status status = tw_node_frame(node, end->wire->connection, frame, data, error);
    end->cluster->node[end->wire->node].busy = true;
    cluster_drain(end->cluster, end->wire->node);
    return status;
}

static enum tw_status worker_data(void *context, const struct tw_frame *frame, void **place,
                                  struct tw_error *error) {
    struct end *end = context;
    struct virtual_worker *w = &end->cluster->worker[end->wire->worker];
    return tw_client_place(&w->client, end->wire->link, frame, place, error);
}

static enum tw_status worker_frame(void *context, const struct tw_frame *frame, void *data,
                                   struct tw_error *error) {
    struct end *end = context;
    struct virtual_worker *w = &end->cluster->worker[end->wire->worker];
    cluster_tell_worker(
        end->cluster, w,
        (struct tw_client_event){
            .kind = TW_CLIENT_ON_FRAME, .link = end->wire->link, .frame = frame, .data = data});
    return w->client.phase == TW_CLIENT_FAILED ? w->client.error.status : TW_OK;
}

static const struct tw_decoder_sink node_sink = {node_data, node_frame};
static const struct tw_decoder_sink worker_sink = {worker_data, worker_frame};

static void *no_growth(void *context, size_t bytes) {
    return NULL;
}

static struct tw_decoder *make_decoder(struct cluster *c, struct wire *wire,
                                       const struct tw_decoder_sink *sink) {
    struct {
        struct tw_decoder decoder;
        struct end end;
    } *both = calloc(1, sizeof(*both));
    both->end = (struct end){c, wire};
    tw_decoder_init(&both->decoder, sink, &both->end, &c->arena, no_growth);
    tw_decoder_limit(&both->decoder, TW_FRAME_BYTES_MAX, true);
    return &both->decoder;
}

/* ---- ends ---- */

struct wire *wire_of(struct cluster *c, uint32_t node, uint32_t connection) {
    for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++)
        if (c->wire[i].used && c->wire[i].open && c->wire[i].node == node &&
            c->wire[i].connection == connection)
            return &c->wire[i];
    return NULL;
}

void wire_free(struct wire *wire) {
    free(wire->up.bytes);
    free(wire->down.bytes);
    free(wire->queue);
    free(wire->up_decoder);
    free(wire->down_decoder);
    *wire = (struct wire){0};
}

static void release_queue(struct cluster *c, struct wire *wire) {
    for (; wire->queue_count; wire->queue_count--, wire->queue_first++)
        if (wire->queue[wire->queue_first].data_bytes) {
            tw_node_sent(c->node[wire->node].node, wire->queue[wire->queue_first].token);
            c->node[wire->node].busy = true;
        }
}

/* The node's end is gone for good; what it had sent may still arrive. */
void wire_end_node(struct cluster *c, struct wire *wire) {
    uint32_t node = wire->node, connection = wire->connection;
    release_queue(c, wire);
    wire->node_alive = false;
    wire->worker_eof = true;
    wire->connection = TW_NO_CONNECTION;
    if (connection != TW_NO_CONNECTION)
        tw_node_lost(c->node[node].node, connection, "the connection was closed");
    c->node[node].busy = true;
    cluster_drain(c, node);
}

void wire_cut(struct cluster *c, struct wire *wire) {
    wire->up.at = wire->up.size;
    wire->down.at = wire->down.size;
    wire->node_eof = wire->worker_eof = wire->cut = true;
}

void wire_abandon(struct cluster *c, struct wire *wire) {
    wire->worker_alive = false;
    wire->node_eof = true;
    if (cluster_below(c, 2)) /* a reset: what was under way is lost */
        wire->up.at = wire->up.size;
}

/* ---- the node's side ---- */

/* The first layers' weights leave first, in every mode and with any buffers: whoever gets them can
 * begin to compute. Who attaches while weights of his slot are on their way gets the end of a set,
 * which never becomes complete; whole ones follow. */
static void check_order(const struct cluster *c, struct wire *wire, const struct tw_weights *sent) {
    uint32_t next = c->layout.shard_first[wire->node];
    if (sent->position == wire->weights_position)
        next = wire->weights_chunk + 1;
    if (sent->chunk != next && wire->weights_position != 0)
        fail_msg("seed %llu: server %u sends chunk %u of position %llu before chunk %u",
                 (unsigned long long)c->config->seed, wire->node, sent->chunk,
                 (unsigned long long)sent->position, next);
    wire->weights_position = sent->position;
    wire->weights_chunk = sent->chunk;
}

void wire_queue(struct cluster *c, struct wire *wire, const struct tw_frame *frame,
                const void *data, uint32_t token) {
    if (frame->body == TW_BODY_WEIGHTS && c->config->lies == 0)
        check_order(c, wire, &frame->weights);
    if (wire->queue_first && wire->queue_first == wire->queue_room - wire->queue_count) {
        memmove(wire->queue, wire->queue + wire->queue_first,
                (size_t)wire->queue_count * sizeof(*wire->queue));
        wire->queue_first = 0;
    }
    if (wire->queue_first + wire->queue_count >= wire->queue_room) {
        wire->queue_room = 2 * wire->queue_room + 8;
        wire->queue = realloc(wire->queue, (size_t)wire->queue_room * sizeof(*wire->queue));
    }
    struct queued *queued = &wire->queue[wire->queue_first + wire->queue_count++];
    queued->prefix_bytes = tw_frame_encode(frame, queued->prefix, sizeof(queued->prefix));
    assert_true(queued->prefix_bytes > 0);
    queued->data = data;
    queued->data_bytes = frame->data_bytes;
    queued->token = token;
}

/* As the shell's: what is queued goes out, then a Refuse, then the end. */
void wire_close_node(struct cluster *c, struct wire *wire, enum tw_status status,
                     const char *text) {
    uint32_t connection = wire->connection;
    if (status != TW_OK && status != TW_CLOSED) {
        const char *name = tw_status_name((int)status);
        struct tw_frame refuse = {.body = TW_BODY_REFUSE};
        refuse.refuse.status = (uint32_t)status;
        refuse.refuse.name = (struct tw_view){name, strlen(name)};
        refuse.refuse.text = (struct tw_view){text, strlen(text)};
        wire_queue(c, wire, &refuse, NULL, 0);
    }
    wire->node_closing = true;
    wire->connection = TW_NO_CONNECTION;
    tw_node_lost(c->node[wire->node].node, connection, text);
    c->node[wire->node].busy = true;
}

static void send_one(struct cluster *c, struct wire *wire) {
    struct queued *queued = &wire->queue[wire->queue_first];
    stream_add(&wire->down, queued->prefix, queued->prefix_bytes);
    if (queued->data_bytes) {
        stream_add(&wire->down, queued->data, queued->data_bytes);
        tw_node_sent(c->node[wire->node].node, queued->token);
        c->node[wire->node].busy = true;
    }
    wire->queue_first++;
    if (--wire->queue_count == 0)
        wire->queue_first = 0;
}

static void node_status(struct cluster *c, struct wire *wire, enum tw_status status,
                        const struct tw_error *error) {
    wire->up_paused = status == TW_AGAIN;
    if (status == TW_OK || status == TW_AGAIN || wire->connection == TW_NO_CONNECTION)
        return;
    wire_close_node(c, wire, status, error->text);
    cluster_drain(c, wire->node);
}

void wire_resume_up(struct cluster *c, struct wire *wire) {
    struct tw_error error = {0};
    if (!wire->up_paused)
        return;
    wire->up_paused = false;
    node_status(c, wire, tw_decoder_resume(wire->up_decoder, &error), &error);
}

/* ---- bytes arrive ---- */

size_t stream_take(struct cluster *c, struct stream *stream, void *at, size_t room) {
    size_t left = stream_left(stream), size = left < room ? left : room;
    if (cluster_below(c, 4) == 0 && size > 1) {
        size = 1 + cluster_below(c, size);
        c->counters->split_frames++;
    }
    memcpy(at, stream->bytes + stream->at, size);
    stream->at += size;
    return size;
}

static void arrive_up(struct cluster *c, struct wire *wire) {
    struct tw_error error = {0};
    enum tw_status status = TW_OK;
    for (int i = 0; i < 8 && stream_left(&wire->up) && status == TW_OK; i++) {
        void *at;
        size_t room;
        tw_decoder_want(wire->up_decoder, &at, &room);
        size_t size = stream_take(c, &wire->up, at, room);
        status = tw_decoder_advance(wire->up_decoder, size, &error);
        if (wire->connection == TW_NO_CONNECTION)
            return; /* closed by what it said */
    }
    node_status(c, wire, status, &error);
}

static void worker_status(struct cluster *c, struct wire *wire, enum tw_status status,
                          const struct tw_error *error) {
    wire->down_paused = status == TW_AGAIN;
    if (status != TW_OK && status != TW_AGAIN && !cluster_blames_a_lie(c))
        fail_msg("schedule %" PRIu64 ": a worker's stream ended with %s: %s",
                 c->config->schedule ? c->config->schedule : c->config->seed,
                 tw_status_name((int)status), error->text);
}

static void arrive_down(struct cluster *c, struct wire *wire) {
    enum tw_status status = TW_OK;
    struct tw_error error;
    for (int i = 0; i < 8 && stream_left(&wire->down) && status == TW_OK; i++) {
        void *at;
        size_t room;
        tw_decoder_want(wire->down_decoder, &at, &room);
        size_t size = stream_take(c, &wire->down, at, room);
        status = tw_decoder_advance(wire->down_decoder, size, &error);
        if (!wire->worker_alive)
            return;
    }
    worker_status(c, wire, status, &error);
}

static void open_wire(struct cluster *c, struct wire *wire) {
    uint8_t random[TW_NODE_RANDOM_BYTES], nonce[TW_NONCE_BYTES];
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (uint8_t)cluster_below(c, 256);
    for (size_t i = 0; i < sizeof(nonce); i++)
        nonce[i] = (uint8_t)cluster_below(c, 256);
    wire->connection = tw_node_open(c->node[wire->node].node, random);
    assert_true(wire->connection != TW_NO_CONNECTION);
    wire->open = wire->node_alive = true;
    wire->up_decoder = make_decoder(c, wire, &node_sink);
    wire->down_decoder = make_decoder(c, wire, &worker_sink);
    cluster_tell_worker(
        c, &c->worker[wire->worker],
        (struct tw_client_event){.kind = TW_CLIENT_ON_OPENED, .link = wire->link, .nonce = nonce});
}

static void worker_lost(struct cluster *c, struct wire *wire) {
    struct virtual_worker *w = &c->worker[wire->worker];
    struct tw_error cause = {.status = TW_CLOSED, .text = "closed by the server"};
    int link = wire->link;
    wire->worker_alive = false;
    wire->node_eof = true;
    cluster_tell_worker(
        c, w, (struct tw_client_event){.kind = TW_CLIENT_ON_LOST, .link = link, .cause = &cause});
}

/* ---- what can happen ---- */

int wire_actions(const struct wire *wire, struct action *out, int index) {
    int n = 0;
    if (!wire->open) {
        out[n++] = (struct action){wire->worker_eof ? ACT_WORKER_LOST : ACT_OPEN, index};
        return n;
    }
    bool up = stream_left(&wire->up) > 0, down = stream_left(&wire->down) > 0;
    if (up && !wire->up_paused && wire->connection != TW_NO_CONNECTION)
        out[n++] = (struct action){ACT_UP, index};
    if (wire->node_alive && wire->queue_count && !wire->cut)
        out[n++] = (struct action){ACT_SEND, index};
    if (wire->node_alive && ((wire->node_eof && (!up || wire->up_paused)) ||
                             (wire->node_closing && !wire->queue_count)))
        out[n++] = (struct action){ACT_NODE_LOST, index};
    if (down && wire->worker_alive && !wire->down_paused)
        out[n++] = (struct action){ACT_DOWN, index};
    if (wire->worker_alive && wire->worker_eof && (!down || wire->down_paused))
        out[n++] = (struct action){ACT_WORKER_LOST, index};
    return n;
}

void wire_act(struct cluster *c, struct wire *wire, enum action_kind kind) {
    switch (kind) {
    case ACT_OPEN:
        open_wire(c, wire);
        break;
    case ACT_UP:
        arrive_up(c, wire);
        break;
    case ACT_DOWN:
        arrive_down(c, wire);
        break;
    case ACT_SEND:
        send_one(c, wire);
        break;
    case ACT_NODE_LOST:
        wire_end_node(c, wire);
        break;
    case ACT_WORKER_LOST:
        worker_lost(c, wire);
        break;
    default:
        fail();
    }
}

/* ---- the worker's side ---- */

static struct wire *wire_at(struct cluster *c, int worker, int link) {
    for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++)
        if (c->wire[i].used && c->wire[i].worker_alive && c->wire[i].worker == worker &&
            c->wire[i].link == link)
            return &c->wire[i];
    return NULL;
}

static void open_link(struct cluster *c, int worker, int link) {
    assert_null(wire_at(c, worker, link));
    for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++)
        if (!c->wire[i].used) {
            c->wire[i] = (struct wire){.used = true,
                                       .worker = worker,
                                       .link = link,
                                       .worker_alive = true,
                                       .node = link ? (uint32_t)link - 1 : 0,
                                       .connection = TW_NO_CONNECTION};
            return;
        }
    fail_msg("no room for another connection");
}

static void send_frame(struct stream *stream, const struct tw_frame *frame, const void *data) {
    unsigned char prefix[4096];
    size_t size = tw_frame_encode(frame, prefix, sizeof(prefix));
    assert_true(size > 0);
    stream_add(stream, prefix, size);
    if (frame->data_bytes)
        stream_add(stream, data, frame->data_bytes);
}

static void carry_out(struct cluster *c, int worker, const struct tw_client_effects *effects) {
    for (int i = 0; i < effects->count; i++) {
        const struct tw_client_effect *effect = &effects->at[i];
        struct wire *wire = wire_at(c, worker, effect->link);
        switch (effect->kind) {
        case TW_CLIENT_OPEN:
            open_link(c, worker, effect->link);
            break;
        case TW_CLIENT_SEND:
            if (wire && !wire->cut)
                send_frame(&wire->up, &effect->frame, NULL);
            break;
        case TW_CLIENT_CLOSE:
            if (!wire)
                break;
            wire->worker_alive = false;
            wire->node_eof = true;
            break;
        }
    }
}

void cluster_tell_worker(struct cluster *c, struct virtual_worker *w,
                         struct tw_client_event event) {
    struct tw_client_effects effects;
    struct tw_error error = {0};
    int index = (int)(w - c->worker);
    event.now_ms = c->now_ms;
    enum tw_status status = tw_client_step(&w->client, &event, &effects, &error);
    bool application = event.kind >= TW_CLIENT_ON_PULL;
    if (application && status != TW_OK && !tw_client_over(&w->client) && !cluster_blames_a_lie(c))
        fail_msg("seed %llu: %s", (unsigned long long)c->config->seed, error.text);
    carry_out(c, index, &effects);
    for (int link = 1; link <= (int)c->config->servers; link++) {
        struct wire *wire = wire_at(c, index, link);
        struct tw_frame frame;
        const void *data;
        while (wire && wire->open && tw_client_next(&w->client, link, &frame, &data))
            if (!wire->cut)
                send_frame(&wire->up, &frame, data);
        if (wire && wire->down_paused && w->client.work == TW_CLIENT_WAITING) {
            wire->down_paused = false;
            status = tw_decoder_resume(wire->down_decoder, &error);
            worker_status(c, wire, status, &error);
        }
    }
}
