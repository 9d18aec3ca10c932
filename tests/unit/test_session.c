/* The server's side of one connection: greeting, the Join's fit, who may say what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/core/session.h"

static const uint8_t server_nonce[TW_NONCE_BYTES] = {1}, client_nonce[TW_NONCE_BYTES] = {2};
static const char token[] = "sixteen bytes or more";

struct desk {
    struct tw_tensor tensors[2];
    struct tw_tensor_list list;
    struct tw_session_terms terms;
    struct tw_session session;
    struct tw_frame answer;
    struct tw_error error;
};

static void desk_init(struct desk *desk, bool with_token) {
    static const int64_t w[2] = {4, 3}, b[1] = {3};
    struct tw_init init = {TW_INIT_CONSTANT, 0};
    *desk = (struct desk){.list = {2, desk->tensors}};
    assert_int_equal(tw_tensor_init(&desk->tensors[0], "w", 2, w, init, NULL), TW_OK);
    assert_int_equal(tw_tensor_init(&desk->tensors[1], "b", 1, b, init, NULL), TW_OK);
    desk->terms.tensors = &desk->list;
    memset(desk->terms.job, 5, sizeof(desk->terms.job));
    memset(desk->terms.digest, 6, sizeof(desk->terms.digest));
    if (with_token) {
        desk->terms.token = token;
        desk->terms.token_bytes = sizeof(token);
    }
    tw_session_open(&desk->session, server_nonce);
}

static enum tw_status greet(struct desk *desk, const struct tw_frame *frame) {
    return tw_session_greet(&desk->session, &desk->terms, frame, &desk->answer, &desk->error);
}

static enum tw_status hello(struct desk *desk, uint32_t min, uint32_t max, size_t nonce) {
    struct tw_frame frame = {.body = TW_BODY_HELLO};
    frame.hello.protocol_min = min;
    frame.hello.protocol_max = max;
    frame.hello.nonce = (struct tw_view){client_nonce, nonce};
    return greet(desk, &frame);
}

static enum tw_status prove(struct desk *desk, const void *bytes, size_t size) {
    struct tw_frame frame = {.body = TW_BODY_PROOF};
    frame.proof.proof = (struct tw_view){bytes, size};
    return greet(desk, &frame);
}

static void says(const struct desk *desk, const char *words) {
    if (!strstr(desk->error.text, words))
        fail_msg("\"%s\" does not say \"%s\"", desk->error.text, words);
}

/* ---- greeting ---- */

static void test_hello_is_answered_with_a_challenge(void **state) {
    struct desk desk;
    desk_init(&desk, false);
    assert_int_equal(hello(&desk, 0, 900, TW_NONCE_BYTES), TW_OK);
    assert_int_equal(desk.answer.body, TW_BODY_CHALLENGE);
    assert_int_equal(desk.answer.challenge.protocol, TW_PROTOCOL_MAX);
    assert_int_equal(desk.answer.challenge.nonce.size, TW_NONCE_BYTES);
    assert_memory_equal(desk.answer.challenge.nonce.bytes, server_nonce, TW_NONCE_BYTES);
    assert_false(desk.answer.challenge.token);
    assert_int_equal(desk.answer.challenge.proof.size, 0);
    assert_int_equal(prove(&desk, NULL, 0), TW_OK);
    assert_int_equal(desk.session.state, TW_SESSION_KNOWN);
}

static void test_no_common_version_is_refused(void **state) {
    struct desk desk;
    desk_init(&desk, false);
    assert_int_equal(hello(&desk, TW_PROTOCOL_MAX + 1, 900, TW_NONCE_BYTES), TW_PROTOCOL_VERSION);
    says(&desk, "versions 2 to 900, this server 1 to 1");
    assert_int_equal(hello(&desk, 0, TW_PROTOCOL_MIN - 1, TW_NONCE_BYTES), TW_PROTOCOL_VERSION);
}

static void test_a_nonce_of_another_size_is_refused(void **state) {
    static const size_t sizes[] = {0, TW_NONCE_BYTES - 1, TW_NONCE_BYTES + 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct desk desk;
        desk_init(&desk, false);
        assert_int_equal(hello(&desk, 1, 1, sizes[i]), TW_MALFORMED);
        says(&desk, "it must have 32");
    }
}

