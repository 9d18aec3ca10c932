/* Whole files: read with a limit, written so that a reader sees all or nothing.
 *
 * Who uses it: job file, token file, data loaders, everything in a run directory.
 * Every message names the path and says what the system said ("No space left on
 * device"). Blocking: not for the path of a step.
 *
 * Written files: the bytes go to a new file in the same folder (its name ends in
 * ".tmp"), are flushed to the disk, and only then take the name `path`; the folder
 * is flushed too. Whatever fails on the way, an old file of that name stays as it
 * was and the temporary one is removed. When the process is killed in between, a
 * .tmp file stays behind; never half a `path`. A symbolic link at `path` is
 * replaced, not followed; a device, a pipe or a folder there is refused.
 */
#ifndef TW_BASE_FILE_H
#define TW_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/status.h"

#define TW_PATH_MAX 4096 /* bytes, with the terminating zero */

/* Reads a whole file of at most `max` bytes. *out is from malloc, the caller's to
 * free, with a zero behind its *size bytes; NULL on failure. TW_IO, TW_LIMIT when
 * it is longer, TW_NO_MEMORY. Callers wrap it with what the file is for. */
enum tw_status tw_file_read(const char *path, size_t max, char **out, size_t *size,
                            struct tw_error *error);

/* Writes a whole file as described above. TW_IO, TW_LIMIT (path too long). */
enum tw_status tw_file_write_atomic(const char *path, const void *bytes, size_t size,
                                    struct tw_error *error);

/* The same in pieces, for what should not be in memory twice: open, write..., and
 * then commit or discard. The caller's storage. */
struct tw_draft {
    int fd; /* -1: closed */
    char path[TW_PATH_MAX];
    char temporary[TW_PATH_MAX];
};

/* Begins a draft of the file `path`. On failure nothing is left to discard. */
enum tw_status tw_draft_open(struct tw_draft *draft, const char *path, struct tw_error *error);

/* Appends. After a failure the draft is discarded; going on is legal and fails. */
enum tw_status tw_draft_write(struct tw_draft *draft, const void *bytes, size_t size,
                              struct tw_error *error);

/* Makes the draft the file, for good. Closes the draft in any case. */
enum tw_status tw_draft_commit(struct tw_draft *draft, struct tw_error *error);

/* Removes the draft; harmless after commit, after a failure, and when done twice. */
void tw_draft_discard(struct tw_draft *draft);

/* Makes a folder and those above it (mode 0777 less the umask); one that exists is
 * fine, except that with `must_be_empty` one that holds anything is refused
 * (TW_USAGE). Else TW_IO: no permission, a file in the way, ... */
enum tw_status tw_folder_make(const char *path, bool must_be_empty, struct tw_error *error);

/* "folder/name" into out[room]; `name` alone when it is absolute or the folder is
 * "". TW_LIMIT when it does not fit; then out is "" (if there is room for it). */
enum tw_status tw_path_join(char *out, size_t room, const char *folder, const char *name);

#endif
