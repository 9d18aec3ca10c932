/* What of an order log stands, and generations that cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/log_history.h"
#include "server/io/order_writer.h"

struct folder {
    char path[64], log[128];
};

static struct folder made(void) {
    struct folder folder = {.path = "/tmp/test_log_history.XXXXXX"};
    assert_non_null(mkdtemp(folder.path));
    snprintf(folder.log, sizeof folder.log, "%s/order.log", folder.path);
    return folder;
}

static void removed(const struct folder *folder) {
    unlink(folder->log);
    rmdir(folder->path);
}

/* REGATHERs of the first update, and a ROLLBACK to the start at each `generation`; 0: none. */
static void write_log(const struct folder *folder, const uint32_t *generation, size_t count) {
    static const uint64_t steps[1];
    struct tw_order_writer writer;
    assert_int_equal(tw_order_writer_open(&writer, folder->path, 1, -1, NULL), TW_OK);
    for (size_t i = 0; i < count; i++) {
        struct tw_record record = {.position = i + 1, .kind = TW_RECORD_REGATHER, .version = 1};
        if (generation[i])
            record = (struct tw_record){.position = i + 1,
                                        .kind = TW_RECORD_ROLLBACK,
                                        .generation = generation[i],
                                        .mode = "sync",
                                        .ranks = 1,
                                        .steps = steps};
        tw_order_writer_add(&writer, &record);
    }
    tw_order_writer_flush(&writer);
    assert_int_equal(writer.failed.status, TW_OK);
    tw_order_writer_close(&writer);
}

static void what_a_rollback_takes_back_does_not_stand(void **state) {
    struct folder folder = made();
    struct tw_log_history history;
    struct tw_error end, error;
    write_log(&folder, (const uint32_t[]){0, 0, 1, 0, 2, 0}, 6);
    assert_int_equal(tw_log_history_read(&history, folder.path, &end, &error), TW_OK);
    assert_int_equal(end.status, TW_CLOSED);
    assert_int_equal(history.position, 6);
    assert_int_equal(history.generation, 2);
    assert_int_equal(history.workers, 1);
    for (uint64_t position = 1; position <= 6; position++)
        assert_int_equal(tw_log_history_stands(&history, position), position >= 5);
    tw_log_history_fini(&history);
    removed(&folder);
}

/* Whoever reads a trace for each of them would never come to the end. */
static void generations_that_are_not_the_next_are_refused(void **state) {
    static const uint32_t wrong[][2] = {{UINT32_MAX, 0}, {2, 0}, {1, 1}, {1, 3}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct folder folder = made();
        struct tw_log_history history;
        struct tw_error end, error;
        write_log(&folder, (const uint32_t[]){0, wrong[i][0], wrong[i][1]}, 3);
        assert_int_equal(tw_log_history_read(&history, folder.path, &end, &error), TW_DATA);
        assert_non_null(strstr(error.text, folder.log));
        assert_non_null(strstr(error.text, "is next"));
        tw_log_history_fini(&history);
        removed(&folder);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_rollback_takes_back_does_not_stand),
        cmocka_unit_test(generations_that_are_not_the_next_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
