/* Lanes: conversations over one connection that do not disturb each other. Both sides are on one
 * loop; what happens is waited for, never for a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/listen.h"
#include "proto/lane.h"

enum { ENDS = 40, TOKENS = 256, DATA_BYTES = 1 << 20, PATIENCE_MS = 120000 };

/* One side of a lane. */
struct end {
    struct world *world;
    struct tw_lane *lane; /* NULL: it is over, or never was */
    unsigned opened, frames, bytes, drained, closed, again, refused;
    enum tw_status open_status;
    struct tw_error error;
    uint64_t nonce[TOKENS]; /* of the Pings that came */
    unsigned released[TOKENS], releases;
    unsigned char *place;
    uint64_t sum;                 /* of the tensor bytes that came */
    bool blocked, refuses, shuts; /* on_data says TW_AGAIN; on_frame an error; closes in on_data */
};

/* Lanes of a are those that connect; the nonce of their Hello says which end of b is theirs. */
struct world {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_timer_t guard;
    struct sockaddr_storage address;
    struct tw_unpack_arena arena;
    struct tw_connection_host host;
    struct end a[ENDS], b[ENDS];
    unsigned accepted, branched;
    uint32_t allowed; /* of b, when a Proof comes */
    struct tw_trunk *trunk;
};

static unsigned char data[DATA_BYTES];

static void on_bytes(struct tw_lane *lane) {
    struct end *end = tw_lane_context(lane);
    end->bytes++;
}

