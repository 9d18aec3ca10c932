/* `talweg help job`: what may stand in a job file. The keys' list is written here; what
 * layers, losses, optimizers and data formats take comes from their tables.
 */
#ifndef TW_CLI_HELP_JOB_H
#define TW_CLI_HELP_JOB_H

#include "common/base/text.h"

/* Appends the whole page. */
void tw_help_job(struct tw_text *out);

#endif
