#include "tests/integration/server_child.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/file.h"
#include "tests/integration/scripted_peer.h"

#define FAILED_IN_ORDER 3

static const struct tw_option_rule *rules_of(const char *path, const char *name, int *count) {
    for (int i = 0; i < tw_optimizer_count; i++)
        if (strcmp(path, "optimizer") == 0 && strcmp(tw_optimizers[i]->name, name) == 0) {
            *count = tw_optimizers[i]->rule_count;
            return tw_optimizers[i]->rules;
        }
    return NULL;
}

static struct tw_job *make_job(const struct server_script *script) {
    static const struct tw_rule_book book = {rules_of};
    char text[512], model[64];
    struct tw_error error;
    struct tw_job *job;
    snprintf(model, sizeof(model), "w: [%d], b: [%d]", MODEL_W, MODEL_B);
    if (script->elements)
        snprintf(model, sizeof(model), "w: [%d]", script->elements);
    snprintf(text, sizeof(text),
             "model: {tensors: {%s}}\n"
             "updates: %d\n"
             "chunk: 262144\n"
             "optimizer: {name: sgd, lr: 0.5}\n"
             "consistency: {mode: \"%s\"}\n"
             "cluster: {servers: 1, workers: %d}\n"
             "encoding: %s\n"
             "%s%s\n",
             model, script->updates, script->mode ? script->mode : "sync",
             script->workers ? script->workers : 1,
             script->encoding ? script->encoding : "{push: f32}", script->memory ? "memory: " : "",
             script->memory ? script->memory : "");
    if (tw_job_parse(&job, "job.yaml", text, strlen(text), NULL, 0, &error) != TW_OK ||
        tw_job_resolve(job, &book, &error) != TW_OK)
        fail_msg("%s", error.text);
    return job;
}

/* ---- the child ---- */

struct audience {
    int fd;
    bool progress, times;
};

static void on_report(void *context, const struct tw_report *report) {
    const struct audience *audience = context;
    const char *at = (const char *)report;
    size_t left = sizeof(*report);
    if ((report->kind == TW_REPORT_PROGRESS && !audience->progress) ||
        (report->kind == TW_REPORT_TIMES && !audience->times) ||
        (report->kind == TW_REPORT_STEPS && !audience->times))
        return;
    while (left) {
        ssize_t count = write(audience->fd, at, left);
        if (count < 0)
            _exit(99);
        at += count;
        left -= (size_t)count;
    }
}

static int run(const struct server_child *child, const struct server_script *script,
               struct tw_job *job, int fd) {
    struct audience audience = {fd, script->progress, script->times};
    struct tw_error error = {.status = TW_OK};
    struct tw_server_config config = {
        .job = job,
        .tensors = &job->model.tensors,
        .train_samples = script->train_samples,
        .evaluator = script->evaluator,
        .listen = script->listen ? script->listen : "127.0.0.1:0",
        .token = script->token,
        .token_bytes = script->token ? strlen(script->token) : 0,
        .out = script->out ? script->out : child->out,
        .on_report = on_report,
        .context = &audience,
        .stop_fd = child->stop_fd,
        .limits = script->limits,
    };
    if (tw_dial_parse(job->mode, job->mode_where, job->workers, &config.dial, &error) != TW_OK ||
        tw_optimizer_find(&config.optimizer, &config.optimizer_options, &job->optimizer, &error) !=
            TW_OK)
        return 98;
    enum tw_status status = tw_server_run(&config, &error);
    tw_job_free(job);
    return status == TW_OK ? 0 : FAILED_IN_ORDER;
}

static void be_server(const struct server_child *child, const struct server_script *script,
                      struct tw_job *job, int fd) {
    int log = open(child->log, O_WRONLY | O_CREAT | O_APPEND, 0666);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log, STDERR_FILENO);
    close(log);
    if (script->file_bytes) {
        struct rlimit limit = {script->file_bytes, script->file_bytes};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    exit(run(child, script, job, fd));
}

/* ---- the test ---- */

