/* Delay laws with one draw and no memory: constant, exponential, shifted_exponential, pareto. */
#include "sim/delay_tables.h"

static double its_mean(const struct tw_delay_options *options) {
    return options->mean;
}

static double none(const struct tw_delay_options *options) {
    return 0;
}

static const struct tw_option_rule mean_rules[] = {TW_DELAY_MEAN, TW_DELAY_COMMON};

static double constant(const struct tw_delay *delay, struct tw_delay_state *state) {
    return delay->options.mean;
}

const struct tw_delay_law tw_delay_constant = {
    .name = "constant",
    .formula = "mean",
    .source = "round robin: the worst case for stability",
    TW_DELAY_TABLE(mean_rules),
    .mean = its_mean,
    .variance = none,
    .draw = constant,
};

static double square_of_mean(const struct tw_delay_options *options) {
    return options->mean * options->mean;
}

static double exponential(const struct tw_delay *delay, struct tw_delay_state *state) {
    struct tw_rng rng = tw_delay_rng(delay, state);
    return delay->options.mean * tw_delay_exponential(&rng);
}

const struct tw_delay_law tw_delay_exponential_law = {
    .name = "exponential",
    .formula = "mean Exp(1)",
    .source = "Mitliagkas et al. 2016; Dutta et al. 2018: memoryless, so staleness is geometric",
    TW_DELAY_TABLE(mean_rules),
    .mean = its_mean,
    .variance = square_of_mean,
    .draw = exponential,
};

static const struct tw_option_rule shifted_rules[] = {
    TW_DELAY_MEAN,
    {TW_DELAY_MEMBER(shift), TW_DELAY_NOT_NEGATIVE, .fallback = 0,
     .text = "what comes on top, in seconds"},
    TW_DELAY_COMMON,
};

static double shifted_mean(const struct tw_delay_options *options) {
    return options->shift + options->mean;
}

static double shifted(const struct tw_delay *delay, struct tw_delay_state *state) {
    return delay->options.shift + exponential(delay, state);
}

const struct tw_delay_law tw_delay_shifted_exponential = {
    .name = "shifted_exponential",
    .formula = "shift + mean Exp(1)",
    .source = "Dutta et al. 2018, section 3",
    TW_DELAY_TABLE(shifted_rules),
    .mean = shifted_mean,
    .variance = square_of_mean,
    .draw = shifted,
};

static const struct tw_option_rule pareto_rules[] = {
    {TW_DELAY_MEMBER(minimum), TW_DELAY_POSITIVE, .fallback = 1,
     .text = "the shortest delay, in seconds"},
    {TW_DELAY_MEMBER(shape), TW_DELAY_POSITIVE, .fallback = 2.5,
     .text = "tail index; at 1 and below there is no mean, at 2 and below no variance"},
    TW_DELAY_COMMON,
};

static double pareto_mean(const struct tw_delay_options *options) {
    double a = options->shape;
    return a > 1 ? options->minimum * a / (a - 1) : INFINITY;
}

static double pareto_variance(const struct tw_delay_options *options) {
    double a = options->shape, x = options->minimum;
    return a > 2 ? x * x * a / ((a - 1) * (a - 1) * (a - 2)) : INFINITY;
}

static double pareto(const struct tw_delay *delay, struct tw_delay_state *state) {
    struct tw_rng rng = tw_delay_rng(delay, state);
    return delay->options.minimum * tw_exp(tw_delay_exponential(&rng) / delay->options.shape);
}

const struct tw_delay_law tw_delay_pareto = {
    .name = "pareto",
    .formula = "minimum U^(-1/shape)",
    .source = "Dutta et al. 2018, section 3",
    TW_DELAY_TABLE(pareto_rules),
    .mean = pareto_mean,
    .variance = pareto_variance,
    .draw = pareto,
};
