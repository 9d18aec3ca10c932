/* How long frames are on their way.
 *
 * Each process has a line out and a line in, which its connections share (sim/line.h). The first
 * frame of a connection begins to leave, and its first bytes come in at the other end a latency
 * later, while the last ones are still leaving: so it is there when both ends are done with it. The
 * next one of the same connection follows when it has left, and is taken in behind it. Where a
 * connection has more than one frame on its way, the network holds them.
 *
 * Without a bandwidth a frame has left at once, and is there a latency later; without a latency,
 * too, all of this is now, in the order of sending.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/world_state.h"

/* ---- who ---- */

static uint32_t worker_of(const struct tw_world *world, const struct tw_mail *mail) {
    return mail->kind == TW_MAIL_LETTER ? 0 : world->wire[mail->wire].process;
}

static struct tw_flow *flow_of_wire(const struct tw_world *world, uint32_t wire, bool up) {
    return &world->flow[2 * (size_t)wire + up];
}

/* Letters are behind the wires. */
static struct tw_flow *flow_of(const struct tw_world *world, const struct tw_mail *mail) {
    size_t wires = (size_t)world->processes * (world->servers + 1);
    if (mail->kind == TW_MAIL_LETTER)
        return &world->flow[2 * wires + mail->from * world->servers + mail->to];
    return flow_of_wire(world, mail->wire, mail->up);
}

static struct tw_port *sender(struct tw_world *world, const struct tw_mail *mail) {
    bool server = mail->kind == TW_MAIL_LETTER || !mail->up;
    return server ? &world->server[mail->from].out : &world->worker[worker_of(world, mail)].out;
}

static struct tw_port *receiver(struct tw_world *world, const struct tw_mail *mail) {
    bool server = mail->kind == TW_MAIL_LETTER || mail->up;
    return server ? &world->server[mail->to].in : &world->worker[worker_of(world, mail)].in;
}

/* ---- how long ---- */

static uint64_t work_ns(const struct tw_world *world, const struct tw_mail *mail) {
    const struct tw_world_config *config = &world->config;
    double each = config->stands_for > 0 ? config->stands_for : 1;
    double bytes = TW_WORLD_HEAD_BYTES + (double)mail->frame.data_bytes * each;
    uint64_t ns = tw_world_ns(bytes / config->bandwidth);
    return ns > 0 ? ns : 1; /* or it would overtake the one before it on its connection */
}

/* Wakes us when the first that is on the line will be done. */
static void watch(struct tw_world *world, struct tw_port *port) {
    uint64_t due_ns = tw_line_due(&port->line);
    if (due_ns >= port->wakes_ns)
        return;
    port->wakes_ns = due_ns;
    tw_world_put(world, due_ns, TW_WORLD_LINE, 0, (uint64_t)(uintptr_t)port);
}

static void put_on(struct tw_world *world, struct tw_port *port, struct tw_mail *mail) {
    tw_line_begin(&port->line, world->now_ns, work_ns(world, mail), (uint64_t)(uintptr_t)mail);
    watch(world, port);
}

/* The last chunk of the lead's weights for a rank. */
static void note_served(struct tw_world *world, const struct tw_mail *mail) {
    const struct tw_world_config *config = &world->config;
    uint32_t rank = worker_of(world, mail);
    if (mail->kind != TW_MAIL_FRAME || mail->frame.body != TW_BODY_WEIGHTS ||
        rank >= world->workers ||
        mail->frame.weights.chunk + 1 != config->node.shard.layout->shard_first[1])
        return;
    config->program.served(config->program.context, rank, mail->frame.weights.position,
                           world->now_ns);
}

static void deliver_at(struct tw_world *world, struct tw_mail *mail, uint64_t time_ns) {
    if (time_ns <= world->now_ns)
        tw_mail_add(&world->now, mail);
    else
        tw_world_put(world, time_ns, TW_WORLD_DELIVERED, worker_of(world, mail),
                     (uint64_t)(uintptr_t)mail);
}

/* ---- the way of a frame ---- */

/* Its connection is gone, at the worker's end at least, and takes with it what waits. */
static bool is_stale(const struct tw_world *world, const struct tw_mail *mail) {
    if (mail->kind == TW_MAIL_LETTER)
        return false;
    const struct tw_wire *wire = &world->wire[mail->wire];
    return mail->life != wire->life || (!mail->up && !wire->client_open);
}

/* Both lines are done with it, or none will be. */
static void take_in(struct tw_world *world, struct tw_mail *mail) {
    mail->is_in = true;
    if (mail->there_ns != UINT64_MAX)
        deliver_at(world, mail, mail->there_ns);
}

void tw_net_arrives(struct tw_world *world, struct tw_mail *mail) {
    struct tw_flow *flow = flow_of(world, mail);
    if (is_stale(world, mail)) {
        take_in(world, mail); /* where it will be thrown away */
        return;
    }
    if (flow->coming) {
        tw_mail_add(&flow->arrived, mail);
        return;
    }
    flow->coming = mail;
    put_on(world, receiver(world, mail), mail);
    if (world->config.program.heard && mail->up && mail->frame.body == TW_BODY_PUSH)
        tw_world_server_heard(world, mail); /* the first bytes of it */
}

