/* Waiting, as the lead sees it: what happens to each rank is told to the account of
 * server/core/timesheet.h, with the time; and whoever holds up the others is named.
 *
 * "waiting for ..." is said when an update takes ten times as long as the last ones did
 * (but a second at least), and again every ten seconds; and every ten seconds before
 * anything is known of how long they take. A rank that is here but does not get through
 * its step is a straggler after a minute, or after ten times the usual time of a step.
 * While this process itself was stopped nobody is blamed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/io/server_state.h"

#define WAKE_MS 1000 /* a tick that is so late: the process was stopped */
#define SILENT_S 3   /* heartbeats come every second */

enum tw_status tw_waits_init(struct tw_server *server) {
    uint32_t workers = (uint32_t)server->config->job->workers;
    struct tw_waits *waits = &server->waits;
    waits->memory = calloc(1, tw_timesheet_bytes(workers));
    waits->rank = calloc(workers, sizeof(*waits->rank));
    if (!waits->memory || !waits->rank)
        return TW_NO_MEMORY;
    tw_timesheet_init(&waits->sheet, waits->memory, workers);
    return TW_OK;
}

void tw_waits_fini(struct tw_server *server) {
    free(server->waits.memory);
    free(server->waits.rank);
}

/* ---- the account ---- */

void tw_waits_event(struct tw_server *server, const struct tw_node_event *event, uint64_t now_ns) {
    tw_timesheet_event(&server->waits.sheet, event, now_ns);
}

static void on_commit(struct tw_server *server, const struct tw_record *record, uint64_t now_ns) {
    struct tw_waits *waits = &server->waits;
    uint64_t training_ns = tw_training_clock_ns(&server->clock, now_ns);
    if (record->version > 1) /* the first has all the beginnings in it */
        tw_tempo_add(&waits->updates, (double)(training_ns - waits->commit_ns) * 1e-9);
    waits->commit_ns = training_ns;
}

void tw_waits_record(struct tw_server *server, const struct tw_record *record, uint64_t now_ns) {
    tw_timesheet_record(&server->waits.sheet, record, now_ns);
    if (record->kind == TW_RECORD_COMMIT)
        on_commit(server, record, now_ns);
}

void tw_waits_hold(struct tw_server *server) {
    bool holds = tw_sequencer_holding(tw_node_sequencer(server->node));
    tw_waiting_hold(server->waits.sheet.account, holds, tw_server_moment(server));
}

static uint32_t rank_of(const struct tw_link *link) {
    return tw_node_rank(link->server->node, link->number);
}

void tw_waits_heard(struct tw_link *link) {
    uint32_t rank = rank_of(link);
    link->heard_ms = uv_now(&link->server->loop);
    if (rank != TW_NOBODY)
        link->server->waits.rank[rank].heard_ms = link->heard_ms;
}

void tw_waits_arriving(const struct tw_link *link) {
    struct tw_waiting *account = link->server->waits.sheet.account;
    uint32_t rank = rank_of(link);
    if (rank != TW_NOBODY && !tw_waiting_is_arriving(account, rank))
        tw_waiting_arriving(account, rank, tw_server_moment(link->server));
}

void tw_waits_arrived(const struct tw_link *link, uint64_t step) {
    struct tw_waits *waits = &link->server->waits;
    struct tw_waiting *account = waits->sheet.account;
    uint32_t rank = rank_of(link);
    if (rank == TW_NOBODY)
        return;
    uint64_t before_ns = tw_waiting_last_step_ns(account, rank);
    tw_waiting_arrived(account, rank, step, tw_server_moment(link->server));
    uint64_t step_ns = tw_waiting_last_step_ns(account, rank);
    if (step_ns != before_ns)
        tw_tempo_add(&waits->steps, (double)step_ns * 1e-9);
}

void tw_waits_served(struct tw_server *server, uint32_t rank, uint64_t now_ns) {
    tw_waiting_served(server->waits.sheet.account, rank, now_ns);
}

