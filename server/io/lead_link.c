#include "server/io/lead_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/say.h"
#include "server/io/server_state.h"

enum { RETRY_MS = 250 };

static void say(struct tw_server *server, const struct tw_frame *frame) {
    if (server->lead.connection)
        (void)tw_connection_send(server->lead.connection, frame, NULL, NULL);
}

/* ---- ending ---- */

void tw_lead_leave(struct tw_server *server, enum tw_status status, const char *text) {
    struct tw_lead_link *lead = &server->lead;
    struct tw_frame bye = {.body = TW_BODY_BYE};
    if (lead->phase == TW_LEAD_OVER)
        return;
    if (lead->phase == TW_LEAD_SERVING)
        say(server, &bye);
    lead->phase = TW_LEAD_OVER;
    if (lead->connection)
        tw_connection_finish(lead->connection, TW_OK, "");
    server->result.status = status;
    snprintf(server->result.error, sizeof(server->result.error), "%s", text);
    tw_server_leave(server);
}

/* A try that failed is made again for a while; a link that was up is not. */
static void lose(struct tw_server *server, enum tw_status status, const char *why) {
    struct tw_lead_link *lead = &server->lead;
    char text[TW_ERROR_TEXT];
    bool may_pass = status == TW_CLOSED || status == TW_IO || status == TW_SLOW_PEER ||
                    status == TW_UNREACHABLE || status == TW_AGAIN || status == TW_NO_MEMORY ||
                    status == TW_LIMIT;
    if (lead->phase == TW_LEAD_OVER || lead->phase == TW_LEAD_AWAY)
        return; /* the first cause counts */
    if (lead->phase == TW_LEAD_SERVING) {
        snprintf(text, sizeof(text), "the lead at %s is lost, and with it the order: %.600s",
                 server->config->lead, why);
        tw_lead_leave(server, TW_CLOSED, text);
    } else if (!may_pass || (status == TW_LIMIT && lead->phase == TW_LEAD_ENTERING)) {
        snprintf(text, sizeof(text), "the lead at %s does not take this server: %.600s",
                 server->config->lead, why);
        tw_lead_leave(server, status, text);
    } else {
        snprintf(lead->cause, sizeof(lead->cause), "%s", why);
        lead->phase = TW_LEAD_AWAY;
        lead->next_ms = uv_now(&server->loop) + RETRY_MS;
        if (lead->connection)
            tw_connection_close(lead->connection);
    }
}

static void on_closed(struct tw_connection *connection, const struct tw_error *error) {
    struct tw_server *server = tw_connection_context(connection);
    server->lead.connection = NULL;
    lose(server, error->status, error->text);
    tw_connection_free(connection);
}

/* ---- greeting ---- */

static enum tw_status check_token(struct tw_server *server, const struct tw_challenge *challenge,
                                  struct tw_error *error) {
    struct tw_lead_link *lead = &server->lead;
    const struct tw_server_config *config = server->config;
    uint8_t expected[TW_PROOF_BYTES];
    if (challenge->nonce.size != TW_NONCE_BYTES)
        return tw_error_set(error, TW_MALFORMED, "a Challenge with a nonce of %zu bytes, not %d",
                            challenge->nonce.size, TW_NONCE_BYTES);
    if (!config->token)
        return challenge->token
                   ? tw_error_set(error, TW_WRONG_TOKEN, "it wants a token; give --token-file")
                   : TW_OK;
    const uint8_t *nonce = challenge->nonce.bytes;
    tw_session_proof(config->token, config->token_bytes, "talweg server", lead->nonce, nonce,
                     expected);
    if (!challenge->token || challenge->proof.size != TW_PROOF_BYTES ||
        !tw_equal_secret(challenge->proof.bytes, expected, TW_PROOF_BYTES))
        return tw_error_set(error, TW_WRONG_TOKEN, "its token is not ours, or it has none");
    tw_session_proof(config->token, config->token_bytes, "talweg client", lead->nonce, nonce,
                     lead->proof);
    return TW_OK;
}

