/* The consistency dial: names of modes into settings, and what is wrong with a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/core/dial.h"

static const struct tw_where where = {"job.yaml", 12};

static void test_sync_gathers_all_workers(void **state) {
    struct tw_dial dial;
    assert_int_equal(tw_dial_parse("sync", where, 5, &dial, NULL), TW_OK);
    assert_string_equal(dial.word, "sync");
    assert_int_equal(dial.gather, 5);
    assert_true(dial.members_known);
    assert_int_equal(dial.release, TW_RELEASE_AT_COMMIT);
}

static void test_async_gathers_one(void **state) {
    struct tw_dial dial;
    assert_int_equal(tw_dial_parse("async", where, 5, &dial, NULL), TW_OK);
    assert_string_equal(dial.word, "async");
    assert_int_equal(dial.gather, 1);
    assert_false(dial.members_known);
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
    refused("quantum", TW_JOB, "available: sync, backup:B, k-sync:K");
    refused("", TW_JOB, "available: sync, backup:B, k-sync:K");
    refused(":3", TW_JOB, "available: sync, backup:B, k-sync:K");
}

static void test_one_mode_applies_chunks_as_they_come(void **state) {
    static const char *const others[] = {"sync", "backup:1", "async", "ssp:0", "softsync:2"};
    struct tw_dial dial;
    assert_int_equal(tw_dial_parse("hogwild", where, 4, &dial, NULL), TW_OK);
    assert_true(dial.on_arrival);
    assert_false(dial.members_known);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(tw_dial_parse(others[i], where, 4, &dial, NULL), TW_OK);
        assert_false(dial.on_arrival);
    }
}

/* DESIGN.md's table, with four workers and the number 3 (or what fits). */
static void test_every_mode_has_its_settings(void **state) {
    static const struct {
        const char *mode;
        uint32_t gather;
        enum tw_late_rule late;
        int64_t clock_bound;
        enum tw_release_rule release;
    } rows[] = {
        {"sync", 4, TW_LATE_USE, -1, TW_RELEASE_AT_COMMIT},
        {"backup:1", 3, TW_LATE_DROP, -1, TW_RELEASE_AT_COMMIT},
        {"backup:0", 4, TW_LATE_DROP, -1, TW_RELEASE_AT_COMMIT},
        {"k-sync:3", 3, TW_LATE_CANCEL, -1, TW_RELEASE_AT_COMMIT},
        {"k-batch-sync:3", 3, TW_LATE_CANCEL, -1, TW_RELEASE_AT_ACCEPTANCE},
        {"async", 1, TW_LATE_USE, -1, TW_RELEASE_AT_COMMIT},
        {"hogwild", 1, TW_LATE_USE, -1, TW_RELEASE_AT_COMMIT},
        {"ssp:3", 1, TW_LATE_USE, 3, TW_RELEASE_AT_COMMIT},
        {"ssp:0", 1, TW_LATE_USE, 0, TW_RELEASE_AT_COMMIT},
        {"k-async:3", 3, TW_LATE_USE, -1, TW_RELEASE_AT_COMMIT},
        {"k-batch-async:3", 3, TW_LATE_USE, -1, TW_RELEASE_AT_ACCEPTANCE},
        {"softsync:3", 1, TW_LATE_USE, -1, TW_RELEASE_AT_ACCEPTANCE},
        {"softsync:2", 2, TW_LATE_USE, -1, TW_RELEASE_AT_ACCEPTANCE},
        {"stale-uniform:4", 1, TW_LATE_USE, -1, TW_RELEASE_AT_COMMIT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tw_dial dial;
        assert_int_equal(tw_dial_parse(rows[i].mode, where, 4, &dial, NULL), TW_OK);
        assert_int_equal(dial.gather, rows[i].gather);
        assert_int_equal(dial.late, rows[i].late);
        assert_int_equal(dial.clock_bound, rows[i].clock_bound);
        assert_int_equal(dial.release, rows[i].release);
        assert_int_equal(tw_dial_ahead(&dial),
                         rows[i].release == TW_RELEASE_AT_ACCEPTANCE ? rows[i].gather : 0);
    }
}

static void test_some_modes_impose_staleness(void **state) {
    struct tw_dial dial;
    assert_int_equal(tw_dial_parse("stale-uniform:3", where, 4, &dial, NULL), TW_OK);
    assert_ptr_equal(dial.imposed, &tw_imposed_uniform);
    assert_int_equal(dial.imposed_number, 3);
    assert_int_equal(tw_dial_parse("stale-geometric:7", where, 52, &dial, NULL), TW_OK);
    assert_ptr_equal(dial.imposed, &tw_imposed_geometric);
    assert_string_equal(dial.word, "stale-geometric:7");
    assert_int_equal(tw_dial_parse("ssp:3", where, 4, &dial, NULL), TW_OK);
    assert_null(dial.imposed);
    refused("stale-uniform:3", TW_JOB, "needs at least 3 workers, and cluster.workers is ");
    refused("stale-geometric:1", TW_JOB, "needs at least 10 workers");
    refused("stale-geometric:0", TW_JOB, "mean staleness must be from 1 to");
    refused("stale-uniform", TW_JOB, "needs a number of equally likely values");
    refused("stale-unifrom:2", TW_JOB, "did you mean \"stale-uniform\"");
}

static void test_a_number_that_is_missing_or_wrong_is_refused(void **state) {
    refused("ssp", TW_JOB, "needs a number of clocks that a worker may be ahead: \"ssp:1\"");
    refused("k-sync:", TW_JOB, "needs a number of gradients per update: \"k-sync:1\"");
    refused("k-sync:x", TW_JOB, "needs a number");
    refused("ssp:-1", TW_JOB, "needs a number");
    refused("ssp:3x", TW_JOB, "needs a number");
    refused("ssp:99999999999999999999", TW_JOB, "needs a number");
    refused("k-sync:3", TW_JOB,
            "with cluster.workers 2: the number of gradients per update must be from 1 to 2");
    refused("k-async:0", TW_JOB, "must be from 1 to 2");
    refused("backup:2", TW_JOB, "the number of backup workers must be from 0 to 1");
    refused("softsync:3", TW_JOB, "must be from 1 to 2");
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
        cmocka_unit_test(test_one_mode_applies_chunks_as_they_come),
        cmocka_unit_test(test_every_mode_has_its_settings),
        cmocka_unit_test(test_some_modes_impose_staleness),
        cmocka_unit_test(test_a_number_that_is_missing_or_wrong_is_refused),
        cmocka_unit_test(test_a_number_where_none_belongs_is_refused),
    };
    return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
