/* Reads the timeline of a run from its directory: which updates to show, and both logs.
 *
 * Used by cmd_timeline.c. Reads each log twice or three times from its beginning, and
 * keeps nothing of it but the window: a run may be as long as it likes.
 */
#ifndef TW_CLI_TIMELINE_READER_H
#define TW_CLI_TIMELINE_READER_H

#include "cli/timeline.h"
#include "common/base/text.h"

/* Which part of the run is wanted; zeros: not said. */
struct tw_timeline_wish {
    uint64_t from, to;   /* updates */
    double seconds;      /* so long, instead of one of the two */
    uint64_t per_worker; /* gradients of each worker, when nothing is said ... */
    uint64_t most;       /* ... but not more of all together */
};

/* What was found beside the timeline itself. */
struct tw_timeline_run {
    char *mode;         /* "" when job.yaml cannot be read */
    uint64_t updates;   /* of the whole run, as far as it is measured */
    struct tw_text cut; /* where a log is cut or corrupt: drawn up to there; or empty */
    struct tw_timeline *timeline;
};

/* TW_DATA: `run` is no run directory, or its logs have nothing to show, such as no
 * trace.log; TW_USAGE: the run has no such updates; TW_LIMIT, TW_NO_MEMORY. Fini in any
 * case. */
enum tw_status tw_timeline_run_read(struct tw_timeline_run *out, const char *run,
                                    const struct tw_timeline_wish *wish, struct tw_error *error);

void tw_timeline_run_fini(struct tw_timeline_run *run);

#endif
