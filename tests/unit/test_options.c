#include "tests/unit/job_desk.h"

#include <math.h>

static const char *const colors[] = {"red", "green", "blue", NULL};

struct sample {
    int64_t count, plain;
    double rate, share;
    bool flag;
    int color;
    const char *file;
    struct tw_option_list list;
    const char *text, *words;
};

static const struct tw_option_rule rules[] = {
    {.key = "count",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct sample, count),
     .fallback = 7,
     .min = 1,
     .max = 100},
    {.key = "plain", .type = TW_OPTION_INTEGER, .offset = offsetof(struct sample, plain)},
    {.key = "rate",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct sample, rate),
     .fallback = 0.5,
     .max = INFINITY,
     .min_open = true},
    {.key = "share",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct sample, share),
     .max = 1,
     .max_open = true},
    {.key = "flag", .type = TW_OPTION_BOOL, .offset = offsetof(struct sample, flag), .fallback = 1},
    {.key = "color",
     .type = TW_OPTION_ENUM,
     .offset = offsetof(struct sample, color),
     .fallback = 2,
     .names = colors},
    {.key = "file", .type = TW_OPTION_PATH, .offset = offsetof(struct sample, file)},
    {.key = "list", .type = TW_OPTION_LIST, .offset = offsetof(struct sample, list), .max = 100},
    {.key = "text", .type = TW_OPTION_TEXT, .offset = offsetof(struct sample, text)},
    {.key = "words", .type = TW_OPTION_WORDS, .offset = offsetof(struct sample, words)},
};
enum { RULES = sizeof rules / sizeof *rules };

static enum tw_status read_one(const char *key, const char *text, bool quoted, struct sample *out,
                               struct tw_error *error) {
    struct tw_option option = {
        .key = key, .text = text, .quoted = quoted, .where = {"job.yaml", 12}};
    struct tw_variant variant = {"thing", {"job.yaml", 11}, "some.thing", 1, &option};
    memset(out, 0x55, sizeof *out);
    return tw_options_read(&variant, rules, RULES, out, error);
}

static void refused(const char *key, const char *text, const char *message) {
    struct sample sample;
    struct tw_error error = {0};
    assert_int_equal(read_one(key, text, false, &sample, &error), TW_JOB);
    assert_memory_equal(error.text, "job.yaml:12: some.thing.", 24);
    assert_string_equal(error.text + 24, message);
}

static struct sample accepted(const char *key, const char *text) {
    struct sample sample;
    struct tw_error error = {0};
    if (read_one(key, text, false, &sample, &error) != TW_OK)
        fail_msg("refused: %s", error.text);
    return sample;
}

static void defaults_fill_what_was_not_said(void **state) {
    struct sample sample = accepted("plain", "-3");
    assert_int_equal(sample.plain, -3);
    assert_int_equal(sample.count, 7);
    assert_true(sample.rate == 0.5);
    assert_true(sample.share == 0);
    assert_true(sample.flag);
    assert_int_equal(sample.color, 2);
    assert_null(sample.file);
}

static void an_argument_without_a_key_goes_to_the_first_rule(void **state) {
    assert_int_equal(accepted("", "42").count, 42);
    refused("", "0", "count: 0 is out of range; it must be a whole number from 1 to 100");
}

static void whole_numbers_are_never_cut(void **state) {
    assert_int_equal(accepted("count", "100").count, 100);
    assert_int_equal(accepted("count", "+1").count, 1);
    assert_true(accepted("plain", "-9223372036854775808").plain == INT64_MIN);
    assert_true(accepted("plain", "9223372036854775807").plain == INT64_MAX);
    refused("plain", "9223372036854775808",
            "plain: 9223372036854775808 is out of range; it must be a whole number that fits in "
            "64 bits");
    refused("count", "101", "count: 101 is out of range; it must be a whole number from 1 to 100");
    refused("count", "-1", "count: -1 is out of range; it must be a whole number from 1 to 100");
    refused("count", "abc", "count: \"abc\" is not a whole number; it must be one from 1 to 100");
    refused("count", "1.5", "count: \"1.5\" is not a whole number; it must be one from 1 to 100");
    refused("count", "5 5", "count: \"5 5\" is not a whole number; it must be one from 1 to 100");
    refused("count", "0x5", "count: \"0x5\" is not a whole number; it must be one from 1 to 100");
    refused("count", "+-5", "count: \"+-5\" is not a whole number; it must be one from 1 to 100");
    refused("count", "-", "count: \"-\" is not a whole number; it must be one from 1 to 100");
    refused("count", "1e1", "count: write \"1e1\" in plain digits: 10");
    refused("count", "010", "count: write \"010\" in plain digits: 10");
    refused("plain", "x", "plain: \"x\" is not a whole number; write one such as 10");
}

