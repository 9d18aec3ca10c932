/* Whose turn it is to run the loop: the application's thread, or the helper.
 *
 * While the application is inside of a call, it runs the loop itself: a small push and
 * its answer need no switch of threads (60 us on two cores). While it computes, the
 * helper thread takes over when bytes are waiting to be sent, or many weights to be received, so
 * that both overlap with computing; and once per TW_HEARTBEAT_MS, to show that we live.
 *
 * Rules:
 *   1. Only the holder of `drive` touches loop, core and connections.
 *   2. The application comes first: it sets `wanted` before it waits for `drive`;
 *      the helper looks at it before each turn of the loop and is woken from a turn
 *      that blocks.
 *   3. The helper never waits for `drive`. If the application is inside, it is
 *      the application that drives; when it goes out with bytes unsent, it calls.
 */
#ifndef TW_IO_TURNS_H
#define TW_IO_TURNS_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "common/net/poller.h"
#include "worker/io/link.h"

struct tw_turns {
    struct tw_shell *shell;
    uv_loop_t loop;
    struct tw_poller poller; /* of the application's waits */
    uv_async_t wake;         /* gets another thread out of uv_run() */
    uv_poll_t stop;          /* the application's stop_fd */
    bool stopped;            /* it is readable */
    pthread_mutex_t drive;
    pthread_mutex_t gate; /* of `called` and `quit` */
    pthread_cond_t change;
    bool called, quit;
    atomic_bool wanted, driving;
    pthread_t helper;
    bool inside;           /* the application is */
    bool blocks_pipe;      /* then SIGPIPE is blocked in its thread */
    bool pipe_was_pending; /* before that */
    sigset_t mask;         /* its signal mask outside */
};

/* First: the loop on which the shell will be made. stop_fd -1: none; poll_us: as tw_poller_init().
 * TW_IO: there is no loop, or stop_fd cannot be watched; nothing is left behind. */
enum tw_status tw_turns_open(struct tw_turns *turns, int stop_fd, uint32_t poll_us,
                             struct tw_error *error);

/* After the shell is gone, or was never made; outside, or before tw_turns_init(). */
void tw_turns_close(struct tw_turns *turns);

/* Starts the helper thread, with all signals blocked. TW_NO_MEMORY. */
enum tw_status tw_turns_init(struct tw_turns *turns, struct tw_shell *shell,
                             struct tw_error *error);

/* The application goes in and out. Between them SIGPIPE is blocked when it might come: a
 * write to a connection that is gone must not end a program that is not ours. */
void tw_turns_enter(struct tw_turns *turns);
void tw_turns_leave(struct tw_turns *turns);

/* Goes in if nobody drives; never waits. False: the helper does, there is no leaving. */
bool tw_turns_try_enter(struct tw_turns *turns);

/* Inside: waits until something has happened, and does what follows from it. Only here the loop
 * polls before it sleeps: what the helper waits for is not waited for by anybody, and the core is
 * the application's, which computes. */
void tw_turns_wait(struct tw_turns *turns);

/* Ends the helper thread. To be called outside; going in and out is still allowed. */
void tw_turns_stop(struct tw_turns *turns);

/* After tw_turns_stop(), outside. */
void tw_turns_fini(struct tw_turns *turns);

#endif
