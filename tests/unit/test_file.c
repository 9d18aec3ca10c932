#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"

/* Each test has a fresh folder, removed with all that is in it. */
struct fixture {
    char folder[64];
    struct tw_error error;
};

static int begin(void **state) {
    static struct fixture fixture;
    fixture = (struct fixture){.folder = "/tmp/talweg-test-XXXXXX"};
    *state = &fixture;
    return mkdtemp(fixture.folder) == NULL;
}

static int end(void **state) {
    struct fixture *fixture = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf -- '%s'", fixture->folder);
    return system(command);
}

/* A path in the fixture's folder; four may be in use at once. */
static const char *in_folder(struct fixture *fixture, const char *name) {
    static char paths[4][TW_PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    assert_int_equal(tw_path_join(path, TW_PATH_MAX, fixture->folder, name), TW_OK);
    return path;
}

static int entries(const char *path) {
    DIR *folder = opendir(path);
    assert_non_null(folder);
    int count = -2; /* . and .. */
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void assert_holds(const char *path, const char *expected) {
    char *bytes;
    size_t size;
    assert_int_equal(tw_file_read(path, 1 << 20, &bytes, &size, NULL), TW_OK);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(bytes, expected);
    free(bytes);
}

static void assert_says(const struct fixture *fixture, const char *part) {
    if (strstr(fixture->error.text, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, fixture->error.text);
}

/* ---- reading ---- */

static void what_was_written_is_read(void **state) {
    struct fixture *fixture = *state;
    const char *path = in_folder(fixture, "a");
    size_t size = 300000;
    char *bytes = malloc(size), *back;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7);
    assert_int_equal(tw_file_write_atomic(path, bytes, size, &fixture->error), TW_OK);
    size_t got;
    assert_int_equal(tw_file_read(path, size, &back, &got, &fixture->error), TW_OK);
    assert_int_equal(got, size);
    assert_memory_equal(back, bytes, size);
    assert_int_equal(back[size], 0);
    free(bytes);
    free(back);
}

static void an_empty_file_is_an_empty_string(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(tw_file_write_atomic(in_folder(fixture, "a"), NULL, 0, NULL), TW_OK);
    assert_holds(in_folder(fixture, "a"), "");
    char *bytes;
    size_t size;
    assert_int_equal(tw_file_read(in_folder(fixture, "a"), 0, &bytes, &size, NULL), TW_OK);
    free(bytes);
}

static void a_file_over_the_limit_is_refused(void **state) {
    struct fixture *fixture = *state;
    char *bytes;
    size_t size;
    tw_file_write_atomic(in_folder(fixture, "a"), "12345", 5, NULL);
    assert_int_equal(tw_file_read(in_folder(fixture, "a"), 4, &bytes, &size, &fixture->error),
                     TW_LIMIT);
    assert_null(bytes);
    assert_says(fixture, "/a is longer than the 4 bytes");
    /* No size is known of it, and it never ends. */
    assert_int_equal(tw_file_read("/dev/zero", 100000, &bytes, &size, &fixture->error), TW_LIMIT);
    assert_null(bytes);
}

static void a_file_without_a_known_size_is_read_to_its_end(void **state) {
    char *bytes;
    size_t size;
    assert_int_equal(tw_file_read("/proc/self/status", 1 << 20, &bytes, &size, NULL), TW_OK);
    assert_int_equal(size, strlen(bytes));
    assert_memory_equal(bytes, "Name:", 5);
    free(bytes);
}

static void reading_what_cannot_be_read_says_why(void **state) {
    struct fixture *fixture = *state;
    char *bytes;
    size_t size;
    assert_int_equal(tw_file_read(in_folder(fixture, "no"), 9, &bytes, &size, &fixture->error),
                     TW_IO);
    assert_null(bytes);
    assert_says(fixture, "/no: No such file or directory");
    assert_int_equal(tw_file_read(fixture->folder, 1 << 20, &bytes, &size, &fixture->error), TW_IO);
    assert_null(bytes);
    assert_says(fixture, "Is a directory");
}

/* ---- writing ---- */

static void an_old_file_is_replaced_whole(void **state) {
    struct fixture *fixture = *state;
    const char *path = in_folder(fixture, "a");
    tw_file_write_atomic(path, "a longer old text", 17, NULL);
    assert_int_equal(tw_file_write_atomic(path, "new", 3, &fixture->error), TW_OK);
    assert_holds(path, "new");
    assert_int_equal(entries(fixture->folder), 1); /* no temporary file is left */
}

static void the_umask_decides_who_may_read(void **state) {
    struct fixture *fixture = *state;
    struct stat about;
    mode_t old = umask(027);
    assert_int_equal(tw_file_write_atomic(in_folder(fixture, "a"), "x", 1, NULL), TW_OK);
    umask(old);
    assert_int_equal(stat(in_folder(fixture, "a"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
}

static void a_path_without_a_folder_is_in_the_working_folder(void **state) {
    struct fixture *fixture = *state;
    int here = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(chdir(fixture->folder), 0);
    enum tw_status status = tw_file_write_atomic("plain", "x", 1, &fixture->error);
    assert_int_equal(fchdir(here), 0);
    close(here);
    assert_int_equal(status, TW_OK);
    assert_holds(in_folder(fixture, "plain"), "x");
}

static void a_link_is_replaced_and_its_target_untouched(void **state) {
    struct fixture *fixture = *state;
    tw_file_write_atomic(in_folder(fixture, "target"), "old", 3, NULL);
    assert_int_equal(symlink("target", in_folder(fixture, "link")), 0);
    assert_int_equal(tw_file_write_atomic(in_folder(fixture, "link"), "new", 3, NULL), TW_OK);
    assert_holds(in_folder(fixture, "link"), "new");
    assert_holds(in_folder(fixture, "target"), "old");
}

static void a_device_a_pipe_or_a_folder_is_refused(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(mkfifo(in_folder(fixture, "pipe"), 0600), 0);
    assert_int_equal(mkdir(in_folder(fixture, "folder"), 0700), 0);
    const char *const paths[] = {"/dev/full", in_folder(fixture, "pipe"),
                                 in_folder(fixture, "folder")};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tw_file_write_atomic(paths[i], "x", 1, &fixture->error), TW_IO);
        assert_says(fixture, paths[i]);
        assert_says(fixture, "not a plain file");
    }
    assert_int_equal(entries(fixture->folder), 2);
}

static void a_missing_folder_is_named(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(tw_file_write_atomic(in_folder(fixture, "no/a"), "x", 1, &fixture->error),
                     TW_IO);
    assert_says(fixture, "/no/a: No such file or directory");
}

static void a_path_that_is_too_long_is_refused(void **state) {
    struct fixture *fixture = *state;
    static char path[2 * TW_PATH_MAX];
    static const size_t sizes[] = {TW_PATH_MAX - 5, TW_PATH_MAX, sizeof path - 1};
    for (size_t i = 0; i < 3; i++) {
        memset(path, 0, sizeof path);
        memset(path, 'x', sizes[i]);
        for (size_t k = 0; k < sizes[i]; k += 2)
            path[k] = '/';
        enum tw_status status = tw_file_write_atomic(path, "x", 1, &fixture->error);
        assert_true(status == TW_LIMIT || status == TW_IO);
        if (sizes[i] >= TW_PATH_MAX)
            assert_int_equal(tw_folder_make(path, false, &fixture->error), TW_LIMIT);
    }
}

/* In a child process: runs `prepare`, then replaces folder/a by 1 MiB. The exit code
 * says what happened: 0 as it should, 77 `prepare` is not allowed here. */
static int write_in_child(struct fixture *fixture, bool (*prepare)(struct fixture *),
                          const char *expected) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!prepare(fixture))
            _exit(77);
        const char *path = in_folder(fixture, "a");
        if (tw_file_write_atomic(path, "old", 3, &fixture->error) != TW_OK)
            _exit(1);
        char *big = calloc(1, 1 << 20);
        enum tw_status status = tw_file_write_atomic(path, big, 1 << 20, &fixture->error);
        free(big);
        bool said = strstr(fixture->error.text, path) != NULL &&
                    strstr(fixture->error.text, expected) != NULL;
        if (status != TW_IO || !said)
            _exit(2);
        if (entries(fixture->folder) != 1)
            _exit(3);
        assert_holds(path, "old");
        _exit(0);
    }
    int code = 0;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(WIFEXITED(code));
    return WEXITSTATUS(code);
}

