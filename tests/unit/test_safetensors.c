/* Model files: read back by another library's JSON, the same bytes for the same
 * weights, and nothing left behind when something fails. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/base/file.h"
#include "common/tensor/safetensors.h"

static char folder[64];
static char path[128];
static struct tw_tensor tensors[3];
static const struct tw_tensor_list list = {3, tensors};
enum { ELEMENTS = 6 + 1 + 100000 };
static float weights[ELEMENTS];

static int set_up(void **unused) {
    struct tw_init zeros = {TW_INIT_CONSTANT, 0};
    strcpy(folder, "/tmp/talweg-safetensors-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    tw_tensor_init(&tensors[0], "layers/0.w", 2, (int64_t[]){2, 3}, zeros, NULL);
    tw_tensor_init(&tensors[1], "scalar", 0, NULL, zeros, NULL);
    tw_tensor_init(&tensors[2], "a_later_name_that_sorts_first", 1, (int64_t[]){100000}, zeros,
                   NULL);
    for (int i = 0; i < ELEMENTS; i++) {
        weights[i] = (float)i * 0.25f - 3;
    }
    return 0;
}

static int tear_down(void **unused) {
    unlink(path);
    return rmdir(folder); /* fails the test that left something behind */
}

static int files_in_folder(void) {
    int count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    }
    closedir(dir);
    return count;
}

/* Writes the weights in pieces of `step` floats. */
static enum tw_status write_model(size_t step, uint8_t sha[TW_SHA256_BYTES],
                                  struct tw_error *error) {
    struct tw_safetensors file;
    enum tw_status status = tw_safetensors_open(&file, path, &list, error);
    for (size_t at = 0; at < ELEMENTS && status == TW_OK; at += step) {
        size_t count = ELEMENTS - at < step ? ELEMENTS - at : step;
        status = tw_safetensors_write(&file, weights + at, count, error);
    }
    return status == TW_OK ? tw_safetensors_commit(&file, sha, error) : status;
}

static char *read_model(size_t *size) {
    char *bytes;
    assert_int_equal(tw_file_read(path, 1 << 24, &bytes, size, NULL), TW_OK);
    return bytes;
}

/* The header as another JSON library sees it; *data is where the tensors begin. */
static json_t *read_header(const char *bytes, size_t size, size_t *data) {
    uint64_t length;
    memcpy(&length, bytes, sizeof length);
    assert_true(length < size - 8);
    *data = 8 + length;
    json_error_t json_error;
    json_t *header = json_loadb(bytes + 8, length, 0, &json_error);
    assert_non_null(header);
    return header;
}

static void a_reader_finds_every_tensor_in_its_place(void **unused) {
    uint8_t sha[TW_SHA256_BYTES];
    size_t size, data, offset = 0;
    assert_int_equal(write_model(ELEMENTS, sha, NULL), TW_OK);
    char *bytes = read_model(&size);
    json_t *header = read_header(bytes, size, &data);
    assert_int_equal(data % 8, 0);
    assert_int_equal(size, data + sizeof weights);
    assert_memory_equal(bytes + data, weights, sizeof weights);
    assert_int_equal(json_object_size(header), list.count); /* and no metadata */
    for (int t = 0; t < list.count; t++) {
        const char *type;
        json_t *shape;
        json_int_t begin, end;
        json_t *entry = json_object_get(header, tensors[t].name);
        assert_int_equal(json_unpack(entry, "{s:s, s:o, s:[I, I] !}", "dtype", &type, "shape",
                                     &shape, "data_offsets", &begin, &end),
                         0);
        assert_string_equal(type, "F32");
        assert_int_equal(json_array_size(shape), tensors[t].dims);
        for (int d = 0; d < tensors[t].dims; d++) {
            assert_int_equal(json_integer_value(json_array_get(shape, (size_t)d)),
                             tensors[t].shape[d]);
        }
        assert_int_equal(begin, offset);
        offset += (size_t)tensors[t].elements * 4;
        assert_int_equal(end, offset);
    }
    json_decref(header);
    free(bytes);
}

