#include "tests/lib/world_desk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "proto/order_log_pack.h"
#include "tests/lib/variant_text.h"

/* FNV-1a. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static enum tw_status gradient(void *context, uint32_t slot, uint32_t width, uint64_t step,
                               const float *const *weights, float *out, struct tw_world_push *push,
                               struct tw_error *error) {
    struct world_desk *desk = context;
    int64_t elements = desk->elements ? desk->elements : 1;
    double target = desk->target ? desk->target[slot] : 0;
    uint64_t seen[3] = {slot, step, 0};
    struct tw_rng rng;
    tw_rng_init(&rng, desk->seed, TW_STREAM_NOISE, slot, step);
    push->loss = 0;
    if (desk->gradient)
        desk->gradient(desk, slot, step, weights[0], out);
    for (int64_t i = 0; !desk->gradient && i < elements; i++) {
        double x = (double)weights[0][i] - target, noise = 0;
        if (desk->noise > 0)
            noise = desk->noise * tw_rng_normal(&rng);
        memcpy(&seen[2], &noise, sizeof noise);
        desk->data += mix(1, seen, sizeof seen);
        out[i] = (float)(desk->curvature * x + noise);
        push->loss += desk->curvature * x * x / 2;
    }
    push->examples = desk->examples;
    if (desk->on_gradient)
        desk->on_gradient(desk, weights[0]);
    return TW_OK;
}

static void on_record(void *context, const struct tw_record *record, uint64_t now_ns) {
    struct world_desk *desk = context;
    static unsigned char bytes[TW_ORDER_LOG_RECORD_MAX];
    size_t size = tw_order_log_pack(record, bytes);
    desk->log = mix(desk->log, bytes, size);
    if (desk->on_record)
        desk->on_record(desk, record, now_ns);
}

static void on_event(void *context, const struct tw_node_event *event, uint64_t now_ns) {
    struct world_desk *desk = context;
    if (event->kind == TW_EVENT_APPLIED && desk->on_version)
        desk->on_version(desk, event->version);
    desk->evictions += event->kind == TW_EVENT_EVICTED;
}

static void again(void *context, const struct tw_sequencer_snapshot *from, uint32_t generation,
                  uint64_t died_ns, uint64_t now_ns) {
    struct world_desk *desk = context;
    assert_true(died_ns <= now_ns);
    assert_int_equal(generation, ++desk->rollbacks);
    assert_true(from->version <= desk->updates);
}

static bool stops(void *context) {
    const struct world_desk *desk = context;
    return desk->stop_at > 0 && (double)tw_world_now_ns(desk->world) * 1e-9 >= desk->stop_at;
}

static struct tw_delay law(const char *line, uint64_t seed) {
    struct tw_delay delay;
    struct tw_error error;
    if (tw_delay_find(&delay, tw_test_variant(line), seed, &error) != TW_OK)
        fail_msg("%s: %s", line, error.text);
    return delay;
}

static void set_rule(struct world_desk *desk, struct tw_node_config *node) {
    char sgd[64];
    snprintf(sgd, sizeof sgd, "sgd lr=%.17g", desk->rate > 0 ? desk->rate : 1e-300);
    const char *line = desk->optimizer ? desk->optimizer : sgd;
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    assert_int_equal(tw_optimizer_find(&rule, &options, tw_test_variant(line), NULL), TW_OK);
    node->sequencer.optimizer = node->shard.optimizer = rule;
    node->sequencer.options = node->shard.options = options;
    if (desk->shaping)
        node->sequencer.shaping = node->shard.shaping = *desk->shaping;
    else
        node->sequencer.shaping.corrections = node->shard.shaping.corrections = desk->corrections;
}

static void set_node(struct world_desk *desk, const struct tw_tensor_list *list,
                     const struct tw_layout *layout, struct tw_node_config *node) {
    const char *mode = desk->mode ? desk->mode : "sync";
    *node = (struct tw_node_config){
        .terms.tensors = list,
        .sequencer = {.workers = desk->workers,
                      .shards = desk->servers,
                      .tensors = 1,
                      .end_updates = desk->updates,
                      .checkpoint_every = desk->checkpoint_every,
                      .seed = desk->delay_seed},
        .shard = {.layout = layout, .slots = desk->workers, .seed = desk->seed},
        .servers = desk->servers,
        .connections = 4 * desk->workers + 4,
    };
    assert_int_equal(
        tw_dial_parse(mode, (struct tw_where){0}, (int)desk->workers, &node->sequencer.dial, NULL),
        TW_OK);
    node->shard.members_known = node->sequencer.dial.members_known;
    node->shard.on_arrival = node->sequencer.dial.on_arrival;
    node->shard.batch = (int64_t)(desk->workers * desk->examples);
    set_rule(desk, node);
}

static void conclude(struct world_desk *desk, const struct tw_layout *layout) {
    float *weights = calloc((size_t)layout->elements, sizeof(float));
    size_t count = layout->elements < 64 ? (size_t)layout->elements : 64;
    const struct tw_sequencer *sequencer = tw_node_sequencer(tw_world_lead(desk->world));
    tw_world_weights(desk->world, weights);
    if (tw_world_check_staleness(desk->world, &desk->error) != TW_OK)
        fail_msg("%s", desk->error.text);
    memcpy(desk->x, weights, count * sizeof(float));
    desk->seconds = (double)tw_world_now_ns(desk->world) * 1e-9;
    desk->events = tw_world_events(desk->world);
    desk->version = tw_sequencer_version(sequencer);
    desk->sums = tw_sequencer_staleness(sequencer);
    free(weights);
}

static void fill(struct world_desk *desk) {
    desk->workers = desk->workers ? desk->workers : 1;
    desk->servers = desk->servers ? desk->servers : 1;
    desk->examples = desk->examples ? desk->examples : 1;
    desk->log = desk->data = desk->evictions = desk->rollbacks = 0;
}

enum tw_status world_desk_run(struct world_desk *desk) {
    enum { CHUNK = 1 << 16 };
    int64_t elements = desk->elements ? desk->elements : 1;
    struct tw_tensor tensor;
    struct tw_tensor_list list = {1, &tensor};
    struct tw_layout layout;
    struct tw_memory_plan plan[8];
    struct tw_world_config config = {.list = &list, .numerics = "desk", .plans = plan};
    fill(desk);
    assert_int_equal(tw_tensor_init(&tensor, "x", 1, &elements,
                                    (struct tw_init){TW_INIT_CONSTANT, desk->start}, NULL),
                     TW_OK);
    struct tw_chunk *chunks = calloc(tw_layout_count(&list, CHUNK), sizeof *chunks);
    assert_int_equal(tw_layout_init(&layout, &list, CHUNK, desk->servers, chunks, NULL), TW_OK);
    set_node(desk, &list, &layout, &config.node);
    for (uint32_t s = 0; s < desk->servers; s++)
        plan[s] = (struct tw_memory_plan){.ahead = tw_dial_ahead(&config.node.sequencer.dial),
                                          .spares = desk->workers + 1};
    config.delay = law(desk->delay ? desk->delay : "constant", desk->delay_seed);
    struct tw_delay service = law(desk->service ? desk->service : "constant", desk->delay_seed);
    config.service = desk->service ? &service : NULL;
    config.latency = desk->latency;
    config.local_steps = desk->shaping ? desk->shaping->local_steps : 0;
    config.stands_for = desk->stands_for;
    config.bandwidth = desk->bandwidth > 0 ? desk->bandwidth : (double)INFINITY;
    config.mishaps = desk->mishaps;
    config.mishap_count = desk->mishap_count;
    config.loss_seconds = desk->loss_seconds > 0 ? desk->loss_seconds : (double)INFINITY;
    config.loss_fails = desk->loss_fails;
    config.checkpoint_seconds = desk->checkpoint_seconds;
    config.seed = desk->seed;
    config.program = (struct tw_world_program){.context = desk,
                                               .gradient = gradient,
                                               .record = on_record,
                                               .event = on_event,
                                               .again = again,
                                               .stops = stops};
    desk->error = (struct tw_error){.status = TW_OK};
    desk->status = tw_world_new(&desk->world, &config, &desk->error);
    if (desk->status == TW_OK) {
        desk->status = tw_world_run(desk->world, &desk->error);
        conclude(desk, &layout);
        tw_world_free(desk->world);
    }
    desk->world = NULL;
    free(chunks);
    return desk->status;
}
