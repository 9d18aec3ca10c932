#include "tests/integration/scripted_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/base/digest.h"

const uint32_t model_first[MODEL_CHUNKS + 1] = {
    0, CHUNK_FLOATS, 2 * CHUNK_FLOATS, 3 * CHUNK_FLOATS, MODEL_W, MODEL_ELEMENTS};

static const uint64_t shape_w[] = {MODEL_W}, shape_b[] = {MODEL_B};
const struct tw_tensor_shape model_shapes[2] = {{{"w", 1}, 1, shape_w}, {{"b", 1}, 1, shape_b}};

/* ---- hearing ---- */

static enum tw_status on_data(void *context, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    struct peer *peer = context;
    *place = peer->place = malloc(frame->data_bytes);
    return TW_OK;
}

static void keep(struct tw_view *view, uint8_t room[TW_ERROR_TEXT]) {
    assert_true(view->size < TW_ERROR_TEXT);
    if (view->size)
        memcpy(room, view->bytes, view->size);
    room[view->size] = 0;
    view->bytes = room;
}

static enum tw_status on_frame(void *context, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct peer *peer = context;
    struct heard *heard = calloc(1, sizeof(*heard));
    heard->frame = *frame;
    heard->data = data;
    switch (frame->body) {
    case TW_BODY_CHALLENGE:
        keep(&heard->frame.challenge.nonce, heard->views[0]);
        keep(&heard->frame.challenge.proof, heard->views[1]);
        break;
    case TW_BODY_WELCOME:
        keep(&heard->frame.welcome.session, heard->views[0]);
        keep(&heard->frame.welcome.job, heard->views[1]);
        break;
    case TW_BODY_REFUSE:
        keep(&heard->frame.refuse.name, heard->views[0]);
        keep(&heard->frame.refuse.text, heard->views[1]);
        break;
    case TW_BODY_STOP:
        keep(&heard->frame.stop.text, heard->views[0]);
        break;
    default:
        break;
    }
    assert_true(peer->queued < PEER_QUEUE);
    peer->queue[peer->queued++] = heard;
    peer->place = NULL;
    return TW_OK;
}

static const struct tw_decoder_sink sink = {on_data, on_frame};

static struct peer *connect_to(int port, int receive_bytes) {
    struct peer *peer = calloc(1, sizeof(*peer));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = PEER_PATIENCE_S};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(peer->fd >= 0);
    int on = 1;
    if (receive_bytes)
        setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(peer->fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    tw_decoder_init(&peer->decoder, &sink, peer, &peer->arena, NULL);
    tw_decoder_limit(&peer->decoder, TW_FRAME_BYTES_MAX, true);
    return peer;
}

struct peer *peer_connect(int port) {
    return connect_to(port, 0);
}

struct peer *peer_connect_narrow(int port) {
    return connect_to(port, 4096);
}

static void forget(struct heard *heard) {
    if (heard)
        free(heard->data);
    free(heard);
}

void peer_close(struct peer *peer) {
    if (!peer)
        return;
    close(peer->fd);
    for (unsigned i = 0; i < peer->queued; i++)
        forget(peer->queue[i]);
    forget(peer->current);
    free(peer->place);
    free(peer);
}

const struct heard *peer_hear(struct peer *peer) {
    struct tw_error error;
    while (!peer->queued) {
        void *at;
        size_t room;
        tw_decoder_want(&peer->decoder, &at, &room);
        ssize_t count = recv(peer->fd, at, room, 0);
        if (count < 0)
            fail_msg("the server says nothing");
        if (count == 0)
            return NULL;
        if (tw_decoder_advance(&peer->decoder, (size_t)count, &error) != TW_OK)
            fail_msg("the server speaks wrongly: %s", error.text);
    }
    forget(peer->current);
    peer->current = peer->queue[0];
    peer->queued--;
    memmove(peer->queue, peer->queue + 1, peer->queued * sizeof(*peer->queue));
    return peer->current;
}

const struct heard *peer_expect(struct peer *peer, enum tw_body body) {
    const struct heard *heard = peer_hear(peer);
    if (!heard)
        fail_msg("the stream ends where %s should come", tw_body_name(body));
    if (heard->frame.body == TW_BODY_REFUSE && body != TW_BODY_REFUSE)
        fail_msg("refused: %s", (const char *)heard->frame.refuse.text.bytes);
    assert_string_equal(tw_body_name(heard->frame.body), tw_body_name(body));
    return heard;
}

const char *peer_expect_refuse(struct peer *peer, enum tw_status status) {
    static char text[TW_ERROR_TEXT];
    const struct heard *heard = peer_expect(peer, TW_BODY_REFUSE);
    snprintf(text, sizeof(text), "%s", (const char *)heard->frame.refuse.text.bytes);
    assert_string_equal((const char *)heard->frame.refuse.name.bytes, tw_status_name(status));
    assert_int_equal(heard->frame.refuse.status, status);
    assert_true(strlen(text) > 10);
    assert_null(peer_hear(peer));
    return text;
}

