/* A shard on a desk: pushes and records go in by hand, its work is done one piece
 * at a time or until it is idle, and what it says is written down.
 *
 * The tensors are a (two whole blocks and five elements), b (7) and c (1): with the
 * smallest chunks three of a, one of b, one of c. Gradients are a function of
 * (slot, step, tensor, element), so that a plain loop can say what must come out.
 */
#ifndef TW_TEST_SHARD_DESK_H
#define TW_TEST_SHARD_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/core/shard.h"

#define DESK_TENSORS 3
#define DESK_CHUNKS 5 /* with the smallest chunks */
#define DESK_SLOTS 4
#define DESK_SAID 256
#define DESK_EXAMPLES 10

static const int64_t desk_elements[DESK_TENSORS] = {2 * TW_BLOCK_FLOATS + 5, 7, 1};
static const char *const desk_names[DESK_TENSORS] = {"a", "b", "c"};

struct desk_slot {
    uint32_t incarnation;
    uint64_t step, read, settled;
    uint64_t version; /* of the weights that it read */
};

struct desk {
    struct tw_tensor tensors[DESK_TENSORS];
    struct tw_tensor_list list;
    struct tw_chunk chunk[DESK_CHUNKS];
    struct tw_layout layout;
    struct tw_shard_config config;
    struct tw_shard *shard;
    void *memory;
    struct desk_slot slot[DESK_SLOTS];
    uint64_t position, version, regather;
    double ratios[DESK_TENSORS];            /* of layer-wise rules, in every COMMIT */
    double scalars[TW_OPTIMIZER_SCALARS];   /* of the last record or PREPARE that has them */
    struct tw_shard_effect said[DESK_SAID]; /* everything since desk_forget() */
    int said_count;
    struct tw_applied applied; /* the last; */
    int applied_count;         /* of so many */
    struct tw_error error;
};

static inline const struct tw_optimizer *desk_rule(const char *name) {
    for (int i = 0; i < tw_optimizer_count; i++)
        if (strcmp(tw_optimizers[i]->name, name) == 0)
            return tw_optimizers[i];
    fail_msg("no rule %s", name);
    return NULL;
}

/* A fresh shard with this config, whose layout is the desk's. */
static inline void desk_init_as(struct desk *desk, const struct tw_shard_config *config) {
    desk->config = *config;
    size_t bytes = tw_shard_bytes(config);
    assert_true(bytes > 0);
    desk->memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    memset(desk->memory, 0, bytes);
    desk->shard = tw_shard_init(desk->memory, config);
    desk->position = desk->version = desk->regather = 0;
}

/* One of `servers` shards. Sync: members known. */
static inline void desk_init_shard(struct desk *desk, bool sync, uint32_t slots,
                                   uint32_t chunk_bytes, uint32_t servers, uint32_t index,
                                   const char *rule) {
    *desk = (struct desk){.list = {DESK_TENSORS, desk->tensors}};
    for (int t = 0; t < DESK_TENSORS; t++) {
        struct tw_init init = {TW_INIT_NORMAL, 1};
        assert_int_equal(tw_tensor_init(&desk->tensors[t], desk_names[t], 1, &desk_elements[t],
                                        init, &desk->error),
                         TW_OK);
    }
    assert_true(tw_layout_count(&desk->list, chunk_bytes) <= DESK_CHUNKS);
    assert_int_equal(
        tw_layout_init(&desk->layout, &desk->list, chunk_bytes, servers, desk->chunk, &desk->error),
        TW_OK);
    struct tw_shard_config config = {
        .layout = &desk->layout,
        .index = index,
        .slots = slots,
        .members_known = sync,
        .ahead = slots,
        .spares = 1,
        .seed = 7,
        .optimizer = desk_rule(rule),
        .options = {.lr = 0.25, .momentum = 0.5, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8}};
    desk_init_as(desk, &config);
}

/* The usual desk: one server, smallest chunks, plain descent. */
static inline void desk_init(struct desk *desk, bool sync, uint32_t slots) {
    desk_init_shard(desk, sync, slots, TW_CHUNK_BYTES_MIN, 1, 0, "sgd");
}

static inline void desk_fini(struct desk *desk) {
    free(desk->memory);
}

static inline float desk_gradient(uint32_t slot, uint64_t step, uint32_t tensor, int64_t element) {
    uint64_t x = (uint64_t)element * 2654435761U + slot * 40503U + step * 69069U + tensor * 977U;
    x ^= x >> 13;
    return (float)(x % 2001) / 100.0F - 10.0F;
}

/* ---- what it says ---- */