static enum tw_status on_challenge(struct tw_server *server, const struct tw_challenge *challenge,
                                   struct tw_error *error) {
    struct tw_lead_link *lead = &server->lead;
    struct tw_frame proof = {.body = TW_BODY_PROOF}, serve = {.body = TW_BODY_SERVE};
    enum tw_status status = check_token(server, challenge, error);
    if (status != TW_OK)
        return status;
    if (server->config->token)
        proof.proof.proof = (struct tw_view){lead->proof, TW_PROOF_BYTES};
    serve.serve = (struct tw_serve){
        .index = server->config->index,
        .servers = server->layout.servers,
        .digest = {server->digest, TW_DIGEST_BYTES},
        .layout = {lead->layout, TW_DIGEST_BYTES},
        .address = {lead->address, strlen(lead->address)},
        .pooled = tw_shard_is_pooled(tw_node_shard(server->node)),
        .ahead = tw_shard_ahead(tw_node_shard(server->node)),
    };
    say(server, &proof);
    say(server, &serve);
    lead->phase = TW_LEAD_ENTERING;
    return TW_OK;
}

/* ---- serving ---- */

static enum tw_status refused(struct tw_server *server, const struct tw_refuse *refuse) {
    char text[512];
    int length = refuse->text.size < 400 ? (int)refuse->text.size : 400;
    enum tw_status status = refuse->status && refuse->status <= TW_INTERNAL
                                ? (enum tw_status)refuse->status
                                : TW_UNEXPECTED;
    snprintf(text, sizeof(text), "%s: %.*s", tw_status_name((int)status), length,
             length ? (const char *)refuse->text.bytes : "");
    lose(server, status, text);
    return TW_OK;
}

static void on_stop(struct tw_server *server, const struct tw_stop *stop) {
    char text[TW_ERROR_TEXT];
    int length = stop->text.size < 900 ? (int)stop->text.size : 900;
    enum tw_status status =
        stop->status <= TW_INTERNAL ? (enum tw_status)stop->status : TW_UNEXPECTED;
    struct tw_error error;
    snprintf(text, sizeof(text), "%.*s", status ? length : 0,
             length ? (const char *)stop->text.bytes : "");
    if (status == TW_OK && tw_shard_check_staleness(tw_node_shard(server->node), &error)) {
        status = error.status;
        snprintf(text, sizeof(text), "%s", error.text);
    }
    tw_lead_leave(server, status, text);
}

/* ---- checkpoints ---- */

/* An array of a chunk at a time, so that no vote waits behind more than that. */
static void send_part(struct tw_server *server) {
    struct tw_lead_link *lead = &server->lead;
    struct tw_frame frame = {.body = TW_BODY_WEIGHTS};
    if (lead->save.on_its_way || lead->save.chunk == lead->save.end ||
        lead->phase != TW_LEAD_SERVING || !lead->connection)
        return;
    frame.weights.position = lead->save.position;
    frame.weights.chunk = lead->save.chunk;
    frame.weights.array = lead->save.array;
    frame.data_bytes = server->layout.chunk[lead->save.chunk].count * sizeof(float);
    const float *elements =
        tw_shard_array(tw_node_shard(server->node), lead->save.array, lead->save.chunk);
    lead->save.on_its_way =
        tw_connection_send(lead->connection, &frame, elements, &lead->save) == TW_OK;
    tw_pump_wake(server); /* it leaves at the end of this turn of the loop, or of the next */
}

void tw_lead_save(struct tw_server *server, const struct tw_shard_save *save) {
    struct tw_lead_link *lead = &server->lead;
    if (save->chunk == server->layout.shard_first[server->config->index]) {
        lead->save.position = save->position;
        lead->save.chunk = save->chunk;
        lead->save.array = 0;
    }
    lead->save.end = save->chunk + 1;
    send_part(server);
}

