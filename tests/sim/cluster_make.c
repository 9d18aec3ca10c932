/* What a virtual cluster is made of: tensors, rule, turns of the dial, nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/variant_text.h"
#include "tests/sim/cluster_parts.h"

static const struct cluster_model usual = {5, {40000, 10, 300, 3, 1}};

static const struct cluster_model *model_of(const struct cluster_config *config) {
    return config->model.tensors ? &config->model : &usual;
}

uint32_t cluster_chunks(const struct cluster_config *config) {
    const struct cluster_model *model = model_of(config);
    int64_t each = config->chunk_bytes / (int64_t)sizeof(float), chunks = 0;
    for (uint32_t t = 0; t < model->tensors; t++)
        chunks += (model->elements[t] + each - 1) / each;
    return (uint32_t)chunks;
}

static void make_tensors(struct cluster *c) {
    const struct tw_init init = {TW_INIT_NORMAL, 1};
    const struct tw_treatment *own = c->config->shaping.treatment;
    const struct cluster_model *model = model_of(c->config);
    c->list = (struct tw_tensor_list){(int)model->tensors,
                                      calloc(model->tensors, sizeof(struct tw_tensor))};
    for (int t = 0; t < c->list.count; t++) {
        char name[24];
        snprintf(name, sizeof name, "tensor%d", t);
        assert_int_equal(
            tw_tensor_init(&c->list.tensors[t], name, 1, &model->elements[t], init, NULL), TW_OK);
        c->list.tensors[t].update = own ? own[t].update : TW_TENSOR_TRAINED;
    }
    uint32_t chunks = tw_layout_count(&c->list, c->config->chunk_bytes);
    assert_int_equal(chunks, cluster_chunks(c->config));
    c->chunk = calloc(chunks, sizeof(*c->chunk));
    assert_int_equal(tw_layout_init(&c->layout, &c->list, c->config->chunk_bytes,
                                    c->config->servers, c->chunk, NULL),
                     TW_OK);
}

static void make_optimizer(struct cluster *c) {
    assert_int_equal(
        tw_optimizer_find(&c->optimizer, &c->options, tw_test_variant(c->config->optimizer), NULL),
        TW_OK);
}

static void *aligned_zero(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    memset(memory, 0, bytes);
    return memory;
}

/* Any mode with any number. */
static void draw_mode(struct tw_rng *rng, uint32_t workers, char mode[32]) {
    static const struct {
        const char *name;
        bool number;
        uint32_t least;
    } presets[] = {{"sync", false, 0},        {"async", false, 0},        {"backup", true, 0},
                   {"k-sync", true, 1},       {"k-batch-sync", true, 1},  {"ssp", true, 0},
                   {"k-async", true, 1},      {"k-batch-async", true, 1}, {"softsync", true, 1},
                   {"stale-uniform", true, 1}};
    uint64_t i = tw_rng_below(rng, sizeof(presets) / sizeof(presets[0]));
    uint64_t number = presets[i].least + tw_rng_below(rng, workers);
    if (presets[i].number)
        snprintf(mode, 32, "%s:%" PRIu64, presets[i].name, number);
    else
        snprintf(mode, 32, "%s", presets[i].name);
}

/* Modes that need room for whole pushes. */
static bool keeps_pushes(const char *mode) {
    return strncmp(mode, "k-batch", 7) == 0 || strncmp(mode, "softsync", 8) == 0;
}

/* Turns by the job: as many as those by hand, at some updates. */
static uint32_t plan_turns(struct cluster *c) {
    uint32_t count = 0;
    struct tw_rng rng;
    char mode[32];
    tw_rng_init(&rng, c->config->seed, TW_STREAM_JITTER, 2, 0);
    for (uint64_t update = 1; update <= c->config->updates && count < CLUSTER_TURNS; update++) {
        if (tw_rng_uniform(&rng) * (double)c->config->updates >= c->config->turns)
            continue;
        c->turn[count].update = update;
        do
            draw_mode(&rng, c->config->workers, mode);
        while (c->config->pool && keeps_pushes(mode));
        assert_int_equal(tw_dial_parse(mode, (struct tw_where){0}, (int)c->config->workers,
                                       &c->turn[count++].dial, NULL),
                         TW_OK);
    }
    return count;
}

