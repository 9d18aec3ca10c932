#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/token.h"

static int begin(void **state) {
    static char path[64];
    strcpy(path, "/tmp/talweg-token-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    *state = path;
    return fd < 0;
}

static int end(void **state) {
    return unlink(*state);
}

static enum tw_status read_back(const char *path, const char *bytes, size_t size,
                                struct tw_token *token, struct tw_error *error) {
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
    return tw_token_read(token, path, error);
}

static void one_newline_is_not_part_of_it(void **state) {
    struct tw_token token;
    struct tw_error error;
    assert_int_equal(read_back(*state, "0123456789abcdef\n", 17, &token, &error), TW_OK);
    assert_int_equal(token.size, 16);
    assert_int_equal(read_back(*state, "0123456789abcdef\n\n", 18, &token, &error), TW_OK);
    assert_memory_equal(token.bytes, "0123456789abcdef\n", 17);
    assert_int_equal(token.size, 17);
}

static void any_bytes_count(void **state) {
    struct tw_token token;
    struct tw_error error;
    assert_int_equal(read_back(*state, "0\0\xff 4567\r\n9abcdef", 16, &token, &error), TW_OK);
    assert_memory_equal(token.bytes, "0\0\xff 4567\r\n9abcdef", 16);
}

static void lengths_are_checked(void **state) {
    static char bytes[TW_TOKEN_BYTES_MAX + 2];
    struct tw_token token;
    struct tw_error error;
    memset(bytes, 'x', sizeof bytes);
    bytes[TW_TOKEN_BYTES_MAX] = '\n';
    assert_int_equal(read_back(*state, "", 0, &token, &error), TW_USAGE);
    assert_int_equal(read_back(*state, "0123456789abcde\n", 16, &token, &error), TW_USAGE);
    assert_non_null(strstr(error.text, "has 15 bytes; a secret has 16 to 4096"));
    assert_int_equal(read_back(*state, bytes, TW_TOKEN_BYTES_MAX + 1, &token, &error), TW_OK);
    assert_int_equal(token.size, TW_TOKEN_BYTES_MAX);
    bytes[TW_TOKEN_BYTES_MAX] = 'x';
    assert_int_equal(read_back(*state, bytes, TW_TOKEN_BYTES_MAX + 1, &token, &error), TW_USAGE);
    assert_int_equal(read_back(*state, bytes, sizeof bytes, &token, &error), TW_USAGE);
}

static void readable_by_others_is_refused(void **state) {
    struct tw_token token;
    struct tw_error error;
    const char *path = *state;
    for (mode_t bit = 1; bit <= 040; bit <<= 1) {
        chmod(path, 0600 | bit);
        assert_int_equal(read_back(path, "0123456789abcdef", 16, &token, &error), TW_USAGE);
        assert_non_null(strstr(error.text, "chmod 600"));
    }
}

static void what_is_no_file_is_refused(void **state) {
    struct tw_token token;
    struct tw_error error;
    assert_int_equal(tw_token_read(&token, "/nowhere/token", &error), TW_USAGE);
    assert_non_null(strstr(error.text, "/nowhere/token"));
    assert_int_equal(tw_token_read(&token, "/dev/zero", &error), TW_USAGE);
    assert_non_null(strstr(error.text, "no regular file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_newline_is_not_part_of_it, begin, end),
        cmocka_unit_test_setup_teardown(any_bytes_count, begin, end),
        cmocka_unit_test_setup_teardown(lengths_are_checked, begin, end),
        cmocka_unit_test_setup_teardown(readable_by_others_is_refused, begin, end),
        cmocka_unit_test(what_is_no_file_is_refused),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
