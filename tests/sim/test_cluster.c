/* Campaigns of the virtual cluster: thousands of schedules, with and without
 * faults, in sync and async, on one to five servers. After each: the weights of
 * all shards are exactly those that the order log gives (the oracle), and the
 * staleness identity holds. That sync gives one result: test_bits.c.
 *
 * TALWEG_LONG=1 runs twenty times as many seeds. TALWEG_TEST=name TALWEG_SEED=n runs
 * one seed of one test, and tells more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/arrivals.h"
#include "tests/sim/campaign.h"

/* Of runs with room for everything. */
#define PERMITS "permits", "taken_back", "sent_again"

static void campaign(const char *name, const char *mode, double faults, double not_finite,
                     int count, const char *const *except) {
    struct cluster_counters counters = {0};
    const char *one = getenv("TALWEG_SEED");
    for (int i = 0; i < count; i++) {
        uint64_t seed = one ? strtoull(one, NULL, 10) : 1000 + (uint64_t)i;
        struct cluster_config config = draw(seed, mode, faults);
        config.not_finite = not_finite;
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        if (one)
            return;
    }
    print_counters(name, &counters);
    insist(&counters, except);
}

static void test_sync_with_faults(void **state) {
    static const char *const except[] = {"not_finite", "drops", "pauses",    "cancels", "given_up",
                                         "blocked",    "turns", "evictions", PERMITS,   NULL};
    campaign("sync", "sync", 12, 0, seeds(150), except);
}

static void test_async_with_faults(void **state) {
    static const char *const except[] = {"not_finite", "drops",     "pauses",  "regathers",
                                         "duplicates", "blocked",   "cancels", "given_up",
                                         "turns",      "evictions", PERMITS,   NULL};
    campaign("async", "async", 20, 0, seeds(150), except);
}

/* The other settings of the dial: numbers drawn from the seed, so that gathers are
 * larger and smaller than what has come. */
static void test_modes_with_faults(void **state) {
    static const char *const modes[] = {"backup",   "k-sync",       "k-batch-sync",
                                        "ssp",      "k-async",      "k-batch-async",
                                        "softsync", "stale-uniform"};
    enum { MODES = sizeof modes / sizeof *modes };
    static const char *const except[] = {"not_finite", "pauses",    "regathers", "duplicates",
                                         "turns",      "evictions", PERMITS,     NULL};
    struct cluster_counters counters = {0};
    for (int i = 0; i < seeds(160); i++) {
        struct cluster_config config = draw(5000 + (uint64_t)i, "sync", 8);
        const char *name = modes[i % MODES];
        uint64_t number = strcmp(name, "backup") == 0 ? 0 : 1;
        char mode[32];
        config.workers = 2 + (uint32_t)i / MODES % 3;
        number += (uint64_t)i / (3 * MODES) % config.workers;
        snprintf(mode, sizeof(mode), "%s:%" PRIu64, name, number);
        config.mode = mode;
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        if (i % MODES < 3) /* the first three promise fresh gradients */
            assert_int_equal(result.total.staleness_max, 0);
    }
    print_counters("modes", &counters);
    insist(&counters, except);
}

/* The dial is turned at any moment, to any mode, by the job and by hand. */
static void test_turns_with_faults(void **state) {
    static const char *const modes[] = {"sync", "async", "k-batch-async:2", "backup:1", "ssp:1"};
    static const char *const except[] = {"pauses", "evictions", PERMITS, NULL};
    struct cluster_counters counters = {0};
    const char *one = getenv("TALWEG_SEED");
    for (int i = 0; i < seeds(150); i++) {
        uint64_t seed = one ? strtoull(one, NULL, 10) : 9000 + (uint64_t)i;
        struct cluster_config config = draw(seed, modes[seed % 5], seed % 3 ? 8 : 0);
        config.workers = 2 + (uint32_t)(seed / 5 % 3);
        config.turns = 3;
        config.not_finite = seed % 7 ? 0 : 0.02;
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        if (one)
            return;
    }
    print_counters("turns", &counters);
    insist(&counters, except);
}

/* Workers that are gone are evicted, some come back, some never do, and the run ends. */
static void test_evictions_with_faults(void **state) {
    static const char *const modes[] = {
        "sync", "async", "ssp:1", "k-batch-async:2", "k-batch-sync:2", "stale-uniform:2"};
    static const char *const except[] = {"not_finite", "pauses", "turns", PERMITS, NULL};
    struct cluster_counters counters = {0};
    const char *one = getenv("TALWEG_SEED");
    for (int i = 0; i < seeds(180); i++) {
        uint64_t seed = one ? strtoull(one, NULL, 10) : 13000 + (uint64_t)i;
        struct cluster_config config = draw(seed, modes[seed % 6], 10);
        config.workers = 2 + (uint32_t)(seed / 6 % 3);
        config.evict = true;
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        if (one)
            return;
    }
    print_counters("evictions", &counters);
    insist(&counters, except);
}

