#include "worker/io/turns.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

/* ---- the loop ---- */

/* Nothing to do: the turn of the loop that it ends was the purpose. */
static void on_wake(uv_async_t *wake) {}

static void on_stop(uv_poll_t *poll, int status, int what) {
    struct tw_turns *turns = poll->data;
    turns->stopped = true;
    uv_poll_stop(poll); /* nobody reads it: it stays readable */
}

static void close_handle(uv_handle_t *handle, void *argument) {
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void tw_turns_close(struct tw_turns *turns) {
    uv_walk(&turns->loop, close_handle, NULL);
    uv_run(&turns->loop, UV_RUN_DEFAULT);
    int code = uv_loop_close(&turns->loop);
    assert(code == 0);
    (void)code;
}

enum tw_status tw_turns_open(struct tw_turns *turns, int stop_fd, uint32_t poll_us,
                             struct tw_error *error) {
    memset(turns, 0, sizeof(*turns));
    int code = uv_loop_init(&turns->loop);
    if (code != 0)
        return tw_error_set(error, TW_IO, "cannot make an event loop: %s", uv_strerror(code));
    tw_poller_init(&turns->poller, &turns->loop, poll_us);
    code = uv_async_init(&turns->loop, &turns->wake, on_wake);
    if (code == 0 && stop_fd >= 0) {
        code = uv_poll_init(&turns->loop, &turns->stop, stop_fd);
        turns->stop.data = turns;
        if (code == 0)
            code = uv_poll_start(&turns->stop, UV_READABLE, on_stop);
    }
    if (code == 0)
        return TW_OK;
    tw_turns_close(turns);
    return tw_error_set(error, TW_IO, "cannot watch stop_fd %d: %s", stop_fd, uv_strerror(code));
}

/* ---- the helper ---- */

/* When the helper looks after the heartbeat next, by the clock of `change`. */
static struct timespec next_heartbeat(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += TW_HEARTBEAT_MS / 1000;
    at.tv_nsec += TW_HEARTBEAT_MS % 1000 * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec++;
    }
    return at;
}

/* Sleeps until called or the next heartbeat. False: quit. */
static bool wait_for_call(struct tw_turns *turns) {
    struct timespec until = next_heartbeat();
    int result = 0;
    pthread_mutex_lock(&turns->gate);
    while (!turns->called && !turns->quit && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&turns->change, &turns->gate, &until);
    turns->called = false;
    bool go_on = !turns->quit;
    pthread_mutex_unlock(&turns->gate);
    return go_on;
}

static void *help(void *argument) {
    struct tw_turns *turns = argument;
    struct tw_shell *shell = turns->shell;

    while (wait_for_call(turns)) {
        if (pthread_mutex_trylock(&turns->drive) != 0)
            continue; /* rule 3 */
        atomic_store(&turns->driving, true);
        if (!atomic_load(&turns->wanted))
            uv_run(shell->loop, UV_RUN_NOWAIT);
        while (!atomic_load(&turns->wanted) && tw_shell_busy(shell))
            uv_run(shell->loop, UV_RUN_ONCE);
        atomic_store(&turns->driving, false);
        pthread_mutex_unlock(&turns->drive);
    }
    return NULL;
}

static bool pipe_pending(void) {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void block_pipe(struct tw_turns *turns) {
    sigset_t pipe, before;

    if (turns->blocks_pipe)
        return;
    turns->blocks_pipe = true;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    turns->mask = before;
    /* Where it is not blocked outside, it cannot be pending either. */
    turns->pipe_was_pending = sigismember(&before, SIGPIPE) == 1 && pipe_pending();
}

/* In the application's thread, or in the helper's, where all signals are blocked. */
static void before_uv_write(void *context) {
    struct tw_turns *turns = context;
    if (turns->inside)
        block_pipe(turns);
}

static void init_condition(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum tw_status tw_turns_init(struct tw_turns *turns, struct tw_shell *shell,
                             struct tw_error *error) {
    sigset_t all, before;

    turns->shell = shell;
    shell->host.before_uv_write = before_uv_write;
    shell->host.context = turns;
    pthread_mutex_init(&turns->drive, NULL);
    pthread_mutex_init(&turns->gate, NULL);
    init_condition(&turns->change);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&turns->helper, NULL, help, turns);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result == 0)
        return TW_OK;
    pthread_cond_destroy(&turns->change);
    pthread_mutex_destroy(&turns->gate);
    pthread_mutex_destroy(&turns->drive);
    return tw_error_set(error, TW_NO_MEMORY, "cannot start a thread: %s", strerror(result));
}

/* ---- the application ---- */

/* Three system calls less for most small pushes: hardly any write is left to libuv. */
static void go_in(struct tw_turns *turns) {
    turns->inside = true;
    if (tw_shell_may_signal(turns->shell))
        block_pipe(turns);
}

void tw_turns_enter(struct tw_turns *turns) {
    atomic_store(&turns->wanted, true);
    if (atomic_load(&turns->driving))
        uv_async_send(&turns->wake);
    pthread_mutex_lock(&turns->drive);
    atomic_store(&turns->wanted, false);
    go_in(turns);
}

bool tw_turns_try_enter(struct tw_turns *turns) {
    if (pthread_mutex_trylock(&turns->drive) != 0)
        return false;
    go_in(turns);
    return true;
}

void tw_turns_wait(struct tw_turns *turns) {
    tw_poller_turn(&turns->poller);
}

/* Takes back the SIGPIPE that our own writes may have left pending. */
static void unblock_pipe(const struct tw_turns *turns, const sigset_t *before) {
    static const struct timespec now = {0, 0};
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (!turns->pipe_was_pending && pipe_pending())
        while (sigtimedwait(&pipe, NULL, &now) == -1 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

void tw_turns_leave(struct tw_turns *turns) {
    bool busy = tw_shell_busy(turns->shell), unblocks = turns->blocks_pipe;
    sigset_t before = turns->mask;

    turns->inside = turns->blocks_pipe = false;
    if (unblocks)
        unblock_pipe(turns, &before);
    pthread_mutex_unlock(&turns->drive);
    if (!busy)
        return;
    pthread_mutex_lock(&turns->gate);
    turns->called = true;
    pthread_cond_signal(&turns->change);
    pthread_mutex_unlock(&turns->gate);
}

void tw_turns_stop(struct tw_turns *turns) {
    pthread_mutex_lock(&turns->gate);
    turns->quit = true;
    pthread_cond_signal(&turns->change);
    pthread_mutex_unlock(&turns->gate);
    /* It may be inside of a turn that blocks. */
    atomic_store(&turns->wanted, true);
    if (atomic_load(&turns->driving))
        uv_async_send(&turns->wake);
    pthread_join(turns->helper, NULL);
}

void tw_turns_fini(struct tw_turns *turns) {
    pthread_cond_destroy(&turns->change);
    pthread_mutex_destroy(&turns->gate);
    pthread_mutex_destroy(&turns->drive);
}
