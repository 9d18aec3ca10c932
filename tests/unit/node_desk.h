/* A node on a desk: frames go in as values, connection by connection; the desk is
 * the shell, so it carries out what the node wants (a CLOSE is followed by lost)
 * and keeps the last frame and the end of each connection.
 *
 * The tensors are w (4) and b (2): two chunks.
 */
#ifndef TW_TEST_NODE_DESK_H
#define TW_TEST_NODE_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/core/node.h"

#define DESK_LINKS 32
#define DESK_EVENTS 64
#define DESK_CHUNKS 2
#define DESK_TOKEN "a secret of the desk"

struct desk_link {
    bool open;
    int frames;            /* sent to it */
    struct tw_frame last;  /* the last of them; views are not valid */
    enum tw_body log[64];  /* bodies of the first 64 */
    enum tw_status closed; /* by CLOSE, or by a status; TW_OK: not, or Bye */
    char why[TW_ERROR_TEXT];
    bool resumed; /* RESUME came */
    uint8_t nonce[TW_NONCE_BYTES], session[TW_SESSION_BYTES];
    bool has_token;
    uint8_t proof[TW_PROOF_BYTES]; /* the server's */
};

struct desk {
    struct tw_tensor tensors[2];
    struct tw_tensor_list list;
    struct tw_chunk chunk[DESK_CHUNKS];
    struct tw_layout layout;
    struct tw_node_config config;
    struct tw_node *node;
    struct desk_link link[DESK_LINKS];
    struct tw_node_event event[DESK_EVENTS];
    int events;
    struct tw_node_vote vote[DESK_EVENTS]; /* to the lead */
    int votes;
    struct tw_error error;
    uint8_t opened;
    bool hold; /* sends do not leave */
};

static const uint8_t desk_client_nonce[TW_NONCE_BYTES] = {42, 1, 2, 3};

static inline struct tw_node_config desk_config(struct desk *desk, const char *mode,
                                                uint32_t workers) {
    static const int64_t shapes[2] = {4, 2};
    struct tw_where where = {"desk", 1};
    *desk = (struct desk){.list = {2, desk->tensors}};
    struct tw_init init = {TW_INIT_CONSTANT, 1};
    assert_int_equal(tw_tensor_init(&desk->tensors[0], "w", 1, &shapes[0], init, NULL), TW_OK);
    assert_int_equal(tw_tensor_init(&desk->tensors[1], "b", 1, &shapes[1], init, NULL), TW_OK);
    struct tw_node_config config = {.servers = 1, .connections = DESK_LINKS};
    assert_int_equal(tw_dial_parse(mode, where, (int)workers, &config.sequencer.dial, NULL), TW_OK);
    config.terms.tensors = &desk->list;
    memset(config.terms.job, 5, sizeof(config.terms.job));
    memset(config.terms.digest, 6, sizeof(config.terms.digest));
    config.sequencer.workers = config.shard.slots = workers;
    config.sequencer.shards = 1;
    config.sequencer.optimizer = config.shard.optimizer = tw_optimizers[0];
    config.sequencer.options = config.shard.options = (struct tw_optimizer_options){.lr = 0.5};
    config.shard.members_known = config.sequencer.dial.members_known;
    config.shard.ahead = tw_dial_ahead(&config.sequencer.dial);
    config.shard.spares = 1;
    return config;
}

static inline void desk_init(struct desk *desk, const struct tw_node_config *config) {
    desk->config = *config;
    desk->config.shard.layout = &desk->layout;
    desk->config.sequencer.shards = config->servers;
    assert_int_equal(tw_layout_init(&desk->layout, &desk->list, TW_CHUNK_BYTES_MIN, config->servers,
                                    desk->chunk, NULL),
                     TW_OK);
    size_t bytes = tw_node_bytes(&desk->config);
    assert_true(bytes > 0);
    void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    memset(memory, 0, bytes);
    desk->node = tw_node_init(memory, &desk->config);
}

static inline void desk_usual(struct desk *desk, const char *mode, uint32_t workers) {
    struct tw_node_config config = desk_config(desk, mode, workers);
    desk_init(desk, &config);
}

static inline void desk_fini(struct desk *desk) {
    free(desk->node);
}

/* ---- the shell ---- */

static inline void desk_note_frame(struct desk_link *link, const struct tw_frame *frame) {
    link->last = *frame;
    if (link->frames < 64)
        link->log[link->frames] = frame->body;
    link->frames++;
    if (frame->body == TW_BODY_CHALLENGE) {
        memcpy(link->nonce, frame->challenge.nonce.bytes, TW_NONCE_BYTES);
        link->has_token = frame->challenge.token;
        if (link->has_token)
            memcpy(link->proof, frame->challenge.proof.bytes, TW_PROOF_BYTES);
    }
    if (frame->body == TW_BODY_WELCOME && frame->welcome.session.size)
        memcpy(link->session, frame->welcome.session.bytes, TW_SESSION_BYTES);
}

