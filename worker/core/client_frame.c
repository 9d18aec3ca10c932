/* Frames from the servers, all but Weights: greeting, joining, and what control
 * brings during a run. */
#include <stdio.h>
#include <string.h>

#include "common/base/digest.h"
#include "worker/core/client_parts.h"

static const char *link_name(int link) {
    return link == TW_CLIENT_CONTROL ? "control" : "bulk";
}

/* We will not have this server. Its connection is closed with the same status. */
static enum tw_status refuse_server(struct tw_client_turn *turn, enum tw_status status,
                                    const char *text) {
    struct tw_client *client = turn->client;
    tw_error_set(&client->error, status, "the server at %s: %s", client->config.server, text);
    tw_error_set(turn->error, status, "%s", text);
    return tw_client_fail(client, TW_CLIENT_REFUSED);
}

/* ---- greeting ---- */

/* HMAC-SHA256(token, label || our nonce || the server's nonce) */
static void make_proof(const struct tw_client *client, const char *label, const uint8_t *ours,
                       const void *theirs, uint8_t out[TW_PROOF_BYTES]) {
    uint8_t text[64 + 2 * TW_NONCE_BYTES];
    size_t length = strlen(label);
    memcpy(text, label, length);
    memcpy(text + length, ours, TW_NONCE_BYTES);
    memcpy(text + length + TW_NONCE_BYTES, theirs, TW_NONCE_BYTES);
    tw_hmac_sha256(client->config.token, client->config.token_bytes, text,
                   length + 2 * TW_NONCE_BYTES, out);
}

/* Whether both sides have the same secret, or both none. */
static enum tw_status check_token(struct tw_client_turn *turn, const uint8_t *nonce) {
    const struct tw_challenge *challenge = &turn->event->frame->challenge;
    uint8_t expected[TW_PROOF_BYTES];

    if (turn->client->config.token == NULL)
        return challenge->token
                   ? refuse_server(turn, TW_WRONG_TOKEN, "it wants a token; give --token-file")
                   : TW_OK;
    if (!challenge->token)
        return refuse_server(turn, TW_WRONG_TOKEN,
                             "it has no token, so it may be somebody else's; start it with the "
                             "same --token-file");
    make_proof(turn->client, "talweg server", nonce, challenge->nonce.bytes, expected);
    if (challenge->proof.size != TW_PROOF_BYTES ||
        !tw_equal_secret(challenge->proof.bytes, expected, TW_PROOF_BYTES))
        return refuse_server(turn, TW_WRONG_TOKEN, "its token is not ours");
    return TW_OK;
}

static void send_join(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_client_config *config = &client->config;
    struct tw_frame frame = {.body = TW_BODY_JOIN};
    struct tw_join *join = &frame.join;

    join->role = config->role;
    join->any_rank = !client->welcomed && config->rank < 0;
    join->rank = client->welcomed ? client->rank : config->rank < 0 ? 0 : (uint32_t)config->rank;
    if (client->welcomed) {
        join->incarnation = client->incarnation;
        join->session = (struct tw_view){client->session, TW_SESSION_BYTES};
        join->job = (struct tw_view){client->job, TW_JOB_ID_BYTES};
    }
    if (config->digest != NULL)
        join->digest = (struct tw_view){config->digest, TW_DIGEST_BYTES};
    join->tensors = (size_t)config->list->count;
    join->tensor = client->shape;
    join->numerics = (struct tw_view){config->numerics, strlen(config->numerics)};
    join->read = client->held.position;
    join->encodings = TW_ENCODINGS_ALL;
    join->samples = client->config.test_samples;
    join->valued = client->config.test_valued;
    tw_client_send(turn, TW_CLIENT_CONTROL, &frame);
}

static void send_attach(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    struct tw_frame frame = {.body = TW_BODY_ATTACH};

    frame.attach.role = client->config.role;
    frame.attach.rank = client->rank;
    frame.attach.incarnation = client->incarnation;
    frame.attach.session = (struct tw_view){client->session, TW_SESSION_BYTES};
    frame.attach.attempt = client->attempt;
    tw_client_send(turn, turn->event->link, &frame);
}

