/* What lib/kernel_sets.cmake compiled, once for each instruction set, and whether this machine runs
 * it. A test declares the functions of a set, and has a row for each:
 *
 *     #define DECLARE(set) void set##_tw_f(float *);
 *     TW_TEST_SETS(DECLARE)
 *     #define ROW(set) {#set, set##_tw_f},
 *     static const struct set { const char *name; void (*f)(float *); } sets[] = {
 *         {"shipped", tw_f}, TW_TEST_SETS(ROW)};
 *
 *     TW_TEST_EACH_SET(set, sets) check(set->f);
 */
#ifndef TW_TESTS_CPU_H
#define TW_TESTS_CPU_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#define TW_TEST_SETS(X) X(plain) X(fast) X(v3) X(v4)
#else
#define TW_TEST_SETS(X) X(plain) X(fast)
#endif

/* Each row of an array whose set this CPU runs. */
#define TW_TEST_EACH_SET(row, rows)                                                                \
    for (const struct set *row = (rows); row < (rows) + sizeof(rows) / sizeof(rows)[0]; row++)     \
        if (tw_test_cpu_runs(row->name))

/* `set` is plain, fast, v3 or v4; what is not checked for want of a CPU is said. */
static inline bool tw_test_cpu_runs(const char *set) {
    bool runs = true;
#if defined(__x86_64__)
    if (strcmp(set, "v3") == 0) {
        runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    } else if (strcmp(set, "v4") == 0) {
        runs = __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
    }
#endif
    if (!runs) {
        printf("not checked: this CPU lacks %s\n", set);
    }
    return runs;
}

#endif
