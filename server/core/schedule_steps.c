/* Schedules that jump: constant, step, multi_step. */
#include "server/core/schedule_tables.h"

static const struct tw_option_rule constant_rules[] = {TW_SCHEDULE_COMMON};

static double constant(const struct tw_schedule_options *options, double start, double t) {
    return start;
}

const struct tw_schedule tw_schedule_constant = {
    .name = "constant",
    .formula = "v",
    TW_SCHEDULE_TABLE(constant_rules),
    .value = constant,
};

static const struct tw_option_rule step_rules[] = {
    {TW_SCHEDULE_MEMBER(every), TW_SCHEDULE_POSITIVE, .required = true,
     .text = "how long between two steps"},
    {TW_SCHEDULE_MEMBER(factor), TW_SCHEDULE_POSITIVE, .fallback = 0.1,
     .text = "what each multiplies by"},
    TW_SCHEDULE_COMMON,
};

static double step(const struct tw_schedule_options *options, double start, double t) {
    return start * tw_power(options->factor, floor(t / options->every));
}

const struct tw_schedule tw_schedule_step = {
    .name = "step",
    .formula = "v factor^floor(t / every)",
    TW_SCHEDULE_TABLE(step_rules),
    .value = step,
};

static const struct tw_option_rule multi_step_rules[] = {
    {TW_SCHEDULE_MEMBER(at), .type = TW_OPTION_LIST, .required = true, .min = 0, .min_open = true,
     .max = INFINITY, .max_open = true, .text = "when each step comes, such as [30, 60, 80]"},
    {TW_SCHEDULE_MEMBER(factor), TW_SCHEDULE_POSITIVE, .fallback = 0.1,
     .text = "what each multiplies by"},
    TW_SCHEDULE_COMMON,
};

static double multi_step(const struct tw_schedule_options *options, double start, double t) {
    int passed = 0;
    while (passed < options->at.count && t >= options->at.at[passed])
        passed++;
    return start * tw_power(options->factor, passed);
}

const struct tw_schedule tw_schedule_multi_step = {
    .name = "multi_step",
    .formula = "v factor^(how many of `at` are <= t)",
    TW_SCHEDULE_TABLE(multi_step_rules),
    .value = multi_step,
};
