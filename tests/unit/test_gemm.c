#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "worker/nn/gemm.h"

static void it_starts_and_names_its_core(void **state) {
    struct tw_error error;
    char id[TW_NUMERICS_MAX + 1];
    assert_int_equal(tw_gemm_start(NULL, &error), TW_OK);
    assert_int_equal(tw_gemm_start(tw_gemm_core(), &error), TW_OK);
    assert_ptr_equal(tw_numerics_id(id), id);
    assert_non_null(strstr(id, "talweg " TALWEG_VERSION " openblas 0."));
    assert_string_equal(id + strlen(id) - strlen(tw_gemm_core()), tw_gemm_core());
}

static void another_core_than_asked_for_is_refused(void **state) {
    struct tw_error error;
    assert_int_equal(tw_gemm_start("PDP11", &error), TW_UNSUPPORTED);
    assert_non_null(strstr(error.text, "worker.blas_core is PDP11"));
    assert_non_null(strstr(error.text, "OPENBLAS_CORETYPE=PDP11"));
}

/* A [2, 3], B [3, 2], by hand. */
static void a_product_by_hand_in_every_orientation(void **state) {
    static const float a[] = {1, 2, 3, 4, 5, 6}, a_t[] = {1, 4, 2, 5, 3, 6};
    static const float b[] = {1, -1, 0, 2, 5, 3}, b_t[] = {1, 0, 5, -1, 2, 3};
    static const float product[] = {16, 12, 34, 24}, twice[] = {32, 24, 68, 48};
    for (int i = 0; i < 4; i++) {
        float out[4] = {9, 9, 9, 9};
        bool a_transposed = i & 1, b_transposed = i & 2;
        tw_gemm(a_transposed, b_transposed, 2, 2, 3, a_transposed ? a_t : a, b_transposed ? b_t : b,
                false, out);
        assert_memory_equal(out, product, sizeof out);
        tw_gemm(a_transposed, b_transposed, 2, 2, 3, a_transposed ? a_t : a, b_transposed ? b_t : b,
                true, out);
        assert_memory_equal(out, twice, sizeof out);
    }
}

static void *halve_the_smallest(void *result) {
    volatile float smallest = 0x1p-126f, half;
    half = smallest * 0.5f; /* a denormal, as long as nobody asked otherwise */
    memcpy((float *)result, (const void *)&half, sizeof half);
    tw_gemm_thread();
    half = smallest * 0.5f;
    memcpy((float *)result + 1, (const void *)&half, sizeof half);
    volatile float denormal = 0x1p-130f, grown = denormal * 0x1p20f;
    memcpy((float *)result + 2, (const void *)&grown, sizeof grown);
    return NULL;
}

static void denormals_are_zero_in_a_thread_that_asked(void **state) {
#if defined(__x86_64__) || defined(__aarch64__)
    float result[3] = {9, 9, 9};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, halve_the_smallest, result), 0);
    pthread_join(thread, NULL);
    assert_true(result[1] == 0.0f && result[2] == 0.0f);
#else
    skip();
#endif
}

/* Shapes of a real model: the bits are a function of the inputs, not of where they lie. */
static void the_same_bits_wherever_the_operands_lie(void **state) {
    enum { M = 64, N = 48, K = 301, ROOM = M * K + K * N + M * N + 32 };
    float *first = malloc(ROOM * sizeof *first), *second = malloc(ROOM * sizeof *second);
    float *reference = NULL;
    assert_true(first != NULL && second != NULL);
    for (int offset = 0; offset < 17; offset++) {
        float *memory = (offset % 2 ? second : first) + offset;
        float *a = memory, *b = a + M * K, *out = b + K * N;
        for (int i = 0; i < M * K + K * N; i++)
            memory[i] = (float)((i * 7919) % 1009) / 1009.0f - 0.5f;
        tw_gemm(false, false, M, N, K, a, b, false, out);
        if (offset == 0) {
            reference = malloc(M * N * sizeof *reference);
            assert_non_null(reference);
            memcpy(reference, out, M * N * sizeof *reference);
        }
        assert_memory_equal(out, reference, M * N * sizeof *out);
    }
    free(reference);
    free(first);
    free(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_starts_and_names_its_core),
        cmocka_unit_test(another_core_than_asked_for_is_refused),
        cmocka_unit_test(a_product_by_hand_in_every_orientation),
        cmocka_unit_test(denormals_are_zero_in_a_thread_that_asked),
        cmocka_unit_test(the_same_bits_wherever_the_operands_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