/* What mode hogwild excludes is taken out. False: the rule, too. */
static bool may_apply_as_they_come(struct cluster_config *config) {
    config->shaping.clip_norm = 0;
    config->shaping.corrections.count = 0;
    return strncmp(config->optimizer, "la", 2) != 0;
}

/* No log says what the weights are; what was applied, and how often, they say themselves. Half of
 * the runs have any rule, and what can be done around it. */
static void test_chunks_applied_as_they_come(void **state) {
    static const char *const except[] = {"clipped",  "ratios",  "regathers", "prepares", "pauses",
                                         "given_up", "samples", "turns",     PERMITS,    NULL};
    struct cluster_counters counters = {0};
    const char *one = getenv("TALWEG_SEED");
    for (int i = 0; i < seeds(60); i++) {
        uint64_t seed = one ? strtoull(one, NULL, 10) : 21000 + (uint64_t)i;
        struct cluster_config config = draw(seed, "hogwild", seed % 5 ? 40 : 0);
        bool any = may_apply_as_they_come(&config) && seed % 2;
        config.not_finite = seed % 7 ? 0 : 0.02;
        config.evict = seed % 3 == 0;
        if (config.evict) /* so that the others can go on */
            config.workers = 2 + (uint32_t)(seed / 3 % 3);
        config.out_of_order = seed % 4 == 0;
        if (!any) {
            config.optimizer = ARRIVALS_RULE;
            config.shaping = (struct tw_shaping){.rates = 1, .rate = {1}};
        }
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        if (one)
            return;
    }
    print_counters("applied as they come", &counters);
    insist(&counters, except);
}

static void test_not_finite(void **state) {
    static const char *const except[] = {
        "takeovers", "resumes",      "regathers", "pauses",  "duplicates",    "cuts",
        "kills",     "replacements", "fenced",    "refused", "blocked",       "cancels",
        "given_up",  "turns",        "evictions", PERMITS,   "begun_in_vain", NULL};
    campaign("not finite", "sync", 0, 0.1, seeds(40), except);
    campaign("not finite, async", "async", 0, 0.1, seeds(40), except);
    campaign("not finite, accepted", "softsync:1", 0, 0.1, seeds(40), except);
}

/* Servers lie to each other: whoever hears it refuses it or does something useless, and no
 * assertion of a core fails. */
static void test_lies_of_servers(void **state) {
    static const char *const modes[] = {"sync",  "async",          "k-batch-async:2", "backup:1",
                                        "ssp:1", "k-batch-sync:2", "hogwild"};
    struct cluster_counters counters = {0};
    const char *one = getenv("TALWEG_SEED");
    int lied = 0, refused = 0, believed = 0;
    for (int i = 0; i < seeds(200); i++) {
        uint64_t seed = one ? strtoull(one, NULL, 10) : 20000 + (uint64_t)i;
        struct cluster_config config = draw(seed, modes[seed % 7], 4);
        bool applies = seed % 7 == 6;
        config.workers = 2 + (uint32_t)(seed / 7 % 3);
        config.servers = 2 + (uint32_t)(seed / 21 % 2);
        config.turns = seed % 5 == 0 && !applies;
        config.evict = seed % 5 == 1;
        config.lies = seed % 2 ? 0.02 : 0.1;
        if (applies && !may_apply_as_they_come(&config))
            config.optimizer = ARRIVALS_RULE;
        struct cluster_result result = cluster_run(&config, &counters);
        lied += result.lied;
        refused += result.refused;
        believed += result.lied && result.status == TW_OK && !result.refused;
        if (one)
            return;
    }
    print_message("lies: told in %d runs, refused in %d, of no consequence in %d\n", lied, refused,
                  believed);
    assert_true(refused > 0 && believed > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_with_faults),
        cmocka_unit_test(test_async_with_faults),
        cmocka_unit_test(test_modes_with_faults),
        cmocka_unit_test(test_turns_with_faults),
        cmocka_unit_test(test_evictions_with_faults),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_chunks_applied_as_they_come),
        cmocka_unit_test(test_lies_of_servers),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