static void lists_are_numbers_within_the_limits(void **state) {
    struct tw_option_list list = accepted("list", "[30, 60.5,80]").list;
    assert_int_equal(list.count, 3);
    assert_true(list.at[0] == 30 && list.at[1] == 60.5 && list.at[2] == 80);
    list = accepted("list", "7").list;
    assert_true(list.count == 1 && list.at[0] == 7);
    refused("list", "[1, 101]",
            "list: 101 is not right in this list; each must be a number from 0 to 100, without "
            "quotes");
    refused("list", "[1, x]",
            "list: x is not right in this list; each must be a number from 0 to 100, without "
            "quotes");
    refused(
        "list", "[,]",
        "list:  is not right in this list; each must be a number from 0 to 100, without quotes");
    refused("list", "[]", "list: an empty list; write numbers, such as [1, 2]");
    char many[2 * (TW_OPTION_LIST_MAX + 1) + 2] = "[";
    for (int i = 0; i <= TW_OPTION_LIST_MAX; i++)
        memcpy(many + 1 + 2 * (size_t)i, i < TW_OPTION_LIST_MAX ? "1," : "1]", 2);
    refused("list", many, "list: more than 64 numbers in one list");
    assert_int_equal(accepted("plain", "1").list.count, 0);
}

static void only_a_list_takes_a_list(void **state) {
    struct sample sample;
    struct tw_error error;
    struct tw_option option = {
        .key = "rate", .text = "[1]", .is_list = true, .where = {"job.yaml", 12}};
    struct tw_variant variant = {"thing", {"job.yaml", 11}, "some.thing", 1, &option};
    assert_int_equal(tw_options_read(&variant, rules, RULES, &sample, &error), TW_JOB);
    assert_string_equal(error.text, "job.yaml:12: some.thing.rate: a list where one value should "
                                    "stand; write key: value");
}

static void reals_are_finite_numbers(void **state) {
    assert_true(accepted("rate", "1e-3").rate == 0.001);
    assert_true(accepted("rate", "0.001").rate == 0.001);
    assert_true(accepted("rate", "+.5E+1").rate == 5);
    assert_true(accepted("rate", "3.").rate == 3);
    assert_true(accepted("share", "0").share == 0);
    assert_true(accepted("share", "0.0e-999").share == 0);
    refused("rate", "0", "rate: 0 is out of range; it must be a number above 0");
    refused("share", "1",
            "share: 1 is out of range; it must be a number of at least 0 and below 1");
    refused("share", "-1e-9",
            "share: -1e-9 is out of range; it must be a number of at least 0 and below 1");
    refused("rate", "1e999", "rate: 1e999 is out of range; it must be a number above 0");
    refused("rate", "1e-999", "rate: 1e-999 is out of range; it must be a number above 0");
    refused("share", "-1e-999",
            "share: -1e-999 is out of range; it must be a number of at least 0 and below 1");
    static const char *const wrong[] = {"nan", ".nan", "inf",   ".inf", "0x1p3", "1e",      "e3",
                                        ".",   "1,5",  "1_000", "--1",  "1 ",    "infinity"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char message[100];
        snprintf(message, sizeof message, "rate: \"%s\" is not a number; it must be one above 0",
                 wrong[i]);
        refused("rate", wrong[i], message);
    }
}

static void only_true_and_false_are_booleans(void **state) {
    assert_true(accepted("flag", "true").flag);
    assert_false(accepted("flag", "false").flag);
    static const char *const wrong[] = {"yes", "no", "on", "1", "0", "True", "FALSE", "y"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char message[100];
        snprintf(message, sizeof message,
                 "flag: \"%s\" is neither true nor false; write one of the two, without quotes",
                 wrong[i]);
        refused("flag", wrong[i], message);
    }
}

