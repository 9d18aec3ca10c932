#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/arrivals.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"

enum { SLOTS = 4, STEPS = 240, PERIOD = 997, STEP_OF_4 = 4 /* lr = 1/4 */, NOT_THERE = INT_MIN };

struct arrivals {
    const struct tw_layout *layout;
    uint64_t seed, version;
    bool released[SLOTS][STEPS], applied[SLOTS][STEPS];
};

struct arrivals *arrivals_new(const struct tw_layout *layout, uint64_t seed) {
    struct arrivals *a = calloc(1, sizeof *a);
    a->layout = layout;
    a->seed = seed;
    return a;
}

void arrivals_free(struct arrivals *a) {
    free(a);
}

static int64_t key_of(uint32_t slot, uint64_t step) {
    assert_true(slot < SLOTS && step < STEPS);
    return (int64_t)slot * STEPS + (int64_t)step;
}

void arrivals_gradient(const struct tw_tensor_list *list, uint64_t seed, uint32_t slot,
                       uint64_t step, double not_finite, float *const *gradient) {
    struct tw_rng rng;
    tw_rng_init(&rng, seed, TW_STREAM_NOISE, slot, step);
    for (int t = 0; t < list->count; t++)
        for (int64_t i = 0; i < list->tensors[t].elements; i++)
            gradient[t][i] = t == 0 && i % PERIOD == key_of(slot, step) ? ARRIVALS_SHARE : 0;
    if (tw_rng_uniform(&rng) < not_finite)
        gradient[list->count - 1][0] = (float)NAN;
}

static void on_commit(struct arrivals *a, const struct tw_record *record) {
    const struct tw_contribution *c = record->contributions;
    assert_int_equal(record->count, 1);
    assert_int_equal(record->version, ++a->version);
    assert_int_equal(record->examples, ARRIVALS_SHARE);
    assert_int_equal(record->chunks.chunks, a->layout->chunks);
    assert_true(record->chunks.most <= record->chunks.sum);
    assert_true(a->released[c->slot][c->step] && !a->applied[c->slot][c->step]);
    a->applied[c->slot][c->step] = true;
}

void arrivals_record(struct arrivals *a, const struct tw_record *record) {
    if (record->kind == TW_RECORD_COMMIT)
        on_commit(a, record);
    if (record->kind != TW_RECORD_RELEASE || record->slot == TW_SLOT_EVALUATOR)
        return;
    (void)key_of(record->slot, record->step);
    assert_true(record->rate > 0);
    a->released[record->slot][record->step] = true;
}

/* NOT_THERE: the chunk is so small that it has no element of this key. */
static int times(const struct arrivals *a, const struct tw_chunk *chunk, const float *weights,
                 const float *initial, int64_t key) {
    int found = NOT_THERE;
    for (int64_t i = 0; i < chunk->count; i++) {
        if ((chunk->first + i) % PERIOD != key)
            continue;
        double taken = ((double)initial[i] - (double)weights[i]) * STEP_OF_4;
        int here = (int)lround(taken);
        if (fabs(taken - here) > 1e-3 || (found != NOT_THERE && here != found))
            fail_msg("seed %" PRIu64 ": element %" PRId64 " moved by %g steps, others by %d",
                     a->seed, chunk->first + i, taken, found);
        found = here;
    }
    return found;
}

void arrivals_check(const struct arrivals *a, const struct tw_chunk *chunk, const float *weights) {
    float *initial = malloc(chunk->count * sizeof(float));
    tw_tensor_fill(&a->layout->list->tensors[0], 0, a->seed, chunk->first, chunk->count, initial);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        for (uint64_t step = 1; step < STEPS; step++) {
            int n = times(a, chunk, weights, initial, key_of(slot, step));
            int least = a->applied[slot][step], most = a->released[slot][step];
            if (n == NOT_THERE && chunk->count < PERIOD)
                continue;
            if (n < least || n > most)
                fail_msg("seed %" PRIu64 ": slot %u, step %" PRIu64
                         " was applied %d times to the chunk at %" PRId64 ", not %d to %d",
                         a->seed, slot, step, n, chunk->first, least, most);
        }
    free(initial);
}
