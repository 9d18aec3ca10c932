/* Sums and checks of arrays: against their definitions, and the same bits on every
 * instruction set. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "tests/lib/cpu.h"

/* The kernels as compiled by tests/lib/kernel_sets.cmake for one instruction set each. */
struct set {
    const char *name;
    void (*sum_tree)(float *, const float *const *, int, size_t);
    void (*divide)(float *, float, size_t);
    void (*clamp)(float *, float, size_t);
    void (*add_multiple)(float *, const float *, float, size_t);
    void (*descend)(float *, const float *, const float *, float, float, size_t);
    void (*subtract)(float *, const float *, const float *, size_t);
    void (*multiply)(float *, const float *, float, size_t);
    void (*average)(float *, const float *, const float *, float, float, size_t);
    bool (*all_finite)(const float *, size_t);
    void (*squares)(const float *, size_t, double *);
};
#define DECLARE(prefix)                                                                            \
    void prefix##_tw_sum_tree(float *, const float *const *, int, size_t);                         \
    void prefix##_tw_divide(float *, float, size_t);                                               \
    void prefix##_tw_clamp(float *, float, size_t);                                                \
    void prefix##_tw_add_multiple(float *, const float *, float, size_t);                          \
    void prefix##_tw_descend(float *, const float *, const float *, float, float, size_t);         \
    void prefix##_tw_subtract(float *, const float *, const float *, size_t);                      \
    void prefix##_tw_multiply(float *, const float *, float, size_t);                              \
    void prefix##_tw_average(float *, const float *, const float *, float, float, size_t);         \
    bool prefix##_tw_all_finite(const float *, size_t);                                            \
    void prefix##_tw_block_sums_of_squares(const float *, size_t, double *);
#define SET(prefix)                                                                                \
    {#prefix,                                                                                      \
     prefix##_tw_sum_tree,                                                                         \
     prefix##_tw_divide,                                                                           \
     prefix##_tw_clamp,                                                                            \
     prefix##_tw_add_multiple,                                                                     \
     prefix##_tw_descend,                                                                          \
     prefix##_tw_subtract,                                                                         \
     prefix##_tw_multiply,                                                                         \
     prefix##_tw_average,                                                                          \
     prefix##_tw_all_finite,                                                                       \
     prefix##_tw_block_sums_of_squares},
TW_TEST_SETS(DECLARE)

static const struct set sets[] = {{"shipped", tw_sum_tree, tw_divide, tw_clamp, tw_add_multiple,
                                   tw_descend, tw_subtract, tw_multiply, tw_average, tw_all_finite,
                                   tw_block_sums_of_squares},
                                  TW_TEST_SETS(SET)};

static float *random_floats(uint64_t slot, size_t count) {
    struct tw_rng rng;
    float *x = malloc((count + 1) * sizeof *x);
    tw_rng_init(&rng, 1, TW_STREAM_NOISE, slot, 0);
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)ldexp(tw_rng_normal(&rng), (int)tw_rng_below(&rng, 20) - 10);
    }
    return x;
}

static float **random_inputs(int n, size_t count) {
    float **inputs = calloc((size_t)n, sizeof *inputs);
    for (int k = 0; k < n; k++) {
        inputs[k] = random_floats((uint64_t)k, count);
    }
    return inputs;
}

static void free_inputs(float **inputs, int n) {
    for (int k = 0; k < n; k++) {
        free(inputs[k]);
    }
    free(inputs);
}

/* The tree by its definition: a node of 2^k inputs is the sum of its halves; n
 * inputs are the largest such node that fits, plus the tree of the rest. */
static float tree(float **inputs, int n, size_t i) {
    if (n == 1) {
        return inputs[0][i];
    }
    int left = 1;
    while (2 * left < n) {
        left *= 2;
    }
    volatile float a = tree(inputs, left, i), b = tree(inputs + left, n - left, i);
    return a + b;
}

static void the_sum_is_the_tree(void **unused) {
    enum { N = 40, COUNT = 600 };
    float **inputs = random_inputs(N, COUNT);
    float out[COUNT];
    TW_TEST_EACH_SET(set, sets) {
        for (int n = 1; n <= N; n++) {
            set->sum_tree(out, (const float *const *)inputs, n, COUNT);
            for (size_t i = 0; i < COUNT; i++) {
                assert_true(out[i] == tree(inputs, n, i));
            }
        }
    }
    free_inputs(inputs, N);
}

