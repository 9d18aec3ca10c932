/* Schedules that go one way: linear, polynomial, exponential, inverse_time, inverse_sqrt. */
#include "server/core/schedule_tables.h"

/* How much of `over` has passed, from 0 to 1: what comes after it is clamped. */
static double passed(const struct tw_schedule_options *options, double t) {
    return t < options->over ? t / options->over : 1;
}

static const struct tw_option_rule linear_rules[] = {
    {TW_SCHEDULE_MEMBER(to), TW_SCHEDULE_NOT_NEGATIVE, .required = true, .text = "the last value"},
    {TW_SCHEDULE_MEMBER(over), TW_SCHEDULE_POSITIVE, .required = true,
     .text = "how long it takes; constant afterwards"},
    TW_SCHEDULE_COMMON,
};

static double linear(const struct tw_schedule_options *options, double start, double t) {
    double a = passed(options, t);
    return (1 - a) * start + a * options->to;
}

const struct tw_schedule tw_schedule_linear = {
    .name = "linear",
    .formula = "(1 - a) v + a to, a = min(t / over, 1)",
    .source = "Goodfellow, Bengio and Courville 2016, equation 8.14",
    TW_SCHEDULE_TABLE(linear_rules),
    .value = linear,
};

static const struct tw_option_rule polynomial_rules[] = {
    {TW_SCHEDULE_MEMBER(to), TW_SCHEDULE_NOT_NEGATIVE, .fallback = 0, .text = "the last value"},
    {TW_SCHEDULE_MEMBER(over), TW_SCHEDULE_POSITIVE, .required = true,
     .text = "how long it takes; constant afterwards"},
    {TW_SCHEDULE_MEMBER(power), TW_SCHEDULE_POSITIVE, .fallback = 1, .text = "exponent"},
    TW_SCHEDULE_COMMON,
};

static double polynomial(const struct tw_schedule_options *options, double start, double t) {
    return options->to + (start - options->to) * tw_power(1 - passed(options, t), options->power);
}

const struct tw_schedule tw_schedule_polynomial = {
    .name = "polynomial",
    .formula = "to + (v - to) (1 - min(t / over, 1))^power",
    TW_SCHEDULE_TABLE(polynomial_rules),
    .value = polynomial,
};

static const struct tw_option_rule decay_rules[] = {
    {TW_SCHEDULE_MEMBER(decay), TW_SCHEDULE_POSITIVE, .required = true, .text = "how fast"},
    TW_SCHEDULE_COMMON,
};

static double exponential(const struct tw_schedule_options *options, double start, double t) {
    return start * tw_exp(-options->decay * t);
}

const struct tw_schedule tw_schedule_exponential = {
    .name = "exponential",
    .formula = "v e^(-decay t)",
    TW_SCHEDULE_TABLE(decay_rules),
    .value = exponential,
};

static double inverse_time(const struct tw_schedule_options *options, double start, double t) {
    return start / (1 + options->decay * t);
}

const struct tw_schedule tw_schedule_inverse_time = {
    .name = "inverse_time",
    .formula = "v / (1 + decay t)",
    .source = "Robbins and Monro 1951",
    TW_SCHEDULE_TABLE(decay_rules),
    .value = inverse_time,
};

static double inverse_sqrt(const struct tw_schedule_options *options, double start, double t) {
    return start / sqrt(1 + options->decay * t);
}

const struct tw_schedule tw_schedule_inverse_sqrt = {
    .name = "inverse_sqrt",
    .formula = "v / sqrt(1 + decay t); with warmup: W and decay: 1/W it is that of the Transformer",
    .source = "Vaswani et al. 2017, equation 3",
    TW_SCHEDULE_TABLE(decay_rules),
    .value = inverse_sqrt,
};
