/* Events of the node, told to the operator: reports, lines of metrics.jsonl, and
 * process log lines.
 *
 * A border's line is complete when the evaluation of that version has come; it is
 * held back until then, or until there is nobody who could evaluate it, and so are
 * those behind it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/say.h"
#include "common/net/address.h"
#include "server/io/server_state.h"

static const double none = (double)NAN;

static double ratio(double a, double b) {
    return b > 0 ? a / b : none;
}

enum tw_status tw_narrator_init(struct tw_server *server) {
    struct tw_narrator *narrator = &server->narrator;
    tw_borders_init(&narrator->borders);
    narrator->rank = calloc((size_t)server->config->job->workers, sizeof(*narrator->rank));
    return narrator->rank ? TW_OK : TW_NO_MEMORY;
}

void tw_narrator_fini(struct tw_server *server) {
    free(server->narrator.rank);
}

void tw_narrator_tell(struct tw_server *server, const struct tw_report *report) {
    if (server->config->on_report)
        server->config->on_report(server->config->context, report);
}

void tw_narrator_listening(struct tw_server *server, const struct sockaddr *address) {
    struct tw_report report = {.kind = TW_REPORT_LISTENING};
    char text[TW_ADDRESS_TEXT];
    struct tw_host_port at;
    if (tw_host_port_parse(&at, tw_address_name(address, text), NULL) == TW_OK) {
        snprintf(report.host, sizeof(report.host), "%.*s", (int)sizeof(report.host) - 1, at.host);
        report.port = atoi(at.port);
    }
    tw_narrator_tell(server, &report);
}

void tw_narrator_done(struct tw_server *server) {
    struct tw_report report = {.kind = TW_REPORT_DONE, .result = server->result};
    tw_narrator_tell(server, &report);
}

/* ---- members ---- */

static void on_joined(struct tw_server *server, const struct tw_node_event *event) {
    struct tw_report report = {
        .kind = TW_REPORT_JOINED, .rank = event->rank, .incarnation = event->incarnation};
    struct tw_rank_news *news = &server->narrator.rank[event->rank];
    struct tw_link *link = server->link[event->connection];
    if (link) {
        link->is_member = true;
        tw_waits_heard(link); /* when its Join came it was nobody yet */
        snprintf(news->peer, sizeof(news->peer), "%s", tw_lane_peer(link->lane));
    }
    memcpy(report.peer, news->peer, sizeof(report.peer));
    tw_narrator_tell(server, &report);
}

static void on_left(struct tw_server *server, const struct tw_node_event *event) {
    struct tw_report report = {
        .kind = TW_REPORT_LEFT, .rank = event->rank, .incarnation = event->incarnation};
    struct tw_rank_news *news = &server->narrator.rank[event->rank];
    if (server->finished)
        return; /* everybody leaves now */
    memcpy(report.peer, news->peer, sizeof(report.peer));
    snprintf(report.text, sizeof(report.text), "%s", event->text);
    tw_narrator_tell(server, &report);
}

static void on_evicted(struct tw_server *server, const struct tw_node_event *event) {
    struct tw_report report = {.kind = TW_REPORT_EVICTED, .rank = event->rank};
    uint32_t live = tw_sequencer_live(tw_node_sequencer(server->node));
    int used = snprintf(report.text, sizeof(report.text),
                        "worker %u was evicted after update %" PRIu64 ": gone for %.1f s; ",
                        event->rank, event->version, tw_losses_seconds(server, event->rank));
    char *rest = report.text + used;
    size_t room = sizeof(report.text) - (size_t)used;
    if (live)
        snprintf(rest, room, "%u of %d workers go on", live, server->config->job->workers);
    else
        snprintf(rest, room, "no worker is left, one that takes its place is waited for");
    server->result.evicted++;
    tw_narrator_tell(server, &report);
}

/* ---- counts ---- */

