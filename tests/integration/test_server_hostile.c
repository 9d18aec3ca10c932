/* Peers that do everything wrong, at every state of a connection. They harm only
 * themselves: after each attack a good worker makes an update, and in the end the
 * weights are exactly those of its gradients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/scripted_peer.h"
#include "tests/integration/server_child.h"

static struct server_child server;
static struct actor good, bad;
static float expected[MODEL_ELEMENTS];

static int begin(void **state) {
    memset(expected, 0, sizeof(expected));
    good = bad = (struct actor){0};
    return 0;
}

static int end(void **state) {
    server_discard(&server);
    actor_lose(&good);
    actor_lose(&bad);
    return 0;
}

/* A run of rank 0, with a rank 1 that joined once. */
static void start(int updates, struct server_script script) {
    script.mode = "async";
    script.workers = 2;
    script.updates = updates;
    server_start(&server, &script);
    good.token = script.token;
    bad.token = script.token;
    actor_join(&good, server.port, 0);
    actor_join(&bad, server.port, 1);
    server_await(&server, TW_REPORT_STARTED);
}

static void good_update(void) {
    actor_take(&good);
    assert_memory_equal(good.weights, expected, sizeof(expected));
    actor_push(&good);
    model_update(expected, 0.5f, 0, 0, good.step);
}

static void finish(void) {
    good_update();
    actor_leave(&good, TW_OK);
    actor_lose(&bad);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_check_model(&server, expected);
    server_clean(&server);
}

/* ---- states of a connection ---- */

enum stage { CONNECTED, GREETED, KNOWN, CONTROL, BULK, STAGES };

/* A connection in this state; for the last two, rank 1 is taken over. */
static struct peer *reach(enum stage stage) {
    if (stage >= CONTROL) {
        const char *token = bad.token;
        actor_lose(&bad);
        server_await(&server, TW_REPORT_LEFT);
        bad.token = token;
        actor_join(&bad, server.port, 1);
        actor_take(&bad);
        return stage == CONTROL ? bad.control : bad.bulk;
    }
    struct peer *peer = peer_connect(server.port);
    if (stage >= GREETED)
        peer_hello(peer);
    if (stage == GREETED)
        peer_expect(peer, TW_BODY_CHALLENGE);
    if (stage == KNOWN)
        peer_prove(peer, bad.token);
    return peer;
}

static void let_go(struct peer *peer) {
    if (peer != bad.control && peer != bad.bulk)
        peer_close(peer);
}

