/* What the subjects of `talweg bench` make of what they measured: plain functions of numbers.
 *
 * Used by bench_*.c only.
 */
#ifndef TW_CLI_BENCH_NUMBERS_H
#define TW_CLI_BENCH_NUMBERS_H

#include <stdint.h>

/* Of `count` values, which are sorted in place: the one below which the part `quantile`
 * (0 to 1) of them lies, between two neighbours by a straight line. NaN: there are none. */
double tw_bench_quantile(double *values, int count, double quantile);
double tw_bench_median(double *values, int count);

/* The straight line y = at_0 + slope x that is nearest to `count` points, by the sum of the
 * squares of its distances in y. NaN: they are fewer than two, or stand above each other. */
struct tw_bench_line {
    double at_0, slope;
};
struct tw_bench_line tw_bench_fit(const double *x, const double *y, int count);

/* "4 KiB", "100 MiB". Returns out. */
#define TW_BENCH_SIZE_TEXT 24
char *tw_bench_size(uint64_t bytes, char out[TW_BENCH_SIZE_TEXT]);

#endif
