/* How long something usually takes, and whether it takes unusually long now: the median
 * of the last few durations. Used by the shell of the lead to say for whom everybody
 * waits, as soon as that is worth a word.
 *
 * Pure: durations come in, in seconds; holds and the time before the start are not part
 * of them.
 */
#ifndef TW_CORE_TEMPO_H
#define TW_CORE_TEMPO_H

#include <stdbool.h>
#include <stdint.h>

#define TW_TEMPO_WINDOW 63
#define TW_TEMPO_MIN 8      /* fewer say nothing */
#define TW_TEMPO_SLOW 10.0  /* times the median is unusually long, ... */
#define TW_TEMPO_SLOW_S 1.0 /* ... but nobody minds less than this */

/* All zeros: nothing is known. */
struct tw_tempo {
    float seconds[TW_TEMPO_WINDOW]; /* ring */
    uint32_t at, count;
};

void tw_tempo_add(struct tw_tempo *tempo, double seconds);

/* 0: too few have come. */
double tw_tempo_median(const struct tw_tempo *tempo);

/* Seconds after which something is unusually slow; 0: not known. */
double tw_tempo_limit(const struct tw_tempo *tempo);

#endif