static uint64_t samples_of_updates(const struct tw_server_config *config) {
    const struct tw_job *job = config->job;
    const struct tw_dial *dial = &config->dial;
    double pushes = 0, at = 0;
    for (uint32_t i = 0; i < config->turn_count; i++) {
        pushes += ((double)config->turns[i].update - at) * dial->gather;
        at = (double)config->turns[i].update;
        dial = &config->turns[i].dial;
    }
    pushes += ((double)job->updates - at) * dial->gather;
    return (uint64_t)(pushes * (double)job->batch / job->workers);
}

uint64_t tw_server_samples_total(const struct tw_server_config *config) {
    const struct tw_job *job = config->job;
    uint64_t total = 0;
    if (!config->train_samples)
        return 0;
    if (job->epochs > 0)
        total = (uint64_t)ceil(job->epochs * (double)config->train_samples);
    if (job->updates) {
        uint64_t samples = samples_of_updates(config);
        total = total && total < samples ? total : samples;
    }
    return total;
}

static void add_counts(const struct tw_server *server, struct tw_report *report, uint64_t version,
                       uint64_t samples) {
    uint64_t n = server->config->train_samples;
    report->updates = version;
    report->samples = samples;
    report->samples_total = tw_server_samples_total(server->config);
    report->epoch = n ? (double)samples / (double)n : 0;
    report->train_accuracy = report->test_loss = report->test_accuracy = none;
    report->staleness_mean = none;
}

/* Over the last ticks; at the beginning, since the start. */
static double recent_rate(struct tw_narrator *narrator, uint64_t samples, double seconds) {
    unsigned at = narrator->ticks % TW_RATE_TICKS;
    unsigned oldest = narrator->ticks < TW_RATE_TICKS ? 0 : at;
    double since_samples = narrator->ticks ? (double)narrator->tick[oldest].samples : 0;
    double since_seconds = narrator->ticks ? narrator->tick[oldest].seconds : 0;
    if (!narrator->ticks ||
        seconds > narrator->tick[(at + TW_RATE_TICKS - 1) % TW_RATE_TICKS].seconds) {
        narrator->tick[at].samples = samples;
        narrator->tick[at].seconds = seconds;
        narrator->ticks++;
    }
    return ratio((double)samples - since_samples, seconds - since_seconds);
}

static void report_progress(struct tw_server *server, enum tw_report_kind kind) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    struct tw_narrator *narrator = &server->narrator;
    struct tw_report report = {.kind = kind};
    uint64_t version = tw_sequencer_version(sequencer);
    uint64_t samples = tw_sequencer_total(sequencer).examples;
    struct tw_stretch stretch = tw_sequencer_stretch(sequencer);
    add_counts(server, &report, version, samples);
    report.seconds = tw_server_seconds(server);
    report.samples_per_second = recent_rate(narrator, samples, report.seconds);
    report.train_loss =
        stretch.examples ? stretch.loss / (double)stretch.examples : narrator->borders.train_loss;
    narrator->samples_per_second = report.samples_per_second;
    narrator->told_version = version;
    tw_narrator_tell(server, &report);
}

static void on_started(struct tw_server *server) {
    server->narrator.started = true;
    report_progress(server, TW_REPORT_STARTED);
}

/* ---- borders ---- */

static void tell_border(struct tw_server *server, const struct tw_border *border) {
    struct tw_report report = tw_border_report(border);
    report.samples_total = tw_server_samples_total(server->config);
    tw_order_writer_flush(&server->order); /* what is told is recorded */
    tw_run_directory_add(&server->directory, border);
    tw_narrator_tell(server, &report);
}

static void tell_complete_borders(struct tw_server *server) {
    struct tw_border border;
    while (tw_borders_next(&server->narrator.borders, &border))
        tell_border(server, &border);
}

void tw_narrator_let_go(struct tw_server *server) {
    tw_borders_let_go(&server->narrator.borders);
    tell_complete_borders(server);
}

