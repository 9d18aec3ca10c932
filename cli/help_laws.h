/* `talweg help laws`: the delay laws of the simulator, from the tables themselves
 * (sim/delay.h).
 */
#ifndef TW_CLI_HELP_LAWS_H
#define TW_CLI_HELP_LAWS_H

#include "common/base/text.h"

void tw_help_laws(struct tw_text *out);

#endif