struct tw_waiting_view tw_waits_view(const struct tw_server *server, uint32_t rank,
                                     uint64_t now_ns) {
    return tw_waiting_view(server->waits.sheet.account, rank, now_ns);
}

double tw_waits_silent_seconds(const struct tw_server *server, uint32_t rank) {
    return (double)(uv_now(&server->loop) - server->waits.rank[rank].heard_ms) * 1e-3;
}

/* ---- for whom the next update waits ---- */

/* Ranks that it waits for, and the one that has kept it waiting longest. */
struct wanted {
    uint32_t count, worst;
    struct tw_waiting_view view; /* of the worst */
};

static uint64_t patience_ns(const struct tw_waiting_view *view) {
    bool absent = view->state == TW_RANK_GONE || view->state == TW_RANK_ABSENT;
    return absent ? UINT64_MAX : view->step_ns;
}

static struct wanted find_among(const struct tw_server *server, bool evicted) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    struct wanted wanted = {.count = 0};
    uint64_t now_ns = uv_hrtime();
    for (uint32_t rank = 0; rank < (uint32_t)server->config->job->workers; rank++) {
        struct tw_standing standing = tw_sequencer_standing(sequencer, rank);
        if (!standing.wanted || standing.evicted != evicted)
            continue;
        struct tw_waiting_view view = tw_waits_view(server, rank, now_ns);
        if (wanted.count++ && patience_ns(&view) <= patience_ns(&wanted.view))
            continue;
        wanted.worst = rank;
        wanted.view = view;
    }
    return wanted;
}

/* Those that were evicted are only waited for when nobody else is left. */
static struct wanted find_wanted(const struct tw_server *server) {
    struct wanted wanted = find_among(server, false);
    return wanted.count ? wanted : find_among(server, true);
}

static bool any_wanted(const struct tw_server *server) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    for (uint32_t rank = 0; rank < (uint32_t)server->config->job->workers; rank++)
        if (tw_sequencer_standing(sequencer, rank).wanted)
            return true;
    return false;
}

/* A server whose heartbeat is missing, and for how long; 0: there is none. Nothing can be
 * voted without it, whatever the ranks have done. */
static uint32_t mute_server(const struct tw_server *server, uint64_t *silent_ms) {
    uint64_t now_ms = uv_now(&server->loop), woke_ms = server->waits.woke_ms;
    for (uint32_t index = 1; index < server->layout.servers; index++) {
        const struct tw_link *link = tw_shards_link(server, index);
        if (!link)
            continue;
        uint64_t since_ms = link->heard_ms > woke_ms ? link->heard_ms : woke_ms;
        if (silent_ms)
            *silent_ms = now_ms - since_ms;
        if (now_ms - since_ms >= SILENT_S * 1000)
            return index;
    }
    return 0;
}

static enum tw_waits_for waits_for(const struct tw_server *server) {
    const struct tw_narrator *narrator = &server->narrator;
    if (server->finished)
        return TW_WAITS_FOR_NOBODY;
    if (tw_node_missing_server(server->node))
        return TW_WAITS_FOR_SERVER;
    if (mute_server(server, NULL))
        return TW_WAITS_FOR_ANSWER;
    if (tw_sequencer_holding(tw_node_sequencer(server->node)))
        return TW_WAITS_FOR_EVALUATION;
    if (any_wanted(server))
        return TW_WAITS_FOR_RANKS;
    const struct tw_server_config *config = server->config;
    uint32_t evaluators = config->evaluators > 1 ? config->evaluators : 1;
    bool evaluator = config->evaluator && narrator->evaluators < evaluators && !narrator->started;
    return evaluator ? TW_WAITS_FOR_EVALUATOR : TW_WAITS_FOR_NOBODY;
}

static unsigned seconds_of(uint64_t ns) {
    return (unsigned)((ns + 500000000) / 1000000000);
}