static inline void desk_close(struct desk *desk, uint32_t at, enum tw_status status,
                              const char *why) {
    struct desk_link *link = &desk->link[at];
    assert_true(link->open);
    link->open = false;
    link->closed = status;
    snprintf(link->why, sizeof(link->why), "%s", why);
    tw_node_lost(desk->node, at, link->why);
}

static inline void desk_drain(struct desk *desk) {
    const struct tw_node_effect *effect;
    while ((effect = tw_node_effect(desk->node)) != NULL) {
        switch (effect->kind) {
        case TW_NODE_SEND:
            assert_true(desk->link[effect->connection].open);
            desk_note_frame(&desk->link[effect->connection], &effect->frame);
            if (effect->frame.data_bytes && !desk->hold)
                tw_node_sent(desk->node, effect->token);
            break;
        case TW_NODE_CLOSE:
            desk_close(desk, effect->connection, effect->status, effect->text);
            break;
        case TW_NODE_RESUME:
            desk->link[effect->connection].resumed = true;
            break;
        case TW_NODE_EVENT:
            assert_true(desk->events < DESK_EVENTS);
            desk->event[desk->events++] = effect->event;
            break;
        case TW_NODE_TO_LEAD:
            assert_true(desk->votes < DESK_EVENTS);
            desk->vote[desk->votes++] = effect->vote;
            break;
        default:
            break;
        }
    }
}

static inline void desk_work(struct desk *desk) {
    enum tw_shard_work work;
    do {
        work = tw_node_work(desk->node);
        desk_drain(desk);
    } while (work != TW_SHARD_IDLE && work != TW_SHARD_BLOCKED);
}

static inline void desk_lose(struct desk *desk, uint32_t at) {
    desk->link[at].open = false;
    tw_node_lost(desk->node, at, "cut");
    desk_drain(desk);
}

/* The connection was closed with this status, for a reason that has these words. */
static inline void desk_closed(const struct desk *desk, uint32_t at, enum tw_status status,
                               const char *words) {
    const struct desk_link *link = &desk->link[at];
    assert_false(link->open);
    if (link->closed != status || !strstr(link->why, words))
        fail_msg("closed with %s, \"%s\"; wanted %s, \"%s\"", tw_status_name((int)link->closed),
                 link->why, tw_status_name((int)status), words);
}

static inline int desk_count(const struct desk *desk, enum tw_node_event_kind kind) {
    int n = 0;
    for (int i = 0; i < desk->events; i++)
        n += desk->event[i].kind == kind;
    return n;
}

/* ---- frames ---- */

static inline enum tw_status desk_say(struct desk *desk, uint32_t at, const struct tw_frame *frame,
                                      const void *data) {
    enum tw_status status = tw_node_frame(desk->node, at, frame, data, &desk->error);
    if (status != TW_OK)
        desk_close(desk, at, status, desk->error.text);
    desk_drain(desk);
    return status;
}

static inline enum tw_status desk_body(struct desk *desk, uint32_t at, enum tw_body body) {
    return desk_say(desk, at, &(struct tw_frame){.body = body}, NULL);
}

static inline uint32_t desk_open(struct desk *desk) {
    uint8_t random[TW_NODE_RANDOM_BYTES];
    memset(random, ++desk->opened, sizeof(random));
    uint32_t at = tw_node_open(desk->node, random);
    assert_true(at < DESK_LINKS);
    desk->link[at] = (struct desk_link){.open = true};
    return at;
}

static inline struct tw_frame desk_hello(void) {
    struct tw_frame hello = {.body = TW_BODY_HELLO};
    hello.hello.protocol_min = TW_PROTOCOL_MIN;
    hello.hello.protocol_max = TW_PROTOCOL_MAX;
    hello.hello.nonce = (struct tw_view){desk_client_nonce, TW_NONCE_BYTES};
    return hello;
}

/* A connection that has greeted. */
static inline uint32_t desk_known(struct desk *desk) {
    uint32_t at = desk_open(desk);
    struct tw_frame hello = desk_hello(), proof = {.body = TW_BODY_PROOF};
    uint8_t bytes[TW_PROOF_BYTES];
    assert_int_equal(desk_say(desk, at, &hello, NULL), TW_OK);
    assert_int_equal(desk->link[at].last.body, TW_BODY_CHALLENGE);
    if (desk->link[at].has_token) {
        tw_session_proof(DESK_TOKEN, strlen(DESK_TOKEN), "talweg client", desk_client_nonce,
                         desk->link[at].nonce, bytes);
        proof.proof.proof = (struct tw_view){bytes, TW_PROOF_BYTES};
    }
    assert_int_equal(desk_say(desk, at, &proof, NULL), TW_OK);
    return at;
}

static const uint64_t desk_shapes[2][1] = {{4}, {2}};
static const struct tw_tensor_shape desk_tensors[2] = {{{"w", 1}, 1, desk_shapes[0]},
                                                       {{"b", 1}, 1, desk_shapes[1]}};

/* A Join that is right in everything; rank -1: any. */
static inline struct tw_frame desk_join_frame(enum tw_role role, int rank) {
    struct tw_frame frame = {.body = TW_BODY_JOIN};
    frame.join.role = role;
    frame.join.any_rank = rank < 0;
    frame.join.rank = rank < 0 ? 0 : (uint32_t)rank;
    frame.join.tensors = 2;
    frame.join.tensor = desk_tensors;
    frame.join.numerics = (struct tw_view){"desk", 4};
    return frame;
}

