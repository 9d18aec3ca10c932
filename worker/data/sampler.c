#include "worker/data/sampler.h"

#include <stdlib.h>

#include "common/base/arith.h"
#include "common/base/rng.h"

/* One epoch's order, remembered. */
struct order {
    uint64_t epoch;
    bool filled;
    uint32_t *items;
};

struct tw_sampler {
    struct tw_sampler_config config;
    uint32_t count;        /* samples of this slot in every epoch */
    uint32_t items;        /* of one order: n, or `count` where the slot has a part of its own */
    uint32_t room;         /* for items of each order */
    struct order order[2]; /* epoch e is in [e % 2]: a step over a border needs both */
};

enum tw_status tw_sampler_new(struct tw_sampler **out, const struct tw_sampler_config *config,
                              struct tw_error *error) {
    *out = NULL;
    if (config->slots > config->samples && config->shard != TW_SHARD_OWN)
        return tw_error_set(
            error, TW_JOB,
            "%u workers share %u samples: each needs at least one; use fewer workers",
            config->slots, config->samples);
    if (config->slot >= config->slots)
        return tw_error_set(error, TW_INTERNAL, "slot %u of %u slots", config->slot, config->slots);
    if (config->rows < 1)
        return tw_error_set(error, TW_JOB,
                            "batch is smaller than the number of workers: worker %u of %u has no "
                            "example; use a larger batch",
                            config->slot, config->slots);
    struct tw_sampler *sampler = calloc(1, sizeof *sampler);
    if (sampler == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a sampler");
    sampler->config = *config;
    enum tw_status status =
        tw_sampler_bind(sampler, config->slot, config->samples, config->rows, error);
    if (status == TW_OK)
        *out = sampler;
    else
        tw_sampler_free(sampler);
    return status;
}

/* Room for the orders of a slot, and of those that have as many samples or fewer. */
static enum tw_status make_room(struct tw_sampler *sampler, struct tw_error *error) {
    if (sampler->items <= sampler->room)
        return TW_OK;
    for (int i = 0; i < 2; i++) {
        struct order *order = &sampler->order[i];
        uint32_t *items = reallocarray(order->items, sampler->items, sizeof *items);
        if (items == NULL)
            return tw_error_set(error, TW_NO_MEMORY, "out of memory for the order of %u samples",
                                sampler->items);
        order->items = items;
    }
    sampler->room = sampler->items;
    return TW_OK;
}

enum tw_status tw_sampler_bind(struct tw_sampler *sampler, uint32_t slot, uint32_t samples,
                               uint32_t rows, struct tw_error *error) {
    struct tw_sampler_config *config = &sampler->config;
    bool shared = config->shard == TW_SHARD_EPOCH;
    for (int i = 0; i < 2; i++)
        sampler->order[i].filled &= shared || slot == config->slot;
    config->slot = slot;
    config->samples = samples;
    config->rows = rows;
    sampler->count =
        config->shard == TW_SHARD_OWN ? samples : (samples - slot - 1) / config->slots + 1;
    sampler->items = shared ? samples : sampler->count;
    return make_room(sampler, error);
}

void tw_sampler_free(struct tw_sampler *sampler) {
    if (sampler == NULL)
        return;
    free(sampler->order[0].items);
    free(sampler->order[1].items);
    free(sampler);
}

/* Places of an order are the slot's alone: its fixed part, or its own file. */
static bool is_apart(const struct tw_sampler_config *config) {
    return config->shard != TW_SHARD_EPOCH;
}

/* The order of an epoch, made when it is not remembered. The sequence of random numbers
 * that all slots share is slot 0 of the stream; parts of their own take slot s + 1, so that
 * no two orders of a run have the same. */
static const uint32_t *order_of(struct tw_sampler *sampler, uint64_t epoch) {
    const struct tw_sampler_config *config = &sampler->config;
    struct order *order = &sampler->order[epoch % 2];
    if (order->filled && order->epoch == epoch)
        return order->items;
    bool fixed = config->shard == TW_SHARD_FIXED;
    struct tw_rng rng;
    for (uint32_t i = 0; i < sampler->items; i++)
        order->items[i] = fixed ? config->slot + i * config->slots : i;
    tw_rng_init(&rng, config->seed, TW_STREAM_SAMPLING, is_apart(config) ? config->slot + 1 : 0,
                epoch);
    tw_rng_shuffle(&rng, order->items, sampler->items);
    order->epoch = epoch;
    order->filled = true;
    return order->items;
}

enum tw_status tw_sampler_take_part(struct tw_sampler *sampler, uint64_t step,
                                    const struct tw_part *part, uint32_t *out) {
    const struct tw_sampler_config *config = &sampler->config;
    uint64_t end;
    if (step == 0 || !tw_u64_multiply(step, config->rows, &end))
        return TW_LIMIT;
    bool apart = is_apart(config);
    uint64_t first = end - config->rows + part->first;
    uint64_t epoch = first / sampler->count;
    uint64_t place = first % sampler->count;
    const uint32_t *items = order_of(sampler, epoch);
    for (uint32_t i = 0; i < part->rows; i++, place += part->every) {
        if (place >= sampler->count) {
            epoch += place / sampler->count;
            place %= sampler->count;
            items = order_of(sampler, epoch);
        }
        out[i] = items[apart ? place : config->slot + place * config->slots];
    }
    return TW_OK;
}

uint64_t tw_sampler_sample(const struct tw_sampler *sampler, uint32_t item) {
    bool own = sampler->config.shard == TW_SHARD_OWN;
    return own ? (uint64_t)sampler->config.slot << 32 | item : item;
}

enum tw_status tw_sampler_take(struct tw_sampler *sampler, uint64_t step, uint32_t *out) {
    struct tw_part whole = tw_whole_step(sampler->config.rows);
    return tw_sampler_take_part(sampler, step, &whole, out);
}

uint64_t tw_sampler_epoch(const struct tw_sampler *sampler, uint64_t step, uint32_t row) {
    return ((step - 1) * sampler->config.rows + row) / sampler->count;
}

uint32_t tw_sampler_share(int64_t batch, uint32_t slots, uint32_t slot) {
    return tw_job_share(batch, slots, slot);
}

struct tw_part tw_sampler_part(uint32_t rows, uint32_t parts, uint32_t part) {
    return (struct tw_part){
        .first = part, .every = parts, .rows = tw_sampler_share(rows, parts, part)};
}
