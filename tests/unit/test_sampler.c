#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "worker/data/sampler.h"

static struct tw_sampler *make(struct tw_sampler_config config) {
    struct tw_sampler *sampler;
    struct tw_error error = {0};
    if (tw_sampler_new(&sampler, &config, &error) != TW_OK)
        fail_msg("%s", error.text);
    return sampler;
}

/* The first `steps` steps, one after another; from malloc. */
static uint32_t *draw(struct tw_sampler_config config, uint64_t steps) {
    struct tw_sampler *sampler = make(config);
    uint32_t *out = malloc(steps * config.rows * sizeof *out);
    assert_non_null(out);
    for (uint64_t step = 1; step <= steps; step++)
        assert_int_equal(tw_sampler_take(sampler, step, out + (step - 1) * config.rows), TW_OK);
    tw_sampler_free(sampler);
    return out;
}

static void it_is_the_permutation_of_the_docs(void **state) {
    enum { N = 10, SLOTS = 3 };
    uint32_t items[2][N];
    for (uint64_t epoch = 0; epoch < 2; epoch++) {
        struct tw_rng rng;
        tw_rng_init(&rng, 7, TW_STREAM_SAMPLING, 0, epoch);
        for (uint32_t i = 0; i < N; i++)
            items[epoch][i] = i;
        for (uint32_t i = N - 1; i > 0; i--) {
            uint32_t j = (uint32_t)tw_rng_below(&rng, i + 1), kept = items[epoch][i];
            items[epoch][i] = items[epoch][j];
            items[epoch][j] = kept;
        }
    }
    /* Slot 1 has places 1, 4, 7 of each epoch; two steps of 2 cross the border. */
    const struct tw_sampler_config config = {
        .seed = 7, .slot = 1, .slots = SLOTS, .samples = N, .rows = 2};
    uint32_t *drawn = draw(config, 3);
    const uint32_t expected[6] = {items[0][1], items[0][4], items[0][7],
                                  items[1][1], items[1][4], items[1][7]};
    assert_memory_equal(drawn, expected, sizeof expected);
    free(drawn);
}

/* Numbers made with NumPy as docs/determinism.md says: they may never change. */
static void numpy_gives_the_same(void **state) {
    static const uint32_t expected[] = {3136,  38025, 44634, 24818, 12986, 46042, 53354, 22375,
                                        38748, 39365, 52465, 3240,  55815, 3432,  2825,  24325};
    const struct tw_sampler_config config = {
        .seed = 1, .slot = 0, .slots = 2, .samples = 60000, .rows = 8};
    struct tw_sampler *sampler = make(config);
    uint32_t out[8];
    assert_int_equal(tw_sampler_take(sampler, 1, out), TW_OK);
    assert_memory_equal(out, expected, sizeof out);
    assert_int_equal(tw_sampler_take(sampler, 3751, out), TW_OK); /* the second epoch */
    assert_memory_equal(out, expected + 8, sizeof out);
    tw_sampler_free(sampler);
}

static void all_slots_see_every_sample_once_per_epoch(enum tw_data_shard shard) {
    enum { N = 103, EPOCHS = 5 };
    for (uint32_t slots = 1; slots <= 7; slots++) {
        unsigned seen[EPOCHS][N] = {{0}};
        for (uint32_t slot = 0; slot < slots; slot++) {
            uint32_t count = (N - slot - 1) / slots + 1;
            const struct tw_sampler_config config = {
                .shard = shard, .seed = 3, .slot = slot, .slots = slots, .samples = N, .rows = 11};
            uint32_t *drawn = draw(config, EPOCHS * N / 11 + 1);
            for (uint32_t i = 0; i < EPOCHS * count; i++) {
                assert_true(drawn[i] < N);
                seen[i / count][drawn[i]]++;
            }
            free(drawn);
        }
        for (int epoch = 0; epoch < EPOCHS; epoch++)
            for (int i = 0; i < N; i++)
                assert_int_equal(seen[epoch][i], 1);
    }
}

static void every_sample_once_per_epoch(void **state) {
    all_slots_see_every_sample_once_per_epoch(TW_SHARD_EPOCH);
    all_slots_see_every_sample_once_per_epoch(TW_SHARD_FIXED);
}

