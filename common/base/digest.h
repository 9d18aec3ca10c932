/* Hashes, proofs of a shared secret, and bytes that nobody can guess.
 *
 * Who uses it: the job's and the model's digest, the handshake (docs/protocol.md),
 * nonces and session ids. SHA-256 and the constant-time comparison come from
 * libcrypto; digest.c is the only file that includes its headers.
 *
 * Hashing allocates nothing and cannot fail; only tw_random_bytes() can.
 */
#ifndef TW_BASE_DIGEST_H
#define TW_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

#define TW_SHA256_BYTES 32
#define TW_SHA256_HEX (2 * TW_SHA256_BYTES + 1) /* as text, with its zero */

/* A hash in progress: the caller's storage, no fini, may be copied to fork it. */
struct tw_sha256 {
    uint64_t opaque[16];
};

/* init, then update as often as you like, then final once; after final only init
 * is allowed. The split into updates does not matter. */
void tw_sha256_init(struct tw_sha256 *sha);
void tw_sha256_update(struct tw_sha256 *sha, const void *bytes, size_t size);
void tw_sha256_final(struct tw_sha256 *sha, uint8_t out[TW_SHA256_BYTES]);

/* The three in one. `bytes` may be NULL when size is 0. */
void tw_sha256(const void *bytes, size_t size, uint8_t out[TW_SHA256_BYTES]);

/* HMAC-SHA256 (RFC 2104); a key and data of any length, also 0. */
void tw_hmac_sha256(const void *key, size_t key_bytes, const void *data, size_t data_bytes,
                    uint8_t out[TW_SHA256_BYTES]);

/* Whether both are the same; the time depends on `size` only, never on where they
 * differ. Use it for every comparison with something secret. */
bool tw_equal_secret(const void *a, const void *b, size_t size);

/* Fills `out` with unpredictable bytes from the kernel. TW_IO when it has none to
 * give; then `out` is all zero and must not be used. */
enum tw_status tw_random_bytes(void *out, size_t size);

/* Lower-case hexadecimal: 2 * size characters and a zero. */
void tw_hex(const void *bytes, size_t size, char *out);

#endif
