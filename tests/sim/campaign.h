/* What the campaigns of the virtual cluster share: how many seeds, and what must hold after
 * each run. */
#ifndef TW_TESTS_CAMPAIGN_H
#define TW_TESTS_CAMPAIGN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/cluster.h"

static inline void print_counters(const char *name, const struct cluster_counters *counters) {
    printf("%s:", name);
#define X(field) printf(" " #field " %" PRIu64, counters->field);
    CLUSTER_COUNTERS(X)
#undef X
    printf("\n");
}

/* The weights are those that the log gives, and the staleness identity holds. */
static inline void check(const struct cluster_config *config, const struct cluster_result *result) {
    const struct tw_staleness *s = &result->staleness;
    bool ok = memcmp(result->weights, result->replayed, 32) == 0 &&
              s->applied + s->in_flight + s->dropped == s->outstanding;
    if (!ok)
        fail_msg("seed %" PRIu64 " (%s, %u workers, %u servers): weights differ from the log's, "
                 "or the staleness identity is broken",
                 config->seed, config->mode, config->workers, config->servers);
    if (result->status == TW_OK)
        assert_int_equal(result->version, config->updates);
}

/* TALWEG_LONG=1: twenty times as many. */
static inline int seeds(int usual) {
    const char *is_long = getenv("TALWEG_LONG");
    return is_long && strcmp(is_long, "1") == 0 ? 20 * usual : usual;
}

#endif
