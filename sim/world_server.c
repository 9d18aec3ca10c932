/* Nodes: what they hear, what they say, their work, and their letters to each other.
 *
 * Happy path of a push: its chunks go to the places that the node names, its End is heard (when
 * the server has been busy with it for as long as the law says), work follows when there is
 * nothing more to hear. Saving takes no time (world_again.c).
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/world_state.h"

/* ---- making ---- */

static enum tw_status no_memory(const struct tw_world *world, struct tw_error *error) {
    return tw_error_set(error, TW_NO_MEMORY, "no memory for the servers of %u workers",
                        world->workers);
}

static struct tw_node_config config_of(const struct tw_world *world, uint32_t index) {
    struct tw_node_config config = world->config.node;
    const struct tw_memory_plan *plan = &world->config.plans[index];
    config.shard.index = index;
    config.shard.ahead = plan->ahead;
    config.shard.spares = plan->spares;
    config.shard.pool = plan->pool;
    config.sequencer.admission = plan->admission;
    return config;
}

void tw_world_init_server(struct tw_world *world, uint32_t index, bool again) {
    struct tw_world_server *server = &world->server[index];
    struct tw_node_config config = config_of(world, index);
    uintptr_t start = (uintptr_t)server->memory, aligned = (start + 63) & ~(uintptr_t)63;
    unsigned char *memory = (unsigned char *)server->memory + (aligned - start);
    config.resumes = again && index == 0;
    if (again)
        memset(memory, 0, tw_node_bytes(&config));
    server->node = tw_node_init(memory, &config);
}

static enum tw_status make_server(struct tw_world *world, uint32_t index, struct tw_error *error) {
    struct tw_world_server *server = &world->server[index];
    struct tw_node_config config = config_of(world, index);
    size_t bytes = tw_node_bytes(&config);
    if (!bytes)
        return tw_error_set(error, TW_LIMIT, "%u workers are more than this machine can address",
                            world->workers);
    server->memory = calloc(1, bytes + 63);
    server->wire_of = calloc(config.connections, sizeof(*server->wire_of));
    server->inbox = index ? calloc(1, sizeof(*server->inbox)) : NULL;
    if (!server->memory || !server->wire_of || (index && !server->inbox))
        return no_memory(world, error);
    tw_world_init_server(world, index, false);
    if (world->config.service) /* random numbers of their own, behind those of the workers */
        tw_delay_begin(world->config.service, TW_WORKERS_MAX + index, &server->service);
    return TW_OK;
}

enum tw_status tw_world_make_servers(struct tw_world *world, struct tw_error *error) {
    enum tw_status status = TW_OK;
    for (uint32_t s = 0; status == TW_OK && s < world->servers; s++)
        status = make_server(world, s, error);
    for (uint32_t s = 1; status == TW_OK && s < world->servers; s++)
        tw_node_add_server(world->server[0].node, s, TW_NO_CONNECTION);
    return status;
}

/* ---- letters ---- */

static void say_vote(struct tw_world *world, uint32_t from, const struct tw_node_vote *vote) {
    struct tw_frame frame;
    uint8_t scratch[TW_SAMPLE_SUMS_BYTES];
    tw_vote_frame(vote, &frame, scratch);
    tw_mail_letter(world, from, 0, &frame);
}

static void say_order(struct tw_world *world, const struct tw_node_order *order) {
    struct tw_frame frame;
    for (uint32_t s = 1; s < world->servers; s++) {
        tw_order_put(&world->outbox, order);
        while (tw_order_next(&world->outbox, &frame))
            tw_mail_letter(world, 0, s, &frame);
    }
}

static enum tw_status hear_letter(struct tw_world *world, const struct tw_mail *mail,
                                  const struct tw_frame *frame, struct tw_error *error) {
    struct tw_world_server *server = &world->server[mail->to];
    struct tw_node_order order;
    if (mail->to == 0)
        return tw_node_hear_shard(server->node, mail->from, frame, error);
    enum tw_status status = tw_order_take(server->inbox, frame, &order, error);
    if (status != TW_OK)
        return status == TW_AGAIN ? TW_OK : status;
    return tw_node_hear_lead(server->node, &order, error);
}

void tw_world_server_letter(struct tw_world *world, struct tw_mail *mail) {
    struct tw_error error;
    if (world->server[mail->to].stands_still) {
        tw_mail_add(&world->server[mail->to].not_heard, mail);
        return;
    }
    world->letters--;
    if (tw_mail_decode(world, mail, &error) != TW_OK)
        tw_world_fail(world, TW_INTERNAL, error.text);
    world->server[mail->to].busy = true;
    tw_world_server_drain(world, mail->to);
    tw_mail_free(world, mail);
}