static void the_bytes_do_not_depend_on_the_pieces(void **unused) {
    uint8_t sha[2][TW_SHA256_BYTES], of_file[TW_SHA256_BYTES];
    size_t size[2];
    assert_int_equal(write_model(ELEMENTS, sha[0], NULL), TW_OK);
    char *first = read_model(&size[0]);
    assert_int_equal(write_model(777, sha[1], NULL), TW_OK); /* and replaces the old file */
    char *second = read_model(&size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(first, second, size[0]);
    assert_memory_equal(sha[0], sha[1], TW_SHA256_BYTES);
    tw_sha256(second, size[1], of_file);
    assert_memory_equal(sha[1], of_file, TW_SHA256_BYTES);
    assert_int_equal(files_in_folder(), 1);
    free(first);
    free(second);
}

static void a_full_disk_leaves_nothing_and_names_the_path(void **unused) {
    struct tw_error error;
    uint8_t sha[TW_SHA256_BYTES];
    struct rlimit old, small = {100000, 100000};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    enum tw_status status = write_model(1000, sha, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, TW_IO);
    assert_non_null(strstr(error.text, path));
    assert_int_equal(files_in_folder(), 0);
}

static void a_folder_that_is_not_there_is_named(void **unused) {
    struct tw_error error;
    struct tw_safetensors file;
    assert_int_equal(tw_safetensors_open(&file, "/nowhere/at/all/m.safetensors", &list, &error),
                     TW_IO);
    assert_non_null(strstr(error.text, "/nowhere/at/all"));
}

static void an_old_file_stays_until_the_new_one_is_whole(void **unused) {
    uint8_t sha[TW_SHA256_BYTES];
    struct tw_safetensors file;
    size_t size[2];
    assert_int_equal(write_model(ELEMENTS, sha, NULL), TW_OK);
    char *before = read_model(&size[0]);
    assert_int_equal(tw_safetensors_open(&file, path, &list, NULL), TW_OK);
    assert_int_equal(tw_safetensors_write(&file, weights + 5, 1000, NULL), TW_OK);
    tw_safetensors_discard(&file);
    tw_safetensors_discard(&file);
    char *after = read_model(&size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(before, after, size[0]);
    assert_int_equal(files_in_folder(), 1);
    free(before);
    free(after);
}

static void too_few_or_too_many_elements_are_our_own_bug(void **unused) {
    uint8_t sha[TW_SHA256_BYTES];
    struct tw_safetensors file;
    struct tw_error error;
    assert_int_equal(tw_safetensors_open(&file, path, &list, NULL), TW_OK);
    assert_int_equal(tw_safetensors_write(&file, weights, ELEMENTS - 1, NULL), TW_OK);
    assert_int_equal(tw_safetensors_commit(&file, sha, &error), TW_INTERNAL);
    assert_non_null(strstr(error.text, "4 bytes"));
    assert_int_equal(tw_safetensors_open(&file, path, &list, NULL), TW_OK);
    assert_int_equal(tw_safetensors_write(&file, weights, ELEMENTS, NULL), TW_OK);
    assert_int_equal(tw_safetensors_write(&file, weights, 2, &error), TW_INTERNAL);
    assert_non_null(strstr(error.text, "2 floats too many"));
    assert_int_equal(files_in_folder(), 0);
}

static void without_a_path_there_is_only_the_sha(void **unused) {
    struct tw_safetensors file;
    uint8_t written[TW_SHA256_BYTES], told[TW_SHA256_BYTES];
    assert_int_equal(write_model(ELEMENTS, written, NULL), TW_OK);
    unlink(path);
    assert_int_equal(tw_safetensors_open(&file, NULL, &list, NULL), TW_OK);
    assert_int_equal(tw_safetensors_write(&file, weights, ELEMENTS, NULL), TW_OK);
    assert_int_equal(tw_safetensors_commit(&file, told, NULL), TW_OK);
    tw_safetensors_discard(&file);
    assert_memory_equal(told, written, sizeof told);
    assert_int_equal(files_in_folder(), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_a_path_there_is_only_the_sha),
        TEST(a_reader_finds_every_tensor_in_its_place),
        TEST(the_bytes_do_not_depend_on_the_pieces),
        TEST(a_full_disk_leaves_nothing_and_names_the_path),
        TEST(a_folder_that_is_not_there_is_named),
        TEST(an_old_file_stays_until_the_new_one_is_whole),
        TEST(too_few_or_too_many_elements_are_our_own_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
