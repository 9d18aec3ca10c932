/* Workers that share their connections, with a real server: the same model to the bit, nobody
 * disturbed by one who leaves, and connections of their own where pushes may have to wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>
#include <uv.h>

#include "tests/integration/scripted_peer.h"
#include "tests/integration/server_child.h"
#include "worker/io/link.h"

enum { WORKERS_MAX = 24, UPDATES = 6 };

struct crew_member {
    struct tw_shell shell; /* first: on_weights finds the rest by it */
    struct crew *crew;
    float *weights[2], *gradient[2];
    uint64_t steps, leaves_at; /* 0: it stays */
    bool is_here;
};

/* Workers on one loop. */
struct crew {
    uv_loop_t loop;
    struct tw_shell_group *group; /* NULL: each has connections of its own */
    struct crew_member member[WORKERS_MAX];
    int count;
    char address[32];
    struct tw_tensor tensor[2];
    struct tw_tensor_list list;
    uint64_t examples; /* of a push */
    bool has_started;
    uint32_t most_lanes; /* seen on the bulk connection */
    uint64_t moment_ns;  /* of the last weights */
};

static struct server_child server;

static int discard(void **state) {
    server_discard(&server);
    return 0;
}

static void tell(struct tw_shell *shell, struct tw_client_event event) {
    struct tw_error error;
    assert_int_equal(tw_shell_step(shell, &event, &error), TW_OK);
}

/* Of a group it is the same for all, until something else happens. */
static uint64_t moment_of(struct crew_member *member) {
    struct crew *crew = member->crew;
    uint64_t now_ns = tw_shell_moment(&member->shell);
    assert_int_equal(tw_shell_moment(&member->shell), now_ns);
    assert_in_range(now_ns, crew->moment_ns, uv_hrtime());
    for (int i = 0; i < crew->count && crew->group; i++)
        if (crew->member[i].is_here)
            assert_int_equal(tw_shell_moment(&crew->member[i].shell), now_ns);
    return crew->moment_ns = now_ns;
}

static void on_weights(struct tw_shell *shell) {
    struct crew_member *member = (struct crew_member *)shell;
    const struct tw_client *client = &shell->client;
    struct tw_trunk *trunk = member->crew->group ? member->crew->group->trunk[1] : NULL;
    uint32_t lanes = trunk ? tw_trunk_lanes(trunk) : 0;
    member->crew->most_lanes = lanes > member->crew->most_lanes ? lanes : member->crew->most_lanes;
    if (tw_client_over(client))
        return;
    member->steps++;
    for (uint32_t i = 0; i < MODEL_ELEMENTS; i++)
        member->gradient[i >= MODEL_W][i < MODEL_W ? i : i - MODEL_W] =
            model_gradient(client->rank, client->held.step, i);
    struct tw_client_event push[] = {
        {.kind = TW_CLIENT_ON_PUSH, .tensor = 1, .gradient = member->gradient[1]},
        {.kind = TW_CLIENT_ON_PUSH, .tensor = 0, .gradient = member->gradient[0]},
        {.kind = TW_CLIENT_ON_END, .examples = member->crew->examples},
        {.kind = TW_CLIENT_ON_PULL},
    };
    struct tw_error error;
    uint64_t now_ns = moment_of(member);
    assert_int_equal(tw_shell_steps(shell, push, 4, now_ns, &error), TW_OK);
    assert_int_equal(push[2].now_ns, now_ns);
}

static void add_member(struct crew *crew, int rank) {
    struct crew_member *member = &crew->member[rank];
    struct tw_error error;
    member->crew = crew;
    for (int i = 0; i < 2; i++) {
        member->weights[i] = calloc((size_t)crew->tensor[i].elements, sizeof(float));
        member->gradient[i] = calloc((size_t)crew->tensor[i].elements, sizeof(float));
    }
    struct tw_client_config config = {.role = TW_ROLE_WORKER,
                                      .rank = rank,
                                      .server = crew->address,
                                      .numerics = "test",
                                      .list = &crew->list,
                                      .weights = member->weights,
                                      .connect_ms = 1000 * PEER_PATIENCE_S,
                                      .seed = (uint64_t)rank};
    assert_int_equal(tw_shell_init(&member->shell, &crew->loop, &config, crew->group, &error),
                     TW_OK);
    member->shell.on_weights = on_weights;
    member->is_here = true;
    tell(&member->shell, (struct tw_client_event){.kind = TW_CLIENT_ON_START});
    tell(&member->shell, (struct tw_client_event){.kind = TW_CLIENT_ON_PULL});
}

static void remove_member(struct crew *crew, int rank) {
    struct crew_member *member = &crew->member[rank];
    if (!member->is_here)
        return;
    member->is_here = false;
    tw_shell_fini(&member->shell);
    for (int i = 0; i < 2; i++) {
        free(member->weights[i]);
        free(member->gradient[i]);
    }
    memset(member, 0, sizeof(*member));
}