static inline enum tw_shard_work desk_work_once(struct desk *desk) {
    assert_true(desk->said_count < DESK_SAID);
    struct tw_shard_effect *effect = &desk->said[desk->said_count];
    enum tw_shard_work work = tw_shard_next(desk->shard, effect);
    if (work == TW_SHARD_EFFECT && effect->kind == TW_SHARD_APPLIED) {
        desk->applied = effect->applied;
        desk->applied_count++;
    } else if (work == TW_SHARD_EFFECT) {
        desk->said_count++;
    }
    return work;
}

/* Works until it is idle or blocked. Sends stay under way. */
static inline enum tw_shard_work desk_work(struct desk *desk) {
    enum tw_shard_work work;
    do {
        work = desk_work_once(desk);
    } while (work != TW_SHARD_IDLE && work != TW_SHARD_BLOCKED);
    return work;
}

static inline void desk_forget(struct desk *desk) {
    desk->said_count = 0;
}

static inline const struct tw_shard_effect *desk_said(const struct desk *desk,
                                                      enum tw_shard_effect_kind kind, int n) {
    for (int i = 0; i < desk->said_count; i++)
        if (desk->said[i].kind == kind && n-- == 0)
            return &desk->said[i];
    return NULL;
}

static inline int desk_count(const struct desk *desk, enum tw_shard_effect_kind kind) {
    int n = 0;
    while (desk_said(desk, kind, n))
        n++;
    return n;
}

/* All sends so far have left, and are forgotten with everything else. */
static inline void desk_sent(struct desk *desk) {
    const struct tw_shard_effect *effect;
    for (int i = 0; (effect = desk_said(desk, TW_SHARD_SEND, i)); i++)
        tw_shard_sent(desk->shard, effect->send.token);
    desk_forget(desk);
}

/* ---- records ---- */

static inline struct tw_record desk_record(struct desk *desk, enum tw_record_kind kind) {
    return (struct tw_record){.position = ++desk->position, .kind = kind, .version = desk->version};
}

static inline void desk_join(struct desk *desk, uint32_t slot) {
    struct tw_record record = desk_record(desk, TW_RECORD_JOIN);
    record.rank = record.slot = slot;
    record.incarnation = ++desk->slot[slot].incarnation;
    tw_shard_record(desk->shard, &record);
}

static inline void desk_release(struct desk *desk, uint32_t slot) {
    struct tw_record record = desk_record(desk, TW_RECORD_RELEASE);
    record.slot = slot;
    record.step = 1;
    if (slot != TW_SLOT_EVALUATOR) {
        record.step = desk->slot[slot].step = desk->slot[slot].settled + 1;
        desk->slot[slot].read = record.position;
        desk->slot[slot].version = record.version;
    }
    tw_shard_record(desk->shard, &record);
}

static inline void desk_regather(struct desk *desk) {
    struct tw_record record = desk_record(desk, TW_RECORD_REGATHER);
    record.version++;
    desk->regather = record.position;
    tw_shard_record(desk->shard, &record);
}

static inline void desk_cancel(struct desk *desk, uint32_t slot) {
    desk->slot[slot].settled = desk->slot[slot].step;
}

static inline void desk_dial(struct desk *desk, const char *mode) {
    struct tw_record record = desk_record(desk, TW_RECORD_DIAL);
    record.mode = mode;
    for (uint32_t slot = 0; slot < desk->config.slots; slot++)
        desk_cancel(desk, slot);
    tw_shard_record(desk->shard, &record);
}

static inline void desk_evict(struct desk *desk, uint32_t slot) {
    struct tw_record record = desk_record(desk, TW_RECORD_EVICT);
    record.rank = record.slot = slot;
    desk_cancel(desk, slot);
    tw_shard_record(desk->shard, &record);
}

static inline uint32_t desk_contributions(const struct desk *desk, uint32_t first, uint32_t count,
                                          struct tw_contribution *out) {
    for (uint32_t i = 0; i < count; i++)
        out[i] =
            (struct tw_contribution){.slot = first + i,
                                     .step = desk->slot[first + i].step,
                                     .read = desk->slot[first + i].read,
                                     .staleness = desk->version - desk->slot[first + i].version};
    return count;
}

static inline void desk_prepare(struct desk *desk, uint32_t first, uint32_t count) {
    struct tw_contribution contributions[DESK_SLOTS];
    struct tw_prepare prepare = {.version = desk->version + 1,
                                 .count = desk_contributions(desk, first, count, contributions),
                                 .contributions = contributions,
                                 .examples = (uint64_t)count * DESK_EXAMPLES,
                                 .rate = desk->config.options.lr,
                                 .scalar_count = TW_OPTIMIZER_SCALARS,
                                 .scalars = desk->scalars};
    desk->config.optimizer->prepare(&desk->config.options, desk->version + 1, prepare.rate,
                                    desk->scalars);
    tw_shard_prepare(desk->shard, &prepare);
}

