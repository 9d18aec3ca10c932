/* LIBSVM: what is read, and how each kind of wrong file is refused. */
#include "tests/unit/data_desk.h"

#include "worker/data/vocabulary.h"

#define PAIRS(...) ((const char *const[]){"file", "t.svm", "features", "9", __VA_ARGS__, NULL})

static void check_row(const struct tw_dataset *set, uint32_t row, uint32_t count,
                      const uint32_t *index, const float *values) {
    struct tw_sparse_row x;
    int32_t label;
    float target;
    tw_dataset_gather(set, &row, 1,
                      &(struct tw_batch){.sparse = &x, .labels = &label, .targets = &target});
    assert_int_equal(x.count, count);
    assert_memory_equal(x.index, index, count * sizeof *index);
    assert_memory_equal(x.value, values, count * sizeof *values);
}

static void rows_classes_and_comments(void **state) {
    const char *text = "+1 1:0.5 9:-2e1 # a comment\r\n\n-1\n1 3:4";
    struct desk_data desk, test;
    assert_int_equal(desk_parse(&desk, "libsvm", NULL, text, PAIRS("targets", "classes")), TW_OK);
    assert_true(desk.set->count == 3 && desk.set->elements == 9);
    assert_int_equal(desk.set->kind, TW_ROWS_SPARSE);
    assert_memory_equal(desk.set->labels, ((const int32_t[]){1, 0, 1}), 12); /* -1, 1 */
    check_row(desk.set, 0, 2, (const uint32_t[]){0, 8}, (const float[]){0.5f, -20});
    check_row(desk.set, 1, 0, NULL, NULL);
    check_row(desk.set, 2, 1, (const uint32_t[]){2}, (const float[]){4});
    assert_int_equal(desk_parse(&test, "libsvm", desk.set, "1 2:2\n", PAIRS("targets", "classes")),
                     TW_OK);
    assert_int_equal(test.set->labels[0], 1); /* as in the training data */
    tw_dataset_free(test.set);
    assert_int_equal(desk_parse(&test, "libsvm", desk.set, "2 2:2\n", PAIRS("targets", "classes")),
                     TW_DATA);
    assert_string_equal(test.error.text, "job.yaml:12: data.train: t.svm:1: \"2\" is no class of "
                                         "the training data");
    tw_dataset_free(desk.set);
}

static void targets_may_be_numbers(void **state) {
    struct desk_data desk;
    assert_int_equal(
        desk_parse(&desk, "libsvm", NULL, "2.5 1:1\n-3 2:1\n", PAIRS("targets", "numbers")), TW_OK);
    assert_true(desk.set->outputs == 1 && desk.set->targets[0] == 2.5f &&
                desk.set->targets[1] == -3);
    tw_dataset_free(desk.set);
}

static void parts_and_identity(void **state) {
    const char *text = "1 1:1\n2 2:2\n3 3:3\n4 4:4\n";
    struct desk_data desk, other;
    struct tw_dataset *held;
    char one[TW_SHA256_HEX], two[TW_SHA256_HEX];
    assert_int_equal(desk_parse(&desk, "libsvm", NULL, text, PAIRS("targets", "numbers")), TW_OK);
    assert_int_equal(desk_parse(&other, "libsvm", NULL, "1 1:1\n2 2:2\n3 4:3\n4 4:4\n",
                                PAIRS("targets", "numbers")),
                     TW_OK);
    tw_dataset_sha256(desk.set, one);
    tw_dataset_sha256(other.set, two);
    assert_string_not_equal(one, two);
    assert_int_equal(tw_dataset_split(desk.set, 1, 3, &held, &desk.error), TW_OK);
    uint32_t row = held->place[0];
    check_row(held, 0, 1, &row, &(const float){(float)(row + 1)});
    tw_dataset_free(held);
    tw_dataset_free(desk.set);
    tw_dataset_free(other.set);
}

static void refused(const char *text, const char *message) {
    struct desk_data desk;
    char expected[256];
    snprintf(expected, sizeof expected, "job.yaml:12: data.train: t.svm%s", message);
    assert_int_equal(desk_parse(&desk, "libsvm", NULL, text, PAIRS("targets", "numbers")), TW_DATA);
    assert_null(desk.set);
    assert_string_equal(desk.error.text, expected);
}

static void wrong_rows(void **state) {
    refused("", ": no rows");
    refused("# nothing\n", ": no rows");
    refused("1\n2 # 1:1\n", ": no row has an index:value");
    refused("1 0:1\n", ":1: \"0:1\" has the index 0: indices are counted from 1");
    refused("1 1:1\n1 3:1 2:1\n",
            ":2: \"2:1\" is out of order: indices go up, and none comes twice");
    refused("1 3:1 3:1\n", ":1: \"3:1\" is out of order: indices go up, and none comes twice");
    refused("1 10:1\n", ":1: \"10:1\" has an index above features");
    refused("1 99999999999999999999:1\n",
            ":1: \"99999999999999999999:1\" has an index above features");
    refused("1 1:nan\n", ":1: \"1:nan\" is no index:value");
    refused("1 1:\n", ":1: \"1:\" is no index:value");
    refused("1 1\n", ":1: \"1\" is no index:value");
    refused("1 -1:1\n", ":1: \"-1:1\" is no index:value");
    refused("1 1x:1\n", ":1: \"1x:1\" is no index:value");
    refused("1 qid:3 1:1\n", ":1: \"qid:3\" is no index:value");
    refused("cat 1:1\n", ":1: \"cat\" is no target: no number");
}

/* Sparse rows, and models that do not take them, and the other way round. */
static void only_a_model_for_sparse_rows_fits(void **state) {
    struct desk_data desk;
    struct tw_data_needs needs = {
        .dims = 1, .shape = {9}, .outputs = 1, .values = true, .loss = "it"};
    assert_int_equal(desk_parse(&desk, "libsvm", NULL, "1 1:1\n", PAIRS("targets", "numbers")),
                     TW_OK);
    assert_int_equal(tw_dataset_check(desk.set, &needs, &desk.error), TW_DATA);
    assert_string_equal(desk.error.text, "t.svm: its rows are sparse; let the model begin with "
                                         "sparse_dense in the place of dense");
    needs.sparse = true;
    assert_int_equal(tw_dataset_check(desk.set, &needs, &desk.error), TW_OK);
    needs = (struct tw_data_needs){.dims = 1, .shape = {9}, .outputs = 1, .below = 5, .loss = "it"};
    assert_int_equal(tw_dataset_check(desk.set, &needs, &desk.error), TW_DATA);
    assert_non_null(strstr(desk.error.text, "its rows are sparse")); /* and not its bytes wrong */
    needs.sparse = true;
    desk.set->kind = TW_ROWS_FLOATS;
    assert_int_equal(tw_dataset_check(desk.set, &needs, &desk.error), TW_DATA);
    tw_dataset_free(desk.set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_classes_and_comments),
        cmocka_unit_test(targets_may_be_numbers),
        cmocka_unit_test(parts_and_identity),
        cmocka_unit_test(wrong_rows),
        cmocka_unit_test(only_a_model_for_sparse_rows_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