/* What a rank that others wait for is doing: "computing step 7 for 12 s". */
static void say_rank(const struct tw_server *server, uint32_t rank,
                     const struct tw_waiting_view *view, uint64_t since_ms, char *text,
                     size_t room) {
    unsigned long long step = view->step;
    unsigned seconds = seconds_of(view->state_ns), all = (unsigned)((since_ms + 500) / 1000);
    double silent = tw_waits_silent_seconds(server, rank);
    int used = 0;
    switch (view->state) {
    case TW_RANK_ABSENT:
        snprintf(text, room, "which has not joined for %u s", all);
        return;
    case TW_RANK_GONE:
        snprintf(text, room, "which has been gone for %u s", seconds);
        return;
    case TW_RANK_RECEIVING:
        used = snprintf(text, room, "whose weights for step %llu have been on their way for %u s",
                        step, seconds);
        break;
    case TW_RANK_COMPUTING:
        used = snprintf(text, room, "which has been computing step %llu for %u s", step, seconds);
        break;
    case TW_RANK_SENDING:
        used = snprintf(text, room, "whose gradient of step %llu has been arriving for %u s", step,
                        seconds);
        break;
    case TW_RANK_WAITING:
        used = snprintf(text, room, "which is connected but has pushed nothing for %u s", all);
        break;
    }
    if (silent >= SILENT_S)
        snprintf(text + used, room - (size_t)used, ", and has said nothing at all for %.0f s",
                 silent);
}

/* Returns the rank that is named; 0 when none is. */
static uint32_t say_waiting(const struct tw_server *server, enum tw_waits_for whom, char *text,
                            size_t room) {
    struct wanted wanted = {.count = 0};
    uint64_t since_ms = uv_now(&server->loop) - server->waits.since_ms;
    uint64_t silent_ms = 0;
    unsigned seconds = (unsigned)((since_ms + 500) / 1000);
    char doing[256], others[64] = "";
    uint32_t mute;
    switch (whom) {
    case TW_WAITS_FOR_NOBODY:
        snprintf(text, room, "%s", "");
        break;
    case TW_WAITS_FOR_SERVER:
        snprintf(text, room, "for server %u, which has not come for %u s",
                 tw_node_missing_server(server->node), seconds);
        break;
    case TW_WAITS_FOR_ANSWER:
        mute = mute_server(server, &silent_ms);
        snprintf(text, room, "for server %u, which has said nothing at all for %u s", mute,
                 (unsigned)((silent_ms + 500) / 1000));
        break;
    case TW_WAITS_FOR_EVALUATOR:
        if (server->config->evaluators > 1)
            snprintf(text, room, "for %u evaluators, of whom %u have joined, for %u s",
                     server->config->evaluators, server->narrator.evaluators, seconds);
        else
            snprintf(text, room, "for the evaluator, which has not joined for %u s", seconds);
        break;
    case TW_WAITS_FOR_EVALUATION:
        if (server->narrator.evaluators > 1)
            snprintf(text, room, "for %u evaluators, which have been at work for %u s",
                     server->narrator.evaluators, seconds);
        else
            snprintf(text, room, "for the evaluator, which has been at work for %u s", seconds);
        break;
    case TW_WAITS_FOR_RANKS:
        wanted = find_wanted(server);
        say_rank(server, wanted.worst, &wanted.view, since_ms, doing, sizeof(doing));
        if (wanted.count > 1)
            snprintf(others, sizeof(others), "; and for %u more", wanted.count - 1);
        snprintf(text, room, "for rank %u, %s%s", wanted.worst, doing, others);
        break;
    }
    return wanted.worst;
}

void tw_waits_words(const struct tw_server *server, char *text, size_t room) {
    enum tw_waits_for whom = waits_for(server);
    bool is_long = uv_now(&server->loop) - server->waits.since_ms >= 1000;
    say_waiting(server, is_long ? whom : TW_WAITS_FOR_NOBODY, text, room);
}

/* ---- ticks ---- */

/* How long nothing is said of the present wait. */
static uint64_t quiet_ms(const struct tw_server *server, enum tw_waits_for whom) {
    const struct tw_waits *waits = &server->waits;
    uint64_t usual_ms = server->limits.waiting_ms;
    double limit = tw_tempo_limit(&waits->updates);
    if (waits->is_told || whom != TW_WAITS_FOR_RANKS || limit <= 0 ||
        limit * 1000 >= (double)usual_ms)
        return usual_ms;
    return (uint64_t)(limit * 1000);
}

