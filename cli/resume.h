/* A run directory as something to go on with: `talweg run --resume DIR`, `talweg server --resume`.
 *
 * The order log decides: where it ends, and which records stand. One that is torn at its end, as a
 * machine leaves it that loses its power, is cut there; one that is corrupt is refused.
 */
#ifndef TW_CLI_RESUME_H
#define TW_CLI_RESUME_H

#include "cli/job_check.h"
#include "cli/log_history.h"
#include "server/io/server.h"

/* Reads the log of the run; `history` must outlive `resume`, and is the caller's to free, also
 * after a failure. TW_DATA: there is no run, or its log is corrupt; TW_NO_MEMORY. */
enum tw_status tw_resume_find(struct tw_server_resume *resume, struct tw_log_history *history,
                              const char *run, struct tw_error *error);

/* TW_USAGE when the run has come to its end and left a model: nothing is left to do. Else as
 * above. */
enum tw_status tw_resume_check(const char *run, const struct tw_checked_job *checked,
                               struct tw_error *error);

#endif
