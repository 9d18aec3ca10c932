#include "worker/data/augment.h"

#include <string.h>

#include "common/base/rng.h"

struct tw_augment tw_augment_of(const struct tw_job *job) {
    const int64_t *size = job->model.input;
    if (job->augment.crop == 0 && !job->augment.flip)
        return (struct tw_augment){0};
    return (struct tw_augment){.seed = job->seeds.augment,
                               .crop = job->augment.crop,
                               .flip = job->augment.flip,
                               .channels = size[0],
                               .height = size[1],
                               .width = size[2]};
}

/* A row of the image, of its moved partner; NULL: it is not in the image. */
static void move_row(const struct tw_augment *augment, const float *from, int64_t right,
                     float *to) {
    const int64_t size = right < 0 ? -right : right, left = right < 0 ? size : 0;
    const size_t count = (size_t)(augment->width - size);
    if (from == NULL) {
        memset(to, 0, (size_t)augment->width * sizeof *to);
        return;
    }
    memmove(to + left, from + left + right, count * sizeof *to);
    memset(right < 0 ? to : to + count, 0, (size_t)size * sizeof *to);
}

/* In the order in which no row is overwritten that is still to be read. */
void tw_augment_move(const struct tw_augment *augment, int64_t down, int64_t right, float *image) {
    const int64_t height = augment->height, width = augment->width;
    for (int64_t c = 0; c < augment->channels; c++, image += height * width)
        for (int64_t i = 0; i < height; i++) {
            const int64_t y = down < 0 ? height - 1 - i : i, from = y + down;
            const bool is_inside = from >= 0 && from < height;
            move_row(augment, is_inside ? image + from * width : NULL, right, image + y * width);
        }
}

void tw_augment_flip(const struct tw_augment *augment, float *image) {
    const int64_t rows = augment->channels * augment->height, width = augment->width;
    for (int64_t row = 0; row < rows; row++, image += width)
        for (int64_t x = 0; x < width / 2; x++) {
            const float kept = image[x];
            image[x] = image[width - 1 - x];
            image[width - 1 - x] = kept;
        }
}

static void change(const struct tw_augment *augment, uint64_t sample, uint64_t epoch,
                   float *image) {
    const uint64_t places = 2 * (uint64_t)augment->crop + 1;
    struct tw_rng rng;
    tw_rng_init(&rng, augment->seed, TW_STREAM_AUGMENT, sample, epoch);
    const int64_t down = (int64_t)(tw_rng_uniform(&rng) * (double)places) - augment->crop;
    const int64_t right = (int64_t)(tw_rng_uniform(&rng) * (double)places) - augment->crop;
    const bool flips = tw_rng_uniform(&rng) < 0.5;
    if (down != 0 || right != 0)
        tw_augment_move(augment, down, right, image);
    if (augment->flip && flips)
        tw_augment_flip(augment, image);
}

void tw_augment_batch(const struct tw_augment *augment, const struct tw_sampler *sampler,
                      uint64_t step, const struct tw_part *part, const uint32_t *samples,
                      const struct tw_batch *batch) {
    const int64_t elements = augment->channels * augment->height * augment->width;
    if (augment->crop == 0 && !augment->flip)
        return;
    for (uint32_t row = 0; row < part->rows; row++)
        change(augment, tw_sampler_sample(sampler, samples[row]),
               tw_sampler_epoch(sampler, step, tw_part_row(part, row)), batch->x + row * elements);
}
