/* How far an update moves each tensor, beside its size: |change| / |weights|, of the updates that
 * trace.log has sums of. The last one goes into each line of metrics.jsonl; at the end of a run
 * people are told the typical one (the geometric mean of all), and what to try when it is far from
 * where it usually is.
 *
 * Nothing is judged where it would mean nothing: biases, which start at 0; tensors that do not move
 * at all, or with a rate of their own; models without data, whose size is arbitrary.
 *
 * Used by whoever drives a node and tells of it: the server (narrator.c, conclusion.c) and the
 * simulator (cli/simulation_told.c). Never writes or tells anything itself.
 */
#ifndef TW_IO_STEPS_H
#define TW_IO_STEPS_H

#include "server/io/borders.h"
#include "server/io/server.h"

struct tw_steps {
    const struct tw_server_config *config; /* borrowed */
    double *last;     /* [tensors] |change| / |weights| of the update sampled last; NaN: 0 / 0 */
    double *sum;      /* [tensors] of the logarithms of all; */
    uint64_t samples; /* so many */
    uint64_t version, told_version; /* of `last`; of the last line of metrics.jsonl */
    double *held;                   /* [TW_HELD_BORDERS][tensors] of the borders held, a ring */
    unsigned borders;
};

/* TW_NO_MEMORY. Either way tw_steps_fini() follows; all zeros are fine for it, too. */
enum tw_status tw_steps_init(struct tw_steps *steps, const struct tw_server_config *config);
void tw_steps_fini(struct tw_steps *steps);

/* The run is begun again: nothing was sampled yet. */
void tw_steps_forget(struct tw_steps *steps);

/* TW_EVENT_SAMPLED. */
void tw_steps_sampled(struct tw_steps *steps, const struct tw_node_event *event);

/* What was sampled since the border before, if anything was. It stays as long as the border can be
 * held. */
void tw_steps_border(struct tw_steps *steps, struct tw_border *border);

/* What was typical, for people, into `text` [room, at least 512]; false: there is nothing to
 * say. */
bool tw_steps_words(const struct tw_steps *steps, char *text, size_t room);

#endif
