/* Workers that are connected, but of which nothing is heard: stopped, hanging, or their machine is.
 * A heartbeat comes every second, also while a worker computes, so silence is more than slowness.
 * The connections of one that was silent for too long are closed; from then on it is gone like any
 * other: a permit that it had is taken back, so that the next ones have it, and on_worker_loss says
 * what else (losses.c). When it wakes up it connects again. */
#include <math.h>
#include <stdio.h>

#include "server/io/server_state.h"

static void let_go(struct tw_server *server, uint32_t rank, const char *what) {
    char text[128];
    snprintf(text, sizeof(text), "%snothing was heard of it for %.0f s: others go %s", what,
             tw_waits_silent_seconds(server, rank), *what ? "first" : "on without it");
    for (struct tw_link *link = server->links; link; link = link->next)
        if (link->number != TW_NO_CONNECTION && tw_node_rank(server->node, link->number) == rank) {
            tw_links_part(link, TW_SLOW_PEER, text);
            return; /* the node closes its others */
        }
}

/* So much silence makes of any worker one that is gone; 0: none does. */
static uint64_t patience_ms(const struct tw_server *server) {
    const struct tw_job *job = server->config->job;
    return job->on_worker_loss.action == TW_LOSS_WAIT || !server->narrator.started
               ? 0
               : (uint64_t)(job->on_worker_loss.silent * 1000);
}

void tw_silences_tick(struct tw_server *server) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    uint64_t awake_ms = uv_now(&server->loop) - server->waits.woke_ms, most = patience_ms(server);
    for (uint32_t rank = 0; sequencer && rank < (uint32_t)server->config->job->workers; rank++) {
        struct tw_standing standing = tw_sequencer_standing(sequencer, rank);
        /* Who was stopped itself has heard of nobody. */
        double silent_ms = fmin(tw_waits_silent_seconds(server, rank) * 1e3, (double)awake_ms);
        bool holds = standing.permitted && standing.reading;
        if (!standing.here)
            continue;
        if (holds && silent_ms >= TW_PERMIT_SILENT_MS)
            let_go(server, rank, "it had a permit to push, and ");
        else if (most && silent_ms >= (double)most)
            let_go(server, rank, "");
    }
    tw_pump_drain(server);
}
