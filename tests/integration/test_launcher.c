#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/launcher.h"

/* The launcher with children that misbehave on command (tests/lib/fake_child.c). What
 * it shows is kept as text; a signal can be sent when a certain word is shown. */
struct fixture {
    char folder[64];
    struct tw_text shown;
    struct tw_progress progress;
    struct tw_summary summary;
    bool evict;          /* on_worker_loss */
    const char *trigger; /* when this is shown ... */
    int signal;          /* ... we get this signal, */
    int times;           /* so many times */
    int pipe;            /* copy of what is shown; -1: none */
};

static void keep(void *context, const char *bytes, size_t size) {
    struct fixture *fixture = context;
    tw_text_add_bytes(&fixture->shown, bytes, size);
    if (fixture->pipe >= 0)
        tw_progress_write_fd(&fixture->pipe, bytes, size);
    if (fixture->trigger && strstr(fixture->shown.at, fixture->trigger)) {
        fixture->trigger = fixture->times > 1 ? "stopping" : NULL;
        fixture->times--;
        kill(getpid(), fixture->signal);
    }
}

static int begin(void **state) {
    struct fixture *fixture = calloc(1, sizeof *fixture);
    strcpy(fixture->folder, "/tmp/talweg-launcher-XXXXXX");
    fixture->pipe = -1;
    struct tw_progress_look look = {.width = 80};
    tw_progress_init(&fixture->progress, look, keep, fixture);
    *state = fixture;
    return mkdtemp(fixture->folder) ? 0 : -1;
}

static int remove_folder(const char *folder) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    return rmdir(folder);
}

static int end(void **state) {
    struct fixture *fixture = *state;
    tw_text_fini(&fixture->shown);
    int failed = remove_folder(fixture->folder);
    free(fixture);
    return failed;
}

static enum tw_status launch(struct fixture *fixture, const char *script, int workers,
                             int evaluators) {
    struct tw_launch config = {
        .executable = FAKE_CHILD,
        .job = script,
        .folder = fixture->folder,
        .servers = 1,
        .workers = workers,
        .evaluators = evaluators,
        .evict = fixture->evict,
        .progress = &fixture->progress,
    };
    tw_launcher_hold_signals();
    return tw_launcher_run(&config, &fixture->summary);
}

static void assert_shown(struct fixture *fixture, const char *text) {
    if (!fixture->shown.at || !strstr(fixture->shown.at, text))
        fail_msg("\"%s\" is missing in:\n%s", text, fixture->shown.at ? fixture->shown.at : "");
}

static void assert_error(struct fixture *fixture, const char *text) {
    if (!strstr(fixture->summary.result.error, text))
        fail_msg("\"%s\" is missing in: %s", text, fixture->summary.result.error);
}

