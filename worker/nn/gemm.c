#include "worker/nn/gemm.h"

#include <cblas.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/denormals.h"
#include "common/base/limits.h"

#define SELF_TEST_SECONDS 20
#ifdef TW_NN_DOUBLE
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif
enum { SELF_TEST_FINE = 0, SELF_TEST_WRONG = 3, SELF_TEST_NO_MEMORY = 4 };

void tw_gemm_thread(void) {
    tw_flush_denormals();
}

const char *tw_gemm_core(void) {
    return openblas_get_corename();
}

char *tw_numerics_id(char *out) {
    /* "OpenBLAS 0.3.21 NO_AFFINITY ..." */
    char version[32] = "unknown";
    sscanf(openblas_get_config(), "OpenBLAS %31s", version);
    snprintf(out, TW_NUMERICS_MAX + 1, "talweg %s openblas %s %s", TALWEG_VERSION, version,
             tw_gemm_core());
    return out;
}

void tw_gemm(bool a_transposed, bool b_transposed, int m, int n, int k, const tw_real *a,
             const tw_real *b, bool add, tw_real *out) {
    GEMM(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
         b_transposed ? CblasTrans : CblasNoTrans, m, n, k, 1, a, a_transposed ? m : k, b,
         b_transposed ? k : n, add ? 1 : 0, out, n);
}

/* Whole numbers of 9 bits: all sums below are exact in float32, in any order, so a
 * right result is equal, not near; and kernels that compute in bfloat16 show. */
static void fill(tw_real *values, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (tw_real)((int)(seed >> 23) - 256);
    }
}

/* The product by a plain loop. */
static void multiply_plainly(bool a_transposed, bool b_transposed, int m, int n, int k,
                             const tw_real *a, const tw_real *b, tw_real *out) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            tw_real sum = 0;
            for (int l = 0; l < k; l++)
                sum += (a_transposed ? a[(size_t)l * m + i] : a[(size_t)i * k + l]) *
                       (b_transposed ? b[(size_t)j * k + l] : b[(size_t)l * n + j]);
            out[(size_t)i * n + j] = sum;
        }
}

static int test_one(bool a_transposed, bool b_transposed, int m, int n, int k) {
    size_t a_size = (size_t)m * k, b_size = (size_t)k * n, out_size = (size_t)m * n;
    tw_real *memory = malloc((a_size + b_size + 2 * out_size) * sizeof *memory);
    if (memory == NULL)
        return SELF_TEST_NO_MEMORY;
    tw_real *a = memory, *b = a + a_size, *out = b + b_size, *expected = out + out_size;
    int result = SELF_TEST_FINE;
    fill(a, a_size, 1);
    fill(b, b_size, 2);
    multiply_plainly(a_transposed, b_transposed, m, n, k, a, b, expected);
    for (size_t i = 0; i < out_size; i++)
        out[i] = NAN; /* without `add` nothing of it may stay */
    tw_gemm(a_transposed, b_transposed, m, n, k, a, b, false, out);
    if (memcmp(out, expected, out_size * sizeof *out) != 0)
        result = SELF_TEST_WRONG;
    tw_gemm(a_transposed, b_transposed, m, n, k, a, b, true, out);
    for (size_t i = 0; i < out_size; i++)
        if (out[i] != 2 * expected[i])
            result = SELF_TEST_WRONG;
    free(memory);
    return result;
}

static int test_all(void) {
    /* Small ones have kernels of their own, odd ones reach the edges. */
    static const int shapes[][3] = {
        {1, 1, 1},     {7, 5, 3},     {1, 10, 128},  {64, 10, 128},
        {128, 10, 33}, {33, 17, 129}, {96, 80, 300},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int transposed = 0; transposed < 3; transposed++) {
            int result = test_one(transposed == 1, transposed == 2, shapes[i][0], shapes[i][1],
                                  shapes[i][2]);
            if (result != SELF_TEST_FINE)
                return result;
        }
    return SELF_TEST_FINE;
}

/* A crash ends the child in silence, whatever handlers or masks this process has. */
static _Noreturn void run_child(void) {
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM};
    struct rlimit no_core = {0, 0};
    sigset_t none;
    setrlimit(RLIMIT_CORE, &no_core);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        signal(signals[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    alarm(SELF_TEST_SECONDS);
    _exit(test_all());
}

/* In a child, since a bad kernel may crash, hang or write where it should not. */
static enum tw_status self_test(struct tw_error *error) {
    pid_t child = fork();
    if (child < 0)
        return tw_error_set(error, TW_IO, "cannot start a child process to test OpenBLAS: %s",
                            strerror(errno));
    if (child == 0)
        run_child();
    int result;
    while (waitpid(child, &result, 0) < 0)
        if (errno != EINTR)
            return tw_error_set(error, TW_IO, "cannot wait for the test of OpenBLAS: %s",
                                strerror(errno));
    if (WIFEXITED(result) && WEXITSTATUS(result) == SELF_TEST_FINE)
        return TW_OK;
    if (WIFEXITED(result) && WEXITSTATUS(result) == SELF_TEST_NO_MEMORY)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory while OpenBLAS was tested");
    return tw_error_set(error, TW_UNSUPPORTED,
                        "OpenBLAS %s on this CPU with its kernels for %s (a known fault of some "
                        "versions); set worker.blas_core: SkylakeX (or Haswell)",
                        WIFSIGNALED(result) ? "crashes" : "computes wrong products",
                        tw_gemm_core());
}

enum tw_status tw_gemm_start(const char *core, struct tw_error *error) {
    openblas_set_num_threads(1);
    tw_gemm_thread();
    if (core != NULL && strcasecmp(core, tw_gemm_core()) != 0)
        return tw_error_set(error, TW_UNSUPPORTED,
                            "worker.blas_core is %s but OpenBLAS uses %s: this CPU cannot run %s, "
                            "or the process was not started with OPENBLAS_CORETYPE=%s in its "
                            "environment",
                            core, tw_gemm_core(), core, core);
    return self_test(error);
}