static void on_part_sent(struct tw_server *server) {
    struct tw_lead_link *lead = &server->lead;
    lead->save.on_its_way = false;
    if (++lead->save.array == tw_shard_arrays(tw_node_shard(server->node))) {
        lead->save.array = 0;
        lead->save.chunk++;
        tw_node_saved(server->node);
        tw_pump_wake(server);
    }
    send_part(server);
}

static void begin_filling(struct tw_server *server, const struct tw_record *rollback) {
    struct tw_lead_link *lead = &server->lead;
    lead->fill.on = rollback->to != 0; /* at the start the weights are there already */
    lead->fill.chunk = server->layout.shard_first[server->config->index];
    lead->fill.array = 0;
}

static void on_part_filled(struct tw_server *server) {
    struct tw_lead_link *lead = &server->lead;
    if (++lead->fill.array < tw_shard_arrays(tw_node_shard(server->node)))
        return;
    lead->fill.array = 0;
    lead->fill.chunk++;
    lead->fill.on = lead->fill.chunk < server->layout.shard_first[server->config->index + 1];
}

/* ---- orders ---- */

static enum tw_status on_order(struct tw_server *server, const struct tw_frame *frame,
                               struct tw_error *error) {
    struct tw_node_order order;
    enum tw_status status = tw_order_take(server->lead.inbox, frame, &order, error);
    if (status == TW_AGAIN)
        return TW_OK;
    if (status == TW_OK)
        status = tw_node_hear_lead(server->node, &order, error);
    if (status == TW_OK && order.kind == TW_ORDER_RECORD && order.record.kind == TW_RECORD_ROLLBACK)
        begin_filling(server, &order.record);
    tw_pump_wake(server);
    tw_pump_drain(server);
    return status;
}

static enum tw_status serving(struct tw_server *server, const struct tw_frame *frame,
                              struct tw_error *error) {
    struct tw_frame pong = {.body = TW_BODY_PONG};
    switch (frame->body) {
    case TW_BODY_ORDER:
    case TW_BODY_MEMBER:
        return on_order(server, frame, error);
    case TW_BODY_WEIGHTS: /* on_data() has looked at it */
        if (!frame->data_bytes)
            return tw_error_set(error, TW_UNEXPECTED, "Weights without data from the lead");
        on_part_filled(server);
        return TW_OK;
    case TW_BODY_COLLECT:
        if (frame->collect.average && server->config->shaping.average == 0)
            return tw_error_set(error, TW_UNEXPECTED, "Collect of an average that the job has not");
        server->lead.collecting = true;
        server->lead.collects_average = frame->collect.average;
        tw_pump_wake(server);
        return TW_OK;
    case TW_BODY_STOP:
        on_stop(server, &frame->stop);
        return TW_OK;
    case TW_BODY_PING:
        pong.pong.nonce = frame->ping.nonce;
        say(server, &pong);
        return TW_OK;
    case TW_BODY_PONG:
        return TW_OK;
    default:
        return tw_error_set(error, TW_UNEXPECTED, "a %s frame from the lead",
                            tw_body_name(frame->body));
    }
}

static enum tw_status on_frame(struct tw_connection *connection, const struct tw_frame *frame,
                               void *data, struct tw_error *error) {
    struct tw_server *server = tw_connection_context(connection);
    struct tw_lead_link *lead = &server->lead;
    enum tw_status status = TW_OK;
    if (lead->phase == TW_LEAD_OVER)
        return TW_OK;
    if (frame->body == TW_BODY_REFUSE)
        return refused(server, &frame->refuse);
    if (lead->phase == TW_LEAD_SERVING) {
        status = serving(server, frame, error);
    } else if (lead->phase == TW_LEAD_GREETING && frame->body == TW_BODY_CHALLENGE) {
        status = on_challenge(server, &frame->challenge, error);
    } else if (lead->phase == TW_LEAD_ENTERING && frame->body == TW_BODY_SERVED) {
        lead->phase = TW_LEAD_SERVING;
        lead->next_ms = uv_now(&server->loop);
        tw_connection_limit(lead->connection, TW_FRAME_BYTES_MAX, true);
        tw_say("serving the lead at %s", server->config->lead);
    } else {
        status = tw_error_set(error, TW_UNEXPECTED, "a %s frame from the lead",
                              tw_body_name(frame->body));
    }
    if (status != TW_OK)
        lose(server, status, error->text);
    return status;
}

