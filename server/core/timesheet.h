/* Where the time of all workers went: the account of each rank (waiting.h), told what a node says,
 * and what it amounts to: between two borders of epochs, and of the whole run, in words.
 *
 * Who uses it: whoever drives a lead and knows the time: the server (server/io/waits.c) and the
 * simulator (cli/simulation_told.c). What a node does not see (bytes that begin to arrive, or have
 * left; holds) they tell the account themselves.
 *
 * Pure: the time comes in, as for waiting.h. Borrows its memory.
 */
#ifndef TW_CORE_TIMESHEET_H
#define TW_CORE_TIMESHEET_H

#include "server/core/node.h"
#include "server/core/waiting.h"

/* What was counted up to a border: of all ranks together; and for how long the others waited for
 * each. */
struct tw_timesheet_border {
    struct tw_waiting_view all;
    uint64_t blamed_ns[]; /* [workers] */
};

struct tw_timesheet {
    struct tw_waiting *account;
    uint32_t workers;
    struct tw_timesheet_border *border; /* the last one */
};

/* Where the time of all workers together went, in a stretch of updates: seconds. The
 * four add up to workers times the time that passed. */
struct tw_border_times {
    double computing, waiting, network, away;
    int64_t culprit; /* rank for which the others waited most; -1: for nobody */
    double culprit_seconds;
};

size_t tw_timesheet_bytes(uint32_t workers);
/* `memory`: zeroed, 8-aligned. */
void tw_timesheet_init(struct tw_timesheet *sheet, void *memory, uint32_t workers);

/* What the lead says. `now_ns`: one moment for all that follows from one input. */
void tw_timesheet_event(struct tw_timesheet *sheet, const struct tw_node_event *event,
                        uint64_t now_ns);
void tw_timesheet_record(struct tw_timesheet *sheet, const struct tw_record *record,
                         uint64_t now_ns);

/* Since the last call. */
struct tw_border_times tw_timesheet_stretch(struct tw_timesheet *sheet, uint64_t now_ns);

/* For a run that may begin again from a checkpoint: the last border is kept in memory of the
 * caller's, and taken back from there; the next stretch counts from it, what was lost included.
 * Zeroed memory is the start of the run. */
size_t tw_timesheet_border_bytes(uint32_t workers);
void tw_timesheet_keep(const struct tw_timesheet *sheet, struct tw_timesheet_border *out);
void tw_timesheet_take_back(struct tw_timesheet *sheet, const struct tw_timesheet_border *kept);

/* Where the time of the whole run went, in lines for people, numbered from 0: of each worker, or,
 * of more than eight, of all together and of the one that cost the others most. `rank`: of whom it
 * is. False: there is no such line. */
bool tw_timesheet_line(const struct tw_timesheet *sheet, uint64_t now_ns, uint32_t line,
                       uint32_t *rank, char *text, size_t room);

#endif