static struct crew *new_crew(int count, bool shares) {
    static const struct tw_init zero = {TW_INIT_CONSTANT, 0};
    struct crew *crew = calloc(1, sizeof(*crew));
    crew->count = count;
    crew->examples = PUSH_EXAMPLES;
    crew->group = shares ? calloc(1, sizeof(*crew->group)) : NULL;
    assert_int_equal(uv_loop_init(&crew->loop), 0);
    snprintf(crew->address, sizeof(crew->address), "127.0.0.1:%d", server.port);
    crew->list = (struct tw_tensor_list){.tensors = crew->tensor, .count = 2};
    for (int i = 0; i < 2; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%.*s", (int)model_shapes[i].name.size,
                 (const char *)model_shapes[i].name.bytes);
        assert_int_equal(tw_tensor_init(&crew->tensor[i], name, (int)model_shapes[i].dims,
                                        (const int64_t *)model_shapes[i].shape, zero, NULL),
                         TW_OK);
    }
    for (int rank = 0; rank < count; rank++)
        add_member(crew, rank);
    return crew;
}

static void free_crew(struct crew *crew) {
    for (int rank = 0; rank < crew->count; rank++)
        remove_member(crew, rank);
    while (uv_loop_alive(&crew->loop)) /* a connection may outlive its last lane a little */
        uv_run(&crew->loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(&crew->loop), 0);
    free(crew->group);
    free(crew);
}

/* Those that come, and come again, fill the pipe of the server's reports. */
static void hear_until_started(struct crew *crew) {
    const struct tw_report *report;
    while (!crew->has_started && (report = server_hear(&server)) != NULL)
        crew->has_started = report->kind == TW_REPORT_STARTED;
}

/* Until the run is over for all that are here. */
static void run_crew(struct crew *crew) {
    for (;;) {
        int there = 0;
        for (int rank = 0; rank < crew->count; rank++) {
            struct crew_member *member = &crew->member[rank];
            if (!member->is_here)
                continue;
            if (member->leaves_at && member->steps >= member->leaves_at) {
                tell(&member->shell, (struct tw_client_event){.kind = TW_CLIENT_ON_LEAVE});
                remove_member(crew, rank);
                continue;
            }
            there += !tw_client_over(&member->shell.client);
        }
        if (there == 0)
            return;
        hear_until_started(crew);
        uv_run(&crew->loop, UV_RUN_ONCE);
    }
}

/* The model of a run, and what became of its connections; the caller frees. */
static char *model_of(const struct server_script *script, bool shares, uint32_t *lanes) {
    server_start(&server, script);
    struct crew *crew = new_crew(script->workers, shares);
    if (script->mode && strcmp(script->mode, "hogwild") == 0)
        crew->examples = 1; /* of the batch of such a job */
    run_crew(crew);
    for (int rank = 0; rank < crew->count; rank++)
        if (crew->member[rank].shell.client.ending != TW_CLIENT_RUN_OVER)
            fail_msg("%s: rank %d: %s", script->mode, rank,
                     crew->member[rank].shell.client.error.text);
    *lanes = crew->most_lanes;
    free_crew(crew);
    assert_int_equal(server_end(&server)->status, TW_OK);
    char *model = server_file(&server, "model.safetensors");
    assert_non_null(model);
    return model;
}

#define MODEL_BYTES (MODEL_ELEMENTS * sizeof(float))

static void expect_same_model(const struct server_script *script, uint32_t lanes) {
    uint32_t seen;
    char *apart = model_of(script, false, &seen);
    assert_int_equal(seen, 0);
    server_clean(&server);
    char *together = model_of(script, true, &seen);
    server_clean(&server);
    assert_memory_equal(together, apart, MODEL_BYTES);
    assert_int_equal(seen, lanes);
    free(apart);
    free(together);
}

static void the_model_does_not_depend_on_who_shares_a_connection(void **state) {
    struct server_script script = {.workers = 5, .updates = UPDATES, .memory = "{inflight: 32MiB}"};
    expect_same_model(&script, 5);
}

/* Where one push may have to wait for the next, they must not stand in one line. */
static void where_memory_is_short_each_has_connections_of_its_own(void **state) {
    struct server_script script = {.workers = 5, .updates = UPDATES, .memory = "{inflight: 2MiB}"};
    expect_same_model(&script, 1);
}

static void many_come_at_once(void **state) {
    uint32_t lanes;
    struct server_script script = {
        .workers = WORKERS_MAX, .updates = 2, .memory = "{inflight: 64MiB}"};
    script.limits.pending = 6; /* the others try again */
    free(model_of(&script, true, &lanes));
    assert_int_equal(lanes, WORKERS_MAX);
    server_clean(&server);
}