static void no_varint(struct peer *peer) {
    peer_send_bytes(peer, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
}
static void a_web_browser(struct peer *peer) {
    peer_send_bytes(peer, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n", 49);
}
static void a_wrong_type(struct peer *peer) {
    peer_send_bytes(peer, "\x02\x08\x01", 3); /* field 1 as a number */
}
static void a_giant_frame(struct peer *peer) {
    peer_send_bytes(peer, "\x80\x80\x80\x80\x10", 5); /* 4 GiB will follow, it says */
}
static void a_server_s_frame(struct peer *peer) {
    peer_send(peer, &(struct tw_frame){.body = TW_BODY_WELCOME}, NULL);
}
static void data_in_a_ping(struct peer *peer) {
    peer_send(peer, &(struct tw_frame){.body = TW_BODY_PING, .data_bytes = 8}, "12345678");
}

static void garbage_at_every_state_ends_only_that_connection(void **state) {
    static const struct {
        void (*attack)(struct peer *);
        enum tw_status status;
    } attacks[] = {{no_varint, TW_MALFORMED},         {a_web_browser, TW_OK},
                   {a_wrong_type, TW_MALFORMED},      {a_giant_frame, TW_LIMIT},
                   {a_server_s_frame, TW_UNEXPECTED}, {data_in_a_ping, TW_UNEXPECTED}};
    enum { ATTACKS = sizeof attacks / sizeof *attacks };
    start(STAGES * ATTACKS + 1, (struct server_script){0});
    for (int stage = CONNECTED; stage < STAGES; stage++)
        for (int i = 0; i < ATTACKS; i++) {
            struct peer *peer = reach((enum stage)stage);
            attacks[i].attack(peer);
            const struct heard *heard;
            while ((heard = peer_hear(peer)) && heard->frame.body != TW_BODY_REFUSE)
                assert_int_equal(heard->frame.body, TW_BODY_CHALLENGE);
            assert_non_null(heard);
            if (attacks[i].status != TW_OK && heard->frame.refuse.status != attacks[i].status)
                fail_msg("state %d, attack %d: %s: %s", stage, i,
                         (const char *)heard->frame.refuse.name.bytes,
                         (const char *)heard->frame.refuse.text.bytes);
            assert_null(peer_hear(peer));
            let_go(peer);
            good_update();
        }
    finish();
}

/* A frame that fits the state, cut off after some bytes. */
static void send_half(struct peer *peer, enum stage stage) {
    static const unsigned char zeros[TW_CHUNK_BYTES_DEFAULT];
    unsigned char bytes[1024];
    struct tw_frame frame = {.body = TW_BODY_PING, .ping.nonce = 1234567};
    if (stage == CONNECTED) {
        frame = (struct tw_frame){.body = TW_BODY_HELLO};
        frame.hello.nonce = (struct tw_view){zeros, TW_NONCE_BYTES};
    } else if (stage == GREETED) {
        frame = (struct tw_frame){.body = TW_BODY_PROOF};
        frame.proof.proof = (struct tw_view){zeros, TW_PROOF_BYTES};
    } else if (stage == KNOWN) {
        frame = join_frame(0);
    } else if (stage == BULK) {
        frame = (struct tw_frame){.body = TW_BODY_PUSH, .data_bytes = TW_CHUNK_BYTES_DEFAULT};
        frame.push.slot = 1;
        frame.push.incarnation = bad.incarnation;
        frame.push.step = bad.step;
    }
    size_t size = tw_frame_encode(&frame, bytes, sizeof(bytes));
    peer_send_bytes(peer, bytes, stage == BULK ? size : size - 1);
    if (stage == BULK)
        peer_send_bytes(peer, zeros, sizeof(zeros) / 2);
}

static void half_a_frame_and_gone_is_forgotten(void **state) {
    start(2 * STAGES + 1, (struct server_script){0});
    for (int stage = CONNECTED; stage < STAGES; stage++) {
        struct peer *peer = reach((enum stage)stage);
        send_half(peer, (enum stage)stage);
        good_update(); /* while it lies there */
        if (stage < CONTROL)
            peer_close(peer);
        else
            actor_lose(&bad);
        if (stage == CONTROL)
            actor_join(&bad, server.port, 1); /* for the next */
        good_update();
    }
    finish();
}

static void pushes_that_lie_are_refused_by_name(void **state) {
    enum { LIES = 8 };
    start(LIES + 1, (struct server_script){0});
    for (int lie = 0; lie < LIES; lie++) {
        static const float zeros[CHUNK_FLOATS];
        struct peer *peer = reach(BULK);
        struct tw_frame push = {.body = TW_BODY_PUSH, .data_bytes = TW_CHUNK_BYTES_DEFAULT};
        struct tw_frame stop = {.body = TW_BODY_END};
        push.push.slot = stop.end.slot = 1;
        push.push.incarnation = stop.end.incarnation = bad.incarnation;
        push.push.step = stop.end.step = bad.step;
        stop.end.read = bad.position;
        stop.end.frames = MODEL_CHUNKS;
        stop.end.examples = 1;
        enum tw_status status = TW_UNEXPECTED;
        if (lie == 0)
            push.push.slot = 0; /* another's */
        else if (lie == 1)
            push.push.incarnation++;
        else if (lie == 2)
            push.push.step++;
        else if (lie == 3)
            push.push.chunk = MODEL_CHUNKS, status = TW_MALFORMED;
        else if (lie == 4)
            push.data_bytes -= 4, status = TW_MALFORMED;
        else if (lie == 5)
            stop.end.read++;
        else if (lie == 6)
            stop.end.frames--, status = TW_MALFORMED;
        else
            stop.end.examples = 0, status = TW_MALFORMED;
        if (lie < 5)
            peer_send(peer, &push, zeros);
        else
            peer_send(peer, &stop, NULL);
        peer_expect_refuse(peer, status);
        good_update();
    }
    finish();
}

static void a_liar_s_rank_is_free_at_once(void **state) {
    start(2, (struct server_script){0});
    struct tw_frame frame = {.body = TW_BODY_PING};
    peer_send(bad.bulk, &frame, NULL);
    peer_expect(bad.bulk, TW_BODY_WEIGHTS);
    struct actor liar = bad; /* which does not close its side */
    actor_join(&bad, server.port, 1);
    assert_int_equal(bad.incarnation, 2);
    actor_lose(&liar);
    good_update();
    finish();
}

static void a_hello_has_at_most_a_kilobyte(void **state) {
    static char software[TW_HELLO_BYTES_MAX];
    memset(software, 's', sizeof(software));
    start(1, (struct server_script){0});
    struct peer *peer = peer_connect(server.port);
    struct tw_frame hello = {.body = TW_BODY_HELLO};
    hello.hello.protocol_min = hello.hello.protocol_max = TW_PROTOCOL_MAX;
    hello.hello.nonce = (struct tw_view){peer->nonce, TW_NONCE_BYTES};
    hello.hello.software = (struct tw_view){software, sizeof(software)};
    peer_send(peer, &hello, NULL);
    peer_expect_refuse(peer, TW_LIMIT);
    peer_close(peer);
    finish();
}

/* ---- who may join ---- */

static void refused_join(const struct tw_frame *join, enum tw_status status, const char *part) {
    struct peer *peer = peer_connect(server.port);
    peer_hello(peer);
    peer_prove(peer, good.token);
    peer_send(peer, join, NULL);
    const char *text = peer_expect_refuse(peer, status);
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
    peer_close(peer);
}

static void a_join_that_does_not_fit_is_refused_by_name(void **state) {
    start(1, (struct server_script){0});
    struct tw_frame join = join_frame(1);
    refused_join(&join, TW_RANK_TAKEN, "rank 1");
    join = join_frame(-1);
    refused_join(&join, TW_NO_FREE_RANK, "all 2 workers");
    join = join_frame(7);
    refused_join(&join, TW_LIMIT, "no rank 7");
    join = join_frame(0);
    join.join.job = (struct tw_view){"0123456789abcdef", TW_JOB_ID_BYTES};
    refused_join(&join, TW_WRONG_JOB, "another run");
    join = join_frame(0);
    join.join.digest = (struct tw_view){"0123456789abcdef0123456789abcdef", TW_DIGEST_BYTES};
    refused_join(&join, TW_WRONG_JOB, "job file");
    const uint64_t small[] = {MODEL_W - 1};
    struct tw_tensor_shape shapes[] = {{{"w", 1}, 1, small}, model_shapes[1]};
    join = join_frame(0);
    join.join.tensor = shapes;
    refused_join(&join, TW_WRONG_MODEL, "w [199999]");
    join.join.tensors = 1;
    refused_join(&join, TW_WRONG_MODEL, "has 1");
    actor_lose(&bad);
    server_await(&server, TW_REPORT_LEFT);
    join = join_frame(1);
    join.join.numerics = (struct tw_view){"other", 5};
    refused_join(&join, TW_NUMERICS, "--inexact");
    join = join_frame(1);
    join.join.incarnation = 1;
    join.join.session = (struct tw_view){"0123456789abcdef", TW_SESSION_BYTES};
    refused_join(&join, TW_FENCED, "session key");
    finish();
}

static void a_worker_that_does_not_know_the_encoding_is_refused_by_name(void **state) {
    struct tw_frame join = join_frame(0);
    server_start(&server,
                 &(struct server_script){.updates = 1, .encoding = "{push: bf16, pull: f16}"});
    refused_join(&join, TW_UNSUPPORTED, "encoding.push: bf16");
    join.join.encodings = 1u << TW_ENCODING_BF16;
    refused_join(&join, TW_UNSUPPORTED, "encoding.pull: f16");
    join.join.encodings |= 1u << TW_ENCODING_F16;
    good.port = server.port;
    actor_join_with(&good, &join);
    assert_int_equal(good.rank, 0);
}

static void the_job_s_own_digest_is_welcome(void **state) {
    start(1, (struct server_script){0});
    actor_lose(&bad);
    server_await(&server, TW_REPORT_LEFT);
    struct tw_frame join = join_frame(1);
    join.join.digest = (struct tw_view){server.digest, TW_DIGEST_BYTES};
    actor_join_with(&bad, &join);
    assert_int_equal(bad.incarnation, 2);
    finish();
}

static void a_wrong_token_is_refused(void **state) {
    static const char token[] = "a secret of twenty..";
    start(1, (struct server_script){.token = token});
    assert_true(good.control->challenge.token); /* the server proved it too */
    static const char *const tokens[] = {"a secret of twenty,,", "a", NULL};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        struct peer *peer = peer_connect(server.port);
        peer_hello(peer);
        peer_prove(peer, tokens[i]);
        peer_expect_refuse(peer, TW_WRONG_TOKEN);
        peer_close(peer);
    }
    char *log = server_log(&server);
    assert_non_null(strstr(log, "was turned away: wrong-token: "));
    free(log);
    finish();
}

static void protocols_of_another_time_are_refused(void **state) {
    start(1, (struct server_script){0});
    struct peer *peer = peer_connect(server.port);
    struct tw_frame hello = {.body = TW_BODY_HELLO};
    hello.hello.protocol_min = hello.hello.protocol_max = TW_PROTOCOL_MAX + 1;
    hello.hello.nonce = (struct tw_view){peer->nonce, TW_NONCE_BYTES};
    peer_send(peer, &hello, NULL);
    peer_expect_refuse(peer, TW_PROTOCOL_VERSION);
    peer_close(peer);
    finish();
}

/* ---- patience and room ---- */

static void a_peer_that_says_nothing_is_dropped(void **state) {
    struct peer *peers[CONTROL];
    start(1 + CONTROL, (struct server_script){.limits.handshake_ms = 2000});
    for (int stage = CONNECTED; stage < CONTROL; stage++)
        peers[stage] = reach((enum stage)stage);
    for (int stage = CONNECTED; stage < CONTROL; stage++) {
        struct peer *peer = peers[stage];
        const struct heard *heard;
        while ((heard = peer_hear(peer)) && heard->frame.body != TW_BODY_REFUSE)
            assert_int_equal(heard->frame.body, TW_BODY_CHALLENGE);
        assert_non_null(heard);
        assert_int_equal(heard->frame.refuse.status, TW_SLOW_PEER);
        assert_null(peer_hear(peer));
        peer_close(peer);
        good_update();
    }
    finish();
}

static void check_room(struct server_script script, unsigned room, const char *part) {
    enum { PEERS = 8 };
    struct peer *peers[PEERS], *one_more;
    start(2, script);
    for (unsigned i = 0; i < room; i++) { /* they say something, but do not join */
        peers[i] = peer_connect(server.port);
        peer_hello(peers[i]);
        peer_expect(peers[i], TW_BODY_CHALLENGE);
    }
    one_more = peer_connect(server.port);
    assert_non_null(strstr(peer_expect_refuse(one_more, TW_LIMIT), part));
    peer_close(one_more);
    good_update();
    for (unsigned i = 0; i < room; i++)
        peer_close(peers[i]);
    /* There is room again as soon as the server has seen it. */
    do {
        one_more = peer_connect(server.port);
        peer_hello(one_more);
        const struct heard *heard = peer_hear(one_more);
        room = heard && heard->frame.body == TW_BODY_CHALLENGE;
        peer_close(one_more);
    } while (!room);
    finish();
}

static void too_many_connections_that_do_not_join_are_refused(void **state) {
    check_room((struct server_script){.limits = {.pending = 3, .unknown = 3}}, 3,
               "3 connections that");
}

static void one_address_cannot_take_all_the_room(void **state) {
    check_room((struct server_script){.limits = {.pending_per_address = 2, .unknown = 2}}, 2,
               "2 connections from 127.0.0.1");
}

/* More than may be unknown at a time, from one address: each is heard when its turn comes. */
static void honest_connections_wait_in_line(void **state) {
    enum { PEERS = 6 };
    struct peer *peers[PEERS];
    start(2, (struct server_script){.limits = {.pending = 3, .pending_per_address = 1}});
    for (int i = 0; i < PEERS; i++) {
        peers[i] = peer_connect(server.port);
        peer_hello(peers[i]);
    }
    for (int i = 0; i < PEERS; i++) {
        peer_expect(peers[i], TW_BODY_CHALLENGE);
        peer_close(peers[i]);
    }
    good_update();
    finish();
}

static void a_flood_is_not_even_answered(void **state) {
    enum { FLOOD = 12 };
    struct peer *peers[FLOOD], *last;
    start(1, (struct server_script){.limits = {.pending = 4, .unknown = 4}});
    for (int i = 0; i < FLOOD; i++) /* none of them closes */
        peers[i] = peer_connect(server.port);
    last = peer_connect(server.port);
    assert_null(peer_hear(last));
    peer_close(last);
    for (int i = 0; i < FLOOD; i++)
        peer_close(peers[i]);
    finish();
}

static void control_is_answered(struct actor *actor, uint64_t nonce) {
    struct tw_frame ping = {.body = TW_BODY_PING, .ping = {.nonce = nonce}};
    peer_send(actor->control, &ping, NULL);
    assert_int_equal(peer_expect(actor->control, TW_BODY_PONG)->frame.pong.nonce, nonce);
}

/* What is queued for a peer that does not read keeps its version: updates go into
 * spare copies. When the peer is lost the copies come back; there are three. What is
 * said on its control connection waits for none of this. */
static void weights_that_nobody_takes_do_not_stop_the_others(void **state) {
    enum { TIMES = 8 };
    start(3 * TIMES + 1, (struct server_script){0});
    for (int i = 0; i < TIMES; i++) {
        actor_lose(&bad);
        server_await(&server, TW_REPORT_LEFT);
        bad.narrow = true;
        actor_join(&bad, server.port, 1); /* and takes nothing */
        for (int update = 0; update < 3; update++) {
            good_update();
            control_is_answered(&bad, (uint64_t)(3 * i + update + 1));
        }
    }
    actor_take(&bad); /* one version, although three updates came while it was queued */
    assert_in_range(bad.version, 3 * (TIMES - 1) - 1, 3 * (TIMES - 1));
    for (uint32_t i = 1; i < MODEL_W; i++)
        if (i % 5 == 0)
            assert_true(bad.weights[i] == bad.weights[0]);
    finish();
}

/* Each old connection keeps the version that it has not taken until it is closed, a
 * second later; so for a while there is no copy left to write into. */
static void when_all_copies_are_taken_updates_wait_for_one(void **state) {
    enum { TIMES = 6 };
    struct actor old[TIMES];
    start(TIMES + 1, (struct server_script){0});
    for (int i = 0; i < TIMES; i++) {
        old[i] = bad;
        bad.narrow = true;
        actor_resume(&bad); /* and takes nothing */
        good_update();
    }
    good_update();
    actor_leave(&good, TW_OK);
    for (int i = 0; i < TIMES; i++)
        actor_lose(&old[i]);
    actor_lose(&bad);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_check_model(&server, expected);
    server_clean(&server);
}

/* The answer to its last push finds the connection closing. */
static void weights_for_a_connection_that_is_closing_are_let_go(void **state) {
    enum { TIMES = 6 };
    start(2 * TIMES + 1, (struct server_script){0});
    for (int i = 0; i < TIMES; i++) {
        struct peer *peer = reach(BULK);
        unsigned char bytes[256];
        struct tw_frame last = end_frame(&bad);
        size_t size = tw_frame_encode(&last, bytes, 128);
        memset(bytes + size, 0xff, 12); /* in one piece, so that the server reads both */
        for (uint32_t chunk = 0; chunk < MODEL_CHUNKS; chunk++)
            actor_push_chunk(&bad, chunk);
        peer_send_bytes(peer, bytes, size + 12);
        model_update(expected, 0.5f, 1, 1, bad.step);
        peer_expect_refuse(peer, TW_MALFORMED);
        actor_take(&good);
        actor_push(&good);
        model_update(expected, 0.5f, 0, 0, good.step);
    }
    finish();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(garbage_at_every_state_ends_only_that_connection),
        TEST(half_a_frame_and_gone_is_forgotten),
        TEST(pushes_that_lie_are_refused_by_name),
        TEST(a_liar_s_rank_is_free_at_once),
        TEST(a_hello_has_at_most_a_kilobyte),
        TEST(a_join_that_does_not_fit_is_refused_by_name),
        TEST(a_worker_that_does_not_know_the_encoding_is_refused_by_name),
        TEST(the_job_s_own_digest_is_welcome),
        TEST(a_wrong_token_is_refused),
        TEST(protocols_of_another_time_are_refused),
        TEST(a_peer_that_says_nothing_is_dropped),
        TEST(too_many_connections_that_do_not_join_are_refused),
        TEST(a_flood_is_not_even_answered),
        TEST(weights_that_nobody_takes_do_not_stop_the_others),
        TEST(when_all_copies_are_taken_updates_wait_for_one),
        TEST(weights_for_a_connection_that_is_closing_are_let_go),
        TEST(honest_connections_wait_in_line),
        TEST(one_address_cannot_take_all_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
