/* Varints, many bytes at a time: the bytes and the values of a loop over single ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "proto/varint.h"

static size_t put_bytewise(unsigned char *out, uint64_t value) {
    size_t bytes = 0;
    for (; value > 0x7f; value >>= 7)
        out[bytes++] = (unsigned char)(0x80 | (value & 0x7f));
    out[bytes++] = (unsigned char)value;
    return bytes;
}

static int get_bytewise(const unsigned char *at, size_t size, int longest, uint64_t *value) {
    uint64_t sum = 0;
    for (int i = 0; i < longest; i++) {
        if ((size_t)i >= size)
            return TW_VARINT_SHORT;
        if (i == 9 && at[i] > 1)
            return TW_VARINT_OVERLONG;
        sum += (uint64_t)(at[i] % 128) << (7 * i);
        if (at[i] < 128) {
            *value = sum;
            return i + 1;
        }
    }
    return TW_VARINT_OVERLONG;
}

/* Into a buffer that ends with it, where a sanitizer sees a byte too many. */
static void check_put(uint64_t value) {
    unsigned char expected[TW_VARINT_MAX];
    size_t bytes = put_bytewise(expected, value);
    unsigned char *out = malloc(bytes);
    assert_non_null(out);
    assert_int_equal(tw_varint_bytes(value), bytes);
    assert_int_equal(tw_varint_put(out, value), bytes);
    assert_memory_equal(out, expected, bytes);
    free(out);
}

/* From a buffer that ends behind `size` bytes. */
static void check_get(const unsigned char *bytes, size_t size, int longest) {
    uint64_t value = 0, expected = 0;
    unsigned char *at = malloc(size + 1);
    assert_non_null(at);
    memcpy(at + 1, bytes, size);
    assert_int_equal(tw_varint_get(at + 1, size, longest, &value),
                     get_bytewise(bytes, size, longest, &expected));
    assert_int_equal(value, expected);
    free(at);
}

static void check_get_everywhere(const unsigned char *bytes, size_t size) {
    for (size_t have = 0; have <= size; have++)
        for (int longest = 1; longest <= TW_VARINT_MAX; longest++)
            check_get(bytes, have, longest);
}

/* As it is written, with others behind it. */
static void check_value(uint64_t value) {
    unsigned char bytes[2 * TW_VARINT_MAX];
    check_put(value);
    memset(bytes, 0xff, sizeof bytes);
    put_bytewise(bytes, value);
    check_get_everywhere(bytes, sizeof bytes);
    memset(bytes, 0, sizeof bytes);
    put_bytewise(bytes, value);
    check_get_everywhere(bytes, sizeof bytes);
}

static void values_of_every_length(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_DELAY, 0, 0);
    for (int bits = 0; bits < 64; bits++) {
        uint64_t most = UINT64_C(2) << bits;
        check_value(most - 1);
        check_value(UINT64_C(1) << bits);
        for (int i = 0; i < 20; i++)
            check_value(tw_rng_next(&rng) >> bits);
    }
    check_value(0);
    check_value(UINT64_MAX);
}

/* Also those that nobody writes: too long, with zeros at the end, cut. */
static void whatever_comes_is_read_as_byte_by_byte(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 2, TW_STREAM_DELAY, 0, 0);
    for (int i = 0; i < 3000; i++) {
        unsigned char bytes[12];
        uint64_t words[2] = {tw_rng_next(&rng), tw_rng_next(&rng)};
        memcpy(bytes, words, sizeof bytes);
        size_t begin = tw_rng_below(&rng, sizeof bytes + 1);
        for (size_t k = 0; k < begin; k++)
            bytes[k] |= 0x80;
        check_get_everywhere(bytes, sizeof bytes);
    }
    unsigned char zeros[12] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0};
    check_get_everywhere(zeros, sizeof zeros);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_length),
        cmocka_unit_test(whatever_comes_is_read_as_byte_by_byte),
    };
    return cmocka_run_group_tests_name("varint", tests, NULL, NULL);
}
