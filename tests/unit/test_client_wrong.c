/* The client against what is wrong: tokens, hostile servers, calls out of order. One
 * behaviour per test, by scripted frames. */
#include "tests/unit/client_desk.h"

static const struct tw_client_config worker = {.role = TW_ROLE_WORKER, .rank = -1};
static const char token[] = "a token that is long enough";

/* ---- token ---- */

static struct tw_frame signed_challenge(const struct desk *desk, const char *secret,
                                        uint8_t proof[TW_PROOF_BYTES]) {
    struct tw_frame frame = desk_challenge();
    uint8_t text[13 + 2 * TW_NONCE_BYTES];
    memcpy(text, "talweg server", 13);
    memcpy(text + 13, desk->nonce, TW_NONCE_BYTES);
    memcpy(text + 13 + TW_NONCE_BYTES, frame.challenge.nonce.bytes, TW_NONCE_BYTES);
    tw_hmac_sha256(secret, strlen(secret), text, sizeof(text), proof);
    frame.challenge.proof = (struct tw_view){proof, TW_PROOF_BYTES};
    frame.challenge.token = true;
    return frame;
}

static struct tw_client_config with_token(void) {
    struct tw_client_config config = worker;
    config.token = token;
    config.token_bytes = strlen(token);
    return config;
}

static void a_token_is_proved_both_ways(void **state) {
    struct tw_client_config config = with_token();
    uint8_t proof[TW_PROOF_BYTES], expected[TW_PROOF_BYTES];
    uint8_t text[13 + 2 * TW_NONCE_BYTES];
    struct desk desk;
    desk_init(&desk, 1, &config);
    desk_start(&desk);
    desk_opened(&desk, TW_CLIENT_CONTROL);
    struct tw_frame challenge = signed_challenge(&desk, token, proof);
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &challenge, NULL), TW_OK);
    memcpy(text, "talweg client", 13);
    memcpy(text + 13, desk.nonce, TW_NONCE_BYTES);
    memcpy(text + 13 + TW_NONCE_BYTES, challenge.challenge.nonce.bytes, TW_NONCE_BYTES);
    tw_hmac_sha256(token, strlen(token), text, sizeof(text), expected);
    assert_memory_equal(desk.proof, expected, TW_PROOF_BYTES);
    desk_fini(&desk);
}

static void a_server_with_another_token_is_refused(void **state) {
    struct tw_client_config config = with_token();
    uint8_t proof[TW_PROOF_BYTES];
    struct desk desk;
    desk_init(&desk, 1, &config);
    desk_start(&desk);
    desk_opened(&desk, TW_CLIENT_CONTROL);
    struct tw_frame challenge = signed_challenge(&desk, "another secret, also long", proof);
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &challenge, NULL), TW_WRONG_TOKEN);
    assert_int_equal(desk.client.ending, TW_CLIENT_REFUSED);
    desk_fini(&desk);
}

static void a_server_without_a_token_is_refused_when_we_have_one(void **state) {
    struct tw_client_config config = with_token();
    struct tw_frame challenge = desk_challenge();
    struct desk desk;
    desk_init(&desk, 1, &config);
    desk_start(&desk);
    desk_opened(&desk, TW_CLIENT_CONTROL);
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &challenge, NULL), TW_WRONG_TOKEN);
    desk_fini(&desk);
}

static void a_server_that_wants_a_token_is_told_apart(void **state) {
    struct tw_frame challenge = desk_challenge();
    struct desk desk;
    challenge.challenge.token = true;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_opened(&desk, TW_CLIENT_CONTROL);
    assert_int_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &challenge, NULL), TW_WRONG_TOKEN);
    assert_non_null(strstr(desk.client.error.text, "--token-file"));
    desk_fini(&desk);
}

/* ---- hostile servers ---- */

/* A joined worker inside a pull that has one chunk of position 5. */
static void desk_in_pull(struct desk *desk, uint32_t servers) {
    desk_init(desk, servers, &worker);
    desk_start(desk);
    desk_join(desk, 0);
    desk_pull(desk);
    struct tw_frame first = desk_weights(desk, 5, 3, 1, 0);
    assert_int_equal(desk_arrive(desk, &first, 5), TW_OK);
}

struct bad_weights {
    const char *words; /* that the message must have */
    enum tw_status status;
    void (*spoil)(struct tw_frame *frame);
};