static void names_are_told_with_the_nearest(void **state) {
    assert_int_equal(accepted("color", "green").color, 1);
    refused("color", "gren",
            "color: \"gren\" is not known here; did you mean \"green\"? it must be one of red, "
            "green, blue");
    refused("color", "ultramarine",
            "color: \"ultramarine\" is not known here; it must be one of red, green, blue");
}

static void quotes_make_text(void **state) {
    struct sample sample;
    struct tw_error error = {0};
    assert_int_equal(read_one("count", "12", true, &sample, &error), TW_JOB);
    assert_string_equal(error.text, "job.yaml:12: some.thing.count: \"12\" in quotes is text; "
                                    "write the whole number without quotes");
    assert_int_equal(read_one("rate", "1.5", true, &sample, &error), TW_JOB);
    assert_string_equal(error.text, "job.yaml:12: some.thing.rate: \"1.5\" in quotes is text; "
                                    "write the number without quotes");
    assert_int_equal(read_one("flag", "true", true, &sample, &error), TW_JOB);
    assert_string_equal(error.text, "job.yaml:12: some.thing.flag: \"true\" in quotes is neither "
                                    "true nor false; write one of the two, without quotes");
    assert_int_equal(read_one("color", "blue", true, &sample, &error), TW_OK);
}

static void unknown_keys_are_told_with_the_nearest_and_all(void **state) {
    refused("cuont", "3",
            "cuont: unknown key; did you mean \"count\"? known: count, plain, rate, share, flag, "
            "color, file, list, text, words");
    refused("learning", "3",
            "learning: unknown key; known: count, plain, rate, share, flag, color, file, list, "
            "text, words");
}

static void a_variant_without_options_says_so(void **state) {
    struct tw_option option = {.key = "size", .text = "3", .where = {"job.yaml", 5}};
    struct tw_variant variant = {"relu", {"job.yaml", 4}, "model.layers[2]", 1, &option};
    struct tw_error error = {0};
    assert_int_equal(tw_options_read(&variant, NULL, 0, NULL, &error), TW_JOB);
    assert_string_equal(error.text, "job.yaml:5: model.layers[2].size: relu has no options; write "
                                    "its name alone");
    option.key = "";
    assert_int_equal(tw_options_read(&variant, NULL, 0, NULL, &error), TW_JOB);
    assert_string_equal(error.text,
                        "job.yaml:5: model.layers[2]: relu has no options; write its name alone");
}

static void what_is_required_is_missed(void **state) {
    struct tw_variant variant = {"dense", {"job.yaml", 4}, "model.layers[1]", 0, NULL};
    struct tw_error error = {0};
    int64_t out;
    assert_int_equal(tw_options_read(&variant, desk_dense, 1, &out, &error), TW_JOB);
    assert_string_equal(error.text, "job.yaml:4: model.layers[1].units: missing; dense needs it "
                                    "(how many outputs)");
}

static void paths_are_the_absolute_ones(void **state) {
    struct tw_option option = {
        .key = "file", .text = "a", .path = "/x/a", .where = {"job.yaml", 5}};
    struct tw_variant variant = {"thing", {"job.yaml", 4}, "data.train", 1, &option};
    struct sample sample;
    assert_int_equal(tw_options_read(&variant, rules, RULES, &sample, NULL), TW_OK);
    assert_string_equal(sample.file, "/x/a");
    refused("file", "", "file: an empty path; name a file");
}