static void start(struct server_child *child, const struct server_script *script) {
    int pipe_fds[2], stop_fds[2] = {-1, -1};
    *child = (struct server_child){.stop_fd = -1};
    snprintf(child->folder, sizeof(child->folder), "/tmp/talweg-server-XXXXXX");
    assert_non_null(mkdtemp(child->folder));
    snprintf(child->out, sizeof(child->out), "%s/out", child->folder);
    snprintf(child->log, sizeof(child->log), "%s/log", child->folder);
    assert_int_equal(mkdir(child->out, 0777), 0);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    if (script->stop_pipe)
        assert_int_equal(pipe2(stop_fds, O_CLOEXEC), 0);
    (void)fcntl(pipe_fds[0], F_SETPIPE_SZ, 1 << 20);
    struct tw_job *job = make_job(script);
    tw_job_digest(job, script->train_samples, child->digest);
    child->stop_fd = stop_fds[0];
    fflush(NULL);
    child->pid = fork();
    assert_true(child->pid >= 0);
    if (child->pid == 0) {
        close(pipe_fds[0]);
        be_server(child, script, job, pipe_fds[1]);
    }
    tw_job_free(job);
    close(pipe_fds[1]);
    if (script->stop_pipe)
        close(stop_fds[0]);
    child->reports = pipe_fds[0];
    child->stop_fd = stop_fds[1];
}

static bool next_report(struct server_child *child) {
    char *at = (char *)&child->last;
    size_t left = sizeof(child->last);
    while (left) {
        struct pollfd ready = {.fd = child->reports, .events = POLLIN};
        if (poll(&ready, 1, PEER_PATIENCE_S * 1000) != 1)
            fail_msg("the server reports nothing");
        ssize_t count = read(child->reports, at, left);
        if (count <= 0)
            return false;
        at += count;
        left -= (size_t)count;
    }
    return true;
}

static void show_log(const struct server_child *child) {
    char *log = server_log(child);
    if (log)
        print_error("%s\n", log);
    free(log);
}

const struct tw_report *server_await(struct server_child *child, enum tw_report_kind kind) {
    do {
        if (!next_report(child)) {
            show_log(child);
            fail_msg("the server ends where report %d should come", (int)kind);
        }
    } while (child->last.kind != kind);
    return &child->last;
}

const struct tw_report *server_expect(struct server_child *child, enum tw_report_kind kind) {
    if (!next_report(child) || child->last.kind != kind) {
        show_log(child);
        fail_msg("report %d where %d should come: %s", (int)child->last.kind, (int)kind,
                 child->last.kind == TW_REPORT_DONE ? child->last.result.error : "");
    }
    return &child->last;
}

const struct tw_report *server_hear(struct server_child *child) {
    struct pollfd ready = {.fd = child->reports, .events = POLLIN};
    if (poll(&ready, 1, 0) != 1)
        return NULL;
    assert_true(next_report(child));
    return &child->last;
}

void server_start(struct server_child *child, const struct server_script *script) {
    start(child, script);
    const struct tw_report *report = server_expect(child, TW_REPORT_LISTENING);
    assert_string_equal(report->host, "127.0.0.1");
    assert_in_range(report->port, 1, 65535);
    child->port = report->port;
}

void server_start_failing(struct server_child *child, const struct server_script *script) {
    start(child, script);
    server_end(child);
}

const struct tw_result *server_end(struct server_child *child) {
    int status;
    server_await(child, TW_REPORT_DONE);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    child->pid = 0;
    child->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    int expected = child->last.result.status == TW_OK ? 0 : FAILED_IN_ORDER;
    if (child->exit_code != expected && child->exit_code != 130)
        show_log(child);
    if (child->exit_code != 130)
        assert_int_equal(child->exit_code, expected);
    return &child->last.result;
}

static void remove_all(const char *folder) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_type != DT_DIR)
            unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(folder);
}

void server_clean(struct server_child *child) {
    close(child->reports);
    if (child->stop_fd >= 0)
        close(child->stop_fd);
    remove_all(child->out);
    remove_all(child->folder);
    child->folder[0] = 0;
}

void server_discard(struct server_child *child) {
    if (child->pid > 0 && waitpid(child->pid, NULL, WNOHANG) == 0) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
    }
    if (child->folder[0])
        server_clean(child);
}

static char *text_of(const char *path) {
    char *text;
    size_t size;
    struct tw_error error;
    return tw_file_read(path, 1 << 24, &text, &size, &error) == TW_OK ? text : NULL;
}

char *server_file(const struct server_child *child, const char *name) {
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", child->out, name);
    return text_of(path);
}

char *server_log(const struct server_child *child) {
    return text_of(child->log);
}

int server_files(const struct server_child *child) {
    int count = -2; /* . and .. */
    DIR *dir = opendir(child->out);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

void server_check_model(const struct server_child *child, const float *weights) {
    char *file = server_file(child, "model.safetensors");
    assert_non_null(file);
    uint64_t header;
    memcpy(&header, file, sizeof(header));
    assert_memory_equal(file + 8 + header, weights, MODEL_ELEMENTS * sizeof(float));
    free(file);
}
