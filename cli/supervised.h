/* The tie between the launcher and a process that it started: the hidden option
 * `--supervised FD:PID`.
 *
 * PID is the launcher. A supervised process dies with it: it asks the kernel for
 * SIGKILL when its parent ends, then looks whether the parent is still there, so
 * no moment is left in which it could be orphaned. FD is where a server writes
 * its reports as JSON lines; a worker reports nothing and has FD -1.
 *
 * Used by main.c before anything else, by cmd_server.c and cmd_worker.c, and by
 * the fake child of the tests. Never allocates, never prints.
 */
#ifndef TW_CLI_SUPERVISED_H
#define TW_CLI_SUPERVISED_H

#include <stdbool.h>
#include <sys/types.h>

struct tw_supervised {
    int report_fd; /* -1: none */
    pid_t launcher;
};

/* "3:4711" or "-1:4711". False when it is anything else. */
bool tw_supervised_parse(const char *text, struct tw_supervised *out);

/* Looks for --supervised in argv and ties this process to its launcher; does not
 * return when the launcher is gone already. To be called first in main(): argp
 * comes much later. Without the option, does nothing. */
void tw_supervised_tie(int argc, char **argv);

#endif
