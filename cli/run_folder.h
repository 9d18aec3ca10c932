/* The run directory: where a run leaves its job, metrics, model and logs.
 *
 * Used by cmd_run.c, cmd_server.c and the launcher. A directory that holds
 * anything is never used: no run overwrites another.
 */
#ifndef TW_CLI_RUN_FOLDER_H
#define TW_CLI_RUN_FOLDER_H

#include <time.h>

#include "cli/job_check.h"
#include "common/base/file.h"

/* Makes the directory. `wanted` (--out) is made if missing, with the folders above
 * it, and must be empty (TW_USAGE). NULL: runs/JOB-20261122T005534Z of `now`, made
 * exclusively; when another run has that name, -2 is appended, and so on. Its
 * path goes to out[TW_PATH_MAX]. TW_IO, TW_LIMIT. */
enum tw_status tw_run_folder_make(const char *job_name, const char *wanted, time_t now, char *out,
                                  struct tw_error *error);

/* Writes FOLDER/job.yaml: the resolved job, with versions, CPU and BLAS core as
 * comments on top, and one more (`note`; NULL: none). Its path goes to
 * out[TW_PATH_MAX]. */
enum tw_status tw_run_folder_write_job(const char *folder, const struct tw_checked_job *checked,
                                       const char *note, char *out, struct tw_error *error);

/* Removes files that end in .tmp: what a killed process left of a file that it was
 * writing. Nothing is reported: a leftover is no reason to fail. */
void tw_run_folder_sweep(const char *folder);

#endif