/* A greeted connection that has said this Join. */
static inline uint32_t desk_join_with(struct desk *desk, const struct tw_frame *join) {
    uint32_t at = desk_known(desk);
    desk_say(desk, at, join, NULL);
    return at;
}

static inline uint32_t desk_join(struct desk *desk, enum tw_role role, int rank) {
    struct tw_frame frame = desk_join_frame(role, rank);
    return desk_join_with(desk, &frame);
}

/* The holder of the Welcome on `control` comes back over a new connection. */
static inline struct tw_frame desk_resume_frame(const struct desk *desk, uint32_t control,
                                                uint64_t read) {
    const struct desk_link *link = &desk->link[control];
    struct tw_frame frame = desk_join_frame(TW_ROLE_WORKER, (int)link->last.welcome.rank);
    frame.join.incarnation = link->last.welcome.incarnation;
    frame.join.session = (struct tw_view){link->session, TW_SESSION_BYTES};
    frame.join.read = read;
    return frame;
}

static inline struct tw_frame desk_attach_frame(const struct desk *desk, uint32_t control,
                                                enum tw_role role) {
    const struct desk_link *link = &desk->link[control];
    struct tw_frame frame = {.body = TW_BODY_ATTACH};
    frame.attach.role = role;
    frame.attach.rank = link->last.welcome.rank;
    frame.attach.incarnation = link->last.welcome.incarnation;
    frame.attach.attempt = link->last.welcome.attempt;
    frame.attach.session = (struct tw_view){link->session, TW_SESSION_BYTES};
    return frame;
}

/* The bulk connection of the one that got Welcome on `control`. */
static inline uint32_t desk_attach(struct desk *desk, uint32_t control, enum tw_role role) {
    assert_int_equal(desk->link[control].last.body, TW_BODY_WELCOME);
    struct tw_frame frame = desk_attach_frame(desk, control, role);
    uint32_t at = desk_known(desk);
    assert_int_equal(desk_say(desk, at, &frame, NULL), TW_OK);
    return at;
}

/* A worker with both connections; *control may be NULL. Returns the bulk one. */
static inline uint32_t desk_worker(struct desk *desk, int rank, uint32_t *control) {
    uint32_t at = desk_join(desk, TW_ROLE_WORKER, rank);
    uint32_t bulk = desk_attach(desk, at, TW_ROLE_WORKER);
    assert_int_equal(desk->link[bulk].log[1], TW_BODY_ATTACHED);
    desk_work(desk);
    if (control)
        *control = at;
    return bulk;
}

/* ---- pushes; the weights that were sent last say of what ---- */

static inline struct tw_frame desk_push_frame(uint32_t slot, uint32_t incarnation, uint64_t step,
                                              uint32_t chunk) {
    struct tw_frame frame = {.body = TW_BODY_PUSH, .data_bytes = chunk ? 8 : 16};
    frame.push.slot = slot;
    frame.push.incarnation = incarnation;
    frame.push.step = step;
    frame.push.chunk = chunk;
    return frame;
}

static inline enum tw_status desk_data(struct desk *desk, uint32_t at, const struct tw_frame *frame,
                                       void **place) {
    enum tw_status status = tw_node_data(desk->node, at, frame, place, &desk->error);
    if (status != TW_OK && status != TW_AGAIN)
        desk_close(desk, at, status, desk->error.text);
    desk_drain(desk);
    return status;
}

static inline enum tw_status desk_push(struct desk *desk, uint32_t at, struct tw_frame frame) {
    void *place;
    enum tw_status status = desk_data(desk, at, &frame, &place);
    if (status != TW_OK)
        return status;
    for (size_t i = 0; place && i < frame.data_bytes / sizeof(float); i++)
        ((float *)place)[i] = 1;
    return desk_say(desk, at, &frame, place);
}

static inline struct tw_frame desk_end_frame(const struct desk *desk, uint32_t at, uint32_t slot,
                                             uint32_t incarnation) {
    struct tw_frame frame = {.body = TW_BODY_END};
    frame.end.slot = slot;
    frame.end.incarnation = incarnation;
    frame.end.step = desk->link[at].last.weights.step;
    frame.end.read = desk->link[at].last.weights.position;
    frame.end.frames = DESK_CHUNKS;
    frame.end.examples = 10;
    frame.end.loss = 1;
    return frame;
}

/* The whole push of the step that the last Weights on `at` ask for. */
static inline void desk_push_all(struct desk *desk, uint32_t at, uint32_t slot,
                                 uint32_t incarnation) {
    assert_int_equal(desk->link[at].last.body, TW_BODY_WEIGHTS);
    struct tw_frame end = desk_end_frame(desk, at, slot, incarnation);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        assert_int_equal(desk_push(desk, at, desk_push_frame(slot, incarnation, end.end.step, c)),
                         TW_OK);
    assert_int_equal(desk_say(desk, at, &end, NULL), TW_OK);
}

#endif
