#include "server/io/shards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/say.h"
#include "server/io/server_state.h"

enum tw_status tw_shards_init(struct tw_server *server, struct tw_error *error) {
    struct tw_shards *shards = &server->shards;
    if (server->config->index || server->config->job->servers < 2)
        return TW_OK;
    shards->outbox = malloc(sizeof(*shards->outbox));
    shards->chunk = malloc(server->config->job->chunk_bytes);
    return shards->outbox && shards->chunk ? TW_OK
                                           : tw_error_set(error, TW_NO_MEMORY, "out of memory");
}

void tw_shards_fini(struct tw_server *server) {
    tw_safetensors_discard(&server->shards.file);
    free(server->shards.outbox);
    free(server->shards.chunk);
}

struct tw_link *tw_shards_link(const struct tw_server *server, uint32_t index) {
    uint32_t connection = tw_node_server(server->node, index);
    return connection == TW_NO_CONNECTION ? NULL : server->link[connection];
}

void tw_shards_order(struct tw_server *server, const struct tw_node_order *order) {
    uint32_t servers = server->layout.servers;
    struct tw_frame frame;
    if (servers < 2)
        return;
    tw_order_put(server->shards.outbox, order);
    while (tw_order_next(server->shards.outbox, &frame))
        for (uint32_t i = 1; i < servers; i++) {
            struct tw_link *link = tw_shards_link(server, i);
            if (link)
                tw_pump_queue(server, link, &frame, NULL, 0);
        }
}

/* ---- news ---- */

/* A server that listens everywhere is found where its link comes from, but for one on the
 * lead's own machine: it is found where the lead is. */
static void complete_address(struct tw_server *server, uint32_t index, const char *peer) {
    char *address = tw_node_server_address(server->node, index), port[TW_SERVER_ADDRESS];
    const char *colon = strrchr(peer, ':');
    bool loopback = strncmp(peer, "127.", 4) == 0 || strncmp(peer, "[::1]", 5) == 0;
    if (address[0] != ':' || loopback || !colon)
        return;
    snprintf(port, sizeof(port), "%s", address);
    snprintf(address, TW_SERVER_ADDRESS, "%.*s%.8s", (int)(colon - peer), peer, port);
}

void tw_shards_event(struct tw_server *server, const struct tw_node_event *event) {
    struct tw_shards *shards = &server->shards;
    const char *address = tw_node_server_address(server->node, event->rank);
    if (event->present) {
        struct tw_link *link = server->link[event->connection];
        if (link)
            complete_address(server, event->rank, tw_lane_peer(link->lane));
        if (link && server->saver.on) /* its part of checkpoints comes here */
            tw_lane_limit(link->lane, TW_FRAME_BYTES_MAX, true);
        tw_say("server %u has joined; workers find it at %s", event->rank, address);
        tw_restorer_start(server);
        return;
    }
    bool over = server->phase >= TW_SERVER_LEAVING;
    if (over || shards->lost.status != TW_OK)
        return;
    tw_error_set(&shards->lost, TW_CLOSED,
                 "server %u at %s is lost, and its part of the weights with it: %s", event->rank,
                 address, event->text);
    tw_pump_wake(server);
}

/* ---- the model ---- */

static void collect(struct tw_server *server, bool average);

static void done(struct tw_server *server, const struct tw_error *error) {
    struct tw_result *result = &server->result;
    struct tw_error failure = {.status = TW_OK};
    uint8_t sha[TW_SHA256_BYTES];
    if (error)
        failure = *error;
    else
        tw_safetensors_commit(&server->shards.file, sha, &failure);
    tw_safetensors_discard(&server->shards.file);
    server->shards.collecting = false;
    if (failure.status != TW_OK) {
        tw_error_wrap(&failure, "the model could not be saved");
    } else if (server->shards.averages) {
        snprintf(result->model_ema, sizeof(result->model_ema), "%s", server->directory.ema_path);
        tw_hex(sha, sizeof(sha), result->model_ema_sha256);
    } else {
        snprintf(result->model, sizeof(result->model), "%s", server->directory.model_path);
        tw_hex(sha, sizeof(sha), result->model_sha256);
        if (server->config->shaping.average > 0) {
            collect(server, true);
            return;
        }
    }
    tw_server_collected(server, &failure);
}