static void test_the_server_proves_that_it_knows_the_token(void **state) {
    struct desk desk;
    uint8_t proof[TW_PROOF_BYTES];
    desk_init(&desk, true);
    assert_int_equal(hello(&desk, 1, 1, TW_NONCE_BYTES), TW_OK);
    assert_true(desk.answer.challenge.token);
    tw_session_proof(token, sizeof(token), "talweg server", client_nonce, server_nonce, proof);
    assert_int_equal(desk.answer.challenge.proof.size, TW_PROOF_BYTES);
    assert_memory_equal(desk.answer.challenge.proof.bytes, proof, TW_PROOF_BYTES);
    tw_session_proof(token, sizeof(token), "talweg client", client_nonce, server_nonce, proof);
    assert_int_equal(prove(&desk, proof, TW_PROOF_BYTES), TW_OK);
}

static void wrong_proof(const void *bytes, size_t size, const char *words) {
    struct desk desk;
    desk_init(&desk, true);
    assert_int_equal(hello(&desk, 1, 1, TW_NONCE_BYTES), TW_OK);
    assert_int_equal(prove(&desk, bytes, size), TW_WRONG_TOKEN);
    says(&desk, words);
}

static void test_a_wrong_proof_is_refused(void **state) {
    uint8_t proof[TW_PROOF_BYTES];
    tw_session_proof("another secret of bytes", 23, "talweg client", client_nonce, server_nonce,
                     proof);
    wrong_proof(proof, TW_PROOF_BYTES, "does not match");
    /* The server's own proof, sent back. */
    tw_session_proof(token, sizeof(token), "talweg server", client_nonce, server_nonce, proof);
    wrong_proof(proof, TW_PROOF_BYTES, "does not match");
    /* Of another connection. */
    tw_session_proof(token, sizeof(token), "talweg client", client_nonce, client_nonce, proof);
    wrong_proof(proof, TW_PROOF_BYTES, "does not match");
    /* The right one, cut. */
    tw_session_proof(token, sizeof(token), "talweg client", client_nonce, server_nonce, proof);
    wrong_proof(proof, TW_PROOF_BYTES - 1, "does not match");
    wrong_proof(NULL, 0, "demands a token; give --token-file");
}

/* ---- the Join's fit ---- */

static const uint64_t w_shape[2] = {4, 3}, b_shape[1] = {3};

static struct tw_join good_join(struct tw_tensor_shape tensors[2]) {
    tensors[0] = (struct tw_tensor_shape){{"w", 1}, 2, w_shape};
    tensors[1] = (struct tw_tensor_shape){{"b", 1}, 1, b_shape};
    return (struct tw_join){.tensors = 2, .tensor = tensors, .numerics = {"n", 1}};
}

static void check(const struct tw_join *join, enum tw_status expected, const char *words) {
    struct desk desk;
    desk_init(&desk, false);
    assert_int_equal(tw_session_check_join(&desk.terms, join, &desk.error), expected);
    says(&desk, words);
}

static void test_a_join_that_fits_is_taken(void **state) {
    struct tw_tensor_shape tensors[2];
    uint8_t job[TW_JOB_ID_BYTES], digest[TW_DIGEST_BYTES];
    memset(job, 5, sizeof(job));
    memset(digest, 6, sizeof(digest));
    struct tw_join join = good_join(tensors);
    check(&join, TW_OK, "");
    join.job = (struct tw_view){job, sizeof(job)};
    join.digest = (struct tw_view){digest, sizeof(digest)};
    check(&join, TW_OK, "");
}

static void test_another_job_is_refused(void **state) {
    struct tw_tensor_shape tensors[2];
    uint8_t other[TW_DIGEST_BYTES] = {9};
    struct tw_join join = good_join(tensors);
    join.job = (struct tw_view){other, TW_JOB_ID_BYTES};
    check(&join, TW_WRONG_JOB, "belongs to another run");
    join.job.size = 3;
    check(&join, TW_WRONG_JOB, "belongs to another run");
    join.job.size = 0;
    join.digest = (struct tw_view){other, TW_DIGEST_BYTES};
    check(&join, TW_WRONG_JOB, "job file");
    join.digest.size = 31;
    check(&join, TW_WRONG_JOB, "job file");
}