/* In modes whose weights come late, early, or not at all. */
static void every_mode_works_over_one_connection(void **state) {
    static const char *const modes[] = {"async",    "ssp:1",           "backup:1",
                                        "k-sync:2", "k-batch-sync:2",  "k-async:2",
                                        "hogwild",  "k-batch-async:2", "stale-uniform:2"};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        uint32_t lanes;
        struct server_script script = {
            .workers = 4, .updates = 40, .mode = modes[i], .memory = "{inflight: 64MiB}"};
        free(model_of(&script, true, &lanes));
        assert_int_equal(lanes, 4);
        server_clean(&server);
    }
}

static void who_leaves_takes_nothing_from_the_others(void **state) {
    struct server_script script = {
        .workers = 3, .updates = 200, .mode = "async", .memory = "{inflight: 32MiB}"};
    server_start(&server, &script);
    struct crew *crew = new_crew(3, true);
    crew->member[0].leaves_at = 5; /* its lanes were the first */
    run_crew(crew);
    assert_false(crew->member[0].is_here);
    assert_int_equal(crew->most_lanes, 3);
    for (int rank = 1; rank < 3; rank++)
        assert_true(crew->member[rank].steps > 5);
    free_crew(crew);
    assert_int_equal(server_end(&server)->status, TW_OK);
    server_clean(&server);
}

static void say_hello(struct peer *peer, uint32_t lane) {
    struct tw_frame hello = {.body = TW_BODY_HELLO,
                             .lane = lane,
                             .hello = {1, 1, {peer->nonce, TW_NONCE_BYTES}, {"test", 4}}};
    peer_send(peer, &hello, NULL);
}

/* Whether it is; else it is challenged. */
static bool is_refused(struct peer *peer, uint32_t lane) {
    const struct heard *heard = peer_hear(peer);
    assert_non_null(heard);
    assert_int_equal(heard->frame.lane, lane);
    if (heard->frame.body == TW_BODY_CHALLENGE)
        return false;
    assert_int_equal(heard->frame.body, TW_BODY_REFUSE);
    assert_int_equal(heard->frame.refuse.status, TW_LIMIT);
    assert_int_equal(peer_expect(peer, TW_BODY_SHUT)->frame.lane, lane);
    return true;
}

/* A stranger may hold so many places of those who have not joined, and no more. */
static void lanes_in_their_handshake_are_few(void **state) {
    struct server_script script = {.workers = 1, .updates = 1, .memory = "{inflight: 32MiB}"};
    script.limits.pending = 6; /* of one address half of them */
    server_start(&server, &script);
    struct peer *peer = peer_connect(server.port);
    peer_hello(peer);
    peer_prove(peer, NULL);
    assert_int_equal(peer->challenge.lanes, TW_LANES_MAX);
    for (uint32_t lane = 1; lane <= 4; lane++)
        say_hello(peer, lane);
    for (uint32_t lane = 1; lane <= 3; lane++)
        assert_int_equal(peer_expect(peer, TW_BODY_CHALLENGE)->frame.lane, lane);
    assert_true(is_refused(peer, 4));
    struct tw_frame shut = {.body = TW_BODY_SHUT, .lane = 2};
    peer_send(peer, &shut, NULL); /* that makes room for another, soon */
    uint32_t next = 5;
    for (say_hello(peer, next); is_refused(peer, next); say_hello(peer, next))
        next++;
    shut.lane = TW_LANES_MAX; /* never opened: with that the connection is over */
    peer_send(peer, &shut, NULL);
    peer_expect_refuse(peer, TW_UNEXPECTED);
    peer_close(peer);
    kill(server.pid, SIGTERM);
    assert_int_equal(server_end(&server)->status, TW_INTERRUPTED);
    server_clean(&server);
}

/* All hear why. */
static void a_wrong_token_is_heard_by_all(void **state) {
    struct server_script script = {
        .workers = 5, .updates = 1, .token = "0123456789abcdef", .memory = "{inflight: 32MiB}"};
    server_start(&server, &script);
    struct crew *crew = new_crew(5, true);
    run_crew(crew);
    for (int rank = 0; rank < 5; rank++)
        assert_int_equal(crew->member[rank].shell.client.error.status, TW_WRONG_TOKEN);
    free_crew(crew);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_model_does_not_depend_on_who_shares_a_connection, discard),
        cmocka_unit_test_teardown(where_memory_is_short_each_has_connections_of_its_own, discard),
        cmocka_unit_test_teardown(many_come_at_once, discard),
        cmocka_unit_test_teardown(every_mode_works_over_one_connection, discard),
        cmocka_unit_test_teardown(lanes_in_their_handshake_are_few, discard),
        cmocka_unit_test_teardown(a_wrong_token_is_heard_by_all, discard),
        cmocka_unit_test_teardown(who_leaves_takes_nothing_from_the_others, discard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