static void fixed_parts_stay_and_their_order_changes(void **state) {
    enum { N = 60, ROWS = 20, EPOCHS = 4 };
    const struct tw_sampler_config config = {
        .shard = TW_SHARD_FIXED, .seed = 3, .slot = 2, .slots = 3, .samples = N, .rows = ROWS};
    uint32_t *drawn = draw(config, EPOCHS);
    for (int i = 0; i < EPOCHS * ROWS; i++)
        assert_int_equal(drawn[i] % 3, 2);
    for (int epoch = 1; epoch < EPOCHS; epoch++)
        assert_memory_not_equal(drawn, drawn + epoch * ROWS, ROWS * sizeof *drawn);
    free(drawn);
}

/* Also steps that are longer than several epochs, and any order of the calls. */
static void a_step_is_a_function_of_its_number(void **state) {
    enum { STEPS = 40 };
    for (uint32_t rows = 1; rows < 60; rows += 7) {
        const struct tw_sampler_config config = {
            .seed = 9, .slot = 1, .slots = 2, .samples = 17, .rows = rows};
        uint32_t *drawn = draw(config, STEPS), *again = calloc(rows, sizeof *again);
        struct tw_sampler *sampler = make(config);
        assert_non_null(again);
        for (uint64_t i = 0; i < 3 * STEPS; i++) {
            uint64_t step = (i * i * 17 + 5) % STEPS + 1;
            assert_int_equal(tw_sampler_take(sampler, step, again), TW_OK);
            assert_memory_equal(again, drawn + (step - 1) * rows, rows * sizeof *again);
        }
        tw_sampler_free(sampler);
        free(again);
        free(drawn);
    }
}

/* Also of steps that are longer than several epochs. */
static void parts_share_the_rows_of_a_step(void **state) {
    for (uint32_t rows = 1; rows < 60; rows += 7)
        for (uint32_t parts = 1; parts <= rows && parts <= 8; parts *= 2) {
            struct tw_sampler *sampler = make(
                (struct tw_sampler_config){.seed = 9, .slots = 2, .samples = 17, .rows = rows});
            uint32_t whole[60], out[60];
            for (uint64_t step = 1; step <= 9; step++) {
                uint32_t seen = 0;
                assert_int_equal(tw_sampler_take(sampler, step, whole), TW_OK);
                for (uint32_t i = parts; i-- > 0;) {
                    struct tw_part part = tw_sampler_part(rows, parts, i);
                    assert_in_range(part.rows, rows / parts, (rows - 1) / parts + 1);
                    assert_int_equal(tw_sampler_take_part(sampler, step, &part, out), TW_OK);
                    for (uint32_t row = 0; row < part.rows; row++, seen++)
                        assert_int_equal(out[row], whole[i + row * parts]);
                }
                assert_int_equal(seen, rows);
            }
            tw_sampler_free(sampler);
        }
}

static void one_sampler_can_serve_all_slots(enum tw_data_shard shard) {
    enum { N = 103, SLOTS = 5, STEPS = 30 };
    struct tw_sampler_config config = {
        .shard = shard, .seed = 3, .slot = 3, .slots = SLOTS, .samples = N, .rows = 6};
    struct tw_sampler *one = make(config);
    uint32_t out[8];
    for (uint64_t step = 1; step <= STEPS; step++)
        for (uint32_t slot = 0; slot < SLOTS; slot++) {
            config.slot = slot;
            config.rows = 6 + (slot < 2);
            if (shard == TW_SHARD_OWN)
                config.samples = N + 50 * slot; /* each has a file of its own */
            struct tw_sampler *own = make(config);
            uint32_t expected[8];
            assert_int_equal(tw_sampler_take(own, step, expected), TW_OK);
            assert_int_equal(tw_sampler_bind(one, slot, config.samples, config.rows, NULL), TW_OK);
            assert_int_equal(tw_sampler_take(one, step, out), TW_OK);
            assert_memory_equal(out, expected, config.rows * sizeof *out);
            tw_sampler_free(own);
        }
    tw_sampler_free(one);
}