static void on_border(struct tw_server *server, const struct tw_node_event *event) {
    struct tw_borders *borders = &server->narrator.borders;
    uint64_t now_ns = tw_server_moment(server); /* for `seconds` and what they were spent on */
    if (borders->holds == TW_HELD_BORDERS)
        tw_narrator_let_go(server);
    struct tw_border *border = tw_borders_begin(borders, event, server->config->train_samples,
                                                tw_training_clock_seconds(&server->clock, now_ns));
    border->times = tw_waits_stretch(server, now_ns);
    tw_steps_border(&server->steps, border);
    tell_complete_borders(server);
}

static void on_evaluated(struct tw_server *server, const struct tw_node_event *event) {
    tw_borders_evaluated(&server->narrator.borders, event);
    tell_complete_borders(server);
}

static void on_evaluator(struct tw_server *server, const struct tw_node_event *event) {
    const char *what = event->present ? "joined" : "left";
    bool alone = event->present ? event->ranks == 1 : event->ranks == 0;
    server->narrator.evaluators = event->ranks;
    if (!server->finished && alone)
        tw_say("the evaluator has %s", what);
    else if (!server->finished)
        tw_say("evaluator %u has %s; %u %s there", event->rank, what, event->ranks,
               event->ranks == 1 ? "is" : "are");
    if (!event->ranks)
        tw_narrator_let_go(server);
}

/* All who had these weights are gone, but others are there. */
static void on_given_up(struct tw_server *server, const struct tw_node_event *event) {
    tw_say("version %" PRIu64 " is not evaluated: who had its weights has left", event->version);
    tw_borders_given_up(&server->narrator.borders, event->version);
    tell_complete_borders(server);
}

/* The run ends before its time. */
static void on_stop(struct tw_server *server, const struct tw_node_event *event) {
    const struct tw_judge judge = tw_judge_of_end(server->config->job);
    const struct tw_verdict *verdict = &event->verdict;
    const char *watch = judge.watch == TW_WATCH_TRAIN ? "train" : "test";
    struct tw_report report = {.kind = TW_REPORT_NOTE};
    if (verdict->stop == TW_STOP_GRADIENT)
        snprintf(report.text, sizeof(report.text),
                 "stop at update %" PRIu64 ": the norm of its gradient, %.6g, is at most %g "
                 "(stop.gradient_norm)",
                 event->version, verdict->loss, judge.small);
    else if (verdict->stop == TW_STOP_LOSS)
        snprintf(report.text, sizeof(report.text),
                 "stop at update %" PRIu64 ": the %s loss, %.6g, is at most %g (stop.loss)",
                 event->version, watch, verdict->loss, judge.enough);
    else if (verdict->stop == TW_STOP_PATIENCE)
        snprintf(report.text, sizeof(report.text),
                 "stop at update %" PRIu64 ": no better %s loss than %.6g for %" PRId64
                 " %s (stop.patience)",
                 event->version, watch, verdict->best, judge.patience + 1,
                 server->config->train_samples ? "epochs" : "updates");
    else
        return;
    snprintf(server->result.stopped, sizeof(server->result.stopped), "%s",
             tw_stop_name(verdict->stop));
    tw_narrator_tell(server, &report);
}

/* The learning rate goes down after an epoch. */
static void on_rate(struct tw_server *server, const struct tw_node_event *event) {
    const struct tw_server_config *config = server->config;
    const struct tw_pace *pace = tw_sequencer_pace(tw_node_sequencer(server->node));
    struct tw_report report = {.kind = TW_REPORT_NOTE};
    if (event->verdict.reductions == server->narrator.reductions)
        return;
    server->narrator.reductions = event->verdict.reductions;
    snprintf(report.text, sizeof(report.text),
             "no better %s loss than %.6g for %" PRId64
             " epochs: the learning rate is %.6g from update %" PRIu64 " on",
             pace->rate.options.watch == TW_WATCH_TRAIN ? "train" : "test", event->verdict.best,
             pace->rate.options.patience + 1,
             tw_pace_rate(pace, &config->optimizer_options, event->version, event->samples),
             event->version + 1);
    tw_narrator_tell(server, &report);
}

/* ---- what is not finite ---- */

