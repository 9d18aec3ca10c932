/* NPY: every type and order that is taken, and what is refused by name. */
#include "tests/unit/data_desk.h"

#include <math.h>

#include "worker/data/npy.h"

/* The bytes of a file: a header of version 1, and elements. */
static size_t compose(uint8_t *out, const char *header, const void *elements, size_t size) {
    size_t length = strlen(header);
    memcpy(out, "\x93NUMPY\x01\0", 8);
    out[8] = (uint8_t)length;
    out[9] = (uint8_t)(length >> 8);
    memcpy(out + 10, header, length);
    if (size > 0)
        memcpy(out + 10 + length, elements, size);
    return 10 + length + size;
}

/* An array of shape (2, 3) is read as 0, 1, ..., 5. */
static void check_array(const char *type, const char *fortran, const void *elements, size_t size) {
    char header[128];
    uint8_t file[512];
    struct tw_npy npy;
    struct tw_error error = {0};
    float x[6];
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': (2, 3), }   \n",
             type, fortran);
    size_t total = compose(file, header, elements, size);
    if (tw_npy_parse(&npy, "x.npy", file, total, &error) != TW_OK)
        fail_msg("%s", error.text);
    assert_true(npy.dims == 2 && npy.shape[0] == 2 && npy.shape[1] == 3 && npy.elements == 6);
    tw_npy_floats(&npy, x);
    for (int i = 0; i < 6; i++)
        if (x[i] != (float)i)
            fail_msg("%s: element %d is %g", type, i, (double)x[i]);
}

static void every_type_in_every_order(void **state) {
    static const struct {
        const char *type;
        size_t size;
    } types[] = {{"i1", 1}, {"i2", 2}, {"i4", 4}, {"i8", 8}, {"u1", 1},
                 {"u2", 2}, {"u4", 4}, {"u8", 8}, {"f4", 4}, {"f8", 8}};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int swapped = 0; swapped < 2; swapped++)
            for (int fortran = 0; fortran < 2; fortran++) {
                uint8_t bytes[48];
                char type[8];
                for (int i = 0; i < 6; i++) {
                    int at = fortran ? i % 3 * 2 + i / 3 : i;
                    uint64_t whole = (uint64_t)i;
                    float narrow = (float)i;
                    double wide = i;
                    const void *from = types[t].type[0] != 'f' ? (const void *)&whole
                                       : types[t].size == 4    ? (const void *)&narrow
                                                               : (const void *)&wide;
                    for (size_t b = 0; b < types[t].size; b++)
                        bytes[(size_t)at * types[t].size + b] =
                            ((const uint8_t *)from)[swapped ? types[t].size - 1 - b : b];
                }
                snprintf(type, sizeof type, "%c%s", swapped ? '>' : '<', types[t].type);
                check_array(type, fortran ? "True" : "False", bytes, 6 * types[t].size);
            }
}

static void numbers_keep_their_sign_and_size(void **state) {
    static const int64_t whole[] = {-1, INT64_MIN, INT64_MAX};
    static const double real[] = {-0.1, 1e300, 0x1.000001p0};
    uint8_t file[256];
    struct tw_npy npy;
    float x[3];
    size_t size = compose(file, "{'descr':'<i8','fortran_order':False,'shape':(3,)}", whole, 24);
    assert_int_equal(tw_npy_parse(&npy, "x", file, size, NULL), TW_OK);
    tw_npy_floats(&npy, x);
    assert_true(x[0] == -1 && x[1] == -0x1p63f && x[2] == 0x1p63f);
    size = compose(file, "{'descr':'<f8','fortran_order':False,'shape':(3,)}", real, 24);
    assert_int_equal(tw_npy_parse(&npy, "x", file, size, NULL), TW_OK);
    tw_npy_floats(&npy, x);
    assert_true(x[0] == -0.1f && isinf(x[1]) && x[2] == 1.0f); /* rounded to even */
}

static void refused(const char *header, size_t elements, const char *message) {
    static const uint8_t zeros[256];
    uint8_t file[1024];
    struct tw_npy npy;
    struct tw_error error = {0};
    char expected[512];
    size_t size = compose(file, header, zeros, elements);
    snprintf(expected, sizeof expected, "x.npy: %s", message);
    assert_int_equal(tw_npy_parse(&npy, "x.npy", file, size, &error), TW_DATA);
    assert_string_equal(error.text, expected);
}

#define HEADER(descr, shape) "{'descr': " descr ", 'fortran_order': False, 'shape': " shape ", }\n"
#define UNLIKELY "a header that NumPy would not write: "

