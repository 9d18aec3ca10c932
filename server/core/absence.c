#include "server/core/absence.h"

bool tw_absence_tick(struct tw_absence *absence, bool gone, uint64_t passed_ms, uint64_t grace_ms) {
    if (!gone || !absence->gone) {
        absence->gone = gone;
        absence->gone_ms = 0;
    } else {
        absence->gone_ms += passed_ms < TW_ABSENCE_TICK_MS ? passed_ms : TW_ABSENCE_TICK_MS;
    }
    return gone && absence->gone_ms >= grace_ms;
}
