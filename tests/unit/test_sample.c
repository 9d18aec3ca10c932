#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/rng.h"
#include "common/tensor/sample.h"
#include "tests/lib/cpu.h"

#define DECLARE(set)                                                                               \
    uint64_t set##_tw_block_hash(uint32_t tensor, uint64_t block, const float *x, size_t count);   \
    void set##_tw_block_sums_of_squared_changes(const float *before, const float *after,           \
                                                size_t count, double *out);
TW_TEST_SETS(DECLARE)

enum { ROW = 32, COUNT = 3 * TW_BLOCK_FLOATS + 1234 };

static float x[COUNT], y[COUNT];

static int fill(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_INIT, 0, 0);
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)(tw_rng_uniform(&rng) - 0.5);
        y[i] = x[i] + (float)(1e-3 * tw_rng_uniform(&rng));
    }
    return 0;
}

/* The values of tests/lib/talweg_trace.py for elements 0, 1, 2, ... as floats. */
static void the_hash_is_that_of_the_documentation(void **state) {
    static float counting[TW_BLOCK_FLOATS];
    for (uint32_t i = 0; i < TW_BLOCK_FLOATS; i++)
        counting[i] = (float)i;
    assert_true(tw_block_hash(0, 0, counting, 1) == UINT64_C(0xf8fd5a10b54d3aad));
    assert_true(tw_block_hash(3, 7, counting, 100) == UINT64_C(0x8643a08a8e6422b4));
    assert_true(tw_block_hash(1, 0, counting, TW_BLOCK_FLOATS) == UINT64_C(0xd559254f470e9961));
}

static void every_bit_matters(void **state) {
    uint64_t hash = tw_block_hash(0, 0, x, 1000);
    for (int i = 0; i < 1000; i += 7) {
        uint32_t bits, changed;
        memcpy(&bits, &x[i], sizeof bits);
        for (int bit = 0; bit < 32; bit++) {
            changed = bits ^ 1u << bit;
            memcpy(&x[i], &changed, sizeof bits);
            assert_true(tw_block_hash(0, 0, x, 1000) != hash);
        }
        memcpy(&x[i], &bits, sizeof bits);
    }
    assert_true(tw_block_hash(0, 0, x, 999) != hash);
    assert_true(tw_block_hash(1, 0, x, 1000) != hash);
    assert_true(tw_block_hash(0, 1, x, 1000) != hash);
    float two[ROW * 4] = {0}, other[ROW * 4] = {0};
    other[0] = other[ROW] = -0.0F; /* two signs in one lane */
    assert_true(tw_block_hash(0, 0, two, ROW * 4) != tw_block_hash(0, 0, other, ROW * 4));
    assert_true(tw_block_hash(0, 0, two, 3) != tw_block_hash(0, 0, two, 4)); /* padding */
}

static struct tw_tensor_squares squares; /* of all that was taken since it was cleared */

static void take(struct tw_sample *sample, size_t from, size_t to) {
    tw_sample_hash(sample, 2, (int64_t)from, y + from, to - from);
    tw_sample_gradient(sample, x + from, to - from);
    tw_sample_change(sample, &squares, x + from, y + from, to - from);
}

static void chunks_and_servers_change_no_bit(void **state) {
    struct tw_sample whole, one, two;
    tw_sample_begin(&whole, 20, true, true);
    assert_true(whole.hashed && whole.summed);
    take(&whole, 0, COUNT);
    tw_sample_begin(&one, 20, true, true);
    tw_sample_begin(&two, 20, true, true);
    take(&two, 2 * TW_BLOCK_FLOATS, COUNT);
    take(&one, 0, TW_BLOCK_FLOATS);
    take(&two, TW_BLOCK_FLOATS, 2 * TW_BLOCK_FLOATS);
    tw_sample_merge(&one, &two);
    assert_true(one.hash == whole.hash);
    assert_memory_equal(&one.gradient, &whole.gradient, sizeof one.gradient);
    assert_memory_equal(&one.update, &whole.update, sizeof one.update);
    assert_memory_equal(&one.weights, &whole.weights, sizeof one.weights);
}

static void sums_are_those_of_squares(void **state) {
    struct tw_sample sample;
    double gradient = 0, update = 0, weights = 0;
    tw_sample_begin(&sample, 1, false, true);
    assert_false(sample.hashed);
    squares = (struct tw_tensor_squares){0};
    take(&sample, 0, COUNT);
    for (int i = 0; i < COUNT; i++) {
        gradient += (double)x[i] * (double)x[i];
        weights += (double)y[i] * (double)y[i];
        update += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
    }
    assert_true(fabs(tw_exact_sum_value(&sample.gradient) / gradient - 1) < 1e-12);
    assert_true(fabs(tw_exact_sum_value(&sample.update) / update - 1) < 1e-12);
    assert_true(fabs(tw_exact_sum_value(&sample.weights) / weights - 1) < 1e-12);
    assert_true(sample.hash == 0);
    assert_memory_equal(&squares.step, &sample.update, sizeof squares.step);
    assert_memory_equal(&squares.weights, &sample.weights, sizeof squares.weights);
}

static void a_version_is_sampled_every_so_often(void **state) {
    assert_false(tw_sample_is_due(30, 0) || tw_sample_is_due(30, 4));
    assert_true(tw_sample_is_due(30, 10) && tw_sample_is_due(30, 1));
}

static void one_that_has_anything_begins_empty(void **state) {
    static const bool has[][2] = {{true, false}, {false, true}, {true, true}};
    struct tw_sample sample;
    for (size_t i = 0; i < sizeof has / sizeof has[0]; i++) {
        memset(&sample, 0xff, sizeof sample);
        tw_sample_begin(&sample, 30, has[i][0], has[i][1]);
        assert_true(sample.version == 30 && sample.hash == 0);
        assert_true(sample.hashed == has[i][0] && sample.summed == has[i][1]);
        assert_true(tw_exact_sum_value(&sample.gradient) == 0);
        assert_true(tw_exact_sum_value(&sample.update) == 0);
        assert_true(tw_exact_sum_value(&sample.weights) == 0);
    }
    tw_sample_begin(&sample, 31, false, false);
    assert_false(sample.hashed || sample.summed);
}

#define COMPARE(set)                                                                               \
    if (tw_test_cpu_runs(#set)) {                                                                  \
        double ours[4], theirs[4];                                                                 \
        assert_true(set##_tw_block_hash(1, 2, x, 16000) == tw_block_hash(1, 2, x, 16000));         \
        tw_block_sums_of_squared_changes(x, y, COUNT, ours);                                       \
        set##_tw_block_sums_of_squared_changes(x, y, COUNT, theirs);                               \
        assert_memory_equal(ours, theirs, sizeof ours);                                            \
    }

static void instruction_sets_change_no_bit(void **state) {
    TW_TEST_SETS(COMPARE)
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_that_of_the_documentation),
        cmocka_unit_test(every_bit_matters),
        cmocka_unit_test(chunks_and_servers_change_no_bit),
        cmocka_unit_test(sums_are_those_of_squares),
        cmocka_unit_test(a_version_is_sampled_every_so_often),
        cmocka_unit_test(one_that_has_anything_begins_empty),
        cmocka_unit_test(instruction_sets_change_no_bit),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
