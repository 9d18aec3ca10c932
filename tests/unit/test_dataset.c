#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "worker/data/dataset.h"

#define HEAD(dims) 0, 0, 8, dims
#define SIZE(n) 0, 0, 0, n

/* Three images of 2 x 2, and their labels. */
static const uint8_t images[] = {HEAD(3), SIZE(3), SIZE(2), SIZE(2), 0,   1,   2,   3,
                                 128,     129,     130,     131,     255, 254, 253, 252};
static const uint8_t labels[] = {HEAD(1), SIZE(3), 0, 9, 4};

static char folder[] = "/tmp/talweg-test-XXXXXX";
static char image_path[64], label_path[64];

static int make_folder(void **state) {
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(image_path, sizeof image_path, "%s/images", folder);
    snprintf(label_path, sizeof label_path, "%s/labels", folder);
    return 0;
}

static int remove_folder(void **state) {
    unlink(image_path);
    unlink(label_path);
    return rmdir(folder);
}

static void write_plain(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_gzip(const char *path, const void *bytes, size_t size) {
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

static void write_both(void) {
    write_plain(image_path, images, sizeof images);
    write_plain(label_path, labels, sizeof labels);
}

static enum tw_status open_both(struct tw_dataset **out, struct tw_error *error) {
    const struct tw_where where = {"job.yaml", 12};
    struct tw_option options[] = {{.key = "images", .text = image_path, .where = where},
                                  {.key = "labels", .text = label_path, .where = where}};
    const struct tw_variant variant = {
        .name = "idx", .where = where, .path = "data.train", .count = 2, .options = options};
    return tw_dataset_open(out, &variant, NULL, error);
}

/* The message is "job.yaml:12: data.train: " + the file + ": " + `text`. */
static void refuse(const char *path, const char *text) {
    struct tw_dataset *dataset;
    struct tw_error error = {0};
    char expected[512];
    snprintf(expected, sizeof expected, "job.yaml:12: data.train: %s: %s", path, text);
    assert_int_equal(open_both(&dataset, &error), TW_DATA);
    assert_null(dataset);
    assert_string_equal(error.text, expected);
}

static void refuse_images(const uint8_t *bytes, size_t size, const char *text) {
    write_plain(image_path, bytes, size);
    write_plain(label_path, labels, sizeof labels);
    refuse(image_path, text);
}

/* Whether a classifier can learn from it. */
static enum tw_status check(const struct tw_dataset *dataset, int dims, const int64_t *shape,
                            int classes, struct tw_error *error) {
    struct tw_data_needs needs = {
        .dims = dims, .outputs = classes, .classes = classes, .labels = true, .loss = "it"};
    memcpy(needs.shape, shape, (size_t)dims * sizeof *shape);
    return tw_dataset_check(dataset, &needs, error);
}

/* For a model that begins with an embedding of five entries. */
static void embeddings_take_whole_numbers(void **state) {
    static float x[] = {0, 4, 3, 1, 2, 4};
    static const int32_t y[] = {0, 1, 0};
    const struct tw_data_needs needs = {.dims = 1,
                                        .shape = {2},
                                        .outputs = 2,
                                        .classes = 2,
                                        .labels = true,
                                        .below = 5,
                                        .loss = "it"};
    struct tw_dataset dataset = {.count = 3,
                                 .dims = 1,
                                 .shape = {2},
                                 .elements = 2,
                                 .kind = TW_ROWS_FLOATS,
                                 .rows = x,
                                 .labels = y,
                                 .samples_name = (char[]){"a.csv"},
                                 .targets_name = (char[]){"a.csv"}};
    struct tw_error error;
    assert_int_equal(tw_dataset_check(&dataset, &needs, &error), TW_OK);
    static const struct {
        float wrong;
        const char *shown;
    } rows[] = {{5, "5"}, {-1, "-1"}, {1.5f, "1.5"}, {NAN, "nan"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char expected[256];
        x[3] = rows[i].wrong;
        snprintf(expected, sizeof expected,
                 "a.csv: element 1 of sample 1 (both counted from 0) is %s, but the model's "
                 "embedding takes whole numbers from 0 to 4",
                 rows[i].shown);
        assert_int_equal(tw_dataset_check(&dataset, &needs, &error), TW_DATA);
        assert_string_equal(error.text, expected);
    }
    dataset.kind = TW_ROWS_BYTES;
    assert_int_equal(tw_dataset_check(&dataset, &needs, &error), TW_DATA);
    assert_non_null(strstr(error.text, "are bytes, which become parts of 255"));
}

static void check_contents(void) {
    struct tw_dataset *dataset;
    struct tw_error error;
    const uint32_t positions[] = {2, 0, 2};
    float x[12];
    int32_t y[3];
    if (open_both(&dataset, &error) != TW_OK)
        fail_msg("%s", error.text);
    assert_int_equal(dataset->count, 3);
    assert_int_equal(dataset->elements, 4);
    assert_true(dataset->dims == 2 && dataset->shape[0] == 2 && dataset->shape[1] == 2);
    assert_int_equal(check(dataset, 3, (int64_t[]){1, 2, 2}, 10, &error), TW_OK);
    tw_dataset_gather(dataset, positions, 3, &(struct tw_batch){.x = x, .labels = y});
    for (int i = 0; i < 12; i++)
        assert_true(x[i] == (float)images[16 + 4 * positions[i / 4] + (unsigned)i % 4] / 255.0f);
    assert_true(y[0] == 4 && y[1] == 0 && y[2] == 4);
    tw_dataset_free(dataset);
}

static void plain_and_gzipped_files_are_the_same(void **state) {
    write_both();
    check_contents();
    write_gzip(image_path, images, sizeof images);
    write_gzip(label_path, labels, sizeof labels);
    check_contents();
}

static void every_byte_is_scaled_as_a_division_would(void **state) {
    uint8_t bytes[256];
    float x[256];
    int32_t label = 0, y;
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    const struct tw_dataset dataset = {
        .count = 1, .dims = 1, .elements = 256, .rows = bytes, .labels = &label};
    tw_dataset_gather(&dataset, (uint32_t[]){0}, 1, &(struct tw_batch){.x = x, .labels = &y});
    for (int i = 0; i < 256; i++) {
        volatile float quotient = (float)i / 255.0f;
        assert_true(x[i] == quotient);
    }
}

static void missing_files(void **state) {
    write_both();
    unlink(image_path);
    refuse(image_path, "cannot open: No such file or directory");
    write_both();
    unlink(label_path);
    refuse(label_path, "cannot open: No such file or directory");
}

static void a_folder_is_no_file(void **state) {
    struct tw_dataset *dataset;
    struct tw_error error = {0};
    const struct tw_where where = {"job.yaml", 12};
    struct tw_option options[] = {{.key = "images", .text = folder, .where = where},
                                  {.key = "labels", .text = label_path, .where = where}};
    const struct tw_variant variant = {
        .name = "idx", .where = where, .path = "data.train", .count = 2, .options = options};
    assert_int_equal(tw_dataset_open(&dataset, &variant, NULL, &error), TW_DATA);
    assert_non_null(strstr(error.text, "cannot read: Is a directory"));
}

static void wrong_headers(void **state) {
    static const uint8_t text[] = "#!/bin/sh\n", floats[] = {0, 0, 13, 1, SIZE(1), 0, 0, 0, 0};
    static const uint8_t no_dims[] = {HEAD(0), 1}, many_dims[] = {HEAD(9), SIZE(1)};
    static const uint8_t empty[] = {HEAD(2), SIZE(0), SIZE(2)};
    refuse_images(images, 0, "truncated: 0 bytes, but an IDX header has 4 or more");
    refuse_images(images, 3, "truncated: 3 bytes, but an IDX header has 4 or more");
    refuse_images(images, 15, "truncated: the header of 3 dimensions has 16 bytes, found 15");
    refuse_images(text, sizeof text,
                  "not an IDX file: it starts with 23 21 2f 62, expected 00 00 08 and the number "
                  "of dimensions");
    refuse_images(floats, sizeof floats,
                  "elements of IDX type 0x0d, expected 0x08 (unsigned bytes)");
    refuse_images(no_dims, sizeof no_dims, "0 dimensions, expected 1 to 8");
    refuse_images(many_dims, sizeof many_dims, "9 dimensions, expected 1 to 8");
    refuse_images(empty, sizeof empty, "the shape [0, 2] is empty or has more than 2^40 elements");
}

static void truncated_and_overlong_files(void **state) {
    uint8_t longer[sizeof images + 1] = {0};
    memcpy(longer, images, sizeof images);
    refuse_images(images, sizeof images - 1,
                  "truncated: the shape [3, 2, 2] needs 12 bytes, found 11");
    refuse_images(longer, sizeof longer,
                  "bytes follow after the 12 that the shape [3, 2, 2] needs");
}

/* 16 bytes that claim a TiB: were it believed, the test would not end. */
static void a_header_that_lies_costs_nothing(void **state) {
    static const uint8_t tib[] = {HEAD(3), 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 16, 0, 1, 2};
    static const uint8_t wraps[] = {HEAD(3), 255, 255, 255, 255, 255, 255,
                                    255,     255, 255, 255, 255, 255};
    write_both();
    refuse_images(tib, sizeof tib,
                  "truncated: the shape [256, 4096, 4096] needs 4294967296 bytes, found 2");
    refuse_images(wraps, sizeof wraps,
                  "the shape [4294967295, 4294967295, 4294967295] is empty or has more than 2^40 "
                  "elements");
}

/* More than one step of growth, with every byte in its place. */
static void a_file_of_many_pieces_is_read_whole(void **state) {
    enum { COUNT = 3, ELEMENTS = 5 << 18 };
    static const uint8_t head[] = {HEAD(2), SIZE(COUNT), 0, 0x14, 0, 0};
    size_t size = sizeof head + (size_t)COUNT * ELEMENTS;
    uint8_t *bytes = malloc(size);
    struct tw_dataset *dataset;
    struct tw_error error;
    assert_non_null(bytes);
    memcpy(bytes, head, sizeof head);
    for (size_t i = sizeof head; i < size; i++)
        bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
    write_gzip(image_path, bytes, size);
    write_plain(label_path, labels, sizeof labels);
    assert_int_equal(open_both(&dataset, &error), TW_OK);
    assert_int_equal(dataset->elements, ELEMENTS);
    assert_memory_equal(dataset->rows, bytes + sizeof head, size - sizeof head);
    tw_dataset_free(dataset);
    free(bytes);
}

static size_t read_back(const char *path, uint8_t *bytes, size_t room) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, room, file);
    fclose(file);
    return size;
}

static void damaged_gzip(void **state) {
    uint8_t bytes[256], damaged[256];
    write_both();
    write_gzip(image_path, images, sizeof images);
    size_t size = read_back(image_path, bytes, sizeof bytes);
    for (size_t cut = 11; cut < size; cut++) {
        struct tw_dataset *dataset;
        struct tw_error error = {0};
        write_plain(image_path, bytes, cut);
        assert_int_equal(open_both(&dataset, &error), TW_DATA);
        assert_non_null(strstr(error.text, "truncated: "));
    }
    for (size_t at = 10; at < size; at++) { /* in the data, or in the sums behind it */
        struct tw_dataset *dataset;
        struct tw_error error = {0};
        memcpy(damaged, bytes, size);
        damaged[at] ^= 0x10;
        write_plain(image_path, damaged, size);
        assert_int_equal(open_both(&dataset, &error), TW_DATA);
        assert_non_null(strstr(error.text, image_path));
    }
    memcpy(damaged, bytes, size);
    damaged[size - 8] ^= 1;
    write_plain(image_path, damaged, size);
    refuse(image_path, "corrupt gzip: incorrect data check");
}

static void labels_that_are_none(void **state) {
    static const uint8_t two[] = {HEAD(1), SIZE(2), 0, 9};
    char text[128];
    write_both();
    write_plain(label_path, two, sizeof two);
    snprintf(text, sizeof text, "2 labels, but %s has 3 samples", image_path);
    refuse(label_path, text);
    write_plain(label_path, images, sizeof images);
    refuse(label_path, "labels have one dimension, but its shape is [3, 2, 2]");
}

static void what_does_not_fit_the_model(void **state) {
    struct tw_dataset *dataset;
    struct tw_error error;
    char expected[256];
    write_both();
    assert_int_equal(open_both(&dataset, &error), TW_OK);
    assert_int_equal(check(dataset, 2, (int64_t[]){2, 2}, 9, &error), TW_DATA);
    snprintf(expected, sizeof expected,
             "%s: the label of sample 1 (counted from 0) is 9, but the model has 9 outputs, for "
             "labels 0 to 8",
             label_path);
    assert_string_equal(error.text, expected);
    assert_int_equal(check(dataset, 1, (int64_t[]){4}, 10, &error), TW_DATA);
    snprintf(expected, sizeof expected,
             "%s: its samples have the shape [2, 2], but model.input is [4]", image_path);
    assert_string_equal(error.text, expected);
    assert_int_equal(check(dataset, 4, (int64_t[]){2, 1, 2, 1}, 10, &error), TW_OK);
    assert_int_equal(check(dataset, 3, (int64_t[]){2, 2, 2}, 10, &error), TW_DATA);
    tw_dataset_free(dataset);
}

static void the_bytes_identify_a_data_set(void **state) {
    struct tw_dataset *dataset;
    struct tw_error error;
    uint8_t bytes[64], digest[TW_SHA256_BYTES];
    char plain[TW_SHA256_HEX], expected[TW_SHA256_HEX];
    write_both();
    assert_int_equal(open_both(&dataset, &error), TW_OK);
    size_t samples = dataset->count * (size_t)dataset->elements;
    memcpy(bytes, dataset->rows, samples);
    for (uint32_t i = 0; i < dataset->count; i++)
        bytes[samples + i] = (uint8_t)dataset->labels[i];
    tw_sha256(bytes, samples + dataset->count, digest);
    tw_hex(digest, sizeof digest, expected);
    tw_dataset_sha256(dataset, plain);
    assert_string_equal(plain, expected);
    assert_int_equal(tw_dataset_check_sha256(dataset, "", &error), TW_OK);
    assert_int_equal(tw_dataset_check_sha256(dataset, plain, &error), TW_OK);
    ((int32_t *)dataset->owned[1])[0] ^= 1;
    assert_int_equal(tw_dataset_check_sha256(dataset, plain, &error), TW_DATA);
    assert_non_null(strstr(error.text, image_path));
    assert_non_null(strstr(error.text, expected));
    tw_dataset_free(dataset);
}

static void formats_and_options_are_named(void **state) {
    struct tw_dataset *dataset;
    struct tw_error error;
    int count;
    struct tw_variant variant = {.name = "idz", .where = {"job.yaml", 3}, .path = "data.test"};
    assert_int_equal(tw_dataset_open(&dataset, &variant, NULL, &error), TW_JOB);
    assert_string_equal(
        error.text,
        "job.yaml:3: data.test: unknown data format \"idz\"; did you mean \"idx\"? known: csv, "
        "idx, libsvm, npy, synthetic");
    variant.name = "idx";
    assert_int_equal(tw_dataset_open(&dataset, &variant, NULL, &error), TW_JOB);
    assert_non_null(strstr(error.text, "job.yaml:3: data.test.images: "));
    assert_non_null(tw_dataset_rules("data.test", "idx", &count));
    assert_int_equal(count, 2);
    assert_null(tw_dataset_rules("optimizer", "idx", &count));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embeddings_take_whole_numbers),
        cmocka_unit_test(plain_and_gzipped_files_are_the_same),
        cmocka_unit_test(every_byte_is_scaled_as_a_division_would),
        cmocka_unit_test(missing_files),
        cmocka_unit_test(a_folder_is_no_file),
        cmocka_unit_test(wrong_headers),
        cmocka_unit_test(truncated_and_overlong_files),
        cmocka_unit_test(a_header_that_lies_costs_nothing),
        cmocka_unit_test(a_file_of_many_pieces_is_read_whole),
        cmocka_unit_test(damaged_gzip),
        cmocka_unit_test(labels_that_are_none),
        cmocka_unit_test(what_does_not_fit_the_model),
        cmocka_unit_test(the_bytes_identify_a_data_set),
        cmocka_unit_test(formats_and_options_are_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