static void it_can_be_bound_to_any_slot(void **state) {
    one_sampler_can_serve_all_slots(TW_SHARD_EPOCH);
    one_sampler_can_serve_all_slots(TW_SHARD_FIXED);
    one_sampler_can_serve_all_slots(TW_SHARD_OWN);
}

static void another_seed_is_another_order(void **state) {
    struct tw_sampler_config config = {
        .seed = 1, .slot = 0, .slots = 1, .samples = 100, .rows = 100};
    uint32_t *one = draw(config, 1);
    config.seed = 2;
    uint32_t *two = draw(config, 1);
    assert_memory_not_equal(one, two, 100 * sizeof *one);
    free(one);
    free(two);
}

static void shares_of_a_batch(void **state) {
    const uint32_t expected[4] = {33, 32, 32, 32};
    for (uint32_t slot = 0; slot < 4; slot++)
        assert_int_equal(tw_sampler_share(129, 4, slot), expected[slot]);
    assert_int_equal(tw_sampler_share(2, 4, 1), 1);
    assert_int_equal(tw_sampler_share(2, 4, 2), 0);
}

static void refuse(struct tw_sampler_config config, enum tw_status status, const char *part) {
    struct tw_sampler *sampler;
    struct tw_error error = {0};
    assert_int_equal(tw_sampler_new(&sampler, &config, &error), status);
    assert_null(sampler);
    assert_non_null(strstr(error.text, part));
}

static void what_cannot_be_is_refused(void **state) {
    struct tw_sampler_config config = {.slots = 4, .samples = 3, .rows = 1};
    refuse(config, TW_JOB, "4 workers share 3 samples");
    config.samples = 4;
    config.rows = 0;
    refuse(config, TW_JOB, "batch is smaller than the number of workers");
}

/* All of a file, in an order of the slot's own each epoch; more slots than samples may be. */
static void an_own_file_is_seen_whole_in_each_epoch(void **state) {
    enum { N = 7, STEPS = 3 };
    uint32_t *first = NULL;
    for (uint32_t slot = 0; slot < 2; slot++) {
        struct tw_sampler_config config = {
            .shard = TW_SHARD_OWN, .seed = 5, .slot = slot, .slots = 9, .samples = N, .rows = N};
        uint32_t *drawn = draw(config, STEPS);
        for (int epoch = 0; epoch < STEPS; epoch++) {
            uint32_t seen = 0;
            for (int i = 0; i < N; i++)
                seen |= 1u << drawn[epoch * N + i];
            assert_int_equal(seen, (1u << N) - 1);
        }
        if (slot == 0)
            first = drawn;
        else
            assert_memory_not_equal(first, drawn, STEPS * N * sizeof *drawn);
        if (slot > 0)
            free(drawn);
    }
    free(first);
}

static void steps_out_of_range_are_refused(void **state) {
    const struct tw_sampler_config config = {.slots = 1, .samples = 5, .rows = 3};
    struct tw_sampler *sampler = make(config);
    uint32_t out[3] = {7, 7, 7};
    assert_int_equal(tw_sampler_take(sampler, 0, out), TW_LIMIT);
    assert_int_equal(tw_sampler_take(sampler, UINT64_MAX, out), TW_LIMIT);
    assert_true(out[0] == 7 && out[1] == 7 && out[2] == 7);
    assert_int_equal(tw_sampler_take(sampler, UINT64_MAX / 3, out), TW_OK);
    assert_true(out[0] < 5 && out[1] < 5 && out[2] < 5);
    tw_sampler_free(sampler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_permutation_of_the_docs),
        cmocka_unit_test(numpy_gives_the_same),
        cmocka_unit_test(every_sample_once_per_epoch),
        cmocka_unit_test(fixed_parts_stay_and_their_order_changes),
        cmocka_unit_test(a_step_is_a_function_of_its_number),
        cmocka_unit_test(parts_share_the_rows_of_a_step),
        cmocka_unit_test(it_can_be_bound_to_any_slot),
        cmocka_unit_test(another_seed_is_another_order),
        cmocka_unit_test(shares_of_a_batch),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(an_own_file_is_seen_whole_in_each_epoch),
        cmocka_unit_test(steps_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
