#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "common/base/rng.h"

/* The expected numbers are NumPy's (1.24), made by
 *     def sequence(seed, stream, slot, step):
 *         return np.random.Philox(key=[seed, stream], counter=[0, step, slot, 0])
 * with np.uint64 arrays, and the Python of rng.h. */

static void values_are_those_of_numpy(void **state) {
    static const uint64_t raw[10] = {
        0x65449a2eae3e845a, 0x267e7e979fea7be9, 0x62103c6edc3cf150, 0x8ec5e076e25e37c2,
        0xbf5ed76178b29c27, 0x2f840c688957e308, 0x7c8b8840afd28bf8, 0x4a7ce5ec9a2dd543,
        0x6544ff4452d24cb0, 0xf0ea15c249ed764e,
    };
    struct tw_rng rng;
    tw_rng_init(&rng, 42, TW_STREAM_INIT, 3, 7);
    for (int i = 0; i < 10; i++)
        assert_true(tw_rng_next(&rng) == raw[i]);
}

static void names_may_use_all_bits(void **state) {
    static const uint64_t raw[5] = {0x4b286ebc99c6969a, 0xc27714a486b06996, 0x7821d7b8c1d983e6,
                                    0x616af740a44c3a6f, 0x2a28ff1218ee4cd1};
    struct tw_rng rng;
    tw_rng_init(&rng, UINT64_MAX, TW_STREAM_SAMPLING, UINT64_MAX - 1, UINT64_MAX);
    for (int i = 0; i < 5; i++)
        assert_true(tw_rng_next(&rng) == raw[i]);
}

static void uniform_is_that_of_numpy(void **state) {
    static const double expected[6] = {
        0x1.951268bab8fa0p-2, 0x1.33f3f4bcff53cp-3, 0x1.8840f1bb70f3cp-2,
        0x1.1d8bc0edc4bc6p-1, 0x1.7ebdaec2f1653p-1, 0x1.7c2063444abf0p-3,
    };
    struct tw_rng rng;
    tw_rng_init(&rng, 42, TW_STREAM_INIT, 3, 7);
    for (int i = 0; i < 6; i++)
        assert_true(tw_rng_uniform(&rng) == expected[i]);
}

static void shuffle_is_the_one_in_the_header(void **state) {
    static const uint32_t expected[16] = {13, 7, 9, 11, 2, 6, 0, 8, 10, 3, 14, 1, 5, 12, 15, 4};
    struct tw_rng rng;
    uint32_t items[16];
    for (uint32_t i = 0; i < 16; i++)
        items[i] = i;
    tw_rng_init(&rng, 42, TW_STREAM_SAMPLING, 0, 5);
    tw_rng_shuffle(&rng, items, 16);
    assert_memory_equal(items, expected, sizeof items);
}

/* n just above 2^63 throws away nearly half of all values. */
static void below_rejects_as_documented(void **state) {
    static const uint64_t expected[6] = {0x5bed24578f7fc024, 0x5bced1860fb9628b,
                                         0x76c8c86026a8bbf8, 0x2d918010ca889a75,
                                         0x79588491eca8a2e3, 0x24e02e84dbfb1bc1};
    struct tw_rng rng;
    tw_rng_init(&rng, 7, TW_STREAM_SAMPLING, 0, 0);
    for (int i = 0; i < 6; i++)
        assert_true(tw_rng_below(&rng, (UINT64_C(1) << 63) + 1) == expected[i]);
}

static void below_is_even_and_in_range(void **state) {
    enum { N = 7, DRAWS = 70000 };
    int count[N] = {0};
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t value = tw_rng_below(&rng, N);
        assert_true(value < N);
        count[value]++;
    }
    double chi2 = 0.0;
    for (int i = 0; i < N; i++)
        chi2 += pow(count[i] - DRAWS / N, 2) / (DRAWS / N);
    assert_true(chi2 < 22.5); /* 6 degrees of freedom, p = 0.001 */
}

static void below_one_and_below_nothing_give_zero(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_NOISE, 0, 0);
    assert_true(tw_rng_below(&rng, 1) == 0);
    assert_true(tw_rng_below(&rng, 0) == 0);
}

