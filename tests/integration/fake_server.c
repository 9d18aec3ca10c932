#include "tests/integration/fake_server.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/net/listen.h"

#define LR 0.5f

static void send_frame(struct fake_peer *peer, const struct tw_frame *frame) {
    if (peer != NULL)
        (void)tw_connection_send(peer->connection, frame, NULL, NULL);
}

/* ---- greeting ---- */

static void prove(const struct fake_peer *peer, const char *label, uint8_t proof[TW_PROOF_BYTES]) {
    const char *token = peer->server->script.token;
    uint8_t text[13 + 2 * TW_NONCE_BYTES];
    memcpy(text, label, 13);
    memcpy(text + 13, peer->client_nonce, TW_NONCE_BYTES);
    memcpy(text + 13 + TW_NONCE_BYTES, peer->nonce, TW_NONCE_BYTES);
    tw_hmac_sha256(token, strlen(token), text, sizeof(text), proof);
}

static enum tw_status on_hello(struct fake_peer *peer, const struct tw_hello *hello) {
    struct tw_frame frame = {.body = TW_BODY_CHALLENGE};
    uint8_t proof[TW_PROOF_BYTES];
    memcpy(peer->client_nonce, hello->nonce.bytes, TW_NONCE_BYTES);
    memset(peer->nonce, 5, TW_NONCE_BYTES);
    frame.challenge.protocol = 1;
    frame.challenge.nonce = (struct tw_view){peer->nonce, TW_NONCE_BYTES};
    frame.challenge.token = peer->server->script.token != NULL;
    if (frame.challenge.token) {
        prove(peer, "talweg server", proof);
        frame.challenge.proof = (struct tw_view){proof, TW_PROOF_BYTES};
    }
    send_frame(peer, &frame);
    return TW_OK;
}

static enum tw_status on_proof(struct fake_peer *peer, const struct tw_proof *proof,
                               struct tw_error *error) {
    uint8_t expected[TW_PROOF_BYTES];
    if (peer->server->script.token == NULL)
        return TW_OK;
    prove(peer, "talweg client", expected);
    if (proof->proof.size == TW_PROOF_BYTES &&
        memcmp(proof->proof.bytes, expected, TW_PROOF_BYTES) == 0)
        return TW_OK;
    return tw_error_set(error, TW_WRONG_TOKEN, "wrong proof");
}

static enum tw_status on_join(struct fake_peer *peer, const struct tw_join *join,
                              struct tw_error *error) {
    struct fake_server *server = peer->server;
    struct tw_frame frame = {.body = TW_BODY_WELCOME};
    static const uint8_t job[TW_JOB_ID_BYTES] = {1};

    if (server->script.refuse != TW_OK)
        return tw_error_set(error, server->script.refuse, "the script says so");
    if (join->incarnation == 0) {
        server->incarnation++;
    } else if (join->incarnation != server->incarnation) {
        return tw_error_set(error, TW_FENCED, "incarnation %u", join->incarnation);
    } else if (join->read != server->position) {
        server->position++; /* what it had not taken is cancelled: another RELEASE */
    }
    server->read = join->read;
    server->control = peer;
    peer->control = true;
    atomic_fetch_add(&server->joins, 1);
    atomic_store(&server->joined_incarnation, join->incarnation);
    frame.welcome = (struct tw_welcome){
        .job = {job, sizeof(job)},
        .session = {server->session, sizeof(server->session)},
        .incarnation = server->incarnation,
        .workers = 1,
        .slots = 1,
        .width = 1,
        .last_step = server->step - 1,
        .chunk_bytes = server->layout.chunk_bytes,
        .servers = 1,
        .push = server->script.encoding,
    };
    send_frame(peer, &frame);
    return TW_OK;
}

/* ---- weights ---- */

static int64_t chunk_offset(const struct fake_server *server, uint32_t chunk) {
    return server->offset[server->layout.chunk[chunk].tensor] + server->layout.chunk[chunk].first;
}

static void send_chunks(struct fake_server *server, uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < end; i++) {
        struct tw_frame frame = {.body = TW_BODY_WEIGHTS};
        frame.weights.position = server->position;
        /* What is evaluated has had an update. */
        frame.weights.version = server->asked > 0 ? server->step : server->step - 1;
        frame.weights.step = server->step;
        frame.weights.chunk = server->script.wrong_chunk ? server->layout.chunks : i;
        frame.data_bytes = 4 * (size_t)server->layout.chunk[i].count;
        (void)tw_connection_send(server->bulk->connection, &frame,
                                 server->sending + chunk_offset(server, i), NULL);
    }
}

