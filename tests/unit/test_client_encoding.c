/* The client with gradients and weights that travel shorter than they are computed. */
#include "common/tensor/encoding.h"
#include "tests/unit/client_desk.h"

static const struct tw_client_config worker = {.role = TW_ROLE_WORKER, .rank = -1};

static enum tw_status welcome_with(struct desk *desk, uint32_t push, uint32_t pull) {
    struct tw_frame welcome = desk_welcome(desk, 0);
    welcome.welcome.push = push;
    welcome.welcome.pull = pull;
    return desk_frame(desk, TW_CLIENT_CONTROL, &welcome, NULL);
}

static void join_with(struct desk *desk, uint32_t push, uint32_t pull) {
    struct tw_frame attached = {.body = TW_BODY_ATTACHED};
    desk_greet(desk, TW_CLIENT_CONTROL);
    assert_int_equal(welcome_with(desk, push, pull), TW_OK);
    for (uint32_t shard = 0; shard < desk->servers; shard++)
        desk_greet(desk, 1 + (int)shard);
    for (uint32_t shard = 0; shard < desk->servers; shard++)
        assert_int_equal(desk_frame(desk, 1 + (int)shard, &attached, NULL), TW_OK);
}

static float weight_of(uint32_t chunk, uint32_t i) {
    return (float)i * 0.37F - (float)chunk;
}

static void arrive(struct desk *desk, uint32_t chunk, size_t bytes, enum tw_status expected) {
    struct tw_frame frame = desk_weights(desk, 5, 0, 1, chunk);
    uint32_t pull = desk->client.pull, n = desk->client.layout.chunk[chunk].count;
    int link = 1 + (int)desk->client.layout.chunk[chunk].shard;
    float *values = malloc(n * sizeof(float));
    void *place;
    frame.data_bytes = bytes;
    assert_int_equal(tw_client_place(&desk->client, link, &frame, &place, &desk->error), expected);
    if (expected == TW_OK) {
        for (uint32_t i = 0; i < n; i++)
            values[i] = weight_of(chunk, i);
        tw_encodings[pull].encode(place, values, n);
        assert_int_equal(desk_frame(desk, link, &frame, place), TW_OK);
    }
    free(values);
}

static size_t bytes_of(const struct desk *desk, uint32_t encoding, uint32_t chunk) {
    return tw_encoding_bytes(encoding, desk->client.layout.chunk[chunk].count);
}

static void pull_all(struct desk *desk) {
    desk_pull(desk);
    for (uint32_t chunk = 0; chunk < DESK_CHUNKS; chunk++)
        arrive(desk, chunk, bytes_of(desk, desk->client.pull, chunk), TW_OK);
    assert_int_equal(desk->client.work, TW_CLIENT_COMPUTING);
}

static void weights_are_floats_when_the_set_is_complete(void **state) {
    for (uint32_t pull = TW_ENCODING_BF16; pull < TW_ENCODINGS; pull++) {
        struct desk desk;
        desk_init(&desk, 2, &worker);
        desk_start(&desk);
        join_with(&desk, TW_ENCODING_F32, pull);
        pull_all(&desk);
        for (uint32_t chunk = 0; chunk < DESK_CHUNKS; chunk++) {
            const struct tw_chunk *c = &desk.client.layout.chunk[chunk];
            for (uint32_t i = 0; i < c->count; i++) {
                float expected = weight_of(chunk, i);
                tw_encoding_round(pull, &expected, &expected, 1);
                assert_true(desk.weights[c->tensor][c->first + i] == expected);
            }
        }
        desk_fini(&desk);
    }
}

/* Also when it is handed out again; and the program's own gradient stays as it is. */
static void gradients_leave_encoded(void **state) {
    for (uint32_t push = TW_ENCODING_BF16; push < TW_ENCODINGS; push++) {
        struct desk desk;
        desk_init(&desk, 2, &worker);
        desk_start(&desk);
        join_with(&desk, push, TW_ENCODING_BF16);
        pull_all(&desk);
        for (int t = 0; t < DESK_TENSORS; t++)
            for (int64_t i = 0; i < desk_elements[t]; i++)
                desk.gradient[t][i] = 0.1F * (float)(i + t);
        desk_push_all(&desk);
        const void *first[DESK_CHUNKS];
        for (int again = 0; again < 2; again++) {
            for (int link = 1; link <= 2; link++) {
                struct tw_frame frame, regather = {.body = TW_BODY_REGATHER};
                const void *data;
                while (tw_client_next(&desk.client, link, &frame, &data)) {
                    if (frame.body == TW_BODY_END)
                        continue;
                    const struct tw_chunk *c = &desk.client.layout.chunk[frame.push.chunk];
                    float value;
                    assert_int_equal(frame.data_bytes, bytes_of(&desk, push, frame.push.chunk));
                    for (uint32_t i = 0; i < c->count; i++) {
                        float expected = 0.1F * (float)(c->first + i + c->tensor);
                        tw_encodings[push].decode(&value, (const uint16_t *)data + i, 1);
                        assert_true(desk.gradient[c->tensor][c->first + i] == expected);
                        tw_encoding_round(push, &expected, &expected, 1);
                        assert_true(value == expected);
                    }
                    if (again)
                        assert_ptr_equal(data, first[frame.push.chunk]);
                    first[frame.push.chunk] = data;
                }
                assert_int_equal(desk_frame(&desk, link, &regather, NULL), TW_OK);
            }
        }
        desk_fini(&desk);
    }
}

static void weights_of_another_length_are_the_servers_fault(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    join_with(&desk, TW_ENCODING_F32, TW_ENCODING_F16);
    desk_pull(&desk);
    arrive(&desk, 0, bytes_of(&desk, TW_ENCODING_F32, 0), TW_MALFORMED);
    assert_non_null(strstr(desk.client.error.text, "bytes instead of the"));
    assert_non_null(strstr(desk.client.error.text, "of f16"));
    desk_fini(&desk);
}

static void an_encoding_that_we_do_not_know_is_refused_by_name(void **state) {
    const uint32_t ways[][2] = {{TW_ENCODINGS, 0}, {0, TW_ENCODINGS}, {0, UINT32_MAX}};
    for (int i = 0; i < 3; i++) {
        struct desk desk;
        desk_init(&desk, 1, &worker);
        desk_start(&desk);
        desk_greet(&desk, TW_CLIENT_CONTROL);
        assert_int_equal(welcome_with(&desk, ways[i][0], ways[i][1]), TW_UNSUPPORTED);
        assert_int_equal(desk.client.ending, TW_CLIENT_REFUSED);
        assert_non_null(strstr(desk.client.error.text, "an encoding that this version does not"));
        desk_fini(&desk);
    }
}

static void a_server_may_not_change_its_mind(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    join_with(&desk, TW_ENCODING_BF16, TW_ENCODING_F16);
    desk_lose(&desk, 1, TW_CLOSED);
    desk_tick(&desk, 3000);
    desk_greet(&desk, TW_CLIENT_CONTROL);
    assert_int_equal(welcome_with(&desk, TW_ENCODING_BF16, TW_ENCODING_F32), TW_UNEXPECTED);
    assert_non_null(strstr(desk.client.error.text, "other encodings than before"));
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_floats_when_the_set_is_complete),
        cmocka_unit_test(gradients_leave_encoded),
        cmocka_unit_test(weights_of_another_length_are_the_servers_fault),
        cmocka_unit_test(an_encoding_that_we_do_not_know_is_refused_by_name),
        cmocka_unit_test(a_server_may_not_change_its_mind),
    };
    return cmocka_run_group_tests_name("client encoding", tests, NULL, NULL);
}
