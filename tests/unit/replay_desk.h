/* A replay and, beside it, the plainest reference: every read keeps a copy of the whole
 * weights, every gradient is kept, sums are one call of tw_sum_tree(), tensors are
 * updated one by one. Random logs of what servers could do are made on the way. */
#ifndef TW_TESTS_REPLAY_DESK_H
#define TW_TESTS_REPLAY_DESK_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/tree_sum.h"
#include "common/tensor/encoding.h"
#include "common/tensor/kernels.h"
#include "sim/replay.h"
#include "tests/unit/net_job.h"
#include "worker/data/sampler.h"
#include "worker/nn/net.h"

enum { DESK_SAMPLES = 50, DESK_INPUT = 6, DESK_READS = 64, DESK_SLOTS = 8 };

static const char desk_model[] =
    "  input: [6]\n  layers:\n    - dense: 5\n    - relu\n    - dropout: 0.8\n"
    "    - dense: 3\n  loss: softmax_cross_entropy\n";

struct desk_read {
    bool out;
    uint32_t slot; /* first of its rank */
    uint64_t step, position, version;
    float *weights;
};

struct desk {
    struct tw_model *model;
    struct tw_dataset data;
    struct tw_optimizer_options options;
    struct tw_replay_config config;
    struct tw_replay *replay;
    struct tw_rng dice;
    size_t elements;
    float *weights, *state[TW_OPTIMIZER_STATES];
    struct desk_read read[DESK_READS];
    uint64_t begun[DESK_SLOTS], settled[DESK_SLOTS]; /* by rank */
    uint64_t position, version, samples;
    struct tw_contribution contribution[DESK_READS];
    float *own[DESK_SLOTS]; /* elastic: of each slot; NULL: none yet */
    double ratios[8];       /* of its few tensors, in the last update of a layer-wise rule */
    double scalars[TW_OPTIMIZER_SCALARS]; /* of the last update */
    struct tw_error error;
};

static void desk_fill(struct desk *d, float *weights) {
    const struct tw_tensor_list *list = &d->model->list;
    size_t at = 0;
    for (int t = 0; t < list->count; t++) {
        tw_tensor_fill(&list->tensors[t], t, d->config.seeds.init, 0, list->tensors[t].elements,
                       weights + at);
        at += (size_t)list->tensors[t].elements;
    }
}

static struct desk *desk_new(uint32_t slots, uint32_t width, int optimizer, uint64_t seed) {
    struct desk *d = calloc(1, sizeof *d);
    static uint8_t samples[DESK_SAMPLES * DESK_INPUT];
    static int32_t labels[DESK_SAMPLES];
    static char name[] = "memory";
    if (build_model(&d->model, desk_model, &d->error) != TW_OK)
        fail_msg("%s", d->error.text);
    for (int i = 0; i < DESK_SAMPLES * DESK_INPUT; i++)
        samples[i] = (uint8_t)(i * 37 % 251);
    for (int i = 0; i < DESK_SAMPLES; i++)
        labels[i] = i * 7 % 3;
    d->data = (struct tw_dataset){.count = DESK_SAMPLES,
                                  .dims = 1,
                                  .shape = {DESK_INPUT},
                                  .elements = DESK_INPUT,
                                  .rows = samples,
                                  .labels = labels,
                                  .samples_name = name,
                                  .targets_name = name};
    struct tw_variant rule = {.name = tw_optimizers[optimizer]->name, .path = "optimizer"};
    struct tw_option lr = {.key = "", .text = "0.05"}; /* the first one, whatever its name */
    rule.count = tw_optimizers[optimizer]->rule_count > 0;
    rule.options = &lr;
    d->config = (struct tw_replay_config){.model = d->model,
                                          .train.all = &d->data,
                                          .epoch_samples = DESK_SAMPLES,
                                          .batch = 19,
                                          .seeds = {seed, seed, seed, seed},
                                          .slots = slots,
                                          .width = width,
                                          .parts = 1,
                                          .local = {.steps = 1},
                                          .numerics = "ours"};
    if (tw_optimizer_find(&d->config.optimizer, &d->config.options, &rule, &d->error) != TW_OK)
        fail_msg("%s", d->error.text);
    tw_rng_init(&d->dice, seed, TW_STREAM_DELAY, slots, width);
    for (int t = 0; t < d->model->list.count; t++)
        d->elements += (size_t)d->model->list.tensors[t].elements;
    d->weights = calloc(d->elements, sizeof(float));
    desk_fill(d, d->weights);
    for (int i = 0; i < d->config.optimizer->states; i++) {
        d->state[i] = calloc(d->elements, sizeof(float));
        if (d->config.optimizer->state[i].start == TW_STATE_WEIGHTS)
            memcpy(d->state[i], d->weights, d->elements * sizeof(float));
    }
    for (int i = 0; i < DESK_READS; i++)
        d->read[i].weights = calloc(d->elements, sizeof(float));
    return d;
}

