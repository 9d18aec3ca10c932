/* A client core on a desk: events go in by hand, effects are written down. Frames of a
 * server are made here; nothing is sent anywhere. */
#ifndef TW_TEST_CLIENT_DESK_H
#define TW_TEST_CLIENT_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/digest.h"
#include "worker/core/client.h"

#define DESK_SENT 64

/* w has two chunks, b and c one each; the order of the list is that of the chunks. */
enum { DESK_TENSORS = 3, DESK_CHUNKS = 4 };
static const int64_t desk_elements[DESK_TENSORS] = {TW_BLOCK_FLOATS + 5, 3, 7};
static const char *const desk_names[DESK_TENSORS] = {"w", "b", "c"};

struct desk {
    struct tw_client client;
    struct tw_client_effects effects;
    struct tw_tensor tensors[DESK_TENSORS];
    struct tw_tensor_list list;
    float *weights[DESK_TENSORS];
    float *gradient[DESK_TENSORS];
    void *memory;
    uint64_t now;
    uint32_t servers;
    bool open[TW_CLIENT_LINKS_MAX]; /* connections that the core wants */
    int sent_count;                 /* frames that it sent, oldest first; only */
    enum tw_body sent[DESK_SENT];   /* the last DESK_SENT are kept */
    int sent_link[DESK_SENT];
    struct tw_frame last;          /* the last one, with views that may be gone */
    uint8_t proof[TW_PROOF_BYTES]; /* of the last Proof */
    uint8_t nonce[TW_NONCE_BYTES]; /* of the last Hello */
    struct tw_error error;
    uint8_t job[TW_JOB_ID_BYTES], session[TW_SESSION_BYTES];
    /* Hears of every effect as well, when it is there. */
    void (*on_effect)(void *context, const struct tw_client_effect *effect);
    void *context;
};

static inline void desk_note_sent(struct desk *desk, const struct tw_client_effect *effect) {
    int at = desk->sent_count % DESK_SENT;
    desk->sent[at] = effect->frame.body;
    desk->sent_link[at] = effect->link;
    desk->sent_count++;
    desk->last = effect->frame;
    if (effect->frame.body == TW_BODY_PROOF && effect->frame.proof.proof.size != 0)
        memcpy(desk->proof, effect->frame.proof.proof.bytes, TW_PROOF_BYTES);
    if (effect->frame.body == TW_BODY_HELLO)
        memcpy(desk->nonce, effect->frame.hello.nonce.bytes, TW_NONCE_BYTES);
}

static inline enum tw_status desk_step(struct desk *desk, struct tw_client_event event) {
    event.now_ms = desk->now;
    event.now_ns = desk->now * 1000000;
    enum tw_status status = tw_client_step(&desk->client, &event, &desk->effects, &desk->error);
    assert_in_range(desk->effects.count, 0, TW_CLIENT_EFFECTS_MAX);
    for (int i = 0; i < desk->effects.count; i++) {
        const struct tw_client_effect *effect = &desk->effects.at[i];
        if (effect->kind == TW_CLIENT_SEND) {
            assert_true(desk->open[effect->link]);
            desk_note_sent(desk, effect);
        } else {
            assert_int_equal(desk->open[effect->link], effect->kind == TW_CLIENT_CLOSE);
            desk->open[effect->link] = effect->kind == TW_CLIENT_OPEN;
        }
        if (desk->on_effect != NULL)
            desk->on_effect(desk->context, effect);
    }
    return status;
}

static inline void desk_init(struct desk *desk, uint32_t servers,
                             const struct tw_client_config *base) {
    memset(desk, 0, sizeof(*desk));
    desk->servers = servers;
    desk->now = 1000;
    for (int i = 0; i < DESK_TENSORS; i++) {
        struct tw_tensor *tensor = &desk->tensors[i];
        snprintf(tensor->name, sizeof(tensor->name), "%s", desk_names[i]);
        tensor->dims = 1;
        tensor->shape[0] = tensor->elements = desk_elements[i];
        desk->weights[i] = calloc((size_t)desk_elements[i], sizeof(float));
        desk->gradient[i] = calloc((size_t)desk_elements[i], sizeof(float));
    }
    desk->list = (struct tw_tensor_list){DESK_TENSORS, desk->tensors};
    memset(desk->job, 7, sizeof(desk->job));
    memset(desk->session, 9, sizeof(desk->session));
    struct tw_client_config config = *base;
    config.list = &desk->list;
    config.weights = desk->weights;
    config.server = "desk:1";
    config.numerics = "test";
    if (config.connect_ms == 0)
        config.connect_ms = 30000;
    desk->memory = malloc(tw_client_memory_bytes(&desk->list));
    assert_int_equal(tw_client_init(&desk->client, &config, desk->memory, &desk->error), TW_OK);
}

