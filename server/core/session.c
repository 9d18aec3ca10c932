#include "server/core/session.h"

#include <string.h>

#include "common/base/digest.h"

void tw_session_open(struct tw_session *session, const uint8_t nonce[TW_NONCE_BYTES]) {
    memset(session, 0, sizeof(*session));
    session->state = TW_SESSION_HELLO;
    memcpy(session->nonce, nonce, TW_NONCE_BYTES);
}

void tw_session_proof(const void *token, size_t token_bytes, const char *side,
                      const uint8_t client[TW_NONCE_BYTES], const uint8_t server[TW_NONCE_BYTES],
                      uint8_t proof[TW_PROOF_BYTES]) {
    uint8_t text[32 + 2 * TW_NONCE_BYTES];
    size_t size = strlen(side);
    memcpy(text, side, size);
    memcpy(text + size, client, TW_NONCE_BYTES);
    memcpy(text + size + TW_NONCE_BYTES, server, TW_NONCE_BYTES);
    tw_hmac_sha256(token, token_bytes, text, size + 2 * TW_NONCE_BYTES, proof);
}

/* ---- greeting ---- */

static enum tw_status on_hello(struct tw_session *session, const struct tw_session_terms *terms,
                               const struct tw_hello *hello, struct tw_frame *answer,
                               struct tw_error *error) {
    if (hello->protocol_min > TW_PROTOCOL_MAX || hello->protocol_max < TW_PROTOCOL_MIN)
        return tw_error_set(error, TW_PROTOCOL_VERSION,
                            "the peer speaks protocol versions %u to %u, this server %u to %u",
                            hello->protocol_min, hello->protocol_max, TW_PROTOCOL_MIN,
                            TW_PROTOCOL_MAX);
    if (hello->nonce.size != TW_NONCE_BYTES)
        return tw_error_set(error, TW_MALFORMED, "Hello has a nonce of %zu bytes; it must have %d",
                            hello->nonce.size, TW_NONCE_BYTES);
    memcpy(session->peer_nonce, hello->nonce.bytes, TW_NONCE_BYTES);
    session->state = TW_SESSION_PROOF;
    *answer = (struct tw_frame){.body = TW_BODY_CHALLENGE};
    uint32_t newest = hello->protocol_max;
    answer->challenge.protocol = newest < TW_PROTOCOL_MAX ? newest : TW_PROTOCOL_MAX;
    answer->challenge.nonce = (struct tw_view){session->nonce, TW_NONCE_BYTES};
    answer->challenge.token = terms->token != NULL;
    answer->challenge.lanes = terms->lanes;
    if (terms->token) {
        tw_session_proof(terms->token, terms->token_bytes, "talweg server", session->peer_nonce,
                         session->nonce, session->proof);
        answer->challenge.proof = (struct tw_view){session->proof, TW_PROOF_BYTES};
    }
    return TW_OK;
}

static enum tw_status on_proof(struct tw_session *session, const struct tw_session_terms *terms,
                               const struct tw_proof *proof, struct tw_error *error) {
    session->state = TW_SESSION_KNOWN;
    if (!terms->token)
        return TW_OK;
    uint8_t expected[TW_PROOF_BYTES];
    tw_session_proof(terms->token, terms->token_bytes, "talweg client", session->peer_nonce,
                     session->nonce, expected);
    if (proof->proof.size == TW_PROOF_BYTES &&
        tw_equal_secret(proof->proof.bytes, expected, TW_PROOF_BYTES))
        return TW_OK;
    return tw_error_set(error, TW_WRONG_TOKEN,
                        proof->proof.size ? "the token does not match the server's"
                                          : "this server demands a token; give --token-file");
}

enum tw_status tw_session_greet(struct tw_session *session, const struct tw_session_terms *terms,
                                const struct tw_frame *frame, struct tw_frame *answer,
                                struct tw_error *error) {
    *answer = (struct tw_frame){.body = TW_BODY_NONE};
    enum tw_status status = tw_session_allows(session, frame->body, error);
    if (status != TW_OK)
        return status;
    if (frame->body == TW_BODY_HELLO)
        return on_hello(session, terms, &frame->hello, answer, error);
    return on_proof(session, terms, &frame->proof, error);
}

/* ---- joining ---- */

static bool same_shape(const struct tw_tensor *ours, const struct tw_tensor_shape *theirs) {
    if ((size_t)ours->dims != theirs->dims || strlen(ours->name) != theirs->name.size ||
        memcmp(ours->name, theirs->name.bytes, theirs->name.size) != 0)
        return false;
    for (int i = 0; i < ours->dims; i++)
        if ((uint64_t)ours->shape[i] != theirs->shape[i])
            return false;
    return true;
}

static enum tw_status wrong_tensor(int index, const struct tw_tensor *ours,
                                   const struct tw_tensor_shape *theirs, struct tw_error *error) {
    char our_shape[160], their_shape[160];
    int64_t shape[TW_DIMS_MAX] = {0};
    int dims = theirs->dims > TW_DIMS_MAX ? TW_DIMS_MAX : (int)theirs->dims;
    for (int i = 0; i < dims; i++)
        shape[i] = (int64_t)(theirs->shape[i] & INT64_MAX);
    int length = theirs->name.size > TW_NAME_MAX ? TW_NAME_MAX : (int)theirs->name.size;
    return tw_error_set(error, TW_WRONG_MODEL,
                        "tensor %d: the job has %s %s, the worker has %.*s %s", index, ours->name,
                        tw_shape_text(ours->dims, ours->shape, our_shape, sizeof(our_shape)),
                        length, (const char *)theirs->name.bytes,
                        tw_shape_text(dims, shape, their_shape, sizeof(their_shape)));
}

