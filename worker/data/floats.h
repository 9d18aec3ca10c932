/* An array of floats that grows: what a reader fills before it knows how much there is. Zeros
 * are an empty one.
 */
#ifndef TW_DATA_FLOATS_H
#define TW_DATA_FLOATS_H

#include <stddef.h>
#include <stdlib.h>

struct tw_floats {
    float *at; /* from malloc */
    size_t count, room;
};

/* `count` more, not set; NULL: out of memory, and nothing has changed. What was returned before is
 * no longer valid. */
static inline float *tw_floats_add(struct tw_floats *floats, size_t count) {
    if (count > floats->room - floats->count) {
        size_t room = floats->room < 512 ? 1024 : 2 * floats->room;
        room = room < floats->count + count ? floats->count + count : room;
        float *at = reallocarray(floats->at, room, sizeof *at);
        if (at == NULL)
            return NULL;
        floats->at = at;
        floats->room = room;
    }
    floats->count += count;
    return floats->at + floats->count - count;
}

/* Hands them over: from malloc, the caller's. */
static inline float *tw_floats_take(struct tw_floats *floats) {
    float *at = floats->at;
    *floats = (struct tw_floats){0};
    return at;
}

static inline void tw_floats_fini(struct tw_floats *floats) {
    free(floats->at);
    *floats = (struct tw_floats){0};
}

#endif
