/* Descriptors: what is refused and how, and the initial values of weights. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/tensor/tensor.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct tw_init zeros = {TW_INIT_CONSTANT, 0};

static struct tw_tensor make(const char *name, int64_t rows, int64_t columns) {
    struct tw_tensor tensor;
    int64_t shape[] = {rows, columns};
    assert_int_equal(tw_tensor_init(&tensor, name, columns > 0 ? 2 : 1, shape, zeros, NULL), TW_OK);
    return tensor;
}

static void a_descriptor_holds_what_it_was_given(void **unused) {
    struct tw_tensor tensor;
    struct tw_init init = {TW_INIT_NORMAL, 0.5};
    int64_t shape[] = {784, 256};
    assert_int_equal(tw_tensor_init(&tensor, "layer0/w-1.2_x", 2, shape, init, NULL), TW_OK);
    assert_string_equal(tensor.name, "layer0/w-1.2_x");
    assert_int_equal(tensor.dims, 2);
    assert_int_equal(tensor.elements, 784 * 256);
    assert_int_equal(tensor.init.kind, TW_INIT_NORMAL);
}

static void a_scalar_has_no_dimensions_and_one_element(void **unused) {
    struct tw_tensor tensor;
    assert_int_equal(tw_tensor_init(&tensor, "s", 0, NULL, zeros, NULL), TW_OK);
    assert_int_equal(tensor.elements, 1);
}

static void the_limits_themselves_are_accepted(void **unused) {
    struct tw_tensor tensor;
    char name[TW_NAME_MAX + 1];
    memset(name, 'n', TW_NAME_MAX);
    name[TW_NAME_MAX] = 0;
    int64_t shape[TW_DIMS_MAX] = {TW_ELEMENTS_MAX, 1, 1, 1, 1, 1, 1, 1};
    assert_int_equal(tw_tensor_init(&tensor, name, TW_DIMS_MAX, shape, zeros, NULL), TW_OK);
    assert_int_equal(tensor.elements, TW_ELEMENTS_MAX);
    assert_int_equal(strlen(tensor.name), TW_NAME_MAX);
}

static void what_is_wrong_with_a_descriptor_is_named(void **unused) {
    char too_long[TW_NAME_MAX + 2];
    memset(too_long, 'n', TW_NAME_MAX + 1);
    too_long[TW_NAME_MAX + 1] = 0;
    const struct {
        const char *name;
        int dims;
        int64_t shape[9];
        enum tw_status status;
        const char *words;
    } wrong[] = {
        {"", 1, {3}, TW_MALFORMED, "a name is made of letters"},
        {"a b", 1, {3}, TW_MALFORMED, "\"a b\""},
        {"caf\xc3\xa9", 1, {3}, TW_MALFORMED, "letters"},
        {"w\n", 1, {3}, TW_MALFORMED, "\"w?\""},
        {too_long, 1, {3}, TW_LIMIT, "longer than 512"},
        {"w", 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, TW_LIMIT, "tensor w: 9 dimensions"},
        {"w", -1, {1}, TW_LIMIT, "-1 dimensions"},
        {"w", 2, {3, 0}, TW_MALFORMED, "dimension 1 is 0"},
        {"w", 1, {-5}, TW_MALFORMED, "dimension 0 is -5"},
        {"w", 2, {1 << 20, (1 << 20) + 1}, TW_LIMIT, "tensor w [1048576, 1048577]"},
        {"w", 3, {INT64_MAX, INT64_MAX, INT64_MAX}, TW_LIMIT, "at most 1099511627776"},
        {"w", 2, {TW_ELEMENTS_MAX, 2}, TW_LIMIT, "elements"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct tw_tensor tensor;
        struct tw_error error;
        assert_int_equal(
            tw_tensor_init(&tensor, wrong[i].name, wrong[i].dims, wrong[i].shape, zeros, &error),
            wrong[i].status);
        if (strstr(error.text, wrong[i].words) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", error.text, wrong[i].words);
        }
    }
}

static void a_list_needs_tensors_and_different_names(void **unused) {
    struct tw_error error;
    struct tw_tensor tensors[] = {make("w0", 3, 4), make("b0", 4, 0), make("w0", 5, 0)};
    struct tw_tensor_list list = {2, tensors};
    assert_int_equal(tw_tensor_list_check(&list, &error), TW_OK);
    list.count = 3;
    assert_int_equal(tw_tensor_list_check(&list, &error), TW_MALFORMED);
    assert_string_equal(error.text, "tensors 0 and 2 are both called w0; names must differ");
    list.count = 0;
    assert_int_equal(tw_tensor_list_check(&list, &error), TW_LIMIT);
    list.count = TW_TENSORS_MAX + 1;
    assert_int_equal(tw_tensor_list_check(&list, &error), TW_LIMIT);
    assert_non_null(strstr(error.text, "at most 1024"));
}

static void a_list_may_be_as_long_as_the_limit(void **unused) {
    struct tw_tensor_list list = {TW_TENSORS_MAX, calloc(TW_TENSORS_MAX, sizeof(struct tw_tensor))};
    for (int i = 0; i < list.count; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%d", i);
        list.tensors[i] = make(name, 2, 0);
    }
    assert_int_equal(tw_tensor_list_check(&list, NULL), TW_OK);
    list.tensors[TW_TENSORS_MAX - 1] = list.tensors[17];
    assert_int_equal(tw_tensor_list_check(&list, NULL), TW_MALFORMED);
    free(list.tensors);
}

static void comparing_names_the_first_tensor_that_differs(void **unused) {
    struct tw_error error;
    struct tw_tensor a[] = {make("w0", 784, 256), make("b0", 256, 0), make("b1", 256, 0)};
    struct tw_tensor b[] = {make("w0", 784, 256), make("b0", 256, 0), make("b1", 128, 0)};
    struct tw_tensor_list ours = {3, a}, theirs = {3, b};

    assert_int_equal(tw_tensor_list_compare(&ours, &theirs, &error), TW_WRONG_MODEL);
    assert_string_equal(error.text, "tensor 2: ours is b1 [256], theirs is b1 [128]");
    b[2] = make("bias", 256, 0);
    assert_int_equal(tw_tensor_list_compare(&ours, &theirs, &error), TW_WRONG_MODEL);
    assert_string_equal(error.text, "tensor 2: ours is b1 [256], theirs is bias [256]");
    b[2] = make("b1", 256, 1);
    assert_int_equal(tw_tensor_list_compare(&ours, &theirs, &error), TW_WRONG_MODEL);
    assert_string_equal(error.text, "tensor 2: ours is b1 [256], theirs is b1 [256, 1]");
    theirs.count = 2;
    assert_int_equal(tw_tensor_list_compare(&ours, &theirs, &error), TW_WRONG_MODEL);
    assert_string_equal(error.text,
                        "ours has 3 tensors, theirs has 2; the first that is missing there is b1");
    assert_int_equal(tw_tensor_list_compare(&theirs, &ours, &error), TW_WRONG_MODEL);
    assert_non_null(strstr(error.text, "missing here is b1"));
}

static void the_start_of_weights_is_not_compared(void **unused) {
    struct tw_tensor a[] = {make("w0", 784, 256)};
    struct tw_tensor b[] = {make("w0", 784, 256)};
    b[0].init = (struct tw_init){TW_INIT_NORMAL, 1};
    struct tw_tensor_list ours = {1, a}, theirs = {1, b};
    assert_int_equal(tw_tensor_list_compare(&ours, &theirs, NULL), TW_OK);
}

static void a_shape_reads_as_in_the_job_file(void **unused) {
    char text[64];
    const int64_t shape[] = {784, 256, 3};
    assert_string_equal(tw_shape_text(3, shape, text, sizeof text), "[784, 256, 3]");
    assert_string_equal(tw_shape_text(1, shape, text, sizeof text), "[784]");
    assert_string_equal(tw_shape_text(0, shape, text, sizeof text), "[]");
    for (size_t room = 1; room < 14; room++) { /* always terminated, never beyond */
        memset(text, '!', sizeof text);
        tw_shape_text(3, shape, text, room);
        assert_int_equal(strlen(text), room - 1);
        assert_int_equal(text[room], '!');
        assert_memory_equal(text, "[784, 256, 3]", room - 1);
    }
}

