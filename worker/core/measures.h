/* What a worker measures of its steps, and the lead's clock as it sees it. Part of the
 * client core (client.h), which tells it what happens and sends what it has gathered, in
 * the Pings; pure, as all of it: times come in, nanoseconds of a clock of this process that
 * never goes back.
 *
 * A step is measured from its weights to the last byte of its gradient, each once, also
 * when bytes are sent again later. Of a worker that computes before its weights are complete
 * `received` is when it began, later by what it waited for more of them: from there to
 * `computed` is the time that it computed. A step that is given up has no
 * more times than it came to.
 *
 * The lead's clock: a Pong carries it, and was read by the lead at some moment between
 * the Ping and the Pong. So the middle is wrong by at most half of the round trip; of
 * all round trips the one is used whose error is smallest now, when two clocks may run
 * apart by TW_MEASURES_DRIFT_PPM. A lead that does not want measures tells no time: then
 * nothing is sent.
 */
#ifndef TW_CORE_MEASURES_H
#define TW_CORE_MEASURES_H

#include "proto/frame.h"

#define TW_MEASURES_BATCH 16        /* steps in one Ping */
#define TW_MEASURES_PINGS 4         /* at the start, one after the other, for the clock */
#define TW_MEASURES_WAIT_MS 100     /* or when the oldest has waited so long */
#define TW_MEASURES_DRIFT_PPM 100ul /* quartz is better */

struct tw_measures {
    struct {
        bool known;
        uint64_t offset;             /* the lead's time minus ours, modulo 2^64 */
        uint64_t error_ns, taken_ns; /* half of the round trip, and when */
        uint64_t nonce, asked_ns;    /* of the last Ping */
        uint32_t answers;            /* so far, TW_MEASURES_PINGS at most */
    } clock;
    bool open;              /* `step` has begun and is not in `waiting` yet */
    struct tw_measure step; /* in our time; as are those: */
    uint32_t first, count;  /* of those that wait */
    uint64_t oldest_ns;     /* since when */
    struct tw_measure waiting[TW_MEASURES_BATCH], sent[TW_MEASURES_BATCH]; /* waiting: a ring */
};

/* All zeros is an empty one. */

/* A Ping leaves; the Pong to the last one counts. */
void tw_measures_pinged(struct tw_measures *measures, uint64_t nonce, uint64_t now_ns);
/* A Pong has come. `time`: the lead's clock; 0: it tells none. True: another Ping should
 * follow at once. */
bool tw_measures_ponged(struct tw_measures *measures, uint64_t nonce, uint64_t time,
                        uint64_t now_ns);

/* The weights of a step are complete (now_ns: see above); its push has ended; all of it is in the
 * kernel. */
void tw_measures_received(struct tw_measures *measures, uint64_t step, uint64_t now_ns);
void tw_measures_computed(struct tw_measures *measures, uint64_t now_ns);
void tw_measures_sent(struct tw_measures *measures, uint64_t now_ns);

/* When they should leave; UINT64_MAX: there are none, or nobody wants them. */
uint64_t tw_measures_due_ns(const struct tw_measures *measures);

/* Puts all that wait into a Ping, in the lead's time; they wait no more. Valid until the
 * next call. */
void tw_measures_take(struct tw_measures *measures, struct tw_ping *ping);

#endif