static inline void desk_fini(struct desk *desk) {
    for (int i = 0; i < DESK_TENSORS; i++) {
        free(desk->weights[i]);
        free(desk->gradient[i]);
    }
    free(desk->memory);
}

/* ---- what the world does ---- */

static inline enum tw_status desk_frame(struct desk *desk, int link, const struct tw_frame *frame,
                                        const void *data) {
    return desk_step(desk,
                     (struct tw_client_event){
                         .kind = TW_CLIENT_ON_FRAME, .link = link, .frame = frame, .data = data});
}

static inline void desk_lose(struct desk *desk, int link, enum tw_status status) {
    struct tw_error cause;
    tw_error_set(&cause, status, "connection reset");
    desk->open[link] = false;
    desk_step(desk,
              (struct tw_client_event){.kind = TW_CLIENT_ON_LOST, .link = link, .cause = &cause});
}

static inline void desk_tick(struct desk *desk, uint64_t ms) {
    desk->now += ms;
    desk_step(desk, (struct tw_client_event){.kind = TW_CLIENT_ON_TICK});
}

static inline void desk_opened(struct desk *desk, int link) {
    uint8_t nonce[TW_NONCE_BYTES];
    memset(nonce, 40 + link, sizeof(nonce));
    desk_step(desk,
              (struct tw_client_event){.kind = TW_CLIENT_ON_OPENED, .link = link, .nonce = nonce});
}

static inline struct tw_frame desk_challenge(void) {
    static const uint8_t nonce[TW_NONCE_BYTES] = {1, 2, 3};
    struct tw_frame frame = {.body = TW_BODY_CHALLENGE};
    frame.challenge.protocol = 1;
    frame.challenge.nonce = (struct tw_view){nonce, sizeof(nonce)};
    return frame;
}

static inline struct tw_frame desk_welcome(const struct desk *desk, uint64_t last_step) {
    struct tw_frame frame = {.body = TW_BODY_WELCOME};
    frame.welcome = (struct tw_welcome){
        .job = {desk->job, sizeof(desk->job)},
        .session = {desk->session, sizeof(desk->session)},
        .rank = 1,
        .incarnation = 1,
        .generation = 2,
        .epoch = 3,
        .workers = 2,
        .slots = 2,
        .slot = 1,
        .width = 1,
        .last_step = last_step,
        .chunk_bytes = TW_CHUNK_BYTES_MIN,
        .servers = desk->servers,
    };
    return frame;
}

static inline struct tw_frame desk_weights(const struct desk *desk, uint64_t position,
                                           uint64_t version, uint64_t step, uint32_t chunk) {
    struct tw_frame frame = {.body = TW_BODY_WEIGHTS};
    frame.weights = (struct tw_weights){.position = position,
                                        .version = version,
                                        .generation = 2,
                                        .epoch = 3,
                                        .step = step,
                                        .chunk = chunk};
    if (chunk < DESK_CHUNKS)
        frame.data_bytes = 4 * (size_t)desk->client.layout.chunk[chunk].count;
    return frame;
}

/* A chunk arrives, filled with `value`; what tw_client_place() says. */
static inline enum tw_status desk_arrive(struct desk *desk, const struct tw_frame *frame,
                                         float value) {
    int link = 1 + (int)desk->client.layout.chunk[frame->weights.chunk].shard;
    void *place = NULL;
    enum tw_status status = tw_client_place(&desk->client, link, frame, &place, &desk->error);
    if (status != TW_OK)
        return status;
    for (size_t i = 0; place != NULL && i < frame->data_bytes / 4; i++)
        ((float *)place)[i] = value;
    return desk_frame(desk, link, frame, place);
}

