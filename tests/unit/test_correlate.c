/* The sums of convolutions: against plain loops, and the same bits on every instruction set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "tests/lib/cpu.h"
#include "worker/nn/correlate.h"

/* As compiled by tests/lib/kernel_sets.cmake for one instruction set each. */
struct set {
    const char *name;
    void (*correlate)(const struct tw_taps *, const struct tw_grid *, const tw_lanes *, tw_lanes *);
    void (*slopes)(const struct tw_taps *, const struct tw_grid *, const tw_lanes *,
                   const tw_lanes *, tw_lanes *);
};
#define DECLARE(prefix)                                                                            \
    void prefix##_tw_correlate(const struct tw_taps *, const struct tw_grid *, const tw_lanes *,   \
                               tw_lanes *);                                                        \
    void prefix##_tw_correlate_slopes(const struct tw_taps *, const struct tw_grid *,              \
                                      const tw_lanes *, const tw_lanes *, tw_lanes *);
#define SET(prefix) {#prefix, prefix##_tw_correlate, prefix##_tw_correlate_slopes},
TW_TEST_SETS(DECLARE)

static const struct set sets[] = {{"shipped", tw_correlate, tw_correlate_slopes},
                                  TW_TEST_SETS(SET)};

/* Seven outputs (blocks of 4, 2 and 1), eleven taps, on a grid of 5 x 7 places in steps of 2. */
enum { OUTS = 7, TAPS = 11, HEIGHT = 5, WIDTH = 7, NEAR = 200, FAR = OUTS * HEIGHT * WIDTH };

static const struct tw_grid grid = {
    .height = HEIGHT,
    .width = WIDTH,
    .near_step = 2,
    .near_row = 30,
    .far_step = 1,
    .far_row = WIDTH,
    .far_plane = HEIGHT * WIDTH,
};

struct problem {
    tw_lanes near[NEAR], far[FAR], sum[OUTS * TAPS];
    ptrdiff_t offset[TAPS];
    tw_real weight[OUTS][TAPS], ordered[OUTS * TAPS], start[OUTS];
    struct tw_taps taps;
};

static tw_real draw(struct tw_rng *rng) {
    return (tw_real)(tw_rng_uniform(rng) - 0.5);
}

static struct problem *make(void) {
    struct problem *p = aligned_alloc(64, (sizeof *p + 63) & ~(size_t)63);
    struct tw_rng rng;
    assert_non_null(p);
    tw_rng_init(&rng, 7, TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < NEAR; i++)
        for (int k = 0; k < TW_LANES; k++)
            p->near[i][k] = draw(&rng);
    for (int t = 0; t < TAPS; t++)
        p->offset[t] = (t * 13) % 50;
    for (int o = 0; o < OUTS; o++) {
        p->start[o] = draw(&rng);
        for (int t = 0; t < TAPS; t++) {
            p->weight[o][t] = draw(&rng);
            p->ordered[tw_correlate_order(OUTS, TAPS, o, t)] = p->weight[o][t];
        }
    }
    p->taps = (struct tw_taps){OUTS, TAPS, p->offset, p->ordered, p->start};
    return p;
}

static void weights_have_one_place_each(void **state) {
    for (int outs = 1; outs <= 9; outs++) {
        bool taken[9 * TAPS] = {false};
        for (int o = 0; o < outs; o++)
            for (int t = 0; t < TAPS; t++) {
                size_t place = tw_correlate_order(outs, TAPS, o, t);
                assert_true(place < (size_t)outs * TAPS && !taken[place]);
                taken[place] = true;
            }
    }
}

/* In the order that correlate.h promises, so the very same bits. */
static void sums_are_those_of_a_plain_loop(void **state) {
    struct problem *p = make();
    TW_TEST_EACH_SET(set, sets) {
        memset(p->far, 0xff, sizeof p->far);
        set->correlate(&p->taps, &grid, p->near, p->far);
        for (int i = 0; i < FAR * TW_LANES; i++) {
            int lane = i % TW_LANES, place = i / TW_LANES % (HEIGHT * WIDTH);
            int o = i / TW_LANES / (HEIGHT * WIDTH);
            const tw_lanes *near = p->near + place / WIDTH * 30 + place % WIDTH * 2;
            tw_real sum = p->start[o];
            for (int t = 0; t < TAPS; t++)
                sum += near[p->offset[t]][lane] * p->weight[o][t];
            assert_true(p->far[i / TW_LANES][lane] == sum);
        }
    }
    free(p);
}

static void slopes_are_those_of_a_plain_loop(void **state) {
    struct problem *p = make();
    tw_correlate(&p->taps, &grid, p->near, p->far);
    TW_TEST_EACH_SET(set, sets) {
        for (int i = 0; i < OUTS * TAPS; i++)
            p->sum[i] = (tw_lanes){0} + 3;
        set->slopes(&p->taps, &grid, p->near, p->far, p->sum);
        for (int i = 0; i < OUTS * TAPS * TW_LANES; i++) {
            int lane = i % TW_LANES, t = i / TW_LANES % TAPS, o = i / TW_LANES / TAPS;
            tw_real sum = 3;
            for (int place = 0; place < HEIGHT * WIDTH; place++)
                sum += p->near[place / WIDTH * 30 + place % WIDTH * 2 + p->offset[t]][lane] *
                       p->far[o * HEIGHT * WIDTH + place][lane];
            assert_true(p->sum[i / TW_LANES][lane] == sum);
        }
    }
    free(p);
}

static void without_a_start_sums_begin_at_0(void **state) {
    struct problem *p = make();
    p->taps.start = NULL;
    p->taps.count = 0;
    tw_correlate(&p->taps, &grid, p->near, p->far);
    for (int i = 0; i < FAR * TW_LANES; i++)
        assert_true(p->far[i / TW_LANES][i % TW_LANES] == 0);
    free(p);
}

/* Whole groups and parts of one; counts that are no multiple of 16, and small ones. */
static void packing_turns_rows_into_lanes_and_back(void **state) {
    enum { MOST = 50 };
    static const size_t counts[] = {1, 15, 16, 17, 31, 32, 33, 47, MOST};
    tw_real from[TW_LANES * MOST], back[TW_LANES * MOST];
    tw_lanes lanes[MOST];
    for (int i = 0; i < TW_LANES * MOST; i++)
        from[i] = (tw_real)(i + 1);
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (int samples = 1; samples <= TW_LANES; samples++) {
            memset(lanes, 0xff, sizeof lanes);
            memset(back, 0, sizeof back);
            tw_lanes_pack(from, MOST, samples, counts[c], lanes);
            for (size_t i = 0; i < counts[c]; i++)
                for (int s = 0; s < TW_LANES; s++)
                    assert_true(lanes[i][s] == (s < samples ? from[(size_t)s * MOST + i] : 0));
            tw_lanes_unpack(lanes, back, MOST, samples, counts[c]);
            for (size_t i = 0; i < MOST; i++)
                for (int s = 0; s < TW_LANES; s++)
                    assert_true(back[(size_t)s * MOST + i] ==
                                (s < samples && i < counts[c] ? from[(size_t)s * MOST + i] : 0));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_have_one_place_each),
        cmocka_unit_test(sums_are_those_of_a_plain_loop),
        cmocka_unit_test(slopes_are_those_of_a_plain_loop),
        cmocka_unit_test(without_a_start_sums_begin_at_0),
        cmocka_unit_test(packing_turns_rows_into_lanes_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
