#include "tests/lib/lane_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/net/listen.h"

unsigned char lane_data[LARGE_BYTES];

static void on_moment_of_a(struct tw_lane *lane) {
    const struct lane_end *end = tw_lane_context(lane);
    end->world->moments_of_a++;
}

static void on_moment_of_b(struct tw_lane *lane) {
    const struct lane_end *end = tw_lane_context(lane);
    end->world->moments_of_b++;
}

static enum tw_status on_data(struct tw_lane *lane, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    struct lane_end *end = tw_lane_context(lane);
    assert_true(end->world->moments_of_b > 0);
    if (end->blocked) {
        end->again++;
        return TW_AGAIN;
    }
    free(end->place);
    *place = end->place = malloc(frame->data_bytes);
    if (end->shuts)
        tw_lane_close(lane);
    return TW_OK;
}

/* The end that b's lane is of: where its Hello says. */
static struct lane_end *settle_in(struct lane_world *world, struct tw_lane *lane,
                                  const struct tw_frame *frame) {
    struct lane_end *end = &world->b[*(const uint8_t *)frame->hello.nonce.bytes];
    assert_null(end->lane);
    end->world = world;
    end->lane = lane;
    tw_lane_set_context(lane, end);
    return end;
}

static enum tw_status on_frame(struct tw_lane *lane, const struct tw_frame *frame, void *bytes,
                               struct tw_error *error) {
    struct lane_end *end = tw_lane_context(lane);
    if (end->lane == NULL)
        end = settle_in(end->world, lane, frame);
    assert_int_equal(end->closed, 0);
    if (frame->body == TW_BODY_PROOF)
        tw_trunk_allow(tw_lane_trunk(lane), end->world->allowed);
    if (frame->body == TW_BODY_PROOF)
        tw_lane_limit(lane, TW_FRAME_BYTES_MAX, true);
    if (frame->body == TW_BODY_REFUSE)
        end->refused = frame->refuse.status;
    if (frame->body == TW_BODY_PING)
        end->nonce[end->frames % TOKENS] = frame->ping.nonce;
    for (size_t i = 0; bytes != NULL && i < frame->data_bytes; i++)
        end->sum += ((unsigned char *)bytes)[i];
    end->frames++;
    if (end->answers && frame->body == TW_BODY_PING) {
        struct tw_frame pong = {.body = TW_BODY_PONG};
        assert_int_equal(tw_lane_send(lane, &pong, NULL, NULL), TW_OK);
        tw_lane_flush(lane);
        assert_true(tw_lane_queued(lane) > 0); /* with what follows from the same read */
    }
    return end->refuses ? tw_error_set(error, TW_MALFORMED, "not to my taste") : TW_OK;
}

static void on_released(struct tw_lane *lane, void *token) {
    struct lane_end *end = tw_lane_context(lane);
    assert_int_equal(end->closed, 0);
    end->released[(uintptr_t)token]++;
    end->releases++;
}

static void on_drained(struct tw_lane *lane) {
    struct lane_end *end = tw_lane_context(lane);
    end->drained++;
}

static void on_closed(struct tw_lane *lane, const struct tw_error *error) {
    struct lane_end *end = tw_lane_context(lane);
    end->closed++;
    end->error = *error;
    end->lane = NULL;
    free(end->place); /* nothing may be written there any more */
    end->place = NULL;
    tw_lane_free(lane);
}

static void on_branch(struct tw_lane *lane, void *owner) {
    struct lane_world *world = owner;
    static struct lane_end nobody; /* lane_until its Hello says whose it is */
    nobody = (struct lane_end){.world = world};
    tw_lane_set_context(lane, &nobody);
    world->branched++;
}

#define SIDE                                                                                       \
    .on_data = on_data, .on_frame = on_frame, .on_released = on_released,                          \
    .on_drained = on_drained, .on_closed = on_closed
const struct tw_lane_events lane_side_a = {SIDE, .on_moment = on_moment_of_a};
static const struct tw_lane_events side_b = {SIDE, .on_moment = on_moment_of_b,
                                             .on_branch = on_branch};

static void on_connection(uv_stream_t *listener, int code) {
    struct lane_world *world = listener->data;
    static struct lane_end nobody;
    struct tw_lane *lane;
    assert_int_equal(code, 0);
    nobody = (struct lane_end){.world = world};
    assert_int_equal(tw_trunk_accept(&lane, listener, &world->host, &side_b, &nobody, world, NULL),
                     TW_OK);
    tw_lane_limit(lane, TW_FRAME_BYTES_MAX, false);
    world->accepted++;
}

static void on_guard(uv_timer_t *guard) {
    fail_msg("what the test waits for did not happen in %d s", PATIENCE_MS / 1000);
}

