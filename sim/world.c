/* Making a virtual cluster, the clock, and the end. */
#include "sim/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/world_state.h"

/* So far from where numbers go round that no sum of a time and what something takes gets there. */
#define TIME_END_NS INT64_MAX

uint64_t tw_world_ns(double seconds) {
    return seconds < 1e9 ? (uint64_t)(seconds * 1e9 + 0.5) : (uint64_t)1000000000 * 1000000000;
}

void tw_world_fail(struct tw_world *world, enum tw_status status, const char *text) {
    if (world->failed.status == TW_OK)
        tw_error_set(&world->failed, status, "%s", text);
}

/* Heartbeats and checkpoints alone bring nobody forward. */
static bool brings_forward(enum tw_world_event kind) {
    return kind != TW_WORLD_TICK && kind != TW_WORLD_SAVES;
}

void tw_world_put(struct tw_world *world, uint64_t time_ns, enum tw_world_event kind,
                  uint32_t worker, uint64_t value) {
    struct tw_agenda *agenda = &world->agenda;
    if (time_ns > TIME_END_NS) {
        tw_world_fail(
            world, TW_LIMIT,
            "virtual time has come to its end, after 292 years: something takes too long");
        return;
    }
    if (agenda->count == agenda->room) {
        size_t room = 2 * agenda->room;
        struct tw_agenda_event *heap = realloc(agenda->heap, room * sizeof(*heap));
        if (!heap) {
            tw_world_fail(world, TW_NO_MEMORY, "out of memory for what is going to happen");
            return;
        }
        agenda->heap = heap;
        agenda->room = room;
    }
    struct tw_agenda_event event = {
        .time_ns = time_ns,
        .priority = kind,
        .worker = worker,
        .kind = kind,
        .value = value,
    };
    world->hopes += brings_forward(kind);
    tw_agenda_put(agenda, &event);
}

/* ---- making ---- */

static bool dies_for_good(const struct tw_mishap *mishaps, size_t count, uint32_t rank) {
    for (size_t i = 0; i < count; i++)
        if (mishaps[i].rank == rank && mishaps[i].kind == TW_MISHAP_DEATH &&
            isinf(mishaps[i].seconds))
            return true;
    return false;
}

static bool is_of_server(const struct tw_mishap *mishap) {
    return mishap->kind == TW_MISHAP_SERVER_DEATH || mishap->kind == TW_MISHAP_SERVER_PAUSE;
}

static enum tw_status check_mishap(const struct tw_mishap *mishap, uint32_t workers,
                                   uint32_t servers, struct tw_error *error) {
    bool server = is_of_server(mishap);
    uint32_t all = server ? servers : workers;
    if (mishap->rank >= all)
        return tw_error_set(error, TW_USAGE, "there is no %s %u: the last of %u is %u",
                            server ? "server" : "worker", mishap->rank, all, all - 1);
    if (!(mishap->at >= 0))
        return tw_error_set(error, TW_USAGE, "%g s: virtual time begins at 0", mishap->at);
    return mishap->seconds >= 0 ? TW_OK
                                : tw_error_set(error, TW_USAGE, "%g s: nothing lasts less than 0 s",
                                               mishap->seconds);
}

enum tw_status tw_world_check_mishaps(const struct tw_mishap *mishaps, size_t count,
                                      uint32_t workers, uint32_t servers, struct tw_error *error) {
    enum tw_status status = TW_OK;
    uint32_t dead = 0;
    for (size_t i = 0; i < count && status == TW_OK; i++)
        status = check_mishap(&mishaps[i], workers, servers, error);
    while (status == TW_OK && dead < workers && dies_for_good(mishaps, count, dead))
        dead++;
    if (status == TW_OK && dead == workers)
        status = tw_error_set(
            error, TW_USAGE, "all %u workers die for good: nobody would be left to train", workers);
    return status;
}

static void *allocate(size_t count, size_t size) {
    return calloc(count ? count : 1, size);
}

