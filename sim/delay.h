/* Delay laws: how long a step of a virtual worker, or a push at a server, takes. Each is a const
 * table of a few lines; adding one is a table and one line in delay.c.
 *
 * A delay is a pure function of (seed, who, step) and, where a law has a memory, of what
 * was drawn for the steps before: its random numbers are those of TW_STREAM_DELAY with
 * slot = who, so no other law, and no number of workers, changes what data anybody sees.
 * Steps count from 1; step 0 is what a worker is like for the whole run.
 *
 * Who uses it: the simulator. Computed in double with + - * /, sqrt and
 * common/base/realmath only: the same bits everywhere. No allocation, no clock.
 */
#ifndef TW_SIM_DELAY_H
#define TW_SIM_DELAY_H

#include "common/job/options.h"
#include "sim/delay_times.h"

/* Options of all laws in one struct; a table names those it has. Times are in seconds. */
struct tw_delay_options {
    double mean, shift, minimum, shape, cv, machine_cv, factor, to_slow, to_fast;
    struct tw_option_list speeds;
    const char *file; /* trace */
    bool literal;
    const struct tw_delay_times *times; /* of that file, which whoever has files reads; not empty */
};

#define TW_DELAY_COMMON_RULES 1

struct tw_delay_law;

/* One law with its options. */
struct tw_delay {
    const struct tw_delay_law *law;
    struct tw_delay_options options;
    uint64_t seed;
};

/* What one worker is like, and, for laws with a memory, where it is. Begins with
 * tw_delay_begin(); the caller's storage. */
struct tw_delay_state {
    uint64_t who, step; /* the last that was drawn */
    double scale;       /* of all its delays */
    bool slow;          /* two_state */
    uint64_t from;      /* trace */
};

struct tw_delay_law {
    const char *name;
    const char *formula;                /* one line */
    const char *source;                 /* where it is used */
    const struct tw_option_rule *rules; /* its own, and then TW_DELAY_COMMON_RULES that all have */
    int rule_count;
    /* Mean and variance of one delay at speed 1, over workers, too; INFINITY where the law
     * has none. */
    double (*mean)(const struct tw_delay_options *options);
    double (*variance)(const struct tw_delay_options *options);
    /* What a worker is like; NULL: all are alike. */
    void (*begin)(const struct tw_delay *delay, struct tw_delay_state *state);
    /* The delay of step state->step at scale 1, > 0 or 0. */
    double (*draw)(const struct tw_delay *delay, struct tw_delay_state *state);
};

/* All laws, in the order of --help. */
extern const struct tw_delay_law *const tw_delay_laws[];
extern const int tw_delay_law_count;

/* The law that a variant names, with its options; one with `file` also needs its `times` before
 * anything else is asked of it. TW_JOB as tw_options_read(), and:
 * unknown law, a speed that is not above 0. */
enum tw_status tw_delay_find(struct tw_delay *out, const struct tw_variant *variant, uint64_t seed,
                             struct tw_error *error);

/* A worker before its first step; `who`: its rank, or TW_WORKERS_MAX + the index of a server. */
void tw_delay_begin(const struct tw_delay *delay, uint64_t who, struct tw_delay_state *state);

/* The delay of the worker's next step, in seconds. */
double tw_delay_next(const struct tw_delay *delay, struct tw_delay_state *state);

/* Mean and variance at speed 1; INFINITY: none. */
double tw_delay_mean(const struct tw_delay *delay);
double tw_delay_variance(const struct tw_delay *delay);

#endif
