/* What the command line of `talweg sim` says of times, speeds and mishaps.
 */
#ifndef TW_CLI_SIM_QUANTITY_H
#define TW_CLI_SIM_QUANTITY_H

#include "cli/args.h"
#include "sim/world.h"

/* "1ms,10Gbit": latency and bandwidth (bytes per second; missing: no limit) of --net. Times are in
 * s, ms or us (none: s), bandwidths in bit or B with k, M or G. EINVAL with the message. */
error_t tw_args_net(struct tw_args *args, const char *text, double *latency, double *bandwidth);

/* "RANK@TIME" or "RANK@TIME+SECONDS", of a worker or of a server. A death without seconds is for
 * good; a pause needs them, who comes late has none. EINVAL likewise. */
error_t tw_args_mishap(struct tw_args *args, const char *flag, enum tw_mishap_kind kind,
                       const char *text, struct tw_mishap *out);

#endif
