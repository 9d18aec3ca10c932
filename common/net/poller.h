/* A turn of an event loop that polls for a while before it sleeps (common/base/spin.h). The
 * server's loop and the waits of libtalweg's calls go by it. */
#ifndef TW_NET_POLLER_H
#define TW_NET_POLLER_H

#include <uv.h>

#include "common/base/spin.h"

struct tw_poller {
    uv_loop_t *loop;
    struct tw_spin spin;
};

/* Before the loop runs for the first time. poll_us: the cap; 0: it never polls. */
void tw_poller_init(struct tw_poller *poller, uv_loop_t *loop, uint32_t poll_us);

/* Waits until something has happened, and does what follows from it, as uv_run(loop,
 * UV_RUN_ONCE); where something is to be done at once, it does that and no more. Whoever waits for
 * something looks for it after each turn. Returns 0 when nothing is left that could happen. */
int tw_poller_turn(struct tw_poller *poller);

#endif