static enum tw_status on_challenge(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    struct tw_client_link *link = &client->link[turn->event->link];
    const struct tw_challenge *challenge = &turn->event->frame->challenge;
    struct tw_frame frame = {.body = TW_BODY_PROOF};

    if (challenge->protocol < TW_PROTOCOL_MIN || challenge->protocol > TW_PROTOCOL_MAX)
        return refuse_server(turn, TW_PROTOCOL_VERSION,
                             "it chose a protocol version that we did not offer");
    if (challenge->nonce.size != TW_NONCE_BYTES)
        return tw_client_violation(client, turn->error, TW_MALFORMED,
                                   "a Challenge with a nonce of %zu bytes instead of %d",
                                   challenge->nonce.size, TW_NONCE_BYTES);
    enum tw_status status = check_token(turn, link->nonce);
    if (status != TW_OK)
        return status;
    if (challenge->token) {
        make_proof(client, "talweg client", link->nonce, challenge->nonce.bytes, link->proof);
        frame.proof.proof = (struct tw_view){link->proof, TW_PROOF_BYTES};
    }
    tw_client_send(turn, turn->event->link, &frame);
    link->state = TW_LINK_ENTERING;
    if (turn->event->link == TW_CLIENT_CONTROL) {
        tw_client_set_phase(client, TW_CLIENT_JOINING);
        send_join(turn);
    } else {
        send_attach(turn);
    }
    return TW_OK;
}

/* ---- joining ---- */

/* What is wrong with a Welcome in itself, or NULL. */
static const char *fault_of_welcome(const struct tw_client *client,
                                    const struct tw_welcome *welcome) {
    if (welcome->job.size != TW_JOB_ID_BYTES)
        return "the job id has a wrong length";
    if (welcome->session.size != TW_SESSION_BYTES)
        return "the session has a wrong length";
    if (welcome->workers < 1 || welcome->workers > TW_WORKERS_MAX)
        return "the number of workers is out of range";
    if (welcome->slots < 1 || welcome->slots > TW_SLOTS_MAX)
        return "the number of slots is out of range";
    if (welcome->servers < 1 || welcome->servers > TW_SERVERS_MAX)
        return "the number of servers is out of range";
    if (welcome->addresses && welcome->addresses != welcome->servers)
        return "there is not one address for each server";
    for (size_t i = 0; i < welcome->addresses; i++)
        if (welcome->address[i].size >= TW_CLIENT_ADDRESS)
            return "the address of a server is too long";
    if (client->config.role == TW_ROLE_EVALUATOR)
        return NULL;
    if (welcome->rank >= welcome->workers)
        return "the rank is not below the number of workers";
    if (welcome->slot >= welcome->slots)
        return "the slot is not below the number of slots";
    if (welcome->width < 1 || welcome->width > welcome->slots - welcome->slot)
        return "the slots of this rank are none, or more than there are";
    if (client->config.rank >= 0 && welcome->rank != (uint32_t)client->config.rank)
        return "the rank is not the one that we asked for";
    return NULL;
}

/* What a Welcome says otherwise than the one before, or NULL. */
static const char *change_in_welcome(const struct tw_client *client,
                                     const struct tw_welcome *welcome) {
    if (!client->welcomed)
        return NULL;
    if (memcmp(welcome->job.bytes, client->job, TW_JOB_ID_BYTES) != 0)
        return "another job id than before";
    if (welcome->rank != client->rank || welcome->incarnation != client->incarnation)
        return "another rank or incarnation than before";
    if (welcome->slot != client->slot || welcome->slots != client->slots ||
        welcome->width != client->width)
        return "another slot than before";
    if (welcome->servers != client->servers || welcome->chunk_bytes != client->layout.chunk_bytes)
        return "another layout than before";
    if (welcome->push != client->push || welcome->pull != client->pull)
        return "other encodings than before";
    if (client->config.role == TW_ROLE_WORKER && welcome->generation == client->generation &&
        welcome->last_step + 1 < client->held.step)
        return "an older step than before";
    return NULL;
}

static void take_addresses(struct tw_client *client, const struct tw_welcome *welcome) {
    for (size_t i = 0; i < welcome->servers; i++) {
        const struct tw_view none = {"", 0};
        const struct tw_view *text = welcome->addresses ? &welcome->address[i] : &none;
        if (text->size)
            memcpy(client->address[i], text->bytes, text->size);
        client->address[i][text->size] = '\0';
    }
}

static void take_welcome(struct tw_client *client, const struct tw_welcome *welcome) {
    if (client->welcomed && welcome->generation != client->generation) {
        client->live = false; /* rolled back: the weights of our push exist no more */
        client->held.version = 0;
    }
    client->welcomed = true;
    client->fresh = true;
    memcpy(client->job, welcome->job.bytes, TW_JOB_ID_BYTES);
    memcpy(client->session, welcome->session.bytes, TW_SESSION_BYTES);
    client->rank = welcome->rank;
    client->incarnation = welcome->incarnation;
    client->attempt = welcome->attempt;
    client->generation = welcome->generation;
    client->epoch = welcome->epoch;
    client->workers = welcome->workers;
    client->slots = welcome->slots;
    client->slot = welcome->slot;
    client->width = welcome->width;
    client->last_step = client->over = welcome->last_step;
    client->servers = welcome->servers;
    client->push = welcome->push;
    client->pull = welcome->pull;
    client->portions = welcome->portions && client->config.test_samples > 0;
    take_addresses(client, welcome);
}