static bool make_worker(struct tw_world *world, struct tw_world_worker *worker) {
    const struct tw_tensor_list *list = world->config.list;
    size_t at = 0;
    worker->tick_ns = UINT64_MAX;
    worker->block = allocate(world->elements, sizeof(float));
    worker->weights = allocate((size_t)list->count, sizeof(float *));
    if (!worker->evaluator)
        worker->gradient = allocate(world->elements, sizeof(float));
    if (!worker->block || !worker->weights || (!worker->gradient && !worker->evaluator))
        return false;
    for (int i = 0; i < list->count; i++) {
        worker->weights[i] = worker->block + at;
        at += (size_t)list->tensors[i].elements;
    }
    return true;
}

static enum tw_status make_workers(struct tw_world *world, struct tw_error *error) {
    bool good = true;
    for (uint32_t i = 0; good && i < world->processes; i++) {
        world->worker[i].evaluator = i == world->workers;
        good = make_worker(world, &world->worker[i]);
        tw_delay_begin(&world->config.delay, i, &world->worker[i].delay);
    }
    tw_mail_cut_wires(world);
    return good ? TW_OK
                : tw_error_set(error, TW_NO_MEMORY, "no memory for %u workers with %zu weights",
                               world->workers, world->elements);
}

static enum tw_status make(struct tw_world *world, struct tw_error *error) {
    const struct tw_world_config *config = &world->config;
    size_t room = 64 + 8 * (size_t)world->processes;
    struct tw_agenda_event *heap = allocate(room, sizeof(*heap));
    world->worker = allocate(world->processes, sizeof(*world->worker));
    world->server = allocate(world->servers, sizeof(*world->server));
    world->wire = allocate((size_t)world->processes * (world->servers + 1), sizeof(*world->wire));
    tw_agenda_init(&world->agenda, heap, room);
    if (!heap || !world->worker || !world->server || !world->wire)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for %u workers", world->workers);
    tw_rng_init(&world->rng, config->seed, TW_STREAM_JITTER, 1, 0);
    tw_mail_init(world);
    enum tw_status status = tw_net_init(world, error);
    if (status == TW_OK)
        status = make_workers(world, error);
    if (status == TW_OK)
        status = tw_world_make_servers(world, error);
    return status ? status : tw_again_init(world, error);
}

enum tw_status tw_world_new(struct tw_world **out, const struct tw_world_config *config,
                            struct tw_error *error) {
    *out = NULL;
    struct tw_world *world = calloc(1, sizeof(*world));
    if (!world)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    world->config = *config;
    world->workers = config->node.shard.slots;
    world->servers = config->node.servers;
    world->latency_ns = tw_world_ns(config->latency);
    world->copies = tw_again_is_wanted(config);
    world->processes = world->workers + config->node.sequencer.evaluator;
    for (int i = 0; i < config->list->count; i++)
        world->elements += (size_t)config->list->tensors[i].elements;
    enum tw_status status = tw_world_check_mishaps(config->mishaps, config->mishap_count,
                                                   world->workers, config->node.servers, error);
    if (status == TW_OK)
        status = make(world, error);
    if (status == TW_OK)
        *out = world;
    else
        tw_world_free(world);
    return status;
}

void tw_world_free(struct tw_world *world) {
    if (!world)
        return;
    tw_net_fini(world);
    tw_again_fini(world);
    for (uint32_t i = 0; world->worker && i < world->processes; i++) {
        free(world->worker[i].memory);
        free(world->worker[i].block);
        free(world->worker[i].gradient);
        free(world->worker[i].weights);
    }
    for (uint32_t s = 0; world->server && s < world->servers; s++) {
        free(world->server[s].memory);
        free(world->server[s].wire_of);
        free(world->server[s].inbox);
    }
    tw_mail_fini(world);
    free(world->agenda.heap);
    free(world->worker);
    free(world->server);
    free(world->wire);
    free(world);
}

/* ---- the clock ---- */

static struct tw_mail *mail_of(const struct tw_agenda_event *event) {
    return (struct tw_mail *)(uintptr_t)event->value;
}

static void suffer(struct tw_world *world, const struct tw_mishap *mishap) {
    if (world->down)
        return;
    if (mishap->kind == TW_MISHAP_SERVER_DEATH)
        tw_again_death(world, mishap);
    else if (mishap->kind == TW_MISHAP_SERVER_PAUSE)
        tw_world_server_pause(world, mishap);
    else
        tw_world_worker_mishap(world, mishap);
}