static void report_waiting(struct tw_server *server, enum tw_waits_for whom) {
    struct tw_report report = {.kind = TW_REPORT_WAITING};
    report.rank = say_waiting(server, whom, report.text, sizeof(report.text));
    tw_narrator_tell(server, &report);
}

static void tick_waiting(struct tw_server *server, uint64_t now_ms) {
    struct tw_waits *waits = &server->waits;
    uint64_t version = tw_sequencer_version(tw_node_sequencer(server->node));
    enum tw_waits_for whom = waits_for(server);
    if (whom != waits->whom || version != waits->version || waits->woke_ms == now_ms) {
        waits->whom = whom;
        waits->version = version;
        waits->since_ms = waits->told_ms = now_ms;
        waits->is_told = false;
    } else if (whom != TW_WAITS_FOR_NOBODY && now_ms - waits->told_ms >= quiet_ms(server, whom)) {
        waits->told_ms = now_ms;
        waits->is_told = true;
        report_waiting(server, whom);
    }
}

/* Names a rank that is here, but does not get through its step. */
static void check_straggler(struct tw_server *server, uint32_t rank, double limit_s,
                            uint64_t now_ns) {
    struct tw_waits *waits = &server->waits;
    struct tw_rank_waits *own = &waits->rank[rank];
    struct tw_waiting_view view = tw_waits_view(server, rank, now_ns);
    double awake_s = (double)(uv_now(&server->loop) - waits->woke_ms) * 1e-3;
    double step_s = (double)view.step_ns * 1e-9;
    if (step_s < limit_s || awake_s < limit_s || own->told_step == view.step)
        return;
    own->told_step = view.step;
    struct tw_report report = {.kind = TW_REPORT_STRAGGLER, .rank = rank};
    char doing[256];
    double usual = tw_tempo_median(&waits->steps);
    say_rank(server, rank, &view, 0, doing, sizeof(doing));
    int used = snprintf(report.text, sizeof(report.text), "rank %u, %s", rank, doing);
    if (usual > 0)
        snprintf(report.text + used, sizeof(report.text) - (size_t)used,
                 " (a step usually takes %.2g s)", usual);
    tw_narrator_tell(server, &report);
}

static void tick_ranks(struct tw_server *server) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    double limit_s = (double)server->limits.straggler_ms * 1e-3;
    double usual_s = TW_TEMPO_SLOW * tw_tempo_median(&server->waits.steps);
    uint64_t now_ns = tw_server_now(server);
    for (uint32_t rank = 0; rank < (uint32_t)server->config->job->workers; rank++) {
        struct tw_standing standing = tw_sequencer_standing(sequencer, rank);
        if (!standing.here)
            continue;
        tw_waiting_here(server->waits.sheet.account, rank, standing.reading, now_ns);
        if (server->narrator.started)
            check_straggler(server, rank, usual_s > limit_s ? usual_s : limit_s, now_ns);
    }
}

void tw_waits_tick(struct tw_server *server, uint64_t passed_ms) {
    uint64_t now_ms = uv_now(&server->loop);
    if (passed_ms >= WAKE_MS)
        server->waits.woke_ms = now_ms;
    tick_ranks(server);
    tick_waiting(server, now_ms);
}

/* ---- sums ---- */

struct tw_border_times tw_waits_stretch(struct tw_server *server, uint64_t now_ns) {
    return tw_timesheet_stretch(&server->waits.sheet, now_ns);
}

void tw_waits_conclude(struct tw_server *server) {
    struct tw_report report = {.kind = TW_REPORT_TIMES};
    uint64_t now_ns = tw_server_moment(server);
    if (!tw_sequencer_version(tw_node_sequencer(server->node)))
        return;
    for (uint32_t line = 0; tw_timesheet_line(&server->waits.sheet, now_ns, line, &report.rank,
                                              report.text, sizeof(report.text));
         line++)
        tw_narrator_tell(server, &report);
}
