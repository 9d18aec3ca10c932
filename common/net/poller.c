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

/* So often others were given the core of this thread. It counts giving way, if there was
 * somebody to do so for; an interrupt, or a virtual machine that stood still, is nobody. */
static long evictions(void) {
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

/* Until something is ready, the window is over, or others want the core. Not by turns of the loop,
 * which do more, and cannot tell whether anything happened: but for timers, everything that would
 * wake the loop makes its descriptor readable. Returns for how long it has looked. */
static uint64_t look(struct tw_poller *poller, uint64_t window_ns, uint64_t began_ns) {
    struct pollfd ready = {.fd = uv_backend_fd(poller->loop), .events = POLLIN};
    uint64_t last_ns = began_ns;
    long before = evictions();
    while (last_ns - began_ns < window_ns && poll(&ready, 1, 0) == 0) {
        sched_yield();
        uint64_t now_ns = uv_hrtime(), gap_ns = now_ns - last_ns;
        last_ns = now_ns;
        if (gap_ns > GAP_NS && evictions() != before) {
            tw_spin_crowded(&poller->spin, now_ns, gap_ns);
            break;
        }
    }
    return last_ns - began_ns;
}

/* The loop has something to do at once: work, something to close or to watch, or a timer is due.
 * uv_run(UV_RUN_ONCE) would do that, and might then sleep all the same. */
static bool is_due(uv_loop_t *loop, int *timeout_ms) {
    uv_update_time(loop);
    *timeout_ms = uv_backend_timeout(loop);
    return *timeout_ms == 0;
}

int tw_poller_turn(struct tw_poller *poller) {
    uv_loop_t *loop = poller->loop;
    int timeout_ms;
    if (poller->spin.cap_ns == 0)
        return uv_run(loop, UV_RUN_ONCE);
    if (is_due(loop, &timeout_ms))
        return uv_run(loop, UV_RUN_NOWAIT);
    uint64_t now_ns = uv_hrtime(), timeout_ns = (uint64_t)timeout_ms * 1000000;
    uint64_t window_ns = tw_spin_window(&poller->spin, now_ns);
    if (timeout_ms > 0 && window_ns > timeout_ns)
        window_ns = timeout_ns;
    uint64_t looked_ns = window_ns ? look(poller, window_ns, now_ns) : 0;
    bool due = looked_ns && is_due(loop, &timeout_ms);
    uint64_t idle_ns = uv_metrics_idle_time(loop);
    int alive = uv_run(loop, due ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    tw_spin_waited(&poller->spin, looked_ns + uv_metrics_idle_time(loop) - idle_ns);
    return alive;
}
