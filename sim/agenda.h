/* What will happen, and when: the event queue of virtual time.
 *
 * Events come out in the total order (time, priority, worker, sequence), where the sequence
 * counts what was put in: never by accident of a heap. So two runs with the same events are
 * the same run.
 *
 * Who uses it: the simulator. A binary heap in memory that is handed over; no allocation.
 * Putting in and taking out cost log2 of what is in it.
 */
#ifndef TW_SIM_AGENDA_H
#define TW_SIM_AGENDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct tw_agenda_event {
    uint64_t time_ns; /* virtual */
    uint32_t priority, worker;
    uint64_t sequence; /* given by tw_agenda_put() */
    uint32_t kind;     /* the rest is the caller's business */
    uint64_t value;
};

struct tw_agenda {
    struct tw_agenda_event *heap; /* [room] */
    size_t room, count;
    uint64_t puts; /* ever */
};

/* `heap`: room events, owned by the caller, outlives the agenda. */
void tw_agenda_init(struct tw_agenda *agenda, struct tw_agenda_event *heap, size_t room);

/* TW_LIMIT: there is no room; nothing is changed. */
enum tw_status tw_agenda_put(struct tw_agenda *agenda, const struct tw_agenda_event *event);

/* The first event; false: there is none. */
bool tw_agenda_take(struct tw_agenda *agenda, struct tw_agenda_event *out);

#endif
