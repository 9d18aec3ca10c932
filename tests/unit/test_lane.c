/* Lanes: conversations over one connection that do not disturb each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/listen.h"
#include "tests/lib/lane_world.h"

static void each_lane_hears_what_is_said_on_it(void **state) {
    struct lane_world *world = lane_world_with(30);
    for (unsigned round = 0; round < 20; round++)
        for (unsigned i = 0; i < 30; i++) {
            lane_ping(&world->a[i], 1000 * i + round);
            lane_ping(&world->b[i], 1000 * i + 500 + round);
            if (round % 5 == 0)
                lane_push(&world->a[i], 100 + 997 * i, round);
        }
    for (unsigned i = 0; i < 30; i++) {
        lane_until(world, &world->b[i].frames, 2 + 24);
        lane_until(world, &world->a[i].frames, 20);
        lane_until(world, &world->a[i].releases, 4);
        uint64_t sum = 0;
        for (size_t at = 0; at < 100 + 997 * i; at++)
            sum += lane_data[at];
        assert_int_equal(world->b[i].sum, 4 * sum);
        assert_int_equal(world->a[i].nonce[19], 1000 * i + 519);
        assert_int_equal(world->b[i].nonce[2], 1000 * i); /* behind Hello and Proof */
        assert_int_equal(world->b[i].nonce[4], 1000 * i + 1);
        for (unsigned round = 0; round < 20; round++)
            assert_int_equal(world->a[i].released[round], round % 5 == 0);
        assert_true(world->a[i].drained > 0);
    }
    lane_world_free(world);
}

static void what_lanes_say_in_one_read_is_answered_in_one_write(void **state) {
    struct lane_world *world = lane_world_with(8);
    for (unsigned i = 0; i < 8; i++) {
        world->b[i].answers = true;
        lane_ping(&world->a[i], i);
        lane_ping(&world->a[i], i);
        assert_int_equal(tw_lane_frames(world->a[7].lane), 2 * i + 2);
    }
    tw_lane_flush(world->a[3].lane);
    assert_int_equal(tw_lane_queued(world->a[5].lane), 0);
    assert_int_equal(tw_lane_frames(world->a[5].lane), 0);
    for (unsigned i = 0; i < 8; i++) {
        lane_until(world, &world->b[i].frames, 4);
        lane_until(world, &world->a[i].frames, 2);
    }
    lane_world_free(world);
}

static void a_read_and_what_leaves_together_are_one_moment_for_all_lanes(void **state) {
    struct lane_world *world = lane_world_with(8);
    unsigned of_a = world->moments_of_a, of_b = world->moments_of_b, drained[8];
    for (unsigned i = 0; i < 8; i++) {
        drained[i] = world->a[i].drained;
        lane_ping(&world->a[i], i);
    }
    tw_lane_flush(world->a[3].lane);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(world->a[i].drained, drained[i] + 1);
    assert_int_equal(world->moments_of_a, of_a + 1);
    lane_until(world, &world->b[7].frames, 3);
    assert_int_equal(world->moments_of_b, of_b + 1);
    lane_ping(&world->a[1], 1);
    lane_until(world, &world->b[1].frames, 4);
    assert_int_equal(world->moments_of_b, of_b + 2); /* another read */
    lane_world_free(world);
}

static void a_lane_waits_until_it_is_allowed(void **state) {
    struct lane_world *world = lane_world_new();
    lane_connect_first(world, NULL);
    for (int i = 1; i < 5; i++)
        lane_branch_to(world, i); /* it is not even connected */
    lane_until(world, &world->b[0].frames, 2);
    assert_int_equal(world->a[1].opened + world->a[4].opened, 0);
    struct tw_frame frame = {.body = TW_BODY_PING};
    assert_int_equal(tw_lane_send(world->a[1].lane, &frame, NULL, NULL), TW_CLOSED);
    tw_trunk_allow(world->trunk, 3);         /* 0, 1 and 2 */
    assert_int_equal(world->a[1].opened, 0); /* never from inside */
    lane_until(world, &world->b[2].frames, 2);
    lane_until(world, &world->a[4].closed, 1);
    assert_int_equal(world->a[1].opened, 1);
    assert_int_equal(world->a[3].closed, 1);
    assert_int_equal(world->a[3].opened, 0);
    assert_int_equal(world->a[3].error.status, TW_AGAIN);
    assert_false(tw_trunk_can_branch(world->trunk));
    assert_int_equal(
        tw_lane_branch(&world->a[5].lane, world->trunk, &lane_side_a, NULL, lane_on_open, NULL),
        TW_LIMIT);
    lane_world_free(world);
}

