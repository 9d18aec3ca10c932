#include "cli/launcher.h"

#include <assert.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/run_folder.h"

/*   RUNNING --DONE--> ENDING --late--> LEAVING --late--> KILLING
 *      |                                  ^
 *      +--signal--> STOPPING --late-------+   (late only once the server is gone)
 *      +--a child died--------------------+   (or a worker, and the run goes on without it)
 *   any --second signal--> KILLING
 */
enum phase {
    RUNNING,  /* all are expected to live */
    ENDING,   /* the server said DONE: all go by themselves */
    STOPPING, /* the server was told to stop, and will tell the others */
    LEAVING,  /* all were sent SIGTERM */
    KILLING,  /* all were sent SIGKILL */
};

enum {
    END_MS = 10000,       /* from DONE to SIGTERM */
    FAILED_END_MS = 2000, /* the same when the run failed */
    TERM_MS = 2000,       /* from SIGTERM to SIGKILL */
    REASON_MS = 500,      /* a worker that gave up: the server may be telling us why */
    EARLY_MS = 5000,      /* a worker that left in peace before DONE */
    TICK_MS = 50,
};

enum { SIGNALS = 3 };
static const int stop_signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

struct launcher {
    const struct tw_launch *launch;
    struct tw_summary *summary;
    uv_loop_t loop;
    enum phase phase;
    bool started;     /* all workers have been there */
    bool done;        /* the server's result is in the summary */
    bool interrupted; /* by a signal */
    bool reading;     /* the server's reports have not ended */
    bool closing;
    struct tw_text failure; /* why the run failed; empty: it did not */
    struct tw_child *child; /* [0] lead, then other servers, workers, then evaluators */
    int children;
    uv_pipe_t reports;
    uv_timer_t deadline, reason, tick;
    uv_signal_t stop[SIGNALS], resize;
    size_t line_size;
    char line[TW_REPORT_LINE_MAX];
};

static void advance(struct launcher *launcher);

