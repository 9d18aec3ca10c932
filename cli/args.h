/* What the commands that take a job have in common on their command lines, read
 * with argp: JOB, --set, --help, and the hidden --supervised.
 *
 * argp would print and exit by itself; here it does neither, since with --json a
 * wrong command line is answered on stdout too. A command describes its own options
 * in a struct argp whose only child is tw_args_common, and whose parser ends with
 * tw_args_usual(). Commands that look at what a run left take
 * RUN instead, have no --set, and use tw_args_run.
 */
#ifndef TW_CLI_ARGS_H
#define TW_CLI_ARGS_H

#include <argp.h>
#include <stdbool.h>

#include "cli/supervised.h"
#include "common/job/job.h"
#include "worker/io/straggler.h"

#define TW_ARGS_SETTINGS 256

struct tw_args {
    const char *command; /* "run" */
    const char *job;     /* JOB, or RUN */
    bool json;
    bool help; /* was printed */
    struct tw_supervised supervised;
    bool is_supervised;
    int count;
    struct tw_job_setting settings[TW_ARGS_SETTINGS];
    char *memory[2 * TW_ARGS_SETTINGS + 1]; /* of settings, and of JOB; borrowed by them */
    int memory_count;
    void *own; /* the command's own part */
    struct tw_error error;
};

/* {&tw_args_common, ...} as the only child of a command's argp. */
extern const struct argp tw_args_common;
/* One argument of another kind (a RUN, a SUBJECT) and --help; and the same with --set. */
extern const struct argp tw_args_run, tw_args_run_set;
/* --help alone: the command's own parser takes the arguments. */
extern const struct argp tw_args_plain;

/* Reads argv. TW_OK: go on, or, with args->help, end with 0 (whatever a parser misses then).
 * TW_USAGE: the message is in args->error; `json` is set if --json stands anywhere. Fini in any
 * case. */
enum tw_status tw_args_parse(struct tw_args *args, const char *command, const struct argp *argp,
                             void *own, int argc, char **argv);

/* What a command's parser returns for keys that it does not know: hands the input on to its
 * child, and takes --json. */
error_t tw_args_usual(int key, struct argp_state *state);

/* For parsers: a flag that stands for a setting; EINVAL when there are too many. */
error_t tw_args_set(struct tw_args *args, const char *key, const char *value, const char *flag);

/* For parsers: sets the message; returns EINVAL. */
error_t tw_args_wrong(struct tw_args *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For parsers: the whole number of --`flag`, from `least` to `most`. */
error_t tw_args_whole(struct tw_args *args, const char *flag, const char *text, int least, int most,
                      int *out);

/* For parsers: --patience SECONDS, of commands that look for a server. */
error_t tw_args_patience(struct tw_args *args, const char *text, double *seconds);

/* For parsers: --straggler RANK:FACTOR, of commands that start workers or are one. */
error_t tw_args_straggler(struct tw_args *args, const char *text, struct tw_straggler *out);

/* TW_USAGE when a straggler is wanted whose rank this cluster does not have. */
enum tw_status tw_args_check_straggler(const struct tw_straggler *straggler, int workers,
                                       struct tw_error *error);

void tw_args_fini(struct tw_args *args);

/* For the options of commands that have results; tw_args_usual() takes it. */
#define TW_ARGS_KEY_JSON 0x1ff
#define TW_ARGS_JSON                                                                               \
    { "json", TW_ARGS_KEY_JSON, NULL, 0, "End stdout with the result as one JSON object", 10 }

/* For experiments: docs/consistency.md has it, --help does not. */
#define TW_ARGS_KEY_STRAGGLER 0x1fe
#define TW_ARGS_STRAGGLER                                                                          \
    { "straggler", TW_ARGS_KEY_STRAGGLER, "RANK:FACTOR", OPTION_HIDDEN, NULL, 0 }

/* At the end of every --help. */
#define TW_ARGS_EXIT_CODES                                                                         \
    "Exit codes:\n"                                                                                \
    "  0    done\n"                                                                                \
    "  1    failed\n"                                                                              \
    "  2    wrong usage or job file, or missing or corrupt data\n"                                 \
    "  130  interrupted by Ctrl-C or SIGTERM; the model so far is saved\n"

#endif
