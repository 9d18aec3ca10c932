/* The server's side of one connection, up to the point where it is known who the
 * peer is and what it may say.
 *
 *   HELLO -Hello-> PROOF -Proof-> KNOWN -Join-> JOINING -(rank)-> CONTROL
 *                                       -Attach-> BULK
 *                                       -Serve-> SERVER
 *
 * An operator joins without a rank and is in CONTROL at once; it has no bulk connection.
 *
 * Any other frame, or one that is wrong, ends the connection with a named status.
 * Pure: random bytes come in at init.
 */
#ifndef TW_CORE_SESSION_H
#define TW_CORE_SESSION_H

#include "common/tensor/encoding.h"
#include "common/tensor/tensor.h"
#include "proto/frame.h"

enum tw_session_state {
    TW_SESSION_CLOSED,
    TW_SESSION_HELLO,
    TW_SESSION_PROOF,
    TW_SESSION_KNOWN,
    TW_SESSION_JOINING, /* has asked for a rank */
    TW_SESSION_CONTROL,
    TW_SESSION_ATTACHING, /* has shown a session that the lead has not told us of yet */
    TW_SESSION_BULK,
    TW_SESSION_SERVER, /* another server's link to the lead; `rank` is its index */
};

/* What all sessions of a server check against. Borrowed. */
struct tw_session_terms {
    const void *token; /* shared secret, or NULL */
    size_t token_bytes;
    uint8_t job[TW_JOB_ID_BYTES];
    uint8_t digest[TW_DIGEST_BYTES];
    const struct tw_tensor_list *tensors;
    uint32_t push, pull; /* enum tw_encoding_number, of the job */
    uint32_t lanes;      /* that a connection may have; 0: one */
};

struct tw_session {
    enum tw_session_state state;
    enum tw_role role;
    uint32_t rank, incarnation; /* CONTROL and BULK of a worker */
    uint8_t nonce[TW_NONCE_BYTES];
    uint8_t peer_nonce[TW_NONCE_BYTES];
    uint8_t proof[TW_PROOF_BYTES];
};

void tw_session_open(struct tw_session *session, const uint8_t nonce[TW_NONCE_BYTES]);

/* HMAC-SHA256(token, "talweg server" or "talweg client" || client || server nonce). */
void tw_session_proof(const void *token, size_t token_bytes, const char *side,
                      const uint8_t client[TW_NONCE_BYTES], const uint8_t server[TW_NONCE_BYTES],
                      uint8_t proof[TW_PROOF_BYTES]);

/* The handshake's frames (states HELLO and PROOF). *answer: a frame to send, its
 * body TW_BODY_NONE when there is none; it borrows from the session. */
enum tw_status tw_session_greet(struct tw_session *session, const struct tw_session_terms *terms,
                                const struct tw_frame *frame, struct tw_frame *answer,
                                struct tw_error *error);

/* Whether a Join fits this job: job id, digest, every tensor (an operator has none), and the
 * encodings that a worker must know. */
enum tw_status tw_session_check_join(const struct tw_session_terms *terms,
                                     const struct tw_join *join, struct tw_error *error);

/* Whether the session may send this body now; TW_UNEXPECTED says what it may. */
enum tw_status tw_session_allows(const struct tw_session *session, enum tw_body body,
                                 struct tw_error *error);

#endif