static void fail(struct launcher *launcher, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void signal_all(struct launcher *launcher, int signal) {
    for (int i = 0; i < launcher->children; i++)
        tw_child_signal(&launcher->child[i], signal);
}

static void on_deadline(uv_timer_t *timer);

static void enter(struct launcher *launcher, enum phase phase, uint64_t deadline_ms) {
    launcher->phase = phase;
    if (phase == LEAVING)
        signal_all(launcher, SIGTERM);
    if (phase == KILLING)
        signal_all(launcher, SIGKILL);
    if (deadline_ms)
        uv_timer_start(&launcher->deadline, on_deadline, deadline_ms, 0);
    else
        uv_timer_stop(&launcher->deadline);
}

static void on_deadline(uv_timer_t *timer) {
    struct launcher *launcher = timer->data;
    if (launcher->phase == LEAVING)
        enter(launcher, KILLING, 0);
    else if (launcher->phase != KILLING)
        enter(launcher, LEAVING, TERM_MS);
    advance(launcher);
}

/* The first reason stands; all are sent away. */
static void fail(struct launcher *launcher, const char *format, ...) {
    if (launcher->failure.size == 0 && !launcher->interrupted) {
        char text[TW_ERROR_TEXT];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        tw_text_clean(text);
        tw_text_add(&launcher->failure, "%s", text);
        tw_progress_line(launcher->launch->progress, TW_TONE_BAD, text);
    }
    if (launcher->phase < LEAVING)
        enter(launcher, LEAVING, TERM_MS);
}

/* The end of its log, indented. */
static void show_tail(struct launcher *launcher, const struct tw_child *child) {
    struct tw_text line = {0}, tail = {0};
    tw_child_tail(child, &tail);
    char *rest = tail.at, *text;
    while (rest && (text = strsep(&rest, "\n"))) {
        tw_text_clear(&line);
        tw_text_add(&line, "  | %s", text);
        if (*text && !line.failed)
            tw_progress_line(launcher->launch->progress, TW_TONE_PLAIN, line.at);
    }
    tw_text_fini(&line);
    tw_text_fini(&tail);
}

/* Says which process ended, how, and shows the end of its log. */
static void fail_by(struct launcher *launcher, const struct tw_child *child) {
    struct tw_text words = {0};
    bool first = launcher->failure.size == 0 && !launcher->interrupted;
    tw_child_end_words(child, &words);
    fail(launcher, "%s%s (log: %s)", words.at ? words.at : child->name,
         launcher->done ? " after the run was done" : " before the run was done", child->log);
    if (first)
        show_tail(launcher, child);
    tw_text_fini(&words);
}

static bool ended_well(const struct tw_child *child) {
    return child->exit_code == 0 && child->signal == 0;
}

/* ---- workers that end ---- */

static bool is_worker(const struct launcher *launcher, const struct tw_child *child) {
    const struct tw_child *first = launcher->child + launcher->launch->servers;
    return child >= first && child < first + launcher->launch->workers;
}

static bool is_evaluator(const struct launcher *launcher, const struct tw_child *child) {
    return child >= launcher->child + launcher->launch->servers + launcher->launch->workers;
}

/* One of those that do the same. */
static bool another_lives(const struct launcher *launcher, const struct tw_child *child) {
    bool evaluates = is_evaluator(launcher, child);
    for (int i = launcher->launch->servers; i < launcher->children; i++)
        if (is_evaluator(launcher, &launcher->child[i]) == evaluates &&
            tw_child_lives(&launcher->child[i]))
            return true;
    return false;
}

/* Whether the run can go on without this child, which has ended. */
static bool is_spared(const struct launcher *launcher, const struct tw_child *child) {
    bool may =
        is_evaluator(launcher, child) || (launcher->launch->evict && is_worker(launcher, child));
    return may && launcher->started && (launcher->done || another_lives(launcher, child));
}

static void go_on_without(struct launcher *launcher, const struct tw_child *child) {
    struct tw_text words = {0};
    tw_child_end_words(child, &words);
    tw_text_add(&words, "; the run %s without it (log: %s)", launcher->done ? "ends" : "goes on",
                child->log);
    tw_progress_text(launcher->launch->progress, TW_TONE_CARE, &words);
    show_tail(launcher, child);
}

static void judge_worker(struct launcher *launcher, const struct tw_child *child) {
    if (is_spared(launcher, child))
        go_on_without(launcher, child);
    else
        fail_by(launcher, child);
}

/* One that ended in this way. */
static struct tw_child *find_suspect(struct launcher *launcher, bool well) {
    for (int i = 0; i < launcher->children; i++)
        if (launcher->child[i].suspect && ended_well(&launcher->child[i]) == well)
            return &launcher->child[i];
    return NULL;
}

static void judge_suspects(struct launcher *launcher, bool well) {
    struct tw_child *suspect;
    while ((suspect = find_suspect(launcher, well))) {
        suspect->suspect = false;
        judge_worker(launcher, suspect);
    }
}

/* Those that ended badly first: they are the reason why the others went. */
static void on_reason(uv_timer_t *timer) {
    struct launcher *launcher = timer->data;
    if (launcher->phase == RUNNING) {
        judge_suspects(launcher, false);
        judge_suspects(launcher, true);
    }
    advance(launcher);
}

/* One that was killed is judged at once. One that gave up by itself may have been told
 * to by a server whose report is still on its way. */
static void on_worker_end(struct launcher *launcher, struct tw_child *child) {
    bool well = ended_well(child);
    if (launcher->phase == ENDING && !well && launcher->summary->result.status == TW_OK)
        judge_worker(launcher, child);
    if (launcher->phase != RUNNING)
        return;
    if (child->signal) {
        judge_worker(launcher, child);
        return;
    }
    bool first = !find_suspect(launcher, false) && !(well && find_suspect(launcher, true));
    child->suspect = true;
    if (first)
        uv_timer_start(&launcher->reason, on_reason, well ? EARLY_MS : REASON_MS, 0);
}

static void on_end(struct tw_child *child) {
    struct launcher *launcher = child->owner;
    if (child != &launcher->child[0])
        on_worker_end(launcher, child);
    advance(launcher);
}

/* The server's end is judged when both its exit and the end of its reports are
 * known: they come in any order. */
static void judge_server(struct launcher *launcher) {
    struct tw_child *server = &launcher->child[0];
    bool ok = launcher->done && (launcher->summary->result.status != TW_OK || ended_well(server));
    if (!ok && (launcher->phase == RUNNING || launcher->phase == ENDING))
        fail_by(launcher, server);
    if (launcher->phase == STOPPING && !uv_is_active((uv_handle_t *)&launcher->deadline))
        enter(launcher, STOPPING, TERM_MS);
}

static enum tw_status start_child(struct launcher *launcher, const char *const *arguments,
                                  uv_pipe_t *reports, struct tw_error *error) {
    struct tw_child *child = &launcher->child[launcher->children++];
    child->owner = launcher;
    child->on_end = on_end;
    struct tw_child_plan plan = {
        .executable = launcher->launch->executable,
        .folder = launcher->launch->folder,
        .arguments = arguments,
        .keeps_log = launcher->launch->resume,
        .blas_core = launcher->launch->blas_core,
        .reports = reports,
    };
    return tw_child_spawn(child, &launcher->loop, &plan, error);
}

static enum tw_status start_server(struct launcher *launcher, struct tw_error *error) {
    char tie[32];
    snprintf(tie, sizeof tie, "3:%ld", (long)getpid());
    snprintf(launcher->child[0].name, TW_CHILD_NAME, "server 0");
    const char *arguments[TW_CHILD_ARGUMENTS] = {
        "talweg",       "server", "--listen", "127.0.0.1:0", "--out", launcher->launch->folder,
        "--supervised", tie,
    };
    int n = 8;
    if (launcher->launch->resume)
        arguments[n++] = "--resume";
    if (launcher->launch->inexact)
        arguments[n++] = "--inexact";
    arguments[n++] = "--";
    arguments[n++] = launcher->launch->job;
    return start_child(launcher, arguments, &launcher->reports, error);
}

static enum tw_status start_other_server(struct launcher *launcher, int index, const char *lead,
                                         struct tw_error *error) {
    char tie[32], number[16];
    snprintf(tie, sizeof tie, "-1:%ld", (long)getpid());
    snprintf(number, sizeof number, "%d", index);
    snprintf(launcher->child[launcher->children].name, TW_CHILD_NAME, "server %d", index);
    const char *arguments[TW_CHILD_ARGUMENTS] = {
        "talweg",   "server",      "--index",      number, "--lead", lead,
        "--listen", "127.0.0.1:0", "--supervised", tie,    "--",     launcher->launch->job,
    };
    return start_child(launcher, arguments, NULL, error);
}

/* Rank -1 - i: evaluator i. */
static enum tw_status start_worker(struct launcher *launcher, int rank, const char *server,
                                   struct tw_error *error) {
    char tie[32], number[16], slow[48];
    const struct tw_straggler *straggler = &launcher->launch->straggler;
    snprintf(tie, sizeof tie, "-1:%ld", (long)getpid());
    snprintf(number, sizeof number, "%d", rank);
    char *name = launcher->child[launcher->children].name;
    const char *arguments[TW_CHILD_ARGUMENTS] = {
        "talweg", "worker", "--server", server, "--supervised", tie,
    };
    int n = 6;
    if (rank < 0) {
        if (launcher->launch->evaluators == 1)
            snprintf(name, TW_CHILD_NAME, "evaluator");
        else
            snprintf(name, TW_CHILD_NAME, "evaluator %d", -1 - rank);
        arguments[n++] = "--evaluate";
    } else {
        snprintf(name, TW_CHILD_NAME, "worker %d", rank);
        arguments[n++] = "--rank";
        arguments[n++] = number;
    }
    if (straggler->factor > 0 && rank >= 0 && (uint32_t)rank == straggler->rank) {
        snprintf(slow, sizeof slow, "%d:%.17g", rank, straggler->factor);
        arguments[n++] = "--straggler";
        arguments[n++] = slow;
    }
    arguments[n++] = "--";
    arguments[n++] = launcher->launch->job;
    return start_child(launcher, arguments, NULL, error);
}

static void start_others(struct launcher *launcher, const struct tw_report *report) {
    char server[80];
    struct tw_error error;
    enum tw_status status = TW_OK;
    snprintf(server, sizeof server, "%s:%d", report->host, report->port);
    for (int i = 1; i < launcher->launch->servers && !status; i++)
        status = start_other_server(launcher, i, server, &error);
    for (int rank = 0; rank < launcher->launch->workers && !status; rank++)
        status = start_worker(launcher, rank, server, &error);
    for (int i = 0; i < launcher->launch->evaluators && !status; i++)
        status = start_worker(launcher, -1 - i, server, &error);
    if (status)
        fail(launcher, "%s", error.text);
}

static void on_done(struct launcher *launcher, const struct tw_result *result) {
    launcher->done = true;
    launcher->summary->result = *result;
    launcher->summary->counted = true;
    if (launcher->phase != RUNNING)
        return;
    bool ok = result->status == TW_OK;
    enter(launcher, ENDING, ok ? END_MS : FAILED_END_MS);
    if (ok)
        judge_suspects(launcher, false);
}

static void on_line(struct launcher *launcher, size_t size) {
    struct tw_report report;
    struct tw_error error;
    if (launcher->done)
        return;
    if (tw_report_from_json(&report, launcher->line, size, &error)) {
        fail(launcher, "server 0 sent %s", error.text);
        return;
    }
    tw_progress_report(launcher->launch->progress, &report, uv_now(&launcher->loop));
    if (report.kind == TW_REPORT_STARTED)
        launcher->started = true;
    if (report.kind == TW_REPORT_DONE)
        on_done(launcher, &report.result);
    if (report.kind == TW_REPORT_LISTENING && launcher->phase == RUNNING && launcher->children == 1)
        start_others(launcher, &report);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct launcher *launcher = handle->data;
    *buffer = uv_buf_init(launcher->line + launcher->line_size,
                          (unsigned)(sizeof launcher->line - launcher->line_size));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct launcher *launcher = stream->data;
    if (size < 0) {
        launcher->reading = false;
        uv_read_stop(stream);
        advance(launcher);
        return;
    }
    launcher->line_size += (size_t)size;
    char *end;
    while ((end = memchr(launcher->line, '\n', launcher->line_size))) {
        size_t used = (size_t)(end - launcher->line) + 1;
        on_line(launcher, used - 1);
        launcher->line_size -= used;
        memmove(launcher->line, launcher->line + used, launcher->line_size);
    }
    if (launcher->line_size == sizeof launcher->line) {
        fail(launcher, "server 0 sent a report without an end");
        launcher->line_size = 0;
    }
    advance(launcher);
}

static void on_stop(uv_signal_t *handle, int number) {
    struct launcher *launcher = handle->data;
    bool again = launcher->interrupted;
    launcher->interrupted = true;
    tw_progress_disturbed(launcher->launch->progress);
    if (again) {
        enter(launcher, KILLING, 0);
    } else if (launcher->phase == RUNNING) {
        tw_progress_line(launcher->launch->progress, TW_TONE_CARE,
                         "stopping: the model so far is saved (once more to stop at once)");
        enter(launcher, STOPPING, 0);
        tw_child_signal(&launcher->child[0], SIGTERM);
    }
    advance(launcher);
}

static void on_resize(uv_signal_t *handle, int number) {
    struct launcher *launcher = handle->data;
    tw_progress_resize(launcher->launch->progress, tw_progress_width_of(STDERR_FILENO),
                       uv_now(&launcher->loop));
}

static void on_tick(uv_timer_t *timer) {
    struct launcher *launcher = timer->data;
    tw_progress_tick(launcher->launch->progress, uv_now(&launcher->loop));
}

/* Called after every event: the one place where the run ends. */
static void advance(struct launcher *launcher) {
    struct tw_child *server = &launcher->child[0];
    if (launcher->closing)
        return;
    if (!tw_child_lives(server) && !launcher->reading)
        judge_server(launcher);
    for (int i = 0; i < launcher->children; i++)
        if (tw_child_lives(&launcher->child[i]))
            return;
    if (launcher->reading)
        return;
    launcher->closing = true;
    uv_stop(&launcher->loop);
}

static void set_signals(int how) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&set, stop_signals[i]);
    pthread_sigmask(how, &set, NULL);
}