static enum tw_status write_chunk(struct tw_server *server, const float *weights,
                                  struct tw_error *error) {
    uint32_t chunk = server->shards.next_chunk++;
    const struct tw_chunk *c = &server->layout.chunk[chunk];
    if (!server->shards.averages)
        tw_sample_hash(&server->shards.sample, c->tensor, c->first, weights, c->count);
    return tw_safetensors_write(&server->shards.file, weights, server->layout.chunk[chunk].count,
                                error);
}

static void ask_next(struct tw_server *server) {
    struct tw_shards *shards = &server->shards;
    struct tw_frame frame = {.body = TW_BODY_COLLECT, .collect = {.average = shards->averages}};
    struct tw_error error;
    if (++shards->from == server->layout.servers) {
        done(server, NULL);
        return;
    }
    struct tw_link *link = tw_shards_link(server, shards->from);
    if (!link) {
        tw_error_set(&error, TW_CLOSED, "server %u, which has its part, is not there",
                     shards->from);
        done(server, &error);
        return;
    }
    shards->silent_ms = 0;
    tw_lane_limit(link->lane, TW_FRAME_BYTES_MAX, true);
    tw_pump_queue(server, link, &frame, NULL, 0);
}

/* One file: the weights, or their average. */
static void collect(struct tw_server *server, bool average) {
    struct tw_shards *shards = &server->shards;
    const struct tw_shard *shard = tw_node_shard(server->node);
    const char *path = average ? server->directory.ema_path : server->directory.model_path;
    struct tw_error error = {.status = TW_OK};
    shards->collecting = true;
    shards->averages = average;
    shards->from = shards->next_chunk = 0;
    enum tw_status status = tw_safetensors_open(&shards->file, path, server->layout.list, &error);
    while (status == TW_OK && shards->next_chunk < server->layout.shard_first[1]) {
        uint32_t chunk = shards->next_chunk;
        status = write_chunk(
            server, average ? tw_shard_average(shard, chunk) : tw_shard_weights(shard, chunk),
            &error);
    }
    if (status == TW_OK)
        ask_next(server);
    else
        done(server, &error);
}

void tw_shards_collect(struct tw_server *server) {
    server->shards.sample = (struct tw_sample){.version = server->result.updates, .hashed = true};
    collect(server, false);
}

enum tw_status tw_shards_place(struct tw_link *link, const struct tw_frame *frame, void **place,
                               struct tw_error *error) {
    struct tw_server *server = link->server;
    struct tw_shards *shards = &server->shards;
    bool awaited = shards->collecting && link == tw_shards_link(server, shards->from);
    if (!awaited)
        return tw_error_set(error, TW_UNEXPECTED, "Weights that nobody has asked for");
    if (frame->weights.chunk != shards->next_chunk)
        return tw_error_set(error, TW_UNEXPECTED, "Weights of chunk %u, where chunk %u is next",
                            frame->weights.chunk, shards->next_chunk);
    size_t expected = server->layout.chunk[shards->next_chunk].count * sizeof(float);
    if (frame->data_bytes != expected)
        return tw_error_set(error, TW_MALFORMED, "chunk %u has %zu bytes, the Weights bring %zu",
                            shards->next_chunk, expected, frame->data_bytes);
    *place = shards->chunk;
    return TW_OK;
}

enum tw_status tw_shards_arrived(struct tw_link *link, struct tw_error *error) {
    struct tw_server *server = link->server;
    struct tw_shards *shards = &server->shards;
    struct tw_error failure;
    if (!shards->collecting || link != tw_shards_link(server, shards->from))
        return tw_error_set(error, TW_UNEXPECTED, "Weights that nobody has asked for");
    shards->silent_ms = 0;
    if (write_chunk(server, shards->chunk, &failure) != TW_OK)
        done(server, &failure);
    else if (shards->next_chunk == server->layout.shard_first[shards->from + 1])
        ask_next(server);
    return TW_OK;
}

void tw_shards_tick(struct tw_server *server, uint32_t passed_ms) {
    struct tw_shards *shards = &server->shards;
    if (!shards->collecting)
        return;
    shards->silent_ms += passed_ms;
    if (shards->silent_ms < TW_STALLED_SEND_MS)
        return;
    struct tw_error error;
    tw_error_set(&error, TW_SLOW_PEER, "server %u has sent nothing of its part for %d s",
                 shards->from, TW_STALLED_SEND_MS / 1000);
    done(server, &error);
}