/* ---- speaking ---- */

void peer_send_bytes(struct peer *peer, const void *bytes, size_t size) {
    const char *at = bytes;
    while (size) {
        ssize_t count = send(peer->fd, at, size, MSG_NOSIGNAL);
        if (count < 0)
            return; /* the server has closed; what it said is still to be heard */
        at += count;
        size -= (size_t)count;
    }
}

void peer_send(struct peer *peer, const struct tw_frame *frame, const void *data) {
    unsigned char prefix[4096];
    size_t size = tw_frame_encode(frame, prefix, sizeof(prefix));
    assert_true(size > 0);
    peer_send_bytes(peer, prefix, size);
    if (frame->data_bytes)
        peer_send_bytes(peer, data, frame->data_bytes);
}

void peer_hello(struct peer *peer) {
    struct tw_frame hello = {.body = TW_BODY_HELLO};
    memset(peer->nonce, 'n', sizeof(peer->nonce));
    hello.hello.protocol_min = TW_PROTOCOL_MIN;
    hello.hello.protocol_max = TW_PROTOCOL_MAX;
    hello.hello.nonce = (struct tw_view){peer->nonce, sizeof(peer->nonce)};
    peer_send(peer, &hello, NULL);
}

static void proof_of(const char *token, const char *side, const uint8_t *client,
                     const uint8_t *server, uint8_t out[TW_PROOF_BYTES]) {
    uint8_t text[64 + 2 * TW_NONCE_BYTES];
    size_t size = strlen(side);
    memcpy(text, side, size);
    memcpy(text + size, client, TW_NONCE_BYTES);
    memcpy(text + size + TW_NONCE_BYTES, server, TW_NONCE_BYTES);
    tw_hmac_sha256(token, strlen(token), text, size + 2 * TW_NONCE_BYTES, out);
}

void peer_prove(struct peer *peer, const char *token) {
    const struct tw_challenge *challenge = &peer_expect(peer, TW_BODY_CHALLENGE)->frame.challenge;
    struct tw_frame frame = {.body = TW_BODY_PROOF};
    uint8_t proof[TW_PROOF_BYTES];
    assert_int_equal(challenge->nonce.size, TW_NONCE_BYTES);
    peer->challenge = *challenge;
    if (challenge->token)
        memcpy(peer->proof, challenge->proof.bytes, TW_PROOF_BYTES);
    if (token) {
        proof_of(token, "talweg client", peer->nonce, challenge->nonce.bytes, proof);
        frame.proof.proof = (struct tw_view){proof, sizeof(proof)};
        uint8_t expected[TW_PROOF_BYTES];
        proof_of(token, "talweg server", peer->nonce, challenge->nonce.bytes, expected);
        if (memcmp(peer->proof, expected, TW_PROOF_BYTES) != 0)
            peer->challenge.token = false; /* not the same secret */
    }
    peer_send(peer, &frame, NULL);
}

struct tw_frame join_frame(int rank) {
    struct tw_frame frame = {.body = TW_BODY_JOIN};
    frame.join.any_rank = rank < 0;
    frame.join.rank = rank < 0 ? 0 : (uint32_t)rank;
    frame.join.tensors = 2;
    frame.join.tensor = model_shapes;
    frame.join.numerics = (struct tw_view){"test", 4};
    return frame;
}

/* ---- actors ---- */

static struct peer *greeted(const struct actor *actor, bool narrow) {
    struct peer *peer = narrow ? peer_connect_narrow(actor->port) : peer_connect(actor->port);
    peer_hello(peer);
    peer_prove(peer, actor->token);
    return peer;
}

void actor_join_with(struct actor *actor, const struct tw_frame *join) {
    actor->control = greeted(actor, false);
    peer_send(actor->control, join, NULL);
    const struct tw_welcome *welcome = &peer_expect(actor->control, TW_BODY_WELCOME)->frame.welcome;
    actor->rank = welcome->rank;
    actor->incarnation = welcome->incarnation;
    actor->attempt = welcome->attempt;
    actor->last_step = welcome->last_step;
    memcpy(actor->session, welcome->session.bytes, TW_SESSION_BYTES);
    memcpy(actor->job, welcome->job.bytes, TW_JOB_ID_BYTES);
}

void actor_attach(struct actor *actor) {
    struct tw_frame frame = {.body = TW_BODY_ATTACH};
    frame.attach.role = actor->role;
    frame.attach.rank = actor->rank;
    frame.attach.incarnation = actor->incarnation;
    frame.attach.attempt = actor->attempt;
    frame.attach.session = (struct tw_view){actor->session, TW_SESSION_BYTES};
    actor->bulk = greeted(actor, actor->narrow);
    peer_send(actor->bulk, &frame, NULL);
    peer_expect(actor->bulk, TW_BODY_ATTACHED);
}

