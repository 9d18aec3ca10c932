/* Encodings of the wire: against their definitions, for every value that they have and every
 * border between two, and the same bits on every instruction set. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/denormals.h"
#include "common/base/rng.h"
#include "common/tensor/encoding.h"
#include "tests/lib/cpu.h"

/* The kernels as compiled by tests/lib/kernel_sets.cmake for one instruction set each. */
struct half {
    void (*encode)(void *, const float *, size_t);
    void (*decode)(float *, const void *, size_t);
};
struct set {
    const char *name;
    struct half half[2]; /* bf16, f16 */
};
#define DECLARE(prefix)                                                                            \
    void prefix##_tw_bf16_encode(void *, const float *, size_t);                                   \
    void prefix##_tw_bf16_decode(float *, const void *, size_t);                                   \
    void prefix##_tw_f16_encode(void *, const float *, size_t);                                    \
    void prefix##_tw_f16_decode(float *, const void *, size_t);
#define SET(prefix)                                                                                \
    {#prefix,                                                                                      \
     {{prefix##_tw_bf16_encode, prefix##_tw_bf16_decode},                                          \
      {prefix##_tw_f16_encode, prefix##_tw_f16_decode}}},
TW_TEST_SETS(DECLARE)

static const struct set sets[] = {
    {"shipped", {{tw_bf16_encode, tw_bf16_decode}, {tw_f16_encode, tw_f16_decode}}},
    TW_TEST_SETS(SET)};

/* What the two are by definition: sign, `exponent` bits, the rest digits. */
static const struct format { int exponent; } formats[] = {{8}, {5}};

enum { CODES = 1 << 16, SIGN = 1 << 15 };

static uint16_t infinity_of(const struct format *format) {
    return (uint16_t)(((1 << format->exponent) - 1) << (15 - format->exponent));
}

/* The value of a code without a sign, finite or infinite; also of the one after the largest,
 * if exponents went on. */
static double value_of(const struct format *format, uint32_t code) {
    int digits = 15 - format->exponent, bias = (1 << (format->exponent - 1)) - 1;
    int exponent = (int)(code >> digits);
    double fraction = (double)(code & ((1u << digits) - 1));
    if (exponent == 0)
        return ldexp(fraction, 1 - bias - digits);
    return ldexp(fraction + ldexp(1, digits), exponent - bias - digits);
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The nearest code of a float, by looking for it. */
static uint16_t nearest(const struct format *format, uint32_t bits) {
    uint32_t inf = infinity_of(format), below = 0, above = inf;
    uint32_t sign = bits >> 16 & SIGN, mantissa = bits & 0x7fffff;
    double size = fabs((double)float_of(bits & 0x7fffffff));
    if ((bits & 0x7fffffff) > 0x7f800000) {
        int digits = 15 - format->exponent;
        return (uint16_t)(sign | inf | 1u << (digits - 1) | mantissa >> (23 - digits));
    }
    if (size >= value_of(format, inf))
        return (uint16_t)(sign | inf);
    while (above - below > 1) { /* value(below) <= size < value(above) */
        uint32_t middle = (below + above) / 2;
        if (value_of(format, middle) <= size)
            below = middle;
        else
            above = middle;
    }
    double down = size - value_of(format, below), up = value_of(format, above) - size;
    bool take_above = up < down || (up == down && below % 2 == 1);
    return (uint16_t)(sign | (take_above ? above : below));
}

static void every_code_is_the_value_it_stands_for(void **unused) {
    uint16_t *codes = malloc(CODES * sizeof *codes);
    float *values = malloc(CODES * sizeof *values);
    for (int i = 0; i < CODES; i++)
        codes[i] = (uint16_t)i;
    TW_TEST_EACH_SET(set, sets) for (int f = 0; f < 2; f++) {
        uint16_t inf = infinity_of(&formats[f]);
        set->half[f].decode(values, codes, CODES);
        for (uint32_t i = 0; i < CODES; i++) {
            uint32_t size = i & ~(uint32_t)SIGN, sign = (i & SIGN) << 16;
            int digits = 15 - formats[f].exponent;
            uint32_t expected;
            if (size >= inf) /* NaN keeps its payload */
                expected = 0x7f800000 | (size & ((1u << digits) - 1)) << (23 - digits);
            else
                expected = bits_of((float)value_of(&formats[f], size));
            assert_int_equal(bits_of(values[i]), sign | expected);
        }
    }
    free(codes);
    free(values);
}

static void what_was_decoded_is_encoded_as_it_was(void **unused) {
    uint16_t *codes = malloc(CODES * sizeof *codes), *again = malloc(CODES * sizeof *again);
    float *values = malloc(CODES * sizeof *values);
    for (int i = 0; i < CODES; i++)
        codes[i] = (uint16_t)i;
    TW_TEST_EACH_SET(set, sets) for (int f = 0; f < 2; f++) {
        uint16_t inf = infinity_of(&formats[f]);
        uint16_t quiet = (uint16_t)(1u << (14 - formats[f].exponent));
        set->half[f].decode(values, codes, CODES);
        set->half[f].encode(again, values, CODES);
        for (uint32_t i = 0; i < CODES; i++) {
            bool nan = (i & ~(uint32_t)SIGN) > inf;
            assert_int_equal(again[i], nan ? i | quiet : i);
        }
    }
    free(codes);
    free(again);
    free(values);
}

/* Every value, the middle to the next one, and the floats next to these, with both signs. */
static size_t border_cases(const struct format *format, float *out) {
    uint16_t inf = infinity_of(format);
    size_t count = 0;
    for (uint32_t code = 0; code < inf; code++) {
        double value = value_of(format, code), next = value_of(format, code + 1);
        float points[] = {(float)value, (float)((value + next) / 2)};
        for (int i = 0; i < 2; i++) {
            float around[] = {points[i], nextafterf(points[i], INFINITY),
                              nextafterf(points[i], -INFINITY)};
            for (int k = 0; k < 3; k++) {
                out[count++] = around[k];
                out[count++] = -around[k];
            }
        }
    }
    return count;
}

static void compare(const struct format *format, const struct half *half, const float *values,
                    size_t count, const uint16_t *expected, uint16_t *codes) {
    half->encode(codes, values, count);
    for (size_t i = 0; i < count; i++)
        if (codes[i] != expected[i])
            fail_msg("%d bits of exponent: %08x is %04x, but comes out as %04x", format->exponent,
                     bits_of(values[i]), expected[i], codes[i]);
}

static void check_encoding(int f, const float *values, size_t count) {
    uint16_t *expected = malloc(count * sizeof *expected), *codes = malloc(count * sizeof *codes);
    for (size_t i = 0; i < count; i++)
        expected[i] = nearest(&formats[f], bits_of(values[i]));
    TW_TEST_EACH_SET(set, sets) compare(&formats[f], &set->half[f], values, count, expected, codes);
    free(expected);
    free(codes);
}

static void borders_are_rounded_to_nearest_and_ties_to_even(void **unused) {
    float *values = malloc((size_t)CODES * 6 * sizeof *values);
    for (int f = 0; f < 2; f++)
        check_encoding(f, values, border_cases(&formats[f], values));
    free(values);
}

static void any_bits_at_all_are_rounded_to_nearest(void **unused) {
    enum { COUNT = 1 << 18 };
    float *values = malloc(COUNT * sizeof *values);
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < COUNT; i++)
        values[i] = float_of((uint32_t)tw_rng_below(&rng, UINT64_C(1) << 32));
    for (int f = 0; f < 2; f++)
        check_encoding(f, values, COUNT);
    free(values);
}

static void special_values_are_what_the_header_says(void **unused) {
    static const struct {
        uint32_t bits;
        uint16_t code[2];
    } rows[] = {
        {0x00000000, {0x0000, 0x0000}}, {0x80000000, {0x8000, 0x8000}}, /* zeros */
        {0x7f800000, {0x7f80, 0x7c00}}, {0xff800000, {0xff80, 0xfc00}}, /* infinities */
        {0x7fc00000, {0x7fc0, 0x7e00}}, {0xffc00001, {0xffc0, 0xfe00}}, /* quiet NaN */
        {0x7f800001, {0x7fc0, 0x7e00}}, {0x7fa00000, {0x7fe0, 0x7f00}}, /* signalling NaN */
        {0x477fe000, {0x4780, 0x7bff}},                                 /* 65504 */
        {0x477fefff, {0x4780, 0x7bff}}, {0x477ff000, {0x4780, 0x7c00}}, /* around 65520 */
        {0x7f7fffff, {0x7f80, 0x7c00}}, {0x7f7f7fff, {0x7f7f, 0x7c00}}, /* around the largest */
        {0x33000000, {0x3300, 0x0000}}, {0x33000001, {0x3300, 0x0001}}, /* around 2^-25 */
        {0x00000001, {0x0000, 0x0000}}, {0x00008000, {0x0000, 0x0000}}, /* of float32 subnormal */
        {0x00008001, {0x0001, 0x0000}}, {0x00018000, {0x0002, 0x0000}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int f = 0; f < 2; f++) {
            float value = float_of(rows[i].bits);
            uint16_t code;
            tw_encodings[f + 1].encode(&code, &value, 1);
            assert_int_equal(code, rows[i].code[f]);
        }
}

/* The last test: there is no way back. */
static void flushing_denormals_changes_nothing(void **unused) {
    enum { ROOM = 6 * CODES };
    float *values[2], *back[2], *again = malloc(ROOM * sizeof *again);
    uint16_t *codes[2], *flushed = malloc(ROOM * sizeof *flushed);
    size_t count[2];
    for (int f = 0; f < 2; f++) {
        values[f] = malloc(ROOM * sizeof(float));
        back[f] = malloc(ROOM * sizeof(float));
        codes[f] = malloc(ROOM * sizeof(uint16_t));
        count[f] = border_cases(&formats[f], values[f]);
        tw_encodings[f + 1].encode(codes[f], values[f], count[f]);
        tw_encodings[f + 1].decode(back[f], codes[f], count[f]);
    }
    tw_flush_denormals();
    for (int f = 0; f < 2; f++) {
        tw_encodings[f + 1].encode(flushed, values[f], count[f]);
        tw_encodings[f + 1].decode(again, codes[f], count[f]);
        assert_memory_equal(codes[f], flushed, count[f] * sizeof(uint16_t));
        assert_memory_equal(back[f], again, count[f] * sizeof(float));
        free(values[f]);
        free(back[f]);
        free(codes[f]);
    }
    free(again);
    free(flushed);
}

/* Received into the end of its own place, of any size. */
static void a_chunk_is_decoded_where_it_arrived(void **unused) {
    enum { MOST = 1100 };
    float in[MOST], out[MOST + 1], rounded[MOST];
    unsigned char wire[4 * MOST];
    for (int i = 0; i < MOST; i++)
        in[i] = (float)i * 1.37F - 200;
    for (uint32_t e = 0; e < TW_ENCODINGS; e++)
        for (size_t count = 1; count <= MOST; count += count < 520 ? 1 : 67) {
            size_t bytes = tw_encoding_bytes(e, count);
            assert_true(bytes <= 4 * count);
            if (tw_encodings[e].encode)
                tw_encodings[e].encode(wire, in, count);
            else
                memcpy(wire, in, bytes);
            out[count] = 7;
            memcpy(tw_encoding_place(e, out, count), wire, bytes);
            tw_encoding_settle(e, out, count);
            tw_encoding_round(e, rounded, in, count);
            assert_memory_equal(out, rounded, count * sizeof *out);
            assert_true(out[count] == 7);
            for (size_t i = 0; i < count; i++) {
                float most = e == TW_ENCODING_BF16 ? 0x1p-8F : 0x1p-11F;
                assert_true(fabsf(out[i] - in[i]) <= most * fabsf(in[i]));
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_the_value_it_stands_for),
        cmocka_unit_test(what_was_decoded_is_encoded_as_it_was),
        cmocka_unit_test(borders_are_rounded_to_nearest_and_ties_to_even),
        cmocka_unit_test(any_bits_at_all_are_rounded_to_nearest),
        cmocka_unit_test(special_values_are_what_the_header_says),
        cmocka_unit_test(a_chunk_is_decoded_where_it_arrived),
        cmocka_unit_test(flushing_denormals_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