static void spoil_chunk(struct tw_frame *frame) {
    frame->weights.chunk = DESK_CHUNKS;
}
static void spoil_size(struct tw_frame *frame) {
    frame->data_bytes += 4;
}
static void spoil_owner(struct tw_frame *frame) {
    frame->weights.chunk = 3;
    frame->data_bytes = 28;
}
static void spoil_generation(struct tw_frame *frame) {
    frame->weights.generation = 1;
}
static void spoil_epoch(struct tw_frame *frame) {
    frame->weights.epoch = 9;
}
static void spoil_version(struct tw_frame *frame) {
    frame->weights.version = 4;
}
static void spoil_step(struct tw_frame *frame) {
    frame->weights.position = 6;
    frame->weights.step = 0;
}
static void spoil_twice(struct tw_frame *frame) {}
static void spoil_body(struct tw_frame *frame) {
    frame->body = TW_BODY_PING;
}

static void weights_that_cannot_be_are_named(void **state) {
    static const struct bad_weights table[] = {
        {"chunk 4, but there are only 4", TW_UNEXPECTED, spoil_chunk},
        {"instead of", TW_MALFORMED, spoil_size},
        {"but shard 1 owns it", TW_UNEXPECTED, spoil_owner},
        {"generation 1", TW_STALE, spoil_generation},
        {"epoch 9", TW_STALE, spoil_epoch},
        {"two versions", TW_UNEXPECTED, spoil_version},
        {"for step 0", TW_UNEXPECTED, spoil_step},
        {"chunk 0 twice", TW_UNEXPECTED, spoil_twice},
        {"Ping frame with data", TW_UNEXPECTED, spoil_body},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct desk desk;
        void *place = &desk;
        desk_in_pull(&desk, 2);
        struct tw_frame frame = desk_weights(&desk, 5, 3, 1, 0);
        table[i].spoil(&frame);
        enum tw_status status = tw_client_place(&desk.client, 1, &frame, &place, &desk.error);
        assert_int_equal(status, table[i].status);
        assert_null(place);
        assert_int_equal(desk.client.phase, TW_CLIENT_FAILED);
        assert_int_equal(desk.client.ending, TW_CLIENT_VIOLATION);
        if (strstr(desk.client.error.text, table[i].words) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", desk.client.error.text, table[i].words);
        desk_fini(&desk);
    }
}

static void weights_without_data_are_refused(void **state) {
    struct desk desk;
    desk_in_pull(&desk, 1);
    struct tw_frame frame = desk_weights(&desk, 5, 3, 1, 1);
    assert_int_equal(desk_frame(&desk, 1, &frame, NULL), TW_MALFORMED);
    assert_int_equal(desk.client.phase, TW_CLIENT_FAILED);
    desk_fini(&desk);
}

static void a_version_that_goes_back_is_refused(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 3, 1);
    desk_push_all(&desk);
    desk_pull(&desk);
    struct tw_frame frame = desk_weights(&desk, 6, 2, 2, 0);
    assert_int_equal(desk_arrive(&desk, &frame, 0), TW_STALE);
    desk_fini(&desk);
}

struct bad_welcome {
    const char *words;
    void (*spoil)(struct tw_welcome *welcome);
};

static void spoil_servers(struct tw_welcome *welcome) {
    welcome->servers = TW_SERVERS_MAX + 1;
}
static void spoil_no_server(struct tw_welcome *welcome) {
    welcome->servers = 0;
}
static void spoil_many_servers(struct tw_welcome *welcome) {
    welcome->servers = DESK_CHUNKS + 1;
}
static void spoil_chunk_bytes(struct tw_welcome *welcome) {
    welcome->chunk_bytes = 12;
}
static void spoil_rank(struct tw_welcome *welcome) {
    welcome->rank = 2;
}
static void spoil_slot(struct tw_welcome *welcome) {
    welcome->slot = 2;
}
static void spoil_session(struct tw_welcome *welcome) {
    welcome->session.size = 3;
}
static void spoil_width(struct tw_welcome *welcome) {
    welcome->width = 2;
}

static void spoil_no_width(struct tw_welcome *welcome) {
    welcome->width = 0;
}