static void happen(struct tw_world *world, const struct tw_agenda_event *event) {
    world->now_ns = event->time_ns;
    world->hopes -= brings_forward((enum tw_world_event)event->kind);
    switch ((enum tw_world_event)event->kind) {
    case TW_WORLD_LINE:
        tw_net_line(world, (struct tw_port *)(uintptr_t)event->value);
        break;
    case TW_WORLD_ARRIVES:
        tw_net_arrives(world, mail_of(event));
        break;
    case TW_WORLD_DELIVERED:
        tw_mail_deliver(world, mail_of(event));
        break;
    case TW_WORLD_SERVED:
        tw_world_server_served(world, event->worker);
        break;
    case TW_WORLD_COMPUTED:
        tw_world_worker_computed(world, event->worker, event->value);
        break;
    case TW_WORLD_MISHAP:
        suffer(world, &world->config.mishaps[event->value]);
        break;
    case TW_WORLD_SERVER_GOES_ON:
        tw_world_server_goes_on(world, event->worker);
        break;
    case TW_WORLD_AGAIN:
        tw_again_begin(world);
        break;
    case TW_WORLD_SAVES:
        tw_again_due(world);
        break;
    case TW_WORLD_COMES:
        tw_world_worker_start(world, event->worker);
        break;
    case TW_WORLD_GOES_ON:
        tw_world_worker_goes_on(world, event->worker, event->value);
        break;
    case TW_WORLD_LOST:
        tw_world_server_lost(world, event->worker, event->value);
        break;
    case TW_WORLD_TICK:
        tw_world_worker_tick(world, event->worker);
        break;
    }
}

/* All that takes no time: what was said is heard, and then servers work. */
static void settle(struct tw_world *world) {
    bool works = true;
    while (works && world->failed.status == TW_OK) {
        while (world->now.first && world->failed.status == TW_OK) {
            world->events++;
            tw_mail_deliver(world, tw_mail_take(&world->now));
        }
        works = false;
        for (uint32_t s = 0; s < world->servers; s++)
            works |= tw_world_server_work(world, s);
    }
}

void tw_world_start_workers(struct tw_world *world) {
    const struct tw_world_config *config = &world->config;
    for (uint32_t i = 0; i < world->processes; i++) {
        uint64_t at_ns = 0;
        for (size_t m = 0; m < config->mishap_count; m++)
            if (config->mishaps[m].kind == TW_MISHAP_ABSENCE && config->mishaps[m].rank == i)
                at_ns = tw_world_ns(config->mishaps[m].at);
        at_ns = at_ns > world->now_ns ? at_ns : world->now_ns;
        tw_world_put(world, at_ns, TW_WORLD_COMES, i, 0);
    }
}

void tw_world_put_mishaps(struct tw_world *world) {
    const struct tw_world_config *config = &world->config;
    for (size_t m = 0; m < config->mishap_count; m++) {
        uint64_t at_ns = tw_world_ns(config->mishaps[m].at);
        bool to_come = at_ns > world->now_ns || !world->events;
        if (config->mishaps[m].kind != TW_MISHAP_ABSENCE && to_come)
            tw_world_put(world, at_ns, TW_WORLD_MISHAP, config->mishaps[m].rank, m);
    }
}

static void stand_still(struct tw_world *world) {
    const struct tw_world_config *config = &world->config;
    char text[240], who[80] = "a worker that never comes";
    for (uint32_t i = world->workers; i-- > 0;)
        if (dies_for_good(config->mishaps, config->mishap_count, i) && !world->worker[i].lives)
            snprintf(who, sizeof who, "worker %u, which died; nobody takes its place", i);
    snprintf(text, sizeof(text),
             "the run stands still after %.6g s of virtual time, at update %llu: it waits for %s",
             (double)world->now_ns * 1e-9,
             (unsigned long long)tw_sequencer_version(tw_node_sequencer(world->server[0].node)),
             who);
    tw_world_fail(world, TW_UNEXPECTED, text);
}