/* All chunks of a set. */
static inline void desk_arrive_all(struct desk *desk, uint64_t position, uint64_t version,
                                   uint64_t step) {
    for (uint32_t chunk = 0; chunk < DESK_CHUNKS; chunk++) {
        struct tw_frame frame = desk_weights(desk, position, version, step, chunk);
        assert_int_equal(desk_arrive(desk, &frame, (float)position), TW_OK);
    }
}

/* Greets on one link that is opening: Hello to Join or Attach. */
static inline void desk_greet(struct desk *desk, int link) {
    struct tw_frame challenge = desk_challenge();
    assert_true(desk->open[link]);
    desk_opened(desk, link);
    assert_int_equal(desk->last.body, TW_BODY_HELLO);
    assert_int_equal(desk_frame(desk, link, &challenge, NULL), TW_OK);
}

/* From opening control to JOINED. */
static inline void desk_join(struct desk *desk, uint64_t last_step) {
    struct tw_frame welcome = desk_welcome(desk, last_step);
    struct tw_frame attached = {.body = TW_BODY_ATTACHED};
    desk_greet(desk, TW_CLIENT_CONTROL);
    assert_int_equal(desk->last.body, TW_BODY_JOIN);
    assert_int_equal(desk_frame(desk, TW_CLIENT_CONTROL, &welcome, NULL), TW_OK);
    for (uint32_t shard = 0; shard < desk->servers; shard++) {
        desk_greet(desk, 1 + (int)shard);
        assert_int_equal(desk->last.body, TW_BODY_ATTACH);
    }
    for (uint32_t shard = 0; shard < desk->servers; shard++)
        assert_int_equal(desk_frame(desk, 1 + (int)shard, &attached, NULL), TW_OK);
    assert_int_equal(desk->client.phase, TW_CLIENT_JOINED);
}

static inline void desk_start(struct desk *desk) {
    desk_step(desk, (struct tw_client_event){.kind = TW_CLIENT_ON_START});
}

/* ---- what the application does ---- */

static inline enum tw_status desk_pull(struct desk *desk) {
    return desk_step(desk, (struct tw_client_event){.kind = TW_CLIENT_ON_PULL});
}

static inline enum tw_status desk_push(struct desk *desk, int tensor) {
    return desk_step(desk, (struct tw_client_event){.kind = TW_CLIENT_ON_PUSH,
                                                    .tensor = tensor,
                                                    .gradient = tensor >= 0 && tensor < DESK_TENSORS
                                                                    ? desk->gradient[tensor]
                                                                    : NULL});
}

static inline enum tw_status desk_end(struct desk *desk) {
    return desk_step(
        desk, (struct tw_client_event){.kind = TW_CLIENT_ON_END, .examples = 64, .loss = 1.5});
}

static inline void desk_push_all(struct desk *desk) {
    for (int i = 0; i < DESK_TENSORS; i++)
        assert_int_equal(desk_push(desk, i), TW_OK);
    assert_int_equal(desk_end(desk), TW_OK);
}

/* The chunks and the End that the core hands out for a link now: "0 1 3 E". */
static inline const char *desk_handed_out(struct desk *desk, int link) {
    static char text[256];
    struct tw_frame frame;
    const void *data;
    size_t at = 0;
    text[0] = 0;
    while (tw_client_next(&desk->client, link, &frame, &data)) {
        const char *space = at == 0 ? "" : " ";
        if (frame.body == TW_BODY_END) {
            assert_null(data);
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%sE%u", space, frame.end.frames);
            assert_int_equal(frame.end.read, desk->client.held.position);
            assert_int_equal(frame.end.step, desk->client.held.step);
            continue;
        }
        assert_int_equal(frame.body, TW_BODY_PUSH);
        const struct tw_chunk *chunk = &desk->client.layout.chunk[frame.push.chunk];
        assert_ptr_equal(data, desk->gradient[chunk->tensor] + chunk->first);
        assert_int_equal(frame.data_bytes, 4 * chunk->count);
        assert_int_equal(frame.push.step, desk->client.held.step);
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", space, frame.push.chunk);
    }
    return text;
}

#endif