struct lane_world *lane_world_new(void) {
    struct lane_world *world = calloc(1, sizeof(*world));
    struct tw_host_port where;
    size_t count;
    bool initialised;
    tw_ignore_broken_pipes();
    uv_loop_init(&world->loop);
    uv_timer_init(&world->loop, &world->guard);
    uv_timer_start(&world->guard, on_guard, PATIENCE_MS, 0);
    assert_int_equal(tw_host_port_parse(&where, "127.0.0.1:0", NULL), TW_OK);
    assert_int_equal(tw_address_resolve(&where, &world->address, 1, &count, NULL), TW_OK);
    assert_int_equal(tw_listen(&world->listener, &world->loop, (struct sockaddr *)&world->address,
                               16, on_connection, &initialised, NULL),
                     TW_OK);
    assert_int_equal(tw_listen_address(&world->listener, &world->address, NULL), TW_OK);
    world->listener.data = world;
    world->allowed = TW_LANES_MAX;
    world->host = (struct tw_connection_host){.loop = &world->loop,
                                              .arena = &world->arena,
                                              .send_queue_bytes_max = 64u << 20,
                                              .finish_ms = PATIENCE_MS};
    return world;
}

void lane_until(struct lane_world *world, const unsigned *count, unsigned least) {
    while (*count < least)
        uv_run(&world->loop, UV_RUN_ONCE);
}

void lane_world_free(struct lane_world *world) {
    for (int i = 0; i < 2 * ENDS; i++) {
        struct lane_end *end = i < ENDS ? &world->a[i] : &world->b[i - ENDS];
        if (end->lane != NULL)
            tw_lane_close(end->lane);
        if (end->lane != NULL)
            lane_until(world, &end->closed, 1);
        assert_true(end->closed <= 1);
        free(end->place);
    }
    uv_close((uv_handle_t *)&world->listener, NULL);
    uv_close((uv_handle_t *)&world->guard, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_null(world->trunk); /* freed with its last lane */
    free(world);
}

/* The first words of every lane: who it is, and on the first that it may have more. */
static void greet(struct lane_end *end) {
    uint8_t nonce[TW_NONCE_BYTES] = {(uint8_t)(end - end->world->a)};
    struct tw_frame hello = {.body = TW_BODY_HELLO, .hello = {1, 1, {nonce, sizeof(nonce)}}};
    struct tw_frame proof = {.body = TW_BODY_PROOF};
    assert_int_equal(tw_lane_send(end->lane, &hello, NULL, NULL), TW_OK);
    assert_int_equal(tw_lane_send(end->lane, &proof, NULL, NULL), TW_OK);
}

void lane_on_open(struct tw_lane *lane, enum tw_status status, const struct tw_error *error) {
    struct lane_end *end = tw_lane_context(lane);
    end->opened++;
    end->open_status = status;
    if (status == TW_OK) {
        tw_lane_limit(lane, TW_FRAME_BYTES_MAX, true);
        greet(end);
    }
}

void lane_connect_first(struct lane_world *world, const struct sockaddr *to) {
    struct lane_end *end = &world->a[0];
    end->world = world;
    assert_int_equal(tw_lane_connect(&end->lane, to ? to : (struct sockaddr *)&world->address,
                                     &world->host, &lane_side_a, end, lane_on_open, NULL),
                     TW_OK);
    tw_trunk_keep(tw_lane_trunk(end->lane), &world->trunk);
}

void lane_branch_to(struct lane_world *world, int i) {
    struct lane_end *end = &world->a[i];
    end->world = world;
    assert_int_equal(
        tw_lane_branch(&end->lane, world->trunk, &lane_side_a, end, lane_on_open, NULL), TW_OK);
}

/* So many lanes, open on both sides. */
struct lane_world *lane_world_with(int lanes) {
    struct lane_world *world = lane_world_new();
    lane_connect_first(world, NULL);
    lane_until(world, &world->b[0].frames, 2);
    tw_trunk_allow(world->trunk, TW_LANES_MAX);
    for (int i = 1; i < lanes; i++)
        lane_branch_to(world, i);
    for (int i = 1; i < lanes; i++)
        lane_until(world, &world->b[i].frames, 2);
    assert_int_equal(world->accepted, 1);
    assert_int_equal(world->branched, lanes - 1);
    assert_int_equal(tw_trunk_lanes(world->trunk), lanes);
    return world;
}

void lane_ping(struct lane_end *end, uint64_t nonce) {
    struct tw_frame frame = {.body = TW_BODY_PING, .ping = {.nonce = nonce}};
    assert_int_equal(tw_lane_send(end->lane, &frame, NULL, NULL), TW_OK);
}

void lane_push(struct lane_end *end, size_t bytes, size_t token) {
    struct tw_frame frame = {.body = TW_BODY_PUSH, .data_bytes = bytes};
    assert_int_equal(tw_lane_send(end->lane, &frame, lane_data, (void *)token), TW_OK);
}

void lane_fill_data(void) {
    for (size_t i = 0; i < LARGE_BYTES; i++)
        lane_data[i] = (unsigned char)(i * 11 + i / 241);
}