static void a_welcome_that_cannot_be_is_named(void **state) {
    static const struct bad_welcome table[] = {
        {"number of servers", spoil_servers},
        {"number of servers", spoil_no_server},
        {"servers", spoil_many_servers},
        {"a chunk of 12 bytes", spoil_chunk_bytes},
        {"the rank", spoil_rank},
        {"the slot", spoil_slot},
        {"the session", spoil_session},
        {"slots of this rank", spoil_width},
        {"slots of this rank", spoil_no_width},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct desk desk;
        desk_init(&desk, 1, &worker);
        desk_start(&desk);
        desk_greet(&desk, TW_CLIENT_CONTROL);
        struct tw_frame frame = desk_welcome(&desk, 0);
        table[i].spoil(&frame.welcome);
        assert_int_not_equal(desk_frame(&desk, TW_CLIENT_CONTROL, &frame, NULL), TW_OK);
        assert_int_equal(desk.client.phase, TW_CLIENT_FAILED);
        if (strstr(desk.client.error.text, table[i].words) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", desk.client.error.text, table[i].words);
        desk_fini(&desk);
    }
}

static void any_frame_at_a_wrong_moment_is_an_error(void **state) {
    for (int body = TW_BODY_HELLO; body <= TW_BODY_LAST; body++) {
        struct tw_frame frame = {.body = (enum tw_body)body};
        struct desk desk;
        if (body == TW_BODY_REFUSE)
            continue;
        desk_init(&desk, 1, &worker);
        desk_start(&desk);
        desk_opened(&desk, TW_CLIENT_CONTROL);
        enum tw_status status = desk_frame(&desk, TW_CLIENT_CONTROL, &frame, NULL);
        assert_int_equal(status, body == TW_BODY_CHALLENGE ? TW_PROTOCOL_VERSION : TW_UNEXPECTED);
        assert_int_equal(desk.client.phase, TW_CLIENT_FAILED);
        desk_fini(&desk);

        desk_init(&desk, 1, &worker);
        desk_start(&desk);
        desk_join(&desk, 0);
        if (body != TW_BODY_REGATHER) {
            assert_int_not_equal(desk_frame(&desk, 1, &frame, NULL), TW_OK);
            assert_int_equal(desk.client.ending, TW_CLIENT_VIOLATION);
        }
        desk_fini(&desk);
    }
}

static void malformed_bytes_are_no_reason_to_try_again(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_opened(&desk, TW_CLIENT_CONTROL);
    desk_lose(&desk, TW_CLIENT_CONTROL, TW_MALFORMED);
    assert_int_equal(desk.client.phase, TW_CLIENT_FAILED);
    desk_fini(&desk);
}

/* ---- wrong calls ---- */

static void calls_out_of_order_are_named_and_change_nothing(void **state) {
    struct desk desk;
    desk_init(&desk, 1, &worker);
    desk_start(&desk);
    desk_join(&desk, 0);
    assert_int_equal(desk_push(&desk, 0), TW_UNEXPECTED);
    assert_int_equal(desk_end(&desk), TW_UNEXPECTED);
    desk_pull(&desk);
    desk_arrive_all(&desk, 5, 0, 1);
    assert_int_equal(desk_pull(&desk), TW_UNEXPECTED);
    assert_int_equal(desk_push(&desk, -1), TW_UNEXPECTED);
    assert_int_equal(desk_push(&desk, DESK_TENSORS), TW_UNEXPECTED);
    assert_int_equal(desk_push(&desk, 1), TW_OK);
    assert_int_equal(desk_push(&desk, 1), TW_UNEXPECTED);
    assert_int_equal(desk_end(&desk), TW_UNEXPECTED);
    assert_string_equal(desk.error.text, "the push ends after 1 of 3 tensors");
    assert_int_equal(desk.client.work, TW_CLIENT_COMPUTING);
    assert_int_equal(desk.client.phase, TW_CLIENT_JOINED);
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_proved_both_ways),
        cmocka_unit_test(a_server_with_another_token_is_refused),
        cmocka_unit_test(a_server_without_a_token_is_refused_when_we_have_one),
        cmocka_unit_test(a_server_that_wants_a_token_is_told_apart),
        cmocka_unit_test(weights_that_cannot_be_are_named),
        cmocka_unit_test(weights_without_data_are_refused),
        cmocka_unit_test(a_version_that_goes_back_is_refused),
        cmocka_unit_test(a_welcome_that_cannot_be_is_named),
        cmocka_unit_test(any_frame_at_a_wrong_moment_is_an_error),
        cmocka_unit_test(malformed_bytes_are_no_reason_to_try_again),
        cmocka_unit_test(calls_out_of_order_are_named_and_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
