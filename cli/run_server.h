/* server.json of a run directory: which server works on the run, if any. */
#ifndef TW_CLI_RUN_SERVER_H
#define TW_CLI_RUN_SERVER_H

#include "common/net/address.h"
#include "proto/frame.h"

struct tw_run_server {
    struct tw_host_port at; /* a wildcard is replaced by loopback */
    long pid;
    uint8_t job[TW_JOB_ID_BYTES];
};

/* Says where the server of a run that is under way can be asked. TW_DATA: `run` is no
 * run directory, or its server.json is damaged. TW_STOPPED: no server works on it: the
 * run is over, or has not begun. TW_LIMIT: a path that is too long. */
enum tw_status tw_run_server_find(struct tw_run_server *out, const char *run,
                                  struct tw_error *error);

#endif