static void fill(enum tw_init_kind kind, double scale, int index, uint64_t seed, int64_t first,
                 int64_t count, float *out) {
    struct tw_tensor tensor = make("w", 1 << 20, 0);
    tensor.init = (struct tw_init){kind, scale};
    tw_tensor_fill(&tensor, index, seed, first, count, out);
}

static void constants_are_constant(void **unused) {
    float x[3];
    fill(TW_INIT_CONSTANT, 0.1, 0, 1, 0, 3, x);
    assert_true(x[0] == 0.1f && x[1] == 0.1f && x[2] == 0.1f);
}

static void initial_values_do_not_depend_on_the_split(void **unused) {
    enum { N = 1000 };
    float whole[N], parts[N];
    for (int kind = TW_INIT_CONSTANT; kind <= TW_INIT_UNIFORM; kind++) {
        fill((enum tw_init_kind)kind, 0.3, 4, 7, 100, N, whole);
        for (int64_t at = 0, size = 1; at < N; at += size, size = size * 3 % 37 + 1) {
            fill((enum tw_init_kind)kind, 0.3, 4, 7, 100 + at, at + size < N ? size : N - at,
                 parts + at);
        }
        assert_memory_equal(whole, parts, sizeof whole);
    }
}

static void initial_values_are_those_of_the_named_stream(void **unused) {
    float normal[10], flat[10];
    fill(TW_INIT_NORMAL, 2, 3, 42, 5, 10, normal);
    fill(TW_INIT_UNIFORM, 2, 3, 42, 5, 10, flat);
    for (uint64_t i = 0; i < 10; i++) {
        double z = tw_rng_normal_at(42, TW_STREAM_INIT, 3, 0, 5 + i);
        double u = tw_rng_uniform_at(42, TW_STREAM_INIT, 3, 0, 5 + i);
        assert_true(normal[i] == (float)(2 * z));
        assert_true(fabs(flat[i] - 2 * (2 * u - 1)) <= 0x1p-22);
    }
}

