/* What a checked job says of its servers.
 *
 * Used by cmd_server.c and the simulator, so that both drive the same node.
 */
#ifndef TW_CLI_SERVER_CONFIG_H
#define TW_CLI_SERVER_CONFIG_H

#include "cli/job_check.h"
#include "server/io/server.h"

/* All that the job decides, of server 0; borrows from `checked`. An evaluator when there is test
 * data. */
struct tw_server_config tw_server_config_of(const struct tw_checked_job *checked);

#endif
