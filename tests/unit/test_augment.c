/* Random crop and flip: what becomes of an image, and that it is a matter of the sample and the
 * epoch alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "worker/data/augment.h"

enum { CHANNELS = 2, HEIGHT = 4, WIDTH = 5, PIXELS = CHANNELS * HEIGHT * WIDTH };

static const struct tw_augment plain = {
    .seed = 5, .crop = 2, .flip = true, .channels = CHANNELS, .height = HEIGHT, .width = WIDTH};

/* Every pixel of every sample is another number, none is 0. */
static void fill(float *image, uint32_t sample) {
    for (int i = 0; i < PIXELS; i++)
        image[i] = (float)(1 + i + 100 * (int)sample);
}

static void expect(const float *from, int64_t down, int64_t right, bool flips, float *to) {
    for (int64_t i = 0; i < PIXELS; i++) {
        int64_t c = i / (HEIGHT * WIDTH), y = i / WIDTH % HEIGHT, x = i % WIDTH;
        int64_t row = y + down, column = (flips ? WIDTH - 1 - x : x) + right;
        bool is_inside = row >= 0 && row < HEIGHT && column >= 0 && column < WIDTH;
        to[i] = is_inside ? from[(c * HEIGHT + row) * WIDTH + column] : 0;
    }
}

static void images_are_moved_and_mirrored(void **state) {
    float image[PIXELS], original[PIXELS], expected[PIXELS];
    fill(original, 0);
    for (int64_t down = 1 - HEIGHT; down < HEIGHT; down++)
        for (int64_t right = 1 - WIDTH; right < WIDTH; right++)
            for (int flips = 0; flips < 2; flips++) {
                fill(image, 0);
                tw_augment_move(&plain, down, right, image);
                if (flips)
                    tw_augment_flip(&plain, image);
                expect(original, down, right, flips, expected);
                assert_memory_equal(image, expected, sizeof image);
            }
}

static struct tw_sampler *sampler_of(enum tw_data_shard shard, uint32_t slot, uint32_t slots,
                                     uint32_t rows) {
    const struct tw_sampler_config config = {
        .shard = shard, .seed = 3, .slot = slot, .slots = slots, .samples = 11, .rows = rows};
    struct tw_sampler *sampler;
    struct tw_error error;
    assert_int_equal(tw_sampler_new(&sampler, &config, &error), TW_OK);
    return sampler;
}

/* What the values of the sequence (seed, stream, sample, epoch) say. */
static void expect_named(const struct tw_augment *augment, uint64_t sample, uint64_t epoch,
                         float *to) {
    float original[PIXELS];
    double number[3];
    for (uint64_t i = 0; i < 3; i++)
        number[i] = tw_rng_uniform_at(augment->seed, TW_STREAM_AUGMENT, sample, epoch, i);
    double places = 2 * (double)augment->crop + 1;
    fill(original, (uint32_t)sample);
    expect(original, (int64_t)(number[0] * places) - augment->crop,
           (int64_t)(number[1] * places) - augment->crop, augment->flip && number[2] < .5, to);
}

static void check_slots(const struct tw_augment *augment, uint32_t slots, uint32_t rows) {
    enum { ROWS = 8, STEPS = 9 };
    float image[ROWS * PIXELS], expected[PIXELS];
    const struct tw_part whole = tw_whole_step(rows);
    for (uint32_t slot = 0; slot < slots; slot++) {
        struct tw_sampler *sampler = sampler_of(TW_SHARD_EPOCH, slot, slots, rows);
        const uint64_t count = (11 - slot - 1) / slots + 1;
        for (uint64_t step = 1; step <= STEPS; step++) {
            uint32_t samples[ROWS];
            const struct tw_batch batch = {.x = image};
            assert_int_equal(tw_sampler_take(sampler, step, samples), TW_OK);
            for (uint32_t row = 0; row < rows; row++)
                fill(image + row * PIXELS, samples[row]);
            tw_augment_batch(augment, sampler, step, &whole, samples, &batch);
            for (uint32_t row = 0; row < rows; row++) {
                uint64_t epoch = ((step - 1) * rows + row) / count;
                assert_int_equal(tw_sampler_epoch(sampler, step, row), epoch);
                expect_named(augment, samples[row], epoch, expected);
                assert_memory_equal(image + row * PIXELS, expected, sizeof expected);
            }
        }
        tw_sampler_free(sampler);
    }
}

/* Whoever computes it, at whatever step: also across the border of two epochs. */
static void a_sample_of_an_epoch_is_always_the_same(void **state) {
    check_slots(&plain, 1, 8);
    check_slots(&plain, 4, 2);
    check_slots(&plain, 3, 5);
    struct tw_augment other = plain;
    other.flip = false;
    check_slots(&other, 2, 4);
    other = plain;
    other.crop = 0;
    check_slots(&other, 2, 4);
    other.flip = false;
    check_slots(&other, 2, 4);
}

/* The files of all slots begin with sample 0: they are not changed alike. */
static void slots_with_files_of_their_own_draw_apart(void **state) {
    enum { SLOTS = 3, ROWS = 11 };
    const struct tw_part whole = tw_whole_step(ROWS);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        struct tw_sampler *sampler = sampler_of(TW_SHARD_OWN, slot, SLOTS, ROWS);
        float image[ROWS * PIXELS], expected[PIXELS];
        const struct tw_batch batch = {.x = image};
        uint32_t samples[ROWS];
        assert_int_equal(tw_sampler_take(sampler, 1, samples), TW_OK);
        for (uint32_t row = 0; row < ROWS; row++)
            fill(image + row * PIXELS, samples[row]);
        tw_augment_batch(&plain, sampler, 1, &whole, samples, &batch);
        for (uint32_t row = 0; row < ROWS; row++) {
            expect_named(&plain, (uint64_t)slot << 32 | samples[row], 0, expected);
            assert_memory_equal(image + row * PIXELS, expected, sizeof expected);
        }
        tw_sampler_free(sampler);
    }
}

static void every_place_is_as_likely(void **state) {
    enum { DRAWS = 6000 };
    int places[HEIGHT][WIDTH] = {{0}};
    struct tw_sampler *sampler = sampler_of(TW_SHARD_EPOCH, 0, 1, 1);
    const struct tw_part one = tw_whole_step(1);
    for (uint32_t i = 0; i < DRAWS; i++) {
        float image[PIXELS] = {0};
        const struct tw_batch batch = {.x = image};
        image[2 * WIDTH + 2] = 1; /* in the middle of 4 x 5: it stays inside when moved up by 2 */
        tw_augment_batch(&plain, sampler, 1, &one, &i, &batch);
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                places[y][x] += image[y * WIDTH + x] == 1;
    }
    tw_sampler_free(sampler);
    for (int y = 0; y < HEIGHT; y++) /* the fifth row lies below the image */
        for (int x = 0; x < WIDTH; x++)
            assert_true(abs(places[y][x] - DRAWS / 25) < 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_moved_and_mirrored),
        cmocka_unit_test(a_sample_of_an_epoch_is_always_the_same),
        cmocka_unit_test(slots_with_files_of_their_own_draw_apart),
        cmocka_unit_test(every_place_is_as_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
