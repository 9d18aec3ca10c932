/* The end of training: what it amounted to, the model, and goodbye.
 *
 * The node is idle and its weights are final. Whatever goes wrong from here on is
 * added to the result; peers are told it in their Stop, and have a moment to close
 * their side of the connections. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/say.h"
#include "server/io/server_state.h"

/* A first failure is the status; later ones are added to its text. */
static void blame(struct tw_result *result, enum tw_status status, const char *text) {
    bool first = result->status == TW_OK || result->status == TW_INTERRUPTED;
    if (first) {
        result->status = status;
        snprintf(result->error, sizeof(result->error), "%s", text);
        return;
    }
    size_t used = strlen(result->error);
    snprintf(result->error + used, sizeof(result->error) - used, "; also: %s", text);
}

/* Up to which rate the rule would have been stable, where that is known. */
static void add_limit(const struct tw_server_config *config, char *text, size_t room) {
    const struct tw_optimizer *optimizer = config->optimizer;
    if (!(config->curvature > 0) || !optimizer->limit.factor)
        return;
    double limit = optimizer->limit.factor(&config->optimizer_options) / config->curvature;
    snprintf(text, room, "; where it starts %s is stable below %.4g = %s, lambda_max = %.6g",
             optimizer->name, limit, optimizer->limit.formula, config->curvature);
}

void tw_server_advise(const struct tw_server_config *config, const struct tw_sequencer *sequencer,
                      char *text, size_t room) {
    char limit[256] = "";
    size_t used = strlen(text);
    double rate =
        tw_pace_rate(tw_sequencer_pace(sequencer), &config->optimizer_options,
                     tw_sequencer_version(sequencer), tw_sequencer_total(sequencer).examples);
    add_limit(config, limit, sizeof(limit));
    bool narrow = config->job->encoding.push == TW_ENCODING_F16;
    snprintf(text + used, room - used, ". Lower the learning rate (%s %g%s)%s%s",
             config->pace.rate.kind ? "by the schedule it was" : "optimizer.lr is", rate, limit,
             config->shaping.clip_norm > 0 ? "" : ", or clip the gradient (clip: {norm: 1})",
             narrow ? "; encoding.push: f16 holds no more than 65504, and what travels is the sum "
                      "over a worker's examples: bf16 holds it"
                    : "");
}

static void blame_not_finite(struct tw_server *server) {
    const struct tw_narrator *narrator = &server->narrator;
    char text[TW_ERROR_TEXT];
    bool goes_on = server->config->job->goes_on;
    unsigned long long version = tw_sequencer_version(tw_node_sequencer(server->node));
    int used = snprintf(
        text, sizeof(text), "diverged at update %llu: %d in a row were not finite%s:", version + 1,
        goes_on ? TW_NOT_FINITE_ENOUGH : TW_NOT_FINITE_MAX, goes_on ? ", the last of them" : "");
    unsigned first = narrator->drops < TW_NOT_FINITE_MAX ? 0 : narrator->drops - TW_NOT_FINITE_MAX;
    for (unsigned i = first; i < narrator->drops && (size_t)used < sizeof(text); i++)
        used += snprintf(text + used, sizeof(text) - (size_t)used, "%s %s", i > first ? ";" : "",
                         narrator->dropped[i % TW_NOT_FINITE_MAX]);
    tw_server_advise(server->config, tw_node_sequencer(server->node), text, sizeof(text));
    blame(&server->result, TW_NOT_FINITE, text);
}

static const char *signal_name(int number) {
    switch (number) {
    case SIGINT:
        return "stopped by SIGINT (Ctrl-C)";
    case SIGTERM:
        return "stopped by SIGTERM";
    default:
        return "stopped";
    }
}

/* What made us stop by ourselves; status TW_OK: nothing. */
static const struct tw_error *why_we_stopped(const struct tw_server *server) {
    return server->order.failed.status != TW_OK ? &server->order.failed : &server->losses.failed;
}

static void add_status(struct tw_server *server) {
    struct tw_result *result = &server->result;
    switch (server->finished_status) {
    case TW_OK:
        break;
    case TW_INTERRUPTED:
        if (why_we_stopped(server)->status != TW_OK && !server->stop_signal)
            break; /* that is why, and was said */
        blame(result, TW_INTERRUPTED, signal_name(server->stop_signal));
        break;
    case TW_NOT_FINITE:
        blame_not_finite(server);
        break;
    default:
        blame(result, server->finished_status, tw_status_text(server->finished_status));
        break;
    }
}

static void check_staleness(struct tw_server *server) {
    struct tw_error error;
    if (tw_sequencer_check_staleness(tw_node_sequencer(server->node), &error) ||
        tw_shard_check_staleness(tw_node_shard(server->node), &error))
        blame(&server->result, error.status, error.text);
}

static void on_leave(uv_timer_t *timer) {
    tw_server_close(timer->data);
}

static void say_goodbye(struct tw_server *server) {
    const struct tw_result *result = &server->result;
    const char *text = result->status == TW_OK ? "the run is done" : result->error;
    server->phase = TW_SERVER_LEAVING;
    tw_node_goodbye(server->node, result->status, text);
    tw_pump_drain(server);
    tw_links_say_goodbye(server);
    uv_update_time(&server->loop); /* saving may have taken long */
    uv_timer_start(&server->leave, on_leave, server->limits.goodbye_ms, 0);
    if (!server->links)
        tw_server_close(server);
}

void tw_server_leave(struct tw_server *server) {
    tw_narrator_done(server);
    say_goodbye(server);
}

static void add_failures(struct tw_server *server) {
    if (server->directory.failed.status != TW_OK)
        blame(&server->result, server->directory.failed.status, server->directory.failed.text);
    tw_trace_flush(&server->trace);
    if (server->trace.writer.failed.status != TW_OK)
        blame(&server->result, server->trace.writer.failed.status,
              server->trace.writer.failed.text);
}

void tw_server_conclude(struct tw_server *server) {
    server->phase = TW_SERVER_COLLECTING;
    tw_narrator_let_go(server);
    tw_borders_result(&server->narrator.borders, tw_node_sequencer(server->node),
                      tw_server_seconds(server), &server->result);
    if (why_we_stopped(server)->status != TW_OK)
        blame(&server->result, why_we_stopped(server)->status, why_we_stopped(server)->text);
    add_status(server);
    tw_shards_collect(server);
}

static void tell_steps(struct tw_server *server) {
    struct tw_report report = {.kind = TW_REPORT_STEPS};
    if (tw_steps_words(&server->steps, report.text, sizeof(report.text)))
        tw_narrator_tell(server, &report);
}

void tw_server_collected(struct tw_server *server, const struct tw_error *error) {
    if (error->status != TW_OK)
        blame(&server->result, error->status, error->text);
    else
        tw_trace_end(&server->trace, &server->shards.sample);
    check_staleness(server);
    add_failures(server);
    tw_waits_conclude(server);
    tell_steps(server);
    tw_server_leave(server);
}

void tw_server_fail(struct tw_server *server, const struct tw_error *error) {
    if (server->phase == TW_SERVER_RUNNING) {
        tw_narrator_let_go(server);
        tw_borders_result(&server->narrator.borders, tw_node_sequencer(server->node),
                          tw_server_seconds(server), &server->result);
    }
    server->shards.collecting = false;
    blame(&server->result, error->status, error->text);
    add_failures(server);
    tw_server_leave(server);
}
