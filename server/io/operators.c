/* Operators: what they are told of the run.
 *
 * A Query is answered at the end of the loop's turn in which it came, one per operator
 * and turn, with at most TW_STATUS_RANKS_MAX ranks: work that is bounded whoever asks
 * and however often. The node sees to it that an operator has one question at a time. */
#include <string.h>

#include "server/io/server_state.h"

void tw_operators_asked(struct tw_server *server, const struct tw_node_event *event) {
    struct tw_link *link = server->link[event->connection];
    if (!link)
        return;
    link->query = (struct tw_query){event->rank, event->ranks};
    link->has_asked = true;
    server->questions++;
}

static struct tw_view view_of(const char *text) {
    return (struct tw_view){text, strlen(text)};
}

static enum tw_phase phase_of(const struct tw_server *server) {
    if (server->finished || server->stopping)
        return TW_PHASE_ENDING;
    if (!server->narrator.started)
        return TW_PHASE_GATHERING;
    return tw_sequencer_holding(tw_node_sequencer(server->node)) ? TW_PHASE_EVALUATING
                                                                 : TW_PHASE_TRAINING;
}

static void tell_run(struct tw_server *server, struct tw_link *link) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    struct tw_stretch total = tw_sequencer_total(sequencer);
    struct tw_progress_now now = tw_narrator_now(server);
    char waiting[TW_ERROR_TEXT];
    tw_waits_words(server, waiting, sizeof(waiting));
    struct tw_frame frame = {.body = TW_BODY_STATUS};
    frame.status = (struct tw_run_status){
        .mode = view_of(tw_sequencer_dial(sequencer)->word),
        .phase = phase_of(server),
        .workers = (uint32_t)server->config->job->workers,
        .ranks = link->query.ranks,
        .version = tw_sequencer_version(sequencer),
        .samples = total.examples,
        .samples_total = now.samples_total,
        .epoch = now.epoch,
        .seconds = tw_server_seconds(server),
        .samples_per_second = now.samples_per_second,
        .train_loss = now.train_loss,
        .staleness_mean =
            total.contributions ? (double)total.staleness_sum / (double)total.contributions : 0,
        .staleness_max = total.staleness_max,
        .dropped = total.dropped,
        .update_seconds = tw_tempo_median(&server->waits.updates),
        .since_update = tw_server_seconds(server) - (double)server->waits.commit_ns / 1e9,
        .waiting = view_of(waiting),
    };
    (void)tw_lane_send(link->lane, &frame, NULL, NULL);
}

static double seconds_of(uint64_t ns) {
    return (double)ns * 1e-9;
}

static void tell_rank(struct tw_server *server, struct tw_link *link, uint32_t rank,
                      uint64_t now_ns) {
    struct tw_waiting_view view = tw_waits_view(server, rank, now_ns);
    struct tw_frame frame = {.body = TW_BODY_RANK_STATUS};
    frame.rank_status = (struct tw_rank_status){
        .rank = rank,
        .state = view.state,
        .step = view.step,
        .since = seconds_of(view.state_ns),
        .computing = seconds_of(view.sums.computing_ns),
        .waiting = seconds_of(view.sums.waiting_ns),
        .network = seconds_of(view.sums.network_ns),
        .away = seconds_of(view.sums.away_ns),
        .culprit = view.culprit == TW_NOBODY ? 0 : view.culprit + 1,
        .culprit_seconds = seconds_of(view.culprit_ns),
        .peer = view_of(server->narrator.rank[rank].peer),
        .blamed = seconds_of(view.blamed_ns),
        .silent = tw_waits_silent_seconds(server, rank),
    };
    (void)tw_lane_send(link->lane, &frame, NULL, NULL);
}

static void answer(struct tw_server *server, struct tw_link *link) {
    link->has_asked = false;
    if (link->number == TW_NO_CONNECTION)
        return;
    tell_run(server, link);
    uint64_t now_ns = uv_hrtime(); /* one moment for all: their times add up to the same */
    for (uint32_t i = 0; i < link->query.ranks; i++)
        tell_rank(server, link, link->query.first + i, now_ns);
    tw_lane_flush(link->lane);
    tw_node_answered(server->node, link->number);
}

void tw_operators_answer(struct tw_server *server) {
    if (!server->questions)
        return;
    server->questions = 0;
    for (struct tw_link *link = server->links; link; link = link->next)
        if (link->has_asked)
            answer(server, link);
}
