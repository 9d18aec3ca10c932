/* Inputs of the sequencer as entries of the trace log, and back: what a run was told, kept so that
 * its order can be made again without it (sim/reenact.h). docs/trace-log.md says which kind of
 * input has which fields.
 *
 * Used by server/io/trace.c, which writes them, and by sim/reenact.c, which feeds them to a
 * sequencer again. Pure.
 */
#ifndef TW_CORE_INPUTS_H
#define TW_CORE_INPUTS_H

#include "proto/trace_log.h"
#include "server/core/sequencer.h"

/* All but the two that are the writer's: sequence and time. */
void tw_input_of_event(const struct tw_sequencer_event *event, struct tw_trace_input *input);

/* The event that it was, in a cluster of `workers`. Tickets, which no record has, are the input's
 * sequence. Not for TW_INPUT_RESUME, whose snapshot is not part of it. TW_DATA: no such kind, data
 * of a wrong length, no such mode. Numbers that cannot be are the sequencer's to ignore. */
enum tw_status tw_event_of_input(const struct tw_trace_input *input, uint32_t workers,
                                 struct tw_sequencer_event *event, struct tw_error *error);

#endif
