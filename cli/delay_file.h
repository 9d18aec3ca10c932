/* How long steps took, from a file of times or from the trace log of a run.
 *
 * A file has one step a line: SECONDS, or WORKER STEP SECONDS with workers from 0 and the steps of
 * each from 1 without gaps; blanks or commas between, `#` begins a comment, and lines before the
 * first number that begin with a letter are names. Used by cmd_sim.c and explainer.c.
 */
#ifndef TW_CLI_DELAY_FILE_H
#define TW_CLI_DELAY_FILE_H

#include "proto/trace_log.h"
#include "sim/delay_times.h"

/* Reads `path`, a file or the directory of a run, into `times`, which is empty before. TW_DATA with
 * "file:line: what is wrong": no number, a negative one, a step that is missing, a worker that is;
 * no steps at all; a file or log that cannot be read. TW_NO_MEMORY. The caller frees with
 * tw_delay_times_fini(), also after a failure. */
enum tw_status tw_delay_file_read(const char *path, struct tw_delay_times *times,
                                  struct tw_error *error);

/* An entry of a trace log, whose header was `header`: a worker's step is added, others are not; a
 * header says that new processes begin. Steps that a worker had not told of when it was lost are
 * missing. */
enum tw_status tw_delay_times_of_entry(struct tw_delay_times *times,
                                       const struct tw_trace_header *header,
                                       const struct tw_trace_entry *entry, struct tw_error *error);

#endif