static enum tw_status on_data(struct tw_connection *connection, const struct tw_frame *frame,
                              void **place, struct tw_error *error) {
    struct tw_server *server = tw_connection_context(connection);
    const struct tw_lead_link *lead = &server->lead;
    const struct tw_weights *weights = &frame->weights;
    if (frame->body != TW_BODY_WEIGHTS || !lead->fill.on || weights->chunk != lead->fill.chunk ||
        weights->array != lead->fill.array)
        return tw_error_set(error, TW_UNEXPECTED, "%s with data", tw_body_name(frame->body));
    if (frame->data_bytes != server->layout.chunk[weights->chunk].count * sizeof(float))
        return tw_error_set(error, TW_MALFORMED, "chunk %u with %zu bytes", weights->chunk,
                            frame->data_bytes);
    *place = tw_shard_array(tw_node_shard_to_fill(server->node), weights->array, weights->chunk);
    return TW_OK;
}

/* Nobody writes the final weights any more, so only parts of a checkpoint have a token. */
static void on_released(struct tw_connection *connection, uint32_t lane, void *token) {
    struct tw_server *server = tw_connection_context(connection);
    if (token == &server->lead.save)
        on_part_sent(server);
}

static const struct tw_connection_events events = {
    .on_data = on_data, .on_frame = on_frame, .on_released = on_released, .on_closed = on_closed};

/* ---- connecting ---- */

static void on_open(struct tw_connection *connection, enum tw_status status,
                    const struct tw_error *error) {
    struct tw_server *server = tw_connection_context(connection);
    struct tw_frame hello = {.body = TW_BODY_HELLO};
    if (status != TW_OK || server->lead.phase != TW_LEAD_GREETING)
        return; /* on_closed follows */
    if (tw_random_bytes(server->lead.nonce, TW_NONCE_BYTES) != TW_OK) {
        lose(server, TW_IO, "the system gives no random numbers");
        return;
    }
    hello.hello.protocol_min = TW_PROTOCOL_MIN;
    hello.hello.protocol_max = TW_PROTOCOL_MAX;
    hello.hello.nonce = (struct tw_view){server->lead.nonce, TW_NONCE_BYTES};
    hello.hello.software =
        (struct tw_view){"talweg " TALWEG_VERSION, strlen("talweg " TALWEG_VERSION)};
    say(server, &hello);
}

static void connect_lead(struct tw_server *server) {
    struct tw_lead_link *lead = &server->lead;
    struct tw_error error = {.status = TW_OK};
    lead->phase = TW_LEAD_GREETING;
    lead->next_ms = uv_now(&server->loop) + server->limits.handshake_ms;
    enum tw_status status = tw_address_next(&lead->at, &error);
    if (status == TW_OK &&
        tw_connection_new(&lead->connection, &server->host, &events, server) != TW_OK)
        status = tw_error_set(&error, TW_NO_MEMORY, "out of memory");
    if (status == TW_OK) {
        tw_connection_limit(lead->connection, TW_SMALL_FIELDS_MAX, false);
        status = tw_connection_connect(lead->connection,
                                       (struct sockaddr *)&lead->at.address[lead->at.tried],
                                       on_open, &error);
    }
    if (status != TW_OK)
        lose(server, error.status, error.text);
}