/* Zombies count: the launcher has waited for all that it started. */
static void assert_no_child(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void run_ends_well(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(launch(fixture, "server=train clients=3", 2, true), TW_OK);
    assert_string_equal(tw_summary_status(&fixture->summary), "done");
    assert_true(fixture->summary.counted);
    assert_int_equal(fixture->summary.result.updates, 20);
    assert_shown(fixture, "epoch 1/2  train loss 0.5000");
    assert_no_child();
}

static void each_child_has_a_log(void **state) {
    struct fixture *fixture = *state;
    static const char *const names[] = {"server0.log", "worker0.log", "evaluator.log"};
    launch(fixture, "server=train clients=2", 1, 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", fixture->folder, names[i]);
        assert_int_equal(stat(path, &about), 0);
    }
}

static void worker_that_gives_up_fails_the_run(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=wait clients=3 worker1=exit", 2, 1);
    assert_string_equal(tw_summary_status(&fixture->summary), "failed");
    assert_error(fixture, "worker 1 ended with exit code 3");
    assert_error(fixture, "worker1.log");
    assert_shown(fixture, "  | worker says: ?[2Jno memory\n");
    assert_no_child();
}

static void killed_worker_fails_the_run(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=wait clients=2 worker0=killed", 1, 1);
    assert_error(fixture, "worker 0 was killed by SIGKILL");
    assert_string_equal(fixture->summary.result.model + strlen(fixture->folder),
                        "/model.safetensors"); /* the server saved what it had */
    assert_no_child();
}

static void killed_evaluator_fails_the_run(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=wait clients=2 evaluator=killed", 1, 1);
    assert_error(fixture, "evaluator was killed by SIGKILL");
    assert_no_child();
}

/* ---- on_worker_loss: evict ---- */

static void run_ends_well_without_a_worker(void **state) {
    struct fixture *fixture = *state;
    fixture->evict = true;
    assert_int_equal(launch(fixture, "server=lose clients=4 worker1=killed", 3, true), TW_OK);
    assert_string_equal(tw_summary_status(&fixture->summary), "done");
    assert_shown(fixture, "worker 1 was killed by SIGKILL; the run ");
    assert_no_child();
}

static void run_goes_on_without_a_worker(const char *script, const char *shown, void **state) {
    struct fixture *fixture = *state;
    fixture->evict = true;
    fixture->trigger = "goes on without it";
    fixture->signal = SIGINT;
    assert_int_equal(launch(fixture, script, 2, false), TW_INTERRUPTED);
    assert_shown(fixture, shown);
    assert_string_equal(fixture->summary.result.model + strlen(fixture->folder),
                        "/model.safetensors");
    assert_no_child();
}

static void run_goes_on_without_one_that_was_killed(void **state) {
    run_goes_on_without_a_worker(
        "server=wait clients=2 worker0=killed",
        "worker 0 was killed by SIGKILL; the run goes on without it (log: ", state);
}

static void run_goes_on_without_one_that_gave_up(void **state) {
    run_goes_on_without_a_worker(
        "server=wait clients=2 worker1=exit",
        "worker 1 ended with exit code 3; the run goes on without it (log: ", state);
    assert_shown(*state, "  | worker says: ?[2Jno memory\n");
}

static void without_any_worker_the_run_fails(void **state) {
    struct fixture *fixture = *state;
    fixture->evict = true;
    launch(fixture, "server=wait clients=2 worker0=killed worker1=exit", 2, 0);
    assert_string_equal(tw_summary_status(&fixture->summary), "failed");
    assert_error(fixture, "before the run was done"); /* of the last, or of both at once */
    assert_no_child();
}

static void worker_that_dies_before_the_start_fails_the_run(void **state) {
    struct fixture *fixture = *state;
    fixture->evict = true;
    launch(fixture, "server=wait clients=3 worker0=unborn", 2, 0);
    assert_error(fixture, "worker 0 was killed by SIGKILL before the run was done");
    assert_no_child();
}

static void run_does_not_go_on_without_its_evaluator(void **state) {
    struct fixture *fixture = *state;
    fixture->evict = true;
    launch(fixture, "server=wait clients=2 evaluator=killed", 1, 1);
    assert_error(fixture, "evaluator was killed by SIGKILL");
    assert_no_child();
}

/* Its workers end badly too, but they are not lost: it is the run that has failed. */
static void reason_of_the_server_is_the_reason_also_then(void **state) {
    struct fixture *fixture = *state;
    fixture->evict = true;
    launch(fixture, "server=fail clients=2 worker0=badend worker1=badend", 2, 0);
    assert_string_equal(fixture->summary.result.error,
                        "model.safetensors: no space left on device");
    assert_null(strstr(fixture->shown.at, "without it"));
    assert_no_child();
}

static void killed_server_fails_the_run(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=killed clients=2 worker0=stubborn", 2, 0);
    assert_error(fixture, "server 0 was killed by SIGKILL");
    assert_false(fixture->summary.counted);
    assert_no_child();
}

static void server_that_cannot_start_shows_its_log(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=stillborn clients=0", 2, 1);
    assert_error(fixture, "server 0 ended with exit code 3");
    assert_shown(fixture, "  | the server cannot start");
    assert_no_child();
}

static void reason_of_the_server_is_the_reason(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=fail clients=2 worker0=badend", 2, 0);
    assert_int_equal(fixture->summary.result.status, TW_IO);
    assert_string_equal(fixture->summary.result.error,
                        "model.safetensors: no space left on device");
    assert_no_child();
}

static void bad_end_after_done_is_no_success(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=train clients=2 worker1=badend", 2, 0);
    assert_string_equal(tw_summary_status(&fixture->summary), "failed");
    assert_error(fixture, "worker 1 ended with exit code 4 after the run was done");
    assert_true(fixture->summary.counted);
}

static void server_that_ends_badly_after_done_is_no_success(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=lie clients=1", 1, 0);
    assert_error(fixture, "server 0 ended with exit code 5 after the run was done");
}

static void flood_of_a_log_shows_only_its_end(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=wait clients=1 worker0=flood", 1, 0);
    assert_shown(fixture, "line 099999 of");
    assert_shown(fixture, "line 099980 of");
    assert_null(strstr(fixture->shown.at, "line 099979 of"));
    assert_no_child();
}

static void child_that_ignores_sigterm_is_killed(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=wait clients=2 worker0=killed worker1=deaf", 2, 0);
    assert_error(fixture, "worker 0 was killed by SIGKILL");
    assert_no_child();
}

static void garbage_of_a_server_fails_the_run(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=garbage clients=1", 1, 0);
    assert_error(fixture, "server 0 sent a report \"done\" whose field");
    assert_no_child();
}

static void endless_report_fails_the_run(void **state) {
    struct fixture *fixture = *state;
    launch(fixture, "server=endless clients=1", 1, 0);
    assert_error(fixture, "server 0 sent a report without an end");
    assert_no_child();
}

static void missing_executable_is_said(void **state) {
    struct fixture *fixture = *state;
    struct tw_launch config = {
        .executable = "/nowhere/talweg",
        .job = "x",
        .folder = fixture->folder,
        .servers = 1,
        .workers = 1,
        .progress = &fixture->progress,
    };
    tw_launcher_hold_signals();
    tw_launcher_run(&config, &fixture->summary);
    assert_error(fixture, "server 0 cannot be started (/nowhere/talweg): no such file");
    assert_no_child();
}

static void ctrl_c_saves_the_model(void **state) {
    struct fixture *fixture = *state;
    fixture->trigger = "epoch 1/2";
    fixture->signal = SIGINT;
    assert_int_equal(launch(fixture, "server=wait clients=3", 2, true), TW_INTERRUPTED);
    assert_string_equal(tw_summary_status(&fixture->summary), "interrupted");
    assert_string_equal(fixture->summary.result.model + strlen(fixture->folder),
                        "/model.safetensors");
    assert_no_child();
}

static void sigterm_reaches_a_worker_that_stays(void **state) {
    struct fixture *fixture = *state;
    fixture->trigger = "epoch 1/2";
    fixture->signal = SIGTERM;
    assert_int_equal(launch(fixture, "server=wait clients=2 worker0=deaf", 2, false),
                     TW_INTERRUPTED);
    assert_no_child();
}

static void second_signal_kills_all_at_once(void **state) {
    struct fixture *fixture = *state;
    fixture->trigger = "epoch 1/2";
    fixture->signal = SIGINT;
    fixture->times = 2;
    assert_int_equal(launch(fixture, "server=deaf clients=2 worker0=deaf", 2, false),
                     TW_INTERRUPTED);
    assert_no_child();
}

static void killed_children_leave_no_temporary_file(void **state) {
    struct fixture *fixture = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors.tmp", fixture->folder);
    launch(fixture, "server=deaf clients=1 worker0=killed", 1, 0);
    assert_int_equal(access(path, F_OK), -1);
}

/* A launcher of its own in another process, whose orphans become ours. */
static void killed_launcher_takes_all_with_it(void **state) {
    struct fixture *fixture = *state;
    int ends[2];
    char byte, shown[256];
    size_t size = 0;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe(ends), 0);
    pid_t launcher = fork();
    if (launcher == 0) {
        close(ends[0]);
        fixture->pipe = ends[1];
        launch(fixture, "server=deaf clients=3 worker0=deaf worker1=stubborn evaluator=deaf", 2, 1);
        _exit(0);
    }
    close(ends[1]);
    while (size < sizeof shown && read(ends[0], &byte, 1) == 1 && byte != '\n')
        shown[size++] = byte; /* the epoch's line: all are there */
    assert_true(size > 0);
    kill(launcher, SIGKILL);
    int ended = 0, status;
    while (waitpid(-1, &status, 0) > 0) {
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        ended++;
    }
    assert_int_equal(ended, 1 + 4);
    close(ends[0]);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(run_ends_well, begin, end),
        cmocka_unit_test_setup_teardown(each_child_has_a_log, begin, end),
        cmocka_unit_test_setup_teardown(worker_that_gives_up_fails_the_run, begin, end),
        cmocka_unit_test_setup_teardown(killed_worker_fails_the_run, begin, end),
        cmocka_unit_test_setup_teardown(killed_evaluator_fails_the_run, begin, end),
        cmocka_unit_test_setup_teardown(run_ends_well_without_a_worker, begin, end),
        cmocka_unit_test_setup_teardown(run_goes_on_without_one_that_was_killed, begin, end),
        cmocka_unit_test_setup_teardown(run_goes_on_without_one_that_gave_up, begin, end),
        cmocka_unit_test_setup_teardown(without_any_worker_the_run_fails, begin, end),
        cmocka_unit_test_setup_teardown(worker_that_dies_before_the_start_fails_the_run, begin,
                                        end),
        cmocka_unit_test_setup_teardown(run_does_not_go_on_without_its_evaluator, begin, end),
        cmocka_unit_test_setup_teardown(reason_of_the_server_is_the_reason_also_then, begin, end),
        cmocka_unit_test_setup_teardown(killed_server_fails_the_run, begin, end),
        cmocka_unit_test_setup_teardown(server_that_cannot_start_shows_its_log, begin, end),
        cmocka_unit_test_setup_teardown(reason_of_the_server_is_the_reason, begin, end),
        cmocka_unit_test_setup_teardown(bad_end_after_done_is_no_success, begin, end),
        cmocka_unit_test_setup_teardown(server_that_ends_badly_after_done_is_no_success, begin,
                                        end),
        cmocka_unit_test_setup_teardown(flood_of_a_log_shows_only_its_end, begin, end),
        cmocka_unit_test_setup_teardown(child_that_ignores_sigterm_is_killed, begin, end),
        cmocka_unit_test_setup_teardown(garbage_of_a_server_fails_the_run, begin, end),
        cmocka_unit_test_setup_teardown(endless_report_fails_the_run, begin, end),
        cmocka_unit_test_setup_teardown(missing_executable_is_said, begin, end),
        cmocka_unit_test_setup_teardown(ctrl_c_saves_the_model, begin, end),
        cmocka_unit_test_setup_teardown(sigterm_reaches_a_worker_that_stays, begin, end),
        cmocka_unit_test_setup_teardown(second_signal_kills_all_at_once, begin, end),
        cmocka_unit_test_setup_teardown(killed_children_leave_no_temporary_file, begin, end),
        cmocka_unit_test_setup_teardown(killed_launcher_takes_all_with_it, begin, end),
    };
    return cmocka_run_group_tests_name("launcher", tests, NULL, NULL);
}