/* Weights for an evaluator and what servers send each other are float32. */
static enum tw_status check_encodings(const struct tw_session_terms *terms,
                                      const struct tw_join *join, struct tw_error *error) {
    const struct {
        const char *key;
        uint32_t number;
    } ways[] = {{"push", terms->push}, {"pull", terms->pull}};
    uint32_t known = join->encodings | 1u << TW_ENCODING_F32;
    for (size_t i = 0; join->role == TW_ROLE_WORKER && i < 2; i++)
        if (!(known & 1u << ways[i].number))
            return tw_error_set(error, TW_UNSUPPORTED,
                                "this job has encoding.%s: %s, which the worker does not know; "
                                "use a newer worker, or f32",
                                ways[i].key, tw_encodings[ways[i].number].name);
    return TW_OK;
}

enum tw_status tw_session_check_join(const struct tw_session_terms *terms,
                                     const struct tw_join *join, struct tw_error *error) {
    if (join->job.size && (join->job.size != TW_JOB_ID_BYTES ||
                           memcmp(join->job.bytes, terms->job, TW_JOB_ID_BYTES) != 0))
        return tw_error_set(error, TW_WRONG_JOB,
                            join->role == TW_ROLE_OPERATOR
                                ? "another run's server is at this address now"
                                : "the worker belongs to another run of a server at this address; "
                                  "start it again");
    if (join->digest.size && (join->digest.size != TW_DIGEST_BYTES ||
                              memcmp(join->digest.bytes, terms->digest, TW_DIGEST_BYTES) != 0))
        return tw_error_set(error, TW_WRONG_JOB,
                            "the worker's job file or training data is not the server's; start it "
                            "with the same file, the same --set options, and as many samples");
    if (join->role == TW_ROLE_OPERATOR)
        return TW_OK;
    if (join->numerics.size > TW_NUMERICS_MAX)
        return tw_error_set(error, TW_LIMIT, "a numerics id has at most %d bytes, not %zu",
                            TW_NUMERICS_MAX, join->numerics.size);
    if (join->tensors != (size_t)terms->tensors->count)
        return tw_error_set(error, TW_WRONG_MODEL, "the job has %d tensors, the worker has %zu",
                            terms->tensors->count, join->tensors);
    for (int i = 0; i < terms->tensors->count; i++)
        if (!same_shape(&terms->tensors->tensors[i], &join->tensor[i]))
            return wrong_tensor(i, &terms->tensors->tensors[i], &join->tensor[i], error);
    return check_encodings(terms, join, error);
}

/* ---- who may say what ---- */

/* In each state, of each role, where that is known. */
struct right {
    uint64_t bodies;
    const char *names;
};

#define BIT(body) (UINT64_C(1) << TW_BODY_##body)
#define EVERY_ROLE(bodies, names)                                                                  \
    {                                                                                              \
        {bodies, names}, {bodies, names}, {                                                        \
            bodies, names                                                                          \
        }                                                                                          \
    }

static const struct right rights[][TW_ROLE_OPERATOR + 1] = {
    [TW_SESSION_CLOSED] = EVERY_ROLE(0, "nothing"),
    [TW_SESSION_HELLO] = EVERY_ROLE(BIT(HELLO), "Hello"),
    [TW_SESSION_PROOF] = EVERY_ROLE(BIT(PROOF), "Proof"),
    [TW_SESSION_KNOWN] = EVERY_ROLE(BIT(JOIN) | BIT(ATTACH) | BIT(SERVE), "Join, Attach or Serve"),
    [TW_SESSION_JOINING] = EVERY_ROLE(BIT(PING) | BIT(BYE), "Ping or Bye, until Welcome has come"),
    [TW_SESSION_ATTACHING] = EVERY_ROLE(0, "nothing, until Attached has come,"),
    [TW_SESSION_CONTROL] =
        {
            [TW_ROLE_WORKER] = {BIT(PING) | BIT(PONG) | BIT(BYE), "Ping, Pong or Bye"},
            [TW_ROLE_EVALUATOR] = {BIT(ASK) | BIT(EVALUATION) | BIT(TALLY) | BIT(PING) | BIT(PONG) |
                                       BIT(BYE),
                                   "Ask, Evaluation, Tally, Ping, Pong or Bye"},
            [TW_ROLE_OPERATOR] = {BIT(QUERY) | BIT(TURN) | BIT(PING) | BIT(PONG) | BIT(BYE),
                                  "Query, Turn, Ping, Pong or Bye"},
        },
    [TW_SESSION_BULK] =
        {
            [TW_ROLE_WORKER] = {BIT(PUSH) | BIT(END), "Push or End"},
            [TW_ROLE_EVALUATOR] = {0, "nothing"},
            [TW_ROLE_OPERATOR] = {0, "nothing"},
        },
    [TW_SESSION_SERVER] = EVERY_ROLE(BIT(READY) | BIT(SUMS) | BIT(REACH) | BIT(SAMPLE) |
                                         BIT(SQUARES) | BIT(PING) | BIT(PONG) | BIT(BYE),
                                     "Ready, Sums, Reach, Sample, Squares, Ping, Pong or Bye"),
};

enum tw_status tw_session_allows(const struct tw_session *session, enum tw_body body,
                                 struct tw_error *error) {
    const struct right *right = &rights[session->state][session->role];
    if ((unsigned)body < 64 && right->bodies >> body & 1)
        return TW_OK;
    return tw_error_set(error, TW_UNEXPECTED, "%s came where only %s may come", tw_body_name(body),
                        right->names);
}
