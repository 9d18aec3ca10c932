/* Drives a replay: the order log of a run from its file into sim/replay.h, what is seen
 * of it on the way, and what it amounts to.
 *
 * Used by cmd_replay.c, which has read the command line and checked the jobs.
 */
#ifndef TW_CLI_REPLAYER_H
#define TW_CLI_REPLAYER_H

#include <signal.h>

#include "cli/job_check.h"
#include "cli/log_history.h"
#include "cli/progress.h"

struct tw_replayer {
    const struct tw_checked_job *checked; /* the job to replay; borrowed, as the rest */
    struct tw_log_file *log;
    const struct tw_log_history *history; /* of that log */
    const char *run; /* whose trace.log is compared, unless the replay is changed */
    const char *out; /* run directory to write, or NULL */
    bool own_scalars, fresh, changed, inexact;
    struct tw_progress *progress;
    const volatile sig_atomic_t *stop; /* not 0: stop before the next record */
};

/* Replays to the end of the log, and writes the model and the metrics when there is a
 * directory for them. `summary`: its result is filled, also when the log ends early
 * or something differs: then up to there. Returns the status of the result. TW_DATA: the
 * log is cut or corrupt, or data is missing; TW_NUMERICS, TW_NOT_FINITE as
 * tw_replay_record(); TW_INTERRUPTED; TW_IO; TW_NO_MEMORY. */
enum tw_status tw_replayer_run(const struct tw_replayer *replayer, struct tw_summary *summary);

#endif
