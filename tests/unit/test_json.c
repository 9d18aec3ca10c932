#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "common/base/json.h"

struct fixture {
    struct tw_text text;
    struct tw_json json;
};

static int begin(void **state) {
    static struct fixture fixture;
    fixture.text = (struct tw_text){0};
    tw_json_init(&fixture.json, &fixture.text);
    *state = &fixture;
    return 0;
}

static int end(void **state) {
    struct fixture *fixture = *state;
    tw_text_fini(&fixture->text);
    return 0;
}

static void assert_written(struct fixture *fixture, const char *expected) {
    assert_false(fixture->text.failed);
    assert_int_equal(fixture->json.depth, 0);
    assert_string_equal(fixture->text.at, expected);
}

static void objects_and_arrays_nest(void **state) {
    struct fixture *fixture = *state;
    struct tw_json *json = &fixture->json;
    tw_json_begin_object(json, NULL);
    tw_json_begin_object(json, "empty");
    tw_json_end_object(json);
    tw_json_begin_array(json, "rows");
    for (int i = 0; i < 2; i++) {
        tw_json_begin_object(json, NULL);
        tw_json_integer(json, "n", i);
        tw_json_bool(json, "last", i == 1);
        tw_json_end_object(json);
    }
    tw_json_begin_array(json, NULL);
    tw_json_end_array(json);
    tw_json_end_array(json);
    tw_json_null(json, "after");
    tw_json_end_object(json);
    assert_written(fixture, "{\"empty\":{},\"rows\":[{\"n\":0,\"last\":false},"
                            "{\"n\":1,\"last\":true},[]],\"after\":null}");
}

static void integers_reach_both_ends(void **state) {
    struct fixture *fixture = *state;
    struct tw_json *json = &fixture->json;
    tw_json_begin_array(json, NULL);
    tw_json_integer(json, NULL, INT64_MIN);
    tw_json_integer(json, NULL, INT64_MAX);
    tw_json_unsigned(json, NULL, UINT64_MAX);
    tw_json_end_array(json);
    assert_written(fixture, "[-9223372036854775808,9223372036854775807,18446744073709551615]");
}

static void reals_are_shortest_and_what_json_cannot_say_is_null(void **state) {
    struct fixture *fixture = *state;
    struct tw_json *json = &fixture->json;
    tw_json_begin_array(json, NULL);
    tw_json_real(json, NULL, 0.875);
    tw_json_real(json, NULL, 1e-3);
    tw_json_real(json, NULL, 1e100);
    tw_json_real(json, NULL, NAN);
    tw_json_real(json, NULL, INFINITY);
    tw_json_real(json, NULL, -INFINITY);
    tw_json_end_array(json);
    assert_written(fixture, "[0.875,0.001,1e+100,null,null,null]");
}

static void strings_are_escaped(void **state) {
    struct fixture *fixture = *state;
    tw_json_string(&fixture->json, NULL, "say \"hi\" \\ \b\f\n\r\t \x01\x1f \x7f / caf\xc3\xa9");
    assert_written(fixture,
                   "\"say \\\"hi\\\" \\\\ \\b\\f\\n\\r\\t \\u0001\\u001f \x7f / caf\xc3\xa9\"");
}

static void wrong_utf8_becomes_the_replacement_character(void **state) {
    struct fixture *fixture = *state;
    tw_json_string(&fixture->json, NULL, "a\xff\xc3(\xe2\x82");
    assert_written(fixture, "\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void string_bytes_may_hold_zeros_and_need_no_end(void **state) {
    struct fixture *fixture = *state;
    struct tw_json *json = &fixture->json;
    tw_json_begin_array(json, NULL);
    tw_json_string_bytes(json, NULL, "a\0bXX", 3);
    tw_json_string_bytes(json, NULL, NULL, 0);
    tw_json_string(json, NULL, NULL);
    tw_json_end_array(json);
    assert_written(fixture, "[\"a\\u0000b\",\"\",null]");
}

static void keys_are_escaped_too(void **state) {
    struct fixture *fixture = *state;
    tw_json_begin_object(&fixture->json, NULL);
    tw_json_integer(&fixture->json, "a\"\n", 1);
    tw_json_integer(&fixture->json, "", 2);
    tw_json_end_object(&fixture->json);
    assert_written(fixture, "{\"a\\\"\\n\":1,\"\":2}");
}

static void it_appends_to_what_is_there(void **state) {
    struct fixture *fixture = *state;
    tw_text_add(&fixture->text, "line: ");
    tw_json_bool(&fixture->json, NULL, true);
    tw_text_add(&fixture->text, "\n");
    assert_written(fixture, "line: true\n");
}

static void it_nests_as_deep_as_it_says(void **state) {
    struct fixture *fixture = *state;
    for (int i = 0; i < TW_JSON_DEPTH_MAX; i++)
        tw_json_begin_array(&fixture->json, NULL);
    for (int i = 0; i < TW_JSON_DEPTH_MAX; i++)
        tw_json_end_array(&fixture->json);
    assert_int_equal(fixture->text.size, 2 * TW_JSON_DEPTH_MAX);
    assert_int_equal(strspn(fixture->text.at, "["), TW_JSON_DEPTH_MAX);
    assert_int_equal(strspn(fixture->text.at + TW_JSON_DEPTH_MAX, "]"), TW_JSON_DEPTH_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(objects_and_arrays_nest),
        TEST(integers_reach_both_ends),
        TEST(reals_are_shortest_and_what_json_cannot_say_is_null),
        TEST(strings_are_escaped),
        TEST(wrong_utf8_becomes_the_replacement_character),
        TEST(string_bytes_may_hold_zeros_and_need_no_end),
        TEST(keys_are_escaped_too),
        TEST(it_appends_to_what_is_there),
        TEST(it_nests_as_deep_as_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
