/* Folders of checkpoints: the newest are kept, half-written ones go, others stay. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/io/checkpoint_folder.h"

static char root[64];

static void make(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0777), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s/shard-%d.safetensors", root, name, i);
        int fd = open(path, O_WRONLY | O_CREAT, 0666);
        assert_true(fd >= 0);
        close(fd);
    }
}

static bool is_there(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return access(path, F_OK) == 0;
}

static int set_up(void **unused) {
    strcpy(root, "/tmp/talweg-folders-XXXXXX");
    assert_non_null(mkdtemp(root));
    return 0;
}

static int tear_down(void **unused) {
    char path[256];
    snprintf(path, sizeof path, "%s/mine.tmp", root);
    tw_checkpoint_folder_remove(path);
    tw_checkpoint_folder_prune(root, 0);
    return rmdir(root);
}

static void test_the_newest_are_kept(void **state) {
    make("v00000100-g0");
    make("v00000200-g0");
    make("v00000150-g1"); /* after the run had gone back */
    make("v00000050-g1");
    tw_checkpoint_folder_prune(root, 3);
    assert_false(is_there("v00000100-g0"));
    assert_true(is_there("v00000200-g0"));
    tw_checkpoint_folder_prune(root, 2);
    assert_false(is_there("v00000200-g0"));
    assert_true(is_there("v00000150-g1") && is_there("v00000050-g1"));
}

static void test_half_written_ones_go(void **state) {
    make("v00000300-g2.tmp");
    make("mine.tmp");
    tw_checkpoint_folder_sweep(root);
    assert_false(is_there("v00000300-g2.tmp"));
    assert_true(is_there("mine.tmp"));
}

static void test_a_draft_becomes_a_checkpoint(void **state) {
    char draft[128], folder[128];
    struct tw_text text = {0};
    make("v00000400-g2.tmp");
    snprintf(draft, sizeof draft, "%s/v00000400-g2.tmp", root);
    snprintf(folder, sizeof folder, "%s/v00000400-g2", root);
    tw_text_add(&text, "{}\n");
    assert_int_equal(tw_checkpoint_folder_commit(draft, folder, root, &text, NULL), TW_OK);
    assert_false(is_there("v00000400-g2.tmp"));
    assert_true(is_there("v00000400-g2/manifest.json"));
    assert_int_equal(tw_checkpoint_folder_commit(draft, folder, root, &text, NULL), TW_IO);
    tw_text_fini(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_are_kept),
        cmocka_unit_test(test_half_written_ones_go),
        cmocka_unit_test(test_a_draft_becomes_a_checkpoint),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
