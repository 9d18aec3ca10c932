/* Validation data is held out of the training data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "worker/data/dataset.h"

enum { SAMPLES = 40 };

static struct tw_dataset *make(void) {
    static float rows[SAMPLES][2];
    static int32_t labels[SAMPLES];
    struct tw_dataset *dataset = malloc(sizeof *dataset);
    assert_non_null(dataset);
    for (int i = 0; i < SAMPLES; i++) {
        rows[i][0] = (float)i;
        rows[i][1] = (float)-i;
        labels[i] = 1000 + i;
    }
    *dataset = (struct tw_dataset){.count = SAMPLES,
                                   .dims = 1,
                                   .shape = {2},
                                   .elements = 2,
                                   .kind = TW_ROWS_FLOATS,
                                   .rows = rows,
                                   .labels = labels,
                                   .samples_name = strdup("memory"),
                                   .targets_name = strdup("memory")};
    return dataset;
}

/* The numbers of all its samples. */
static void read_all(const struct tw_dataset *dataset, int *out) {
    for (uint32_t i = 0; i < dataset->count; i++) {
        float x[2];
        int32_t label;
        tw_dataset_gather(dataset, &i, 1, &(struct tw_batch){.x = x, .labels = &label});
        assert_true(x[1] == -x[0] && label == 1000 + (int)x[0]);
        out[i] = (int)x[0];
    }
}

static void parts_are_those_of_the_permutation_in_the_order_of_the_file(void **state) {
    enum { HELD = 7 };
    struct tw_dataset *train = make(), *held;
    struct tw_error error;
    uint32_t order[SAMPLES];
    int samples[SAMPLES];
    bool out[SAMPLES] = {false};
    struct tw_rng rng;
    for (uint32_t i = 0; i < SAMPLES; i++)
        order[i] = i;
    tw_rng_init(&rng, 5, TW_STREAM_SPLIT, 0, 0);
    tw_rng_shuffle(&rng, order, SAMPLES);
    for (int i = SAMPLES - HELD; i < SAMPLES; i++)
        out[order[i]] = true;
    assert_int_equal(tw_dataset_split(train, HELD, 5, &held, &error), TW_OK);
    assert_true(train->count == SAMPLES - HELD && held->count == HELD);
    read_all(train, samples);
    for (int i = 0; i < SAMPLES - HELD; i++)
        assert_true(!out[samples[i]] && (i == 0 || samples[i] > samples[i - 1]));
    read_all(held, samples);
    for (int i = 0; i < HELD; i++)
        assert_true(out[samples[i]] && (i == 0 || samples[i] > samples[i - 1]));
    tw_dataset_free(held);
    tw_dataset_free(train);
}

static void another_seed_holds_out_others(void **state) {
    int samples[2][SAMPLES];
    for (int i = 0; i < 2; i++) {
        struct tw_dataset *train = make();
        struct tw_error error;
        assert_int_equal(tw_dataset_split(train, SAMPLES / 2, (uint64_t)i, NULL, &error), TW_OK);
        read_all(train, samples[i]);
        tw_dataset_free(train);
    }
    assert_memory_not_equal(samples[0], samples[1], SAMPLES / 2 * sizeof(int));
}

static void something_must_be_left(void **state) {
    struct tw_dataset *train = make(), *held;
    struct tw_error error;
    assert_int_equal(tw_dataset_split(train, SAMPLES, 5, &held, &error), TW_JOB);
    assert_string_equal(error.text,
                        "40 samples are held out for validation, but memory has only 40");
    assert_int_equal(train->count, SAMPLES);
    tw_dataset_free(train);
}

/* What the model cannot take is named by its row in the file. */
static void checks_see_the_part_only(void **state) {
    struct tw_dataset *train = make(), *held;
    struct tw_error error;
    struct tw_data_needs needs = {
        .dims = 1, .shape = {2}, .outputs = 2, .classes = 1000, .labels = true, .loss = "it"};
    assert_int_equal(tw_dataset_split(train, 1, 5, &held, &error), TW_OK);
    assert_int_equal(tw_dataset_check(held, &needs, &error), TW_DATA);
    char expected[64];
    snprintf(expected, sizeof expected, "memory: the label of sample %u", held->place[0]);
    assert_memory_equal(error.text, expected, strlen(expected));
    needs.classes = 1000 + SAMPLES;
    assert_int_equal(tw_dataset_check(held, &needs, &error), TW_OK);
    needs.labels = false;
    assert_int_equal(tw_dataset_check(held, &needs, &error), TW_DATA);
    assert_non_null(strstr(error.text, "its targets are classes, but it with one output takes"));
    tw_dataset_free(held);
    tw_dataset_free(train);
}

static void targets_must_fit_the_loss(void **state) {
    struct tw_dataset *data = make();
    struct tw_error error;
    float targets[SAMPLES] = {[11] = 1.5f};
    struct tw_data_needs needs = {
        .dims = 1, .shape = {2}, .outputs = 1, .classes = 2, .labels = true, .loss = "it"};
    data->labels = NULL;
    data->targets = targets;
    data->outputs = 1;
    assert_int_equal(tw_dataset_check(data, &needs, &error), TW_DATA);
    assert_non_null(strstr(error.text, "its targets are real numbers, but it takes classes"));
    needs.values = true;
    assert_int_equal(tw_dataset_check(data, &needs, &error), TW_OK);
    needs.parts = true;
    assert_int_equal(tw_dataset_check(data, &needs, &error), TW_DATA);
    assert_non_null(strstr(error.text, "the target of sample 11 (counted from 0) is 1.5, but it"));
    needs.outputs = 3;
    assert_int_equal(tw_dataset_check(data, &needs, &error), TW_DATA);
    assert_non_null(strstr(error.text, "a target has 1 number, but the model has 3 outputs"));
    uint32_t at = 11;
    float x[2], y;
    struct tw_batch batch = {.x = x, .targets = &y};
    tw_dataset_gather(data, &at, 1, &batch);
    assert_true(batch.valued && y == 1.5f && x[0] == 11);
    tw_dataset_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_those_of_the_permutation_in_the_order_of_the_file),
        cmocka_unit_test(another_seed_holds_out_others),
        cmocka_unit_test(something_must_be_left),
        cmocka_unit_test(checks_see_the_part_only),
        cmocka_unit_test(targets_must_fit_the_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