static void nobody_comes(uv_stream_t *listener, int code) {
    fail();
}

static void lanes_that_wait_are_lost_with_the_first(void **state) {
    for (int how = 0; how < 2; how++) {
        struct lane_world *world = lane_world_new();
        struct sockaddr_storage nobody = world->address;
        if (how == 0) { /* a port that nobody listens on: that of a socket that was closed */
            uv_tcp_t other;
            bool initialised;
            ((struct sockaddr_in *)&nobody)->sin_port = 0;
            assert_int_equal(tw_listen(&other, &world->loop, (struct sockaddr *)&nobody, 1,
                                       nobody_comes, &initialised, NULL),
                             TW_OK);
            assert_int_equal(tw_listen_address(&other, &nobody, NULL), TW_OK);
            uv_close((uv_handle_t *)&other, NULL);
            uv_run(&world->loop, UV_RUN_NOWAIT);
        }
        lane_connect_first(world, (struct sockaddr *)&nobody);
        lane_branch_to(world, 1);
        if (how == 1)
            tw_lane_close(world->a[0].lane);
        lane_until(world, &world->a[1].closed, 1);
        assert_int_equal(world->a[1].error.status, how == 0 ? TW_UNREACHABLE : TW_AGAIN);
        assert_int_equal(world->a[1].opened, 0);
        lane_until(world, &world->a[0].closed, 1);
        lane_world_free(world);
    }
}

static void a_lane_that_is_closed_takes_no_other_with_it(void **state) {
    struct lane_world *world = lane_world_with(4);
    tw_lane_close(world->a[0].lane); /* also the first may go */
    tw_lane_close(world->b[2].lane);
    assert_int_equal(world->a[0].closed, 0);
    lane_ping(&world->a[2], 7); /* crosses the other side's farewell, and is thrown away */
    lane_until(world, &world->b[0].closed, 1);
    lane_until(world, &world->a[2].closed, 1);
    lane_until(world, &world->a[0].closed, 1);
    lane_until(world, &world->b[2].closed, 1);
    assert_int_equal(world->b[0].error.status, TW_CLOSED);
    assert_string_equal(world->b[0].error.text, "the peer closed the connection");
    assert_string_equal(world->a[0].error.text, "closed by this side");
    lane_ping(&world->a[1], 8);
    lane_ping(&world->b[3], 9);
    lane_until(world, &world->b[1].frames, 3);
    lane_until(world, &world->a[3].frames, 1);
    lane_branch_to(world, 4); /* with a number of its own */
    lane_until(world, &world->b[4].frames, 2);
    lane_world_free(world);
}

static void the_last_lane_closes_the_connection(void **state) {
    struct lane_world *world = lane_world_with(3);
    for (int i = 2; i >= 0; i--)
        tw_lane_close(world->a[i].lane);
    for (int i = 0; i < 3; i++) {
        lane_until(world, &world->a[i].closed, 1);
        lane_until(world, &world->b[i].closed, 1);
    }
    lane_world_free(world); /* the trunk, too */
}

/* Both sides hear of it, and why. */
static void refuse_a_ping(struct lane_world *world, int i) {
    world->b[i].refuses = true;
    lane_ping(&world->a[i], 1);
    lane_until(world, &world->a[i].closed, 1);
    assert_int_equal(world->a[i].refused, TW_MALFORMED);
    lane_until(world, &world->b[i].closed, 1);
    assert_int_equal(world->b[i].error.status, TW_MALFORMED);
    assert_string_equal(world->b[i].error.text, "not to my taste");
}

static void a_refusal_ends_one_lane(void **state) {
    struct lane_world *world = lane_world_with(3);
    refuse_a_ping(world, 1);
    lane_ping(&world->a[0], 1);
    lane_until(world, &world->b[0].frames, 3);
    assert_int_equal(world->a[0].closed + world->a[2].closed + world->b[2].closed, 0);
    lane_world_free(world);
}

/* Of a last lane the Refuse arrives as well, and then the connection is over. */
static void a_refusal_of_the_last_lane_is_heard(void **state) {
    struct lane_world *world = lane_world_with(2);
    tw_lane_close(world->a[0].lane);
    lane_until(world, &world->b[0].closed, 1);
    refuse_a_ping(world, 1);
    lane_world_free(world);
}