/* Or a client that tries to join, with heartbeats alone. */
static bool has_hope(const struct tw_world *world) {
    for (uint32_t i = 0; !world->hopes && i < world->processes; i++) {
        const struct tw_world_worker *worker = &world->worker[i];
        if (worker->lives && !tw_client_over(&worker->client) &&
            worker->client.phase != TW_CLIENT_JOINED)
            return true;
    }
    return world->hopes > 0;
}

/* At the end, also those that nobody hears of any more are let go. */
static bool has_left(struct tw_world *world) {
    while (world->left < world->processes && world->now_ns <= world->until_ns) {
        uint32_t control = world->left * (world->servers + 1);
        if (world->wire[control].connection != TW_NO_CONNECTION)
            return false;
        world->left++;
    }
    return true;
}

static bool is_over(struct tw_world *world) {
    return (world->finished && (world->leaves ? has_left(world) : !world->letters)) ||
           world->failed.status != TW_OK;
}

/* From one event to the next, until it is over; false: nothing can ever happen again. */
static bool live(struct tw_world *world) {
    const struct tw_world_program *program = &world->config.program;
    struct tw_agenda_event event;
    while (!is_over(world)) {
        if (!has_hope(world) || !tw_agenda_take(&world->agenda, &event))
            return false;
        world->events++;
        happen(world, &event);
        settle(world);
        if (!world->down && !world->stopping && program->stops &&
            program->stops(program->context)) {
            tw_world_server_stop(world);
            settle(world);
        }
    }
    return true;
}

void tw_world_goodbye(struct tw_world *world) {
    enum tw_status status = world->finished_status;
    if (!world->finished || world->failed.status != TW_OK)
        return;
    world->stopping = world->leaves = true;
    world->until_ns = world->now_ns + (uint64_t)TW_GOODBYE_MS * 1000000;
    tw_node_goodbye(world->server[0].node, status, tw_status_text((int)status));
    tw_world_server_drain(world, 0);
    settle(world);
    live(world);
}

enum tw_status tw_world_run(struct tw_world *world, struct tw_error *error) {
    tw_world_start_workers(world);
    tw_world_put_mishaps(world);
    if (!live(world))
        stand_still(world);
    if (world->failed.status != TW_OK) {
        *error = world->failed;
        return error->status;
    }
    if (world->finished_status == TW_INTERRUPTED && world->lost.status != TW_OK) {
        *error = world->lost;
        return error->status;
    }
    if (world->finished_status != TW_OK)
        tw_error_set(error, world->finished_status, "%s",
                     tw_status_text((int)world->finished_status));
    return world->finished_status;
}

/* ---- what became of it ---- */

uint64_t tw_world_now_ns(const struct tw_world *world) {
    return world->now_ns;
}

uint64_t tw_world_events(const struct tw_world *world) {
    return world->events;
}

const struct tw_node *tw_world_lead(const struct tw_world *world) {
    return world->server[0].node;
}

static bool collect(const struct tw_world *world, float *out, bool average) {
    const struct tw_layout *layout = world->config.node.shard.layout;
    for (uint32_t s = 0; s < world->servers; s++) {
        const struct tw_shard *shard = tw_node_shard(world->server[s].node);
        for (uint32_t i = layout->shard_first[s]; i < layout->shard_first[s + 1]; i++) {
            const struct tw_chunk *chunk = &layout->chunk[i];
            const float *from = average ? tw_shard_average(shard, i) : tw_shard_weights(shard, i);
            if (!from)
                return false;
            size_t before = 0;
            for (uint32_t t = 0; t < chunk->tensor; t++)
                before += (size_t)layout->list->tensors[t].elements;
            memcpy(out + before + chunk->first, from, chunk->count * sizeof(float));
        }
    }
    return true;
}

bool tw_world_is_broken(const struct tw_world *world) {
    return world->broken;
}

enum tw_status tw_world_check_staleness(const struct tw_world *world, struct tw_error *error) {
    enum tw_status status = TW_OK;
    for (uint32_t i = 0; i < world->servers && status == TW_OK; i++)
        status = tw_shard_check_staleness(tw_node_shard(world->server[i].node), error);
    return status;
}

void tw_world_weights(const struct tw_world *world, float *out) {
    collect(world, out, false);
}

bool tw_world_average(const struct tw_world *world, float *out) {
    return collect(world, out, true);
}