static void test_other_tensors_are_refused_by_name(void **state) {
    static const uint64_t longer[2] = {4, 5}, huge[9] = {UINT64_MAX, 2, 3, 4, 5, 6, 7, 8, 9};
    struct tw_tensor_shape tensors[2];
    struct tw_join join = good_join(tensors);
    join.tensors = 1;
    check(&join, TW_WRONG_MODEL, "the job has 2 tensors, the worker has 1");
    join.tensors = 0;
    join.tensor = NULL;
    check(&join, TW_WRONG_MODEL, "the worker has 0");
    join = good_join(tensors);
    tensors[1].name = (struct tw_view){"bias", 4};
    check(&join, TW_WRONG_MODEL, "tensor 1: the job has b [3], the worker has bias [3]");
    join = good_join(tensors);
    tensors[1].name = (struct tw_view){"", 0};
    check(&join, TW_WRONG_MODEL, "tensor 1: the job has b [3], the worker has  [3]");
    join = good_join(tensors);
    tensors[0].shape = longer;
    check(&join, TW_WRONG_MODEL, "tensor 0: the job has w [4, 3], the worker has w [4, 5]");
    join = good_join(tensors);
    tensors[0].dims = 1;
    check(&join, TW_WRONG_MODEL, "the worker has w [4]");
    join = good_join(tensors);
    tensors[0].dims = 9;
    tensors[0].shape = huge;
    check(&join, TW_WRONG_MODEL, "tensor 0: the job has w [4, 3]");
}

static void test_an_operator_has_no_tensors_but_may_not_mistake_the_job(void **state) {
    uint8_t other[TW_JOB_ID_BYTES] = {9};
    struct tw_join join = {.role = TW_ROLE_OPERATOR};
    check(&join, TW_OK, "");
    join.job = (struct tw_view){other, TW_JOB_ID_BYTES};
    check(&join, TW_WRONG_JOB, "another run");
}

static void test_a_worker_must_know_the_encodings_of_the_job(void **state) {
    static const struct {
        uint32_t push, pull, known;
        const char *words; /* NULL: it is taken */
    } rows[] = {
        {TW_ENCODING_F32, TW_ENCODING_F32, 0, NULL},
        {TW_ENCODING_BF16, TW_ENCODING_F32, 0, "encoding.push: bf16"},
        {TW_ENCODING_F32, TW_ENCODING_F16, 1u << TW_ENCODING_BF16, "encoding.pull: f16"},
        {TW_ENCODING_BF16, TW_ENCODING_F16, 6, NULL},
        {TW_ENCODING_F16, TW_ENCODING_BF16, UINT32_MAX, NULL},
    };
    struct tw_tensor_shape tensors[2];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct desk desk;
        desk_init(&desk, false);
        desk.terms.push = rows[i].push;
        desk.terms.pull = rows[i].pull;
        struct tw_join join = good_join(tensors);
        join.encodings = rows[i].known;
        enum tw_status status = tw_session_check_join(&desk.terms, &join, &desk.error);
        assert_int_equal(status, rows[i].words ? TW_UNSUPPORTED : TW_OK);
        if (rows[i].words)
            says(&desk, rows[i].words);
        join.role = TW_ROLE_EVALUATOR; /* its weights are float32 */
        assert_int_equal(tw_session_check_join(&desk.terms, &join, &desk.error), TW_OK);
    }
}

static void test_a_long_numerics_id_is_refused(void **state) {
    char numerics[TW_NUMERICS_MAX + 1];
    struct tw_tensor_shape tensors[2];
    struct tw_join join = good_join(tensors);
    memset(numerics, 'x', sizeof(numerics));
    join.numerics = (struct tw_view){numerics, sizeof(numerics)};
    check(&join, TW_LIMIT, "at most 128 bytes, not 129");
    join.numerics.size--;
    check(&join, TW_OK, "");
}

/* ---- who may say what ---- */

#define BIT(body) (UINT64_C(1) << (body))

