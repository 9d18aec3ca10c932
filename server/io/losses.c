/* Workers that are gone: on_worker_loss of the job.
 *
 * At every tick the lead looks who was here and is not. One that only reconnects is back
 * long before its time of grace is over. When it is over, the rank is evicted, by a record
 * of the log: the others go on, and whoever takes the rank later takes part again. Or the
 * run ends and says for whom. Before the start nobody can be evicted: all must have come. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/io/server_state.h"

enum tw_status tw_losses_init(struct tw_server *server) {
    struct tw_losses *losses = &server->losses;
    losses->rank = calloc((size_t)server->config->job->workers, sizeof(*losses->rank));
    return losses->rank ? TW_OK : TW_NO_MEMORY;
}

void tw_losses_fini(struct tw_server *server) {
    free(server->losses.rank);
}

double tw_losses_seconds(const struct tw_server *server, uint32_t rank) {
    return (double)server->losses.rank[rank].gone_ms * 1e-3;
}

static bool is_gone(const struct tw_server *server, uint32_t rank) {
    struct tw_standing standing = tw_sequencer_standing(tw_node_sequencer(server->node), rank);
    return standing.came && !standing.here && !standing.evicted;
}

static void evict(struct tw_server *server, uint32_t rank) {
    tw_node_evict(server->node, rank);
    tw_pump_wake(server);
    tw_pump_drain(server);
}

static void fail_for(struct tw_server *server, uint32_t rank) {
    tw_error_set(&server->losses.failed, TW_CLOSED,
                 "worker %u has been gone for %.1f s, since before update %" PRIu64
                 ", and on_worker_loss is fail",
                 rank, tw_losses_seconds(server, rank),
                 tw_sequencer_version(tw_node_sequencer(server->node)) + 1);
    tw_server_stop(server);
}

void tw_losses_tick(struct tw_server *server, uint64_t passed_ms) {
    const struct tw_job *job = server->config->job;
    enum tw_loss_action action = job->on_worker_loss.action;
    uint64_t grace_ms = (uint64_t)(job->on_worker_loss.after * 1000);
    bool counts = action == TW_LOSS_FAIL || (action == TW_LOSS_EVICT && server->narrator.started);
    for (uint32_t rank = 0; counts && rank < (uint32_t)job->workers; rank++) {
        if (server->finished || server->stopping)
            return;
        struct tw_absence *absence = &server->losses.rank[rank];
        if (!tw_absence_tick(absence, is_gone(server, rank), passed_ms, grace_ms))
            continue;
        if (action == TW_LOSS_EVICT)
            evict(server, rank);
        else
            fail_for(server, rank);
    }
}
