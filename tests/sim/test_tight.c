/* The virtual cluster with next to no memory for gradients: a home for every chunk, and as few
 * spare buffers as a shard can live with, or some more. All modes that can be had then, on one to
 * five servers, with faults, turns of the dial, evictions, and workers that send in any order:
 * every run must end, and what comes out must be what the log says.
 *
 * TALWEG_LONG=1 runs twenty times as many seeds. TALWEG_TEST=name TALWEG_SEED=n runs one
 * seed of one test, and tells more. */
#include "tests/sim/campaign.h"

struct plan {
    const char *name;
    const char *const *modes; /* a "%u" in one: a number from `least` on that the workers allow */
    int mode_count;
    double faults, turns, not_finite;
    bool evict, out_of_order;
    uint32_t workers_max;
};

static struct cluster_config draw_tight(const struct plan *plan, uint64_t seed, char mode[32]) {
    struct cluster_config config = draw(seed, "sync", seed % 3 ? plan->faults : 0);
    struct tw_rng rng;
    tw_rng_init(&rng, seed, TW_STREAM_JITTER, 3, 0);
    const char *form = plan->modes[seed % (uint64_t)plan->mode_count];
    uint32_t number;
    config.workers = 2 + (uint32_t)tw_rng_below(&rng, plan->workers_max - 1);
    number = 1 + (uint32_t)tw_rng_below(&rng, config.workers);
    snprintf(mode, 32, "%s", form);
    if (strchr(form, ':'))
        snprintf(mode, 32, "%s%u", form, strcmp(form, "backup:") == 0 ? number - 1 : number);
    config.mode = mode;
    config.pool = 1 + (uint32_t)tw_rng_below(&rng, 4);
    take_kernels_out(&config.shaping.corrections);
    config.turns = plan->turns;
    config.evict = plan->evict;
    config.not_finite = seed % 5 ? 0 : plan->not_finite;
    config.out_of_order = plan->out_of_order && seed % 2;
    return config;
}

static void campaign(const struct plan *plan, uint64_t first, int count,
                     const char *const *except) {
    struct cluster_counters counters = {0};
    const char *one = getenv("TALWEG_SEED");
    char mode[32];
    for (int i = 0; i < count; i++) {
        uint64_t seed = one ? strtoull(one, NULL, 10) : first + (uint64_t)i;
        struct cluster_config config = draw_tight(plan, seed, mode);
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        if (one)
            return;
    }
    print_counters(plan->name, &counters);
    insist(&counters, except);
}

static void test_sync_tight(void **state) {
    static const char *const modes[] = {"sync"};
    static const char *const except[] = {"drops",   "cancels",   "given_up", "not_finite",
                                         "turns",   "evictions", "permits",  "taken_back",
                                         "blocked", NULL};
    const struct plan plan = {.name = "sync",
                              .modes = modes,
                              .mode_count = 1,
                              .faults = 12,
                              .out_of_order = true,
                              .workers_max = 9};
    campaign(&plan, 20000, seeds(60), except);
}

static void test_modes_tight(void **state) {
    static const char *const modes[] = {
        "async", "ssp:", "backup:", "k-sync:", "k-async:", "stale-uniform:"};
    static const char *const except[] = {"turns", "evictions", "regathers", NULL};
    const struct plan plan = {.name = "modes",
                              .modes = modes,
                              .mode_count = 6,
                              .faults = 12,
                              .not_finite = 0.05,
                              .out_of_order = true,
                              .workers_max = 5};
    campaign(&plan, 30000, seeds(120), except);
}

static void test_turns_tight(void **state) {
    static const char *const modes[] = {"sync", "async", "k-async:", "backup:"};
    static const char *const except[] = {"evictions", NULL};
    const struct plan plan = {.name = "turns",
                              .modes = modes,
                              .mode_count = 4,
                              .faults = 8,
                              .turns = 3,
                              .not_finite = 0.02,
                              .workers_max = 4};
    campaign(&plan, 40000, seeds(60), except);
}

static void test_evictions_tight(void **state) {
    static const char *const modes[] = {"sync", "async", "ssp:", "k-async:", "stale-uniform:"};
    static const char *const except[] = {"turns",   "not_finite", "drops",
                                         "cancels", "given_up",   NULL};
    const struct plan plan = {.name = "evictions",
                              .modes = modes,
                              .mode_count = 5,
                              .faults = 10,
                              .evict = true,
                              .workers_max = 4};
    campaign(&plan, 50000, seeds(75), except);
}

/* In sync the bits do not depend on the memory, nor on who sends in which order. */
static void test_sync_bits(void **state) {
    struct cluster_counters counters = {0};
    for (int i = 0; i < seeds(8); i++) {
        struct cluster_config config = draw(60000 + (uint64_t)i, "sync", 0);
        config.workers = 3 + (uint32_t)i % 6;
        take_kernels_out(&config.shaping.corrections);
        struct cluster_result roomy = cluster_run(&config, &counters);
        for (uint32_t pool = 1; pool < 8; pool += 3) {
            config.pool = pool;
            config.schedule = 70000 + (uint64_t)i * 10 + pool;
            config.out_of_order = i % 2;
            config.faults = i % 3 ? 0 : 6;
            struct cluster_result tight = cluster_run(&config, &counters);
            check(&config, &tight);
            assert_memory_equal(roomy.weights, tight.weights, sizeof(roomy.weights));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_tight),  cmocka_unit_test(test_modes_tight),
        cmocka_unit_test(test_turns_tight), cmocka_unit_test(test_evictions_tight),
        cmocka_unit_test(test_sync_bits),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests_name("tight", tests, NULL, NULL);
}
