/* What a shard does to late gradients: by the weights that left for them, and nothing is applied of
 * what that makes of a gradient when it is not finite. */
#include <math.h>

#include "tests/lib/corrections_text.h"
#include "tests/unit/shard_desk.h"

/* Two slots that push by themselves. */
static void start(struct desk *desk, const char *correction) {
    desk_init(desk, false, 2);
    free(desk->memory);
    desk->config.shaping.corrections = tw_test_corrections(correction, NULL);
    desk_init_as(desk, &desk->config);
    desk_start(desk);
}

/* What has come of the slot becomes an update by itself, as far as SUMS. */
static bool prepare(struct desk *desk, uint32_t slot) {
    desk_work(desk);
    desk_prepare(desk, slot, 1);
    desk_work(desk);
    const struct tw_shard_effect *sums = desk_said(desk, TW_SHARD_SUMS, 0);
    assert_non_null(sums);
    bool finite = sums->sums.finite;
    desk_forget(desk);
    return finite;
}

static void update_of(struct desk *desk, uint32_t slot) {
    desk_push_all(desk, slot);
    assert_true(prepare(desk, slot));
    desk_commit(desk, slot, 1);
    desk_release(desk, slot);
    desk_work(desk);
    desk_sent(desk);
}

static float first_of(const struct desk *desk, uint32_t chunk) {
    return tw_shard_weights(desk->shard, chunk)[0];
}

static void late_gradients_go_by_the_weights_that_left_for_them(void **state) {
    struct desk desk;
    start(&desk, "dc_asgd lambda=.5");
    float read[DESK_CHUNKS], now[DESK_CHUNKS];
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        read[c] = first_of(&desk, c);
    update_of(&desk, 0);
    update_of(&desk, 0);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        now[c] = first_of(&desk, c);
    desk_push_all(&desk, 1);
    assert_true(prepare(&desk, 1));
    desk_commit(&desk, 1, 1);
    desk_work(&desk);
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        const struct tw_chunk *chunk = &desk.chunk[c];
        float g = desk_gradient(1, 1, chunk->tensor, chunk->first);
        float strength = (float)(.5 / DESK_EXAMPLES);
        float mine = g + strength * g * g * (now[c] - read[c]);
        float expected = now[c] - .25F * (mine / DESK_EXAMPLES), got = first_of(&desk, c);
        assert_true(now[c] != read[c]);
        assert_memory_equal(&got, &expected, sizeof got);
    }
    desk_fini(&desk);
}

/* It came finite, and alone: g g is not, and has a step of the weights of 0 beside it. */
static void what_becomes_infinite_is_told(void **state) {
    struct desk desk;
    start(&desk, "dc_asgd");
    update_of(&desk, 0);
    for (uint32_t c = DESK_CHUNKS; c-- > 0;) {
        float *at = desk_begin(&desk, 1, c);
        at[0] = c == 2 ? 1e21F : at[0];
        desk_arrived(&desk, 1, c);
    }
    desk_end(&desk, 1);
    desk_work(&desk);
    assert_true(desk_said(&desk, TW_SHARD_READY, 0)->ready.finite);
    assert_false(prepare(&desk, 1));
    float before = first_of(&desk, 2);
    desk_settle(&desk, TW_RECORD_DROP, 1, 1);
    desk_release(&desk, 1);
    desk_work(&desk);
    desk_sent(&desk);
    assert_true(first_of(&desk, 2) == before);
    update_of(&desk, 1); /* and the next is as any other */
    assert_true(isfinite(first_of(&desk, 2)) && first_of(&desk, 2) != before);
    desk_fini(&desk);
}

/* Of plain descent with momentum .75: each worker by itself, over a gradient that was refused. */
static void each_worker_has_a_momentum_of_its_own(void **state) {
    static const uint32_t order[] = {0, 1, 0, 0, 1, 1};
    struct desk desk;
    start(&desk, "dana momentum=.75");
    float v[2][DESK_CHUNKS] = {{0}}, w[DESK_CHUNKS];
    for (uint32_t c = 0; c < DESK_CHUNKS; c++)
        w[c] = first_of(&desk, c);
    for (size_t n = 0; n < sizeof order / sizeof *order; n++) {
        uint32_t slot = order[n];
        uint64_t step = desk.slot[slot].step;
        desk_push_all(&desk, slot);
        assert_true(prepare(&desk, slot));
        if (n == 3) { /* it was prepared, and is given up */
            desk_settle(&desk, TW_RECORD_DROP, slot, 1);
        } else {
            desk_commit(&desk, slot, 1);
            for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
                const struct tw_chunk *chunk = &desk.chunk[c];
                float g = desk_gradient(slot, step, chunk->tensor, chunk->first);
                v[slot][c] = .75F * v[slot][c] + g / DESK_EXAMPLES;
                w[c] = w[c] - .25F * ((g + .75F * DESK_EXAMPLES * v[slot][c]) / DESK_EXAMPLES);
            }
        }
        desk_release(&desk, slot);
        desk_work(&desk);
        desk_sent(&desk);
    }
    for (uint32_t c = 0; c < DESK_CHUNKS; c++) {
        float got = first_of(&desk, c);
        assert_memory_equal(&got, &w[c], sizeof got);
        for (uint32_t slot = 0; slot < 2; slot++)
            assert_memory_equal(tw_shard_array(desk.shard, 1 + slot, c), &v[slot][c], sizeof got);
    }
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_gradients_go_by_the_weights_that_left_for_them),
        cmocka_unit_test(what_becomes_infinite_is_told),
        cmocka_unit_test(each_worker_has_a_momentum_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
