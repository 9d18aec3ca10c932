/* Reading JSON piece by piece: what is taken, what is refused, and that everything ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/json_scan.h"

static struct tw_json_scan scan_of(const char *text) {
    return tw_json_scan(text, strlen(text));
}

static void test_an_object(void **state) {
    struct tw_json_scan scan = scan_of(
        " {\"a\" : 18446744073709551615, \"b\":[], \"c\":[0,1 , 2],\n\"d\":\"x\\\"\\\\\\/y\"} ");
    char key[4], text[8];
    tw_scan_open(&scan, '{');
    assert_true(tw_scan_key(&scan, key, sizeof key));
    assert_string_equal(key, "a");
    assert_true(tw_scan_unsigned(&scan) == UINT64_MAX);
    assert_true(tw_scan_key(&scan, key, sizeof key));
    tw_scan_open(&scan, '[');
    assert_false(tw_scan_item(&scan));
    assert_true(tw_scan_key(&scan, key, sizeof key));
    tw_scan_open(&scan, '[');
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(tw_scan_item(&scan));
        assert_true(tw_scan_unsigned(&scan) == i);
    }
    assert_false(tw_scan_item(&scan));
    assert_true(tw_scan_key(&scan, key, sizeof key));
    tw_scan_string(&scan, text, sizeof text);
    assert_string_equal(text, "x\"\\/y");
    assert_false(tw_scan_key(&scan, key, sizeof key));
    tw_scan_end(&scan);
    assert_null(scan.wrong);
}

/* Any value, over which one reads. */
static bool skips(const char *text) {
    struct tw_json_scan scan = scan_of(text);
    tw_scan_skip(&scan);
    tw_scan_end(&scan);
    return !scan.wrong;
}

static void test_skipping(void **state) {
    static const char *const good[] = {
        "1",    "-1.5e+3",       "true",
        "null", "\"\"",          "[]",
        "{}",   "[[],{},[[1]]]", "{\"a\":{\"b\":[1,\"2\",null]},\"c\":false}"};
    static const char *const bad[] = {
        "",   "[",       "]",        "{",   "{\"a\"}", "{\"a\":}", "[1,]",  "[1 2]", "{\"a\":1,}",
        "\"", "\"\\n\"", "\"\x01\"", "1 1", "[}",      "{]",       "{a:1}", ",",     "\"\\u0041\""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!skips(good[i]))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (skips(bad[i]))
            fail_msg("%s is taken", bad[i]);
}

static void test_deep_nesting_ends(void **state) {
    char deep[200];
    memset(deep, '[', sizeof deep);
    struct tw_json_scan scan = tw_json_scan(deep, sizeof deep);
    tw_scan_skip(&scan);
    assert_non_null(scan.wrong);
}

static void test_numbers(void **state) {
    static const char *const bad[] = {"",    "-1",    "1.0",
                                      "1e3", "01",    "18446744073709551616",
                                      "abc", "\"1\"", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tw_json_scan scan = scan_of(bad[i]);
        assert_true(tw_scan_unsigned(&scan) == 0);
        if (!scan.wrong)
            fail_msg("%s is taken", bad[i]);
    }
}

static void test_after_the_first_error_nothing_is_taken(void **state) {
    struct tw_json_scan scan = scan_of("[1,2]");
    char key[4] = "x", text[4] = "x";
    tw_scan_open(&scan, '{');
    assert_string_equal(scan.wrong, "an object");
    assert_false(tw_scan_key(&scan, key, sizeof key));
    assert_false(tw_scan_item(&scan));
    assert_true(tw_scan_unsigned(&scan) == 0);
    tw_scan_string(&scan, text, sizeof text);
    assert_string_equal(text, "");
    assert_string_equal(scan.wrong, "an object");
}

static void test_a_text_that_is_too_long(void **state) {
    struct tw_json_scan scan = scan_of("\"abc\"");
    char text[3];
    tw_scan_string(&scan, text, sizeof text);
    assert_non_null(scan.wrong);
    assert_string_equal(text, "");
}

/* Whoever looks at it before `wrong` finds an end. */
static void test_a_text_that_is_wrong_is_empty(void **state) {
    static const char *const texts[] = {"\"ab\x01\"", "\"ab", "\"ab\\n\"", "ab", ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct tw_json_scan scan = scan_of(texts[i]);
        char text[4] = {'x', 'x', 'x', 'x'};
        tw_scan_string(&scan, text, sizeof text);
        assert_non_null(scan.wrong);
        assert_string_equal(text, "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_object),
        cmocka_unit_test(test_skipping),
        cmocka_unit_test(test_deep_nesting_ends),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_after_the_first_error_nothing_is_taken),
        cmocka_unit_test(test_a_text_that_is_too_long),
        cmocka_unit_test(test_a_text_that_is_wrong_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
