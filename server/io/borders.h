/* Borders of epochs on their way: from the event that begins one until the evaluation of its
 * version has come, or nobody is left who could evaluate it. They leave in their order, so a
 * complete one behind one that waits waits, too. And what the last ones say of the end of a run.
 *
 * Used by whoever drives a node and tells of it: the server (narrator.c) and the simulator
 * (cli/simulation_told.c). Never writes or tells anything itself.
 */
#ifndef TW_IO_BORDERS_H
#define TW_IO_BORDERS_H

#include "server/core/node.h"
#include "server/io/report.h"
#include "server/io/run_directory.h"

#define TW_HELD_BORDERS 4 /* the sequencer holds training before there are three */

struct tw_borders {
    struct tw_border held[TW_HELD_BORDERS];
    int holds;
    double seconds; /* at the last border */
    uint64_t samples;
    double train_loss, train_accuracy; /* of the last whole stretch; NaN: there is none */
    uint64_t evaluated_version;
    struct tw_metric_values test; /* of that version; NaN: there is none */
};

/* None yet. */
void tw_borders_init(struct tw_borders *borders);

/* What the event TW_EVENT_BORDER says, after so many seconds of training of `n` samples in an epoch
 * (0: none). Where the time went and how far updates moved are the caller's to add to it. There is
 * room for it: not when `holds` is TW_HELD_BORDERS. */
struct tw_border *tw_borders_begin(struct tw_borders *borders, const struct tw_node_event *event,
                                   uint64_t n, double seconds);

/* TW_EVENT_EVALUATED. */
void tw_borders_evaluated(struct tw_borders *borders, const struct tw_node_event *event);

/* No evaluation comes any more for those that are held; or, TW_EVENT_GIVEN_UP, for that version. */
void tw_borders_let_go(struct tw_borders *borders);
void tw_borders_given_up(struct tw_borders *borders, uint64_t version);

/* The next that is complete, which leaves; false: there is none. */
bool tw_borders_next(struct tw_borders *borders, struct tw_border *out);

/* What TW_REPORT_EPOCH tells of a border, but for samples_total. */
struct tw_report tw_border_report(const struct tw_border *border);

/* All that is counted of a run until now, into `result`; the rest of it stays. */
void tw_borders_result(const struct tw_borders *borders, const struct tw_sequencer *sequencer,
                       double seconds, struct tw_result *result);

#endif
