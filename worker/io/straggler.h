/* An artificial straggler, for experiments with the modes of the dial: a worker whose
 * steps take several times as long as they would. `talweg run --straggler 3:2.5`.
 *
 * It waits, and does not compute its gradient again: on a machine with fewer cores than
 * processes a second computation would take the cores that the other workers need, and
 * slow all of them. A slow machine in a cluster takes nothing from the others.
 *
 * Used by train.c only. Reads the monotonic clock; what is computed and sent is the same
 * with and without it.
 */
#ifndef TW_IO_STRAGGLER_H
#define TW_IO_STRAGGLER_H

#include <stdint.h>

#define TW_STRAGGLER_FACTOR_MAX 1000

struct tw_straggler {
    uint32_t rank;
    double factor; /* 1 to TW_STRAGGLER_FACTOR_MAX; 0: nobody is slowed */
};

/* Nanoseconds of the monotonic clock, at the start of a layer. */
uint64_t tw_straggler_begin(void);

/* Waits until the layer that was begun then has taken `factor` times its time so far.
 * Returns early when stop_fd (-1: none) is readable. */
void tw_straggler_wait(double factor, uint64_t begun, int stop_fd);

#endif