void actor_join(struct actor *actor, int port, int rank) {
    struct tw_frame join = join_frame(rank);
    *actor = (struct actor){.port = port, .token = actor->token, .narrow = actor->narrow};
    actor_join_with(actor, &join);
    actor_attach(actor);
}

void actor_join_evaluator(struct actor *actor, int port) {
    struct tw_frame join = join_frame(0);
    join.join.role = TW_ROLE_EVALUATOR;
    *actor = (struct actor){.port = port, .role = TW_ROLE_EVALUATOR, .narrow = actor->narrow};
    actor_join_with(actor, &join);
    actor_attach(actor);
}

void actor_lose(struct actor *actor) {
    peer_close(actor->control);
    peer_close(actor->bulk);
    actor->control = actor->bulk = NULL;
}

void actor_resume(struct actor *actor) {
    struct tw_frame join = join_frame((int)actor->rank);
    uint8_t session[TW_SESSION_BYTES], job[TW_JOB_ID_BYTES];
    memcpy(session, actor->session, sizeof(session));
    memcpy(job, actor->job, sizeof(job));
    join.join.role = actor->role;
    join.join.incarnation = actor->incarnation;
    join.join.session = (struct tw_view){session, sizeof(session)};
    join.join.job = (struct tw_view){job, sizeof(job)};
    join.join.read = actor->position;
    actor_join_with(actor, &join);
    actor_attach(actor);
}

void actor_take(struct actor *actor) {
    for (uint32_t chunk = 0; chunk < MODEL_CHUNKS; chunk++) {
        const struct heard *heard = peer_expect(actor->bulk, TW_BODY_WEIGHTS);
        const struct tw_weights *weights = &heard->frame.weights;
        size_t bytes = (model_first[chunk + 1] - model_first[chunk]) * sizeof(float);
        assert_int_equal(weights->chunk, chunk);
        assert_int_equal(heard->frame.data_bytes, bytes);
        memcpy(actor->weights + model_first[chunk], heard->data, bytes);
        if (chunk)
            assert_int_equal(weights->position, actor->position);
        actor->position = weights->position;
        actor->version = weights->version;
        actor->step = weights->step;
    }
}

float model_gradient(uint32_t rank, uint64_t step, uint32_t element) {
    return (float)(element % 5 + 2 * rank + step % 8);
}

void model_update(float *weights, float lr, uint32_t first, uint32_t last, uint64_t step) {
    float examples = (float)((last - first + 1) * PUSH_EXAMPLES);
    for (uint32_t i = 0; i < MODEL_ELEMENTS; i++) {
        float sum = 0;
        for (uint32_t rank = first; rank <= last; rank++)
            sum += model_gradient(rank, step, i);
        weights[i] -= lr * (sum / examples);
    }
}

void actor_push_chunk(struct actor *actor, uint32_t chunk) {
    struct tw_frame frame = {.body = TW_BODY_PUSH};
    uint32_t first = model_first[chunk], count = model_first[chunk + 1] - first;
    float *data = malloc(count * sizeof(float));
    for (uint32_t i = 0; i < count; i++)
        data[i] = model_gradient(actor->rank, actor->step, first + i);
    frame.push.slot = actor->rank;
    frame.push.incarnation = actor->incarnation;
    frame.push.step = actor->step;
    frame.push.chunk = chunk;
    frame.data_bytes = count * sizeof(float);
    peer_send(actor->bulk, &frame, data);
    free(data);
}

struct tw_frame end_frame(const struct actor *actor) {
    struct tw_frame frame = {.body = TW_BODY_END};
    frame.end.slot = actor->rank;
    frame.end.incarnation = actor->incarnation;
    frame.end.step = actor->step;
    frame.end.read = actor->position;
    frame.end.frames = MODEL_CHUNKS;
    frame.end.examples = PUSH_EXAMPLES;
    frame.end.loss = 3.0 * PUSH_EXAMPLES;
    return frame;
}

void actor_end(struct actor *actor) {
    struct tw_frame frame = end_frame(actor);
    peer_send(actor->bulk, &frame, NULL);
}

void actor_push(struct actor *actor) {
    for (uint32_t chunk = 0; chunk < MODEL_CHUNKS; chunk++)
        actor_push_chunk(actor, chunk);
    actor_end(actor);
}

void actor_leave(struct actor *actor, enum tw_status status) {
    const struct heard *heard = peer_expect(actor->control, TW_BODY_STOP);
    assert_int_equal(heard->frame.stop.status, status);
    assert_true(heard->frame.stop.text.size > 0);
    peer_send(actor->control, &(struct tw_frame){.body = TW_BODY_BYE}, NULL);
    actor_lose(actor);
}
