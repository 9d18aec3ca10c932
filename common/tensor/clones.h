/* One source, several instruction sets.
 *
 * A function marked TW_CLONES is compiled for the plain CPU and again for newer
 * ones, and the loader picks once per process. A program built on one machine so
 * runs on all of them, at the speed of each. The clones give the same bits:
 * nothing here may be fused, reassociated or approximated
 * (-ffp-contract=off; the order of every sum is spelled out in the source), and
 * the tests compile the kernels once more for each set and compare.
 *
 * The macro is empty where it cannot work: clang, libraries without ifunc, other
 * processors, and ThreadSanitizer (its runtime is not up yet when the loader
 * asks which clone to take).
 */
#ifndef TW_TENSOR_CLONES_H
#define TW_TENSOR_CLONES_H

#if defined(__linux__) /* tells whether the C library is glibc */
#include <features.h>
#endif

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__) &&       \
    !defined(__SANITIZE_THREAD__) && !defined(TW_NO_CLONES)
#define TW_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define TW_CLONES
#endif

/* Stands before a loop whose iterations do not touch each other's elements, even
 * when an output array is the very same as an input. Without it the compiler
 * takes the slow loop exactly when we work in place. */
#if defined(__clang__)
#define TW_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define TW_INDEPENDENT _Pragma("GCC ivdep")
#else
#define TW_INDEPENDENT
#endif

#endif
