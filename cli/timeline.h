/* What the workers of a run did when, in a window of updates: order.log and trace.log
 * joined. Pure: records and entries come in, a value to draw comes out.
 *
 *     tw_timeline_new -> tw_timeline_record, for each record of order.log
 *                     -> tw_timeline_seal
 *                     -> tw_timeline_entry, for each entry of trace.log -> tw_timeline_finish
 *
 * A step of a worker is cut into activities, one after the other without gaps:
 *
 *      FREE ---- RELEASED ---- RECEIVED ---- COMPUTED ---- ARRIVED
 *        waiting      receiving     computing      sending
 *
 * FREE is the ARRIVED of the step before. RELEASED is not in trace.log: a slot gets its
 * weights when it asks for them, or at the COMMIT of the version that it gets, whichever
 * is later. RECEIVED and COMPUTED come from the worker's clock, mapped onto the lead's; what
 * comes out a little too early by that is moved up to the moment before it. A step of which
 * its worker told nothing (a program with another client, a worker that died) is computing
 * from the last byte that was sent to it until its gradient came, and `told` is false. One
 * that was given up is over with the COMMIT that cancelled it.
 *
 * Memory is bounded by the steps in the window, and those of the rest of the log that
 * are open at a time. Neither log is trusted. Used by cmd_timeline.c, timeline_svg.c and
 * timeline_chrome.c.
 */
#ifndef TW_CLI_TIMELINE_H
#define TW_CLI_TIMELINE_H

#include "proto/order_log.h"
#include "proto/trace_log.h"

enum tw_moment {
    TW_MOMENT_FREE,
    TW_MOMENT_RELEASED,
    TW_MOMENT_RECEIVED,
    TW_MOMENT_COMPUTED,
    TW_MOMENT_ARRIVED,
    TW_MOMENTS,
};

/* Activity a is from moment a to moment a + 1. */
enum tw_activity {
    TW_ACTIVITY_WAITING,
    TW_ACTIVITY_RECEIVING,
    TW_ACTIVITY_COMPUTING,
    TW_ACTIVITY_SENDING,
    TW_ACTIVITIES,
};

/* "waiting for others", "receiving weights", ... */
const char *tw_activity_name(enum tw_activity activity);

/* What became of a gradient. */
enum tw_fate { TW_FATE_OPEN, TW_FATE_APPLIED, TW_FATE_DROPPED };

/* Times: ns as in trace.log; 0: not known. */
struct tw_timeline_step {
    uint32_t worker;
    uint64_t step;
    uint64_t read, read_version; /* position and version of its RELEASE */
    enum tw_fate fate;
    uint64_t version;   /* APPLIED: by this update; DROPPED: after it */
    uint64_t staleness; /* APPLIED */
    bool drawn;         /* at[] is known; else nobody knows when it happened */
    bool told;          /* by its worker, too */
    uint64_t at[TW_MOMENTS];
    uint64_t released; /* at[RELEASED] may be later: it was still busy */
    uint64_t served, sent;
    uint32_t next; /* private */
};

struct tw_timeline_update {
    uint64_t version;
    uint32_t contributions; /* in the window, else 0 */
    uint64_t prepared, committed, applied;
    uint64_t applying; /* since when: committed, or the update before was through */
};

/* The dial was turned: when update `version` was committed, or some time before the next. What
 * tells is the last slot that it took away from its work: all of them get weights then. */
struct tw_timeline_turn {
    uint64_t version, position; /* of its record */
    uint64_t time;              /* 0: not known */
    char mode[TW_MODE_MAX + 1];
};

/* What a worker did with its time, and what became of its gradients, in the window. */
struct tw_timeline_worker {
    uint64_t spent[TW_ACTIVITIES];
    uint64_t applied, dropped, staleness;
};

#define TW_TIMELINE_TURNS_MAX 8

struct tw_timeline {
    uint32_t workers, width; /* width: slots of a worker */
    uint64_t from, to;       /* the window's updates; `to` may shrink to what is measured */
    uint64_t begin, end;     /* its time */
    size_t steps, updates, turns;
    struct tw_timeline_step *step;     /* [steps], by worker, step; some lie outside of the time */
    struct tw_timeline_update *update; /* [updates], by version; also some from before */
    struct tw_timeline_worker *worker; /* [workers] */
    /* [turns], by version: in the window; the first of more. turned: the last before it;
     * mode "": there was none. */
    struct tw_timeline_turn turn[TW_TIMELINE_TURNS_MAX], turned;
};

/* Gradients that a window may have. */
#define TW_TIMELINE_STEPS_MAX (1u << 17)

/* Updates from..to, of a run of so many workers with `width` slots each. *out is the
 * caller's. TW_NO_MEMORY. */
enum tw_status tw_timeline_new(struct tw_timeline **out, uint32_t workers, uint32_t width,
                               uint64_t from, uint64_t to, struct tw_error *error);

/* NULL is fine. */
void tw_timeline_free(struct tw_timeline *timeline);

/* The next record, from the first on. TW_DATA: it contradicts those before it; what came
 * before is good. TW_LIMIT: too many gradients; TW_NO_MEMORY. */
enum tw_status tw_timeline_record(struct tw_timeline *timeline, const struct tw_record *record,
                                  struct tw_error *error);

/* No record comes any more. TW_NO_MEMORY. */
enum tw_status tw_timeline_seal(struct tw_timeline *timeline, struct tw_error *error);

/* An entry, in any order. */
void tw_timeline_entry(struct tw_timeline *timeline, const struct tw_trace_entry *entry);

/* No entry comes any more. TW_DATA: none was about an update of the window. */
enum tw_status tw_timeline_finish(struct tw_timeline *timeline, struct tw_error *error);

/* NULL when nothing is known of this version; else committed is not 0. */
const struct tw_timeline_update *tw_timeline_update_of(const struct tw_timeline *timeline,
                                                       uint64_t version);

/* Whether the step's gradient is part of an update of the window whose COMMIT has a time:
 * then an arrow can be drawn. */
bool tw_timeline_has_arrow(const struct tw_timeline *timeline, const struct tw_timeline_step *step);

#endif
