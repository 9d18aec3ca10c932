/* Whether this machine runs what lib/kernel_sets.cmake compiled. */
#ifndef TW_TESTS_CPU_H
#define TW_TESTS_CPU_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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
