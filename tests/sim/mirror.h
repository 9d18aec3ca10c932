/* A second sequencer beside the lead's, which is told the same, as trace.log would have it: it must
 * say the same records (sim/reenact.h).
 */
#ifndef TW_TESTS_MIRROR_H
#define TW_TESTS_MIRROR_H

#include "server/core/node.h"

struct mirror;

/* Of the lead that is made with this configuration, which tells its inputs from here on. */
struct mirror *mirror_new(struct tw_node_config *config);

/* Fails the test where the mirror has said more than the lead. */
void mirror_free(struct mirror *mirror);

/* What the lead's sequencer is told, and then the records that it says; fails the test where the
 * mirror's are others. */
void mirror_input(struct mirror *mirror, const struct tw_sequencer_event *event);
void mirror_record(struct mirror *mirror, const struct tw_record *record);

#endif
