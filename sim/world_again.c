/* Servers that die, and what the run begins again from.
 *
 * Happy path: CHECKPOINT in the log -> every shard says its chunks, one after the other, which are
 * shown to the program, and copied where a server is going to die -> all of them are: it is the
 * last whole one. A server dies -> nothing is left of any process, nor of what was on its way ->
 * AGAIN, as long after as the mishap says: new nodes, ROLLBACK, their arrays are filled, and all
 * workers start. Saving and loading take no time.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/world_state.h"

/* ---- checkpoints ---- */

bool tw_again_is_wanted(const struct tw_world_config *config) {
    for (size_t i = 0; i < config->mishap_count; i++) {
        const struct tw_mishap *mishap = &config->mishaps[i];
        if (mishap->kind == TW_MISHAP_SERVER_DEATH && isfinite(mishap->seconds))
            return true;
    }
    return false;
}

static uint32_t arrays_of(const struct tw_world *world) {
    return tw_shard_arrays(tw_node_shard(world->server[0].node));
}

static bool make_save(struct tw_world *world, struct tw_world_save *save) {
    size_t elements = (size_t)world->config.node.shard.layout->elements;
    save->block = malloc(elements * arrays_of(world) * sizeof(float));
    save->snapshot.step = calloc(world->workers, sizeof(*save->snapshot.step));
    return save->block && save->snapshot.step;
}

enum tw_status tw_again_init(struct tw_world *world, struct tw_error *error) {
    const struct tw_layout *layout = world->config.node.shard.layout;
    size_t at = 0;
    if (!world->copies)
        return TW_OK;
    world->save_first = calloc(layout->chunks, sizeof(*world->save_first));
    if (!world->save_first || !make_save(world, &world->saved) || !make_save(world, &world->draft))
        return tw_error_set(error, TW_NO_MEMORY, "no memory for a checkpoint of %zu weights",
                            world->elements);
    for (uint32_t i = 0; i < layout->chunks; i++) {
        world->save_first[i] = at;
        at += (size_t)layout->chunk[i].count * arrays_of(world);
    }
    return TW_OK;
}

void tw_again_fini(struct tw_world *world) {
    free(world->save_first);
    free(world->saved.block);
    free(world->saved.snapshot.step);
    free(world->draft.block);
    free(world->draft.snapshot.step);
}

static void take_snapshot(struct tw_world *world, struct tw_sequencer_snapshot *to) {
    tw_sequencer_snapshot_copy(to, tw_sequencer_snapshot(tw_node_sequencer(world->server[0].node)));
}

void tw_again_checkpoint(struct tw_world *world) {
    const struct tw_world_program *program = &world->config.program;
    const struct tw_node *lead = world->server[0].node;
    if (program->checkpoint)
        program->checkpoint(program->context, tw_sequencer_snapshot(tw_node_sequencer(lead)),
                            world->now_ns);
    if (world->copies)
        take_snapshot(world, &world->draft.snapshot);
    world->draft.left = world->config.node.shard.layout->chunks;
}

/* All of it is there. The lead may take the next one. */
static void keep(struct tw_world *world, uint32_t index) {
    struct tw_world_save saved = world->saved;
    if (world->copies) {
        world->saved = world->draft;
        world->draft = saved;
    }
    tw_node_checkpointed(world->server[0].node);
    if (index) /* else its effects are being carried out */
        tw_world_server_drain(world, 0);
}

void tw_again_save(struct tw_world *world, uint32_t index, uint32_t chunk) {
    const struct tw_world_program *program = &world->config.program;
    struct tw_node *node = world->server[index].node;
    size_t count = world->config.node.shard.layout->chunk[chunk].count;
    for (uint32_t a = 0; a < arrays_of(world); a++) {
        const float *from = tw_shard_array(tw_node_shard(node), a, chunk);
        if (world->copies)
            memcpy(world->draft.block + world->save_first[chunk] + a * count, from,
                   count * sizeof(float));
        if (program->saves)
            program->saves(program->context, index, from);
    }
    tw_node_saved(node);
    if (--world->draft.left == 0)
        keep(world, index);
}

/* In whole milliseconds, as a server counts them. */
static uint64_t period_ns(const struct tw_world *world) {
    return (uint64_t)(world->config.checkpoint_seconds * 1e3) * 1000000;
}