static void the_order_matters_so_the_test_of_the_tree_can_fail(void **unused) {
    enum { N = 7, COUNT = 600 };
    float **inputs = random_inputs(N, COUNT);
    int differ = 0;
    for (size_t i = 0; i < COUNT; i++) {
        float sum = 0;
        for (int k = 0; k < N; k++) {
            sum += inputs[k][i];
        }
        differ += sum != tree(inputs, N, i);
    }
    assert_true(differ > COUNT / 10);
    free_inputs(inputs, N);
}

static void the_most_slots_are_summed(void **unused) {
    const float one = 1;
    const float *inputs[TW_SLOTS_MAX];
    float out;
    for (int n = TW_SLOTS_MAX - 1; n <= TW_SLOTS_MAX; n++) {
        for (int k = 0; k < n; k++) {
            inputs[k] = &one;
        }
        tw_sum_tree(&out, inputs, n, 1);
        assert_true(out == (float)n);
    }
}

static void aligned_runs_may_be_summed_before(void **unused) {
    enum { COUNT = 300 };
    float **inputs = random_inputs(13, COUNT);
    float all[COUNT], four[COUNT], last[COUNT], out[COUNT];
    tw_sum_tree(all, (const float *const *)inputs, 13, COUNT);
    tw_sum_tree(four, (const float *const *)inputs + 4, 4, COUNT);
    tw_sum_tree(last, (const float *const *)inputs + 8, 4, COUNT);
    const float *front[] = {inputs[0], inputs[1], inputs[2], inputs[3]};
    float first[COUNT];
    tw_sum_tree(first, front, 4, COUNT);
    float eight[COUNT];
    tw_sum_tree(eight, (const float *const[]){first, four}, 2, COUNT);
    float rest[COUNT];
    tw_sum_tree(rest, (const float *const[]){last, inputs[12]}, 2, COUNT);
    tw_sum_tree(out, (const float *const[]){eight, rest}, 2, COUNT);
    assert_memory_equal(out, all, sizeof out);
    free_inputs(inputs, 13);
}

static void the_result_may_replace_any_input(void **unused) {
    enum { N = 6, COUNT = 700 };
    float expected[COUNT];
    for (int n = 1; n <= N; n++) {
        for (int k = 0; k < n; k++) {
            float **inputs = random_inputs(N, COUNT);
            tw_sum_tree(expected, (const float *const *)inputs, n, COUNT);
            tw_sum_tree(inputs[k], (const float *const *)inputs, n, COUNT);
            assert_memory_equal(inputs[k], expected, sizeof expected);
            free_inputs(inputs, N);
        }
    }
}

static void sums_do_not_depend_on_the_split(void **unused) {
    enum { N = 5, COUNT = 2000 };
    float **inputs = random_inputs(N, COUNT);
    float whole[COUNT], parts[COUNT];
    tw_sum_tree(whole, (const float *const *)inputs, N, COUNT);
    for (size_t at = 0, size = 1; at < COUNT; at += size, size = size * 5 % 311 + 1) {
        const float *moved[N];
        for (int k = 0; k < N; k++) {
            moved[k] = inputs[k] + at;
        }
        tw_sum_tree(parts + at, moved, N, at + size < COUNT ? size : COUNT - at);
    }
    assert_memory_equal(whole, parts, sizeof whole);
    free_inputs(inputs, N);
}

static void division_is_rounded_once(void **unused) {
    enum { COUNT = 333 };
    float *x = random_floats(9, COUNT);
    float y[COUNT];
    static const float divisors[] = {1, 2, 3, 127, 128, 133, 1000, 65536, 3e7f};
    TW_TEST_EACH_SET(set, sets) {
        for (size_t d = 0; d < sizeof divisors / sizeof divisors[0]; d++) {
            memcpy(y, x, sizeof y);
            set->divide(y, divisors[d], COUNT);
            for (size_t i = 0; i < COUNT; i++) {
                /* 53 bits are more than twice 24: rounding twice rounds once. */
                assert_true(y[i] == (float)((double)x[i] / (double)divisors[d]));
            }
        }
    }
    free(x);
}

static void one_value_that_is_not_finite_is_found_anywhere(void **unused) {
    const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    enum { MOST = 70 };
    float x[MOST];
    TW_TEST_EACH_SET(set, sets) {
        for (size_t count = 1; count <= MOST; count += 3) {
            for (size_t i = 0; i < count; i++) {
                x[i] = i % 3 == 0 ? 3.4028235e38f : i % 3 == 1 ? -3.4028235e38f : 1e-45f;
            }
            assert_true(set->all_finite(x, count));
            for (size_t i = 0; i < count; i++) {
                float old = x[i];
                x[i] = bad[i % 4];
                assert_false(set->all_finite(x, count));
                x[i] = old;
            }
        }
        assert_true(set->all_finite(x, 0));
    }
}

