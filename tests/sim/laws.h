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

static inline void run(struct world_desk *desk) {
    if (world_desk_run(desk) != TW_OK)
        fail_msg("%s: %s", desk->mode, desk->error.text);
    identity(desk);
}

#endif
