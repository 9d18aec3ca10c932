/* What the tests of laws share. */
#ifndef TW_TESTS_LAWS_H
#define TW_TESTS_LAWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "tests/lib/world_desk.h"

/* Longer runs have narrower bounds. */
static inline unsigned longer(unsigned normally) {
    const char *all = getenv("TALWEG_LONG");
    return all && *all == '1' ? 10 * normally : normally;
}

static inline void within(const char *what, double value, double expected, double allowed) {
    if (!(fabs(value - expected) <= allowed))
        fail_msg("%s: %.6g, expected %.6g +- %.2g", what, value, expected, allowed);
}

static inline void identity(const struct world_desk *desk) {
    assert_int_equal(desk->sums.applied + desk->sums.in_flight + desk->sums.dropped,
                     desk->sums.outstanding);
}

/* Seeds are fixed, so that a pass is a pass every time. TALWEG_SEED=n makes others of them all:
 * tests/sim/any-seed asks whether the bounds hold for them, too. */
static inline void run(struct world_desk *desk) {
    const char *other = getenv("TALWEG_SEED");
    uint64_t seed = desk->seed, delay_seed = desk->delay_seed;
    uint64_t shift = other ? strtoull(other, NULL, 10) * 1000000007 : 0;
    desk->seed = seed + shift;
    desk->delay_seed = delay_seed + shift;
    enum tw_status status = world_desk_run(desk);
    desk->seed = seed;
    desk->delay_seed = delay_seed;
    if (status != TW_OK)
        fail_msg("%s: %s", desk->mode, desk->error.text);
    identity(desk);
}

#endif
