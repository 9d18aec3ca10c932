#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/say.h"

/* What tw_say wrote goes into a pipe in place of stderr. The pipe keeps packets
 * apart (O_DIRECT), so that one read gives what one write gave. */
struct fixture {
    int stderr_was, out;
    char line[2 * TW_SAY_BYTES];
};

static int begin(void **state) {
    static struct fixture fixture;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_DIRECT | O_NONBLOCK) != 0)
        return -1;
    fixture.stderr_was = dup(STDERR_FILENO);
    fixture.out = ends[0];
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    tw_say_name("talweg");
    *state = &fixture;
    return 0;
}

static int end(void **state) {
    struct fixture *fixture = *state;
    dup2(fixture->stderr_was, STDERR_FILENO);
    close(fixture->stderr_was);
    close(fixture->out);
    return 0;
}

/* One write's worth, after the time; "" when there was none. */
static const char *said(struct fixture *fixture) {
    ssize_t size = read(fixture->out, fixture->line, sizeof fixture->line - 1);
    fixture->line[size > 0 ? size : 0] = '\0';
    if (size <= 0)
        return "";
    int hour, minute, second, length = 0;
    assert_int_equal(sscanf(fixture->line, "%2d:%2d:%2d %n", &hour, &minute, &second, &length), 3);
    assert_int_equal(length, strlen("00:00:00 "));
    return fixture->line + length;
}

static void a_line_is_one_write_with_time_and_name(void **state) {
    tw_say_name("worker 1");
    tw_say("step %d of %s", 3, "many");
    assert_string_equal(said(*state), "worker 1: step 3 of many\n");
    assert_string_equal(said(*state), "");
}

static void the_name_is_talweg_unless_set(void **state) {
    tw_say("hello");
    assert_string_equal(said(*state), "talweg: hello\n");
}

static void a_long_name_is_cut(void **state) {
    tw_say_name("a name of more than thirty-two bytes");
    tw_say("x");
    assert_string_equal(said(*state), "a name of more than thirty-two : x\n");
}

static void a_long_line_is_cut_and_shows_it(void **state) {
    char big[2 * TW_SAY_BYTES];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    tw_say("%s", big);
    const char *text = said(*state);
    struct fixture *fixture = *state;
    assert_true(strlen(fixture->line) <= TW_SAY_BYTES);
    assert_true(strlen(fixture->line) > TW_SAY_BYTES - 8);
    assert_string_equal(text + strlen(text) - 5, "x...\n");
}

static void control_characters_do_not_reach_the_terminal(void **state) {
    tw_say("peer said %s", "a\nb\033[2J");
    assert_string_equal(said(*state), "talweg: peer said a?b?[2J\n");
}

static void errno_is_kept_and_can_be_said(void **state) {
    errno = ENOSPC;
    tw_say("%m");
    assert_int_equal(errno, ENOSPC);
    assert_string_equal(said(*state), "talweg: No space left on device\n");
}

static void a_stderr_that_takes_nothing_stops_nobody(void **state) {
    /* Non-blocking and full: the lines that do not fit are lost. */
    for (int i = 0; i < 2000; i++)
        tw_say("line %d", i);
    assert_string_equal(said(*state), "talweg: line 0\n");
    int kept = 1;
    while (said(*state)[0] != '\0')
        kept++;
    assert_true(kept < 2000);
    tw_say("after");
    assert_string_equal(said(*state), "talweg: after\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(a_line_is_one_write_with_time_and_name),
        TEST(the_name_is_talweg_unless_set),
        TEST(a_long_name_is_cut),
        TEST(a_long_line_is_cut_and_shows_it),
        TEST(control_characters_do_not_reach_the_terminal),
        TEST(errno_is_kept_and_can_be_said),
        TEST(a_stderr_that_takes_nothing_stops_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
