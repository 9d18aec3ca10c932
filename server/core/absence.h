/* How long a rank has been gone, and whether that is too long. Used by the shell of the
 * lead, which looks ten times a second; it decides nothing about order: who is too long
 * gone is evicted by the log, or ends the run (on_worker_loss).
 *
 * What counts is time in which the lead itself was awake: a tick that comes late adds
 * TW_ABSENCE_TICK_MS and no more, since a process that was stopped, or a machine that
 * slept, can blame nobody for that time. So a rank never gets less than its time of
 * grace, and may get more.
 *
 * Pure: the time comes in, in milliseconds.
 */
#ifndef TW_CORE_ABSENCE_H
#define TW_CORE_ABSENCE_H

#include <stdbool.h>
#include <stdint.h>

#define TW_ABSENCE_TICK_MS 200

/* All zeros: it is here. */
struct tw_absence {
    bool gone;
    uint64_t gone_ms; /* since the first tick that found it gone */
};

/* A tick, so long after the one before. Returns whether it has been gone for `grace_ms`
 * by now; again at every tick until it is back. */
bool tw_absence_tick(struct tw_absence *absence, bool gone, uint64_t passed_ms, uint64_t grace_ms);

#endif