static enum tw_status on_data(struct tw_lane *lane, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    struct end *end = tw_lane_context(lane);
    assert_true(end->bytes > 0);
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
static struct end *settle_in(struct world *world, struct tw_lane *lane,
                             const struct tw_frame *frame) {
    struct end *end = &world->b[*(const uint8_t *)frame->hello.nonce.bytes];
    assert_null(end->lane);
    end->world = world;
    end->lane = lane;
    tw_lane_set_context(lane, end);
    return end;
}

static enum tw_status on_frame(struct tw_lane *lane, const struct tw_frame *frame, void *bytes,
                               struct tw_error *error) {
    struct end *end = tw_lane_context(lane);
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
    return end->refuses ? tw_error_set(error, TW_MALFORMED, "not to my taste") : TW_OK;
}

static void on_released(struct tw_lane *lane, void *token) {
    struct end *end = tw_lane_context(lane);
    assert_int_equal(end->closed, 0);
    end->released[(uintptr_t)token]++;
    end->releases++;
}

static void on_drained(struct tw_lane *lane) {
    struct end *end = tw_lane_context(lane);
    end->drained++;
}

static void on_closed(struct tw_lane *lane, const struct tw_error *error) {
    struct end *end = tw_lane_context(lane);
    end->closed++;
    end->error = *error;
    end->lane = NULL;
    free(end->place); /* nothing may be written there any more */
    end->place = NULL;
    tw_lane_free(lane);
}

static void on_branch(struct tw_lane *lane) {
    struct end *end = tw_lane_context(lane);
    static struct end nobody; /* until its Hello says whose it is */
    nobody = (struct end){.world = end->world, .bytes = 1};
    tw_lane_set_context(lane, &nobody);
    end->world->branched++;
}

#define SIDE                                                                                       \
    .on_bytes = on_bytes, .on_data = on_data, .on_frame = on_frame, .on_released = on_released,    \
    .on_drained = on_drained, .on_closed = on_closed
static const struct tw_lane_events side_a = {SIDE}, side_b = {SIDE, .on_branch = on_branch};

static void on_connection(uv_stream_t *listener, int code) {
    struct world *world = listener->data;
    static struct end nobody;
    struct tw_lane *lane;
    assert_int_equal(code, 0);
    nobody = (struct end){.world = world};
    assert_int_equal(tw_trunk_accept(&lane, listener, &world->host, &side_b, &nobody, NULL), TW_OK);
    tw_lane_limit(lane, TW_FRAME_BYTES_MAX, false);
    world->accepted++;
}

static void on_guard(uv_timer_t *guard) {
    fail_msg("what the test waits for did not happen in %d s", PATIENCE_MS / 1000);
}

static struct world *new_world(void) {
    struct world *world = calloc(1, sizeof(*world));
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

static void until(struct world *world, const unsigned *count, unsigned least) {
    while (*count < least)
        uv_run(&world->loop, UV_RUN_ONCE);
}

static void free_world(struct world *world) {
    for (int i = 0; i < 2 * ENDS; i++) {
        struct end *end = i < ENDS ? &world->a[i] : &world->b[i - ENDS];
        if (end->lane != NULL)
            tw_lane_close(end->lane);
        if (end->lane != NULL)
            until(world, &end->closed, 1);
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
static void greet(struct end *end) {
    uint8_t nonce[TW_NONCE_BYTES] = {(uint8_t)(end - end->world->a)};
    struct tw_frame hello = {.body = TW_BODY_HELLO, .hello = {1, 1, {nonce, sizeof(nonce)}}};
    struct tw_frame proof = {.body = TW_BODY_PROOF};
    assert_int_equal(tw_lane_send(end->lane, &hello, NULL, NULL), TW_OK);
    assert_int_equal(tw_lane_send(end->lane, &proof, NULL, NULL), TW_OK);
}

static void on_open(struct tw_lane *lane, enum tw_status status, const struct tw_error *error) {
    struct end *end = tw_lane_context(lane);
    end->opened++;
    end->open_status = status;
    if (status == TW_OK) {
        tw_lane_limit(lane, TW_FRAME_BYTES_MAX, true);
        greet(end);
    }
}

static void connect_first(struct world *world, const struct sockaddr *to) {
    struct end *end = &world->a[0];
    end->world = world;
    assert_int_equal(tw_lane_connect(&end->lane, to ? to : (struct sockaddr *)&world->address,
                                     &world->host, &side_a, end, on_open, NULL),
                     TW_OK);
    tw_trunk_keep(tw_lane_trunk(end->lane), &world->trunk);
}

static void branch(struct world *world, int i) {
    struct end *end = &world->a[i];
    end->world = world;
    assert_int_equal(tw_lane_branch(&end->lane, world->trunk, &side_a, end, on_open, NULL), TW_OK);
}

/* So many lanes, open on both sides. */
static struct world *with_lanes(int lanes) {
    struct world *world = new_world();
    connect_first(world, NULL);
    until(world, &world->b[0].frames, 2);
    tw_trunk_allow(world->trunk, TW_LANES_MAX);
    for (int i = 1; i < lanes; i++)
        branch(world, i);
    for (int i = 1; i < lanes; i++)
        until(world, &world->b[i].frames, 2);
    assert_int_equal(world->accepted, 1);
    assert_int_equal(world->branched, lanes - 1);
    assert_int_equal(tw_trunk_lanes(world->trunk), lanes);
    return world;
}

static void ping(struct end *end, uint64_t nonce) {
    struct tw_frame frame = {.body = TW_BODY_PING, .ping = {.nonce = nonce}};
    assert_int_equal(tw_lane_send(end->lane, &frame, NULL, NULL), TW_OK);
}

static void push(struct end *end, size_t bytes, size_t token) {
    struct tw_frame frame = {.body = TW_BODY_PUSH, .data_bytes = bytes};
    assert_int_equal(tw_lane_send(end->lane, &frame, data, (void *)token), TW_OK);
}

/* ---- */

static void each_lane_hears_what_is_said_on_it(void **state) {
    struct world *world = with_lanes(30);
    for (unsigned round = 0; round < 20; round++)
        for (unsigned i = 0; i < 30; i++) {
            ping(&world->a[i], 1000 * i + round);
            ping(&world->b[i], 1000 * i + 500 + round);
            if (round % 5 == 0)
                push(&world->a[i], 100 + 997 * i, round);
        }
    for (unsigned i = 0; i < 30; i++) {
        until(world, &world->b[i].frames, 2 + 24);
        until(world, &world->a[i].frames, 20);
        until(world, &world->a[i].releases, 4);
        uint64_t sum = 0;
        for (size_t at = 0; at < 100 + 997 * i; at++)
            sum += data[at];
        assert_int_equal(world->b[i].sum, 4 * sum);
        assert_int_equal(world->a[i].nonce[19], 1000 * i + 519);
        assert_int_equal(world->b[i].nonce[2], 1000 * i); /* behind Hello and Proof */
        assert_int_equal(world->b[i].nonce[4], 1000 * i + 1);
        for (unsigned round = 0; round < 20; round++)
            assert_int_equal(world->a[i].released[round], round % 5 == 0);
        assert_true(world->a[i].drained > 0);
        assert_true(world->a[i].bytes > 0 && world->a[i].bytes <= 20); /* once for each read */
    }
    free_world(world);
}

static void what_lanes_say_in_one_read_is_answered_in_one_write(void **state) {
    struct world *world = with_lanes(8);
    unsigned before[8];
    for (unsigned i = 0; i < 8; i++) {
        before[i] = world->b[i].bytes;
        ping(&world->a[i], i);
        ping(&world->a[i], i);
    }
    tw_lane_flush(world->a[3].lane);
    assert_int_equal(tw_lane_queued(world->a[5].lane), 0);
    for (unsigned i = 0; i < 8; i++) {
        until(world, &world->b[i].frames, 4);
        assert_int_equal(world->b[i].bytes, before[i] + 1);
    }
    free_world(world);
}

static void a_lane_waits_until_it_is_allowed(void **state) {
    struct world *world = new_world();
    connect_first(world, NULL);
    for (int i = 1; i < 5; i++)
        branch(world, i); /* it is not even connected */
    until(world, &world->b[0].frames, 2);
    assert_int_equal(world->a[1].opened + world->a[4].opened, 0);
    struct tw_frame frame = {.body = TW_BODY_PING};
    assert_int_equal(tw_lane_send(world->a[1].lane, &frame, NULL, NULL), TW_CLOSED);
    tw_trunk_allow(world->trunk, 3);         /* 0, 1 and 2 */
    assert_int_equal(world->a[1].opened, 0); /* never from inside */
    until(world, &world->b[2].frames, 2);
    until(world, &world->a[4].closed, 1);
    assert_int_equal(world->a[1].opened, 1);
    assert_int_equal(world->a[3].closed, 1);
    assert_int_equal(world->a[3].opened, 0);
    assert_int_equal(world->a[3].error.status, TW_AGAIN);
    assert_false(tw_trunk_can_branch(world->trunk));
    assert_int_equal(tw_lane_branch(&world->a[5].lane, world->trunk, &side_a, NULL, on_open, NULL),
                     TW_LIMIT);
    free_world(world);
}

static void lanes_that_wait_are_lost_with_the_first(void **state) {
    for (int how = 0; how < 2; how++) {
        struct world *world = new_world();
        struct sockaddr_storage nobody = world->address;
        if (how == 0) { /* a port that nobody listens on: that of a socket that was closed */
            uv_tcp_t other;
            bool initialised;
            ((struct sockaddr_in *)&nobody)->sin_port = 0;
            assert_int_equal(tw_listen(&other, &world->loop, (struct sockaddr *)&nobody, 1,
                                       on_connection, &initialised, NULL),
                             TW_OK);
            assert_int_equal(tw_listen_address(&other, &nobody, NULL), TW_OK);
            uv_close((uv_handle_t *)&other, NULL);
            uv_run(&world->loop, UV_RUN_NOWAIT);
        }
        connect_first(world, (struct sockaddr *)&nobody);
        branch(world, 1);
        if (how == 1)
            tw_lane_close(world->a[0].lane);
        until(world, &world->a[1].closed, 1);
        assert_int_equal(world->a[1].error.status, how == 0 ? TW_UNREACHABLE : TW_AGAIN);
        assert_int_equal(world->a[1].opened, 0);
        until(world, &world->a[0].closed, 1);
        free_world(world);
    }
}

static void a_lane_that_is_closed_takes_no_other_with_it(void **state) {
    struct world *world = with_lanes(4);
    tw_lane_close(world->a[0].lane); /* also the first may go */
    tw_lane_close(world->b[2].lane);
    assert_int_equal(world->a[0].closed, 0);
    ping(&world->a[2], 7); /* crosses the other side's farewell, and is thrown away */
    until(world, &world->b[0].closed, 1);
    until(world, &world->a[2].closed, 1);
    until(world, &world->a[0].closed, 1);
    until(world, &world->b[2].closed, 1);
    assert_int_equal(world->b[0].error.status, TW_CLOSED);
    assert_string_equal(world->b[0].error.text, "the peer closed the connection");
    assert_string_equal(world->a[0].error.text, "closed by this side");
    ping(&world->a[1], 8);
    ping(&world->b[3], 9);
    until(world, &world->b[1].frames, 3);
    until(world, &world->a[3].frames, 1);
    assert_int_equal(tw_trunk_lanes(world->trunk), 2);
    branch(world, 4); /* with a number of its own */
    until(world, &world->b[4].frames, 2);
    free_world(world);
}

static void the_last_lane_closes_the_connection(void **state) {
    struct world *world = with_lanes(3);
    for (int i = 2; i >= 0; i--)
        tw_lane_close(world->a[i].lane);
    for (int i = 0; i < 3; i++) {
        until(world, &world->a[i].closed, 1);
        until(world, &world->b[i].closed, 1);
    }
    while (world->trunk != NULL)
        uv_run(&world->loop, UV_RUN_ONCE);
    free_world(world);
}

static void a_refusal_ends_one_lane(void **state) {
    struct world *world = with_lanes(3);
    world->b[1].refuses = true;
    ping(&world->a[1], 1);
    until(world, &world->a[1].closed, 1);
    assert_int_equal(world->a[1].refused, TW_MALFORMED);
    until(world, &world->b[1].closed, 1);
    assert_int_equal(world->b[1].error.status, TW_MALFORMED);
    assert_string_equal(world->b[1].error.text, "not to my taste");
    ping(&world->a[0], 1);
    until(world, &world->b[0].frames, 3);
    assert_int_equal(world->a[0].closed + world->a[2].closed + world->b[2].closed, 0);
    free_world(world);
}

/* Of a last lane the Refuse arrives as well, and then the connection is over. */
static void a_refusal_of_the_last_lane_is_heard(void **state) {
    struct world *world = with_lanes(2);
    tw_lane_close(world->a[0].lane);
    until(world, &world->b[0].closed, 1);
    world->b[1].refuses = true;
    ping(&world->a[1], 1);
    until(world, &world->a[1].closed, 1);
    assert_int_equal(world->a[1].refused, TW_MALFORMED);
    until(world, &world->b[1].closed, 1);
    assert_int_equal(world->b[1].error.status, TW_MALFORMED);
    free_world(world);
}

/* The memory that was given for them is freed in on_closed. */
static void tensor_bytes_of_a_lane_that_is_over_are_thrown_away(void **state) {
    struct world *world = with_lanes(3);
    for (size_t i = 0; i < 8; i++)
        push(&world->a[1], DATA_BYTES, i);
    ping(&world->a[2], 1);
    while (world->b[1].place == NULL)
        uv_run(&world->loop, UV_RUN_ONCE);
    tw_lane_close(world->b[1].lane);
    until(world, &world->b[2].frames, 3);
    until(world, &world->a[1].closed, 1);
    assert_int_equal(world->b[1].closed, 1);
    assert_int_equal(world->a[1].releases, 8);
    free_world(world);
}

static void a_lane_may_close_while_it_is_asked_for_a_place(void **state) {
    struct world *world = with_lanes(2);
    world->b[1].shuts = true;
    push(&world->a[1], DATA_BYTES, 0);
    until(world, &world->a[1].closed, 1);
    assert_int_equal(world->b[1].frames, 2);
    ping(&world->a[0], 1);
    until(world, &world->b[0].frames, 3);
    free_world(world);
}

static void who_waits_holds_up_the_others_until_it_goes_on_or_is_closed(void **state) {
    for (int closes = 0; closes < 2; closes++) {
        struct world *world = with_lanes(2);
        world->b[0].blocked = true;
        push(&world->a[0], DATA_BYTES, 0);
        ping(&world->a[1], 1);
        until(world, &world->b[0].again, 1);
        tw_lane_resume(world->b[0].lane); /* still blocked */
        until(world, &world->b[0].again, 2);
        assert_int_equal(world->b[1].frames, 2);
        world->b[0].blocked = false;
        if (closes)
            tw_lane_close(world->b[0].lane);
        else
            tw_lane_resume(world->b[0].lane);
        until(world, &world->b[1].frames, 3);
        assert_int_equal(world->b[0].frames, closes ? 2 : 3);
        free_world(world);
    }
}

static void only_its_own_bytes_are_taken_back(void **state) {
    enum { PUSHES = 25 };
    struct world *world = with_lanes(2);
    world->b[0].blocked = true;
    for (size_t i = 0; i < PUSHES; i++) {
        push(&world->a[0], DATA_BYTES, i);
        push(&world->a[1], DATA_BYTES, i);
    }
    until(world, &world->b[0].again, 1);
    unsigned left = world->a[0].releases;
    tw_lane_drop_data(world->a[1].lane);
    assert_true(world->a[1].releases >= PUSHES - 1); /* one may be half gone */
    assert_int_equal(world->a[0].releases, left);
    world->b[0].blocked = false;
    tw_lane_resume(world->b[0].lane);
    until(world, &world->b[0].frames, 2 + PUSHES);
    until(world, &world->a[1].releases, PUSHES);
    assert_int_equal(world->a[0].releases, PUSHES);
    assert_true(world->b[1].frames < 2 + PUSHES);
    free_world(world);
}

static void with_the_connection_all_are_lost(void **state) {
    struct world *world = with_lanes(3);
    struct tw_frame garbage = {.body = TW_BODY_PUSH, .data_bytes = TW_FRAME_BYTES_MAX};
    unsigned char *much = calloc(1, TW_FRAME_BYTES_MAX);
    assert_int_equal(tw_lane_send(world->a[1].lane, &garbage, much, NULL), TW_OK);
    for (int i = 0; i < 3; i++) {
        until(world, &world->b[i].closed, 1);
        until(world, &world->a[i].closed, 1);
        assert_int_equal(world->b[i].error.status, TW_LIMIT);
        assert_int_equal(world->a[i].error.status, TW_CLOSED);
    }
    free(much);
    free_world(world);
}

/* ---- a peer that says what it likes ---- */

struct stranger {
    struct tw_connection *connection;
    unsigned closed;
    char refusal[TW_ERROR_TEXT];
};

static enum tw_status stranger_data(struct tw_connection *connection, const struct tw_frame *frame,
                                    void **place, struct tw_error *error) {
    return TW_OK;
}

static enum tw_status stranger_frame(struct tw_connection *connection, const struct tw_frame *frame,
                                     void *bytes, struct tw_error *error) {
    struct stranger *stranger = tw_connection_context(connection);
    if (frame->body == TW_BODY_REFUSE)
        memcpy(stranger->refusal, frame->refuse.text.bytes, frame->refuse.text.size);
    return TW_OK;
}

static void stranger_open(struct tw_connection *connection, enum tw_status status,
                          const struct tw_error *error) {
    assert_int_equal(status, TW_OK);
}

static void stranger_closed(struct tw_connection *connection, const struct tw_error *error) {
    struct stranger *stranger = tw_connection_context(connection);
    stranger->closed++;
    tw_connection_free(connection);
}

static const struct tw_connection_events strange = {
    .on_data = stranger_data, .on_frame = stranger_frame, .on_closed = stranger_closed};

/* Says Hello and, if it `proves`, Proof on lane 0, then `frame`; with what it is refused. */
static void expect_refusal(bool proves, uint32_t allowed, struct tw_frame frame, const char *why) {
    struct world *world = new_world();
    struct stranger stranger = {0};
    uint8_t nonce[TW_NONCE_BYTES] = {0};
    struct tw_frame hello = {.body = TW_BODY_HELLO, .hello = {1, 1, {nonce, sizeof(nonce)}}};
    struct tw_frame proof = {.body = TW_BODY_PROOF};
    world->allowed = allowed;
    assert_int_equal(tw_connection_new(&stranger.connection, &world->host, &strange, &stranger),
                     TW_OK);
    tw_connection_limit(stranger.connection, TW_FRAME_BYTES_MAX, true);
    assert_int_equal(tw_connection_connect(stranger.connection, (struct sockaddr *)&world->address,
                                           stranger_open, NULL),
                     TW_OK);
    tw_connection_send(stranger.connection, &hello, NULL, NULL);
    if (proves)
        tw_connection_send(stranger.connection, &proof, NULL, NULL);
    tw_connection_send(stranger.connection, &frame, data, NULL);
    until(world, &stranger.closed, 1);
    assert_non_null(strstr(stranger.refusal, why));
    until(world, &world->b[0].closed, 1);
    free_world(world);
}

static void lanes_that_may_not_be_are_refused_by_name(void **state) {
    uint8_t nonce[TW_NONCE_BYTES] = {1};
    struct tw_frame frame = {.body = TW_BODY_HELLO, .hello = {1, 1, {nonce, sizeof(nonce)}}};
    frame.lane = 1;
    expect_refusal(false, 8, frame, "a Hello frame on lane 1, which nobody has opened");
    expect_refusal(true, 1, frame, "lane 1 of a connection; it may have 0 to 0");
    frame.lane = UINT32_MAX;
    expect_refusal(true, 8, frame, "lane 4294967295 of a connection; it may have 0 to 7");
    frame.lane = 7;
    frame.body = TW_BODY_PUSH;
    frame.data_bytes = 100;
    expect_refusal(true, 8, frame, "a Push frame on lane 7, which nobody has opened");
    expect_refusal(false, 8, (struct tw_frame){.body = TW_BODY_PUSH, .data_bytes = 100},
                   "100 tensor bytes where none are allowed");
}

static int fill_data(void **state) {
    for (size_t i = 0; i < DATA_BYTES; i++)
        data[i] = (unsigned char)(i * 11 + i / 241);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_lane_hears_what_is_said_on_it),
        cmocka_unit_test(what_lanes_say_in_one_read_is_answered_in_one_write),
        cmocka_unit_test(a_lane_waits_until_it_is_allowed),
        cmocka_unit_test(lanes_that_wait_are_lost_with_the_first),
        cmocka_unit_test(a_lane_that_is_closed_takes_no_other_with_it),
        cmocka_unit_test(the_last_lane_closes_the_connection),
        cmocka_unit_test(a_refusal_ends_one_lane),
        cmocka_unit_test(a_refusal_of_the_last_lane_is_heard),
        cmocka_unit_test(tensor_bytes_of_a_lane_that_is_over_are_thrown_away),
        cmocka_unit_test(a_lane_may_close_while_it_is_asked_for_a_place),
        cmocka_unit_test(who_waits_holds_up_the_others_until_it_goes_on_or_is_closed),
        cmocka_unit_test(only_its_own_bytes_are_taken_back),
        cmocka_unit_test(with_the_connection_all_are_lost),
        cmocka_unit_test(lanes_that_may_not_be_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, fill_data, NULL);
}
