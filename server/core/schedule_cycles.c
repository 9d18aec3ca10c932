/* Schedules that come back: cosine with restarts, cyclical, one_cycle. */
#include "server/core/schedule_tables.h"

/* Between two values, `share` of the way, exact at both ends. */
static double line(double a, double b, double share) {
    return (1 - share) * a + share * b;
}

static double half_cosine(double a, double b, double share) {
    return line(b, a, 0.5 * (1 + tw_cos_pi(share)));
}

static const struct tw_option_rule cosine_rules[] = {
    {TW_SCHEDULE_MEMBER(over), TW_SCHEDULE_POSITIVE, .required = true,
     .text = "how long the (first) period is"},
    {TW_SCHEDULE_MEMBER(to), TW_SCHEDULE_NOT_NEGATIVE, .fallback = 0,
     .text = "the value at its end"},
    {TW_SCHEDULE_MEMBER(restart), .type = TW_OPTION_BOOL, .fallback = false,
     .text = "begin anew after each period; else constant afterwards"},
    {TW_SCHEDULE_MEMBER(grow), .type = TW_OPTION_REAL, .min = 1, .max = INFINITY, .max_open = true,
     .fallback = 1, .text = "each period is so many times the one before"},
    TW_SCHEDULE_COMMON,
};

/* Where period number n begins, for periods that grow: a sum of n powers. */
static double period_begin(const struct tw_schedule_options *options, double n) {
    return options->over * (tw_power(options->grow, n) - 1) / (options->grow - 1);
}

/* Where t lies in its period, from 0 to 1. */
static double place_in_period(const struct tw_schedule_options *options, double t) {
    double period = options->over;
    if (!options->restart)
        return t < period ? t / period : 1;
    if (options->grow == 1)
        return t / period - floor(t / period);
    double n = floor(tw_log(1 + t / period * (options->grow - 1)) / tw_log(options->grow));
    if (t >= period_begin(options, n + 1)) /* the logarithms were rounded */
        n++;
    else if (n > 0 && t < period_begin(options, n))
        n--;
    double place = (t - period_begin(options, n)) / (period * tw_power(options->grow, n));
    return place < 1 ? place : 1;
}

static double cosine(const struct tw_schedule_options *options, double start, double t) {
    return half_cosine(start, options->to, place_in_period(options, t));
}

const struct tw_schedule tw_schedule_cosine = {
    .name = "cosine",
    .formula = "to + (v - to) (1 + cos(pi a)) / 2, a = where t is in its period, 0 to 1",
    .source = "Loshchilov and Hutter 2017 (SGDR), equation 5",
    TW_SCHEDULE_TABLE(cosine_rules),
    .value = cosine,
};

enum { TRIANGULAR, TRIANGULAR2, EXP_RANGE };
static const char *const form_names[] = {"triangular", "triangular2", "exp_range", NULL};

static const struct tw_option_rule cyclical_rules[] = {
    {TW_SCHEDULE_MEMBER(peak), TW_SCHEDULE_NOT_NEGATIVE, .required = true,
     .text = "the other end; it begins at v"},
    {TW_SCHEDULE_MEMBER(over), TW_SCHEDULE_POSITIVE, .required = true,
     .text = "how long it takes from one end to the other: half a cycle"},
    {TW_SCHEDULE_MEMBER(form), .type = TW_OPTION_ENUM, .fallback = TRIANGULAR, .names = form_names,
     .text = "triangular2 halves the height after each cycle, exp_range multiplies it by gamma^t"},
    {TW_SCHEDULE_MEMBER(gamma), .type = TW_OPTION_REAL, .min = 0, .min_open = true, .max = 1,
     .fallback = 0.99994, .text = "of exp_range"},
    TW_SCHEDULE_COMMON,
};

static double cyclical(const struct tw_schedule_options *options, double start, double t) {
    double cycle = floor(t / (2 * options->over)); /* from 0 */
    double x = fabs(t / options->over - 2 * cycle - 1);
    double height = (options->peak - start) * (1 - x);
    if (options->form == TRIANGULAR2)
        height /= tw_power(2, cycle);
    else if (options->form == EXP_RANGE)
        height *= tw_power(options->gamma, t);
    return start + height;
}

const struct tw_schedule tw_schedule_cyclical = {
    .name = "cyclical",
    .formula = "v + (peak - v) max(0, 1 - |t / over - 2 c - 1|), c = floor(t / (2 over))",
    .source = "Smith 2017 (Cyclical Learning Rates), section 3",
    TW_SCHEDULE_TABLE(cyclical_rules),
    .value = cyclical,
};

enum { BY_COSINE, BY_LINE };
static const char *const shape_names[] = {"cosine", "linear", NULL};

static const struct tw_option_rule one_cycle_rules[] = {
    {TW_SCHEDULE_MEMBER(peak), TW_SCHEDULE_NOT_NEGATIVE, .required = true,
     .text = "the value at the turn; it begins at v"},
    {TW_SCHEDULE_MEMBER(over), TW_SCHEDULE_POSITIVE, .required = true,
     .text = "how long the cycle is; constant afterwards"},
    {TW_SCHEDULE_MEMBER(to), TW_SCHEDULE_NOT_NEGATIVE, .required = true, .text = "the last value"},
    {TW_SCHEDULE_MEMBER(rise), TW_SCHEDULE_SHARE, .fallback = 0.3,
     .text = "which share of the cycle lies before the turn"},
    {TW_SCHEDULE_MEMBER(form), .type = TW_OPTION_ENUM, .fallback = BY_COSINE, .names = shape_names,
     .text = "of both ways"},
    TW_SCHEDULE_COMMON,
};

static double one_cycle(const struct tw_schedule_options *options, double start, double t) {
    double (*way)(double, double, double) = options->form == BY_LINE ? line : half_cosine;
    double turn = options->rise * options->over;
    if (t < turn)
        return way(start, options->peak, t / turn);
    return t < options->over ? way(options->peak, options->to, (t - turn) / (options->over - turn))
                             : options->to;
}

const struct tw_schedule tw_schedule_one_cycle = {
    .name = "one_cycle",
    .formula = "v to peak over `rise` of the time, then to `to`, each on half a cosine or a line",
    .source = "Smith and Topin 2018 (Super-Convergence)",
    TW_SCHEDULE_TABLE(one_cycle_rules),
    .value = one_cycle,
};
