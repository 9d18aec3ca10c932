#include "server/io/saver.h"

#include <stdlib.h>

#include "server/io/server_state.h"

/* ---- life ---- */

static enum tw_status make_inboxes(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    uint32_t servers = server->layout.servers;
    saver->inbox = calloc(servers, sizeof *saver->inbox);
    for (uint32_t i = 1; saver->inbox && i < servers; i++) {
        saver->inbox[i] = malloc(server->layout.chunk_bytes);
        if (!saver->inbox[i])
            return TW_NO_MEMORY;
    }
    return saver->inbox ? TW_OK : TW_NO_MEMORY;
}

enum tw_status tw_saver_init(struct tw_server *server, struct tw_error *error) {
    struct tw_saver *saver = &server->saver;
    const struct tw_job *job = server->config->job;
    if (server->config->index)
        return TW_OK;
    const struct tw_checkpoint_of of = {
        .run = server->config->out,
        .layout = &server->layout,
        .arrays = tw_shard_arrays_of(tw_node_shard(server->node)),
        .workers = (uint32_t)job->workers,
        .digest = server->digest,
        .id = server->random,
    };
    saver->on = job->checkpoint.every || job->checkpoint.seconds > 0;
    saver->period_ms = (uint64_t)(job->checkpoint.seconds * 1e3);
    saver->asked_ms = uv_now(&server->loop);
    enum tw_status status = tw_checkpoint_writer_init(&saver->writer, &of, error);
    if (status == TW_OK && make_inboxes(server) != TW_OK)
        status = tw_error_set(error, TW_NO_MEMORY, "no memory for chunks of other servers");
    return status;
}

void tw_saver_fini(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    for (uint32_t i = 0; saver->inbox && i < server->layout.servers; i++)
        free(saver->inbox[i]);
    free(saver->inbox);
    tw_checkpoint_writer_fini(&saver->writer);
}

/* ---- one of them ---- */

void tw_saver_begin(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    saver->phase = TW_SAVER_COPYING;
    tw_checkpoint_writer_begin(&saver->writer,
                               tw_sequencer_snapshot(tw_node_sequencer(server->node)),
                               tw_node_generation(server->node), tw_server_seconds(server),
                               server->narrator.borders.seconds);
}

/* In a thread of its own; nobody else touches the writer meanwhile. */
static void sync_all(uv_work_t *work) {
    struct tw_server *server = work->data;
    tw_checkpoint_writer_keep(&server->saver.writer, server->order.file,
                              (size_t)server->config->job->checkpoint.keep);
}

static void end(struct tw_server *server) {
    server->saver.phase = TW_SAVER_IDLE;
    tw_checkpoint_writer_tell(&server->saver.writer);
    tw_node_checkpointed(server->node);
    tw_pump_wake(server);
    tw_pump_drain(server);
}

static void on_synced(uv_work_t *work, int code) {
    end(work->data);
}

static void finish(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    struct tw_error *failed = &saver->writer.failed;
    tw_order_writer_flush(&server->order); /* the CHECKPOINT is in it */
    tw_trace_flush(&server->trace);        /* and what the sequencer was told until there */
    tw_checkpoint_writer_seal(&saver->writer, server->order.failed.status == TW_OK);
    saver->phase = TW_SAVER_SYNCING;
    saver->work.data = server;
    if (failed->status == TW_OK) {
        int code = uv_queue_work(&server->loop, &saver->work, sync_all, on_synced);
        if (code == 0)
            return;
        tw_error_set(failed, TW_IO, "%s", uv_strerror(code));
    }
    tw_checkpoint_writer_give_up(&saver->writer);
    end(server);
}

/* ---- chunks ---- */

/* The array of the chunk that is next of this server. */
static void write_next(struct tw_server *server, uint32_t shard, const float *elements) {
    if (tw_checkpoint_writer_add(&server->saver.writer, shard, elements))
        finish(server);
}

void tw_saver_own(struct tw_server *server, uint32_t chunk) {
    const struct tw_shard *shard = tw_node_shard(server->node);
    uint32_t arrays = server->saver.writer.array_count;
    tw_node_saved(server->node); /* what is written here is copied at once */
    for (uint32_t a = 0; a < arrays; a++)
        write_next(server, 0, tw_shard_array(shard, a, chunk));
}

/* Which other server's link this is; 0: none. */
static uint32_t server_of(const struct tw_link *link) {
    const struct tw_server *server = link->server;
    for (uint32_t i = 1; i < server->layout.servers; i++)
        if (tw_node_server(server->node, i) == link->number)
            return i;
    return 0;
}

static enum tw_status check_part(struct tw_link *link, const struct tw_frame *frame,
                                 uint32_t *shard, struct tw_error *error) {
    struct tw_server *server = link->server;
    const struct tw_saver *saver = &server->saver;
    const struct tw_weights *weights = &frame->weights;
    *shard = server_of(link);
    if (saver->phase != TW_SAVER_COPYING || !*shard ||
        weights->position != saver->writer.manifest.snapshot.position ||
        saver->writer.next[*shard].chunk == server->layout.shard_first[*shard + 1])
        return tw_error_set(error, TW_UNEXPECTED, "Weights that nobody has asked for");
    if (weights->chunk != saver->writer.next[*shard].chunk ||
        weights->array != saver->writer.next[*shard].array)
        return tw_error_set(error, TW_UNEXPECTED,
                            "array %u of chunk %u of a checkpoint, where array %u of chunk %u is "
                            "next",
                            weights->array, weights->chunk, saver->writer.next[*shard].array,
                            saver->writer.next[*shard].chunk);
    size_t expected = server->layout.chunk[weights->chunk].count * sizeof(float);
    if (frame->data_bytes != expected)
        return tw_error_set(error, TW_MALFORMED, "chunk %u has %zu bytes, the Weights bring %zu",
                            weights->chunk, expected, frame->data_bytes);
    return TW_OK;
}

enum tw_status tw_saver_place(struct tw_link *link, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    uint32_t shard;
    enum tw_status status = check_part(link, frame, &shard, error);
    if (status == TW_OK)
        *place = link->server->saver.inbox[shard];
    return status;
}

enum tw_status tw_saver_arrived(struct tw_link *link, const struct tw_frame *frame,
                                struct tw_error *error) {
    uint32_t shard;
    enum tw_status status = check_part(link, frame, &shard, error);
    if (status == TW_OK)
        write_next(link->server, shard, link->server->saver.inbox[shard]);
    return status;
}

/* ---- when ---- */

void tw_saver_tick(struct tw_server *server) {
    struct tw_saver *saver = &server->saver;
    uint64_t now = uv_now(&server->loop);
    if (!saver->on || !saver->period_ms || !server->narrator.started) {
        saver->asked_ms = now;
        return;
    }
    if (now - saver->asked_ms < saver->period_ms)
        return;
    saver->asked_ms = now;
    tw_node_checkpoint(server->node);
    tw_pump_drain(server);
}

bool tw_saver_is_busy(const struct tw_server *server) {
    return server->saver.phase != TW_SAVER_IDLE;
}
