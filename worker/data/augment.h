/* Random crop and flip: each time a training image is used, it may be moved and mirrored
 * (data.augment).
 *
 * crop: p zeros are put around it, and a window of its own size is taken at a place of which all
 * (2 p + 1)^2 are equally likely: it is moved by -p to p rows and columns. flip: with probability
 * 1/2 left and right change places. All channels alike.
 *
 * What becomes of sample i in epoch e is a function of (seed, TW_STREAM_AUGMENT, e, i) alone:
 * whoever computes it, however many workers and slots there are, in whatever mode. i is
 * tw_sampler_sample(), e the slot's own epoch (sampler.h). Values 0, 1 and 2 of the sequence with
 * slot i, step e: row, column, flip.
 *
 * Used by workers and replay, behind tw_dataset_gather(): so zeros are those of standardised
 * samples, where samples are. Evaluation knows nothing of it.
 */
#ifndef TW_DATA_AUGMENT_H
#define TW_DATA_AUGMENT_H

#include "common/job/job.h"
#include "common/tensor/batch.h"
#include "worker/data/sampler.h"

struct tw_augment {
    uint64_t seed;
    int64_t crop; /* p; 0: images are not moved */
    bool flip;
    int64_t channels, height, width; /* p is below height and width */
};

/* What the job says of it. */
struct tw_augment tw_augment_of(const struct tw_job *job);

/* Does it to a part of the rows of a slot's step, which hold these samples [part->rows]. */
void tw_augment_batch(const struct tw_augment *augment, const struct tw_sampler *sampler,
                      uint64_t step, const struct tw_part *part, const uint32_t *samples,
                      const struct tw_batch *batch);

/* Moves an image [channels, height, width]: what lies `down` rows below and `right` columns to the
 * right comes to each place, zeros from outside. */
void tw_augment_move(const struct tw_augment *augment, int64_t down, int64_t right, float *image);

/* Mirrors it: left and right change places. */
void tw_augment_flip(const struct tw_augment *augment, float *image);

#endif
