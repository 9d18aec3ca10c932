#include "server/core/schedule.h"

#include <stdio.h>
#include <string.h>

#include "server/core/schedule_tables.h"

extern const struct tw_schedule tw_schedule_constant, tw_schedule_linear, tw_schedule_step,
    tw_schedule_multi_step, tw_schedule_exponential, tw_schedule_inverse_time,
    tw_schedule_inverse_sqrt, tw_schedule_polynomial, tw_schedule_cosine, tw_schedule_cyclical,
    tw_schedule_one_cycle;

const struct tw_schedule *const tw_schedules[] = {
    &tw_schedule_constant,     &tw_schedule_linear,      &tw_schedule_step,
    &tw_schedule_multi_step,   &tw_schedule_exponential, &tw_schedule_inverse_time,
    &tw_schedule_inverse_sqrt, &tw_schedule_polynomial,  &tw_schedule_cosine,
    &tw_schedule_cyclical,     &tw_schedule_one_cycle,   &tw_schedule_reduce_on_plateau,
};
const int tw_schedule_count = (int)(sizeof tw_schedules / sizeof *tw_schedules);

const char *const tw_schedule_units[] = {"update", "epoch", NULL};

/* ---- finding ---- */

static const struct tw_schedule *find(const struct tw_variant *words, struct tw_error *error) {
    const char *names[sizeof tw_schedules / sizeof *tw_schedules];
    for (int i = 0; i < tw_schedule_count; i++) {
        if (strcmp(tw_schedules[i]->name, words->name) == 0)
            return tw_schedules[i];
        names[i] = tw_schedules[i]->name;
    }
    tw_unknown_variant(words, "schedule", names, tw_schedule_count, sizeof names[0], error);
    return NULL;
}

/* At an option's own line where the job says it. */
static enum tw_status wrong(const struct tw_variant *words, const char *key, const char *what,
                            struct tw_error *error) {
    struct tw_where where = words->where;
    char path[128];
    for (int i = 0; i < words->count; i++)
        if (strcmp(words->options[i].key, key) == 0)
            where = words->options[i].where;
    snprintf(path, sizeof path, "%.60s%s%.60s", words->path, *key ? "." : "", key);
    return tw_job_error(error, where, path, "%s", what);
}

static enum tw_status find_scheduled(struct tw_scheduled *out, const struct tw_variant *words,
                                     bool has_epochs, struct tw_error *error) {
    struct tw_schedule_options *options = &out->options;
    *out = (struct tw_scheduled){.kind = NULL};
    if (words == NULL || words->name == NULL)
        return TW_OK;
    const struct tw_schedule *kind = find(words, error);
    if (kind == NULL)
        return TW_JOB;
    enum tw_status status = tw_options_read(words, kind->rules, kind->rule_count, options, error);
    if (status != TW_OK)
        return status;
    for (int i = 1; i < options->at.count; i++)
        if (!(options->at.at[i] > options->at.at[i - 1]))
            return wrong(words, "at", "each must be larger than the one before", error);
    if (options->unit == TW_UNIT_EPOCH && !has_epochs)
        return wrong(words, "unit",
                     "epochs are passes over data, and this job has none; write update", error);
    if (kind == &tw_schedule_reduce_on_plateau && !has_epochs)
        return tw_job_error(error, words->where, words->path,
                            "%s decides at the end of each pass over the data, and this job has "
                            "none",
                            kind->name);
    out->kind = kind;
    return TW_OK;
}

/* What a schedule of momentum moves: the rule's own option of that meaning. */
static const char *momentum_key(const struct tw_optimizer *optimizer) {
    for (int i = 0; i < optimizer->rule_count; i++)
        if (strcmp(optimizer->rules[i].key, "momentum") == 0 ||
            strcmp(optimizer->rules[i].key, "beta1") == 0)
            return optimizer->rules[i].key;
    return NULL;
}

static double *momentum_of(const struct tw_optimizer *optimizer,
                           struct tw_optimizer_options *options) {
    const char *key = momentum_key(optimizer);
    return key != NULL && strcmp(key, "beta1") == 0 ? &options->beta1 : &options->momentum;
}

/* Whether the rule keeps a velocity only where its momentum is above 0 to begin with. */
static bool lacks_velocity(const struct tw_optimizer *optimizer,
                           const struct tw_optimizer_options *options) {
    struct tw_optimizer_options moved = *options;
    double *momentum = momentum_of(optimizer, &moved);
    if (*momentum > 0 || optimizer->form == NULL)
        return false;
    *momentum = 0.5;
    return optimizer->form(&moved) != optimizer;
}

static enum tw_status check_momentum(const struct tw_scheduled *momentum,
                                     const struct tw_variant *words,
                                     const struct tw_optimizer *optimizer,
                                     const struct tw_optimizer_options *rule_options,
                                     struct tw_error *error) {
    static const char below_one[] = "a momentum must be at least 0 and below 1";
    const struct tw_schedule_options *options = &momentum->options;
    if (momentum->kind == NULL)
        return TW_OK;
    if (momentum_key(optimizer) == NULL)
        return tw_job_error(error, words->where, words->path,
                            "optimizer %s has neither momentum nor beta1; take it out",
                            optimizer->name);
    if (momentum->kind == &tw_schedule_reduce_on_plateau)
        return tw_job_error(error, words->where, words->path, "%s is for the learning rate only",
                            momentum->kind->name);
    if (lacks_velocity(optimizer, rule_options))
        return tw_job_error(error, words->where, words->path,
                            "with momentum: 0, %s has no velocity that a schedule could move; give "
                            "optimizer.momentum a value above 0",
                            optimizer->name);
    if (options->to >= 1)
        return wrong(words, "to", below_one, error);
    if (options->peak >= 1)
        return wrong(words, "peak", below_one, error);
    if (options->warmup_from >= 1)
        return wrong(words, "warmup_from", below_one, error);
    if (options->factor > 1)
        return wrong(words, "factor", "a momentum may not grow without an end", error);
    return TW_OK;
}