/* The order of additions that the header promises. */
static double lanes_of(const float *x, size_t count) {
    double lane[16] = {0};
    for (size_t i = 0; i < count; i++) {
        volatile double square = (double)x[i] * (double)x[i];
        lane[i % 16] += square;
    }
    for (int half = 8; half > 0; half /= 2) {
        for (int j = 0; j < half; j++) {
            lane[j] += lane[j + half];
        }
    }
    return lane[0];
}

static void squares_are_summed_per_block_in_the_promised_order(void **unused) {
    const size_t counts[] = {0,
                             1,
                             15,
                             16,
                             17,
                             1000,
                             TW_BLOCK_FLOATS - 1,
                             TW_BLOCK_FLOATS,
                             TW_BLOCK_FLOATS + 1,
                             2 * TW_BLOCK_FLOATS + 77};
    float *x = random_floats(3, 3 * TW_BLOCK_FLOATS);
    TW_TEST_EACH_SET(set, sets) {
        for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
            double out[4] = {-1, -1, -1, -1};
            size_t blocks = tw_block_count(counts[k]);
            set->squares(x, counts[k], out);
            for (size_t b = 0; b < blocks; b++) {
                size_t first = b * TW_BLOCK_FLOATS, left = counts[k] - first;
                left = left < TW_BLOCK_FLOATS ? left : TW_BLOCK_FLOATS;
                assert_true(out[b] == lanes_of(x + first, left));
            }
            assert_true(out[blocks] == -1); /* nothing behind the last */
        }
    }
    free(x);
}

static void squares_of_large_floats_do_not_overflow(void **unused) {
    const float x[] = {3e38f, -3e38f};
    double out;
    tw_block_sums_of_squares(x, 2, &out);
    assert_true(fabs(out / 1.8e77 - 1) < 1e-6);
}

/* What is done around a rule: each element by itself, in place, NaN stays. */
static void clamps_and_multiples_are_element_wise(void **state) {
    enum { COUNT = 1003 };
    float *x = random_floats(1, COUNT), *y = random_floats(2, COUNT);
    x[3] = (float)NAN;
    x[4] = INFINITY;
    x[5] = -INFINITY;
    TW_TEST_EACH_SET(set, sets) {
        float z[COUNT];
        memcpy(z, x, sizeof z);
        set->clamp(z, 0.5f, COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_true(i == 3 ? isnan(z[i]) : z[i] == fminf(fmaxf(x[i], -0.5f), 0.5f));
        memcpy(z, x, sizeof z);
        set->add_multiple(z, y, 0.3f, COUNT);
        for (int i = 6; i < COUNT; i++) {
            float product = 0.3f * y[i];
            assert_true(z[i] == x[i] + product);
        }
        for (float divisor = 7; divisor < 9; divisor++) { /* as tw_divide() has it, too */
            float mean[COUNT];
            memcpy(mean, y, sizeof mean);
            set->divide(mean, divisor, COUNT);
            set->descend(z, x, y, divisor, 0.3f, COUNT);
            for (int i = 6; i < COUNT; i++) {
                float step = 0.3f * mean[i];
                assert_true(z[i] == x[i] - step);
            }
        }
        set->subtract(z, x, y, COUNT);
        for (int i = 6; i < COUNT; i++)
            assert_true(z[i] == x[i] - y[i]);
        set->multiply(z, y, 0.3f, COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_true(z[i] == 0.3f * y[i]);
        set->average(z, x, y, 0.9f, 0.1f, COUNT);
        for (int i = 6; i < COUNT; i++) {
            float kept = 0.9f * x[i], taken = 0.1f * y[i];
            assert_true(z[i] == kept + taken);
        }
        set->multiply(z, y, 0.3f, COUNT);
        set->multiply(z, z, 2, COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_true(z[i] == 2 * (0.3f * y[i]));
    }
    free(x);
    free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clamps_and_multiples_are_element_wise),
        cmocka_unit_test(the_sum_is_the_tree),
        cmocka_unit_test(the_order_matters_so_the_test_of_the_tree_can_fail),
        cmocka_unit_test(the_most_slots_are_summed),
        cmocka_unit_test(aligned_runs_may_be_summed_before),
        cmocka_unit_test(the_result_may_replace_any_input),
        cmocka_unit_test(sums_do_not_depend_on_the_split),
        cmocka_unit_test(division_is_rounded_once),
        cmocka_unit_test(one_value_that_is_not_finite_is_found_anywhere),
        cmocka_unit_test(squares_are_summed_per_block_in_the_promised_order),
        cmocka_unit_test(squares_of_large_floats_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