static enum tw_status check_encodings(struct tw_client_turn *turn,
                                      const struct tw_welcome *welcome) {
    uint32_t unknown = welcome->push >= TW_ENCODINGS   ? welcome->push
                       : welcome->pull >= TW_ENCODINGS ? welcome->pull
                                                       : 0;
    char text[160];
    if (unknown == 0)
        return TW_OK;
    snprintf(text, sizeof(text),
             "its job has an encoding that this version does not know (number %u); use a newer "
             "Talweg, or set encoding.push and encoding.pull to f32",
             unknown);
    return refuse_server(turn, TW_UNSUPPORTED, text);
}

static enum tw_status on_welcome(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_welcome *welcome = &turn->event->frame->welcome;
    const char *fault = fault_of_welcome(client, welcome);
    struct tw_error error;

    if (fault == NULL)
        fault = change_in_welcome(client, welcome);
    if (fault != NULL)
        return tw_client_violation(client, turn->error, TW_UNEXPECTED, "in its Welcome: %s", fault);
    enum tw_status status = check_encodings(turn, welcome);
    if (status != TW_OK)
        return status;
    if (!client->welcomed) {
        if (tw_layout_init(&client->layout, client->config.list, welcome->chunk_bytes,
                           welcome->servers, client->chunk, &error) != TW_OK)
            return tw_client_violation(client, turn->error, TW_UNEXPECTED, "in its Welcome: %s",
                                       error.text);
    }
    bool first = !client->welcomed;
    take_welcome(client, welcome);
    if (first)
        tw_client_make_segments(client);
    client->link[TW_CLIENT_CONTROL].state = TW_LINK_READY;
    tw_client_set_phase(client, TW_CLIENT_ATTACHING);
    for (uint32_t shard = 0; shard < client->servers; shard++)
        tw_client_open(turn, 1 + (int)shard);
    return TW_OK;
}

static enum tw_status on_attached(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    client->link[turn->event->link].state = TW_LINK_READY;
    for (uint32_t shard = 0; shard < client->servers; shard++)
        if (client->link[1 + shard].state != TW_LINK_READY)
            return TW_OK;
    tw_client_on_joined(turn);
    return TW_OK;
}

/* ---- during the run ---- */

static enum tw_status known_status(uint32_t number) {
    return number <= TW_INTERNAL ? (enum tw_status)number : TW_UNEXPECTED;
}

/* Whether a refusal may go away by trying again: the server is full, or has just lost
 * one of our connections (it then closes the others, and knows our session no more). */
static bool refusal_may_pass(const struct tw_client_turn *turn, enum tw_status status) {
    enum tw_client_link_state state = turn->client->link[turn->event->link].state;
    bool attaching = turn->event->link != TW_CLIENT_CONTROL && state == TW_LINK_ENTERING;
    return tw_client_may_pass(status) || (status == TW_LIMIT && state == TW_LINK_GREETING) ||
           (status == TW_UNEXPECTED && attaching);
}

/* As if the connection had been lost, with the server's words as the cause. */
static void lose_refused(struct tw_client_turn *turn, const char *text, int length) {
    char cause[TW_ERROR_TEXT];
    snprintf(cause, sizeof(cause), "refused: %.*s", length, text);
    tw_client_close(turn, turn->event->link);
    tw_client_interrupt(turn, turn->event->link, cause);
}

static void end_run(struct tw_client *client) {
    client->live = false;
    client->ending = TW_CLIENT_RUN_OVER;
    tw_client_set_phase(client, TW_CLIENT_STOPPED);
}

static enum tw_status on_refuse(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_refuse *refuse = &turn->event->frame->refuse;
    enum tw_status status = known_status(refuse->status);
    int length = (int)(refuse->text.size < 400 ? refuse->text.size : 400);
    const char *text = length == 0 ? "" : refuse->text.bytes;

    if (status == TW_OK)
        status = TW_UNEXPECTED;
    if (refusal_may_pass(turn, status)) {
        lose_refused(turn, text, length);
        return TW_OK;
    }
    tw_client_close_all(turn, 0);
    if (status == TW_STOPPED) { /* it ended while we were on our way */
        end_run(client);
        return TW_OK;
    }
    tw_error_set(&client->error, status, "refused by the server at %s: %s: %.*s",
                 client->config.server, tw_status_name((int)status), length, text);
    tw_client_fail(client, TW_CLIENT_REFUSED);
    return TW_OK;
}

