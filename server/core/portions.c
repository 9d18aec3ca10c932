#include "server/core/portions.h"

#include <assert.h>
#include <string.h>

void tw_portions_cut(struct tw_portions *p, uint64_t samples, uint32_t evaluators, bool ranked) {
    uint64_t rows = TW_EVALUATION_ROWS, batches = (samples - 1) / rows + 1;
    uint64_t portions = evaluators > 1 ? TW_PORTIONS_EACH * (uint64_t)evaluators : 1;
    uint64_t each = (batches - 1) / portions + 1; /* batches of a portion */
    if (portions > 1 && ranked && each > TW_TALLY_SCORES / rows)
        each = TW_TALLY_SCORES / rows;
    memset(p, 0, sizeof(*p));
    p->samples = samples;
    p->size = each * rows;
    p->count = p->left = (uint32_t)((batches - 1) / each + 1);
    assert(p->count <= TW_PORTIONS_MAX);
}

uint64_t tw_portions_first(const struct tw_portions *p, uint32_t portion) {
    return portion * p->size;
}

uint64_t tw_portions_samples(const struct tw_portions *p, uint32_t portion) {
    uint64_t left = p->samples - tw_portions_first(p, portion);
    return left < p->size ? left : p->size;
}

uint32_t tw_portions_take(struct tw_portions *p) {
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->state[i] != TW_PORTION_WAITS)
            continue;
        p->state[i] = TW_PORTION_OUT;
        return i;
    }
    return TW_NO_PORTION;
}

void tw_portions_back(struct tw_portions *p, uint32_t portion) {
    assert(p->state[portion] == TW_PORTION_OUT);
    p->state[portion] = TW_PORTION_WAITS;
}

void tw_portions_done(struct tw_portions *p, uint32_t portion) {
    assert(p->state[portion] == TW_PORTION_OUT && p->left > 0);
    p->state[portion] = TW_PORTION_DONE;
    p->left--;
}