/* ---- effects ---- */

/* When it has been gone for too long. */
static void on_left(struct tw_world *world, uint32_t rank) {
    uint64_t absence = ++world->worker[rank].absences;
    world->worker[rank].lead_still_ns = world->server[0].still_ns;
    if (isfinite(world->config.loss_seconds) && (world->started || world->config.loss_fails))
        tw_world_put(world, world->now_ns + tw_world_ns(world->config.loss_seconds), TW_WORLD_LOST,
                     rank, absence);
}

/* Nobody can be evicted before: now the time of those that have left already begins. */
static void on_started(struct tw_world *world) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(world->server[0].node);
    world->started = true;
    tw_again_plan_next(world);
    for (uint32_t rank = 0; rank < world->workers && !world->config.loss_fails; rank++)
        if (!tw_sequencer_standing(sequencer, rank).here)
            on_left(world, rank);
}

static void on_event(struct tw_world *world, const struct tw_node_event *event) {
    const struct tw_world_program *program = &world->config.program;
    if (event->kind == TW_EVENT_LEFT && !world->finished)
        on_left(world, event->rank);
    if (event->kind == TW_EVENT_STARTED)
        on_started(world);
    if (event->kind == TW_EVENT_JOINED)
        world->worker[event->rank].absences++;
    if (event->kind == TW_EVENT_FINISHED) {
        world->finished = true;
        world->finished_status = event->status;
    }
    if (program->event)
        program->event(program->context, event, world->now_ns);
}

/* Why it is refused, and the end behind it; the node learns at once that it is gone. */
static void close_connection(struct tw_world *world, uint32_t index, uint32_t connection,
                             enum tw_status status, const char *text) {
    struct tw_world_server *server = &world->server[index];
    uint32_t at = server->wire_of[connection];
    struct tw_wire *wire = &world->wire[at];
    if (status != TW_OK && status != TW_CLOSED) {
        struct tw_frame frame = {.body = TW_BODY_REFUSE};
        const char *name = tw_status_name((int)status);
        frame.refuse.status = (uint32_t)status;
        frame.refuse.name = (struct tw_view){name, strlen(name)};
        frame.refuse.text = (struct tw_view){text, strlen(text)};
        tw_mail_frame(world, at, false, &frame, NULL, 0);
    }
    tw_mail_sign(world, TW_MAIL_CLOSED, at, false, wire->node_life);
    wire->connection = TW_NO_CONNECTION;
    tw_mail_discard_all(world, &wire->held_up);
    tw_node_lost(server->node, connection, text);
    server->busy = true;
}

static void send_frame(struct tw_world *world, uint32_t index, struct tw_node_effect *effect) {
    const struct tw_world_server *server = &world->server[index];
    uint32_t at = server->wire_of[effect->connection];
    if (world->wire[at].connection != effect->connection) {
        if (effect->data)
            tw_world_server_sent(world, index, effect->token);
        return;
    }
    if (effect->frame.body == TW_BODY_PONG)
        effect->frame.pong.time = world->config.measures ? world->now_ns + 1 : 0;
    tw_mail_frame(world, at, false, &effect->frame, effect->data, effect->token);
}

static void carry_out(struct tw_world *world, uint32_t index, struct tw_node_effect *effect) {
    const struct tw_world_program *program = &world->config.program;
    struct tw_world_server *server = &world->server[index];
    struct tw_wire *wire;
    switch (effect->kind) {
    case TW_NODE_SEND:
        send_frame(world, index, effect);
        break;
    case TW_NODE_CLOSE:
        wire = &world->wire[server->wire_of[effect->connection]];
        if (wire->connection == effect->connection)
            close_connection(world, index, effect->connection, effect->status, effect->text);
        break;
    case TW_NODE_RESUME:
        wire = &world->wire[server->wire_of[effect->connection]];
        wire->up_waits = false; /* what came since is behind it */
        tw_mail_prepend(server->serving || server->waiting.first ? &server->waiting : &world->now,
                        &wire->held_up);
        break;
    case TW_NODE_TO_LEAD:
        say_vote(world, index, &effect->vote);
        break;
    case TW_NODE_TO_SHARDS:
        if (effect->order.kind == TW_ORDER_RECORD &&
            effect->order.record.kind == TW_RECORD_CHECKPOINT)
            tw_again_checkpoint(world);
        if (effect->order.kind == TW_ORDER_RECORD && program->record)
            program->record(program->context, &effect->order.record, world->now_ns);
        say_order(world, &effect->order);
        break;
    case TW_NODE_SAVE:
        tw_again_save(world, index, effect->save.chunk);
        break;
    case TW_NODE_INPUT:
        if (program->input)
            program->input(program->context, &effect->input, world->now_ns);
        break;
    case TW_NODE_EVENT:
        on_event(world, &effect->event);
        break;
    }
}

