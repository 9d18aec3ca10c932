/* Which samples a slot computes at which step (docs/determinism.md, "Sampling").
 *
 * Epoch e (from 0) has one permutation of the n samples, from (seed, sampling stream,
 * e). Slot s of M takes its places s, s + M, s + 2M, ...; when they are used up the
 * slot goes on to its own next epoch, in the middle of a step if need be, so that
 * every step of a slot has the same number of rows.
 *
 * With data.shard fixed or own a slot has a part for the whole run, and an order of its own of it
 * in each epoch.
 *
 * Pure: a step's samples are a function of (mode, seed, slot, slots, n, rows, step) only.
 * What a sampler remembers is a cache; steps may be asked for in any order, again, or
 * never.
 */
#ifndef TW_DATA_SAMPLER_H
#define TW_DATA_SAMPLER_H

#include "common/job/job.h"
#include "common/tensor/batch.h"

struct tw_sampler_config {
    enum tw_data_shard shard; /* TW_SHARD_FIXED: the slot's part is samples s, s + M, ... of the
                               * file; TW_SHARD_OWN: all of a file of its own */
    uint64_t seed;
    uint32_t slot, slots; /* s < M */
    uint32_t samples;     /* n; of TW_SHARD_OWN those of this slot */
    uint32_t rows;        /* of every step of this slot, >= 1: its share of the batch */
};

struct tw_sampler;

/* TW_JOB: more slots than samples, no rows. Memory: two permutations, 8 n bytes. *out is the
 * caller's. */
enum tw_status tw_sampler_new(struct tw_sampler **out, const struct tw_sampler_config *config,
                              struct tw_error *error);

/* From here on it is that of another slot, with so many samples and rows: one sampler can serve all
 * of them. An order that all slots share is kept. TW_NO_MEMORY. */
enum tw_status tw_sampler_bind(struct tw_sampler *sampler, uint32_t slot, uint32_t samples,
                               uint32_t rows, struct tw_error *error);

/* NULL is fine. */
void tw_sampler_free(struct tw_sampler *sampler);

/* The samples of the slot's `step` (from 1) into out[rows]. TW_LIMIT: step is 0 or so large
 * that 64 bits cannot count its samples; nothing is written then. */
enum tw_status tw_sampler_take(struct tw_sampler *sampler, uint64_t step, uint32_t *out);

/* Those of a part of its rows into out[part->rows]. TW_LIMIT likewise. */
enum tw_status tw_sampler_take_part(struct tw_sampler *sampler, uint64_t step,
                                    const struct tw_part *part, uint32_t *out);

/* The slot's epoch in which row `row` (below rows) of a step that tw_sampler_take() gives is. */
uint64_t tw_sampler_epoch(const struct tw_sampler *sampler, uint64_t step, uint32_t row);

/* Which sample of the whole training data an item of tw_sampler_take() is: itself; of TW_SHARD_OWN,
 * where the files of all slots begin with 0, the slot counts in 2^32. */
uint64_t tw_sampler_sample(const struct tw_sampler *sampler, uint32_t item);

/* Rows of slot s of M when `batch` is split over them: tw_job_share(). */
uint32_t tw_sampler_share(int64_t batch, uint32_t slots, uint32_t slot);

/* Part `part` of `parts` of a step of so many rows: rows part, part + parts, ... So parts share
 * rows as slots share samples. */
struct tw_part tw_sampler_part(uint32_t rows, uint32_t parts, uint32_t part);

#endif
