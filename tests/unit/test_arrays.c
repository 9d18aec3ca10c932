/* What is kept for each weight: how many arrays, and which by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "server/core/arrays.h"
#include "tests/lib/corrections_text.h"
#include "tests/lib/variant_text.h"

static const struct tw_optimizer *rule(const char *line) {
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options options;
    struct tw_error error;
    if (tw_optimizer_find(&optimizer, &options, tw_test_variant(line), &error) != TW_OK)
        fail_msg("%s", error.text);
    return optimizer;
}

static uint32_t find(const struct tw_arrays *arrays, const char *name) {
    uint32_t array = UINT32_MAX;
    return tw_array_find(arrays, name, strlen(name), &array) ? array : UINT32_MAX;
}

static void every_array_is_found_by_its_name(void **state) {
    const struct tw_shaping shapings[] = {
        {.rates = 1},
        {.rates = 1, .average = .9},
        {.rates = 1, .corrections = tw_test_corrections("dana", "gap_aware", NULL)},
        {.rates = 1,
         .average = .9,
         .corrections = tw_test_corrections("dc_asgd_adaptive", "dana", NULL)},
    };
    static const struct {
        const char *optimizer;
        uint32_t workers, arrays[4];
    } cases[] = {{"sgd lr=1", 1, {1, 2, 3, 4}}, {"adam lr=1", 12, {3, 4, 16, 17}}};
    for (int c = 0; c < 2; c++)
        for (int i = 0; i < 4; i++) {
            const struct tw_arrays arrays = {rule(cases[c].optimizer), &shapings[i],
                                             cases[c].workers};
            uint32_t count = tw_arrays_count(&arrays);
            assert_int_equal(count, cases[c].arrays[i]);
            for (uint32_t a = 0; a < count; a++) {
                char name[TW_ARRAY_NAME];
                tw_array_name(&arrays, a, name);
                assert_int_equal(find(&arrays, name), a);
            }
        }
}

static void no_other_name_is_found(void **state) {
    const struct tw_shaping shaping = {
        .rates = 1, .corrections = tw_test_corrections("gap_aware", "dana", NULL)};
    const struct tw_arrays arrays = {rule("adam lr=1"), &shaping, 12};
    static const char *const names[] = {"average",
                                        "dana_v",
                                        "dana_v.",
                                        "dana_v.12",
                                        "dana_v.01",
                                        "dana_v.-1",
                                        "dana_v.1 ",
                                        "dana_v. 1",
                                        "dana_v.+1",
                                        "dana_v.1.1",
                                        "gap_step.",
                                        "gap_step.0",
                                        "dana_v.18446744073709551617"};
    assert_int_equal(find(&arrays, "gap_step"), 3);
    assert_int_equal(find(&arrays, "dana_v.11"), 15);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(find(&arrays, names[i]), UINT32_MAX);
}

/* As in a checkpoint, where a range may follow. */
static void the_name_need_not_end(void **state) {
    const struct tw_shaping shaping = {.rates = 1,
                                       .corrections = tw_test_corrections("dana", NULL)};
    const struct tw_arrays arrays = {rule("sgd lr=1"), &shaping, 30};
    uint32_t array;
    assert_true(tw_array_find(&arrays, "dana_v.12[0:8]", 8, &array));
    assert_int_equal(array, 2);
    assert_true(tw_array_find(&arrays, "dana_v.12[0:8]", 9, &array));
    assert_int_equal(array, 13);
    assert_true(tw_array_find(&arrays, "[0:8]", 0, &array));
    assert_int_equal(array, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_array_is_found_by_its_name),
        cmocka_unit_test(no_other_name_is_found),
        cmocka_unit_test(the_name_need_not_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
