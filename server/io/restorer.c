#include "server/io/restorer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/say.h"
#include "server/io/server_state.h"

/* ---- choosing ---- */

static void say_lines(struct tw_text *news) {
    char *rest = news->at, *line;
    while (rest && (line = strsep(&rest, "\n")))
        if (*line)
            tw_say("%s", line);
    tw_text_fini(news);
}

static void tell(struct tw_server *server) {
    const struct tw_restore *from = server->restorer.from;
    struct tw_report report = {.kind = TW_REPORT_RESUMED};
    if (from)
        snprintf(report.text, sizeof report.text,
                 "going on from checkpoint %s, after update %llu (generation %u)",
                 tw_restore_name(from),
                 (unsigned long long)tw_restore_manifest(from)->snapshot.version,
                 server->config->resume->generation);
    else
        snprintf(report.text, sizeof report.text,
                 "no checkpoint can be used: beginning again from the start (generation %u)",
                 server->config->resume->generation);
    tw_say("%s", report.text);
    tw_narrator_tell(server, &report);
}

/* What the operator is told goes on where it was. */
static void take_times(struct tw_server *server) {
    const struct tw_manifest *manifest = tw_restore_manifest(server->restorer.from);
    const struct tw_sequencer_snapshot *snapshot = &manifest->snapshot;
    server->clock.sum_ns = (uint64_t)(manifest->seconds * 1e9);
    server->narrator.borders.seconds = manifest->border_seconds;
    server->narrator.reductions = snapshot->verdict[TW_VERDICT_RATE].reductions;
    server->narrator.borders.samples = snapshot->total.examples - snapshot->stretch.examples;
}

/* An operator may have turned to a mode that there was room for, on more servers than there are
 * now; but never to or from one where chunks are applied as they come. */
static enum tw_status check_mode(const struct tw_server *server, const struct tw_restore *from,
                                 struct tw_error *error) {
    const char *mode = tw_restore_manifest(from)->snapshot.mode;
    struct tw_where where = {.file = "manifest.json"};
    struct tw_dial dial;
    enum tw_status status = tw_dial_parse(mode, where, server->config->job->workers, &dial, error);
    if (status != TW_OK)
        return status;
    if (dial.on_arrival != server->config->dial.on_arrival)
        return tw_error_set(error, TW_DATA,
                            "checkpoint %s is of mode \"%s\", which this job cannot have",
                            tw_restore_name(from), mode);
    if (tw_dial_ahead(&dial) <= tw_shard_ahead(tw_node_shard(server->node)))
        return TW_OK;
    return tw_error_set(error, TW_LIMIT,
                        "checkpoint %s is of mode \"%s\", which keeps whole pushes while their "
                        "workers go on: memory.inflight has no room for them on %d servers; give "
                        "--servers as many as the run had",
                        tw_restore_name(from), mode, server->config->job->servers);
}

enum tw_status tw_restorer_choose(struct tw_server *server, struct tw_error *error) {
    const struct tw_server_resume *resume = server->config->resume;
    const struct tw_shard *shard = tw_node_shard(server->node);
    struct tw_text news = {0};
    if (!resume)
        return TW_OK;
    struct tw_restore_ask ask = {
        .folder = server->config->out,
        .list = server->config->tensors,
        .arrays = tw_shard_arrays_of(shard),
        .digest = server->digest,
        .workers = (uint32_t)server->config->job->workers,
        .position = resume->position,
        .stands = resume->stands,
        .context = resume->context,
    };
    enum tw_status status = tw_restore_newest(&server->restorer.from, &ask, &news, error);
    say_lines(&news);
    if (status == TW_OK && server->restorer.from)
        status = check_mode(server, server->restorer.from, error);
    if (status != TW_OK)
        return status;
    server->restorer.waits = true;
    if (server->restorer.from)
        take_times(server);
    tell(server);
    return TW_OK;
}

void tw_restorer_fini(struct tw_server *server) {
    tw_restore_free(server->restorer.from);
    server->restorer.from = NULL;
}

/* ---- filling ---- */

static void fail(struct tw_server *server, struct tw_error *error) {
    tw_error_wrap(error, "the checkpoint cannot be loaded");
    tw_restorer_fini(server);
    tw_server_fail(server, error);
}

