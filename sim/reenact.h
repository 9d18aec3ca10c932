/* A run's order made again from what its lead was told: a sequencer that is given the recorded
 * inputs (trace.log), one after the other, says the same records as the one of the run. It needs
 * neither data nor weights: the sequencer never sees a tensor.
 *
 * A run that was begun again from a checkpoint goes on here from its own snapshot of that point.
 *
 * Used by cli/explainer.c, which has the files. What it is given may be wrong: a status and a
 * sentence, never an assertion. No files, no clock. It allocates when it is made, and for each
 * checkpoint.
 */
#ifndef TW_SIM_REENACT_H
#define TW_SIM_REENACT_H

#include "server/core/inputs.h"

struct tw_reenactment;

struct tw_reenact_config {
    struct tw_sequencer_config sequencer; /* as the run's, at its start */
    void *context;
    /* A record; what it points to is valid until this returns. Slots have the numbers of ranks. Any
     * status but TW_OK ends the feeding with it. */
    enum tw_status (*record)(void *context, const struct tw_record *record, struct tw_error *error);
};

/* TW_DATA: no sequencer can be like this; TW_NO_MEMORY. *out is the caller's. */
enum tw_status tw_reenact_new(struct tw_reenactment **out, const struct tw_reenact_config *config,
                              struct tw_error *error);

/* NULL is fine. */
void tw_reenact_free(struct tw_reenactment *reenactment);

/* The next input. TW_DATA: it is none, or goes on from a checkpoint that there was not; what
 * record() said; TW_NO_MEMORY. */
enum tw_status tw_reenact_input(struct tw_reenactment *reenactment,
                                const struct tw_trace_input *input, struct tw_error *error);

/* From the next RESUME on: a lead that goes on from a checkpoint may have other servers, other
 * checkpoints, an evaluator or none. TW_DATA: other workers, or no sequencer can be like this. */
enum tw_status tw_reenact_configure(struct tw_reenactment *reenactment,
                                    const struct tw_sequencer_config *config,
                                    struct tw_error *error);

/* Of the run as it is here. */
uint64_t tw_reenact_version(const struct tw_reenactment *reenactment);

/* Whether the run is over: by its end, or as it was stopped. */
bool tw_reenact_is_over(const struct tw_reenactment *reenactment);

#endif