static void shuffle_keeps_every_item(void **state) {
    enum { N = 1000 };
    uint32_t items[N];
    unsigned char seen[N] = {0};
    struct tw_rng rng;
    for (uint32_t i = 0; i < N; i++)
        items[i] = i;
    tw_rng_init(&rng, 3, TW_STREAM_SAMPLING, 0, 1);
    tw_rng_shuffle(&rng, items, N);
    int moved = 0;
    for (uint32_t i = 0; i < N; i++) {
        assert_true(items[i] < N);
        assert_int_equal(seen[items[i]]++, 0);
        moved += items[i] != i;
    }
    assert_true(moved > N / 2);
    tw_rng_shuffle(&rng, items, 0); /* nothing to do, nothing touched */
    tw_rng_shuffle(&rng, NULL, 0);
}

static void any_value_can_be_had_by_its_index(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 9, TW_STREAM_DELAY, 4, 11);
    for (uint64_t i = 0; i < 41; i++) {
        struct tw_rng copy = rng;
        assert_true(tw_rng_at(9, TW_STREAM_DELAY, 4, 11, i) == tw_rng_next(&rng));
        struct tw_rng same = copy;
        assert_true(tw_rng_uniform_at(9, TW_STREAM_DELAY, 4, 11, i) == tw_rng_uniform(&copy));
        assert_true(tw_rng_normal_at(9, TW_STREAM_DELAY, 4, 11, i) == tw_rng_normal(&same));
    }
}

static void an_index_beyond_all_memory_is_as_quick(void **state) {
    /* NumPy with counter=[2**40, 7, 3, 0]: its first block is our number 2^40. */
    static const uint64_t raw[4] = {0x369eec1bcca75887, 0xc1083690ec007462, 0x185e63bfd8058f5d,
                                    0x004b94b455ec5127};
    for (uint64_t lane = 0; lane < 4; lane++)
        assert_true(tw_rng_at(42, TW_STREAM_INIT, 3, 7, (UINT64_C(4) << 40) + lane) == raw[lane]);
}

static void seek_goes_on_at_any_value(void **state) {
    static const uint64_t places[] = {5, 4, 3, 0, 1000, 7, UINT64_C(1) << 50};
    struct tw_rng rng;
    tw_rng_init(&rng, 9, TW_STREAM_DROPOUT, 1, 2);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        tw_rng_seek(&rng, places[i]);
        for (uint64_t k = 0; k < 9; k++)
            assert_true(tw_rng_next(&rng) == tw_rng_at(9, TW_STREAM_DROPOUT, 1, 2, places[i] + k));
    }
}

static void each_part_of_the_name_matters(void **state) {
    uint64_t value[5] = {
        tw_rng_at(1, TW_STREAM_INIT, 1, 1, 1),     tw_rng_at(2, TW_STREAM_INIT, 1, 1, 1),
        tw_rng_at(1, TW_STREAM_SAMPLING, 1, 1, 1), tw_rng_at(1, TW_STREAM_INIT, 2, 1, 1),
        tw_rng_at(1, TW_STREAM_INIT, 1, 2, 1),
    };
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++)
            assert_true(value[i] != value[j]);
}

static void normal_has_mean_0_variance_1_and_light_tails(void **state) {
    enum { N = 200000 };
    struct tw_rng rng;
    double sum = 0, squares = 0, fourths = 0;
    int beyond2 = 0;
    tw_rng_init(&rng, 5, TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < N; i++) {
        double z = tw_rng_normal(&rng);
        sum += z;
        squares += z * z;
        fourths += z * z * z * z;
        beyond2 += fabs(z) > 2.0;
    }
    /* Four standard errors each. */
    assert_true(fabs(sum / N) < 4 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 4 * sqrt(2.0 / N));
    assert_true(fabs(fourths / N - 3) < 4 * sqrt(96.0 / N));
    assert_true(fabs(beyond2 / (double)N - 0.0455003) < 4 * sqrt(0.0455 / N));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_numpy),
        cmocka_unit_test(names_may_use_all_bits),
        cmocka_unit_test(uniform_is_that_of_numpy),
        cmocka_unit_test(shuffle_is_the_one_in_the_header),
        cmocka_unit_test(below_rejects_as_documented),
        cmocka_unit_test(below_is_even_and_in_range),
        cmocka_unit_test(below_one_and_below_nothing_give_zero),
        cmocka_unit_test(shuffle_keeps_every_item),
        cmocka_unit_test(any_value_can_be_had_by_its_index),
        cmocka_unit_test(an_index_beyond_all_memory_is_as_quick),
        cmocka_unit_test(seek_goes_on_at_any_value),
        cmocka_unit_test(each_part_of_the_name_matters),
        cmocka_unit_test(normal_has_mean_0_variance_1_and_light_tails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
