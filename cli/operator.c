#include "cli/operator.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run_server.h"
#include "common/base/digest.h"
#include "common/base/file.h"
#include "proto/connection.h"
#include "server/core/session.h"

enum { ADDRESSES = 8, SEND_QUEUE_BYTES = 1 << 20 };

enum phase { CONNECTING, GREETING, JOINING, ASKING };

struct tw_operator {
    uv_loop_t loop;
    uv_timer_t patience;
    struct tw_connection_host host;
    struct tw_unpack_arena arena;
    struct tw_connection *connection;
    struct tw_run_server server;
    const struct tw_token *token;
    char name[TW_PATH_MAX]; /* of the run, for messages */
    uint8_t nonce[TW_NONCE_BYTES], proof[TW_PROOF_BYTES];
    enum phase phase;
    bool (*on_answer)(void *context, const struct tw_frame *frame);
    void *context;
    bool done;              /* what the present call waits for has come */
    bool open;              /* the connection has not been closed */
    struct tw_error failed; /* why the connection is over; TW_OK: it is not */
};

/* ---- failing ---- */

/* The first failure counts: those that follow come from it. */
static void fail(struct tw_operator *o, enum tw_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct tw_operator *o, enum tw_status status, const char *format, ...) {
    char text[TW_ERROR_TEXT];
    va_list list;
    if (o->failed.status != TW_OK)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    tw_error_set(&o->failed, status, "%s", text);
}

/* One that has ended the run takes server.json with it before it stops to listen. */
static void fail_gone(struct tw_operator *o, const char *why) {
    struct tw_run_server server;
    struct tw_error over;
    if (tw_run_server_find(&server, o->name, &over) == TW_STOPPED) {
        fail(o, TW_STOPPED, "%s", over.text);
        return;
    }
    fail(o, TW_UNREACHABLE,
         "the server of the run in %s (process %ld at %s:%s) is gone without having ended the "
         "run: %s",
         o->name, o->server.pid, o->server.at.host, o->server.at.port, why);
}

static void on_patience(uv_timer_t *timer) {
    struct tw_operator *o = timer->data;
    fail(o, TW_SLOW_PEER,
         "the server of the run in %s (process %ld at %s:%s) has not answered for %d s; it may be "
         "stopped, or its machine out of reach",
         o->name, o->server.pid, o->server.at.host, o->server.at.port,
         TW_OPERATOR_PATIENCE_MS / 1000);
}

/* ---- what the server says ---- */

static enum tw_status on_challenge(struct tw_operator *o, const struct tw_challenge *challenge,
                                   struct tw_error *error) {
    uint8_t theirs[TW_PROOF_BYTES];
    struct tw_frame proof = {.body = TW_BODY_PROOF}, join = {.body = TW_BODY_JOIN};
    if (challenge->nonce.size != TW_NONCE_BYTES)
        return tw_error_set(error, TW_MALFORMED, "a Challenge with a nonce of %zu bytes, not %d",
                            challenge->nonce.size, TW_NONCE_BYTES);
    if (challenge->token && !o->token->size)
        return tw_error_set(error, TW_WRONG_TOKEN,
                            "the server of this run demands its secret; give --token-file");
    if (o->token->size) {
        const uint8_t *nonce = challenge->nonce.bytes;
        tw_session_proof(o->token->bytes, o->token->size, "talweg server", o->nonce, nonce, theirs);
        if (challenge->proof.size != TW_PROOF_BYTES ||
            !tw_equal_secret(challenge->proof.bytes, theirs, TW_PROOF_BYTES))
            return tw_error_set(error, TW_WRONG_TOKEN,
                                challenge->token ? "the token is not that of the run's server"
                                                 : "the run's server has no token; leave out "
                                                   "--token-file");
        tw_session_proof(o->token->bytes, o->token->size, "talweg client", o->nonce, nonce,
                         o->proof);
        proof.proof.proof = (struct tw_view){o->proof, TW_PROOF_BYTES};
    }
    join.join.role = TW_ROLE_OPERATOR;
    join.join.job = (struct tw_view){o->server.job, TW_JOB_ID_BYTES};
    tw_connection_limit(o->connection, TW_SMALL_FIELDS_MAX, false);
    (void)tw_connection_send(o->connection, &proof, NULL, NULL);
    (void)tw_connection_send(o->connection, &join, NULL, NULL);
    o->phase = JOINING;
    return TW_OK;
}

