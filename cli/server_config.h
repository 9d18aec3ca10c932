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

/* Which chunks each server has, and the memory of each. */
struct tw_server_plan {
    struct tw_layout layout;
    struct tw_chunk *chunks;
    struct tw_memory_plan *memory; /* [servers] */
};

/* TW_LIMIT: too many chunks; TW_JOB: memory.inflight is too small; TW_NO_MEMORY. The caller frees
 * with tw_server_plan_fini(), also after a failure. */
enum tw_status tw_server_plan_make(struct tw_server_plan *plan,
                                   const struct tw_checked_job *checked,
                                   const struct tw_server_config *server, struct tw_error *error);

/* Harmless on zeros. */
void tw_server_plan_fini(struct tw_server_plan *plan);

#endif