static void send_weights(struct fake_server *server) {
    memcpy(server->sending, server->weights, (size_t)server->layout.elements * sizeof(float));
    server->kept = server->script.keep_back;
    send_chunks(server, 0, server->layout.chunks - server->kept);
}

static enum tw_status on_attach(struct fake_peer *peer, const struct tw_attach *attach,
                                struct tw_error *error) {
    struct fake_server *server = peer->server;
    struct tw_frame frame = {.body = TW_BODY_ATTACHED};
    if (attach->incarnation != server->incarnation ||
        memcmp(attach->session.bytes, server->session, TW_SESSION_BYTES) != 0)
        return tw_error_set(error, TW_UNEXPECTED, "another session");
    tw_connection_limit(peer->connection, TW_FRAME_BYTES_MAX, true);
    peer->bulk = true;
    server->bulk = peer;
    send_frame(peer, &frame);
    if (!server->script.silent && attach->role == TW_ROLE_WORKER &&
        server->read != server->position)
        send_weights(server);
    return TW_OK;
}

/* ---- pushes ---- */

static void apply(struct fake_server *server, uint64_t examples) {
    for (int64_t i = 0; i < server->layout.elements; i++)
        server->weights[i] -= LR * server->gradient[i] / (float)examples;
}

static void say_stop(struct fake_server *server) {
    struct tw_frame frame = {.body = TW_BODY_STOP};
    frame.stop.status = server->script.stop_status;
    frame.stop.text = (struct tw_view){"the script is over", 18};
    send_frame(server->control, &frame);
}

static enum tw_status on_end(struct fake_peer *peer, const struct tw_end *end,
                             struct tw_error *error) {
    struct fake_server *server = peer->server;
    int ends = atomic_fetch_add(&server->ends, 1) + 1;
    if (end->step < server->step)
        return TW_OK; /* of a push that was sent again */
    for (uint32_t i = 0; i < server->layout.chunks; i++)
        if (!server->here[i] || end->frames != server->layout.chunks)
            return tw_error_set(error, TW_UNEXPECTED, "End without chunk %u", i);
    if (end->read != server->position)
        return tw_error_set(error, TW_UNEXPECTED, "End of another read");
    memset(server->here, 0, server->layout.chunks * sizeof(bool));
    if (ends == server->script.regather_after_ends) {
        struct tw_frame frame = {.body = TW_BODY_REGATHER};
        send_frame(server->bulk, &frame);
        return TW_OK;
    }
    atomic_store(&server->last_loss, end->loss);
    apply(server, end->examples);
    server->step++;
    server->position += 2;
    atomic_fetch_add(&server->steps, 1);
    if (server->script.stop_after_steps != 0 &&
        (uint64_t)server->script.stop_after_steps < server->step) {
        say_stop(server);
        return TW_OK;
    }
    send_weights(server);
    return TW_OK;
}

static enum tw_status on_data(struct tw_connection *connection, const struct tw_frame *frame,
                              void **place, struct tw_error *error) {
    struct fake_peer *peer = tw_connection_context(connection);
    struct fake_server *server = peer->server;
    uint32_t chunk = frame->push.chunk;
    *place = NULL;
    if (server->script.full_after_pushes > 0 &&
        atomic_load(&server->pushes) >= server->script.full_after_pushes)
        return TW_AGAIN;
    if (frame->body != TW_BODY_PUSH || chunk >= server->layout.chunks ||
        frame->data_bytes != 4 * (size_t)server->layout.chunk[chunk].count)
        return tw_error_set(error, TW_UNEXPECTED, "a Push that makes no sense");
    if (frame->push.step != server->step || server->here[chunk])
        atomic_fetch_add(&server->duplicates, 1);
    else
        *place = server->gradient + chunk_offset(server, chunk);
    return TW_OK;
}

/* Nobody wants the rest of this step: the next one is released. */
static void cancel(struct fake_server *server) {
    struct tw_frame frame = {.body = TW_BODY_CANCEL, .cancel = {.step = server->step}};
    memset(server->here, 0, server->layout.chunks * sizeof(bool));
    server->step++;
    server->position += 2;
    if (server->script.cancel_late)
        send_weights(server);
    send_frame(server->control, &frame);
    if (!server->script.cancel_late)
        send_weights(server);
}

