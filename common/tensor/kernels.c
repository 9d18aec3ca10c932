#include "common/tensor/kernels.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "common/tensor/clones.h"

/* Floats per piece of tw_sum_tree: each of a node's two operands is 1 KiB, so
 * the partial sums of the deepest tree stay in the first-level cache. */
#define PIECE 256

/* A tree over 2^k inputs never holds more than k + 1 partial sums. */
#define TREE_DEPTH 13
static_assert(TW_SLOTS_MAX <= 1 << (TREE_DEPTH - 1), "the tree is deep enough for all slots");

#define LANES 16

struct node {
    const float *sum; /* an input, or partial[] of this place in the stack */
    int level;        /* sum of 2^level inputs */
};

/* The two sums on top of the stack become one, written to `out`. Inlined into
 * each clone, so that it is compiled for that clone's instruction set. */
static inline __attribute__((always_inline)) void join(struct node *left, struct node *right,
                                                       float *out, size_t count) {
    const float *a = left->sum;
    const float *b = right->sum;
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        out[i] = a[i] + b[i];
    }
    left->sum = out;
    left->level++;
}

/* One piece of at most PIECE floats that starts at `first`. */
static inline __attribute__((always_inline)) void sum_piece(float *out, const float *const *inputs,
                                                            int n, size_t first, size_t count) {
    float partial[TREE_DEPTH][PIECE];
    struct node stack[TREE_DEPTH];
    int depth = 0;

    for (int i = 0; i < n; i++) {
        stack[depth].sum = inputs[i] + first;
        stack[depth].level = 0;
        depth++;
        while (depth > 1 && stack[depth - 2].level == stack[depth - 1].level) {
            /* The last join of all writes the result itself: every input has
             * been read by then. */
            bool last = depth == 2 && i == n - 1;
            depth--;
            join(&stack[depth - 1], &stack[depth], last ? out + first : partial[depth - 1], count);
        }
    }
    while (depth > 1) {
        depth--;
        join(&stack[depth - 1], &stack[depth], depth == 1 ? out + first : partial[depth - 1],
             count);
    }
}

TW_CLONES void tw_sum_tree(float *out, const float *const *inputs, int n, size_t count) {
    assert(n >= 1 && n <= TW_SLOTS_MAX);
    if (n == 1) {
        if (out != inputs[0]) {
            memcpy(out, inputs[0], count * sizeof(float));
        }
        return;
    }
    for (size_t first = 0; first < count; first += PIECE) {
        sum_piece(out, inputs, n, first, count - first < PIECE ? count - first : PIECE);
    }
}

/* 1 / divisor when that is exact, so that multiplying by it rounds as dividing does:
 * for powers of two, which most batches are. Else 0. */
static float exact_reciprocal(float divisor) {
    uint32_t bits;
    memcpy(&bits, &divisor, sizeof bits);
    bool power_of_two = (bits & 0x7fffff) == 0 && divisor >= 1 && divisor <= 0x1p64F;
    return power_of_two ? 1 / divisor : 0;
}

TW_CLONES void tw_divide(float *x, float divisor, size_t count) {
    float factor = exact_reciprocal(divisor);
    if (factor != 0) {
        for (size_t i = 0; i < count; i++) {
            x[i] *= factor;
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        x[i] /= divisor;
    }
}

TW_CLONES void tw_clamp(float *x, float limit, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float low = x[i] < -limit ? -limit : x[i];
        x[i] = low > limit ? limit : low;
    }
}

TW_CLONES void tw_add_multiple(float *x, const float *y, float factor, size_t count) {
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        x[i] = x[i] + factor * y[i];
    }
}

TW_CLONES void tw_subtract(float *out, const float *a, const float *b, size_t count) {
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        out[i] = a[i] - b[i];
    }
}

TW_CLONES void tw_descend(float *out, const float *x, const float *sum, float divisor, float rate,
                          size_t count) {
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        out[i] = x[i] - rate * (sum[i] / divisor);
    }
}

TW_CLONES void tw_average(float *out, const float *average, const float *x, float keep, float rest,
                          size_t count) {
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        out[i] = keep * average[i] + rest * x[i];
    }
}

TW_CLONES void tw_multiply(float *out, const float *x, float factor, size_t count) {
    TW_INDEPENDENT
    for (size_t i = 0; i < count; i++) {
        out[i] = factor * x[i];
    }
}

/* A float is finite when its exponent is not all ones, that is when its bits
 * without the sign, as an integer, are below those of infinity. The difference
 * of the two is negative for no finite float, so one sign bit remembers all. */
TW_CLONES bool tw_all_finite(const float *x, size_t count) {
    int32_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        seen |= 0x7f7fffff - (bits & 0x7fffffff);
    }
    return seen >= 0;
}

TW_CLONES static double sum_of_squares(const float *x, size_t count) {
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            double value = x[i + (size_t)j];
            lane[j] += value * value;
        }
    }
    for (int j = 0; i < count; i++, j++) {
        double value = x[i];
        lane[j] += value * value;
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int j = 0; j < half; j++) {
            lane[j] += lane[j + half];
        }
    }
    return lane[0];
}

void tw_block_sums_of_squares(const float *x, size_t count, double *out) {
    for (size_t first = 0; first < count; first += TW_BLOCK_FLOATS) {
        size_t left = count - first;
        *out++ = sum_of_squares(x + first, left < TW_BLOCK_FLOATS ? left : TW_BLOCK_FLOATS);
    }
}
