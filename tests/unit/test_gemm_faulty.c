/* A BLAS that is broken, in place of the real one: the self-test must notice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cblas.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "worker/nn/gemm.h"

static enum { RIGHT, WRONG_AT_THE_EDGE, IGNORES_OUT, CRASHES } behaviour;

/* The linker takes this one rather than OpenBLAS's. */
void cblas_sgemm(const enum CBLAS_ORDER order, const enum CBLAS_TRANSPOSE a_transposed,
                 const enum CBLAS_TRANSPOSE b_transposed, const blasint m, const blasint n,
                 const blasint k, const float alpha, const float *a, const blasint a_stride,
                 const float *b, const blasint b_stride, const float beta, float *out,
                 const blasint out_stride) {
    if (behaviour == CRASHES)
        raise(SIGILL);
    for (blasint i = 0; i < m; i++)
        for (blasint j = 0; j < n; j++) {
            float sum = 0.0f;
            for (blasint l = 0; l < k; l++)
                sum += (a_transposed == CblasTrans ? a[l * a_stride + i] : a[i * a_stride + l]) *
                       (b_transposed == CblasTrans ? b[j * b_stride + l] : b[l * b_stride + j]);
            if (behaviour == WRONG_AT_THE_EDGE && m % 16 == 1 && m > 1 && i == m - 1)
                sum = 0.0f;
            bool add = beta != 0.0f && behaviour != IGNORES_OUT;
            out[i * out_stride + j] = sum + (add ? out[i * out_stride + j] : 0.0f);
        }
}

static void refuse(const char *what) {
    struct tw_error error = {0};
    assert_int_equal(tw_gemm_start(NULL, &error), TW_UNSUPPORTED);
    assert_non_null(strstr(error.text, what));
    assert_non_null(strstr(error.text, "set worker.blas_core: SkylakeX (or Haswell)"));
}

static void a_right_one_passes(void **state) {
    struct tw_error error;
    behaviour = RIGHT;
    assert_int_equal(tw_gemm_start(NULL, &error), TW_OK);
}

static void wrong_products_are_noticed(void **state) {
    behaviour = WRONG_AT_THE_EDGE;
    refuse("OpenBLAS computes wrong products");
    behaviour = IGNORES_OUT;
    refuse("OpenBLAS computes wrong products");
}

static void a_crash_is_noticed_and_survived(void **state) {
    behaviour = CRASHES;
    refuse("OpenBLAS crashes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_one_passes),
        cmocka_unit_test(wrong_products_are_noticed),
        cmocka_unit_test(a_crash_is_noticed_and_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