static void types_that_are_not_taken_are_named(void **state) {
    static const char *const types[] = {"<f2", "<f16", "<c8",    "|O",  "|S3",
                                        "<U4", "|V8",  "<M8[s]", "<i3", "f4"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char header[128], message[128];
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }",
                 types[i]);
        snprintf(message, sizeof message,
                 "elements of the type %s are not taken; write array.astype(\"float32\") instead",
                 types[i]);
        refused(header, 4, message);
    }
    refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8,
            UNLIKELY "descr is no type of numbers (records are not taken)");
}

static void headers_that_cannot_be(void **state) {
    refused(HEADER("'<f4'", "(2, 3)"), 23,
            "truncated: the shape [2, 3] with elements of 4 bytes needs 24 bytes, found 23");
    refused(HEADER("'<f4'", "(2, 3)"), 25,
            "too long: the shape [2, 3] with elements of 4 bytes needs 24 bytes, found 25");
    refused(HEADER("'<f4'", "(0, 3)"), 0,
            "the shape [0, 3] is empty, a single number, or has more than 2^40 elements");
    refused(HEADER("'<f4'", "()"), 4,
            "the shape [] is empty, a single number, or has more than 2^40 elements");
    refused(HEADER("'<f4'", "(4294967296, 4294967296)"), 8,
            "the shape [4294967296, 4294967296] is empty, a single number, or has more than 2^40 "
            "elements");
    refused(HEADER("'<f4'", "(99999999999999999999,)"), 8,
            UNLIKELY "shape is no tuple of whole numbers");
    refused(HEADER("'<f4'", "(-1,)"), 8, UNLIKELY "shape is no tuple of whole numbers");
    refused(HEADER("'<f4'", "(1,1,1,1,1,1,1,1,1)"), 4,
            UNLIKELY "more dimensions than anybody needs");
    refused("{'descr': '<f4', 'shape': (1,), }", 4,
            UNLIKELY "descr, fortran_order or shape is missing");
    refused("{'descr': '<f4', 'descr': '<f4', 'shape': (1,), }", 4,
            UNLIKELY "a key that is unknown, or stands twice");
    refused("{'descr': '<f4', 'fortran_order': 1, 'shape': (1,), }", 4,
            UNLIKELY "fortran_order is no boolean");
}

static void other_files_are_no_npy(void **state) {
    struct tw_npy npy;
    struct tw_error error;
    assert_int_equal(tw_npy_parse(&npy, "x", "PK\3\4 a .npz file", 16, &error), TW_DATA);
    assert_non_null(strstr(error.text, "not an NPY file"));
    assert_int_equal(tw_npy_parse(&npy, "x", "\x93NUMPY\x09\0\0\0\0\0", 12, &error), TW_DATA);
    assert_string_equal(error.text, "x: version 9 of NPY; known are 1 to 3");
    assert_int_equal(tw_npy_parse(&npy, "x", "\x93NUMPY\x01\0\xff\0{", 11, &error), TW_DATA);
    assert_string_equal(error.text, "x: truncated: a header of 255 bytes");
}

/* ---- as data sets ---- */

static char samples_path[] = "/tmp/talweg-npy-x-XXXXXX",
            targets_path[] = "/tmp/talweg-npy-y-XXXXXX";

static int make_files(void **state) {
    int x = mkstemp(samples_path), y = mkstemp(targets_path);
    return x < 0 || y < 0 || close(x) != 0 || close(y) != 0;
}

static int remove_files(void **state) {
    return unlink(samples_path) != 0 || unlink(targets_path) != 0;
}

static void put(const char *path, const char *header, const void *elements, size_t size) {
    uint8_t bytes[1024];
    char padded[119]; /* as NumPy does it: the elements begin at a multiple of 64 */
    snprintf(padded, sizeof padded, "%-117s\n", header);
    size_t total = compose(bytes, padded, elements, size);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, total, file), total);
    assert_int_equal(fclose(file), 0);
}

static enum tw_status open_both(struct desk_data *desk) {
    return DESK_OPEN(desk, "npy", "samples", samples_path, "targets", targets_path);
}

static const float rows[3][2] = {{1, 2}, {3, 4}, {5, 6}};

#define ROWS HEADER("'<f4'", "(3, 2)")

static void rows_stay_in_their_file(void **state) {
    static const double targets[] = {0.5, -1, 2};
    struct desk_data desk;
    float x[2], y;
    put(samples_path, ROWS, rows, sizeof rows);
    put(targets_path, HEADER("'<f8'", "(3,)"), targets, sizeof targets);
    assert_int_equal(open_both(&desk), TW_OK);
    assert_true(desk.set->count == 3 && desk.set->elements == 2 && desk.set->outputs == 1);
    assert_true(desk.set->mapping.at != NULL && desk.set->owned[0] == NULL);
    tw_dataset_ahead(desk.set, (const uint32_t[]){2, 0}, 2); /* advice: nothing is seen of it */
    struct tw_batch batch = {.x = x, .targets = &y};
    for (uint32_t i = 0; i < 3; i++) {
        tw_dataset_gather(desk.set, &i, 1, &batch);
        assert_true(x[0] == rows[i][0] && x[1] == rows[i][1] && y == (float)targets[i]);
    }
    tw_dataset_free(desk.set);
}