static const struct {
    enum tw_session_state state;
    enum tw_role role;
    uint64_t may;
    const char *words; /* of the refusal */
} rules[] = {
    {TW_SESSION_CLOSED, TW_ROLE_WORKER, 0, "only nothing may come"},
    {TW_SESSION_HELLO, TW_ROLE_WORKER, BIT(TW_BODY_HELLO), "only Hello may come"},
    {TW_SESSION_PROOF, TW_ROLE_WORKER, BIT(TW_BODY_PROOF), "only Proof may come"},
    {TW_SESSION_KNOWN, TW_ROLE_WORKER, BIT(TW_BODY_JOIN) | BIT(TW_BODY_ATTACH) | BIT(TW_BODY_SERVE),
     "only Join, Attach or Serve may come"},
    {TW_SESSION_JOINING, TW_ROLE_WORKER, BIT(TW_BODY_PING) | BIT(TW_BODY_BYE),
     "only Ping or Bye, until Welcome has come may come"},
    {TW_SESSION_ATTACHING, TW_ROLE_WORKER, 0, "only nothing, until Attached has come, may come"},
    {TW_SESSION_CONTROL, TW_ROLE_WORKER, BIT(TW_BODY_PING) | BIT(TW_BODY_PONG) | BIT(TW_BODY_BYE),
     "only Ping, Pong or Bye may come"},
    {TW_SESSION_CONTROL, TW_ROLE_EVALUATOR,
     BIT(TW_BODY_PING) | BIT(TW_BODY_PONG) | BIT(TW_BODY_BYE) | BIT(TW_BODY_ASK) |
         BIT(TW_BODY_EVALUATION) | BIT(TW_BODY_TALLY),
     "only Ask, Evaluation, Tally, Ping, Pong or Bye may come"},
    {TW_SESSION_CONTROL, TW_ROLE_OPERATOR,
     BIT(TW_BODY_PING) | BIT(TW_BODY_PONG) | BIT(TW_BODY_BYE) | BIT(TW_BODY_QUERY) |
         BIT(TW_BODY_TURN),
     "only Query, Turn, Ping, Pong or Bye may come"},
    {TW_SESSION_BULK, TW_ROLE_WORKER, BIT(TW_BODY_PUSH) | BIT(TW_BODY_END),
     "only Push or End may come"},
    {TW_SESSION_BULK, TW_ROLE_EVALUATOR, 0, "only nothing may come"},
    {TW_SESSION_SERVER, TW_ROLE_WORKER,
     BIT(TW_BODY_READY) | BIT(TW_BODY_SUMS) | BIT(TW_BODY_REACH) | BIT(TW_BODY_SAMPLE) |
         BIT(TW_BODY_SQUARES) | BIT(TW_BODY_PING) | BIT(TW_BODY_PONG) | BIT(TW_BODY_BYE),
     "only Ready, Sums, Reach, Sample, Squares, Ping, Pong or Bye may come"},
};

static void test_every_body_in_every_state_is_taken_or_refused_by_name(void **state) {
    for (size_t r = 0; r < sizeof(rules) / sizeof(rules[0]); r++) {
        struct tw_session session = {.state = rules[r].state, .role = rules[r].role};
        for (enum tw_body body = TW_BODY_NONE; body <= TW_BODY_LAST; body++) {
            struct desk desk = {.error = {.status = TW_OK}};
            bool may = rules[r].may >> body & 1;
            enum tw_status status = tw_session_allows(&session, body, &desk.error);
            if (status != (may ? TW_OK : TW_UNEXPECTED))
                fail_msg("state %d, %s: %s", rules[r].state, tw_body_name(body),
                         tw_status_name((int)status));
            if (may)
                continue;
            says(&desk, tw_body_name(body));
            says(&desk, rules[r].words);
        }
        assert_int_equal(tw_session_allows(&session, (enum tw_body)(64 + TW_BODY_HELLO), NULL),
                         TW_UNEXPECTED);
    }
}

static void test_greeting_takes_each_frame_once(void **state) {
    struct desk desk;
    desk_init(&desk, false);
    assert_int_equal(prove(&desk, NULL, 0), TW_UNEXPECTED);
    assert_int_equal(hello(&desk, 1, 1, TW_NONCE_BYTES), TW_OK);
    assert_int_equal(hello(&desk, 1, 1, TW_NONCE_BYTES), TW_UNEXPECTED);
    assert_int_equal(prove(&desk, NULL, 0), TW_OK);
    assert_int_equal(prove(&desk, NULL, 0), TW_UNEXPECTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_is_answered_with_a_challenge),
        cmocka_unit_test(test_no_common_version_is_refused),
        cmocka_unit_test(test_a_nonce_of_another_size_is_refused),
        cmocka_unit_test(test_the_server_proves_that_it_knows_the_token),
        cmocka_unit_test(test_a_wrong_proof_is_refused),
        cmocka_unit_test(test_a_join_that_fits_is_taken),
        cmocka_unit_test(test_another_job_is_refused),
        cmocka_unit_test(test_other_tensors_are_refused_by_name),
        cmocka_unit_test(test_an_operator_has_no_tensors_but_may_not_mistake_the_job),
        cmocka_unit_test(test_a_long_numerics_id_is_refused),
        cmocka_unit_test(test_a_worker_must_know_the_encodings_of_the_job),
        cmocka_unit_test(test_every_body_in_every_state_is_taken_or_refused_by_name),
        cmocka_unit_test(test_greeting_takes_each_frame_once),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