/* It ends the connection; its words are those that count. */
static enum tw_status on_refuse(struct tw_operator *o, const struct tw_refuse *refuse,
                                struct tw_error *error) {
    enum tw_status status =
        refuse->status && refuse->status <= TW_INTERNAL ? (int)refuse->status : TW_UNEXPECTED;
    int length = refuse->text.size < 800 ? (int)refuse->text.size : 800;
    const char *text = length ? refuse->text.bytes : "";
    if (status == TW_WRONG_JOB)
        fail_gone(o, "another run's server is at this address now");
    else
        fail(o, status, "%.*s", length, text);
    return tw_error_set(error, TW_CLOSED, "refused");
}

static enum tw_status on_stop(struct tw_operator *o, const struct tw_stop *stop,
                              struct tw_error *error) {
    int length = stop->text.size < 800 ? (int)stop->text.size : 800;
    fail(o, TW_STOPPED, "the run in %s is over: %.*s", o->name, length,
         length ? (const char *)stop->text.bytes : "");
    return tw_error_set(error, TW_CLOSED, "stopped");
}

static void answer_ping(struct tw_operator *o, const struct tw_ping *ping) {
    struct tw_frame pong = {.body = TW_BODY_PONG, .pong = {ping->nonce}};
    (void)tw_connection_send(o->connection, &pong, NULL, NULL);
}

static enum tw_status on_frame(struct tw_connection *connection, const struct tw_frame *frame,
                               void *data, struct tw_error *error) {
    struct tw_operator *o = tw_connection_context(connection);
    if (frame->body == TW_BODY_REFUSE)
        return on_refuse(o, &frame->refuse, error);
    if (frame->body == TW_BODY_STOP && o->phase >= JOINING)
        return on_stop(o, &frame->stop, error);
    if (frame->body == TW_BODY_CHALLENGE && o->phase == GREETING)
        return on_challenge(o, &frame->challenge, error);
    if (frame->body == TW_BODY_WELCOME && o->phase == JOINING) {
        o->phase = ASKING;
        o->done = true;
        return TW_OK;
    }
    if (o->phase == ASKING && frame->body == TW_BODY_PING) {
        answer_ping(o, &frame->ping);
        return TW_OK;
    }
    if (o->phase == ASKING && o->on_answer && !o->done) {
        o->done = o->on_answer(o->context, frame);
        return TW_OK;
    }
    return tw_error_set(error, TW_UNEXPECTED, "%s came from the server, which makes no sense now",
                        tw_body_name(frame->body));
}

static enum tw_status on_data(struct tw_connection *connection, const struct tw_frame *frame,
                              void **place, struct tw_error *error) {
    return tw_error_set(error, TW_UNEXPECTED, "%s with data", tw_body_name(frame->body));
}

static void on_closed(struct tw_connection *connection, const struct tw_error *error) {
    struct tw_operator *o = tw_connection_context(connection);
    o->open = false;
    if (error->status == TW_UNREACHABLE || error->status == TW_CLOSED || error->status == TW_IO)
        fail_gone(o, error->text);
    else
        fail(o, error->status, "%s", error->text);
}

static const struct tw_connection_events events = {
    .on_data = on_data, .on_frame = on_frame, .on_closed = on_closed};

/* ---- connecting ---- */

