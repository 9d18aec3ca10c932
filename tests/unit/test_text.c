#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/text.h"

static void additions_follow_each_other(void **state) {
    struct tw_text text = {0};
    tw_text_add(&text, "%d workers", 3);
    tw_text_add_bytes(&text, ", ", 2);
    tw_text_add_real(&text, 0.1);
    tw_text_add(&text, "%s", "");
    tw_text_add_bytes(&text, NULL, 0);
    assert_string_equal(text.at, "3 workers, 0.1");
    assert_int_equal(text.size, strlen(text.at));
    assert_false(text.failed);
    tw_text_fini(&text);
    tw_text_fini(&text);
    assert_null(text.at);
}

static void it_grows_far_beyond_its_first_room(void **state) {
    struct tw_text text = {0};
    for (int i = 0; i < 10000; i++)
        tw_text_add(&text, "%04d ", i);
    assert_int_equal(text.size, 50000);
    assert_memory_equal(text.at, "0000 0001 ", 10);
    assert_string_equal(text.at + 49995, "9999 ");
    tw_text_fini(&text);
}

static void bytes_may_hold_zeros(void **state) {
    struct tw_text text = {0};
    tw_text_add_bytes(&text, "a\0b", 3);
    tw_text_add(&text, "c");
    assert_int_equal(text.size, 4);
    assert_memory_equal(text.at, "a\0bc", 5);
    tw_text_fini(&text);
}

static void out_of_memory_is_remembered(void **state) {
    struct tw_text text = {0};
    tw_text_add(&text, "kept");
    tw_text_add_bytes(&text, "x", SIZE_MAX - 2); /* no such size: nothing is read */
    assert_true(text.failed);
    tw_text_add(&text, "lost");
    tw_text_add_bytes(&text, "lost", 4);
    assert_string_equal(text.at, "kept");
    assert_null(tw_text_take(&text, NULL));
    assert_false(text.failed); /* taken: empty and usable again */
    tw_text_add(&text, "new");
    assert_string_equal(text.at, "new");
    tw_text_fini(&text);
}

static void take_hands_the_memory_over(void **state) {
    struct tw_text text = {0};
    size_t size = 99;
    tw_text_add(&text, "mine");
    char *taken = tw_text_take(&text, &size);
    assert_string_equal(taken, "mine");
    assert_int_equal(size, 4);
    assert_null(text.at);
    free(taken);
    taken = tw_text_take(&text, &size); /* of an empty text: an empty string */
    assert_string_equal(taken, "");
    assert_int_equal(size, 0);
    free(taken);
}

static void clear_keeps_the_room(void **state) {
    struct tw_text text = {0};
    tw_text_add(&text, "first");
    size_t room = text.room;
    tw_text_clear(&text);
    assert_string_equal(text.at, "");
    tw_text_add(&text, "2nd");
    assert_string_equal(text.at, "2nd");
    assert_int_equal(text.room, room);
    tw_text_fini(&text);
    tw_text_clear(&text); /* of a text that holds nothing */
}

static void assert_real(double value, const char *expected) {
    char out[TW_REAL_TEXT];
    assert_string_equal(tw_real_text(value, out), expected);
}

static void numbers_are_as_short_as_they_can_be(void **state) {
    assert_real(0.0, "0");
    assert_real(-0.0, "-0");
    assert_real(1.0, "1");
    assert_real(10.0, "10");
    assert_real(-200000.0, "-200000");
    assert_real(0.1, "0.1");
    assert_real(0.001, "0.001");
    assert_real(1e-8, "1e-08");
    assert_real(0.1 + 0.2, "0.30000000000000004");
    assert_real(1e22, "1e+22");
    assert_real(-2.5, "-2.5");
    assert_real(DBL_MAX, "1.7976931348623157e+308");
    assert_real(-DBL_TRUE_MIN, "-5e-324");
    assert_real(NAN, "nan");
    assert_real(INFINITY, "inf");
    assert_real(-INFINITY, "-inf");
}