/* Of the same numbers in another order of bytes there is a copy, with the same identity. */
static void what_is_converted_is_the_same_data(void **state) {
    static const int64_t labels[] = {2, 0, 1};
    static const float columns[2][3] = {{1, 3, 5}, {2, 4, 6}};
    char plain[TW_SHA256_HEX], turned[TW_SHA256_HEX];
    struct desk_data desk;
    put(samples_path, ROWS, rows, sizeof rows);
    put(targets_path, HEADER("'<i8'", "(3,)"), labels, sizeof labels);
    assert_int_equal(open_both(&desk), TW_OK);
    assert_memory_equal(desk.set->labels, ((const int32_t[]){2, 0, 1}), 12);
    tw_dataset_sha256(desk.set, plain);
    tw_dataset_free(desk.set);
    put(samples_path, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2)}", columns,
        sizeof columns);
    assert_int_equal(open_both(&desk), TW_OK);
    assert_true(desk.set->mapping.at == NULL);
    tw_dataset_sha256(desk.set, turned);
    assert_string_equal(plain, turned);
    tw_dataset_free(desk.set);
}

static void bytes_are_images(void **state) {
    static const uint8_t pixels[] = {0, 51, 255};
    struct desk_data desk;
    put(samples_path, HEADER("'|u1'", "(3, 1)"), pixels, sizeof pixels);
    put(targets_path, HEADER("'|u1'", "(3,)"), pixels, sizeof pixels);
    assert_int_equal(open_both(&desk), TW_OK);
    assert_true(desk.set->kind == TW_ROWS_BYTES && desk_at(desk.set, 1, 0) == 51 / 255.0f);
    assert_int_equal(desk.set->labels[2], 255);
    tw_dataset_free(desk.set);
}

static void check_refused(const char *message) {
    struct desk_data desk;
    assert_int_equal(open_both(&desk), TW_DATA);
    assert_null(desk.set);
    if (!strstr(desk.error.text, message))
        fail_msg("%s", desk.error.text);
}

static void files_that_do_not_fit(void **state) {
    static const int32_t labels[] = {0, -1, 1};
    put(samples_path, ROWS, rows, sizeof rows);
    put(targets_path, HEADER("'<i4'", "(3,)"), labels, sizeof labels);
    check_refused("the class of sample 1 (counted from 0) is not from 0 to 2^31 - 1");
    put(targets_path, HEADER("'<i4'", "(2,)"), labels, 8);
    check_refused("2 targets, but /tmp/talweg-npy-x");
    put(targets_path, HEADER("'<i4'", "(3, 1)"), labels, 12);
    check_refused("the shape [3, 1]; classes are [samples]");
    FILE *file = fopen(targets_path, "wb");
    assert_non_null(file);
    fclose(file);
    check_refused("an empty file");
}

/* Named by row and column, in samples and in targets. */
static void a_nan_is_found(void **state) {
    float hole[3][2] = {{1, 2}, {3, 4}, {5, NAN}};
    float targets[3] = {1, -INFINITY, 2};
    struct desk_data desk;
    put(samples_path, ROWS, hole, sizeof hole);
    put(targets_path, HEADER("'<f4'", "(3,)"), targets, sizeof targets);
    assert_int_equal(open_both(&desk), TW_OK);
    assert_int_equal(tw_dataset_check_numbers(desk.set, &desk.error), TW_DATA);
    assert_non_null(
        strstr(desk.error.text, ": NaN in row 2, column 1 (counted from 0) of the samples"));
    tw_dataset_free(desk.set);
    put(samples_path, ROWS, rows, sizeof rows);
    assert_int_equal(open_both(&desk), TW_OK);
    assert_int_equal(tw_dataset_check_numbers(desk.set, &desk.error), TW_DATA);
    assert_non_null(strstr(desk.error.text,
                           ": an infinity in row 1, column 0 (counted from 0) of the targets"));
    tw_dataset_free(desk.set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_in_every_order),
        cmocka_unit_test(numbers_keep_their_sign_and_size),
        cmocka_unit_test(types_that_are_not_taken_are_named),
        cmocka_unit_test(headers_that_cannot_be),
        cmocka_unit_test(other_files_are_no_npy),
        cmocka_unit_test(rows_stay_in_their_file),
        cmocka_unit_test(what_is_converted_is_the_same_data),
        cmocka_unit_test(bytes_are_images),
        cmocka_unit_test(files_that_do_not_fit),
        cmocka_unit_test(a_nan_is_found),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
