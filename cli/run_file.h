/* A file of a run directory, by name, and the bytes of it for a reader.
 *
 * Used by log_file.h and trace_file.h. What a run directory is, and what is wrong with
 * one that is none, is said here; what is wrong with the bytes, by their reader.
 */
#ifndef TW_CLI_RUN_FILE_H
#define TW_CLI_RUN_FILE_H

#include <sys/types.h>

#include "common/base/file.h"

struct tw_run_file {
    int fd; /* -1: closed */
    char path[TW_PATH_MAX];
};

/* TW_DATA: `run` is missing, or no directory. Whether it is that of a run its files tell. */
enum tw_status tw_run_check(const char *run, struct tw_error *error);

/* Opens RUN/name. TW_CLOSED: there is none; TW_DATA: it cannot be opened, or is no regular
 * file; TW_LIMIT; all with a message. On failure nothing is left to close. */
enum tw_status tw_run_file_open(struct tw_run_file *file, const char *run, const char *name,
                                struct tw_error *error);

/* The next bytes, as readers want them: their number, 0 at the end, -1 with the message.
 * `file` is the struct tw_run_file. */
ptrdiff_t tw_run_file_read(void *file, void *out, size_t room, struct tw_error *error);

/* What a reader said, with the path in front of its message. Returns `status`. */
enum tw_status tw_run_file_said(const struct tw_run_file *file, enum tw_status status,
                                struct tw_error *error);

/* Harmless twice. */
void tw_run_file_close(struct tw_run_file *file);

#endif