static void every_number_reads_back_exactly(void **state) {
    struct tw_rng rng;
    tw_rng_init(&rng, 1, TW_STREAM_NOISE, 0, 0);
    for (int i = 0; i < 20000; i++) {
        char out[TW_REAL_TEXT];
        uint64_t bits = tw_rng_next(&rng);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            assert_true(strtod(tw_real_text(value, out), NULL) == value);
    }
}

/* Runs only where such a locale is installed; libtalweg's host may have set one. */
static void a_point_stays_a_point_in_every_locale(void **state) {
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8",
                                          "ps_AF.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < sizeof locales / sizeof *locales && !found; i++)
        found = setlocale(LC_NUMERIC, locales[i]) != NULL;
    if (!found)
        skip();
    assert_string_not_equal(localeconv()->decimal_point, ".");
    assert_real(0.25, "0.25");
    assert_real(-1.5e-9, "-1.5e-09");
    setlocale(LC_NUMERIC, "C");
}

static void utf8_is_measured(void **state) {
    assert_int_equal(tw_utf8_length("a", 1), 1);
    assert_int_equal(tw_utf8_length("\0", 1), 1);
    assert_int_equal(tw_utf8_length("\xc3\xa9z", 3), 2);
    assert_int_equal(tw_utf8_length("\xe2\x82\xac", 3), 3);
    assert_int_equal(tw_utf8_length("\xed\x9f\xbf", 3), 3);
    assert_int_equal(tw_utf8_length("\xf0\x9f\x92\xa9", 4), 4);
    assert_int_equal(tw_utf8_length("\xf4\x8f\xbf\xbf", 4), 4);
}

static void wrong_utf8_has_no_length(void **state) {
    static const char *const wrong[] = {
        "\x80",             /* continuation first */
        "\xc3",             /* cut off: a zero follows */
        "\xc0\xaf",         /* overlong */
        "\xc1\xbf",         /* overlong */
        "\xe0\x80\xaf",     /* overlong */
        "\xf0\x80\x80\xaf", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xe2\x28\xa1",
        "\xe2\x82\x28",
        "\xf0\x9f\x92\x28",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(tw_utf8_length(wrong[i], strlen(wrong[i])), 0);
    assert_int_equal(tw_utf8_length("\xe2\x82\xac", 2), 0);
    assert_int_equal(tw_utf8_length("a", 0), 0);
}

static void clean_leaves_what_people_can_read(void **state) {
    char text[] = "a\tb\nc\x1b[1m\xc3\xa9\xc2\x85\xc2\xa0\x7f";
    tw_text_clean(text);
    assert_string_equal(text, "a?b?c?[1m\xc3\xa9??\xc2\xa0?");
    char cut[] = "x\xc2";
    tw_text_clean(cut);
    assert_string_equal(cut, "x?");
    char wrong[] = "\xb2 \xe2\x82\xac \xe2\x82 \xc0\xaf";
    tw_text_clean(wrong);
    assert_string_equal(wrong, "? \xe2\x82\xac ?? ??");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(additions_follow_each_other),
        cmocka_unit_test(it_grows_far_beyond_its_first_room),
        cmocka_unit_test(bytes_may_hold_zeros),
        cmocka_unit_test(out_of_memory_is_remembered),
        cmocka_unit_test(take_hands_the_memory_over),
        cmocka_unit_test(clear_keeps_the_room),
        cmocka_unit_test(numbers_are_as_short_as_they_can_be),
        cmocka_unit_test(every_number_reads_back_exactly),
        cmocka_unit_test(a_point_stays_a_point_in_every_locale),
        cmocka_unit_test(utf8_is_measured),
        cmocka_unit_test(wrong_utf8_has_no_length),
        cmocka_unit_test(clean_leaves_what_people_can_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
