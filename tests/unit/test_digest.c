#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/digest.h"

static void assert_hex(const uint8_t digest[TW_SHA256_BYTES], const char *expected) {
    char hex[TW_SHA256_HEX];
    tw_hex(digest, TW_SHA256_BYTES, hex);
    assert_string_equal(hex, expected);
}

/* FIPS 180-2, appendix B, and the empty message. */
static void sha256_has_its_known_answers(void **state) {
    uint8_t digest[TW_SHA256_BYTES];
    tw_sha256(NULL, 0, digest);
    assert_hex(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    tw_sha256("abc", 3, digest);
    assert_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    tw_sha256(two_blocks, strlen(two_blocks), digest);
    assert_hex(digest, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void a_million_letters_in_uneven_pieces(void **state) {
    struct tw_sha256 sha;
    uint8_t digest[TW_SHA256_BYTES];
    char letters[997];
    memset(letters, 'a', sizeof letters);
    tw_sha256_init(&sha);
    for (size_t left = 1000000, piece = 0; left > 0; left -= piece) {
        piece = (piece * 31 + 7) % sizeof letters;
        if (piece > left)
            piece = left;
        tw_sha256_update(&sha, letters, piece);
    }
    tw_sha256_final(&sha, digest);
    assert_hex(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void a_copy_forks_the_hash(void **state) {
    struct tw_sha256 sha, fork;
    uint8_t digest[TW_SHA256_BYTES];
    tw_sha256_init(&sha);
    tw_sha256_update(&sha, "ab", 2);
    fork = sha;
    tw_sha256_update(&sha, "x", 1);
    tw_sha256_final(&sha, digest);
    tw_sha256_update(&fork, "c", 1);
    tw_sha256_final(&fork, digest);
    assert_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* RFC 4231, test cases 1, 2, 3 and 6 (a key longer than a block). */
static void hmac_has_its_known_answers(void **state) {
    uint8_t digest[TW_SHA256_BYTES], key[131], data[50];
    memset(key, 0x0b, 20);
    tw_hmac_sha256(key, 20, "Hi There", 8, digest);
    assert_hex(digest, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    tw_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, digest);
    assert_hex(digest, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    tw_hmac_sha256(key, 20, data, sizeof data, digest);
    assert_hex(digest, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    tw_hmac_sha256(key, sizeof key, text, strlen(text), digest);
    assert_hex(digest, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hmac_of_nothing_with_no_key(void **state) {
    uint8_t digest[TW_SHA256_BYTES];
    tw_hmac_sha256(NULL, 0, NULL, 0, digest);
    assert_hex(digest, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void equal_secret_sees_every_byte(void **state) {
    uint8_t a[33] = {0}, b[33] = {0};
    assert_true(tw_equal_secret(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] = 0x80;
        assert_false(tw_equal_secret(a, b, sizeof a));
        assert_true(tw_equal_secret(a, b, i));
        b[i] = 0;
    }
    assert_true(tw_equal_secret(NULL, NULL, 0));
}

static void random_bytes_fill_all_and_differ(void **state) {
    static uint8_t a[1000], b[1000];
    assert_int_equal(tw_random_bytes(a, sizeof a), TW_OK);
    assert_int_equal(tw_random_bytes(b, sizeof b), TW_OK);
    assert_memory_not_equal(a, b, sizeof a);
    size_t zeros = 0;
    for (size_t i = sizeof a - 100; i < sizeof a; i++)
        zeros += a[i] == 0;
    assert_true(zeros < 20);
    assert_int_equal(tw_random_bytes(a, 0), TW_OK);
}

static void hex_is_lower_case_and_terminated(void **state) {
    char out[9];
    tw_hex("\x00\x9f\xf0\xab", 4, out);
    assert_string_equal(out, "009ff0ab");
    tw_hex(NULL, 0, out);
    assert_string_equal(out, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_has_its_known_answers),
        cmocka_unit_test(a_million_letters_in_uneven_pieces),
        cmocka_unit_test(a_copy_forks_the_hash),
        cmocka_unit_test(hmac_has_its_known_answers),
        cmocka_unit_test(hmac_of_nothing_with_no_key),
        cmocka_unit_test(equal_secret_sees_every_byte),
        cmocka_unit_test(random_bytes_fill_all_and_differ),
        cmocka_unit_test(hex_is_lower_case_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
