/* The sum of doubles by a fixed binary tree, the one of tw_sum_tree() (common/tensor).
 *
 * Who uses it: the sequencer for the losses of an update's contributions, and a worker
 * for the losses of its slots. Since an aligned run of 2^k numbers is one node of
 * the tree, it does not matter who of the two adds them: the bits are the same.
 *
 * Numbers are added one by one; a sum that is all zero bytes is empty, and so is one that was
 * begun, which does not touch what it will not need. Holds no memory but its own; 2^32 - 1
 * numbers at most.
 */
#ifndef TW_BASE_TREE_SUM_H
#define TW_BASE_TREE_SUM_H

#include <stdint.h>

struct tw_tree_sum {
    uint32_t count, depth; /* depth: bits of count that are set */
    double partial[32];    /* [depth] one for each of them, the highest first */
};

static inline void tw_tree_sum_begin(struct tw_tree_sum *sum) {
    sum->count = sum->depth = 0;
}

static inline void tw_tree_sum_add(struct tw_tree_sum *sum, double number) {
    for (uint32_t left = sum->count; left & 1; left >>= 1)
        number = sum->partial[--sum->depth] + number;
    sum->partial[sum->depth++] = number;
    sum->count++;
}

/* 0 when it is empty. What is left of the tree is folded from the right. */
static inline double tw_tree_sum_total(const struct tw_tree_sum *sum) {
    uint32_t depth = sum->depth;
    double total = depth ? sum->partial[--depth] : 0;
    while (depth > 0)
        total = sum->partial[--depth] + total;
    return total;
}

#endif
