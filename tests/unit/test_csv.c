/* CSV: what is read, and how each kind of wrong file is refused. */
#include "tests/unit/data_desk.h"

#include <math.h>

#include "worker/data/prepare.h"
#include "worker/data/source.h"
#include "worker/data/vocabulary.h"

#define OPEN(desk, text, ...)                                                                      \
    desk_parse(desk, "csv", NULL, text, (const char *const[]){"file", "t.csv", __VA_ARGS__, NULL})

static void good(struct desk_data *desk, enum tw_status status) {
    if (status != TW_OK)
        fail_msg("%s", desk->error.text);
}

/* "job.yaml:12: data.train: t.csv" and the message. */
static void refused(const char *text, const char *const *pairs, const char *message) {
    struct desk_data desk;
    char expected[512];
    snprintf(expected, sizeof expected, "job.yaml:12: data.train: t.csv%s", message);
    assert_int_equal(desk_parse(&desk, "csv", NULL, text, pairs), TW_DATA);
    assert_null(desk.set);
    assert_string_equal(desk.error.text, expected);
}

#define REFUSED(text, message, ...)                                                                \
    refused(text, (const char *const[]){"file", "t.csv", __VA_ARGS__, NULL}, message)

static void check_samples(const struct tw_dataset *set, uint32_t rows, int elements,
                          const float *expected) {
    assert_int_equal(set->count, rows);
    assert_int_equal(set->elements, elements);
    assert_memory_equal(set->rows, expected, rows * (size_t)elements * sizeof *expected);
}

static void numbers_and_a_target(void **state) {
    static const float expected[] = {1, 2.5f, -3e-2f, 4};
    static const char *const texts[] = {
        "a,y,b\n1,10,2.5\n-3e-2,20,4\n",   /* plain */
        "a,y,b\r\n1,10,2.5\r\n-3e-2,20,4", /* CRLF, and no end of the last line */
        "\xef\xbb\xbf"
        "a,y,b\n1,10,2.5\n\n-3e-2,20,4\n\n", /* a mark, empty lines */
        "\xef\xbb\xbf\n \n\na,y,b\n\n1,10,2.5\n-3e-2,20,4\n",
        "\"a\",\"y\",\"b\"\n\"1\",\"10\" , 2.5 \n-3e-2,20,\"4\"\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct desk_data desk;
        good(&desk, OPEN(&desk, texts[i], "target", "y"));
        check_samples(desk.set, 2, 2, expected);
        assert_int_equal(desk.set->outputs, 1);
        assert_true(desk.set->targets[0] == 10 && desk.set->targets[1] == 20);
        tw_dataset_free(desk.set);
    }
}

static void columns_are_chosen_by_name_or_number(void **state) {
    const char *text = "a;b;c;d\n1;2;3;4\n5;6;7;8\n";
    struct desk_data desk;
    good(&desk,
         OPEN(&desk, text, "target", "[\"d\", \"a\"]", "features", "[\"c\"]", "delimiter", ";"));
    check_samples(desk.set, 2, 1, (const float[]){3, 7});
    assert_int_equal(desk.set->outputs, 2); /* in the order of the file */
    assert_memory_equal(desk.set->targets, ((const float[]){1, 4, 5, 8}), 16);
    tw_dataset_free(desk.set);
    good(&desk, OPEN(&desk, text + 8, "target", "4", "ignore", "[2]", "delimiter", ";", "header",
                     "false"));
    check_samples(desk.set, 2, 2, (const float[]){1, 3, 5, 7});
    tw_dataset_free(desk.set);
    good(&desk, OPEN(&desk, "1\t2\n", "target", "1", "delimiter", "tab", "header", "false"));
    check_samples(desk.set, 1, 1, (const float[]){2});
    tw_dataset_free(desk.set);
}

static const char houses[] = "rooms,town,kind\n3,Ulm,\"a \"\"b\"\", c\"\n4,Bonn,x\n5,Ulm,x\n";

