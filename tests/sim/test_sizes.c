/* `sync` has one result, to the bit, for any number of servers and any size of chunks: a property
 * of any model, rule, and whatever else is drawn, under faults.
 *
 * TALWEG_LONG=1 runs two thousand seeds; TALWEG_SEED=n runs one. */
#include "tests/sim/campaign.h"

/* Of a hundred models one has a tensor that is cut by the largest chunks, too. */
static struct cluster_config job_of(uint64_t seed, struct tw_rng *rng) {
    struct cluster_config config = draw(seed, "sync", 6);
    config.model = draw_model(rng, 1);
    config.updates = 2 + tw_rng_below(rng, 2);
    if (seed % 100 == 0) {
        config.model.elements[0] = TW_CHUNK_BYTES_MAX / sizeof(float) + 1;
        config.model.elements[0] += (int64_t)tw_rng_below(rng, 1 << 18);
        config.workers = 2;
        config.updates = 2;
    }
    return config;
}

/* As many servers as that, or as there are chunks for. */
static void run_on(struct cluster_config *config, uint32_t servers, uint32_t chunk_bytes,
                   struct cluster_counters *counters, struct cluster_result *result) {
    config->chunk_bytes = chunk_bytes;
    config->servers = servers < cluster_chunks(config) ? servers : cluster_chunks(config);
    config->schedule++;
    *result = cluster_run(config, counters);
    check(config, result);
}

static void sync_has_one_result_over_servers_and_chunk_sizes(void **state) {
    static const uint32_t servers[] = {1, 2, 3, 5};
    struct cluster_counters counters = {0};
    const char *one = getenv("TALWEG_SEED");
    uint32_t cut = 0, on_five = 0;
    for (int i = 0; i < seeds_of(16, 2000); i++) {
        uint64_t seed = one ? strtoull(one, NULL, 10) : 100000 + (uint64_t)i;
        struct cluster_result first = {0}, result;
        struct tw_rng rng;
        tw_rng_init(&rng, seed, TW_STREAM_JITTER, 5, 0);
        struct cluster_config config = job_of(seed, &rng);
        config.schedule = 4 * seed;
        bool large = seed % 100 == 0;
        for (uint32_t k = 0; k < 4; k += large ? 3 : 1) {
            uint32_t chunk_bytes = draw_chunk_bytes(&rng);
            run_on(&config, servers[k], large && k > 0 ? TW_CHUNK_BYTES_MAX : chunk_bytes,
                   &counters, &result);
            first = k == 0 ? result : first;
            if (memcmp(first.weights, result.weights, sizeof first.weights) != 0)
                fail_msg("seed %" PRIu64 ": on %u servers with chunks of %u KiB other bits than "
                         "on one",
                         seed, config.servers, config.chunk_bytes >> 10);
            assert_true(first.total.loss == result.total.loss);
            cut += config.chunk_bytes > TW_CHUNK_BYTES_MAX / 2 &&
                   cluster_chunks(&config) > config.model.tensors;
            on_five += config.servers == 5;
        }
        if (one)
            return;
    }
    print_counters("sizes", &counters);
    assert_true(cut && on_five && counters.kills && counters.cuts);
    assert_true(counters.clipped && counters.ratios);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_has_one_result_over_servers_and_chunk_sizes),
    };
    return cmocka_run_group_tests_name("sizes", tests, NULL, NULL);
}