void tw_launcher_hold_signals(void) {
    set_signals(SIG_BLOCK);
}

bool tw_launcher_signal_waits(void) {
    sigset_t waiting;
    sigpending(&waiting);
    for (int i = 0; i < SIGNALS; i++)
        if (sigismember(&waiting, stop_signals[i]))
            return true;
    return false;
}

static void open_handles(struct launcher *launcher) {
    uv_pipe_init(&launcher->loop, &launcher->reports, 0);
    uv_timer_init(&launcher->loop, &launcher->deadline);
    uv_timer_init(&launcher->loop, &launcher->reason);
    uv_timer_init(&launcher->loop, &launcher->tick);
    uv_signal_init(&launcher->loop, &launcher->resize);
    launcher->reports.data = launcher->deadline.data = launcher->reason.data = launcher->tick.data =
        launcher->resize.data = launcher;
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&launcher->loop, &launcher->stop[i]);
        launcher->stop[i].data = launcher;
        uv_signal_start(&launcher->stop[i], on_stop, stop_signals[i]);
    }
    if (launcher->launch->progress->look.terminal) {
        uv_signal_start(&launcher->resize, on_resize, SIGWINCH);
        uv_timer_start(&launcher->tick, on_tick, TICK_MS, TICK_MS);
    }
    set_signals(SIG_UNBLOCK);
}

