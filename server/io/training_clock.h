/* Training time: from the start, without the times in which training stands
 * still because the evaluator has to catch up (DESIGN.md §6).
 *
 * Used by the server for `seconds` and samples_per_second. Pure: the time comes
 * in, in nanoseconds of a clock that never goes back (uv_hrtime).
 */
#ifndef TW_IO_TRAINING_CLOCK_H
#define TW_IO_TRAINING_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* All zeros: it stands at 0. */
struct tw_training_clock {
    bool runs;
    uint64_t since_ns; /* when it last began to run */
    uint64_t sum_ns;   /* of the times before that */
};

/* Lets it run, or stand still, from now on; the same again changes nothing. */
void tw_training_clock_set(struct tw_training_clock *clock, bool runs, uint64_t now_ns);

/* What it shows. */
uint64_t tw_training_clock_ns(const struct tw_training_clock *clock, uint64_t now_ns);
double tw_training_clock_seconds(const struct tw_training_clock *clock, uint64_t now_ns);

#endif
