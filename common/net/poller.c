#include "common/net/poller.h"

#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/resource.h>

/* Between two looks: two system calls take one or two us, a thread that came between more. */
#define GAP_NS 10000u

void tw_poller_init(struct tw_poller *poller, uv_loop_t *loop, uint32_t poll_us) {
    /* How long the loop slept cannot be seen from outside of it. */
    if (poll_us > 0 && uv_loop_configure(loop, UV_METRICS_IDLE_TIME) != 0)
        poll_us = 0;
    *poller = (struct tw_poller){.loop = loop};
    tw_spin_init(&poller->spin, poll_us * 1000);
}

/* Somebody else has had the core since the last call. An interrupt, or a virtual machine that stood
 * still, is nobody. */
static bool was_evicted(struct tw_poller *poller) {
    struct rusage usage;
    long before = poller->evictions;
    if (getrusage(RUSAGE_THREAD, &usage) == 0)
        poller->evictions = usage.ru_nivcsw; /* counts giving way, if there was one to do so for */
    return poller->evictions != before;
}

/* Until something is ready, the window is over, or others want the core. Not by turns of the loop,
 * which do more, and cannot tell whether anything happened: everything that would wake the loop
 * makes its descriptor readable. Returns for how long it has looked. */
static uint64_t look(struct tw_poller *poller, uint32_t window_ns, uint64_t began_ns) {
    struct pollfd ready = {.fd = uv_backend_fd(poller->loop), .events = POLLIN};
    uint64_t last_ns = began_ns;
    while (last_ns - began_ns < window_ns && poll(&ready, 1, 0) == 0) {
        sched_yield();
        uint64_t now_ns = uv_hrtime(), gap_ns = now_ns - last_ns;
        last_ns = now_ns;
        if (gap_ns > GAP_NS && was_evicted(poller)) {
            tw_spin_crowded(&poller->spin, now_ns);
            break;
        }
    }
    return last_ns - began_ns;
}

int tw_poller_turn(struct tw_poller *poller) {
    uv_loop_t *loop = poller->loop;
    if (poller->spin.cap_ns == 0 || uv_backend_timeout(loop) == 0)
        return uv_run(loop, UV_RUN_ONCE);
    uint64_t now_ns = uv_hrtime();
    uint32_t window_ns = tw_spin_window(&poller->spin, now_ns);
    uint64_t looked_ns = window_ns ? look(poller, window_ns, now_ns) : 0;
    uint64_t idle_ns = uv_metrics_idle_time(loop);
    int alive = uv_run(loop, UV_RUN_ONCE);
    tw_spin_waited(&poller->spin, looked_ns + uv_metrics_idle_time(loop) - idle_ns);
    return alive;
}