static void on_push(struct fake_peer *peer, const struct tw_push *push, const void *data) {
    struct fake_server *server = peer->server;
    int pushes = atomic_fetch_add(&server->pushes, 1) + 1;
    if (data != NULL)
        server->here[push->chunk] = true;
    if (pushes == server->script.cancel_after_pushes)
        cancel(server);
    if (pushes == server->script.lose_after_pushes) {
        atomic_fetch_add(&server->losses, 1);
        tw_connection_close(peer->connection);
    }
}

static void on_go_on(uv_async_t *async) {
    struct fake_server *server = async->data;
    if (server->script.go_on == FAKE_SENDS_THE_REST) {
        send_chunks(server, server->layout.chunks - server->kept, server->layout.chunks);
        server->kept = 0;
        tw_connection_flush(server->bulk->connection);
        return;
    }
    server->script.keep_back = 0;
    if (server->script.go_on == FAKE_TAKES_PUSHES) {
        server->script.full_after_pushes = 0;
        tw_connection_resume(server->bulk->connection);
        return;
    }
    if (server->script.go_on == FAKE_LOSES_BULK) {
        atomic_fetch_add(&server->losses, 1);
        tw_connection_close(server->bulk->connection);
        return;
    }
    if (server->script.go_on == FAKE_RELEASES_AGAIN) {
        server->step++;
        server->position += 2;
        send_weights(server);
    } else {
        cancel(server);
        tw_connection_flush(server->control->connection);
    }
    tw_connection_flush(server->bulk->connection);
}

void fake_server_go_on(struct fake_server *server) {
    uv_async_send(&server->go_on);
}

/* ---- the evaluator ---- */

static void on_ask(struct fake_server *server, const struct tw_ask *ask) {
    server->asked = ask->samples;
    if (atomic_fetch_add(&server->asks, 1) + 1 > 2) {
        say_stop(server);
        return;
    }
    server->position += 2;
    send_weights(server);
    server->step++;
}

/* ---- frames ---- */

static enum tw_status on_frame(struct tw_connection *connection, const struct tw_frame *frame,
                               void *data, struct tw_error *error) {
    struct fake_peer *peer = tw_connection_context(connection);
    struct fake_server *server = peer->server;
    struct tw_frame pong = {.body = TW_BODY_PONG};
    switch (frame->body) {
    case TW_BODY_HELLO:
        return on_hello(peer, &frame->hello);
    case TW_BODY_PROOF:
        return on_proof(peer, &frame->proof, error);
    case TW_BODY_JOIN:
        return on_join(peer, &frame->join, error);
    case TW_BODY_ATTACH:
        return on_attach(peer, &frame->attach, error);
    case TW_BODY_PUSH:
        on_push(peer, &frame->push, data);
        return TW_OK;
    case TW_BODY_END:
        return on_end(peer, &frame->end, error);
    case TW_BODY_ASK:
        on_ask(server, &frame->ask);
        return TW_OK;
    case TW_BODY_EVALUATION:
        atomic_fetch_add(&server->evaluations, 1);
        atomic_store(&server->accuracy, frame->evaluation.accuracy);
        atomic_store(&server->auc, frame->evaluation.auc);
        return TW_OK;
    case TW_BODY_PING:
        atomic_fetch_add(&server->pings, 1);
        pong.pong.nonce = frame->ping.nonce;
        send_frame(peer, &pong);
        return TW_OK;
    case TW_BODY_BYE:
        atomic_fetch_add(&server->byes, 1);
        tw_connection_finish(connection, TW_OK, "");
        return TW_OK;
    default:
        return TW_OK;
    }
}

static void on_released(struct tw_connection *connection, uint32_t lane, void *token) {
    struct fake_peer *peer = tw_connection_context(connection);
    atomic_fetch_add(&peer->server->taken, 1);
}

static void on_closed(struct tw_connection *connection, const struct tw_error *error) {
    struct fake_peer *peer = tw_connection_context(connection);
    struct fake_server *server = peer->server;
    if (server->control == peer)
        server->control = NULL;
    if (server->bulk == peer)
        server->bulk = NULL;
    peer->connection = NULL;
    tw_connection_free(connection);
}

/* ---- life ---- */

static const struct tw_connection_events events = {
    .on_data = on_data, .on_frame = on_frame, .on_released = on_released, .on_closed = on_closed};

