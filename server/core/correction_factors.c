/* Corrections that scale the learning rate by the staleness. */
#include <math.h>

#include "common/base/realmath.h"
#include "server/core/correction.h"

enum from { FROM_ONE, FROM_ZERO };

static const char *const from_names[] = {"one", "zero", NULL};

static const struct tw_option_rule power_rules[] = {
    {.key = "power",
     .offset = offsetof(struct tw_correction_options, power),
     .type = TW_OPTION_REAL,
     .fallback = 1,
     .min = 0,
     .min_open = true,
     .max = 16,
     .text = "p, above 0"},
    {.key = "from",
     .offset = offsetof(struct tw_correction_options, from),
     .type = TW_OPTION_ENUM,
     .fallback = FROM_ONE,
     .names = from_names,
     .text = "one: divided by max(tau, 1)^p; zero: by (1 + tau)^p"},
};

static double by_power(const struct tw_correction_options *options, uint64_t staleness) {
    double tau = (double)staleness + (options->from == FROM_ZERO);
    return tau > 1 ? 1 / tw_power(tau, options->power) : 1;
}

const struct tw_correction tw_correction_staleness_power = {
    .name = "staleness_power",
    .formula = "lr / max(tau, 1)^p, or lr / (1 + tau)^p",
    .source = "p = 1 from one: Zhang, Gupta, Lian and Liu, \"Staleness-aware Async-SGD for "
              "Distributed Deep Learning\", 2015; from zero: the dampening of Damaskinos et al., "
              "\"Asynchronous Byzantine Machine Learning (the case of SGD)\", 2018",
    .rules = power_rules,
    .rule_count = sizeof power_rules / sizeof power_rules[0],
    .factor = by_power,
};

static const struct tw_option_rule exp_rules[] = {
    {.key = "a",
     .offset = offsetof(struct tw_correction_options, decay),
     .type = TW_OPTION_REAL,
     .required = true,
     .min = 0,
     .min_open = true,
     .max = 16,
     .text = "a, above 0: 1 / a is the staleness at which 37 % of the learning rate are left"},
};

static double by_exp(const struct tw_correction_options *options, uint64_t staleness) {
    return tw_exp(-options->decay * (double)staleness);
}

const struct tw_correction tw_correction_staleness_exp = {
    .name = "staleness_exp",
    .formula = "lr exp(-a tau)",
    .source = "the exponential dampening of Damaskinos et al. 2018",
    .rules = exp_rules,
    .rule_count = sizeof exp_rules / sizeof exp_rules[0],
    .factor = by_exp,
};

static const struct tw_option_rule limit_rules[] = {
    {.key = "most",
     .offset = offsetof(struct tw_correction_options, most),
     .type = TW_OPTION_INTEGER,
     .required = true,
     .min = 0,
     .max = 1e15,
     .text = "the largest tau that is still applied"},
};

static uint64_t limit_of(const struct tw_correction_options *options) {
    return (uint64_t)options->most;
}

const struct tw_correction tw_correction_staleness_limit = {
    .name = "staleness_limit",
    .formula = "dropped where tau > most: counted, never applied",
    .source =
        "the frequent \"maximum staleness\" of asynchronous training; compare ssp, which waits "
        "instead (Ho et al. 2013)",
    .rules = limit_rules,
    .rule_count = sizeof limit_rules / sizeof limit_rules[0],
    .limit = limit_of,
};
