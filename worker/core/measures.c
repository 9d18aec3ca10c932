#include "worker/core/measures.h"

void tw_measures_pinged(struct tw_measures *measures, uint64_t nonce, uint64_t now_ns) {
    measures->clock.nonce = nonce;
    measures->clock.asked_ns = now_ns;
}

bool tw_measures_ponged(struct tw_measures *measures, uint64_t nonce, uint64_t time,
                        uint64_t now_ns) {
    if (time == 0 || nonce == 0 || nonce != measures->clock.nonce)
        return false;
    measures->clock.nonce = 0; /* a second answer to it says nothing */
    measures->clock.answers += measures->clock.answers < TW_MEASURES_PINGS;
    bool more = measures->clock.answers < TW_MEASURES_PINGS;
    uint64_t half = (now_ns - measures->clock.asked_ns) / 2;
    uint64_t drift = (now_ns - measures->clock.taken_ns) / 1000000 * TW_MEASURES_DRIFT_PPM;
    if (measures->clock.known && half > measures->clock.error_ns + drift)
        return more;
    measures->clock.known = true;
    measures->clock.offset = time - (measures->clock.asked_ns + half);
    measures->clock.error_ns = half;
    measures->clock.taken_ns = now_ns;
    return more;
}

/* ---- steps ---- */

/* Without anybody to tell them to, the oldest makes room. */
static void close_step(struct tw_measures *measures, uint64_t now_ns) {
    if (!measures->open)
        return;
    measures->open = false;
    if (measures->count == TW_MEASURES_BATCH) {
        measures->first = (measures->first + 1) % TW_MEASURES_BATCH;
        measures->count--;
    }
    if (measures->count == 0)
        measures->oldest_ns = now_ns;
    measures->waiting[(measures->first + measures->count++) % TW_MEASURES_BATCH] = measures->step;
}

void tw_measures_received(struct tw_measures *measures, uint64_t step, uint64_t now_ns) {
    close_step(measures, now_ns);
    measures->open = true;
    measures->step = (struct tw_measure){.step = step, .received = now_ns};
}

void tw_measures_computed(struct tw_measures *measures, uint64_t now_ns) {
    measures->step.computed = now_ns;
}

void tw_measures_sent(struct tw_measures *measures, uint64_t now_ns) {
    measures->step.sent = now_ns;
    close_step(measures, now_ns);
}

/* ---- leaving ---- */

uint64_t tw_measures_due_ns(const struct tw_measures *measures) {
    if (!measures->clock.known || measures->count == 0)
        return UINT64_MAX;
    if (measures->count == TW_MEASURES_BATCH)
        return measures->oldest_ns; /* at once */
    return measures->oldest_ns + TW_MEASURES_WAIT_MS * 1000000ul;
}

/* Not before the lead's clock began, and never 0, which means something else. */
static uint64_t lead_time(const struct tw_measures *measures, uint64_t ours) {
    uint64_t time = ours + measures->clock.offset;
    return ours == 0 ? 0 : time == 0 || time > INT64_MAX ? 1 : time;
}

void tw_measures_take(struct tw_measures *measures, struct tw_ping *ping) {
    if (!measures->clock.known)
        return;
    for (uint32_t i = 0; i < measures->count; i++) {
        const struct tw_measure *from =
            &measures->waiting[(measures->first + i) % TW_MEASURES_BATCH];
        measures->sent[i] = (struct tw_measure){.step = from->step,
                                                .received = lead_time(measures, from->received),
                                                .computed = lead_time(measures, from->computed),
                                                .sent = lead_time(measures, from->sent)};
    }
    ping->measures = measures->count;
    ping->measure = measures->sent;
    measures->count = 0;
}
