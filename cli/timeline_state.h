/* A timeline that is being made. Private to timeline.c (records) and timeline_times.c
 * (entries).
 *
 * Steps that are open stand in a list per worker, oldest first. Those that turn out to lie
 * before the window are used again.
 */
#ifndef TW_CLI_TIMELINE_STATE_H
#define TW_CLI_TIMELINE_STATE_H

#include "cli/timeline.h"

#define TW_TIMELINE_NONE UINT32_MAX

/* What trace.log says of a step. */
struct tw_timeline_times {
    uint64_t asked, served, arrived; /* by the lead */
    uint64_t received, computed, sent;
};

struct tw_timeline_making {
    struct tw_timeline timeline;     /* first: this is what callers have */
    size_t room;                     /* of timeline.step */
    uint32_t free;                   /* steps to use again; TW_TIMELINE_NONE: none */
    uint32_t *first;                 /* [workers] */
    uint32_t *gathers;               /* [to - from + 1], gathers[i] of version from + i */
    struct tw_timeline_times *times; /* [timeline.steps], once sealed */
};

#endif