static void close_handle(uv_handle_t *handle, void *context) {
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(struct launcher *launcher) {
    launcher->closing = true;
    set_signals(SIG_BLOCK);
    uv_walk(&launcher->loop, close_handle, NULL);
    uv_run(&launcher->loop, UV_RUN_DEFAULT);
    int open = uv_loop_close(&launcher->loop);
    assert(open == 0);
    (void)open;
}

/* A failure of ours outranks what the server, which was sent away, says; a signal
 * that came before the failure is its reason, and nothing was noted as one. */
static void conclude(struct launcher *launcher) {
    struct tw_result *result = &launcher->summary->result;
    if (launcher->failure.failed) {
        result->status = TW_NO_MEMORY;
        snprintf(result->error, sizeof result->error, "out of memory");
    } else if (launcher->failure.size) {
        result->status = TW_CLOSED;
        snprintf(result->error, sizeof result->error, "%s", launcher->failure.at);
    } else if (launcher->interrupted) {
        bool told = launcher->done && *result->error && result->status != TW_INTERRUPTED;
        struct tw_error error;
        tw_error_set(&error, TW_INTERRUPTED, "stopped by a signal%s%s",
                     told             ? "; the server says: "
                     : *result->model ? ""
                                      : " before a model was saved",
                     told ? result->error : "");
        result->status = TW_INTERRUPTED;
        memcpy(result->error, error.text, sizeof result->error);
    }
}

/* A result before there is one. */
static void no_result(struct tw_result *result) {
    memset(result, 0, sizeof *result);
    result->status = TW_INTERNAL;
    result->train_loss = result->train_accuracy = result->test_loss = result->test_accuracy =
        (double)NAN;
    result->staleness_mean = (double)NAN;
}

enum tw_status tw_launcher_run(const struct tw_launch *launch, struct tw_summary *summary) {
    struct tw_error error;
    struct launcher *launcher = calloc(1, sizeof *launcher);
    int most = launch->servers + launch->workers + launch->evaluators;
    struct tw_child *child = calloc((size_t)most, sizeof *child);
    no_result(&summary->result);
    if (!launcher || !child || uv_loop_init(&launcher->loop) != 0) {
        free(launcher);
        free(child);
        snprintf(summary->result.error, sizeof summary->result.error,
                 "the launcher could not be set up: out of memory or descriptors");
        return summary->result.status = TW_NO_MEMORY;
    }
    launcher->launch = launch;
    launcher->summary = summary;
    launcher->child = child;
    open_handles(launcher);
    if (start_server(launcher, &error)) {
        fail(launcher, "%s", error.text);
    } else {
        launcher->reading = true;
        uv_read_start((uv_stream_t *)&launcher->reports, on_room, on_read);
        uv_run(&launcher->loop, UV_RUN_DEFAULT);
    }
    tw_progress_clear(launch->progress);
    close_all(launcher);
    conclude(launcher);
    tw_run_folder_sweep(launch->folder);
    tw_text_fini(&launcher->failure);
    free(child);
    free(launcher);
    return summary->result.status;
}