static bool limit_file_size(struct fixture *fixture) {
    struct rlimit limit = {100000, 100000};
    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

static void a_failed_write_leaves_the_old_file_and_no_other(void **state) {
    assert_int_equal(write_in_child(*state, limit_file_size, "File too large"), 0);
}

/* A small disk of the child's own, seen by nobody else. */
static bool mount_small_disk(struct fixture *fixture) {
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", fixture->folder, "tmpfs", 0, "size=64k") == 0;
}

static void a_full_disk_leaves_the_old_file_and_no_other(void **state) {
    int code = write_in_child(*state, mount_small_disk, "No space left on device");
    if (code == 77)
        skip(); /* a container may forbid mounting */
    assert_int_equal(code, 0);
}

static void a_draft_shows_only_when_committed(void **state) {
    struct fixture *fixture = *state;
    const char *path = in_folder(fixture, "a");
    struct tw_draft draft;
    assert_int_equal(tw_draft_open(&draft, path, NULL), TW_OK);
    assert_int_equal(tw_draft_write(&draft, "one ", 4, NULL), TW_OK);
    assert_int_equal(tw_draft_write(&draft, NULL, 0, NULL), TW_OK);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(tw_draft_write(&draft, "two", 3, NULL), TW_OK);
    assert_int_equal(tw_draft_commit(&draft, NULL), TW_OK);
    assert_holds(path, "one two");
    tw_draft_discard(&draft); /* harmless now */
    assert_holds(path, "one two");
}

static void a_discarded_draft_leaves_nothing(void **state) {
    struct fixture *fixture = *state;
    struct tw_draft draft;
    assert_int_equal(tw_draft_open(&draft, in_folder(fixture, "a"), NULL), TW_OK);
    assert_int_equal(tw_draft_write(&draft, "x", 1, NULL), TW_OK);
    assert_int_equal(entries(fixture->folder), 1);
    tw_draft_discard(&draft);
    tw_draft_discard(&draft);
    assert_int_equal(entries(fixture->folder), 0);
    assert_int_equal(tw_draft_write(&draft, "x", 1, &fixture->error), TW_IO);
    assert_int_equal(tw_draft_commit(&draft, &fixture->error), TW_IO);
    assert_int_equal(entries(fixture->folder), 0);
}

static void two_drafts_of_one_file_do_not_meet(void **state) {
    struct fixture *fixture = *state;
    struct tw_draft one, two;
    assert_int_equal(tw_draft_open(&one, in_folder(fixture, "a"), NULL), TW_OK);
    assert_int_equal(tw_draft_open(&two, in_folder(fixture, "a"), NULL), TW_OK);
    tw_draft_write(&one, "one", 3, NULL);
    tw_draft_write(&two, "two", 3, NULL);
    assert_int_equal(tw_draft_commit(&two, NULL), TW_OK);
    assert_holds(in_folder(fixture, "a"), "two");
    assert_int_equal(tw_draft_commit(&one, NULL), TW_OK);
    assert_holds(in_folder(fixture, "a"), "one");
}

/* ---- folders and paths ---- */

static void folders_are_made_with_those_above(void **state) {
    struct fixture *fixture = *state;
    const char *path = in_folder(fixture, "x//y/./z/");
    assert_int_equal(tw_folder_make(path, true, &fixture->error), TW_OK);
    assert_int_equal(entries(in_folder(fixture, "x/y/z")), 0);
    assert_int_equal(tw_folder_make(path, true, &fixture->error), TW_OK); /* still empty */
    assert_int_equal(tw_folder_make("/", false, &fixture->error), TW_OK);
}

static void a_folder_that_is_not_empty_is_refused_when_asked(void **state) {
    struct fixture *fixture = *state;
    tw_file_write_atomic(in_folder(fixture, ".hidden"), "", 0, NULL);
    assert_int_equal(tw_folder_make(fixture->folder, false, &fixture->error), TW_OK);
    assert_int_equal(tw_folder_make(fixture->folder, true, &fixture->error), TW_USAGE);
    assert_says(fixture, fixture->folder);
    assert_says(fixture, "not empty");
}

static void a_file_in_the_way_of_a_folder_is_named(void **state) {
    struct fixture *fixture = *state;
    tw_file_write_atomic(in_folder(fixture, "a"), "", 0, NULL);
    assert_int_equal(tw_folder_make(in_folder(fixture, "a"), false, &fixture->error), TW_IO);
    assert_says(fixture, "/a: Not a directory");
    assert_int_equal(tw_folder_make(in_folder(fixture, "a/b"), false, &fixture->error), TW_IO);
    assert_says(fixture, "/a: Not a directory");
    assert_int_equal(tw_folder_make("", false, &fixture->error), TW_IO);
}

static void paths_are_joined_with_one_slash(void **state) {
    char out[8];
    assert_int_equal(tw_path_join(out, sizeof out, "a", "b"), TW_OK);
    assert_string_equal(out, "a/b");
    assert_int_equal(tw_path_join(out, sizeof out, "a/", "b"), TW_OK);
    assert_string_equal(out, "a/b");
    assert_int_equal(tw_path_join(out, sizeof out, "a", "/b"), TW_OK);
    assert_string_equal(out, "/b");
    assert_int_equal(tw_path_join(out, sizeof out, "", "b"), TW_OK);
    assert_string_equal(out, "b");
    assert_int_equal(tw_path_join(out, sizeof out, "abc", "def"), TW_OK);
    assert_int_equal(tw_path_join(out, sizeof out, "abc", "defg"), TW_LIMIT);
    assert_string_equal(out, "");
    assert_int_equal(tw_path_join(NULL, 0, "a", "b"), TW_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(what_was_written_is_read),
        TEST(an_empty_file_is_an_empty_string),
        TEST(a_file_over_the_limit_is_refused),
        TEST(a_file_without_a_known_size_is_read_to_its_end),
        TEST(reading_what_cannot_be_read_says_why),
        TEST(an_old_file_is_replaced_whole),
        TEST(the_umask_decides_who_may_read),
        TEST(a_path_without_a_folder_is_in_the_working_folder),
        TEST(a_link_is_replaced_and_its_target_untouched),
        TEST(a_device_a_pipe_or_a_folder_is_refused),
        TEST(a_missing_folder_is_named),
        TEST(a_path_that_is_too_long_is_refused),
        TEST(a_failed_write_leaves_the_old_file_and_no_other),
        TEST(a_full_disk_leaves_the_old_file_and_no_other),
        TEST(a_draft_shows_only_when_committed),
        TEST(a_discarded_draft_leaves_nothing),
        TEST(two_drafts_of_one_file_do_not_meet),
        TEST(folders_are_made_with_those_above),
        TEST(a_folder_that_is_not_empty_is_refused_when_asked),
        TEST(a_file_in_the_way_of_a_folder_is_named),
        TEST(paths_are_joined_with_one_slash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
