/* The scalars of the rule that records carry. */
#include "tests/unit/sequencer_desk.h"

static void test_scalars_come_from_the_rule(void **state) {
    struct desk desk;
    double expected[TW_OPTIMIZER_SCALARS];
    desk_started(&desk, "sync", 1, 1);
    for (uint64_t version = 1; version <= 3; version++) {
        desk_update(&desk);
        desk_prepare_scalars(&desk_options, version, desk_options.lr, expected);
        assert_memory_equal(desk_record(&desk, TW_RECORD_COMMIT, 0)->scalars, expected,
                            sizeof(expected));
    }
    desk_fini(&desk);
}

/* The rule's are learning rate times update. */
static void test_a_commit_keeps_its_scalars_where_the_next_update_is_prepared(void **state) {
    struct desk desk;
    double lr = desk_options.lr;
    desk_started(&desk, "async", 8, 1);
    for (uint32_t slot = 0; slot < 8; slot++)
        desk_ready(&desk, slot);
    for (int version = 1; version < 8; version++) {
        desk_sums(&desk, true);
        const struct tw_record *commit = desk_record(&desk, TW_RECORD_COMMIT, 0);
        const struct tw_sequencer_effect *next = desk_effect(&desk, TW_SEQ_PREPARE, 0);
        assert_int_equal(commit->scalar_count, TW_OPTIMIZER_SCALARS);
        assert_true(commit->scalars[0] == lr * version);
        assert_true(next->prepare.scalars[0] == lr * (version + 1));
    }
    desk_fini(&desk);
}

/* Applied as they come: all RELEASEs of the start are of one step. */
static void test_each_release_has_scalars_of_its_own(void **state) {
    struct desk desk;
    desk_started(&desk, "hogwild", 8, 1);
    for (int i = 0; i < 8; i++) {
        const struct tw_record *release = desk_record(&desk, TW_RECORD_RELEASE, i);
        assert_int_equal(release->scalar_count, TW_OPTIMIZER_SCALARS);
        assert_true(release->scalars[0] == desk_options.lr);
        for (int before = 0; before < i; before++)
            assert_ptr_not_equal(desk_record(&desk, TW_RECORD_RELEASE, before)->scalars,
                                 release->scalars);
    }
    desk_fini(&desk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars_come_from_the_rule),
        cmocka_unit_test(test_a_commit_keeps_its_scalars_where_the_next_update_is_prepared),
        cmocka_unit_test(test_each_release_has_scalars_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
