/* Schedules: how the learning rate (and momentum) move while a run goes on. Each is a
 * const table of a few lines; adding one is a table and one line in schedule.c.
 *
 * A schedule is a pure function of the value it starts from (reduce_on_plateau also of the verdicts
 * that stand in the order log) and of t, which counts
 * updates, or epochs as a real number, applied BEFORE the update that the value is
 * for: the first update has t = 0. It is computed in double by the sequencer at each
 * COMMIT, with + - * / and common/base/realmath only, so the same bits everywhere;
 * the shards get it with the COMMIT and know nothing of schedules.
 *
 * Every schedule starts from the optimizer's own value: `optimizer.lr` is what
 * `linear` comes from, and the low end of `cyclical`. In front of any may stand a
 * warm-up: for t < warmup the value goes on a line from `warmup_from` to the schedule's
 * first one, and the schedule begins at t = warmup.
 */
#ifndef TW_CORE_SCHEDULE_H
#define TW_CORE_SCHEDULE_H

#include "server/core/optimizer.h"

enum tw_schedule_unit { TW_UNIT_UPDATE, TW_UNIT_EPOCH };

/* Options of all schedules in one struct; a table names those it has. */
struct tw_schedule_options {
    double to, over, power, factor, every, decay, grow, gamma, peak, rise;
    struct tw_option_list at;
    int form, unit;
    bool restart;
    double warmup, warmup_from;
    double threshold, min_lr; /* of reduce_on_plateau: */
    int64_t patience, cooldown;
    int watch;           /* enum tw_watch */
    uint64_t reductions; /* no option: what its verdicts amount to so far (plateau.h) */
};

/* Which loss of an epoch reduce_on_plateau goes by. */
enum tw_watch { TW_WATCH_TEST, TW_WATCH_TRAIN };

struct tw_schedule {
    const char *name;
    const char *formula; /* one line, v for the value that it starts from */
    const char *source;  /* paper and equation; NULL: common knowledge */
    const struct tw_option_rule *rules;
    int rule_count;
    /* The value at t >= 0. */
    double (*value)(const struct tw_schedule_options *options, double start, double t);
};

/* The last rules of every table: unit, warmup, warmup_from. */
enum { TW_SCHEDULE_COMMON_RULES = 3 };

/* All schedules, in the order of --help. */
extern const struct tw_schedule *const tw_schedules[];
extern const int tw_schedule_count;

/* One quantity that is scheduled. kind NULL: it is constant. */
struct tw_scheduled {
    const struct tw_schedule *kind;
    struct tw_schedule_options options;
};

/* Everything that moves: what the sequencer, and a replay, compute an update's scalars
 * with. All zero: nothing moves. */
struct tw_pace {
    struct tw_scheduled rate, momentum;
    uint64_t epoch_samples; /* n, for those by epoch; 0: there are no epochs */
};

/* Finds the schedules that a job names and reads their options; NULL or a name of NULL:
 * none. epoch_samples is left to the caller; `has_epochs`: the job has data. TW_JOB as
 * tw_options_read(), and: `at` that does not increase, a momentum outside [0, 1), a rule
 * without momentum, epochs without data, a learning rate of 0 where the rule divides by it, a
 * momentum that would go by a loss. */
enum tw_status tw_pace_find(struct tw_pace *out, const struct tw_variant *rate,
                            const struct tw_variant *momentum, const struct tw_optimizer *optimizer,
                            const struct tw_optimizer_options *options, bool has_epochs,
                            struct tw_error *error);

/* Whether the learning rate goes by this loss of each epoch. */
bool tw_pace_watches(const struct tw_pace *pace, enum tw_watch which);

/* Whether the schedule of the rate has begun: its warm-up is over. */
bool tw_pace_has_begun(const struct tw_pace *pace, uint64_t updates, uint64_t samples);

/* The rules of the schedule of this name, for struct tw_rule_book; NULL: there is none. */
const struct tw_option_rule *tw_schedule_rules(const char *name, int *count);

/* The learning rate of the update after `updates` others that applied `samples` examples. */
double tw_pace_rate(const struct tw_pace *pace, const struct tw_optimizer_options *options,
                    uint64_t updates, uint64_t samples);

/* The scalars of that update into out[TW_OPTIMIZER_SCALARS], for `multiple` times its learning
 * rate, which is returned. With nothing that moves it is the options' own lr. */
double tw_pace_prepare(const struct tw_pace *pace, const struct tw_optimizer *optimizer,
                       const struct tw_optimizer_options *options, double multiple,
                       uint64_t updates, uint64_t samples, double *out);

#endif
