/* A line that its connections share: of those that have something on it each goes on at the same
 * rate, as TCP connections do, about (processor sharing).
 *
 * Work is counted in nanoseconds of the whole line. With n at work each is done with 1 ns of its
 * own every n ns; so what is left of each falls alike, and who is done next is known from a heap:
 * whatever begins or is done costs log2 of how many are at work.
 *
 * Used by world_net.c, one line for each direction of each process. Pure: no clock, no allocation.
 */
#ifndef TW_SIM_LINE_H
#define TW_SIM_LINE_H

#include "sim/agenda.h"

struct tw_line {
    struct tw_agenda at_work; /* by what `served` will be when they are done */
    double served;            /* ns of its own that each has had since the line was idle */
    uint64_t now_ns;          /* then */
};

/* `heap` has room for all that may be at work at once, and outlives the line. */
void tw_line_init(struct tw_line *line, struct tw_agenda_event *heap, size_t room);

/* `who` has so much work from now on, and has none on the line yet. Time never goes back. */
void tw_line_begin(struct tw_line *line, uint64_t now_ns, uint64_t work_ns, uint64_t who);

/* When the first of them will be done, if nothing else begins; UINT64_MAX: it is idle. */
uint64_t tw_line_due(const struct tw_line *line);

/* One that is done by now, in the order in which they are; false: there is none. */
bool tw_line_done(struct tw_line *line, uint64_t now_ns, uint64_t *who);

#endif
