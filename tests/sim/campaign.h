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

#include "common/base/rng.h"
#include "tests/lib/corrections_text.h"
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

/* TALWEG_LONG=1: more. */
static inline int seeds_of(int usual, int more) {
    const char *is_long = getenv("TALWEG_LONG");
    return is_long && strcmp(is_long, "1") == 0 ? more : usual;
}
static inline int seeds(int usual) {
    return seeds_of(usual, 20 * usual);
}

/* Every kind of event must have happened, or the campaign tests less than it says. */
static inline void insist(const struct cluster_counters *counters, const char *const *except) {
#define X(field)                                                                                   \
    do {                                                                                           \
        bool excused = false;                                                                      \
        for (int i = 0; except[i]; i++)                                                            \
            excused = excused || strcmp(except[i], #field) == 0;                                   \
        if (!counters->field && !excused)                                                          \
            fail_msg("this campaign never saw: " #field);                                          \
    } while (0);
    CLUSTER_COUNTERS(X)
#undef X
}

/* What is done around the rule: for half of all seeds nothing. */
static inline struct tw_shaping draw_shaping(struct tw_rng *rng) {
    static const struct tw_treatment treatment[] = {
        {.decay = true},
        {.rate = 1},
        {.rate = 2, .decay = true},
        {.rate = 1, .update = TW_TENSOR_RUNNING, .keep = .875},
        {.update = TW_TENSOR_MEAN},
        {.decay = true},
        {.rate = 2},
        {.update = TW_TENSOR_MEAN},
    };
    static_assert(sizeof treatment / sizeof *treatment == CLUSTER_TENSORS, "one for each tensor");
    struct tw_shaping shaping = {.rates = 1, .rate = {1}};
    if (tw_rng_below(rng, 2))
        return shaping;
    shaping.sum = tw_rng_below(rng, 3) == 0;
    shaping.clip_norm = tw_rng_below(rng, 2) ? 5 * tw_rng_uniform(rng) : 0;
    shaping.clip_value = tw_rng_below(rng, 3) == 0 ? tw_rng_uniform(rng) : 0;
    shaping.l2 = tw_rng_below(rng, 3) == 0 ? 0.01 : 0;
    shaping.decoupled = tw_rng_below(rng, 3) == 0 ? 0.1 : 0;
    shaping.average = tw_rng_below(rng, 2) ? 0.75 : 0;
    shaping.scores_average = tw_rng_below(rng, 2) && shaping.average > 0;
    if (tw_rng_below(rng, 2))
        return shaping;
    shaping.rates = 3;
    shaping.rate[1] = 0.1;
    shaping.rate[2] = 1.7;
    shaping.treatment = treatment;
    return shaping;
}

/* For half of all seeds none; else any of them, in any order, most of them once. */
static inline struct tw_corrections draw_corrections(uint64_t seed) {
    static const char *const lines[] = {
        "staleness_power",
        "staleness_power power=.5 from=zero",
        "staleness_exp a=.3",
        "staleness_limit most=0",
        "staleness_limit most=2",
        "dc_asgd lambda=.1",
        "dc_asgd_adaptive lambda=.5 rho=.75",
        "gap_aware rho=.5",
        "dana momentum=.5",
    };
    struct tw_corrections stack = {.count = 0};
    struct tw_rng rng;
    tw_rng_init(&rng, seed, TW_STREAM_JITTER, 3, 0);
    for (uint64_t more = tw_rng_below(&rng, 2) * 3; more && tw_rng_below(&rng, more + 1); more--) {
        const char *line = lines[tw_rng_below(&rng, sizeof lines / sizeof *lines)];
        stack.at[stack.count++] = tw_test_corrections(line, NULL).at[0];
    }
    return stack;
}

/* Without those that need room for everything. */
static inline void take_kernels_out(struct tw_corrections *stack) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < stack->count; i++)
        if (!stack->at[i].kind->correct)
            stack->at[kept++] = stack->at[i];
    stack->count = kept;
}