static void desk_start(struct desk *d) {
    if (tw_replay_new(&d->replay, &d->config, &d->error) != TW_OK)
        fail_msg("%s", d->error.text);
}

static void desk_free(struct desk *d) {
    tw_replay_free(d->replay);
    for (int i = 0; i < DESK_READS; i++)
        free(d->read[i].weights);
    for (int i = 0; i < TW_OPTIMIZER_STATES; i++)
        free(d->state[i]);
    for (int i = 0; i < DESK_SLOTS; i++)
        free(d->own[i]);
    free(d->weights);
    tw_model_free(d->model);
    free(d);
}

/* ---- the reference ---- */

/* The gradient of one part of a slot's step, on these weights, with a net of its own. */
static void desk_gradient(struct desk *d, uint32_t slot, uint64_t step, uint32_t number,
                          const float *weights, float *out, struct tw_score *score) {
    const struct tw_replay_config *c = &d->config;
    const struct tw_tensor_list *list = &d->model->list;
    const float *tensors[8];
    uint32_t rows = tw_sampler_share(c->batch, c->slots, slot), positions[32];
    struct tw_sampler_config of = {c->shard, c->seeds.sampling, slot, c->slots, DESK_SAMPLES, rows};
    struct tw_part part = tw_sampler_part(rows, c->parts, number);
    struct tw_sampler *sampler;
    struct tw_net *net;
    size_t at = 0;
    int first, count;
    for (int t = 0; t < list->count; t++) {
        tensors[t] = weights + at;
        at += (size_t)list->tensors[t].elements;
    }
    assert_int_equal(tw_sampler_new(&sampler, &of, &d->error), TW_OK);
    assert_int_equal(tw_net_new(&net, d->model, (int)part.rows, true, tensors, &d->error), TW_OK);
    assert_int_equal(tw_sampler_take(sampler, step, positions), TW_OK);
    for (uint32_t i = 0; i < part.rows; i++)
        positions[i] = positions[number + i * c->parts];
    tw_dataset_gather(&d->data, positions, (int)part.rows, tw_net_batch(net));
    tw_net_dice(net, c->seeds.dropout, slot, step, &part);
    tw_net_forward(net, score);
    while (tw_net_backward_step(net, &first, &count))
        continue;
    memcpy(out, tw_net_gradient(net, 0), d->elements * sizeof(float));
    tw_net_free(net);
    tw_sampler_free(sampler);
}

/* What one slot adds to an update: the sum over its local steps, in order, of the gradient of each.
 * Returns the loss. */