/* Whether a learning rate of 0 would make scalars of the rule that are no numbers. */
static bool divides_by_rate(const struct tw_optimizer *optimizer,
                            const struct tw_optimizer_options *options) {
    double scalars[TW_OPTIMIZER_SCALARS];
    bool finite = true;
    optimizer->prepare(options, 1, 0, scalars);
    for (int i = 0; i < TW_OPTIMIZER_SCALARS; i++)
        finite = finite && isfinite(scalars[i]);
    return !finite;
}

static bool has_option(const struct tw_schedule *schedule, const char *key) {
    for (int i = 0; i < schedule->rule_count; i++)
        if (strcmp(schedule->rules[i].key, key) == 0)
            return true;
    return false;
}

static enum tw_status check_above_zero(const struct tw_scheduled *rate,
                                       const struct tw_variant *words,
                                       const struct tw_optimizer *optimizer,
                                       struct tw_error *error) {
    const struct tw_schedule_options *options = &rate->options;
    const char *zero = NULL;
    char text[128];
    if (rate->kind == NULL)
        return TW_OK;
    if (options->to == 0 && has_option(rate->kind, "to"))
        zero = "to";
    else if (options->peak == 0 && has_option(rate->kind, "peak"))
        zero = "peak";
    else if (options->min_lr == 0 && has_option(rate->kind, "min_lr"))
        zero = "min_lr";
    else if (options->warmup > 0 && options->warmup_from == 0)
        zero = "warmup_from";
    if (zero == NULL)
        return TW_OK;
    snprintf(text, sizeof text, "optimizer %.40s divides by the learning rate; give one above 0",
             optimizer->name);
    return wrong(words, zero, text, error);
}

enum tw_status tw_pace_find(struct tw_pace *out, const struct tw_variant *rate,
                            const struct tw_variant *momentum, const struct tw_optimizer *optimizer,
                            const struct tw_optimizer_options *options, bool has_epochs,
                            struct tw_error *error) {
    *out = (struct tw_pace){.epoch_samples = 0};
    enum tw_status status = find_scheduled(&out->rate, rate, has_epochs, error);
    if (status == TW_OK)
        status = find_scheduled(&out->momentum, momentum, has_epochs, error);
    if (status == TW_OK && divides_by_rate(optimizer, options))
        status = check_above_zero(&out->rate, rate, optimizer, error);
    return status == TW_OK ? check_momentum(&out->momentum, momentum, optimizer, options, error)
                           : status;
}

const struct tw_option_rule *tw_schedule_rules(const char *name, int *count) {
    for (int i = 0; i < tw_schedule_count; i++)
        if (strcmp(tw_schedules[i]->name, name) == 0) {
            *count = tw_schedules[i]->rule_count;
            return tw_schedules[i]->rules;
        }
    *count = 0;
    return NULL;
}

/* ---- computing ---- */

static double value(const struct tw_scheduled *scheduled, double start, double t) {
    const struct tw_schedule_options *options = &scheduled->options;
    if (t >= options->warmup)
        return scheduled->kind->value(options, start, t - options->warmup);
    double share = t / options->warmup;
    return (1 - share) * options->warmup_from + share * scheduled->kind->value(options, start, 0);
}

static double time_of(const struct tw_pace *pace, const struct tw_scheduled *scheduled,
                      uint64_t updates, uint64_t samples) {
    bool by_epoch = scheduled->options.unit == TW_UNIT_EPOCH && pace->epoch_samples > 0;
    return by_epoch ? (double)samples / (double)pace->epoch_samples : (double)updates;
}

static double at(const struct tw_pace *pace, const struct tw_scheduled *scheduled, double start,
                 uint64_t updates, uint64_t samples) {
    if (scheduled->kind == NULL)
        return start;
    return value(scheduled, start, time_of(pace, scheduled, updates, samples));
}

bool tw_pace_watches(const struct tw_pace *pace, enum tw_watch which) {
    return pace->rate.kind == &tw_schedule_reduce_on_plateau &&
           pace->rate.options.watch == (int)which;
}

bool tw_pace_has_begun(const struct tw_pace *pace, uint64_t updates, uint64_t samples) {
    return time_of(pace, &pace->rate, updates, samples) >= pace->rate.options.warmup;
}

double tw_pace_rate(const struct tw_pace *pace, const struct tw_optimizer_options *options,
                    uint64_t updates, uint64_t samples) {
    return at(pace, &pace->rate, options->lr, updates, samples);
}

double tw_pace_prepare(const struct tw_pace *pace, const struct tw_optimizer *optimizer,
                       const struct tw_optimizer_options *options, double multiple,
                       uint64_t updates, uint64_t samples, double *out) {
    double rate = multiple * tw_pace_rate(pace, options, updates, samples);
    if (pace->momentum.kind != NULL) {
        struct tw_optimizer_options now = *options;
        double *momentum = momentum_of(optimizer, &now);
        *momentum = at(pace, &pace->momentum, *momentum, updates, samples);
        optimizer->prepare(&now, updates + 1, rate, out);
    } else {
        optimizer->prepare(options, updates + 1, rate, out);
    }
    return rate;
}