static void tensors_and_seeds_do_not_share_their_numbers(void **unused) {
    float a[4], b[4], c[4];
    fill(TW_INIT_NORMAL, 1, 0, 1, 0, 4, a);
    fill(TW_INIT_NORMAL, 1, 1, 1, 0, 4, b);
    fill(TW_INIT_NORMAL, 1, 0, 2, 0, 4, c);
    for (int i = 0; i < 4; i++) {
        assert_true(a[i] != b[i] && a[i] != c[i] && b[i] != c[i]);
    }
}

static void mean_and_variance(const float *x, int n, double *mean, double *variance) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    *mean = sum / n;
    *variance = squares / n - *mean * *mean;
}

static void initial_values_have_the_promised_moments_and_range(void **unused) {
    enum { N = 1 << 16 };
    float *x = malloc(N * sizeof *x);
    double mean, variance;
    fill(TW_INIT_NORMAL, 0.5, 0, 1, 0, N, x);
    mean_and_variance(x, N, &mean, &variance);
    assert_true(fabs(mean) < 5 * 0.5 / 256); /* five standard errors */
    assert_true(fabs(variance / 0.25 - 1) < 5 * sqrt(2.0) / 256);

    fill(TW_INIT_UNIFORM, 0.3, 0, 1, 0, N, x);
    mean_and_variance(x, N, &mean, &variance);
    assert_true(fabs(mean) < 5 * 0.3 / sqrt(3) / 256);
    assert_true(fabs(variance / 0.03 - 1) < 5 * sqrt(0.8) / 256);
    for (int i = 0; i < N; i++) {
        assert_true(x[i] >= -0.3f && x[i] < 0.3f);
    }
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_holds_what_it_was_given),
        cmocka_unit_test(a_scalar_has_no_dimensions_and_one_element),
        cmocka_unit_test(the_limits_themselves_are_accepted),
        cmocka_unit_test(what_is_wrong_with_a_descriptor_is_named),
        cmocka_unit_test(a_list_needs_tensors_and_different_names),
        cmocka_unit_test(a_list_may_be_as_long_as_the_limit),
        cmocka_unit_test(comparing_names_the_first_tensor_that_differs),
        cmocka_unit_test(the_start_of_weights_is_not_compared),
        cmocka_unit_test(a_shape_reads_as_in_the_job_file),
        cmocka_unit_test(constants_are_constant),
        cmocka_unit_test(initial_values_do_not_depend_on_the_split),
        cmocka_unit_test(initial_values_are_those_of_the_named_stream),
        cmocka_unit_test(tensors_and_seeds_do_not_share_their_numbers),
        cmocka_unit_test(initial_values_have_the_promised_moments_and_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
