#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/status.h"

static void every_status_has_its_number_name_and_text(void **state) {
    int count = 0;
#define X(code, number, name, text)                                                                \
    assert_int_equal(code, number);                                                                \
    assert_string_equal(tw_status_name(number), name);                                             \
    assert_string_equal(tw_status_text(number), text);                                             \
    assert_int_equal(number, count++); /* append only, without holes */
    TW_STATUS_LIST(X)
#undef X
}

static void a_number_outside_the_list_is_unknown(void **state) {
    static const int outside[] = {-1, 27, 1 << 30, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        assert_string_equal(tw_status_name(outside[i]), "unknown");
        assert_non_null(tw_status_text(outside[i]));
    }
}

static void set_formats_and_returns_the_status(void **state) {
    struct tw_error error;
    assert_int_equal(tw_error_set(&error, TW_DATA, "file %s: %d labels", "a.gz", 7), TW_DATA);
    assert_int_equal(error.status, TW_DATA);
    assert_string_equal(error.text, "file a.gz: 7 labels");
}

static void set_without_an_error_returns_the_status(void **state) {
    assert_int_equal(tw_error_set(NULL, TW_IO, "nobody reads %s", "this"), TW_IO);
}

static void wrap_puts_what_the_caller_knows_in_front(void **state) {
    struct tw_error error;
    tw_error_set(&error, TW_IO, "Permission denied");
    assert_int_equal(tw_error_wrap(&error, "token file %s", "secret"), TW_IO);
    assert_int_equal(tw_error_wrap(&error, "worker %d", 3), TW_IO);
    assert_string_equal(error.text, "worker 3: token file secret: Permission denied");
}

static void an_argument_may_be_the_old_message(void **state) {
    struct tw_error error;
    tw_error_set(&error, TW_IO, "old");
    tw_error_set(&error, TW_JOB, "new, not %s", error.text);
    assert_string_equal(error.text, "new, not old");
    tw_error_wrap(&error, "%s again", error.text);
    assert_string_equal(error.text, "new, not old again: new, not old");
}

static void a_long_message_is_cut_and_shows_it(void **state) {
    struct tw_error error;
    char big[2 * TW_ERROR_TEXT];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    tw_error_set(&error, TW_JOB, "%s", big);
    assert_int_equal(strlen(error.text), TW_ERROR_TEXT - 1);
    assert_string_equal(error.text + TW_ERROR_TEXT - 5, "x...");
    tw_error_wrap(&error, "job");
    assert_int_equal(strlen(error.text), TW_ERROR_TEXT - 1);
    assert_memory_equal(error.text, "job: xxx", 8);
    assert_string_equal(error.text + TW_ERROR_TEXT - 5, "x...");
    tw_error_wrap(&error, "%s", big); /* a prefix that leaves no room */
    assert_int_equal(strlen(error.text), TW_ERROR_TEXT - 1);
    assert_memory_equal(error.text, "xxx", 3);
}

static void a_message_exactly_as_long_as_the_room_is_whole(void **state) {
    struct tw_error error;
    char full[TW_ERROR_TEXT];
    memset(full, 'x', sizeof full - 1);
    full[sizeof full - 1] = '\0';
    tw_error_set(&error, TW_JOB, "%s", full);
    assert_string_equal(error.text, full);
}

static void a_cut_leaves_no_half_character(void **state) {
    struct tw_error error;
    char big[2 * TW_ERROR_TEXT] = "";
    /* Each offset of a two-byte character to the place of the cut. */
    for (int shift = 0; shift < 2; shift++) {
        memset(big, 'x', sizeof big);
        for (size_t i = (size_t)shift; i + 2 < sizeof big; i += 2)
            memcpy(big + i, "\xc3\xa9", 2);
        big[sizeof big - 1 - (size_t)shift] = '\0';
        tw_error_set(&error, TW_JOB, "%s", big);
        size_t size = strlen(error.text);
        assert_string_equal(error.text + size - 3, "...");
        assert_int_equal((unsigned char)error.text[size - 4], 0xa9);
    }
}

static void control_characters_of_a_peer_become_question_marks(void **state) {
    struct tw_error error;
    tw_error_set(&error, TW_WRONG_JOB, "peer \"%s\"", "a\033[2J\r\nb\x7f\xc2\x9b");
    assert_string_equal(error.text, "peer \"a?[2J??b???\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_number_name_and_text),
        cmocka_unit_test(a_number_outside_the_list_is_unknown),
        cmocka_unit_test(set_formats_and_returns_the_status),
        cmocka_unit_test(set_without_an_error_returns_the_status),
        cmocka_unit_test(wrap_puts_what_the_caller_knows_in_front),
        cmocka_unit_test(an_argument_may_be_the_old_message),
        cmocka_unit_test(a_long_message_is_cut_and_shows_it),
        cmocka_unit_test(a_message_exactly_as_long_as_the_room_is_whole),
        cmocka_unit_test(a_cut_leaves_no_half_character),
        cmocka_unit_test(control_characters_of_a_peer_become_question_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
