/* Steps that were measured: those of a real run, drawn at random or in their order. */
#include "sim/delay_tables.h"

static const struct tw_option_rule rules[] = {
    {TW_DELAY_MEMBER(file), .type = TW_OPTION_TEXT, .required = true,
     .text = "a file of times, or the directory of a run: its trace.log has those of its steps"},
    {TW_DELAY_MEMBER(literal), .type = TW_OPTION_BOOL,
     .text = "in the order of the file, and from its start again; else drawn from it at random"},
    TW_DELAY_COMMON,
};

static double mean(const struct tw_delay_options *options) {
    return tw_delay_times_mean(options->times);
}

static double variance(const struct tw_delay_options *options) {
    return tw_delay_times_variance(options->times);
}

/* More workers than the file has are like those that it has, in turn. One that has no times is
 * passed over. */
static const struct tw_worker_times *times_of(const struct tw_delay_times *times, uint64_t who) {
    uint64_t index = who % TW_WORKERS_MAX % times->workers;
    while (!times->worker[index].count)
        index = (index + 1) % times->workers;
    return &times->worker[index];
}

/* Where a worker begins: the recorded ones at the start, the others anywhere, or they would all do
 * the same at once. */
static void begin(const struct tw_delay *delay, struct tw_delay_state *state) {
    const struct tw_delay_times *times = delay->options.times;
    const struct tw_worker_times *of = times_of(times, state->who);
    struct tw_rng rng = tw_delay_rng(delay, state);
    bool recorded = state->who % TW_WORKERS_MAX < times->workers;
    state->from = recorded ? 0 : (uint64_t)(tw_rng_uniform(&rng) * (double)of->count);
}

static double draw(const struct tw_delay *delay, struct tw_delay_state *state) {
    const struct tw_worker_times *of = times_of(delay->options.times, state->who);
    if (delay->options.literal)
        return of->at[(state->from + state->step - 1) % of->count];
    struct tw_rng rng = tw_delay_rng(delay, state);
    return of->at[(size_t)(tw_rng_uniform(&rng) * (double)of->count)];
}

const struct tw_delay_law tw_delay_trace = {
    .name = "trace",
    .formula = "a step of the same worker in the file; workers beyond those are like them, in turn",
    .source = "your own runs",
    TW_DELAY_TABLE(rules),
    .mean = mean,
    .variance = variance,
    .begin = begin,
    .draw = draw,
};
