#include "worker/io/turns.h"

#include <errno.h>
#include <string.h>
#include <time.h>

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
            uv_run(&shell->loop, UV_RUN_NOWAIT);
        while (!atomic_load(&turns->wanted) && tw_shell_busy(shell))
            uv_run(&shell->loop, UV_RUN_ONCE);
        atomic_store(&turns->driving, false);
        pthread_mutex_unlock(&turns->drive);
    }
    return NULL;
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

    memset(turns, 0, sizeof(*turns));
    turns->shell = shell;
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

static bool pipe_pending(void) {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void block_pipe(struct tw_turns *turns) {
    sigset_t pipe, before;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    turns->mask = before;
    /* Where it is not blocked outside, it cannot be pending either. */
    turns->pipe_was_pending = sigismember(&before, SIGPIPE) == 1 && pipe_pending();
}

void tw_turns_enter(struct tw_turns *turns) {
    atomic_store(&turns->wanted, true);
    if (atomic_load(&turns->driving))
        uv_async_send(&turns->shell->wake);
    pthread_mutex_lock(&turns->drive);
    atomic_store(&turns->wanted, false);
    block_pipe(turns);
}

bool tw_turns_try_enter(struct tw_turns *turns) {
    if (pthread_mutex_trylock(&turns->drive) != 0)
        return false;
    block_pipe(turns);
    return true;
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
    bool busy = tw_shell_busy(turns->shell);
    sigset_t before = turns->mask;

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
        uv_async_send(&turns->shell->wake);
    pthread_join(turns->helper, NULL);
}

void tw_turns_fini(struct tw_turns *turns) {
    pthread_cond_destroy(&turns->change);
    pthread_mutex_destroy(&turns->gate);
    pthread_mutex_destroy(&turns->drive);
}