static void categories_become_elements(void **state) {
    struct desk_data desk, test;
    good(&desk, OPEN(&desk, houses, "target", "kind", "targets", "classes", "categories", "town"));
    check_samples(desk.set, 3, 3, (const float[]){3, 0, 1, 4, 1, 0, 5, 0, 1}); /* Bonn, Ulm */
    assert_memory_equal(desk.set->labels, ((const int32_t[]){0, 1, 1}), 12);
    assert_string_equal(desk.set->words->at[1].words[0], "a \"b\", c");
    /* Test data has the numbers of the training data, in whatever order its words come. */
    const char *const pairs[] = {"file",    "t.csv",      "target", "kind", "targets",
                                 "classes", "categories", "town",   NULL};
    good(&test, desk_parse(&test, "csv", desk.set, "rooms,town,kind\n9,Ulm,x\n", pairs));
    check_samples(test.set, 1, 3, (const float[]){9, 0, 1});
    assert_int_equal(test.set->labels[0], 1);
    tw_dataset_free(test.set);
    assert_int_equal(desk_parse(&test, "csv", desk.set, "rooms,town,kind\n9,Rom,x\n", pairs),
                     TW_DATA);
    assert_string_equal(test.error.text,
                        "job.yaml:12: data.train: t.csv:2: column 2 (town): \"Rom\" does not occur "
                        "in this column of the training data");
    tw_dataset_free(desk.set);
}

static void words_may_be_numbers(void **state) {
    struct desk_data desk;
    good(&desk, OPEN(&desk, "a,y\n10,1\n9,1\n-1,2\n", "target", "y", "indices", "a"));
    check_samples(desk.set, 3, 1, (const float[]){2, 1, 0}); /* -1, 9, 10 */
    tw_dataset_free(desk.set);
}

static const char holes[] = "a,b,y\n1,red,1\n,blue,2\n4,?,3\n";

static void what_is_missing_is_done_as_said(void **state) {
    struct desk_data desk;
    struct tw_preparation p;
    float x[3];
    REFUSED(
        holes,
        ":3: column 1 (a): \"\" is missing; say what becomes of it: missing: mean, zero or skip",
        "target", "y", "categories", "b");
    good(&desk, OPEN(&desk, holes, "target", "y", "categories", "b", "missing", "skip"));
    check_samples(desk.set, 1, 2, (const float[]){1, 1}); /* nothing is left that is blue */
    assert_true(desk.set->targets[0] == 1);
    tw_dataset_free(desk.set);
    good(&desk, OPEN(&desk, holes, "target", "y", "categories", "b", "missing", "zero"));
    check_samples(desk.set, 3, 3, (const float[]){1, 0, 1, 0, 1, 0, 4, 0, 0}); /* blue, red */
    assert_false(desk.set->missing);
    tw_dataset_free(desk.set);
    good(&desk, OPEN(&desk, holes, "target", "y", "categories", "b", "missing", "mean"));
    assert_true(desk.set->missing && isnan(desk_at(desk.set, 1, 0)) &&
                isnan(desk_at(desk.set, 2, 1)));
    assert_int_equal(tw_prepare(&p, desk.set, false, &desk.error), TW_OK);
    desk.set->preparation = &p;
    tw_dataset_gather(desk.set, (const uint32_t[]){2}, 1,
                      &(struct tw_batch){.x = x, .targets = &(float){0}});
    assert_true(x[0] == 4 && x[1] == 0.5f && x[2] == 0.5f);
    tw_preparation_fini(&p);
    tw_dataset_free(desk.set);
    REFUSED("a,y\n1,\n", ":2: column 2 (y): \"\" is a target that is missing; write missing: skip",
            "target", "y", "missing", "mean");
}

static void categories_that_nobody_has(void **state) {
    REFUSED("y,b\n1,?\n2,\n", ": every category is missing in every row", "target", "y",
            "categories", "b", "missing", "mean");
}