static double desk_slot(struct desk *d, uint32_t slot, uint64_t step, const float *weights,
                        float *out, uint64_t *examples) {
    const struct tw_replay_config *c = &d->config;
    const uint32_t parts = c->parts, steps = c->local.steps;
    const size_t bytes = d->elements * sizeof(float);
    const bool elastic = c->local.rho > 0;
    float *at = malloc(bytes), *part[8], *mean = malloc(bytes), *far = malloc(bytes);
    struct tw_tree_sum loss = {0};
    memcpy(at, elastic && d->own[slot] ? d->own[slot] : weights, bytes);
    for (size_t i = 0; i < d->elements; i++)
        far[i] = weights[i] - at[i];
    for (uint32_t h = 0; h < steps; h++) {
        uint64_t here = 0;
        for (uint32_t i = 0; i < parts; i++) {
            struct tw_score score = {0};
            part[i] = malloc(bytes);
            desk_gradient(d, slot, (step - 1) * steps + h + 1, i, at, part[i], &score);
            here += (uint64_t)score.examples;
            tw_tree_sum_add(&loss, score.loss);
        }
        tw_sum_tree(part[0], (const float *const *)part, (int)parts, d->elements);
        memcpy(mean, part[0], bytes);
        tw_divide(mean, (float)here, d->elements);
        for (size_t i = 0; i < d->elements; i++) {
            at[i] = at[i] - (float)c->local.rate * mean[i];
            if (elastic && h == 0)
                at[i] = at[i] + (float)(c->local.rate * c->local.rho) * far[i];
            out[i] = h == 0 ? part[0][i] : out[i] + part[0][i];
        }
        *examples += here;
        for (uint32_t i = 0; i < parts; i++)
            free(part[i]);
    }
    for (size_t i = 0; elastic && i < d->elements; i++)
        out[i] = (float)c->local.rho * far[i];
    if (elastic) {
        free(d->own[slot]);
        d->own[slot] = at;
    } else {
        free(at);
    }
    free(far);
    free(mean);
    return tw_tree_sum_total(&loss);
}

/* Of a layer-wise rule; over the whole tensor. */
static double desk_ratio(const struct desk *d, const struct tw_optimizer_float *work) {
    const struct tw_optimizer *rule = d->config.optimizer;
    struct tw_tensor_squares squares = {0};
    struct tw_optimizer_float step = *work;
    step.weights_out = calloc(work->count, sizeof(float));
    rule->step_float(&d->config.options, &step);
    tw_add_squares(&squares.weights, work->weights_in, work->count);
    tw_add_squares(&squares.step, step.weights_out, work->count);
    free(step.weights_out);
    return rule->ratio(work->scalars, sqrt(tw_exact_sum_value(&squares.weights)),
                       sqrt(tw_exact_sum_value(&squares.step)));
}

static void desk_apply(struct desk *d, float *sum, double divisor, const double *scalars) {
    const struct tw_tensor_list *list = &d->model->list;
    size_t at = 0;
    tw_divide(sum, (float)divisor, d->elements);
    for (int t = 0; t < list->count; t++) {
        struct tw_optimizer_float work = {.count = (size_t)list->tensors[t].elements,
                                          .gradient = sum + at,
                                          .weights_in = d->weights + at,
                                          .weights_out = d->weights + at,
                                          .scalars = scalars};
        for (int i = 0; i < d->config.optimizer->states; i++)
            work.state[i] = d->state[i] + at;
        if (d->config.optimizer->ratio)
            work.ratio = d->ratios[t] = desk_ratio(d, &work);
        d->config.optimizer->apply_float(&d->config.options, &work);
        at += work.count;
    }
}

/* Fills examples and loss of the contributions, and applies them. */
static void desk_update(struct desk *d, struct tw_record *record, const uint32_t *reads) {
    const uint32_t width = d->config.width, steps = d->config.local.steps;
    uint32_t leaves = 0;
    float *gradient[DESK_READS * 2], *sum = calloc(d->elements, sizeof(float));
    float *received = calloc(d->elements, sizeof(float));
    for (uint32_t i = 0; i < record->count; i++) {
        struct tw_contribution *c = &d->contribution[i];
        const struct desk_read *read = &d->read[reads[i]];
        struct tw_tree_sum loss = {0};
        uint32_t first = leaves;
        tw_encoding_round(d->config.pull, received, d->config.fresh ? d->weights : read->weights,
                          d->elements);
        for (uint32_t k = 0; k < width; k++) {
            gradient[leaves] = calloc(d->elements, sizeof(float));
            tw_tree_sum_add(&loss, desk_slot(d, c->slot + k, c->step, received, gradient[leaves++],
                                             &c->examples));
        }
        c->loss = tw_tree_sum_total(&loss);
        record->examples += c->examples;
        if (d->config.push == TW_ENCODING_F32)
            continue;
        /* Shorter than float32 a push is rounded as a whole. */
        tw_sum_tree(gradient[first], (const float *const *)gradient + first, (int)width,
                    d->elements);
        tw_encoding_round(d->config.push, gradient[first], gradient[first], d->elements);
        while (leaves > first + 1)
            free(gradient[--leaves]);
    }
    record->divisor = d->config.local.rho > 0 ? 1
                      : steps > 1             ? (double)record->examples / steps
                                              : 0;
    tw_sum_tree(sum, (const float *const *)gradient, (int)leaves, d->elements);
    d->config.optimizer->prepare(&d->config.options, record->version, 0.05, d->scalars);
    record->scalar_count = TW_OPTIMIZER_SCALARS;
    record->scalars = d->scalars;
    assert_true(d->model->list.count <= 8);
    desk_apply(d, sum, record->divisor > 0 ? record->divisor : (double)record->examples,
               record->scalars);
    record->ratio_count = d->config.optimizer->ratio ? (uint32_t)d->model->list.count : 0;
    record->ratios = d->ratios;
    d->samples += record->examples;
    for (uint32_t i = 0; i < leaves; i++)
        free(gradient[i]);
    free(sum);
    free(received);
}

