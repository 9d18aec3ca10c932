/* How an update is shared out, by the job file: slots, and parts of their shares. */
#include "tests/unit/job_desk.h"

static void parts_that_do_not_fit(void **state) {
    static const struct desk_row rows[] = {
        {NULL, "accumulate: 0",
         ":14: accumulate: 0 is out of range; it must be a whole number from 1 to 4096"},
        {NULL, "accumulate: 6", ":14: accumulate: 6 is no power of two; 4 or 8 would be one"},
        {NULL, "slots: 64\naccumulate: 4",
         ":15: accumulate: 4 parts, but 128 examples over 64 slots leave 2 for a slot; each part "
         "needs at least one"},
    };
    DESK_CHECK(rows);
}

static void slots_that_do_not_fit(void **state) {
    static const struct desk_row rows[] = {
        {NULL, "slots: 0",
         ":14: slots: 0 is out of range; it must be a whole number from 1 to 4096"},
        {NULL, "slots: 8192",
         ":14: slots: 8192 is out of range; it must be a whole number from 1 to 4096"},
        {NULL, "slots: 3", ":14: slots: 3 is no power of two; 2 or 4 would be one"},
        {NULL, "slots: 4095", ":14: slots: 4095 is no power of two; 2048 or 4096 would be one"},
        {NULL, "slots: 8\ncluster: {workers: 3}",
         ":14: slots: 8 with cluster.workers: 3; with slots the number of workers must be a power "
         "of two too"},
        {NULL, "slots: 8\ncluster: {workers: 16}",
         ":14: slots: 8 with cluster.workers: 16; with slots there are at most as many workers, "
         "so that each owns one"},
        {NULL, "slots: 256",
         ":14: slots: 256 slots share batch: 128; each needs at least one example of every update"},
    };
    DESK_CHECK(rows);
    struct tw_error error = {0};
    const struct tw_job_setting workers = {"cluster.workers", "3", "--workers", NULL};
    assert_null(desk_parse(DESK_JOB "slots: 4\n", &workers, 1, &error));
    assert_string_equal(error.text, "--workers 3: cluster.workers: 3 workers with slots: 4; with "
                                    "slots the number of workers must be a power of two too");
    assert_null(desk_set("slots", "6", "--set slots", &error));
    assert_string_equal(error.text,
                        "--set slots=6: slots: 6 is no power of two; 4 or 8 would be one");
}

static void local_steps_that_do_not_fit(void **state) {
    static const struct desk_row rows[] = {
        {NULL, "local_steps: 0",
         ":14: local_steps: 0 is out of range; it must be a whole number from 1 to 65536"},
        {NULL, "local_steps: {lr: 0.1}",
         ":14: local_steps.steps: missing; how many a slot makes between two pushes"},
        {NULL, "local_steps: {steps: 4, lr: 0}",
         ":14: local_steps.lr: 0 is out of range; it must be a number above 0 and at most 1000000"},
        {NULL, "local_steps: {steps: 4, rate: 1}",
         ":14: local_steps.rate: unknown key; known: steps, lr, rho"},
        {NULL, "local_steps: {steps: 1, rho: 2}",
         ":14: local_steps: with rho the servers' weights follow a spring at optimizer.lr: the "
         "optimizer must be sgd, without a schedule"},
        {NULL, "local_steps: {steps: 1, rho: -1}",
         ":14: local_steps.rho: -1 is out of range; it must be a number above 0 and at most "
         "1000000"},
        {NULL, "local_steps: 4\ngradient: sum",
         ":14: local_steps: not together with gradient: sum: a step of a slot goes by the mean "
         "over "
         "its examples; take one of them out"},
        {NULL, "local_steps: 4\nweight_decay: {l2: 0.1}",
         ":14: local_steps: not together with weight_decay, which the steps of a slot would not "
         "have; take one of them out"},
        {NULL, "local_steps: 4\ngroups: [{tensors: a, lr: 2}]",
         ":14: local_steps: not together with groups, which the steps of a slot would not know; "
         "take one of them out"},
    };
    DESK_CHECK(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_that_do_not_fit),
        cmocka_unit_test(parts_that_do_not_fit),
        cmocka_unit_test(local_steps_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