static void wrong_rows(void **state) {
    REFUSED("", ": an empty file", "target", "y");
    REFUSED("a,y\n", ": no rows behind the names of the columns", "target", "y");
    REFUSED("a,y\n1,2\n1,2,3\n", ":3: 3 cells, but there are 2 columns", "target", "y");
    REFUSED("1,2\n1\n", ":2: 1 cells, but there are 2 columns in the first row", "target", "1",
            "header", "false");
    REFUSED("a,y\n1,2\nx,3\n",
            ":3: column 1 (a): \"x\" is no number of float32; name the column in "
            "categories or ignore",
            "target", "y");
    REFUSED("a,y\n1,2\n2,cat\n",
            ":3: column 2 (y): \"cat\" is no number of float32; for names of "
            "classes write targets: classes",
            "target", "y");
    REFUSED("a,y\n1e39,2\n",
            ":2: column 1 (a): \"1e39\" is no number of float32; name the column in "
            "categories or ignore",
            "target", "y");
    REFUSED("a,y\ninf,2\n",
            ":2: column 1 (a): \"inf\" is no number of float32; name the column in "
            "categories or ignore",
            "target", "y");
    REFUSED("a,y\n0x10,2\n",
            ":2: column 1 (a): \"0x10\" is no number of float32; name the column in "
            "categories or ignore",
            "target", "y");
    REFUSED("a,y\nNaN,2\n",
            ":2: column 1 (a): \"NaN\" is missing; say what becomes of it: missing: "
            "mean, zero or skip",
            "target", "y");
}

static void wrong_quotes(void **state) {
    REFUSED("a,y\n\"1,2\n3,4\n", ":2: a quote that is never closed", "target", "y");
    REFUSED("a,y\n\"1\"2,2\n",
            ":2: cell 1: something follows the closing quote; a quote within a "
            "cell is written twice",
            "target", "y");
    REFUSED("a,y\n1,5\"\"\n", ":2: cell 2: a quote in the middle; put the whole cell in quotes",
            "target", "y");
    /* lines are counted as an editor does, also behind a cell of two lines */
    REFUSED("a,y,b\n\"1\",2,\"x\ny\"\n1,2\n", ":4: 2 cells, but there are 3 columns", "target", "y",
            "categories", "b");
}

static void wrong_columns(void **state) {
    REFUSED("a,y\n1,2\n", ": no column \"z\", which target names; it has 2 columns, the first is a",
            "target", "z");
    REFUSED("a,y\n1,2\n", ": no column \"3\", which target names; it has 2 columns, the first is a",
            "target", "3");
    REFUSED("a,y\n1,2\n", ": column \"y\" has two roles; ignore is one of them", "target", "y",
            "ignore", "y");
    REFUSED("a,y\n1,2\n", ": no column is left to learn from", "target", "y", "ignore", "a");
    REFUSED("a,b,y\n1,2,3\n", ": 2 columns name the class; give one", "target", "[\"y\", \"b\"]",
            "targets", "classes");
}

/* The columns of words that `features` names stay what they are, and so do those that it does not
 * name; numbers that it does not name are left out. */
static void features_may_name_columns_of_words(void **state) {
    const char *text = "id,rooms,town,street,price\n7,3,Ulm,a,1\n8,4,Bonn,b,2\n";
    struct desk_data desk;
    good(&desk, OPEN(&desk, text, "target", "price", "categories", "town", "indices", "street",
                     "features", "[\"rooms\", \"town\"]"));
    check_samples(desk.set, 2, 4, (const float[]){3, 0, 1, 0, 4, 1, 0, 1});
    tw_dataset_free(desk.set);
    REFUSED(text, ": column \"price\" has two roles; features is one of them", "target", "price",
            "categories", "town", "features", "[\"town\", \"price\"]");
}

/* 40,000 words in as many rows would be 6 GiB of zeros and ones. */
static void many_words_take_no_memory(void **state) {
    enum { ROWS = 40000 };
    struct desk_data desk;
    struct tw_error *error = &desk.error;
    char *text = malloc((size_t)ROWS * 16 + 100), *at = text + 4;
    assert_non_null(text);
    memcpy(text, "a,y\n", 5);
    for (int i = 0; i < ROWS; i++)
        at += snprintf(at, 16, "w%d,%d\n", i, i);
    assert_int_equal(OPEN(&desk, text, "target", "y", "categories", "a"), TW_DATA);
    assert_string_equal(error->text,
                        "job.yaml:12: data.train: t.csv: 40000 rows of 40000 elements, one for "
                        "each word of its categories, are more than 2^30 numbers; name columns of "
                        "many words in indices");
    good(&desk, OPEN(&desk, text, "target", "y", "indices", "a"));
    assert_true(desk.set->elements == 1 && desk.set->count == ROWS);
    tw_dataset_free(desk.set);
    memset(text + 4, 'w', TW_WORD_MAX + 1);
    memcpy(text + 4 + TW_WORD_MAX + 1, ",1\n", 4);
    assert_int_equal(OPEN(&desk, text, "target", "y", "categories", "a"), TW_DATA);
    assert_non_null(strstr(error->text, "...\" is a word of more than 1024 bytes"));
    free(text);
}

