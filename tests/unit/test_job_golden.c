/* Whole job files, good and bad. The first line of each says what must come of it:
 * "# expect: fine", or the message after the name of the file (VERSION stands for
 * Talweg's). */
#include "tests/unit/job_desk.h"

#include <dirent.h>
#include <stdio.h>

#include "common/base/file.h"

#define FOLDER "tests/golden/job"
#define MARK "# expect: "

/* What the first line asks for, with the path and the version in place. */
static char *expectation(const char *path, const char *text) {
    char *out;
    assert_memory_equal(text, MARK, strlen(MARK));
    const char *message = text + strlen(MARK);
    int size = (int)strcspn(message, "\n");
    if (strncmp(message, "fine\n", 5) == 0)
        return strdup("fine");
    const char *version = memmem(message, (size_t)size, "VERSION", 7);
    int head = version ? (int)(version - message) : size;
    assert_true(asprintf(&out, "%s%.*s%s%.*s", path, head, message, version ? TALWEG_VERSION : "",
                         version ? size - head - 7 : 0, message + head + 7) > 0);
    return out;
}

static void check(const char *name) {
    char path[512];
    struct tw_error error = {0};
    struct tw_job *job;
    char *text;
    size_t size;
    snprintf(path, sizeof path, FOLDER "/%s", name);
    assert_int_equal(tw_file_read(path, 1 << 20, &text, &size, &error), TW_OK);
    char *expected = expectation(path, text);
    enum tw_status status = tw_job_load(&job, path, NULL, 0, &error);
    assert_string_equal(status == TW_OK ? "fine" : error.text, expected);
    assert_int_equal(status, strcmp(expected, "fine") == 0 ? TW_OK : TW_JOB);
    tw_job_free(job);
    free(expected);
    free(text);
}

static void each_file_gets_its_answer(void **state) {
    int good = 0, bad = 0;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (!strstr(entry->d_name, ".yaml"))
            continue;
        check(entry->d_name);
        good += strncmp(entry->d_name, "good", 4) == 0;
        bad += strncmp(entry->d_name, "bad", 3) == 0;
    }
    closedir(folder);
    assert_true(good >= 3);
    assert_true(bad >= 16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_file_gets_its_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
