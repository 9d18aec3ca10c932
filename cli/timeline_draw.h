/* A timeline as a picture for people (SVG), and as a trace for programs (the JSON of
 * Chrome's tracing, which Perfetto reads). Pure: text comes out.
 *
 * Used by cmd_timeline.c.
 */
#ifndef TW_CLI_TIMELINE_DRAW_H
#define TW_CLI_TIMELINE_DRAW_H

#include "cli/timeline.h"
#include "common/base/text.h"

/* Which gradients get an arrow from the version that was read to the one that applied it. */
enum tw_timeline_arrows { TW_ARROWS_ALL, TW_ARROWS_LATE, TW_ARROWS_NONE };

struct tw_timeline_look {
    const char *mode; /* that the run began with; "" not known */
    const char *note; /* what a reader must know, such as that a log is cut; "" nothing */
    uint64_t updates; /* of the whole run */
    enum tw_timeline_arrows arrows;
};

static inline bool tw_timeline_wants_arrow(const struct tw_timeline *timeline,
                                           const struct tw_timeline_look *look,
                                           const struct tw_timeline_step *step) {
    return look->arrows != TW_ARROWS_NONE && tw_timeline_has_arrow(timeline, step) &&
           (step->staleness > 0 || look->arrows == TW_ARROWS_ALL);
}

/* What was drawn. */
struct tw_timeline_drawn {
    uint64_t spans, arrows;
};

/* So many gradients can a picture show; more are for Perfetto. */
#define TW_TIMELINE_PICTURE_MAX 4096u

/* A row per worker, one of the server, a time axis and a legend. A worker has a colour, and
 * what it does a thickness, so that nothing depends on colours alone. */
struct tw_timeline_drawn tw_timeline_to_svg(struct tw_text *out, const struct tw_timeline *timeline,
                                            const struct tw_timeline_look *look);

/* One line. Process 0 is the server (thread 0: the updates being decided, thread 1: being
 * applied), process 1 the workers, a thread each. Whole spans, also where they leave the
 * window. An arrow begins where the version that was read was applied, if that is known. */
struct tw_timeline_drawn tw_timeline_to_chrome(struct tw_text *out,
                                               const struct tw_timeline *timeline,
                                               const struct tw_timeline_look *look);

#endif
