/* What workers do: samples, forward, backward; and what the evaluator does. */
#include <stdlib.h>
#include <string.h>

#include "common/base/arith.h"
#include "common/base/tree_sum.h"
#include "common/tensor/kernels.h"
#include "sim/replay_state.h"

enum tw_status tw_replay_share_batch(struct tw_replay *replay, struct tw_error *error) {
    const struct tw_replay_config *config = &replay->config;
    uint32_t most = tw_sampler_share(config->batch, config->slots, 0);
    if (tw_sampler_share(config->batch, config->slots, config->slots - 1) < config->parts)
        return tw_error_set(
            error, TW_JOB, "batch: %lld examples cannot be split over %u slots of %u part%s",
            (long long)config->batch, config->slots, config->parts, config->parts > 1 ? "s" : "");
    replay->samples = calloc(most, sizeof *replay->samples);
    if (replay->samples == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (uint32_t i = 0; i < config->slots; i++)
        replay->slot[i].rows = tw_sampler_share(config->batch, config->slots, i);
    return TW_OK;
}

/* The net of so many rows: parts of the shares of a batch differ by one row at most. */
static enum tw_status find_net(struct tw_replay *replay, uint32_t rows, struct tw_net **out,
                               struct tw_error *error) {
    int which = replay->net[0] != NULL && (uint32_t)tw_net_rows(replay->net[0]) != rows;
    enum tw_status status = TW_OK;
    if (replay->net[which] == NULL)
        status = tw_net_new(&replay->net[which], replay->config.model, (int)rows, true,
                            replay->current->tensors, error);
    *out = replay->net[which];
    return status;
}

static enum tw_status gather(struct tw_replay *replay, uint32_t index, uint64_t step,
                             const struct tw_part *part, struct tw_net *net,
                             struct tw_error *error) {
    const struct tw_replay_config *config = &replay->config;
    const struct tw_dataset *train = tw_train_data_of(&config->train, index);
    struct tw_replay_slot *slot = &replay->slot[index];
    if (config->model->objective != NULL) {
        tw_objective_noise(&config->model->objective_options, config->seeds.noise, index, step,
                           part, tw_net_input(net));
        return TW_OK;
    }
    if (slot->sampler == NULL) {
        struct tw_sampler_config of = {
            .shard = config->shard,
            .seed = config->seeds.sampling,
            .slot = index,
            .slots = config->slots,
            .samples = train->count,
            .rows = slot->rows,
        };
        enum tw_status status = tw_sampler_new(&slot->sampler, &of, error);
        if (status != TW_OK)
            return status;
    }
    if (tw_sampler_take_part(slot->sampler, step, part, replay->samples) != TW_OK)
        return tw_error_set(error, TW_DATA, "slot %u has no step %llu", index,
                            (unsigned long long)step);
    tw_dataset_gather(train, replay->samples, (int)part->rows, tw_net_batch(net));
    tw_augment_batch(&config->augment, slot->sampler, step, part, replay->samples,
                     tw_net_batch(net));
    return TW_OK;
}

enum tw_status tw_replay_receive(struct tw_replay *replay, const struct tw_version *version,
                                 const struct tw_version **out, struct tw_error *error) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    *out = version;
    if (!tw_encodings[replay->config.pull].encode)
        return TW_OK;
    if (replay->received == NULL) {
        enum tw_status status = tw_version_take(replay, &replay->received, error);
        if (status != TW_OK)
            return status;
    }
    float *to = replay->received->plane.at;
    for (int t = 0; t < list->count; t++) {
        size_t count = (size_t)list->tensors[t].elements;
        tw_encoding_round(replay->config.pull, to, version->tensors[t], count);
        to += count;
    }
    *out = replay->received;
    return TW_OK;
}

/* The gradient of one part of a slot's local step into replay->gradient. */
static enum tw_status compute(struct tw_replay *replay, uint32_t slot, uint64_t step,
                              uint32_t number, const struct tw_version *version,
                              struct tw_score *score, struct tw_error *error) {
    struct tw_part part = tw_sampler_part(replay->slot[slot].rows, replay->config.parts, number);
    struct tw_net *net = NULL;
    int first, tensors;
    enum tw_status status = find_net(replay, part.rows, &net, error);
    if (status == TW_OK)
        status = gather(replay, slot, step, &part, net, error);
    if (status != TW_OK)
        return status;
    tw_net_bind(net, version->tensors);
    tw_net_dice(net, replay->config.seeds.dropout, slot, step, &part);
    tw_net_forward(net, score);
    while (tw_net_backward_step(net, &first, &tensors))
        continue;
    replay->gradient = tw_net_gradient(net, 0);
    return TW_OK;
}

/* What a push amounts to so far. */
struct pushed {
    int64_t examples, correct;
    struct tw_tree_sum loss, slot_loss; /* of slots; of what the present one computes */
};

/* All parts of a local step, summed into replay->gradient. */
static enum tw_status take_step(struct tw_replay *replay, uint32_t slot, uint64_t step,
                                const struct tw_version *version, struct pushed *pushed,
                                struct tw_error *error) {
    const uint32_t parts = replay->config.parts;
    const int base = replay->sums;
    enum tw_status status = TW_OK;
    for (uint32_t i = 0; status == TW_OK && i < parts; i++) {
        struct tw_score score = {0};
        status = compute(replay, slot, step, i, version, &score, error);
        if (status == TW_OK)
            status = tw_replay_add(replay, base, 1, i + 1 == parts, error);
        pushed->examples += score.examples;
        pushed->correct += score.correct;
        tw_tree_sum_add(&pushed->slot_loss, score.loss);
    }
    return status;
}

