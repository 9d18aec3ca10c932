/* Workers and evaluators that are connected, but of which nothing is heard: stopped, hanging, or
 * their machine is. A heartbeat comes every second, also while they compute, so silence is more
 * than slowness. The connections of one that was silent for too long are closed; from then on it is
 * gone like any other: a permit that it had is taken back, so that the next ones have it, a part of
 * the test data goes to another evaluator, and on_worker_loss says what else (losses.c). When it
 * wakes up it connects again. */
#include <math.h>
#include <stdio.h>

#include "server/io/server_state.h"

/* One of its connections is closed, the node closes its others. */
static void let_go(struct tw_link *link, const char *what, double silent_ms) {
    char text[128];
    snprintf(text, sizeof(text), "%snothing was heard of it for %.0f s: others go %s", what,
             silent_ms * 1e-3, *what ? "first" : "on without it");
    tw_links_part(link, TW_SLOW_PEER, text);
}

static void let_go_of_rank(struct tw_server *server, uint32_t rank, const char *what,
                           double silent_ms) {
    for (struct tw_link *link = server->links; link; link = link->next)
        if (link->number != TW_NO_CONNECTION && tw_node_rank(server->node, link->number) == rank) {
            let_go(link, what, silent_ms);
            return;
        }
}

/* `most`: so much silence makes of any worker one that is gone; 0: none does. */
static void check_workers(struct tw_server *server, double awake_ms, double most) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    for (uint32_t rank = 0; rank < (uint32_t)server->config->job->workers; rank++) {
        struct tw_standing standing = tw_sequencer_standing(sequencer, rank);
        double silent_ms = fmin(tw_waits_silent_seconds(server, rank) * 1e3, awake_ms);
        bool holds = standing.permitted && standing.reading;
        if (!standing.here)
            continue;
        if (holds && silent_ms >= TW_PERMIT_SILENT_MS)
            let_go_of_rank(server, rank, "it had a permit to push, and ", silent_ms);
        else if (most > 0 && silent_ms >= most)
            let_go_of_rank(server, rank, "", silent_ms);
    }
}

static void check_evaluators(struct tw_server *server, double awake_ms, double most) {
    struct tw_link *next;
    for (struct tw_link *link = server->links; link && most > 0; link = next) {
        next = link->next;
        double silent_ms = fmin((double)(uv_now(&server->loop) - link->heard_ms), awake_ms);
        if (link->number == TW_NO_CONNECTION || silent_ms < most ||
            !tw_node_is_evaluator(server->node, link->number))
            continue;
        struct tw_report report = {.kind = TW_REPORT_NOTE};
        snprintf(report.text, sizeof(report.text),
                 "nothing was heard of an evaluator for %.0f s: it counts as lost",
                 silent_ms * 1e-3);
        tw_narrator_tell(server, &report);
        let_go(link, "", silent_ms);
    }
}

/* For workers the job says whether any is done without. An evaluator that dies is done without in
 * any case. Who was stopped itself has heard of nobody. */
void tw_silences_tick(struct tw_server *server) {
    const struct tw_job *job = server->config->job;
    double awake_ms = (double)(uv_now(&server->loop) - server->waits.woke_ms);
    double most = server->narrator.started ? job->on_worker_loss.silent * 1000 : 0;
    check_workers(server, awake_ms, job->on_worker_loss.action == TW_LOSS_WAIT ? 0 : most);
    check_evaluators(server, awake_ms, most);
    tw_pump_drain(server);
}