/* ---- records ---- */

static struct tw_record desk_record(struct desk *d, enum tw_record_kind kind) {
    return (struct tw_record){
        .position = d->position + 1, .kind = kind, .version = d->version, .numerics = "ours"};
}

static void desk_feed(struct desk *d, const struct tw_record *record) {
    if (tw_replay_record(d->replay, record, &d->error) != TW_OK)
        fail_msg("%s", d->error.text);
    d->position++;
    assert_int_equal(tw_replay_total(d->replay)->version, d->version);
    assert_memory_equal(tw_replay_weights(d->replay), d->weights, d->elements * sizeof(float));
}

static struct desk_read *desk_find(struct desk *d, uint32_t slot, uint64_t step) {
    for (int i = 0; i < DESK_READS; i++)
        if (d->read[i].out && d->read[i].slot == slot && d->read[i].step == step)
            return &d->read[i];
    return NULL;
}

static void desk_release(struct desk *d, uint32_t rank, bool again) {
    struct tw_record record = desk_record(d, TW_RECORD_RELEASE);
    record.slot = rank * d->config.width;
    record.step = again ? d->begun[rank] : ++d->begun[rank];
    struct desk_read *read = desk_find(d, record.slot, record.step);
    for (int i = 0; !read; i++)
        read = d->read[i].out ? NULL : &d->read[i];
    read->out = true;
    read->slot = record.slot;
    read->step = record.step;
    read->position = record.position;
    read->version = d->version;
    memcpy(read->weights, d->weights, d->elements * sizeof(float));
    desk_feed(d, &record);
}

/* Elastic, the slots of a push that is dropped have gone on all the same. */
static void desk_walk(struct desk *d, const struct tw_contribution *c, const float *weights) {
    float *received = calloc(d->elements, sizeof(float)), *out = calloc(d->elements, sizeof(float));
    uint64_t examples = 0;
    tw_encoding_round(d->config.pull, received, d->config.fresh ? d->weights : weights,
                      d->elements);
    for (uint32_t k = 0; k < d->config.width; k++)
        desk_slot(d, c->slot + k, c->step, received, out, &examples);
    free(received);
    free(out);
}

/* Settles some random reads, in slot order: an update, or a DROP. */
static void desk_settle(struct desk *d, enum tw_record_kind kind, uint32_t most) {
    struct tw_record record = desk_record(d, kind);
    uint32_t reads[DESK_READS];
    for (uint32_t slot = 0; slot < d->config.slots; slot += d->config.width) {
        for (uint64_t step = 1; step <= d->begun[slot / d->config.width]; step++) {
            struct desk_read *read = desk_find(d, slot, step);
            if (!read || record.count == most || tw_rng_below(&d->dice, 3) == 0)
                continue;
            reads[record.count] = (uint32_t)(read - d->read);
            d->contribution[record.count++] = (struct tw_contribution){
                .slot = slot,
                .step = step,
                .read = read->position,
                .staleness = d->version - read->version,
            };
        }
    }
    if (!record.count)
        return;
    record.contributions = d->contribution;
    if (kind == TW_RECORD_COMMIT) {
        record.version = ++d->version;
        desk_update(d, &record, reads);
    }
    for (uint32_t i = 0; kind == TW_RECORD_DROP && i < record.count && d->config.local.rho > 0; i++)
        desk_walk(d, &d->contribution[i], d->read[reads[i]].weights);
    for (uint32_t i = 0; i < record.count; i++) {
        uint32_t rank = d->contribution[i].slot / d->config.width;
        d->read[reads[i]].out = false;
        if (d->contribution[i].step > d->settled[rank])
            d->settled[rank] = d->contribution[i].step;
    }
    desk_feed(d, &record);
}

