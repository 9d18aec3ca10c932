/* The subcommands of `talweg`: one file each (cmd_NAME.c), one line each in the table
 * of main.c, from which help and suggestions are made as well.
 */
#ifndef TW_CLI_COMMAND_H
#define TW_CLI_COMMAND_H

#include "cli/args.h"
#include "cli/report_json.h"
#include "common/base/status.h"
#include "common/base/text.h"

struct tw_command {
    const char *name;
    const char *summary;               /* for `talweg help` */
    int (*run)(int argc, char **argv); /* argv[0] is the name; returns the exit code */
};

extern const struct tw_command tw_commands[];
extern const int tw_command_count;

int tw_cmd_run(int argc, char **argv);
int tw_cmd_server(int argc, char **argv);
int tw_cmd_worker(int argc, char **argv);
int tw_cmd_dial(int argc, char **argv);
int tw_cmd_status(int argc, char **argv);
int tw_cmd_log(int argc, char **argv);
int tw_cmd_replay(int argc, char **argv);
int tw_cmd_sim(int argc, char **argv);
int tw_cmd_timeline(int argc, char **argv);
int tw_cmd_model(int argc, char **argv);
int tw_cmd_optimizer(int argc, char **argv);
int tw_cmd_correction(int argc, char **argv);
int tw_cmd_landscape(int argc, char **argv);
int tw_cmd_theory(int argc, char **argv);
int tw_cmd_curves(int argc, char **argv);
int tw_cmd_predict(int argc, char **argv);
int tw_cmd_average(int argc, char **argv);
int tw_cmd_bench(int argc, char **argv);
int tw_cmd_help(int argc, char **argv);
int tw_cmd_version(int argc, char **argv);

/* NULL: there is no such command. */
const struct tw_command *tw_command_find(const char *name);

/* Exit codes of DESIGN.md §7. Before anything was started, a wrong command line, job
 * or data file gives 2; once a run is under way only 0, 1 and 130 are left. */
enum { TW_EXIT_DONE = 0, TW_EXIT_FAILED = 1, TW_EXIT_WRONG = 2, TW_EXIT_INTERRUPTED = 130 };
int tw_exit_before(enum tw_status status);
int tw_exit_after(enum tw_status status);

/* Ends a command that never got to a result: the error to stderr, with --json also
 * the object to stdout. Returns tw_exit_before(). `summary` may know more of the
 * run (mode, cluster, directory); its result is filled here. */
int tw_command_fail(const struct tw_args *args, struct tw_summary *summary,
                    const struct tw_error *error);

/* The same for commands whose result is not that of a run: with --json the object has
 * `status` and `error` alone. */
int tw_command_refuse(const struct tw_args *args, const struct tw_error *error);

/* Writes the object of --json as the last line of stdout. */
void tw_print_summary_json(const struct tw_summary *summary);

/* Writes text that a command has made to stdout, whole. TW_NO_MEMORY, TW_IO. */
enum tw_status tw_command_print(const struct tw_text *text, struct tw_error *error);

/* Milliseconds of a clock that never goes back. */
uint64_t tw_now_ms(void);

#endif
