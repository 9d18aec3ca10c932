#include "server/io/training_clock.h"

void tw_training_clock_set(struct tw_training_clock *clock, bool runs, uint64_t now_ns) {
    if (clock->runs == runs)
        return;
    if (clock->runs)
        clock->sum_ns += now_ns - clock->since_ns;
    clock->since_ns = now_ns;
    clock->runs = runs;
}

uint64_t tw_training_clock_ns(const struct tw_training_clock *clock, uint64_t now_ns) {
    return clock->sum_ns + (clock->runs ? now_ns - clock->since_ns : 0);
}

double tw_training_clock_seconds(const struct tw_training_clock *clock, uint64_t now_ns) {
    return (double)tw_training_clock_ns(clock, now_ns) / 1e9;
}