static enum tw_status on_stop(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_stop *stop = &turn->event->frame->stop;
    enum tw_status status = known_status(stop->status);
    int length = (int)(stop->text.size < 900 ? stop->text.size : 900);
    const char *text = length == 0 ? "" : stop->text.bytes;
    struct tw_frame bye = {.body = TW_BODY_BYE};

    if (client->phase == TW_CLIENT_JOINED)
        tw_client_send_ping(turn); /* the last measures */
    tw_client_send(turn, TW_CLIENT_CONTROL, &bye);
    tw_client_close_all(turn, 0);
    if (status != TW_OK && status != TW_STOPPED && status != TW_INTERRUPTED) {
        tw_error_set(&client->error, status, "the run failed: %.*s", length, text);
        tw_client_fail(client, TW_CLIENT_RUN_FAILED);
        return TW_OK;
    }
    tw_error_set(&client->error, status, "%.*s", length, text);
    end_run(client);
    return TW_OK;
}

/* It may come before or after the newer weights, and also for a step whose weights never
 * came here, because newer ones took their place. */
static enum tw_status on_cancel(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    uint64_t step = turn->event->frame->cancel.step;

    if (step == 0)
        return tw_client_violation(client, turn->error, TW_MALFORMED, "a Cancel of step 0");
    if (step > client->over)
        client->over = step;
    if (client->held.step <= step)
        client->live = false;
    return TW_OK;
}

static enum tw_status unexpected(struct tw_client_turn *turn) {
    int link = turn->event->link;
    return tw_client_violation(turn->client, turn->error, TW_UNEXPECTED,
                               "a %s frame on its %s connection, which makes no sense now",
                               tw_body_name(turn->event->frame->body), link_name(link));
}

static enum tw_status on_control(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_frame *frame = turn->event->frame;
    struct tw_frame pong = {.body = TW_BODY_PONG};

    client->silent_pings = 0;
    switch (frame->body) {
    case TW_BODY_STOP:
        return on_stop(turn);
    case TW_BODY_PING:
        pong.pong.nonce = frame->ping.nonce;
        tw_client_send(turn, TW_CLIENT_CONTROL, &pong);
        return TW_OK;
    case TW_BODY_PONG:
        if (tw_measures_ponged(&client->measures, frame->pong.nonce, frame->pong.time,
                               turn->event->now_ns))
            tw_client_send_ping(turn);
        return TW_OK;
    case TW_BODY_BYE:
        return TW_OK;
    case TW_BODY_PORTION:
        return client->config.role == TW_ROLE_EVALUATOR ? tw_client_on_portion(turn)
                                                        : unexpected(turn);
    case TW_BODY_CANCEL:
        return client->config.role == TW_ROLE_WORKER ? on_cancel(turn) : unexpected(turn);
    default:
        return unexpected(turn);
    }
}

enum tw_status tw_client_on_frame(struct tw_client_turn *turn) {
    int link = turn->event->link;
    enum tw_body body = turn->event->frame->body;
    enum tw_client_link_state state = turn->client->link[link].state;

    if (state == TW_LINK_CLOSED)
        return TW_OK;
    if (body == TW_BODY_REFUSE)
        return on_refuse(turn);
    if (state == TW_LINK_GREETING && body == TW_BODY_CHALLENGE)
        return on_challenge(turn);
    if (link != TW_CLIENT_CONTROL) {
        if (state == TW_LINK_ENTERING && body == TW_BODY_ATTACHED)
            return on_attached(turn);
        if (state == TW_LINK_READY && body == TW_BODY_WEIGHTS)
            return tw_client_on_weights(turn);
        if (state == TW_LINK_READY && body == TW_BODY_REGATHER &&
            turn->client->config.role == TW_ROLE_WORKER) {
            tw_client_rewind_shard(turn->client, (uint32_t)link - 1);
            return TW_OK;
        }
        return unexpected(turn);
    }
    if (state == TW_LINK_ENTERING && body == TW_BODY_WELCOME)
        return on_welcome(turn);
    if (state == TW_LINK_ENTERING && body == TW_BODY_STOP)
        return on_stop(turn); /* the run was over already */
    return state == TW_LINK_READY ? on_control(turn) : unexpected(turn);
}
