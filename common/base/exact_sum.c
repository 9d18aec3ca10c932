#include "common/base/exact_sum.h"

#include <math.h>
#include <string.h>

#include "common/base/bytes.h"

#define MANTISSA_BITS 53

/* Adds `value` at a word, and carries. */
static void add_word(struct tw_exact_sum *sum, int at, uint64_t value) {
    for (; at < TW_EXACT_SUM_WORDS && value; at++) {
        sum->word[at] += value;
        value = sum->word[at] < value; /* the carry */
    }
    sum->not_finite |= value != 0;
}

void tw_exact_sum_add(struct tw_exact_sum *sum, double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52 & 0x7ff);
    uint64_t mantissa = bits & ((UINT64_C(1) << 52) - 1);
    if (exponent == 0x7ff) {
        sum->not_finite = true;
        return;
    }
    mantissa |= (uint64_t)(exponent != 0) << 52;
    int place = (exponent ? exponent : 1) - 1075 - TW_EXACT_SUM_LOWEST; /* of its lowest bit */
    if (place < 0) {
        mantissa = place > -MANTISSA_BITS ? mantissa >> -place : 0;
        place = 0;
    }
    if (place + MANTISSA_BITS > 64 * TW_EXACT_SUM_WORDS) {
        sum->not_finite |= mantissa != 0;
        return;
    }
    int shift = place % 64;
    add_word(sum, place / 64, mantissa << shift);
    if (shift)
        add_word(sum, place / 64 + 1, mantissa >> (64 - shift));
}

void tw_exact_sum_merge(struct tw_exact_sum *into, const struct tw_exact_sum *from) {
    for (int i = 0; i < TW_EXACT_SUM_WORDS; i++)
        add_word(into, i, from->word[i]);
    into->not_finite |= from->not_finite;
}

static bool bit(const struct tw_exact_sum *sum, int place) {
    return sum->word[place / 64] >> (place % 64) & 1;
}

static bool any_below(const struct tw_exact_sum *sum, int place) {
    for (int i = 0; i < place / 64; i++)
        if (sum->word[i])
            return true;
    return (sum->word[place / 64] & ((UINT64_C(1) << (place % 64)) - 1)) != 0;
}

double tw_exact_sum_value(const struct tw_exact_sum *sum) {
    int word = TW_EXACT_SUM_WORDS - 1;
    if (sum->not_finite)
        return (double)NAN;
    while (word >= 0 && !sum->word[word])
        word--;
    if (word < 0)
        return 0;
    int top = 64 * word + 63 - __builtin_clzll(sum->word[word]);
    int lowest = top - MANTISSA_BITS + 1 > 0 ? top - MANTISSA_BITS + 1 : 0;
    uint64_t mantissa = 0;
    for (int place = top; place >= lowest && place >= 0; place--)
        mantissa = mantissa << 1 | bit(sum, place);
    if (lowest > 0 && bit(sum, lowest - 1) && ((mantissa & 1) || any_below(sum, lowest - 1)))
        mantissa++;
    return ldexp((double)mantissa, lowest + TW_EXACT_SUM_LOWEST);
}

uint8_t *tw_exact_sum_put_words(uint8_t *at, const struct tw_exact_sum *sum) {
    for (int i = 0; i < TW_EXACT_SUM_WORDS; i++, at += 8)
        tw_put_u64(at, sum->word[i]);
    return at;
}

uint8_t *tw_exact_sum_put(uint8_t *at, const struct tw_exact_sum *sum) {
    at = tw_exact_sum_put_words(at, sum);
    *at++ = sum->not_finite;
    return at;
}

const uint8_t *tw_exact_sum_get_words(const uint8_t *at, struct tw_exact_sum *sum) {
    for (int i = 0; i < TW_EXACT_SUM_WORDS; i++, at += 8)
        sum->word[i] = tw_get_u64(at);
    return at;
}

const uint8_t *tw_exact_sum_get(const uint8_t *at, struct tw_exact_sum *sum) {
    at = tw_exact_sum_get_words(at, sum);
    sum->not_finite = *at++ != 0;
    return at;
}
