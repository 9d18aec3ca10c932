/* The SHA256_ functions are called deprecated in favour of EVP, which allocates a
 * context and so can fail in the middle of a hash. These cannot. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/base/digest.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/random.h>

#define HMAC_BLOCK_BYTES 64

static_assert(sizeof(SHA256_CTX) <= sizeof(struct tw_sha256), "struct tw_sha256 is too small");
static_assert(_Alignof(SHA256_CTX) <= _Alignof(struct tw_sha256), "wrong alignment");

static SHA256_CTX *context(struct tw_sha256 *sha) {
    return (SHA256_CTX *)(void *)sha->opaque;
}

void tw_sha256_init(struct tw_sha256 *sha) {
    memset(sha, 0, sizeof *sha);
    SHA256_Init(context(sha));
}

void tw_sha256_update(struct tw_sha256 *sha, const void *bytes, size_t size) {
    if (size > 0)
        SHA256_Update(context(sha), bytes, size);
}

void tw_sha256_final(struct tw_sha256 *sha, uint8_t out[TW_SHA256_BYTES]) {
    SHA256_Final(out, context(sha));
    OPENSSL_cleanse(sha, sizeof *sha); /* it may have hashed a secret */
}

void tw_sha256(const void *bytes, size_t size, uint8_t out[TW_SHA256_BYTES]) {
    struct tw_sha256 sha;
    tw_sha256_init(&sha);
    tw_sha256_update(&sha, bytes, size);
    tw_sha256_final(&sha, out);
}

/* out = H((key xor pad) || data); RFC 2104 is this twice. */
static void keyed_hash(const uint8_t key[HMAC_BLOCK_BYTES], uint8_t pad, const void *data,
                       size_t size, uint8_t out[TW_SHA256_BYTES]) {
    uint8_t padded[HMAC_BLOCK_BYTES];
    for (size_t i = 0; i < sizeof padded; i++)
        padded[i] = key[i] ^ pad;
    struct tw_sha256 sha;
    tw_sha256_init(&sha);
    tw_sha256_update(&sha, padded, sizeof padded);
    tw_sha256_update(&sha, data, size);
    tw_sha256_final(&sha, out);
    OPENSSL_cleanse(padded, sizeof padded);
}

void tw_hmac_sha256(const void *key, size_t key_bytes, const void *data, size_t data_bytes,
                    uint8_t out[TW_SHA256_BYTES]) {
    uint8_t block[HMAC_BLOCK_BYTES] = {0}, inner[TW_SHA256_BYTES];
    if (key_bytes > sizeof block)
        tw_sha256(key, key_bytes, block);
    else if (key_bytes > 0)
        memcpy(block, key, key_bytes);
    keyed_hash(block, 0x36, data, data_bytes, inner);
    keyed_hash(block, 0x5c, inner, sizeof inner, out);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(inner, sizeof inner);
}

bool tw_equal_secret(const void *a, const void *b, size_t size) {
    return size == 0 || CRYPTO_memcmp(a, b, size) == 0;
}

enum tw_status tw_random_bytes(void *out, size_t size) {
    size_t have = 0;
    while (have < size) {
        ssize_t got = getrandom((char *)out + have, size - have, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            memset(out, 0, size);
            return TW_IO;
        }
        have += (size_t)got;
    }
    return TW_OK;
}

void tw_hex(const void *bytes, size_t size, char *out) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[byte[i] >> 4];
        out[2 * i + 1] = digits[byte[i] & 15];
    }
    out[2 * size] = '\0';
}