void cluster_turn(struct cluster *c) {
    char mode[32];
    struct tw_error error;
    draw_mode(&c->rng, c->config->workers, mode);
    enum tw_status status = tw_node_turn(c->node[0].node, mode, &error);
    bool too_large = status == TW_UNSUPPORTED && c->config->pool;
    if (status != TW_OK && status != TW_STOPPED && status != TW_UNEXPECTED && !too_large)
        fail_msg("%s: %s", mode, error.text);
    c->node[0].busy = true;
    cluster_drain(c, 0);
}

static void make_nodes(struct cluster *c) {
    const struct cluster_config *config = c->config;
    struct tw_node_config node = {.servers = config->servers, .connections = CLUSTER_CONNECTIONS};
    assert_int_equal(tw_dial_parse(config->mode, (struct tw_where){0}, (int)config->workers,
                                   &node.sequencer.dial, NULL),
                     TW_OK);
    node.terms.tensors = &c->list;
    if (config->token) {
        node.terms.token = CLUSTER_TOKEN;
        node.terms.token_bytes = strlen(CLUSTER_TOKEN);
    }
    node.sequencer.workers = config->workers;
    node.sequencer.shards = config->servers;
    node.sequencer.tensors = (uint32_t)c->layout.list->count;
    node.sequencer.samples = config->epoch;
    node.sequencer.end_updates = config->updates;
    node.sequencer.checkpoint_every = 1 + config->seed % 3;
    node.sequencer.evaluator = config->epoch > 0;
    scorers_configure(&node, config->evaluators > 0, config->judged);
    node.sequencer.turns = c->turn;
    node.sequencer.turn_count = plan_turns(c);
    node.sequencer.optimizer = c->optimizer;
    node.sequencer.options = c->options;
    node.sequencer.shaping = node.shard.shaping = config->shaping;
    node.shard.layout = &c->layout;
    node.shard.slots = config->workers;
    node.width = config->width;
    node.shard.members_known = node.sequencer.dial.members_known;
    node.shard.on_arrival = node.sequencer.dial.on_arrival;
    node.shard.batch = (int64_t)ARRIVALS_SHARE * config->workers;
    if (node.shard.on_arrival)
        c->arrivals = arrivals_new(&c->layout, config->seed);
    node.shard.ahead = config->turns > 0 ? config->workers : tw_dial_ahead(&node.sequencer.dial);
    if (config->pool) {
        node.shard.pool = tw_shard_pool_min(config->workers) + config->pool - 1;
        node.shard.ahead = 0;
        node.sequencer.admission = true;
    }
    node.shard.spares = 1; /* as few as possible: updates must wait for sends */
    node.shard.push = node.terms.push = config->push;
    node.shard.pull = node.terms.pull = config->pull;
    node.shard.seed = config->seed;
    node.shard.hash_every = 2;
    node.shard.sums_every = 3;
    node.shard.optimizer = c->optimizer;
    node.shard.options = c->options;
    c->mirror = mirror_new(&node);
    for (uint32_t s = 0; s < config->servers; s++) {
        node.shard.index = s;
        size_t bytes = tw_node_bytes(&node);
        assert_true(bytes > 0);
        c->node[s].node = tw_node_init(aligned_zero(bytes), &node);
    }
    cluster_link_servers(c);
    for (uint32_t s = 1; s < config->servers; s++)
        tw_node_add_server(c->node[0].node, s, TW_NO_CONNECTION);
}

void cluster_make(struct cluster *c) {
    make_tensors(c);
    make_optimizer(c);
    make_nodes(c);
}
