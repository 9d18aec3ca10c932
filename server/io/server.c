/* A server's life: set-up, the loop, signals, the way out.
 *
 * Happy path: everything is made -> the loop runs -> the node says that training is
 * finished -> tw_server_conclude() -> peers close -> tw_server_close() -> all handles
 * are closed, the loop ends, everything is freed in the order in which it was made.
 * A failure during set-up goes the last part of the same way. */
#include "server/io/server.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/denormals.h"
#include "common/base/say.h"
#include "common/net/listen.h"
#include "server/io/server_state.h"

/* ---- stopping ---- */

static void on_second_signal(int number) {
    _exit(130);
}

/* Not through the loop, which may be busy writing the model. */
static void arm_second_signal(struct tw_server *server) {
    struct sigaction action = {.sa_handler = on_second_signal};
    for (int i = 0; i < 2; i++)
        uv_signal_stop(&server->signals[i]);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void tw_server_stop(struct tw_server *server) {
    if (server->stopping || server->phase != TW_SERVER_RUNNING)
        return;
    server->stopping = true;
    if (server->config->index) {
        tw_lead_leave(server, TW_INTERRUPTED, "stopped by a signal");
        return;
    }
    /* Nobody can go on from a checkpoint that the log does not have. */
    tw_node_stop(server->node, server->saver.on && server->order.failed.status == TW_OK);
    tw_pump_wake(server);
    tw_pump_drain(server);
}

static void on_signal(uv_signal_t *handle, int number) {
    struct tw_server *server = handle->data;
    tw_say("%s: stopping; %s. Once more: stop at once", number == SIGINT ? "SIGINT" : "SIGTERM",
           server->config->index ? "the run ends with this server, without a model"
                                 : "the model so far will be saved");
    server->stop_signal = number;
    arm_second_signal(server);
    tw_server_stop(server);
}

static void on_stop_fd(uv_poll_t *poll, int code, int events) {
    struct tw_server *server = poll->data;
    uv_poll_stop(poll);
    tw_server_stop(server);
}

/* ---- ticks ---- */

static void on_tick(uv_timer_t *timer) {
    struct tw_server *server = timer->data;
    uint64_t now = uv_now(&server->loop), passed = now - server->tick_ms;
    /* A process that was stopped, or busy, itself blames nobody for that time. */
    uint32_t awake = passed > 2 * TW_TICK_MS ? 2 * TW_TICK_MS : (uint32_t)passed;
    server->tick_ms = now;
    tw_links_tick(server, awake);
    if (server->phase == TW_SERVER_RUNNING && !server->config->index) {
        tw_waits_tick(server, passed);
        tw_silences_tick(server);
        tw_losses_tick(server, passed);
        tw_saver_tick(server);
    }
    tw_narrator_tick(server);
    tw_shards_tick(server, awake);
    tw_lead_tick(server);
    tw_trace_flush(&server->trace);
}

/* ---- closing ---- */

static void close_handle(uv_handle_t *handle, void *context) {
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void tw_server_close(struct tw_server *server) {
    server->phase = TW_SERVER_CLOSING;
    tw_server_file_remove(&server->file); /* before nobody listens any more where it says */
    tw_links_close(server);
    tw_lead_close(server);
    /* The handles of connections are closing already, those that are left are ours. */
    uv_walk(&server->loop, close_handle, NULL);
}

/* ---- set-up ---- */

static void set_limits(struct tw_server *server) {
    struct tw_server_limits *limits = &server->limits;
    *limits = server->config->limits;
#define FALL_BACK(field, value) limits->field = limits->field ? limits->field : (value)
    FALL_BACK(pending, TW_PENDING_CONNECTIONS_MAX);
    FALL_BACK(pending_per_address, TW_PENDING_PER_ADDRESS_MAX);
    FALL_BACK(unknown, TW_UNKNOWN_CONNECTIONS_MAX);
    FALL_BACK(handshake_ms, TW_HANDSHAKE_MS);
    FALL_BACK(waiting_ms, TW_WAITING_MS);
    FALL_BACK(straggler_ms, TW_STRAGGLER_MS);
    FALL_BACK(goodbye_ms, TW_GOODBYE_MS);
    FALL_BACK(lead_ms, TW_LEAD_MS);
#undef FALL_BACK
    /* Each member has a control and a bulk connection, and may be about to replace
     * them; the rest is pending. */
    server->link_room = 3 * ((uint32_t)server->config->job->workers + TW_EVALUATORS_MAX) +
                        TW_OPERATORS_MAX + TW_SERVERS_MAX + 2 * limits->pending;
}

static void make_handles(struct tw_server *server) {
    uv_loop_t *loop = &server->loop;
    tw_pump_init(server);
    uv_timer_init(loop, &server->leave);
    uv_timer_init(loop, &server->tick);
    server->leave.data = server->tick.data = server;
    server->tick_ms = uv_now(loop);
    uv_timer_start(&server->tick, on_tick, TW_TICK_MS, TW_TICK_MS);
}

static enum tw_status hear_stops(struct tw_server *server, struct tw_error *error) {
    static const int numbers[2] = {SIGINT, SIGTERM};
    int code = 0;
    for (int i = 0; i < 2 && code == 0; i++) {
        code = uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        if (code == 0)
            code = uv_signal_start(&server->signals[i], on_signal, numbers[i]);
    }
    if (code == 0 && server->config->stop_fd >= 0) {
        code = uv_poll_init(&server->loop, &server->stop_poll, server->config->stop_fd);
        server->stop_poll.data = server;
        if (code == 0)
            code = uv_poll_start(&server->stop_poll, UV_READABLE, on_stop_fd);
    }
    return code == 0
               ? TW_OK
               : tw_error_set(error, TW_IO, "cannot listen for signals: %s", uv_strerror(code));
}

/* The lead keeps all files of a run. */
static enum tw_status open_files(struct tw_server *server, struct tw_error *error) {
    const struct tw_server_config *config = server->config;
    bool resumes = config->resume != NULL;
    enum tw_status status =
        tw_order_writer_open(&server->order, config->out, tw_server_width(server),
                             resumes ? (int64_t)config->resume->bytes : -1, error);
    if (status == TW_OK)
        status = tw_restorer_choose(server, error);
    const struct tw_restore *from = server->restorer.from;
    uint64_t version = from ? tw_restore_manifest(from)->snapshot.version : 0;
    if (status == TW_OK)
        status = tw_run_directory_open(&server->directory, config->out,
                                       resumes ? (int64_t)version : -1, error);
    if (status == TW_OK && resumes)
        status = tw_trace_put_by(config->out, config->resume->generation - 1, error);
    if (status == TW_OK)
        status = tw_trace_open(&server->trace, config->job,
                               tw_sequencer_config_of(tw_node_sequencer(server->node)), config->out,
                               uv_hrtime(), error);
    return status;
}

static enum tw_status set_up(struct tw_server *server, struct tw_error *error) {
    make_handles(server);
    server->link = calloc(server->link_room, sizeof(*server->link));
    if (!server->link || tw_narrator_init(server) != TW_OK || tw_waits_init(server) != TW_OK ||
        tw_steps_init(&server->steps, server->config) != TW_OK || tw_losses_init(server) != TW_OK)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for %u connections", server->link_room);
    enum tw_status status = tw_server_make_node(server, error);
    if (status == TW_OK && !server->config->index)
        status = open_files(server, error);
    if (status == TW_OK)
        status = tw_shards_init(server, error);
    if (status == TW_OK)
        status = tw_saver_init(server, error);
    if (status == TW_OK)
        status = hear_stops(server, error);
    if (status == TW_OK)
        status = tw_links_listen(server, error);
    if (status == TW_OK && !server->config->index)
        tw_restorer_start(server);
    return status;
}

static void tear_down(struct tw_server *server) {
    int busy = uv_loop_close(&server->loop);
    assert(busy == 0);
    if (busy != 0)
        tw_say("a bug in Talweg: the loop ended with open handles; please report it");
    tw_restorer_fini(server);
    tw_saver_fini(server);
    tw_server_free_node(server);
    tw_shards_fini(server);
    tw_lead_fini(server);
    tw_trace_close(&server->trace);
    tw_order_writer_close(&server->order);
    tw_run_directory_close(&server->directory);
    tw_narrator_fini(server);
    tw_waits_fini(server);
    tw_steps_fini(&server->steps);
    tw_losses_fini(server);
    free(server->link);
}

static void ignore_signals_of_writes(void) {
    tw_ignore_broken_pipes();
    signal(SIGXFSZ, SIG_IGN);
}

enum tw_status tw_server_run(const struct tw_server_config *config, struct tw_error *error) {
    struct tw_server *server = calloc(1, sizeof(*server));
    if (!server || uv_loop_init(&server->loop) != 0) {
        free(server);
        return tw_error_set(error, TW_NO_MEMORY, "no memory for an event loop");
    }
    server->config = config;
    tw_poller_init(&server->poller, &server->loop, (uint32_t)config->job->poll_us);
    server->directory.metrics = server->order.file = server->shards.file.draft.fd = -1;
    ignore_signals_of_writes();
    tw_allow_many_files();
    tw_flush_denormals();
    set_limits(server);
    struct tw_error failure = {.status = TW_OK};
    enum tw_status status = set_up(server, &failure);
    if (status != TW_OK) {
        server->result.status = status;
        snprintf(server->result.error, sizeof(server->result.error), "%s", failure.text);
        tw_narrator_done(server);
        tw_server_close(server);
    }
    while (tw_poller_turn(&server->poller) != 0)
        ;
    status = server->result.status;
    if (status != TW_OK)
        tw_error_set(error, status, "%s", server->result.error);
    tear_down(server);
    free(server);
    return status;
}