static uint32_t desk_reads_of(struct desk *d, uint32_t slot) {
    uint32_t count = 0;
    for (int i = 0; i < DESK_READS; i++)
        count += d->read[i].out && d->read[i].slot == slot;
    return count;
}

/* All of the slot that is out is over. */
static void desk_cancel(struct desk *d, uint32_t slot) {
    uint32_t rank = slot / d->config.width;
    for (int i = 0; i < DESK_READS; i++) {
        struct desk_read *read = &d->read[i];
        if (!read->out || read->slot != slot)
            continue;
        read->out = false;
        d->settled[rank] = read->step > d->settled[rank] ? read->step : d->settled[rank];
    }
    d->begun[rank] = d->settled[rank];
}

static void desk_dial(struct desk *d, const char *mode) {
    struct tw_record record = desk_record(d, TW_RECORD_DIAL);
    record.mode = mode;
    for (uint32_t slot = 0; slot < d->config.slots; slot += d->config.width)
        desk_cancel(d, slot);
    desk_feed(d, &record);
}

static void desk_evict(struct desk *d, uint32_t rank) {
    struct tw_record record = desk_record(d, TW_RECORD_EVICT);
    record.rank = rank;
    record.slot = rank * d->config.width;
    desk_cancel(d, record.slot);
    desk_feed(d, &record);
}

/* One record of what may happen. */
static void desk_happens(struct desk *d) {
    uint32_t ranks = d->config.slots / d->config.width;
    uint32_t rank = (uint32_t)tw_rng_below(&d->dice, ranks), slot = rank * d->config.width;
    struct tw_record record;
    if (d->config.local.rho == 0 && tw_rng_below(&d->dice, 20) == 0) {
        desk_dial(d, tw_rng_below(&d->dice, 2) ? "sync" : "async");
        return;
    }
    if (d->config.local.rho == 0 && tw_rng_below(&d->dice, 20) == 0) {
        desk_evict(d, rank);
        return;
    }
    switch (tw_rng_below(&d->dice, 12)) {
    case 0: /* a new process: its reads are void */
        record = desk_record(d, TW_RECORD_JOIN);
        record.slot = slot;
        for (int i = 0; i < DESK_READS; i++)
            if (d->read[i].slot == slot)
                d->read[i].out = false;
        d->begun[rank] = d->settled[rank];
        for (uint32_t i = slot; i < slot + d->config.width; i++) {
            free(d->own[i]);
            d->own[i] = NULL;
        }
        desk_feed(d, &record);
        break;
    case 1:
        record = desk_record(d, TW_RECORD_REGATHER);
        record.version++;
        desk_feed(d, &record);
        break;
    case 2:
        record = desk_record(d, TW_RECORD_RELEASE);
        record.slot = TW_SLOT_EVALUATOR;
        desk_feed(d, &record);
        break;
    case 3: /* cancelled, and asked for again */
        if (desk_find(d, slot, d->begun[rank]))
            desk_release(d, rank, true);
        break;
    case 4:
        desk_settle(d, TW_RECORD_DROP, 2);
        break;
    case 5:
    case 6:
    case 7:
        desk_settle(d, TW_RECORD_COMMIT, ranks);
        break;
    default: /* at most one ahead */
        if (desk_reads_of(d, slot) < 2)
            desk_release(d, rank, false);
        break;
    }
}

#endif
