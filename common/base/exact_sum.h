/* Sums of non-negative doubles that are exact, whatever the order and grouping: a number in
 * fixed point, wide enough for sums of squares of floats. Parts that were added elsewhere
 * (by other servers) are merged without a change of one bit; only the result is rounded, once.
 * It is what math.fsum() of Python gives for the same numbers.
 *
 * Used for all sums over a whole model: of the trace, and of clipping by norm
 * (common/tensor/sample.h). All zeros is the empty sum.
 */
#ifndef TW_BASE_EXACT_SUM_H
#define TW_BASE_EXACT_SUM_H

#include <stdbool.h>
#include <stdint.h>

/* From 2^-320 to 2^320. The square of a float is a multiple of 2^-298 below 2^256. */
#define TW_EXACT_SUM_WORDS 10
#define TW_EXACT_SUM_LOWEST (-320)

struct tw_exact_sum {
    uint64_t word[TW_EXACT_SUM_WORDS]; /* lowest first */
    bool not_finite;                   /* an infinity, a NaN, or more than there is room for */
};

/* x >= 0 (or no finite number); bits of it below 2^-320 are cut off. */
void tw_exact_sum_add(struct tw_exact_sum *sum, double x);

void tw_exact_sum_merge(struct tw_exact_sum *into, const struct tw_exact_sum *from);

/* Rounded to nearest, halves to even; NaN when it is not finite. */
double tw_exact_sum_value(const struct tw_exact_sum *sum);

/* As bytes: the words, lowest first, of a word the lowest byte; and behind them, unless it is known
 * otherwise, one that is not 0 when it is not finite. Each returns what is behind them. */
#define TW_EXACT_SUM_WORD_BYTES (TW_EXACT_SUM_WORDS * 8)
#define TW_EXACT_SUM_BYTES (TW_EXACT_SUM_WORD_BYTES + 1)
uint8_t *tw_exact_sum_put_words(uint8_t *at, const struct tw_exact_sum *sum);
uint8_t *tw_exact_sum_put(uint8_t *at, const struct tw_exact_sum *sum);
const uint8_t *tw_exact_sum_get_words(const uint8_t *at, struct tw_exact_sum *sum);
const uint8_t *tw_exact_sum_get(const uint8_t *at, struct tw_exact_sum *sum);

#endif