static void give_up(struct tw_server *server) {
    char text[TW_ERROR_TEXT];
    snprintf(text, sizeof(text), "no lead at %s (%.500s) after %u s: start it, or check --lead",
             server->config->lead, server->lead.cause, (server->limits.lead_ms + 999) / 1000);
    tw_lead_leave(server, TW_UNREACHABLE, text);
}

void tw_lead_tick(struct tw_server *server) {
    struct tw_lead_link *lead = &server->lead;
    uint64_t now = uv_now(&server->loop);
    struct tw_frame ping = {.body = TW_BODY_PING};
    if (!server->config->index || server->phase != TW_SERVER_RUNNING || now < lead->next_ms)
        return;
    if (lead->phase == TW_LEAD_SERVING) {
        lead->next_ms = now + TW_HEARTBEAT_MS;
        ping.ping.nonce = ++lead->pings;
        say(server, &ping);
    } else if (lead->phase == TW_LEAD_GREETING || lead->phase == TW_LEAD_ENTERING) {
        lose(server, TW_SLOW_PEER, "it took the connection and did not answer");
    } else if (lead->phase == TW_LEAD_AWAY && !lead->connection) {
        if (now - lead->since_ms >= server->limits.lead_ms)
            give_up(server);
        else
            connect_lead(server);
    }
}

/* ---- votes and weights ---- */

void tw_lead_vote(struct tw_server *server, const struct tw_node_vote *vote) {
    struct tw_frame frame;
    uint8_t scratch[TW_SAMPLE_SUMS_BYTES];
    if (server->lead.phase != TW_LEAD_SERVING)
        return;
    tw_vote_frame(vote, &frame, scratch);
    say(server, &frame);
}

void tw_lead_flush(struct tw_server *server) {
    if (server->lead.connection)
        tw_connection_flush(server->lead.connection);
}

void tw_lead_idle(struct tw_server *server) {
    const struct tw_layout *layout = &server->layout;
    uint32_t index = server->config->index;
    if (!server->lead.collecting || !server->lead.connection)
        return;
    server->lead.collecting = false;
    const struct tw_shard *shard = tw_node_shard(server->node);
    for (uint32_t c = layout->shard_first[index]; c < layout->shard_first[index + 1]; c++) {
        struct tw_frame frame = {.body = TW_BODY_WEIGHTS};
        frame.weights.chunk = c;
        frame.data_bytes = layout->chunk[c].count * sizeof(float);
        (void)tw_connection_send(server->lead.connection, &frame,
                                 server->lead.collects_average ? tw_shard_average(shard, c)
                                                               : tw_shard_weights(shard, c),
                                 NULL);
    }
}

/* ---- life ---- */

enum tw_status tw_lead_init(struct tw_server *server, const struct sockaddr *listens,
                            struct tw_error *error) {
    struct tw_lead_link *lead = &server->lead;
    char name[TW_ADDRESS_TEXT];
    tw_address_name(listens, name);
    bool everywhere = strncmp(name, "0.0.0.0:", 8) == 0 || strncmp(name, "[::]:", 5) == 0;
    snprintf(lead->address, sizeof(lead->address), "%s",
             server->config->advertise ? server->config->advertise
             : everywhere              ? strrchr(name, ':')
                                       : name);
    tw_layout_digest(&server->layout, lead->layout);
    snprintf(lead->cause, sizeof(lead->cause), "not tried");
    lead->inbox = calloc(1, sizeof(*lead->inbox));
    lead->since_ms = uv_now(&server->loop);
    if (!lead->inbox)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    return tw_host_port_parse(&lead->at.host, server->config->lead, error);
}

void tw_lead_fini(struct tw_server *server) {
    free(server->lead.inbox);
}

void tw_lead_close(struct tw_server *server) {
    server->lead.phase = TW_LEAD_OVER;
    if (server->lead.connection)
        tw_connection_close(server->lead.connection);
}
