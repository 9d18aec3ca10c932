/* `sync` has one result, to the bit: over a thousand schedules of one job (what arrives when,
 * connections cut, workers killed, one to three servers, chunks of two sizes), and over the
 * workers that own its slots. Over all sizes of chunks: test_sizes.c.
 *
 * TALWEG_LONG=1 runs twenty times as many. TALWEG_TEST=name runs one test. */
#include "tests/sim/campaign.h"

/* The schedule's number says the rest: a third of them each on one, two and three servers,
 * half of them each with chunks of 64 and 128 KiB, three of four under faults. */
static struct cluster_config scheduled(struct cluster_config config, uint64_t schedule) {
    config.schedule = schedule;
    config.servers = 1 + (uint32_t)(schedule % 3);
    config.chunk_bytes = schedule / 3 % 2 ? 64 << 10 : 128 << 10;
    config.faults = schedule / 6 % 4 ? 5 : 0;
    return config;
}

static void test_sync_has_one_result_over_a_thousand_schedules(void **state) {
    const struct cluster_config job = {
        .seed = 11, .workers = 3, .mode = "sync", .optimizer = "momentum lr=.05", .updates = 4};
    struct cluster_counters counters = {0};
    struct cluster_result first = {0};
    for (int i = 0; i < seeds(1000); i++) {
        struct cluster_config config = scheduled(job, 1 + (uint64_t)i);
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        if (i == 0)
            first = result;
        if (memcmp(first.weights, result.weights, sizeof(first.weights)) != 0)
            fail_msg("schedule %" PRIu64 ": other bits than schedule 1", config.schedule);
        assert_int_equal(first.total.examples, result.total.examples);
        assert_true(first.total.loss == result.total.loss);
        assert_int_equal(result.total.dropped, 0);
    }
    print_counters("a thousand schedules", &counters);
    assert_true(counters.kills > 0 && counters.cuts > 0 && counters.replacements > 0);
    assert_true(counters.regathers > 0 && counters.split_frames > 0);
}

/* The same job under many schedules, faults, numbers of servers and chunk sizes. */
static void test_sync_with_any_number_of_workers(void **state) {
    static const char *const optimizers[] = {"adam lr=.05", "lamb lr=.05", "adam lr=.05",
                                             "lars lr=.5 trust=.1"};
    struct cluster_counters counters = {0};
    for (uint32_t workers = 1; workers <= 4; workers++) {
        uint8_t first[32];
        for (int i = 0; i < seeds(12); i++) {
            struct cluster_config config = {.seed = 7,
                                            .workers = workers,
                                            .mode = "sync",
                                            .optimizer = optimizers[workers - 1],
                                            .updates = 8};
            config.schedule = 1 + (uint64_t)i;
            config.servers = 1 + (uint32_t)i % 3;
            config.chunk_bytes = i % 2 ? 64 << 10 : 128 << 10;
            config.faults = i % 4 ? 10 : 0;
            /* Every other job is clipped by norm, in its first updates. */
            config.shaping = (struct tw_shaping){.clip_norm = workers % 2 ? 100 : 0};
            struct cluster_result result = cluster_run(&config, &counters);
            check(&config, &result);
            if (i == 0)
                memcpy(first, result.weights, sizeof(first));
            assert_memory_equal(first, result.weights, sizeof(first));
        }
    }
    print_counters("bit-identical", &counters);
    assert_true(counters.clipped > 0 && counters.clipped < counters.commits);
    assert_true(counters.ratios > 0);
}

/* Whatever its tensors are encoded in; and each way of encoding them has bits of its own. */
static void test_sync_with_every_encoding(void **state) {
    struct cluster_counters counters = {0};
    uint8_t first[TW_ENCODINGS * TW_ENCODINGS][32];
    for (uint32_t way = 0; way < TW_ENCODINGS * TW_ENCODINGS; way++) {
        for (uint32_t i = 0; i < (uint32_t)seeds(8); i++) {
            struct cluster_config config = {.seed = 5,
                                            .workers = 2,
                                            .mode = "sync",
                                            .optimizer = "adam lr=.05",
                                            .updates = 5,
                                            .epoch = 20};
            config.push = way % TW_ENCODINGS;
            config.pull = way / TW_ENCODINGS;
            config.schedule = 1 + i;
            config.servers = 1 + i % 3;
            config.chunk_bytes = i / 3 % 2 ? 64 << 10 : 128 << 10;
            config.faults = i % 4 ? 6 : 0;
            struct cluster_result result = cluster_run(&config, &counters);
            check(&config, &result);
            if (i == 0)
                memcpy(first[way], result.weights, sizeof(first[way]));
            assert_memory_equal(first[way], result.weights, sizeof(first[way]));
        }
        for (uint32_t other = 0; other < way; other++)
            assert_memory_not_equal(first[way], first[other], sizeof(first[way]));
    }
    print_counters("encodings", &counters);
}

/* Eight slots on 1, 2, 4 and 8 workers: the same model and the same loss, also under
 * faults. */
static void test_the_owners_of_slots_do_not_matter(void **state) {
    struct cluster_counters counters = {0};
    struct cluster_result first = {0};
    for (int i = 0; i < seeds(12); i++) {
        struct cluster_config config = {.seed = 9,
                                        .workers = 1u << i % 4,
                                        .mode = "sync",
                                        .optimizer = "adam lr=.05",
                                        .updates = 6};
        config.width = 8 / config.workers;
        config.schedule = 1 + (uint64_t)i;
        config.servers = 1 + (uint32_t)i / 4 % 3;
        config.chunk_bytes = i / 4 % 2 ? 64 << 10 : 128 << 10;
        config.faults = i < 4 ? 0 : 8;
        struct cluster_result result = cluster_run(&config, &counters);
        check(&config, &result);
        if (i == 0)
            first = result;
        assert_memory_equal(first.weights, result.weights, sizeof(first.weights));
        assert_int_equal(first.total.examples, result.total.examples);
        assert_true(first.total.loss == result.total.loss);
    }
    print_counters("slots", &counters);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_has_one_result_over_a_thousand_schedules),
        cmocka_unit_test(test_sync_with_any_number_of_workers),
        cmocka_unit_test(test_sync_with_every_encoding),
        cmocka_unit_test(test_the_owners_of_slots_do_not_matter),
    };
    cmocka_set_test_filter(getenv("TALWEG_TEST"));
    return cmocka_run_group_tests_name("bits", tests, NULL, NULL);
}
