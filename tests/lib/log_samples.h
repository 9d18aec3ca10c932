/* Records of every kind, for tests that write and read order logs; and a file in
 * memory to read them from. */
#ifndef TW_TESTS_LOG_SAMPLES_H
#define TW_TESTS_LOG_SAMPLES_H

#include <string.h>

#include "common/base/text.h"
#include "proto/order_log.h"

static const struct tw_contribution log_sample_contributions[] = {
    {.slot = 0, .step = 1, .read = 2, .examples = 64, .loss = 0.1},
    {.slot = 3, .step = UINT64_MAX, .read = 3, .staleness = 7, .examples = 63, .loss = -1e-300},
};

static const struct tw_contribution log_sample_pushes[] = {
    {.slot = 0, .step = 2, .read = 6},
    {.slot = 5, .step = 1, .read = 3},
};

static const double log_sample_scalars[] = {1e-3, 0, -0.0, 5e-324, 0.1};
static const double log_sample_all_scalars[TW_RECORD_SCALARS] = {[TW_RECORD_SCALARS - 1] = -0.5};
static const double log_sample_ratios[] = {0, 1, 5e-324, 0x1p100};

static const uint64_t log_sample_steps[] = {0, 17, UINT64_MAX};

static const struct tw_record log_samples[] = {
    {.position = 1, .kind = TW_RECORD_JOIN, .incarnation = 1, .numerics = "talweg 1 openblas 2 X"},
    {.position = 2, .kind = TW_RECORD_RELEASE, .step = 1},
    {.position = 3, .kind = TW_RECORD_RELEASE, .slot = TW_SLOT_EVALUATOR, .step = 9},
    {.position = 4,
     .kind = TW_RECORD_COMMIT,
     .version = 1,
     .count = 2,
     .contributions = log_sample_contributions,
     .examples = 127,
     .loss = 0.1,
     .rate = 1e-3,
     .divisor = 130.5,
     .scalar_count = 5,
     .scalars = log_sample_scalars,
     .ratio_count = 4,
     .ratios = log_sample_ratios},
    {.position = 5,
     .kind = TW_RECORD_DROP,
     .version = 1,
     .not_finite = true,
     .count = 1,
     .contributions = log_sample_contributions},
    {.position = 6, .kind = TW_RECORD_REGATHER, .version = 2},
    {.position = 7, .kind = TW_RECORD_DIAL, .version = 1, .mode = "k-batch-async:3"},
    {.position = 8, .kind = TW_RECORD_EVICT, .version = 1, .rank = 3, .slot = 12},
    {.position = 9,
     .kind = TW_RECORD_PERMIT,
     .version = 1,
     .count = 2,
     .contributions = log_sample_pushes},
    {.position = 10, .kind = TW_RECORD_PERMIT, .version = 1},
    {.position = 11,
     .kind = TW_RECORD_VERDICT,
     .version = 1,
     .verdict = {.loss = 0.5, .best = 0.25, .bad = 3, .cooldown = 1, .reductions = 2}},
    {.position = 12, .kind = TW_RECORD_CHECKPOINT, .version = 1},
    {.position = 13,
     .kind = TW_RECORD_VERDICT,
     .version = 1,
     .verdict = {.loss = 0.01,
                 .best = 5e-324,
                 .reductions = 1,
                 .on = TW_VERDICT_END,
                 .stop = TW_STOP_GRADIENT}},
    {.position = 14,
     .kind = TW_RECORD_ROLLBACK,
     .version = 1,
     .generation = 3,
     .to = 12,
     .mode = "async",
     .ranks = 3,
     .steps = log_sample_steps},
    {.position = 15,
     .kind = TW_RECORD_RELEASE,
     .version = 1,
     .slot = 3,
     .step = 4,
     .rate = 0x1p-20,
     .scalar_count = TW_RECORD_SCALARS,
     .scalars = log_sample_all_scalars},
    {.position = 16,
     .kind = TW_RECORD_COMMIT,
     .version = 2,
     .count = 1,
     .contributions = log_sample_contributions,
     .examples = 64,
     .loss = 0.1,
     .rate = 0x1p-20,
     .chunks = {UINT32_MAX, UINT64_MAX, 300}},
};

enum { LOG_SAMPLES = sizeof log_samples / sizeof log_samples[0] };

/* Appends a record as the file has it. */
static inline void log_add(struct tw_text *file, const struct tw_record *record) {
    static unsigned char bytes[TW_ORDER_LOG_RECORD_MAX];
    tw_text_add_bytes(file, bytes, tw_order_log_pack(record, bytes));
}

struct log_memory {
    const void *bytes;
    size_t size, at;
    size_t piece; /* at most so many at once; 0: all */
};

static inline ptrdiff_t log_source(void *context, void *out, size_t room, struct tw_error *error) {
    struct log_memory *memory = context;
    size_t count = memory->size - memory->at;
    count = count < room ? count : room;
    count = memory->piece && count > memory->piece ? memory->piece : count;
    if (count)
        memcpy(out, (const char *)memory->bytes + memory->at, count);
    memory->at += count;
    return (ptrdiff_t)count;
}

#endif