static inline void desk_settle(struct desk *desk, enum tw_record_kind kind, uint32_t first,
                               uint32_t count) {
    struct tw_contribution contributions[DESK_SLOTS];
    desk_contributions(desk, first, count, contributions);
    desk->version += kind == TW_RECORD_COMMIT;
    struct tw_record record = desk_record(desk, kind);
    record.count = count;
    record.contributions = contributions;
    record.examples = (uint64_t)count * DESK_EXAMPLES;
    desk->config.optimizer->prepare(&desk->config.options, desk->version, desk->config.options.lr,
                                    desk->scalars);
    record.scalar_count = TW_OPTIMIZER_SCALARS;
    record.scalars = desk->scalars;
    record.ratio_count = desk->config.optimizer->ratio ? DESK_TENSORS : 0;
    record.ratios = desk->ratios;
    for (uint32_t i = first; i < first + count; i++)
        desk->slot[i].settled = desk->slot[i].step;
    tw_shard_record(desk->shard, &record);
}

static inline void desk_commit(struct desk *desk, uint32_t first, uint32_t count) {
    desk_settle(desk, TW_RECORD_COMMIT, first, count);
}

/* Every slot joins and gets its first weights; nothing of it is left to do. */
static inline void desk_start(struct desk *desk) {
    for (uint32_t slot = 0; slot < desk->config.slots; slot++) {
        desk_join(desk, slot);
        desk_release(desk, slot);
    }
    assert_int_equal(desk_work(desk), TW_SHARD_IDLE);
    desk_sent(desk);
}

/* ---- pushes ---- */

static inline struct tw_push desk_push_of(const struct desk *desk, uint32_t slot, uint32_t chunk) {
    return (struct tw_push){.slot = slot,
                            .incarnation = desk->slot[slot].incarnation,
                            .step = desk->slot[slot].step,
                            .chunk = chunk};
}

static inline struct tw_end desk_end_of(const struct desk *desk, uint32_t slot) {
    const uint32_t *first = &desk->layout.shard_first[desk->config.index];
    return (struct tw_end){.slot = slot,
                           .incarnation = desk->slot[slot].incarnation,
                           .step = desk->slot[slot].step,
                           .read = desk->slot[slot].read,
                           .frames = first[1] - first[0],
                           .examples = DESK_EXAMPLES,
                           .loss = 1};
}

static inline size_t desk_bytes(const struct desk *desk, uint32_t chunk) {
    return desk->chunk[chunk].count * sizeof(float);
}

static inline enum tw_status desk_place(struct desk *desk, const struct tw_push *push,
                                        void **place) {
    return tw_shard_place(desk->shard, push, desk_bytes(desk, push->chunk), place, &desk->error);
}

/* Places a chunk and fills it, but does not say that it has arrived. */
static inline float *desk_begin(struct desk *desk, uint32_t slot, uint32_t chunk) {
    struct tw_push push = desk_push_of(desk, slot, chunk);
    const struct tw_chunk *c = &desk->chunk[chunk];
    void *place;
    assert_int_equal(desk_place(desk, &push, &place), TW_OK);
    assert_non_null(place);
    float *at = place;
    for (uint32_t i = 0; i < c->count; i++)
        at[i] = desk_gradient(slot, push.step, c->tensor, c->first + i);
    return at;
}

static inline void desk_arrived(struct desk *desk, uint32_t slot, uint32_t chunk) {
    struct tw_push push = desk_push_of(desk, slot, chunk);
    tw_shard_arrived(desk->shard, &push);
}

static inline void desk_push(struct desk *desk, uint32_t slot, uint32_t chunk) {
    desk_begin(desk, slot, chunk);
    desk_arrived(desk, slot, chunk);
}

static inline void desk_end(struct desk *desk, uint32_t slot) {
    struct tw_end end = desk_end_of(desk, slot);
    assert_int_equal(tw_shard_end(desk->shard, &end, &desk->error), TW_OK);
}

/* A whole push, last chunk first, as a backward pass sends it. */
static inline void desk_push_all(struct desk *desk, uint32_t slot) {
    const uint32_t *first = &desk->layout.shard_first[desk->config.index];
    for (uint32_t c = first[1]; c-- > first[0];)
        desk_push(desk, slot, c);
    desk_end(desk, slot);
}

#endif
