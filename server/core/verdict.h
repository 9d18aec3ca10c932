/* Verdicts: what a loss, or the length of a gradient, means for the rest of a run. One is on the
 * learning rate (schedule reduce_on_plateau), one on the end (`stop` of the job); both go by the
 * same rules, of which a job gives those that it wants:
 *
 *     patience   more than so many losses in a row that were not better than the best so far by
 *                the share `threshold` of it: the rate goes down, or the run ends
 *     enough     a loss that is at or below this: the run ends
 *     small      the norm of an update's gradient is at or below this: the run ends
 *
 * A loss is that of an epoch (without data, of an update); the gradient is as the update divides
 * it, before any clip.
 *
 * The lead decides, once, and its verdict stands in the order log (VERDICT): the loss of the test
 * data comes from a process that is no part of the order. With `watch: test` training holds at the
 * end of an epoch until its evaluation has come, so that a synchronous run has the same bits each
 * time, and ends at the same update; an epoch that nobody evaluates, since the evaluator is lost,
 * has no verdict. On the rate there are none during a warm-up either.
 *
 * Used by the sequencer (evaluation.c), and by replay, which makes each verdict again from what it
 * went by in the log and from the verdict before. Pure.
 */
#ifndef TW_CORE_VERDICT_H
#define TW_CORE_VERDICT_H

#include "common/job/job.h"
#include "proto/order_log.h"
#include "server/core/schedule.h"

/* What verdicts of one kind are made with. All zero: there are none. */
struct tw_judge {
    bool by_loss; /* it looks at losses: */
    enum tw_watch watch;
    int64_t patience; /* -1: without end */
    double threshold;
    int64_t cooldown; /* losses that are not counted after patience ran out */
    double enough;    /* -INFINITY: none is */
    double small;     /* 0: it does not look at gradients */
};

struct tw_judge tw_judge_of_rate(const struct tw_pace *pace);
struct tw_judge tw_judge_of_end(const struct tw_job *job);

static inline bool tw_judge_watches(const struct tw_judge *judge, enum tw_watch which) {
    return judge->by_loss && judge->watch == which;
}

/* Before the first loss. */
struct tw_verdict tw_verdict_start(enum tw_verdict_on on);

/* The verdict that follows on *verdict with this loss. One that is NaN is not better. */
void tw_verdict_see(struct tw_verdict *verdict, const struct tw_judge *judge, double loss);

/* Likewise with the gradient of an update, of this norm. False: it says nothing, and *verdict is
 * as it was. */
bool tw_verdict_see_gradient(struct tw_verdict *verdict, const struct tw_judge *judge, double norm);

/* "patience", "loss", "gradient_norm", as the job names them; "" for TW_STOP_NOT. */
const char *tw_stop_name(uint32_t reason);

#endif
