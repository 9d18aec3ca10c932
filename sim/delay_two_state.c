/* Bursts: a worker is fast or slow, and goes from one to the other as a Markov chain. */
#include "sim/delay_tables.h"

static const struct tw_option_rule rules[] = {
    TW_DELAY_MEAN,
    {TW_DELAY_MEMBER(factor), TW_DELAY_POSITIVE, .fallback = 4,
     .text = "how much longer a slow worker takes"},
    {TW_DELAY_MEMBER(to_slow), TW_DELAY_CHANCE, .fallback = .01,
     .text = "chance that a fast worker is slow in its next step"},
    {TW_DELAY_MEMBER(to_fast), TW_DELAY_CHANCE, .fallback = .1,
     .text = "chance that a slow worker is fast in its next step"},
    TW_DELAY_COMMON,
};

/* Of the chain's stationary state, in which every worker begins. */
static double share_slow(const struct tw_delay_options *options) {
    return options->to_slow / (options->to_slow + options->to_fast);
}

static double fast(const struct tw_delay_options *options) {
    return options->mean / (1 + share_slow(options) * (options->factor - 1));
}

static double mean(const struct tw_delay_options *options) {
    return options->mean;
}

static double variance(const struct tw_delay_options *options) {
    double slow = share_slow(options), apart = fast(options) * (options->factor - 1);
    return slow * (1 - slow) * apart * apart;
}

static void begin(const struct tw_delay *delay, struct tw_delay_state *state) {
    struct tw_rng rng = tw_delay_rng(delay, state);
    state->slow = tw_rng_uniform(&rng) < share_slow(&delay->options);
}

static double draw(const struct tw_delay *delay, struct tw_delay_state *state) {
    const struct tw_delay_options *options = &delay->options;
    struct tw_rng rng = tw_delay_rng(delay, state);
    double chance = state->slow ? options->to_fast : options->to_slow;
    if (tw_rng_uniform(&rng) < chance)
        state->slow = !state->slow;
    return fast(options) * (state->slow ? options->factor : 1);
}

const struct tw_delay_law tw_delay_two_state = {
    .name = "two_state",
    .formula = "f while fast, factor f while slow; f such that the mean is mean",
    .source = "bursts of slowness on shared machines",
    TW_DELAY_TABLE(rules),
    .mean = mean,
    .variance = variance,
    .begin = begin,
    .draw = draw,
};
