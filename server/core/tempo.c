#include "server/core/tempo.h"

#include "common/base/ring.h"

void tw_tempo_add(struct tw_tempo *tempo, double seconds) {
    tempo->seconds[tempo->at] = (float)seconds;
    tempo->at = tw_ring_next(tempo->at, TW_TEMPO_WINDOW);
    tempo->count += tempo->count < TW_TEMPO_WINDOW;
}

/* Sorted by insertion: few, and asked for rarely. */
double tw_tempo_median(const struct tw_tempo *tempo) {
    float sorted[TW_TEMPO_WINDOW];
    if (tempo->count < TW_TEMPO_MIN)
        return 0;
    for (uint32_t i = 0; i < tempo->count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > tempo->seconds[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = tempo->seconds[i];
    }
    return (double)sorted[tempo->count / 2];
}

double tw_tempo_limit(const struct tw_tempo *tempo) {
    double limit = TW_TEMPO_SLOW * tw_tempo_median(tempo);
    if (tempo->count < TW_TEMPO_MIN)
        return 0;
    return limit > TW_TEMPO_SLOW_S ? limit : TW_TEMPO_SLOW_S;
}