bool tw_again_saves(const struct tw_world *world) {
    return world->config.node.sequencer.checkpoint_every || period_ns(world);
}

void tw_again_plan_next(struct tw_world *world) {
    if (period_ns(world))
        tw_world_put(world, world->now_ns + period_ns(world), TW_WORLD_SAVES, 0, 0);
}

void tw_again_due(struct tw_world *world) {
    if (world->finished)
        return;
    if (!world->server[0].stands_still) {
        tw_node_checkpoint(world->server[0].node);
        world->server[0].busy = true;
        tw_world_server_drain(world, 0);
    }
    tw_again_plan_next(world);
}

/* ---- a death ---- */

static void fail(struct tw_world *world, uint32_t server) {
    char text[TW_ERROR_TEXT];
    snprintf(text, sizeof(text),
             "server %u was killed before the run was done, after update %" PRIu64
             ", and its part of the weights is lost; SERVER@TIME+SECONDS would begin the run again",
             server, tw_sequencer_version(tw_node_sequencer(world->server[0].node)));
    world->broken = true;
    tw_world_fail(world, TW_CLOSED, text);
}

static void stop_all(struct tw_world *world) {
    tw_net_clear(world);
    tw_mail_fini(world);
    tw_mail_init(world);
    tw_mail_cut_wires(world);
    for (uint32_t i = 0; i < world->processes; i++) {
        struct tw_world_worker *worker = &world->worker[i];
        worker->lives = worker->computes = worker->stands_still = false;
        worker->tick_ns = UINT64_MAX;
        worker->not_heard.first = NULL;
    }
    for (uint32_t s = 0; s < world->servers; s++) {
        struct tw_world_server *server = &world->server[s];
        server->busy = server->stands_still = false;
        server->serving = server->waiting.first = server->not_heard.first = NULL;
        if (server->inbox)
            memset(server->inbox, 0, sizeof(*server->inbox));
    }
    memset(&world->outbox, 0, sizeof(world->outbox));
}

void tw_again_death(struct tw_world *world, const struct tw_mishap *mishap) {
    if (world->finished)
        return;
    if (isinf(mishap->seconds)) {
        fail(world, mishap->rank);
        return;
    }
    stop_all(world);
    world->died_ns = world->down ? world->died_ns : world->now_ns;
    world->down = true;
    world->agenda.count = 0;
    world->hopes = 0;
    tw_world_put_mishaps(world);
    tw_world_put(world, world->now_ns + tw_world_ns(mishap->seconds), TW_WORLD_AGAIN, 0, 0);
}

/* ---- beginning again ---- */

static void fill(struct tw_world *world, uint32_t index) {
    const struct tw_layout *layout = world->config.node.shard.layout;
    struct tw_shard *shard = tw_node_shard_to_fill(world->server[index].node);
    for (uint32_t i = layout->shard_first[index]; i < layout->shard_first[index + 1]; i++) {
        size_t count = layout->chunk[i].count;
        const float *from = world->saved.block + world->save_first[i];
        for (uint32_t a = 0; a < arrays_of(world); a++, from += count)
            memcpy(tw_shard_array(shard, a, i), from, count * sizeof(float));
    }
}

void tw_again_begin(struct tw_world *world) {
    const struct tw_world_program *program = &world->config.program;
    struct tw_node *lead = world->server[0].node;
    struct tw_sequencer_snapshot *from = &world->saved.snapshot;
    struct tw_sequencer_resume resume = {.from = from,
                                         .generation = ++world->generation,
                                         .position =
                                             tw_sequencer_position(tw_node_sequencer(lead))};
    for (uint32_t s = 0; s < world->servers; s++)
        tw_world_init_server(world, s, true);
    for (uint32_t s = 1; s < world->servers; s++)
        tw_node_add_server(world->server[0].node, s, TW_NO_CONNECTION);
    if (!from->position) /* none was taken: the start, whose weights are there */
        take_snapshot(world, from);
    world->down = world->started = world->stopping = false;
    if (program->again)
        program->again(program->context, from, world->generation, world->died_ns, world->now_ns);
    tw_node_resume(world->server[0].node, &resume);
    tw_world_server_drain(world, 0);
    for (uint32_t s = 0; s < world->servers && from->position; s++)
        fill(world, s);
    tw_node_restored(world->server[0].node);
    tw_world_start_workers(world);
}
