#include "server/io/training_clock.h"

void tw_training_clock_set(struct tw_training_clock *clock, bool runs, uint64_t now_ns) {
    if (clock->runs == runs)
        return;
    if (clock->runs)
        clock->sum_ns += now_ns - clock->since_ns;
    clock->since_ns = now_ns;
    clock->runs = runs;
}

double tw_training_clock_seconds(const struct tw_training_clock *clock, uint64_t now_ns) {
    uint64_t running_ns = clock->runs ? now_ns - clock->since_ns : 0;
    return (double)(clock->sum_ns + running_ns) / 1e9;
}
