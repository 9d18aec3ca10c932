/* The verdicts of the schedule reduce_on_plateau: after each epoch, whether its loss is better than
 * the best so far, and whether it is time to go on with a lower learning rate.
 *
 * The lead decides, once, and its verdict stands in the order log (VERDICT): the loss of the test
 * data comes from a process that is no part of the order. With `watch: test` training holds at the
 * end of an epoch until its evaluation has come, so that a synchronous run has the same bits each
 * time; an epoch that nobody evaluates, since the evaluator is lost, has no verdict. During a
 * warm-up there are none either.
 *
 * Used by the sequencer (evaluation.c), and by replay, which makes each verdict again from the loss
 * in the log and from the verdict before. Pure.
 */
#ifndef TW_CORE_PLATEAU_H
#define TW_CORE_PLATEAU_H

#include <math.h>

#include "proto/order_log.h"
#include "server/core/schedule.h"

/* Before the first epoch. */
static inline struct tw_verdict tw_plateau_start(void) {
    return (struct tw_verdict){.loss = INFINITY, .best = INFINITY};
}

/* The verdict that follows on *verdict when an epoch ends with this loss. One that is NaN is not
 * better. */
void tw_plateau_see(struct tw_verdict *verdict, const struct tw_schedule_options *options,
                    double loss);

#endif
