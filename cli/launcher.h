/* The launcher: a cluster of real processes on this machine, supervised.
 *
 * Happy path: start the server -> it reports the port that the kernel picked ->
 * start the other servers, the workers and
 * the evaluators -> its reports feed the progress -> DONE ->
 * all end by themselves -> the summary.
 *
 * What can go wrong, and what follows (phases in launcher.c):
 *   - a process dies before the end: the run fails. Which one, why, and the end
 *     of its log are shown; the others get SIGTERM, and SIGKILL 2 s later.
 *   - the same, but it is a worker, training has started, and the job says
 *     on_worker_loss: evict: all this is shown and the run goes on, as long as
 *     one worker lives. (To wait for another in its place makes no sense here:
 *     nobody would start it. So what the job says instead, wait or fail, is alike.)
 *   - the same, but it is an evaluator, training has started, and another one
 *     lives: likewise.
 *   - the server says that the run failed: its reason is the run's.
 *   - SIGINT, SIGTERM, SIGHUP: the server gets SIGTERM, saves the model and sends
 *     the workers home; a second signal kills all at once.
 *   - the launcher is killed: the kernel kills all children (supervised.h).
 * In every case it returns only when no child lives, and removes the temporary
 * files that killed children left in the run directory.
 *
 * Used by cmd_run.c; tests hand it another executable.
 */
#ifndef TW_CLI_LAUNCHER_H
#define TW_CLI_LAUNCHER_H

#include "cli/progress.h"
#include "worker/io/straggler.h"

struct tw_launch {
    const char *executable; /* "/proc/self/exe" */
    const char *job;        /* the job file that children read */
    const char *folder;     /* the run directory; exists */
    int servers, workers, evaluators;
    bool evict;            /* the server evicts workers that are gone */
    bool inexact;          /* server: accept mixed numerics ids */
    bool resume;           /* the run in the folder is begun again */
    const char *blas_core; /* or NULL */
    struct tw_straggler straggler;
    struct tw_progress *progress; /* terminal: follows its width from stderr */
};

/* Runs to the end. Fills `result` and `counted` of the summary, and nothing else
 * of it; result.status is also returned. SIGINT, SIGTERM and SIGHUP are expected to
 * be blocked by the caller since before it made anything; one that came meanwhile
 * is seen; they are blocked again on return. */
enum tw_status tw_launcher_run(const struct tw_launch *launch, struct tw_summary *summary);

/* Blocks the signals that stop a run. */
void tw_launcher_hold_signals(void);

/* Whether one of them came while they were blocked. */
bool tw_launcher_signal_waits(void);

#endif