void tw_world_server_drain(struct tw_world *world, uint32_t index) {
    struct tw_node_effect *effect;
    while ((effect = tw_node_effect(world->server[index].node)) != NULL)
        carry_out(world, index, effect);
}

bool tw_world_server_work(struct tw_world *world, uint32_t index) {
    struct tw_world_server *server = &world->server[index];
    if (!server->busy || server->stands_still)
        return false;
    enum tw_shard_work work = tw_node_work(server->node);
    server->busy = work != TW_SHARD_IDLE && work != TW_SHARD_BLOCKED;
    tw_world_server_drain(world, index);
    return server->busy || world->now.first;
}

void tw_world_server_sent(struct tw_world *world, uint32_t index, uint32_t token) {
    tw_node_sent(world->server[index].node, token);
    world->server[index].busy = true;
}

void tw_world_server_stop(struct tw_world *world) {
    world->stopping = true;
    tw_node_stop(world->server[0].node, tw_again_saves(world));
    world->server[0].busy = true;
    tw_world_server_drain(world, 0);
}

static void fail_for(struct tw_world *world, uint32_t rank) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(world->server[0].node);
    tw_error_set(&world->lost, TW_CLOSED,
                 "worker %u has been gone for %.1f s, since before update %" PRIu64
                 ", and on_worker_loss is fail",
                 rank, world->config.loss_seconds, tw_sequencer_version(sequencer) + 1);
    tw_world_server_stop(world);
}

void tw_world_server_lost(struct tw_world *world, uint32_t rank, uint64_t absence) {
    struct tw_world_worker *worker = &world->worker[rank];
    uint64_t still_ns = world->server[0].still_ns - worker->lead_still_ns;
    if (worker->absences != absence || world->finished)
        return;
    if (still_ns) { /* a lead that stands still blames nobody for that time */
        worker->lead_still_ns = world->server[0].still_ns;
        tw_world_put(world, world->now_ns + still_ns, TW_WORLD_LOST, rank, absence);
        return;
    }
    if (world->config.loss_fails) {
        fail_for(world, rank);
        return;
    }
    tw_node_evict(world->server[0].node, rank);
    world->server[0].busy = true;
    tw_world_server_drain(world, 0);
}

/* ---- what comes ---- */

enum tw_status tw_world_server_hear(struct tw_world *world, const struct tw_mail *mail,
                                    const struct tw_frame *frame, const void *data,
                                    struct tw_error *error) {
    if (mail->kind == TW_MAIL_LETTER)
        return hear_letter(world, mail, frame, error);
    return tw_node_frame(world->server[mail->to].node, world->wire[mail->wire].connection, frame,
                         data, error);
}

void tw_world_server_heard(struct tw_world *world, const struct tw_mail *mail) {
    const struct tw_world_program *program = &world->config.program;
    enum tw_body body = mail->frame.body;
    if (mail->kind == TW_MAIL_FRAME && mail->to == 0 &&
        (body == TW_BODY_PUSH || body == TW_BODY_END))
        program->heard(program->context, world->wire[mail->wire].process, &mail->frame,
                       world->now_ns);
}

/* The data first, into its place. */
static enum tw_status hear(struct tw_world *world, const struct tw_mail *mail,
                           struct tw_error *error) {
    struct tw_node *node = world->server[mail->to].node;
    uint32_t connection = world->wire[mail->wire].connection;
    void *place = NULL;
    if (mail->kind == TW_MAIL_BYTES)
        return tw_mail_decode(world, mail, error);
    if (world->config.program.heard)
        tw_world_server_heard(world, mail);
    if (mail->data) {
        enum tw_status status = tw_node_data(node, connection, &mail->frame, &place, error);
        if (status != TW_OK)
            return status;
        if (place)
            memcpy(place, mail->data, mail->frame.data_bytes);
    }
    return tw_node_frame(node, connection, &mail->frame, place, error);
}

static void open_connection(struct tw_world *world, const struct tw_mail *mail) {
    struct tw_world_server *server = &world->server[mail->to];
    struct tw_wire *wire = &world->wire[mail->wire];
    uint8_t random[TW_NODE_RANDOM_BYTES];
    if (wire->connection != TW_NO_CONNECTION) /* its end was overtaken */
        tw_node_lost(server->node, wire->connection, "the connection was closed");
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (uint8_t)tw_rng_next(&world->rng);
    wire->node_life = mail->life;
    wire->connection = tw_node_open(server->node, random);
    if (wire->connection == TW_NO_CONNECTION) { /* it will try again */
        tw_mail_sign(world, TW_MAIL_CLOSED, mail->wire, false, mail->life);
        return;
    }
    server->wire_of[wire->connection] = mail->wire;
    tw_mail_sign(world, TW_MAIL_OPEN, mail->wire, false, mail->life);
}