static void delimiters_that_are_none(void **state) {
    struct desk_data desk;
    assert_int_equal(OPEN(&desk, "a,y\n1,2\n", "target", "y", "delimiter", "::"), TW_JOB);
    assert_string_equal(desk.error.text, "job.yaml:12: data.train: \"::\" delimits nothing; write "
                                         "one character, such as \";\", or tab");
}

/* Longer than the first buffer of lines, in one line and in many. */
static void long_lines_and_many(void **state) {
    enum { COLUMNS = 30000, ROWS = 9 };
    char *text = malloc((size_t)COLUMNS * (ROWS + 1) * 7 + 100), *at = text;
    struct desk_data desk;
    assert_non_null(text);
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < COLUMNS; i++)
            at +=
                snprintf(at, 8, "%d%c", (row * COLUMNS + i) % 99991, i + 1 < COLUMNS ? ',' : '\n');
    good(&desk, OPEN(&desk, text, "target", "1", "header", "false"));
    assert_int_equal(desk.set->elements, COLUMNS - 1);
    const float *x = desk.set->rows;
    for (int i = 0; i < ROWS * (COLUMNS - 1); i++)
        assert_true(x[i] == (float)((i + i / (COLUMNS - 1) + 1) % 99991));
    tw_dataset_free(desk.set);
    free(text);
}

/* A line of 64 MiB is refused when so much has been read; one that is a little shorter is not. */
static void lines_have_a_limit(void **state) {
    size_t size = TW_DATA_LINE_MAX + 64;
    char *text = malloc(size), expected[64];
    struct desk_data desk;
    assert_non_null(text);
    memset(text, ' ', size);
    memcpy(text, "1,2", 3);
    text[size - 1] = '\0';
    snprintf(expected, sizeof expected, ":1: a line of %zu MiB or more", TW_DATA_LINE_MAX >> 20);
    REFUSED(text, expected, "target", "1", "header", "false");
    text[TW_DATA_LINE_MAX - 2] = '\n';
    text[TW_DATA_LINE_MAX - 1] = '\0';
    good(&desk, OPEN(&desk, text, "target", "1", "header", "false"));
    tw_dataset_free(desk.set);
    free(text);
}

static void a_zero_byte_is_no_text(void **state) {
    struct desk_data desk;
    struct tw_option options[] = {{.key = "file", .text = "t.csv"}, {.key = "target", .text = "y"}};
    struct tw_variant variant = {
        .name = "csv", .path = "data.test", .count = 2, .options = options};
    assert_int_equal(tw_dataset_parse(&desk.set, &variant, NULL, "a,y\n1,\0\n", 8, &desk.error),
                     TW_DATA);
    assert_string_equal(desk.error.text,
                        "job: data.test: t.csv: a zero byte near line 1: this is no text");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_a_target),
        cmocka_unit_test(columns_are_chosen_by_name_or_number),
        cmocka_unit_test(categories_become_elements),
        cmocka_unit_test(words_may_be_numbers),
        cmocka_unit_test(what_is_missing_is_done_as_said),
        cmocka_unit_test(categories_that_nobody_has),
        cmocka_unit_test(wrong_rows),
        cmocka_unit_test(wrong_quotes),
        cmocka_unit_test(wrong_columns),
        cmocka_unit_test(features_may_name_columns_of_words),
        cmocka_unit_test(many_words_take_no_memory),
        cmocka_unit_test(delimiters_that_are_none),
        cmocka_unit_test(long_lines_and_many),
        cmocka_unit_test(lines_have_a_limit),
        cmocka_unit_test(a_zero_byte_is_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