/* All of the first, and then each time that they are twice as many: there may be no end of them. */
static bool is_worth_a_line(unsigned count) {
    return count <= 16 || (count & (count - 1)) == 0;
}

static void on_dropped(struct tw_server *server, const struct tw_node_event *event) {
    struct tw_narrator *narrator = &server->narrator;
    char *text = narrator->dropped[narrator->drops++ % TW_NOT_FINITE_MAX];
    size_t room = sizeof(narrator->dropped[0]);
    unsigned long long step = event->step;
    const struct tw_tensor_list *list = server->config->tensors;
    if (event->tensor < (uint32_t)list->count)
        snprintf(text, room, "gradient of tensor %.128s, slot %u, step %llu",
                 list->tensors[event->tensor].name, event->slot, step);
    else if (event->tensor == TW_TENSORS_MAX)
        snprintf(text, room, "loss of slot %u, step %llu", event->slot, step);
    else
        snprintf(text, room, "sum of all gradients (each is finite), first slot %u, step %llu",
                 event->slot, step);
    if (is_worth_a_line(narrator->drops))
        tw_say("not finite: %s; that update is left out (number %u)", text, narrator->drops);
}

void tw_narrator_event(struct tw_server *server, const struct tw_node_event *event,
                       uint64_t now_ns) {
    tw_waits_event(server, event, now_ns);
    switch (event->kind) {
    case TW_EVENT_JOINED:
        on_joined(server, event);
        break;
    case TW_EVENT_LEFT:
        on_left(server, event);
        break;
    case TW_EVENT_SERVER:
        tw_shards_event(server, event);
        break;
    case TW_EVENT_EVALUATOR:
        on_evaluator(server, event);
        break;
    case TW_EVENT_GIVEN_UP:
        on_given_up(server, event);
        break;
    case TW_EVENT_STARTED:
        on_started(server);
        break;
    case TW_EVENT_BORDER:
        on_border(server, event);
        break;
    case TW_EVENT_EVALUATED:
        on_evaluated(server, event);
        break;
    case TW_EVENT_ARRIVED:
    case TW_EVENT_PREPARED:
    case TW_EVENT_APPLIED:
    case TW_EVENT_MEASURED:
        break; /* for the trace */
    case TW_EVENT_SAMPLED:
        tw_steps_sampled(&server->steps, event);
        break;
    case TW_EVENT_DROPPED:
        on_dropped(server, event);
        break;
    case TW_EVENT_VERDICT:
        if (event->verdict.on == TW_VERDICT_END)
            on_stop(server, event);
        else
            on_rate(server, event);
        break;
    case TW_EVENT_TURNED:
        tw_say("the dial is turned to %s after update %" PRIu64, event->text, event->version);
        break;
    case TW_EVENT_EVICTED:
        on_evicted(server, event);
        break;
    case TW_EVENT_FINISHED:
        server->finished = true;
        server->finished_status = event->status;
        break;
    case TW_EVENT_QUERY:
        tw_operators_asked(server, event);
        break;
    }
}

/* ---- ticks ---- */

struct tw_progress_now tw_narrator_now(const struct tw_server *server) {
    const struct tw_sequencer *sequencer = tw_node_sequencer(server->node);
    struct tw_stretch stretch = tw_sequencer_stretch(sequencer);
    uint64_t n = server->config->train_samples;
    return (struct tw_progress_now){
        .samples_total = tw_server_samples_total(server->config),
        .epoch = n ? (double)tw_sequencer_total(sequencer).examples / (double)n : 0,
        .samples_per_second = server->narrator.samples_per_second,
        .train_loss = stretch.examples ? stretch.loss / (double)stretch.examples
                                       : server->narrator.borders.train_loss,
    };
}

void tw_narrator_tick(struct tw_server *server) {
    if (server->phase != TW_SERVER_RUNNING || server->config->index)
        return;
    if (server->narrator.started &&
        tw_sequencer_version(tw_node_sequencer(server->node)) != server->narrator.told_version)
        report_progress(server, TW_REPORT_PROGRESS);
}
