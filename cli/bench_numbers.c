#include "cli/bench_numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double tw_bench_quantile(double *values, int count, double quantile) {
    if (count == 0)
        return NAN;
    qsort(values, (size_t)count, sizeof *values, compare);
    double at = quantile * (count - 1);
    int below = (int)at;
    int above = below + 1 < count ? below + 1 : below;
    return values[below] + (at - below) * (values[above] - values[below]);
}

double tw_bench_median(double *values, int count) {
    return tw_bench_quantile(values, count, 0.5);
}

struct tw_bench_line tw_bench_fit(const double *x, const double *y, int count) {
    double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
    for (int i = 0; i < count; i++) {
        mean_x += x[i] / count;
        mean_y += y[i] / count;
    }
    for (int i = 0; i < count; i++) {
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        xy += (x[i] - mean_x) * (y[i] - mean_y);
    }
    double slope = xx > 0 ? xy / xx : NAN;
    return (struct tw_bench_line){.at_0 = mean_y - slope * mean_x, .slope = slope};
}

char *tw_bench_size(uint64_t bytes, char out[TW_BENCH_SIZE_TEXT]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    int unit = 0;
    while (unit < 3 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, TW_BENCH_SIZE_TEXT, "%llu %s", (unsigned long long)bytes, units[unit]);
    return out;
}