/* Any that is allowed: the smallest, a few blocks, or up to the largest. */
static inline uint32_t draw_chunk_bytes(struct tw_rng *rng) {
    uint64_t most = 1ULL << 2 * tw_rng_below(rng, 4);
    return (uint32_t)(tw_rng_below(rng, 2) ? most : 1 + tw_rng_below(rng, most)) * TW_BLOCK_BYTES;
}

/* At least so many tensors, from one number on to half a MiB, small ones as likely as large. */
static inline struct cluster_model draw_model(struct tw_rng *rng, uint32_t least) {
    struct cluster_model model = {.tensors = least};
    model.tensors += (uint32_t)tw_rng_below(rng, CLUSTER_TENSORS - least + 1);
    for (uint32_t t = 0; t < model.tensors; t++)
        model.elements[t] = 1 + (int64_t)tw_rng_below(rng, 1ULL << tw_rng_below(rng, 18));
    return model;
}

/* As many of 1, 2, 3 and 5 as there are chunks for. */
static inline uint32_t draw_servers(struct tw_rng *rng, const struct cluster_config *config) {
    static const uint32_t servers[] = {1, 2, 3, 5};
    uint32_t drawn = servers[tw_rng_below(rng, 4)], chunks = cluster_chunks(config);
    return drawn < chunks ? drawn : chunks;
}

/* A configuration drawn from the seed. It has chunks for five servers. */
static inline struct cluster_config draw(uint64_t seed, const char *mode, double faults) {
    static const char *const optimizers[] = {
        "sgd lr=.05",
        "momentum lr=.05 momentum=.5",
        "nesterov lr=.05",
        "nesterov lr=.05 nesterov=lookup",
        "adagrad lr=.05",
        "rmsprop lr=.05",
        "rmsprop lr=.05 eps=.01 momentum=.5 centered=true nesterov=lookup",
        "adadelta",
        "adam lr=.05",
        "adamax lr=.05",
        "amsgrad lr=.05",
        "adamw lr=.05",
        "nadam lr=.05",
        "radam lr=.05",
        "lion lr=.05",
        "ftrl-proximal alpha=.05 l1=.1",
        "lars lr=.5 trust=.1",
        "lamb lr=.05",
    };
    const int count = sizeof optimizers / sizeof optimizers[0];
    struct tw_rng rng;
    tw_rng_init(&rng, seed, TW_STREAM_JITTER, 1, 0);
    struct cluster_config config = {.seed = seed, .mode = mode};
    config.workers = 1 + (uint32_t)tw_rng_below(&rng, 4);
    config.optimizer = optimizers[tw_rng_below(&rng, (uint64_t)count)];
    config.updates = 4 + tw_rng_below(&rng, 8);
    config.epoch = tw_rng_below(&rng, 3) ? 0 : 20;
    config.token = tw_rng_below(&rng, 2);
    config.faults = faults * tw_rng_uniform(&rng);
    config.shaping = draw_shaping(&rng);
    config.shaping.corrections = draw_corrections(seed);
    if (tw_rng_below(&rng, 2)) {
        config.push = (uint32_t)tw_rng_below(&rng, TW_ENCODINGS);
        config.pull = (uint32_t)tw_rng_below(&rng, TW_ENCODINGS);
    }
    if (strncmp(config.optimizer, "la", 2) == 0) /* their decay is their own */
        config.shaping.clip_norm = config.shaping.l2 = config.shaping.decoupled = 0;
    tw_rng_init(&rng, seed, TW_STREAM_JITTER, 4, 0);
    if (tw_rng_below(&rng, 4) == 0)
        config.model = draw_model(&rng, 5);
    config.chunk_bytes = draw_chunk_bytes(&rng);
    config.servers = draw_servers(&rng, &config);
    return config;
}

#endif
