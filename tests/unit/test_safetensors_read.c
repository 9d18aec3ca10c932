/* Reading safetensors: what our writer wrote, and every way in which a header may be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"

static char folder[64], path[128];

static int set_up(void **unused) {
    strcpy(folder, "/tmp/talweg-read-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int tear_down(void **unused) {
    unlink(path);
    return rmdir(folder);
}

static void write_file(const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* As our writer writes it; returns its bytes, to be freed. */
static char *write_ours(size_t *size) {
    static const float weights[7] = {1, 2, 3, 4, 5, 6, 7};
    struct tw_tensor tensors[2];
    const struct tw_tensor_list list = {2, tensors};
    struct tw_safetensors file;
    struct tw_init zeros = {TW_INIT_CONSTANT, 0};
    uint8_t sha[TW_SHA256_BYTES];
    char *bytes;
    tw_tensor_init(&tensors[0], "layers/0.w", 2, (int64_t[]){2, 3}, zeros, NULL);
    tw_tensor_init(&tensors[1], "scalar", 0, NULL, zeros, NULL);
    assert_int_equal(tw_safetensors_open(&file, path, &list, NULL), TW_OK);
    assert_int_equal(tw_safetensors_write(&file, weights, 7, NULL), TW_OK);
    assert_int_equal(tw_safetensors_commit(&file, sha, NULL), TW_OK);
    assert_int_equal(tw_file_read(path, 1 << 20, &bytes, size, NULL), TW_OK);
    return bytes;
}

static void test_what_was_written(void **state) {
    struct tw_safetensors_reader reader;
    float got[7];
    size_t size;
    free(write_ours(&size));
    assert_int_equal(tw_safetensors_read_open(&reader, path, NULL), TW_OK);
    assert_int_equal(reader.list.count, 2);
    const struct tw_safetensors_entry *entry = reader.list.entry;
    assert_string_equal(entry[0].name, "layers/0.w");
    assert_string_equal(entry[0].dtype, "F32");
    assert_int_equal(entry[0].dims, 2);
    assert_int_equal(entry[0].shape[1], 3);
    assert_int_equal(entry[1].dims, 0);
    assert_int_equal(entry[1].elements, 1);
    assert_int_equal(entry[1].begin, 24);
    assert_int_equal(tw_safetensors_read(&reader, 0, got, sizeof got, NULL), TW_OK);
    for (int i = 0; i < 7; i++)
        assert_true(got[i] == (float)(i + 1));
    assert_int_equal(tw_safetensors_read(&reader, 4, got, sizeof got, NULL), TW_DATA);
    tw_safetensors_read_close(&reader);
    tw_safetensors_read_close(&reader);
}

static void test_files_that_are_cut(void **state) {
    struct tw_safetensors_reader reader;
    struct tw_error error;
    size_t size;
    char *bytes = write_ours(&size);
    for (size_t cut = 0; cut < size; cut++) {
        write_file(bytes, cut);
        assert_int_equal(tw_safetensors_read_open(&reader, path, &error), TW_DATA);
        assert_non_null(strstr(error.text, path));
    }
    char *longer = calloc(1, size + 4);
    memcpy(longer, bytes, size);
    write_file(longer, size + 4);
    assert_int_equal(tw_safetensors_read_open(&reader, path, &error), TW_DATA);
    free(longer);
    free(bytes);
    assert_int_equal(tw_safetensors_read_open(&reader, "/nowhere/file", &error), TW_IO);
    assert_int_equal(tw_safetensors_read_open(&reader, "/dev/null", &error), TW_DATA);
}

static enum tw_status parse(const char *header, uint64_t data, struct tw_error *error) {
    struct tw_safetensors_list list;
    enum tw_status status = tw_safetensors_parse(&list, header, strlen(header), data, error);
    tw_safetensors_list_fini(&list);
    return status;
}

#define ENTRY(name, shape, from, to)                                                               \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void test_headers(void **state) {
    static const struct {
        const char *header;
        uint64_t data;
        const char *words; /* NULL: it is right */
    } rows[] = {
        {"{}", 0, NULL},
        {"{\"__metadata__\":{\"a\":\"b\",\"c\":[1,{}]}," ENTRY("w", "[2]", "0", "8") "}   ", 8,
         NULL},
        {"{\"w\":{\"data_offsets\":[0,8],\"shape\":[],\"dtype\":\"I64\"}}", 8, NULL},
        {"{" ENTRY("a", "[1]", "0", "4") "," ENTRY("b", "[1]", "4", "8") "}", 8, NULL},
        {"{" ENTRY("a", "[1]", "0", "4") "," ENTRY("a", "[1]", "4", "8") "}", 8, "are called"},
        {"{" ENTRY("a", "[1]", "4", "8") "," ENTRY("b", "[1]", "0", "4") "}", 8, "without holes"},
        {"{" ENTRY("a", "[1]", "0", "4") "," ENTRY("b", "[1]", "8", "12") "}", 12, "without holes"},
        {"{" ENTRY("a", "[2]", "0", "8") "," ENTRY("b", "[1]", "4", "8") "}", 8, "without holes"},
        {"{" ENTRY("a", "[1]", "0", "4") "}", 8, "the tensors take 4 bytes, but 8 follow"},
        {"{" ENTRY("a", "[3]", "0", "8") "}", 8, "offsets that fit the shape"},
        {"{" ENTRY("a", "[0]", "0", "0") "}", 0, "a shape within limits"},
        {"{" ENTRY("a", "[4294967296,4294967296]", "0", "0") "}", 0, "a shape within limits"},
        {"{" ENTRY("a", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "a shape within limits"},
        {"{" ENTRY("a", "[1]", "0", "4,4") "}", 4, "two offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "two offsets"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "a dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "dtype, shape and data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "each key once"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
         "dtype, shape or data_offsets"},
        {"[]", 0, "an object"},
        {"{} {}", 0, "nothing more"},
        {"{\"a\":1}", 0, "an object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tw_error error = {.status = TW_OK};
        enum tw_status status = parse(rows[i].header, rows[i].data, &error);
        if ((status == TW_OK) != !rows[i].words)
            fail_msg("%s: %s", rows[i].header, error.text);
        if (rows[i].words && !strstr(error.text, rows[i].words))
            fail_msg("%s: %s; it should speak of: %s", rows[i].header, error.text, rows[i].words);
    }
}

static void test_a_header_that_claims_to_be_huge(void **state) {
    struct tw_safetensors_reader reader;
    struct tw_error error;
    write_file("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
    assert_int_equal(tw_safetensors_read_open(&reader, path, &error), TW_DATA);
    assert_non_null(strstr(error.text, "its header would have 9223372036854775807 bytes"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_written),
        cmocka_unit_test(test_files_that_are_cut),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_a_header_that_claims_to_be_huge),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
