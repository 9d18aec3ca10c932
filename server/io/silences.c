/* A worker that was given a permit and then falls silent (stopped, or its machine is) keeps all
 * others waiting. Its connections are closed: then the sequencer takes the permit back, as from
 * any worker that is lost, and the next ones have it. When it wakes up it connects again. */
#include "server/io/server_state.h"

static void let_go(struct tw_server *server, uint32_t rank) {
    char text[128];
    snprintf(text, sizeof(text),
             "it had a permit to push, and nothing was heard of it for %.0f s: others go first",
             tw_waits_silent_seconds(server, rank));
    for (struct tw_link *link = server->links; link; link = link->next)
        if (link->number != TW_NO_CONNECTION && tw_node_rank(server->node, link->number) == rank) {
            tw_links_part(link, TW_SLOW_PEER, text);
            return; /* the node closes its others */
        }
}

void tw_permits_tick(struct tw_server *server) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    uint64_t awake_ms = uv_now(&server->loop) - server->waits.woke_ms;
    if (!sequencer || awake_ms < TW_PERMIT_SILENT_MS)
        return; /* who was stopped itself has heard of nobody */
    for (uint32_t rank = 0; rank < (uint32_t)server->config->job->workers; rank++) {
        struct tw_standing standing = tw_sequencer_standing(sequencer, rank);
        if (standing.permitted && standing.reading && standing.here &&
            tw_waits_silent_seconds(server, rank) * 1e3 >= TW_PERMIT_SILENT_MS)
            let_go(server, rank);
    }
    tw_pump_drain(server);
}
