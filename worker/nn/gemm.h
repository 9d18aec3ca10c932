/* Matrix products, and the state of the floating-point unit that they need.
 *
 * The only door to OpenBLAS. OpenBLAS gives different bits on different CPU types
 * ("cores" in its words), with several threads, and for different shapes; so it
 * runs with one thread, every net has fixed shapes, and the numerics id names
 * the core: two processes with the same id compute the same bits from the same
 * inputs.
 *
 * OpenBLAS chooses its core when the program is loaded. To pin one (worker.blas_core
 * of the job), OPENBLAS_CORETYPE must be in the environment of the process that is
 * started; a process that finds tw_gemm_core() to be another than it wants can
 * set the variable and execute itself again.
 */
#ifndef TW_NN_GEMM_H
#define TW_NN_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"
#include "worker/nn/real.h"

/* Once per process, before the first product and before threads are started: one
 * BLAS thread, tw_gemm_thread() for the calling thread, and a self-test: products of
 * several shapes are compared with a plain loop, in a child process, since some
 * kernels of OpenBLAS 0.3.21 do not only compute nonsense on CPUs newer than they
 * are but crash. `core` is worker.blas_core, or NULL for what the CPU suggests.
 * TW_UNSUPPORTED: the test failed, or another core is in use; the message says
 * what to set. Takes some 10 ms. */
enum tw_status tw_gemm_start(const char *core, struct tw_error *error);

/* Flushes denormals to zero, as results and as operands (FTZ, DAZ), in the
 * calling thread: every thread that computes gradients calls it. Denormals carry
 * nothing that training needs, cost up to 100 times the time of other numbers,
 * and what a thread inherits is an accident. Products, layers and losses all
 * run under it. */
void tw_gemm_thread(void);

/* The core whose kernels OpenBLAS uses: "Haswell", "SkylakeX". */
const char *tw_gemm_core(void);

/* What makes two machines' gradients the same bits, e.g. "talweg 0.1.0 openblas
 * 0.3.21 Haswell", into out[TW_NUMERICS_MAX + 1]. Returns out. */
char *tw_numerics_id(char *out);

/* out[m, n] = A[m, k] B[k, n], plus out when `add`. Row-major, dense. With
 * a_transposed, `a` holds A's transpose [k, m]; b_transposed: `b` is [n, k].
 * Sizes are >= 1. out overlaps neither. */
void tw_gemm(bool a_transposed, bool b_transposed, int m, int n, int k, const tw_real *a,
             const tw_real *b, bool add, tw_real *out);

#endif