static void begin_to_leave(struct tw_world *world, struct tw_mail *mail) {
    flow_of(world, mail)->leaving = mail;
    mail->there_ns = UINT64_MAX;
    mail->is_in = false;
    put_on(world, sender(world, mail), mail);
    if (world->config.latency > 0)
        tw_world_put(world, world->now_ns + world->latency_ns, TW_WORLD_ARRIVES,
                     worker_of(world, mail), (uint64_t)(uintptr_t)mail);
    else
        tw_net_arrives(world, mail);
}

static void has_left(struct tw_world *world, struct tw_mail *mail) {
    struct tw_flow *flow = flow_of(world, mail);
    uint32_t worker = worker_of(world, mail);
    bool of_worker = mail->kind != TW_MAIL_LETTER && mail->up;
    if (world->config.program.served)
        note_served(world, mail);
    mail->there_ns = world->now_ns + world->latency_ns;
    if (mail->is_in)
        deliver_at(world, mail, mail->there_ns);
    flow->leaving = NULL;
    struct tw_mail *next;
    while ((next = tw_mail_take(&flow->waiting)) && is_stale(world, next))
        tw_mail_discard(world, next);
    if (next)
        begin_to_leave(world, next);
    if (of_worker)
        tw_world_worker_left(world, worker);
}

static void came_in(struct tw_world *world, struct tw_mail *mail) {
    struct tw_flow *flow = flow_of(world, mail);
    struct tw_mail *next;
    take_in(world, mail);
    flow->coming = NULL;
    while (!flow->coming && (next = tw_mail_take(&flow->arrived)))
        tw_net_arrives(world, next);
}

void tw_net_line(struct tw_world *world, struct tw_port *port) {
    uint64_t value;
    if (port->wakes_ns != world->now_ns)
        return; /* an earlier time was found since */
    while (tw_line_done(&port->line, world->now_ns, &value)) {
        struct tw_mail *mail = (struct tw_mail *)(uintptr_t)value;
        if (port->comes_in)
            came_in(world, mail);
        else
            has_left(world, mail);
    }
    port->wakes_ns = UINT64_MAX;
    watch(world, port);
}

void tw_net_post(struct tw_world *world, struct tw_mail *mail) {
    if (!world->flow) {
        if (world->config.program.served)
            note_served(world, mail);
        deliver_at(world, mail, world->now_ns + world->latency_ns);
        return;
    }
    struct tw_flow *flow = flow_of(world, mail);
    if (flow->leaving)
        tw_mail_add(&flow->waiting, mail);
    else
        begin_to_leave(world, mail);
}

bool tw_net_is_idle(const struct tw_world *world, uint32_t wire) {
    return !world->flow || !flow_of_wire(world, wire, true)->leaving;
}

/* ---- making ---- */

static bool make_port(struct tw_port *port, bool comes_in, size_t room) {
    struct tw_agenda_event *heap = calloc(room, sizeof(*heap));
    tw_line_init(&port->line, heap, room);
    port->comes_in = comes_in;
    port->wakes_ns = UINT64_MAX;
    return heap != NULL;
}

enum tw_status tw_net_init(struct tw_world *world, struct tw_error *error) {
    uint32_t servers = world->servers, links = servers + 1;
    size_t wires = (size_t)world->processes * links;
    if (isinf(world->config.bandwidth))
        return TW_OK;
    world->flow = calloc(2 * wires + (size_t)servers * servers, sizeof(*world->flow));
    bool good = world->flow != NULL;
    for (uint32_t i = 0; good && i < world->processes; i++)
        good = make_port(&world->worker[i].out, false, links) &&
               make_port(&world->worker[i].in, true, links);
    /* Control and bulk of everybody, and the other servers. */
    size_t room = 2 * (size_t)world->processes + servers;
    for (uint32_t s = 0; good && s < servers; s++)
        good = make_port(&world->server[s].out, false, room) &&
               make_port(&world->server[s].in, true, room);
    return good ? TW_OK
                : tw_error_set(error, TW_NO_MEMORY, "no memory for the network of %u workers",
                               world->workers);
}

static void clear_port(struct tw_port *port) {
    tw_line_init(&port->line, port->line.at_work.heap, port->line.at_work.room);
    port->wakes_ns = UINT64_MAX;
}

void tw_net_clear(struct tw_world *world) {
    uint32_t servers = world->servers;
    size_t wires = (size_t)world->processes * (servers + 1);
    if (!world->flow)
        return;
    memset(world->flow, 0, (2 * wires + (size_t)servers * servers) * sizeof(*world->flow));
    for (uint32_t i = 0; i < world->processes; i++) {
        clear_port(&world->worker[i].out);
        clear_port(&world->worker[i].in);
    }
    for (uint32_t s = 0; s < servers; s++) {
        clear_port(&world->server[s].out);
        clear_port(&world->server[s].in);
    }
}

void tw_net_fini(struct tw_world *world) {
    for (uint32_t i = 0; world->worker && i < world->processes; i++) {
        free(world->worker[i].out.line.at_work.heap);
        free(world->worker[i].in.line.at_work.heap);
    }
    for (uint32_t s = 0; world->server && s < world->servers; s++) {
        free(world->server[s].out.line.at_work.heap);
        free(world->server[s].in.line.at_work.heap);
    }
    free(world->flow);
}
