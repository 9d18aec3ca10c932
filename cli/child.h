/* One process that the launcher starts: its log, its ties, how it ended.
 *
 * A child runs in a session of its own, so that a Ctrl-C on the terminal reaches
 * the launcher only, and dies with the launcher all the same (supervised.h). What
 * it prints goes to a log file in the run directory. Used by launcher.c alone.
 */
#ifndef TW_CLI_CHILD_H
#define TW_CLI_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/file.h"
#include "common/base/text.h"

#define TW_CHILD_NAME 32
#define TW_CHILD_ARGUMENTS 20
#define TW_CHILD_TAIL_LINES 20

struct tw_child {
    char name[TW_CHILD_NAME]; /* "server 0", "worker 1", "evaluator" */
    char log[TW_PATH_MAX];
    bool spawned; /* `process` must be closed */
    bool ended;
    bool suspect; /* ended by itself, perhaps for a reason that is on its way */
    int64_t exit_code;
    int signal; /* 0: it ended by itself */
    uv_process_t process;
    void (*on_end)(struct tw_child *child);
    void *owner;
};

struct tw_child_plan {
    const char *executable;
    const char *folder;           /* of the log file */
    const char *const *arguments; /* NULL-terminated; [0] is the program's name */
    bool keeps_log;               /* what stands in its log stays */
    const char *blas_core;        /* for its environment, or NULL */
    uv_pipe_t *reports;           /* becomes its descriptor 3, or NULL */
};

/* Starts it; `name` and the owner's fields are set before. TW_IO: the log cannot be
 * made, no process can be started. A child that failed to start has not ended, and
 * on_end will not be called. */
enum tw_status tw_child_spawn(struct tw_child *child, uv_loop_t *loop,
                              const struct tw_child_plan *plan, struct tw_error *error);

/* Started and not ended yet. */
bool tw_child_lives(const struct tw_child *child);

/* Nothing when it does not live. */
void tw_child_signal(struct tw_child *child, int signal);

/* "worker 1 ended with exit code 3", "worker 1 was killed by SIGSEGV". */
void tw_child_end_words(const struct tw_child *child, struct tw_text *out);

/* The last lines of its log, at most TW_CHILD_TAIL_LINES, without control
 * characters; empty when there are none. */
void tw_child_tail(const struct tw_child *child, struct tw_text *out);

#endif