/* The memory that was given for them is freed in on_closed. */
static void tensor_bytes_of_a_lane_that_is_over_are_thrown_away(void **state) {
    struct lane_world *world = lane_world_with(3);
    for (size_t i = 0; i < 8; i++)
        lane_push(&world->a[1], LARGE_BYTES, i);
    lane_ping(&world->a[2], 1);
    while (world->b[1].place == NULL)
        uv_run(&world->loop, UV_RUN_ONCE);
    tw_lane_close(world->b[1].lane);
    lane_until(world, &world->b[2].frames, 3);
    lane_until(world, &world->a[1].closed, 1);
    assert_int_equal(world->b[1].closed, 1);
    assert_int_equal(world->a[1].releases, 8);
    lane_world_free(world);
}

static void a_lane_may_close_while_it_is_asked_for_a_place(void **state) {
    struct lane_world *world = lane_world_with(2);
    world->b[1].shuts = true;
    lane_push(&world->a[1], DATA_BYTES, 0);
    lane_until(world, &world->a[1].closed, 1);
    assert_int_equal(world->b[1].frames, 2);
    lane_ping(&world->a[0], 1);
    lane_until(world, &world->b[0].frames, 3);
    lane_world_free(world);
}

static void who_waits_holds_up_the_others_until_it_goes_on_or_is_closed(void **state) {
    for (int closes = 0; closes < 2; closes++) {
        struct lane_world *world = lane_world_with(2);
        world->b[0].blocked = true;
        lane_push(&world->a[0], DATA_BYTES, 0);
        lane_ping(&world->a[1], 1);
        lane_until(world, &world->b[0].again, 1);
        tw_lane_resume(world->b[0].lane); /* still blocked */
        lane_until(world, &world->b[0].again, 2);
        assert_int_equal(world->b[1].frames, 2);
        world->b[0].blocked = false;
        if (closes)
            tw_lane_close(world->b[0].lane);
        else
            tw_lane_resume(world->b[0].lane);
        lane_until(world, &world->b[1].frames, 3);
        assert_int_equal(world->b[0].frames, closes ? 2 : 3);
        lane_world_free(world);
    }
}

static void only_its_own_bytes_are_taken_back(void **state) {
    enum { PUSHES = 25 };
    struct lane_world *world = lane_world_with(2);
    world->b[0].blocked = true;
    for (size_t i = 0; i < PUSHES; i++) {
        lane_push(&world->a[0], DATA_BYTES, i);
        lane_push(&world->a[1], DATA_BYTES, i);
    }
    lane_until(world, &world->b[0].again, 1);
    unsigned left = world->a[0].releases;
    tw_lane_drop_data(world->a[1].lane);
    assert_true(world->a[1].releases >= PUSHES - 1); /* one may be half gone */
    assert_int_equal(world->a[0].releases, left);
    world->b[0].blocked = false;
    tw_lane_resume(world->b[0].lane);
    lane_until(world, &world->b[0].frames, 2 + PUSHES);
    lane_until(world, &world->a[1].releases, PUSHES);
    assert_int_equal(world->a[0].releases, PUSHES);
    assert_true(world->b[1].frames < 2 + PUSHES);
    lane_world_free(world);
}

static void with_the_connection_all_are_lost(void **state) {
    struct lane_world *world = lane_world_with(3);
    struct tw_frame garbage = {.body = TW_BODY_PUSH, .data_bytes = TW_FRAME_BYTES_MAX};
    unsigned char *much = calloc(1, TW_FRAME_BYTES_MAX);
    assert_int_equal(tw_lane_send(world->a[1].lane, &garbage, much, NULL), TW_OK);
    for (int i = 0; i < 3; i++) {
        lane_until(world, &world->b[i].closed, 1);
        lane_until(world, &world->a[i].closed, 1);
        assert_int_equal(world->b[i].error.status, TW_LIMIT);
        assert_int_equal(world->a[i].error.status, TW_CLOSED);
    }
    free(much);
    lane_world_free(world);
}

/* ---- bounds ---- */

static struct lane_world *bounded(size_t queue_bytes, int lanes) {
    struct lane_world *world = lane_world_new();
    world->host.send_queue_bytes_max = queue_bytes;
    lane_connect_first(world, NULL);
    lane_until(world, &world->b[0].frames, 2);
    tw_trunk_allow(world->trunk, TW_LANES_MAX);
    for (int i = 1; i < lanes; i++) {
        lane_branch_to(world, i);
        lane_until(world, &world->b[i].frames, 2);
    }
    return world;
}

