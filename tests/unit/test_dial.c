/* The consistency dial: names of modes into settings, and what is wrong with a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/core/dial.h"

static const struct tw_where where = {"job.yaml", 12};

static void test_sync_gathers_all_workers(void **state) {
    struct tw_dial dial;
    assert_int_equal(tw_dial_parse("sync", where, 5, &dial, NULL), TW_OK);
    assert_string_equal(dial.name, "sync");
    assert_int_equal(dial.gather, 5);
    assert_true(dial.distinct);
    assert_true(dial.members_known);
    assert_int_equal(dial.staleness_bound, 0);
    assert_int_equal(dial.release, TW_RELEASE_AT_COMMIT);
}

static void test_async_gathers_one(void **state) {
    struct tw_dial dial;
    assert_int_equal(tw_dial_parse("async", where, 5, &dial, NULL), TW_OK);
    assert_string_equal(dial.name, "async");
    assert_int_equal(dial.gather, 1);
    assert_false(dial.members_known);
    assert_int_equal(dial.staleness_bound, -1);
    assert_int_equal(dial.release, TW_RELEASE_AT_COMMIT);
}

static void refused(const char *mode, enum tw_status expected, const char *words) {
    struct tw_dial dial;
    struct tw_error error = {.status = TW_OK};
    assert_int_equal(tw_dial_parse(mode, where, 2, &dial, &error), expected);
    assert_int_equal(error.status, expected);
    if (!strstr(error.text, words))
        fail_msg("\"%s\": \"%s\" does not say \"%s\"", mode, error.text, words);
    assert_non_null(strstr(error.text, "job.yaml:12: consistency.mode: "));
}

static void test_unknown_mode_is_refused_with_the_nearest(void **state) {
    refused("asynch", TW_JOB, "did you mean \"async\"");
    refused("quantum", TW_JOB, "available: sync, async");
    refused("", TW_JOB, "available: sync, async");
    refused(":3", TW_JOB, "available: sync, async");
}

static void test_known_modes_that_are_not_available_are_refused_by_name(void **state) {
    static const char *const modes[] = {"backup:1",   "k-sync:2",        "k-batch-sync:2",
                                        "ssp:3",      "k-async:2",       "hogwild",
                                        "softsync:2", "k-batch-async:2", "ssp"};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        char words[64];
        snprintf(words, sizeof words, "mode \"%s\" is not available yet", modes[i]);
        refused(modes[i], TW_UNSUPPORTED, words);
    }
}

static void test_a_number_where_none_belongs_is_refused(void **state) {
    refused("sync:3", TW_JOB, "takes no number; write \"sync\"");
    refused("async:", TW_JOB, "takes no number; write \"async\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_gathers_all_workers),
        cmocka_unit_test(test_async_gathers_one),
        cmocka_unit_test(test_unknown_mode_is_refused_with_the_nearest),
        cmocka_unit_test(test_known_modes_that_are_not_available_are_refused_by_name),
        cmocka_unit_test(test_a_number_where_none_belongs_is_refused),
    };
    return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