static void the_nearest_name_is_near(void **state) {
    static const char *const names[] = {"sgd", "momentum", "nesterov", "adam", "lr"};
    const struct {
        const char *word, *nearest;
    } cases[] = {
        {"adm", "adam"},
        {"ADAM", "adam"},
        {"amad", "adam"},
        {"momentun", "momentum"},
        {"mometnum", "momentum"},
        {"nestrov", "nesterov"},
        {"sg", "sgd"},
        {"sdg", "sgd"},
        {"l", "lr"},
        {"x", NULL},
        {"", NULL},
        {"zzzzzzzz", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *nearest = tw_nearest_name(cases[i].word, names, 5, sizeof *names);
        if (cases[i].nearest)
            assert_string_equal(nearest, cases[i].nearest);
        else
            assert_null(nearest);
    }
    char longest[4096];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(tw_nearest_name(longest, names, 5, sizeof *names));
}

static void names_may_stand_in_any_struct(void **state) {
    static const struct {
        const char *name;
        int other[7];
    } table[] = {{"sgd", {0}}, {"adam", {0}}};
    struct tw_variant variant = {"adm", {"job.yaml", 9}, "optimizer", 0, NULL};
    struct tw_error error = {0};
    assert_int_equal(tw_unknown_variant(&variant, "optimizer", table, 2, sizeof *table, &error),
                     TW_JOB);
    assert_string_equal(error.text, "job.yaml:9: optimizer: unknown optimizer \"adm\"; did you "
                                    "mean \"adam\"? known: sgd, adam");
}

static void long_text_is_cut_and_cleaned(void **state) {
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct sample sample;
    struct tw_error error = {0};
    assert_int_equal(read_one("count", text, false, &sample, &error), TW_JOB);
    assert_non_null(strstr(error.text, "xxx...\" is not a whole number; it must be one from"));
    refused("count", "a\033b",
            "count: \"a?b\" is not a whole number; it must be one from 1 to 100");
}

static void words_come_one_by_one(void **state) {
    static const struct {
        const char *text;
        bool list;
        const char *expected;
    } rows[] = {
        {"[\"age\", \"a \\\"b\\\\, c]\", 3]", true, "age|a \"b\\, c]|3|"},
        {"[4, 5.5]", true, "4|5.5|"},
        {"one, word]", false, "one, word]|"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tw_option option = {.key = "words", .text = rows[i].text, .is_list = rows[i].list};
        struct tw_variant variant = {
            .name = "thing", .path = "thing", .count = 1, .options = &option};
        struct sample sample;
        struct tw_error error;
        char word[16], all[64] = "";
        assert_int_equal(tw_options_read(&variant, rules, RULES, &sample, &error), TW_OK);
        while (tw_words_next(&sample.words, word, sizeof word))
            snprintf(all + strlen(all), sizeof all - strlen(all), "%s|", word);
        assert_string_equal(all, rows[i].expected);
        assert_null(sample.text); /* which was not given */
    }
    char word[4];
    const char *long_one = "abcdefgh", *none = NULL;
    assert_true(tw_words_next(&long_one, word, sizeof word));
    assert_string_equal(word, "abc");
    assert_false(tw_words_next(&long_one, word, sizeof word));
    assert_false(tw_words_next(&none, word, sizeof word));
    refused("words", "[a", "words: \"[a\" begins with a bracket; write it in a list, [\"[a\"]");
    refused("text", "", "text: an empty text; take the key out, or name something");
}

static void an_empty_list_names_nothing(void **state) {
    static const char *const keys[] = {"words", "list"};
    for (size_t i = 0; i < 2; i++) {
        struct tw_option option = {.key = keys[i], .text = "[]", .is_list = true};
        struct tw_variant variant = {
            .name = "thing", .path = "thing", .count = 1, .options = &option};
        struct sample sample;
        struct tw_error error = {0};
        assert_int_equal(tw_options_read(&variant, rules, RULES, &sample, &error), TW_JOB);
        assert_non_null(strstr(error.text, "an empty list; "));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_was_not_said),
        cmocka_unit_test(an_argument_without_a_key_goes_to_the_first_rule),
        cmocka_unit_test(whole_numbers_are_never_cut),
        cmocka_unit_test(lists_are_numbers_within_the_limits),
        cmocka_unit_test(only_a_list_takes_a_list),
        cmocka_unit_test(reals_are_finite_numbers),
        cmocka_unit_test(only_true_and_false_are_booleans),
        cmocka_unit_test(names_are_told_with_the_nearest),
        cmocka_unit_test(quotes_make_text),
        cmocka_unit_test(unknown_keys_are_told_with_the_nearest_and_all),
        cmocka_unit_test(a_variant_without_options_says_so),
        cmocka_unit_test(what_is_required_is_missed),
        cmocka_unit_test(paths_are_the_absolute_ones),
        cmocka_unit_test(the_nearest_name_is_near),
        cmocka_unit_test(names_may_stand_in_any_struct),
        cmocka_unit_test(long_text_is_cut_and_cleaned),
        cmocka_unit_test(words_come_one_by_one),
        cmocka_unit_test(an_empty_list_names_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