static void on_open(struct tw_connection *connection, enum tw_status status,
                    const struct tw_error *error) {
    struct tw_operator *o = tw_connection_context(connection);
    struct tw_frame hello = {.body = TW_BODY_HELLO};
    if (status != TW_OK)
        return; /* on_closed follows */
    hello.hello.protocol_min = TW_PROTOCOL_MIN;
    hello.hello.protocol_max = TW_PROTOCOL_MAX;
    hello.hello.nonce = (struct tw_view){o->nonce, TW_NONCE_BYTES};
    hello.hello.software = (struct tw_view){"talweg operator", strlen("talweg operator")};
    (void)tw_connection_send(connection, &hello, NULL, NULL);
    o->phase = GREETING;
}

/* Runs the loop until what is waited for has come, or cannot come any more. */
static enum tw_status await(struct tw_operator *o, struct tw_error *error) {
    uv_update_time(&o->loop);
    uv_timer_start(&o->patience, on_patience, TW_OPERATOR_PATIENCE_MS, 0);
    while (!o->done && o->failed.status == TW_OK)
        uv_run(&o->loop, UV_RUN_ONCE);
    uv_timer_stop(&o->patience);
    if (o->done)
        return TW_OK;
    *error = o->failed;
    return error->status;
}

static enum tw_status connect_to(struct tw_operator *o, struct tw_error *error) {
    struct sockaddr_storage address[ADDRESSES];
    size_t count;
    enum tw_status status = tw_address_resolve(&o->server.at, address, ADDRESSES, &count, error);
    if (status == TW_OK && tw_random_bytes(o->nonce, sizeof o->nonce) != TW_OK)
        status = tw_error_set(error, TW_IO, "the system gives no random numbers");
    if (status == TW_OK && tw_connection_new(&o->connection, &o->host, &events, o) != TW_OK)
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory");
    if (status != TW_OK)
        return status;
    status = tw_connection_connect(o->connection, (struct sockaddr *)&address[0], on_open, error);
    o->open = status == TW_OK;
    return status == TW_OK ? await(o, error) : status;
}

enum tw_status tw_operator_open(struct tw_operator **out, const char *run,
                                const struct tw_token *token, struct tw_error *error) {
    struct tw_operator *o = calloc(1, sizeof *o);
    *out = NULL;
    if (!o || uv_loop_init(&o->loop) != 0) {
        free(o);
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    }
    uv_timer_init(&o->loop, &o->patience);
    o->patience.data = o;
    o->token = token;
    snprintf(o->name, sizeof o->name, "%s", run);
    o->host = (struct tw_connection_host){
        .loop = &o->loop, .arena = &o->arena, .send_queue_bytes_max = SEND_QUEUE_BYTES};
    enum tw_status status = tw_run_server_find(&o->server, run, error);
    if (status == TW_OK)
        status = connect_to(o, error);
    if (status == TW_OK)
        *out = o;
    else
        tw_operator_free(o);
    return status;
}

/* ---- asking ---- */

enum tw_status tw_operator_ask(struct tw_operator *o, const struct tw_frame *question,
                               bool (*on_answer)(void *context, const struct tw_frame *frame),
                               void *context, struct tw_error *error) {
    o->on_answer = on_answer;
    o->context = context;
    o->done = false;
    if (o->failed.status == TW_OK)
        (void)tw_connection_send(o->connection, question, NULL, NULL);
    enum tw_status status = await(o, error);
    o->on_answer = NULL;
    return status;
}

void tw_operator_free(struct tw_operator *o) {
    if (!o)
        return;
    if (o->open && o->phase == ASKING && o->failed.status == TW_OK) {
        (void)tw_connection_send(o->connection, &(struct tw_frame){.body = TW_BODY_BYE}, NULL,
                                 NULL);
        tw_connection_finish(o->connection, TW_OK, "");
    } else if (o->open) {
        tw_connection_close(o->connection);
    }
    uv_close((uv_handle_t *)&o->patience, NULL);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    if (o->connection)
        tw_connection_free(o->connection);
    int busy = uv_loop_close(&o->loop);
    assert(busy == 0);
    (void)busy;
    free(o);
}
