/* Campaigns of the virtual cluster in which several evaluators share the test data out, and die,
 * lose connections and come late: each evaluation has, to the bit, the numbers that one evaluator
 * would have said of those weights (scorers.h asserts it), no run hangs, and where training holds
 * for the test loss no evaluation is given up as long as any evaluator is there.
 *
 * TALWEG_LONG=1 runs twenty times as many seeds; TALWEG_SEED=n runs one. */
#include "tests/sim/campaign.h"

static struct cluster_config several(uint64_t seed) {
    static const char *const modes[] = {"sync", "async", "k-async:2", "backup:1", "ssp:1"};
    struct cluster_config config = draw(seed, "sync", seed % 4 ? 40 * (double)(seed % 4) : 0);
    config.mode = modes[seed % 5];
    config.workers = 2 + (uint32_t)(seed / 5 % 2);
    config.servers = 1 + (uint32_t)(seed / 10 % 3);
    config.updates = 12;
    config.epoch = 20;
    config.evaluators = 2 + (uint32_t)(seed / 3 % 3);
    config.judged = seed % 2;
    return config;
}

static void test_several_evaluators_with_faults(void **state) {
    struct cluster_counters counters = {0};
    struct scorers_counts seen[2] = {{0}};
    const char *one = getenv("TALWEG_SEED");
    for (int i = 0; i < seeds(60); i++) {
        uint64_t seed = one ? strtoull(one, NULL, 10) : 80000 + (uint64_t)i;
        struct cluster_config config = several(seed);
        struct cluster_result result = cluster_run(&config, &counters);
        struct scorers_counts *sum = &seen[config.judged];
        check(&config, &result);
        sum->portions += result.scored.portions;
        sum->again += result.scored.again;
        sum->evaluated += result.scored.evaluated;
        sum->given_up += result.scored.given_up;
        if (config.judged && result.scored.given_up)
            fail_msg("seed %" PRIu64 ": %" PRIu64 " evaluations were given up", seed,
                     result.scored.given_up);
        if (one)
            return;
    }
    for (int judged = 0; judged < 2; judged++) {
        print_message("%s: %" PRIu64 " evaluations of %" PRIu64 " portions, %" PRIu64
                      " of them given twice; %" PRIu64 " given up\n",
                      judged ? "judged" : "not judged", seen[judged].evaluated,
                      seen[judged].portions, seen[judged].again, seen[judged].given_up);
        assert_true(seen[judged].evaluated && seen[judged].portions && seen[judged].again);
    }
    assert_true(counters.kills && counters.cuts && counters.evaluations);
}

/* Without faults everybody's every evaluation comes. */
static void test_every_border_is_evaluated(void **state) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct cluster_counters counters = {0};
        struct cluster_config config = several(4 * seed);
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        assert_int_equal(result.scored.given_up, 0);
        assert_int_equal(result.scored.again, 0);
        assert_int_equal(result.scored.evaluated, counters.evaluations);
        assert_true(result.scored.evaluated > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_several_evaluators_with_faults),
        cmocka_unit_test(test_every_border_is_evaluated),
    };
    return cmocka_run_group_tests_name("several evaluators", tests, NULL, NULL);
}