/* Accepts, says something that nobody can parse, and hangs up. */
static void accept_with_garbage(struct fake_server *server, uv_stream_t *listener) {
    static char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n<html>this is not talweg</html>";
    uv_buf_t buffer = uv_buf_init(text, sizeof(text) - 1);
    uv_tcp_t *stream = calloc(1, sizeof(*stream));
    uv_tcp_init(&server->loop, stream);
    uv_accept(listener, (uv_stream_t *)stream);
    uv_try_write((uv_stream_t *)stream, &buffer, 1);
    uv_close((uv_handle_t *)stream, (uv_close_cb)free);
}

static void on_connection(uv_stream_t *listener, int status) {
    struct fake_server *server = listener->data;
    struct tw_connection_host host = {
        .loop = &server->loop, .arena = &server->arena, .send_queue_bytes_max = 64u << 20};
    struct tw_error error;
    if (server->script.garbage) {
        accept_with_garbage(server, listener);
        return;
    }
    for (int i = 0; i < FAKE_CONNECTIONS; i++) {
        struct fake_peer *peer = &server->peer[i];
        if (peer->connection != NULL)
            continue;
        *peer = (struct fake_peer){.server = server};
        if (tw_connection_new(&peer->connection, &host, &events, peer) != TW_OK ||
            tw_connection_accept(peer->connection, listener, &error) != TW_OK)
            abort();
        tw_connection_limit(peer->connection, TW_SMALL_FIELDS_MAX, false);
        return;
    }
    abort();
}

static void on_quit(uv_async_t *quit) {
    struct fake_server *server = quit->data;
    for (int i = 0; i < FAKE_CONNECTIONS; i++)
        if (server->peer[i].connection != NULL)
            tw_connection_close(server->peer[i].connection);
    uv_close((uv_handle_t *)&server->listener, NULL);
    uv_close((uv_handle_t *)&server->go_on, NULL);
    uv_close((uv_handle_t *)quit, NULL);
}

static void *serve(void *argument) {
    struct fake_server *server = argument;
    sigset_t pipe; /* in this thread only: the library must do without */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void make_layout(struct fake_server *server) {
    uint32_t bytes =
        server->script.chunk_bytes != 0 ? server->script.chunk_bytes : TW_CHUNK_BYTES_MIN;
    uint32_t chunks = tw_layout_count(server->list, bytes);
    struct tw_error error;
    int64_t at = 0;
    server->chunk = calloc(chunks, sizeof(struct tw_chunk));
    server->here = calloc(chunks, sizeof(bool));
    server->offset = calloc((size_t)server->list->count, sizeof(int64_t));
    if (tw_layout_init(&server->layout, server->list, bytes, 1, server->chunk, &error) != TW_OK)
        abort();
    for (int i = 0; i < server->list->count; i++) {
        server->offset[i] = at;
        at += server->list->tensors[i].elements;
    }
    server->weights = calloc((size_t)at, sizeof(float));
    server->gradient = calloc((size_t)at, sizeof(float));
    server->sending = calloc((size_t)at, sizeof(float));
}

void fake_server_start(struct fake_server *server, const struct tw_tensor_list *list,
                       const struct fake_script *script) {
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct sockaddr_storage bound;
    struct tw_error error;
    bool initialised;

    memset(server, 0, sizeof(*server));
    server->script = *script;
    server->list = list;
    server->step = 1;
    server->position = 3;
    memset(server->session, 8, sizeof(server->session));
    make_layout(server);
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    uv_loop_init(&server->loop);
    uv_async_init(&server->loop, &server->quit, on_quit);
    uv_async_init(&server->loop, &server->go_on, on_go_on);
    server->quit.data = server->go_on.data = server->listener.data = server;
    if (tw_listen(&server->listener, &server->loop, (struct sockaddr *)&any, 16, on_connection,
                  &initialised, &error) != TW_OK ||
        tw_listen_address(&server->listener, &bound, &error) != TW_OK)
        abort();
    server->listener.data = server;
    server->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
    pthread_create(&server->thread, NULL, serve, server);
}

void fake_server_stop(struct fake_server *server) {
    uv_async_send(&server->quit);
    pthread_join(server->thread, NULL);
    int code = uv_loop_close(&server->loop);
    assert(code == 0);
    (void)code;
    free(server->chunk);
    free(server->here);
    free(server->offset);
    free(server->weights);
    free(server->gradient);
    free(server->sending);
}