/* Each may have as much in the queue as a connection of its own might. */
static void the_queue_is_bounded_for_each_lane(void **state) {
    struct tw_frame frame = {.body = TW_BODY_PUSH, .data_bytes = LARGE_BYTES};
    for (int lanes = 1; lanes <= 3; lanes += 2) {
        struct lane_world *world = bounded(2 * LARGE_BYTES + 4096, lanes);
        int taken = 0;
        while (tw_lane_send(world->a[taken % lanes].lane, &frame, lane_data, NULL) == TW_OK)
            taken++;
        assert_int_equal(taken, 2 * lanes);
        for (int i = 0; i < lanes; i++) {
            lane_until(world, &world->a[i].closed, 1);
            assert_int_equal(world->a[i].error.status, TW_LIMIT);
        }
        lane_world_free(world);
    }
}

static void who_awaits_it_is_told_when_the_queue_is_empty(void **state) {
    struct lane_world *world = lane_world_with(3);
    unsigned before = world->a[2].drained;
    lane_push(&world->a[0], LARGE_BYTES, 0);
    tw_lane_await_drain(world->a[2].lane);
    lane_until(world, &world->a[2].drained, before + 1);
    assert_int_equal(tw_lane_queued(world->a[0].lane), 0);
    before = world->a[2].drained;
    lane_push(&world->a[0], LARGE_BYTES, 1);
    lane_until(world, &world->b[0].frames, 4);
    assert_int_equal(world->a[2].drained, before); /* once for each time that it asks */
    lane_world_free(world);
}

/* Its peer never takes the rest of a frame that has begun. */
static void a_lane_that_cannot_end_ends_the_connection(void **state) {
    struct lane_world *world = lane_world_new();
    world->host.finish_ms = 1;
    lane_connect_first(world, NULL);
    lane_until(world, &world->b[0].frames, 2);
    tw_trunk_allow(world->trunk, TW_LANES_MAX);
    lane_branch_to(world, 1);
    lane_until(world, &world->b[1].frames, 2);
    world->b[1].blocked = true;
    for (size_t i = 0; i < 8; i++)
        lane_push(&world->a[1], LARGE_BYTES, i);
    lane_until(world, &world->b[1].again, 1);
    while (world->a[1].lane && tw_lane_is_writing(world->a[1].lane) == false)
        uv_run(&world->loop, UV_RUN_ONCE);
    tw_lane_close(world->a[1].lane);
    lane_until(world, &world->a[1].closed, 1);
    lane_until(world, &world->a[0].closed, 1);
    assert_int_equal(world->a[1].releases, 8);
    lane_world_free(world);
}

static void close_at_once(struct tw_lane *lane, enum tw_status status,
                          const struct tw_error *error) {
    tw_lane_close(lane);
}

/* The peer has never heard of it, and does not now. */
static void a_lane_that_said_nothing_ends_without_a_word(void **state) {
    struct lane_world *world = lane_world_with(2);
    struct lane_end *end = &world->a[2];
    end->world = world;
    assert_int_equal(
        tw_lane_branch(&end->lane, world->trunk, &lane_side_a, end, close_at_once, NULL), TW_OK);
    lane_until(world, &end->closed, 1);
    lane_ping(&world->a[0], 1);
    lane_until(world, &world->b[0].frames, 3);
    assert_int_equal(world->b[0].closed + world->b[1].closed, 0);
    lane_world_free(world);
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
    struct lane_world *world = lane_world_new();
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
    tw_connection_send(stranger.connection, &frame, lane_data, NULL);
    lane_until(world, &stranger.closed, 1);
    assert_non_null(strstr(stranger.refusal, why));
    lane_world_free(world);
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
    lane_fill_data();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_lane_hears_what_is_said_on_it),
        cmocka_unit_test(what_lanes_say_in_one_read_is_answered_in_one_write),
        cmocka_unit_test(a_read_and_what_leaves_together_are_one_moment_for_all_lanes),
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
        cmocka_unit_test(the_queue_is_bounded_for_each_lane),
        cmocka_unit_test(who_awaits_it_is_told_when_the_queue_is_empty),
        cmocka_unit_test(a_lane_that_cannot_end_ends_the_connection),
        cmocka_unit_test(a_lane_that_said_nothing_ends_without_a_word),
        cmocka_unit_test(lanes_that_may_not_be_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, fill_data, NULL);
}
