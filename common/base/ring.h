/* Places of a ring: an array whose first entry moves on, and behind whose last place the first one
 * follows.
 *
 * Who uses it: queues on the way of every push, where a division would be the dearest part. */
#ifndef TW_BASE_RING_H
#define TW_BASE_RING_H

#include <stdint.h>

/* Where entry `i` is of those that begin at `first`; first < room, i <= room. */
static inline uint32_t tw_ring_at(uint32_t first, uint32_t i, uint32_t room) {
    uint32_t to_end = room - first;
    return i < to_end ? first + i : i - to_end;
}

/* The place behind `at`; at < room. */
static inline uint32_t tw_ring_next(uint32_t at, uint32_t room) {
    return at + 1 < room ? at + 1 : 0;
}

#endif