static enum tw_status make_path(struct tw_replay *replay, struct tw_error *error) {
    enum tw_status status = TW_OK;
    if (replay->local == NULL && replay->config.local.rho == 0)
        status = tw_version_take(replay, &replay->local, error);
    if (status == TW_OK && replay->path.at == NULL)
        status = tw_replay_plane(replay, &replay->path, error);
    return status;
}

/* A slot with weights of its own begins a step: replay->path is how far the servers' are from them.
 * Where it has none yet it takes theirs. */
static enum tw_status stretch(struct tw_replay *replay, uint32_t slot,
                              const struct tw_version *center, struct tw_error *error) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    struct tw_version **own = &replay->slot[slot].own;
    const bool begins = *own == NULL;
    if (begins && tw_version_take(replay, own, error) != TW_OK)
        return error->status;
    size_t at = 0;
    for (int t = 0; t < list->count; t++) {
        size_t count = (size_t)list->tensors[t].elements;
        if (begins)
            memcpy((*own)->plane.at + at, center->tensors[t], count * sizeof(float));
        tw_subtract(replay->path.at + at, center->tensors[t], (*own)->tensors[t], count);
        at += count;
    }
    return TW_OK;
}

/* A local step of a slot with weights of its own; after the last replay->gradient is what it
 * pushes: of statistics the sum over all of them, which replay->path holds on the way. */
static void walk_elastic(struct tw_replay *replay, uint32_t walked, uint32_t slot) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    const struct tw_local_steps *local = &replay->config.local;
    const float rows = (float)replay->slot[slot].rows;
    size_t at = 0;
    for (int t = 0; t < list->count; t++) {
        size_t count = (size_t)list->tensors[t].elements;
        float *own = replay->slot[slot].own->plane.at + at;
        float *gradient = replay->gradient + at, *path = replay->path.at + at;
        const float *pair[2] = {path, gradient};
        at += count;
        if (list->tensors[t].update != TW_TENSOR_TRAINED) {
            if (walked > 0)
                tw_sum_tree(gradient, pair, 2, count);
            memcpy(path, gradient, count * sizeof(float));
            continue;
        }
        tw_descend(own, own, gradient, rows, (float)local->rate, count);
        if (walked == 0)
            tw_add_multiple(own, path, (float)(local->rate * local->rho), count);
        if (walked + 1 == local->steps)
            tw_multiply(gradient, path, (float)local->rho, count);
    }
}

/* Local step number `walked` of a slot, made on `from`: its gradient goes into the sum of them,
 * replay->gradient, and a step down it leads to replay->local. */
static void walk(struct tw_replay *replay, uint32_t walked, const struct tw_version *from,
                 uint32_t rows) {
    const struct tw_tensor_list *list = &replay->config.model->list;
    float *path = replay->path.at;
    size_t at = 0;
    for (int t = 0; t < list->count; t++) {
        size_t count = (size_t)list->tensors[t].elements;
        if (list->tensors[t].update == TW_TENSOR_TRAINED)
            tw_descend(replay->local->plane.at + at, from->tensors[t], replay->gradient + at,
                       (float)rows, (float)replay->config.local.rate, count);
        at += count;
    }
    if (walked == 0)
        memcpy(path, replay->gradient, replay->elements * sizeof(float));
    else
        tw_sum_tree(path, (const float *const[]){path, replay->gradient}, 2, replay->elements);
    replay->gradient = path;
}

/* All local steps of a slot, summed into replay->gradient. */
static enum tw_status walk_slot(struct tw_replay *replay, uint32_t slot, uint64_t step,
                                const struct tw_version *version, struct pushed *pushed,
                                struct tw_error *error) {
    const uint32_t steps = replay->config.local.steps;
    uint64_t end;
    if (!tw_u64_multiply(step, steps, &end))
        return tw_error_set(error, TW_DATA, "slot %u has no step %llu", slot,
                            (unsigned long long)step);
    const bool elastic = replay->config.local.rho > 0;
    enum tw_status status = steps > 1 || elastic ? make_path(replay, error) : TW_OK;
    if (status == TW_OK && elastic)
        status = stretch(replay, slot, version, error);
    for (uint32_t i = 0; status == TW_OK && i < steps; i++) {
        const struct tw_version *from = elastic ? replay->slot[slot].own
                                        : i > 0 ? replay->local
                                                : version;
        status = take_step(replay, slot, end - steps + 1 + i, from, pushed, error);
        if (status == TW_OK && elastic)
            walk_elastic(replay, i, slot);
        else if (status == TW_OK && steps > 1)
            walk(replay, i, from, replay->slot[slot].rows);
    }
    return status;
}

void tw_replay_forget_own(struct tw_replay *replay, uint32_t slot) {
    for (uint32_t i = slot; i < slot + replay->config.width; i++) {
        tw_version_drop(replay, replay->slot[i].own);
        replay->slot[i].own = NULL;
    }
}

enum tw_status tw_replay_push(struct tw_replay *replay, uint32_t slot, uint64_t step,
                              const struct tw_version *version, struct tw_score *score,
                              struct tw_error *error) {
    const uint32_t width = replay->config.width;
    const int base = replay->sums;
    struct pushed pushed = {0};
    enum tw_status status = TW_OK;
    for (uint32_t i = 0; status == TW_OK && i < width; i++) {
        pushed.slot_loss = (struct tw_tree_sum){0};
        status = walk_slot(replay, slot + i, step, version, &pushed, error);
        tw_tree_sum_add(&pushed.loss, tw_tree_sum_total(&pushed.slot_loss));
        if (status == TW_OK)
            status = tw_replay_add(replay, base, 1, i + 1 == width, error);
    }
    *score = (struct tw_score){.loss = tw_tree_sum_total(&pushed.loss),
                               .examples = pushed.examples,
                               .correct = pushed.correct};
    return status;
}
