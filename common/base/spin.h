/* How long to look for what comes before going to sleep, decided from what waits were like.
 *
 * A thread that sleeps is woken 10 to 50 us after what it waits for, when its core has gone
 * to sleep as well; one that looks again and again is not, but keeps a core busy. So a loop
 * polls for a window, and sleeps when nothing has come by then. The window follows the waits,
 * as in the halt polling of KVM: one that was longer than the window, but not than the cap, would
 * have been caught by a longer one, which doubles it; one that was longer than the cap was polled
 * for in vain, which halves it, down to nothing. So who hears nothing polls next to never.
 *
 * Others may want the core. Whoever polls gives way between two looks, which costs nothing when he
 * is alone; when he is not, somebody who computes has the core for milliseconds, in which a
 * sleeper would have been woken, and Linux lets who gave way stand behind the others for as long
 * again. So then all waits are slept for a while, the longer the more time giving way has cost,
 * and twice as long each time that others are still there after it. A thread of the kernel that
 * wants the core for some microseconds ends polling for a millisecond, no more.
 *
 * Pure: the clock and the polling are in common/net/poller.h. It decides when somebody wakes,
 * never what he does then. */
#ifndef TW_BASE_SPIN_H
#define TW_BASE_SPIN_H

#include <stdint.h>

#define TW_SPIN_FIRST_NS 10000u /* the smallest window but none */
/* How long no wait is polled for when others wanted the core: so many times what giving way to them
 * has cost, which is three percent at worst; and at most. */
#define TW_SPIN_REST_TIMES 32
#define TW_SPIN_REST_NS_MAX 3200000000u

struct tw_spin {
    uint32_t cap_ns;    /* 0: it never polls */
    uint32_t window_ns; /* at most the cap */
    uint32_t rest_ns;   /* the last rest; 0: there was none */
    uint64_t rested_ns; /* when it is over */
};

/* Begins without a window. */
void tw_spin_init(struct tw_spin *spin, uint32_t cap_ns);

/* A wait begins, at `now_ns` of a clock that never goes back: for how long to poll, 0: not at
 * all. */
uint32_t tw_spin_window(const struct tw_spin *spin, uint64_t now_ns);

/* It is over and took so long, polling and sleeping together. 0: it was none. */
void tw_spin_waited(struct tw_spin *spin, uint64_t waited_ns);

/* While it was polled for others wanted the core, and had it for so long. */
void tw_spin_crowded(struct tw_spin *spin, uint64_t now_ns, uint64_t lost_ns);

#endif