static void lose_connection(struct tw_world *world, const struct tw_mail *mail) {
    struct tw_wire *wire = &world->wire[mail->wire];
    uint32_t connection = wire->connection;
    wire->connection = TW_NO_CONNECTION;
    if (connection != TW_NO_CONNECTION)
        tw_node_lost(world->server[mail->to].node, connection, "the connection was closed");
}

/* Whatever it was, the node's effects follow at once. */
static void take_in(struct tw_world *world, struct tw_mail *mail) {
    struct tw_wire *wire = &world->wire[mail->wire];
    struct tw_error error;
    enum tw_status status = TW_OK;
    uint32_t index = mail->to;
    world->server[index].busy = true;
    if (mail->kind == TW_MAIL_OPEN) {
        open_connection(world, mail);
    } else if (mail->kind == TW_MAIL_CLOSED) {
        lose_connection(world, mail);
    } else if (wire->connection != TW_NO_CONNECTION) {
        status = hear(world, mail, &error);
        if (status == TW_AGAIN) {
            wire->up_waits = true;
            tw_mail_add(&wire->held_up, mail);
            tw_world_server_drain(world, index);
            return;
        }
        if (status != TW_OK && wire->connection != TW_NO_CONNECTION)
            close_connection(world, index, wire->connection, status, error.text);
    }
    tw_mail_free(world, mail);
    tw_world_server_drain(world, index);
}

/* The next one; an End keeps the server busy first. */
static void receive(struct tw_world *world, struct tw_mail *mail) {
    struct tw_world_server *server = &world->server[mail->to];
    const struct tw_wire *wire = &world->wire[mail->wire];
    bool waits = wire->up_waits && mail->kind != TW_MAIL_OPEN && mail->kind != TW_MAIL_CLOSED;
    if (mail->life != wire->life) { /* it has waited, and its connection has not */
        tw_mail_discard(world, mail);
        return;
    }
    if (waits) {
        tw_mail_add(&world->wire[mail->wire].held_up, mail);
        return;
    }
    if (!world->config.service || mail->kind != TW_MAIL_FRAME || mail->frame.body != TW_BODY_END) {
        take_in(world, mail);
        return;
    }
    server->serving = mail;
    server->serving_still_ns = server->still_ns;
    uint64_t takes_ns = tw_world_ns(tw_delay_next(world->config.service, &server->service));
    tw_world_put(world, world->now_ns + takes_ns, TW_WORLD_SERVED, mail->to, 0);
}

/* Between two pieces of a push control is heard. */
void tw_world_server_mail(struct tw_world *world, struct tw_mail *mail) {
    struct tw_world_server *server = &world->server[mail->to];
    bool bulk = world->wire[mail->wire].link != 0;
    if (server->stands_still)
        tw_mail_add(&server->not_heard, mail);
    else if (server->serving && bulk)
        tw_mail_add(&server->waiting, mail);
    else
        receive(world, mail);
}

void tw_world_server_served(struct tw_world *world, uint32_t index) {
    struct tw_world_server *server = &world->server[index];
    struct tw_mail *mail = server->serving;
    uint64_t still_ns = server->still_ns - server->serving_still_ns;
    if (still_ns) { /* it was not busy with it meanwhile */
        server->serving_still_ns = server->still_ns;
        tw_world_put(world, world->now_ns + still_ns, TW_WORLD_SERVED, index, 0);
        return;
    }
    server->serving = NULL;
    if (mail->life == world->wire[mail->wire].life)
        take_in(world, mail);
    else
        tw_mail_free(world, mail);
    while (!server->serving && server->waiting.first)
        receive(world, tw_mail_take(&server->waiting));
}

/* ---- standing still ---- */

void tw_world_server_pause(struct tw_world *world, const struct tw_mishap *mishap) {
    struct tw_world_server *server = &world->server[mishap->rank];
    uint64_t still_ns = tw_world_ns(mishap->seconds);
    if (server->stands_still)
        return;
    server->stands_still = true;
    server->still_ns += still_ns;
    tw_world_put(world, world->now_ns + still_ns, TW_WORLD_SERVER_GOES_ON, mishap->rank, 0);
}

void tw_world_server_goes_on(struct tw_world *world, uint32_t index) {
    struct tw_world_server *server = &world->server[index];
    server->stands_still = false;
    server->busy = true;
    tw_mail_prepend(&world->now, &server->not_heard);
}
