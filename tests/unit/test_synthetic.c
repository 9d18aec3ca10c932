/* Made-up data: what it promises of itself. */
#include "tests/unit/data_desk.h"

#include <math.h>

#include "common/base/rng.h"

static struct tw_dataset *made(struct desk_data *desk, const char *kind, const char *samples,
                               const char *first, const char *classes, const char *noise) {
    if (DESK_OPEN(desk, "synthetic", "kind", kind, "samples", samples, "first", first, "classes",
                  classes, "noise", noise) != TW_OK)
        fail_msg("%s", desk->error.text);
    return desk->set;
}

/* Sample i has one number, wherever a data set begins. */
static void test_data_goes_on_where_training_data_ends(void **state) {
    static const char *const kinds[] = {"linear", "blobs", "spirals", "teacher"};
    for (int k = 0; k < 4; k++) {
        struct desk_data all, rest;
        made(&all, kinds[k], "20", "0", "3", "0.25");
        made(&rest, kinds[k], "5", "15", "3", "0.25");
        assert_true(all.set->count == 20 && rest.set->count == 5);
        for (uint32_t i = 0; i < 5; i++) {
            assert_true(all.set->labels[15 + i] == rest.set->labels[i]);
            for (int j = 0; j < 2; j++)
                assert_true(desk_at(all.set, 15 + i, j) == desk_at(rest.set, i, j));
        }
        tw_dataset_free(all.set);
        tw_dataset_free(rest.set);
    }
}

/* The weights are the shared numbers: [features, outputs], and then the biases. */
static void linear_targets_are_linear(void **state) {
    struct desk_data desk;
    struct tw_rng rng;
    double shared[3];
    made(&desk, "linear", "50", "0", "0", "0");
    tw_rng_init(&rng, 1, TW_STREAM_DATA, 0, 0);
    for (int i = 0; i < 3; i++)
        shared[i] = tw_rng_normal(&rng);
    assert_true(desk.set->outputs == 1 && desk.set->labels == NULL);
    for (uint32_t i = 0; i < 50; i++) {
        double x = (double)desk_at(desk.set, i, 0), y = (double)desk_at(desk.set, i, 1);
        assert_float_equal(desk.set->targets[i], shared[2] + x * shared[0] + y * shared[1], 1e-6);
    }
    tw_dataset_free(desk.set);
}

static void blobs_lie_around_their_centres(void **state) {
    struct desk_data desk;
    made(&desk, "blobs", "400", "0", "4", "0.5");
    double mean[4][2] = {{0}};
    for (uint32_t i = 0; i < 400; i++) {
        assert_int_equal(desk.set->labels[i], i % 4);
        for (int j = 0; j < 2; j++)
            mean[i % 4][j] += (double)desk_at(desk.set, i, j) / 100;
    }
    for (uint32_t i = 0; i < 400; i++)
        for (int j = 0; j < 2; j++)
            assert_true(fabs((double)desk_at(desk.set, i, j) - mean[i % 4][j]) < 6 * 0.5);
    tw_dataset_free(desk.set);
}

/* Without noise the angle says radius and class. */
static void spirals_turn(void **state) {
    struct desk_data desk;
    made(&desk, "spirals", "60", "0", "0", "0"); /* of three classes */
    for (uint32_t i = 0; i < 60; i++) {
        double x = (double)desk_at(desk.set, i, 0), y = (double)desk_at(desk.set, i, 1);
        double radius = sqrt(x * x + y * y), angle = 2 * M_PI * (radius + (i % 3) / 3.0);
        assert_int_equal(desk.set->labels[i], i % 3);
        assert_float_equal(x, radius * cos(angle), 1e-5);
        assert_float_equal(y, radius * sin(angle), 1e-5);
    }
    tw_dataset_free(desk.set);
}

static void another_seed_is_another_world(void **state) {
    struct desk_data one, two;
    made(&one, "teacher", "10", "0", "0", "0");
    assert_int_equal(DESK_OPEN(&two, "synthetic", "kind", "teacher", "samples", "10", "seed", "2"),
                     TW_OK);
    assert_memory_not_equal(one.set->targets, two.set->targets, 10 * sizeof(float));
    tw_dataset_free(one.set);
    tw_dataset_free(two.set);
}

static void refused(const char *kind, const char *key, const char *value, const char *message) {
    struct desk_data desk;
    char expected[256];
    snprintf(expected, sizeof expected, "job.yaml:12: data.train: %s", message);
    assert_int_equal(DESK_OPEN(&desk, "synthetic", "kind", kind, "samples", "1000000", key, value),
                     TW_JOB);
    assert_null(desk.set);
    assert_string_equal(desk.error.text, expected);
}

static void what_cannot_be_made_up(void **state) {
    refused("spirals", "features", "3", "spirals have 2 features, not 3");
    refused("blobs", "classes", "1", "one class only: there is nothing to tell apart");
    refused("linear", "features", "5000", "more than 2^32 numbers are not made up");
    refused("linear", "outputs", "60000", "more than 2^32 numbers are not made up");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_goes_on_where_training_data_ends),
        cmocka_unit_test(linear_targets_are_linear),
        cmocka_unit_test(blobs_lie_around_their_centres),
        cmocka_unit_test(spirals_turn),
        cmocka_unit_test(another_seed_is_another_world),
        cmocka_unit_test(what_cannot_be_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
