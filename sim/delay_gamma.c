/* Delay laws of a given coefficient of variation: gamma, and gamma on machines that differ. */
#include "sim/delay_tables.h"

/* Gamma with mean 1 and this coefficient of variation: shape a = 1 / cv^2, divided by a.
 * Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", 2000: a cube of a
 * shifted normal, accepted with a chance above 0.95; for a < 1 that of a + 1 times U^(1/a). */
static double gamma_draw(struct tw_rng *rng, double cv) {
    if (cv == 0)
        return 1;
    double a = 1 / (cv * cv), factor = 1;
    double shape = a;
    if (a < 1) {
        factor = tw_exp(-tw_delay_exponential(rng) / a);
        shape = a + 1;
    }
    double d = shape - 1. / 3, c = 1 / (3 * sqrt(d));
    for (;;) {
        double x = tw_rng_normal(rng), root = 1 + c * x;
        double exponential = tw_delay_exponential(rng);
        if (root <= 0)
            continue;
        double v = root * root * root;
        if (-exponential < x * x / 2 + d - d * v + d * tw_log(v))
            return factor * d * v / a;
    }
}

static double its_mean(const struct tw_delay_options *options) {
    return options->mean;
}

static const struct tw_option_rule gamma_rules[] = {
    TW_DELAY_MEAN,
    {TW_DELAY_MEMBER(cv), TW_DELAY_NOT_NEGATIVE, .fallback = .1,
     .text = "coefficient of variation: standard deviation / mean"},
    TW_DELAY_COMMON,
};

static double gamma_variance(const struct tw_delay_options *options) {
    double deviation = options->mean * options->cv;
    return deviation * deviation;
}

static double gamma_law(const struct tw_delay *delay, struct tw_delay_state *state) {
    struct tw_rng rng = tw_delay_rng(delay, state);
    return delay->options.mean * gamma_draw(&rng, delay->options.cv);
}

const struct tw_delay_law tw_delay_gamma = {
    .name = "gamma",
    .formula = "mean Gamma(1/cv^2) cv^2",
    .source = "Ali et al. 2000; what homogeneous clusters measure, with cv about 0.17",
    TW_DELAY_TABLE(gamma_rules),
    .mean = its_mean,
    .variance = gamma_variance,
    .draw = gamma_law,
};

static const struct tw_option_rule machine_rules[] = {
    TW_DELAY_MEAN,
    {TW_DELAY_MEMBER(cv), TW_DELAY_NOT_NEGATIVE, .fallback = .1,
     .text = "coefficient of variation of one machine's delays"},
    {TW_DELAY_MEMBER(machine_cv), TW_DELAY_NOT_NEGATIVE, .fallback = .6,
     .text = "coefficient of variation of the machines' means"},
    TW_DELAY_COMMON,
};

/* Of the product of two independent factors with mean 1. */
static double machine_variance(const struct tw_delay_options *options) {
    double own = 1 + options->cv * options->cv;
    double machine = 1 + options->machine_cv * options->machine_cv;
    return options->mean * options->mean * (own * machine - 1);
}

static void machine_begin(const struct tw_delay *delay, struct tw_delay_state *state) {
    struct tw_rng rng = tw_delay_rng(delay, state);
    state->scale = gamma_draw(&rng, delay->options.machine_cv);
}

const struct tw_delay_law tw_delay_machines = {
    .name = "heterogeneous_gamma",
    .formula = "mean m Gamma(1/cv^2) cv^2, m = Gamma(1/machine_cv^2) machine_cv^2 once per worker",
    .source = "Ali et al. 2000; Hakimi et al. 2019, section 5",
    TW_DELAY_TABLE(machine_rules),
    .mean = its_mean,
    .variance = machine_variance,
    .begin = machine_begin,
    .draw = gamma_law,
};
