#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAIL_BYTES = 16 << 10 };

static void on_exit_of(uv_process_t *process, int64_t exit_code, int signal) {
    struct tw_child *child = process->data;
    child->ended = true;
    child->exit_code = exit_code;
    child->signal = signal;
    child->on_end(child);
}

/* "worker 1" writes to FOLDER/worker1.log. */
static enum tw_status open_log(struct tw_child *child, const struct tw_child_plan *plan, int *fd,
                               struct tw_error *error) {
    const char *folder = plan->folder;
    char name[TW_CHILD_NAME + 8], *to = name;
    for (const char *from = child->name; *from; from++)
        if (*from != ' ')
            *to++ = *from;
    strcpy(to, ".log");
    enum tw_status status = tw_path_join(child->log, sizeof child->log, folder, name);
    if (status)
        return tw_error_set(error, status, "%s/%s: this path is too long", folder, name);
    *fd = open(child->log,
               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (plan->keeps_log ? 0 : O_TRUNC), 0666);
    if (*fd < 0)
        return tw_error_set(error, TW_IO, "%s: cannot be made: %s", child->log, strerror(errno));
    return TW_OK;
}

/* Our environment with some variables replaced; one BLAS thread, so that no child
 * starts a pool of threads that it never uses. NULL: out of memory. */
static char **environment(const char *threads, const char *core) {
    size_t count = 0, to = 0;
    while (environ[count])
        count++;
    char **out = calloc(count + 3, sizeof *out);
    if (!out)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        bool replaced = strncmp(environ[i], "OPENBLAS_NUM_THREADS=", 21) == 0 ||
                        (core && strncmp(environ[i], "OPENBLAS_CORETYPE=", 18) == 0);
        if (!replaced)
            out[to++] = environ[i];
    }
    out[to++] = (char *)threads;
    if (core)
        out[to++] = (char *)core;
    return out;
}

enum tw_status tw_child_spawn(struct tw_child *child, uv_loop_t *loop,
                              const struct tw_child_plan *plan, struct tw_error *error) {
    int log = -1;
    enum tw_status status = open_log(child, plan, &log, error);
    if (status)
        return status;
    char core[64] = "";
    if (plan->blas_core)
        snprintf(core, sizeof core, "OPENBLAS_CORETYPE=%s", plan->blas_core);
    char **env = environment("OPENBLAS_NUM_THREADS=1", *core ? core : NULL);
    uv_stdio_container_t stdio[4] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = log},
        {.flags = UV_INHERIT_FD, .data.fd = log},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)plan->reports},
    };
    uv_process_options_t options = {
        .exit_cb = on_exit_of,
        .file = plan->executable,
        .args = (char **)plan->arguments,
        .env = env,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = plan->reports ? 4 : 3,
        .stdio = stdio,
    };
    child->process.data = child;
    int failed = env ? uv_spawn(loop, &child->process, &options) : UV_ENOMEM;
    child->spawned = env != NULL; /* also after a failure its handle is to be closed */
    child->ended = failed != 0;
    free(env);
    close(log);
    if (failed)
        return tw_error_set(error, TW_IO, "%s cannot be started (%s): %s", child->name,
                            plan->executable, uv_strerror(failed));
    return TW_OK;
}

bool tw_child_lives(const struct tw_child *child) {
    return child->spawned && !child->ended;
}

void tw_child_signal(struct tw_child *child, int signal) {
    if (tw_child_lives(child))
        uv_process_kill(&child->process, signal);
}

void tw_child_end_words(const struct tw_child *child, struct tw_text *out) {
    const char *name = child->signal ? sigabbrev_np(child->signal) : NULL;
    if (name)
        tw_text_add(out, "%s was killed by SIG%s", child->name, name);
    else if (child->signal)
        tw_text_add(out, "%s was killed by signal %d", child->name, child->signal);
    else
        tw_text_add(out, "%s ended with exit code %lld", child->name, (long long)child->exit_code);
}

/* The start of the last `lines` lines of text[size]. */
static size_t tail_start(const char *text, size_t size, int lines) {
    size_t at = size;
    if (at > 0 && text[at - 1] == '\n')
        at--;
    while (at > 0) {
        if (text[at - 1] == '\n' && --lines == 0)
            break;
        at--;
    }
    return at;
}

void tw_child_tail(const struct tw_child *child, struct tw_text *out) {
    char bytes[TAIL_BYTES];
    int fd = open(child->log, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    struct stat about;
    off_t from =
        fstat(fd, &about) == 0 && about.st_size > TAIL_BYTES ? about.st_size - TAIL_BYTES : 0;
    ssize_t size = pread(fd, bytes, sizeof bytes, from);
    close(fd);
    if (size <= 0)
        return;
    size_t start = tail_start(bytes, (size_t)size, TW_CHILD_TAIL_LINES);
    for (size_t i = start; i < (size_t)size; i++)
        if ((unsigned char)bytes[i] < ' ' && bytes[i] != '\n' && bytes[i] != '\t')
            bytes[i] = '?';
    tw_text_add_bytes(out, bytes + start, (size_t)size - start);
}