static enum tw_status read_chunk(const struct tw_server *server, uint32_t chunk, uint32_t array,
                                 float *out, struct tw_error *error) {
    const struct tw_chunk *c = &server->layout.chunk[chunk];
    return tw_restore_read(server->restorer.from, array, c->tensor, c->first, c->count, out, error);
}

static enum tw_status fill_own(struct tw_server *server, struct tw_error *error) {
    struct tw_shard *shard = tw_node_shard_to_fill(server->node);
    uint32_t arrays = tw_shard_arrays(shard);
    enum tw_status status = TW_OK;
    for (uint32_t c = 0; c < server->layout.shard_first[1]; c++)
        for (uint32_t a = 0; a < arrays && status == TW_OK; a++)
            status = read_chunk(server, c, a, tw_shard_array(shard, a, c), error);
    return status;
}

static void finish(struct tw_server *server) {
    tw_restorer_fini(server);
    tw_node_restored(server->node);
}

/* The next array of the next chunk of this server; after the last, all orders that follow find it
 * complete. */
static void send_next(struct tw_server *server, uint32_t index, struct tw_link *link) {
    struct tw_restorer *restorer = &server->restorer;
    float *buffer = server->saver.inbox[index];
    struct tw_frame frame = {.body = TW_BODY_WEIGHTS};
    struct tw_error error;
    uint32_t chunk = restorer->next[index].chunk, array = restorer->next[index].array;
    if (read_chunk(server, chunk, array, buffer, &error) != TW_OK) {
        fail(server, &error);
        return;
    }
    frame.weights.position = restorer->position;
    frame.weights.chunk = chunk;
    frame.weights.array = array;
    frame.data_bytes = server->layout.chunk[chunk].count * sizeof(float);
    /* When it fails the link is lost, and with it the run. */
    tw_pump_queue(server, link, &frame, buffer, TW_RESTORER_TOKEN);
    if (++restorer->next[index].array == tw_shard_arrays(tw_node_shard(server->node))) {
        restorer->next[index].array = 0;
        restorer->next[index].chunk++;
    }
}

void tw_restorer_sent(struct tw_link *link) {
    struct tw_server *server = link->server;
    struct tw_restorer *restorer = &server->restorer;
    if (!restorer->from || link->number == TW_NO_CONNECTION)
        return;
    for (uint32_t i = 1; i < server->layout.servers; i++) {
        if (tw_node_server(server->node, i) != link->number)
            continue;
        if (restorer->next[i].chunk < server->layout.shard_first[i + 1])
            send_next(server, i, link);
        else if (--restorer->unfinished == 0)
            finish(server);
        return;
    }
}

static void begin_sending(struct tw_server *server) {
    struct tw_restorer *restorer = &server->restorer;
    restorer->unfinished = server->layout.servers - 1;
    for (uint32_t i = 1; i < server->layout.servers; i++) {
        restorer->next[i].chunk = server->layout.shard_first[i];
        restorer->next[i].array = 0;
    }
    for (uint32_t i = 1; i < server->layout.servers && restorer->from; i++)
        send_next(server, i, server->link[tw_node_server(server->node, i)]);
    if (!restorer->unfinished)
        finish(server);
}

void tw_restorer_start(struct tw_server *server) {
    struct tw_restorer *restorer = &server->restorer;
    const struct tw_server_resume *resume = server->config->resume;
    struct tw_error error;
    if (!restorer->waits || tw_node_missing_server(server->node))
        return;
    restorer->waits = false;
    restorer->position = resume->position + 1;
    /* Before anything has happened it is the start. The node's own moves on. */
    const struct tw_sequencer_snapshot start =
        *tw_sequencer_snapshot(tw_node_sequencer(server->node));
    tw_node_resume(
        server->node,
        &(struct tw_sequencer_resume){
            .from = restorer->from ? &tw_restore_manifest(restorer->from)->snapshot : &start,
            .generation = resume->generation,
            .position = resume->position});
    tw_pump_drain(server);
    if (!restorer->from)
        finish(server);
    else if (fill_own(server, &error) != TW_OK)
        fail(server, &error);
    else
        begin_sending(server);
}
