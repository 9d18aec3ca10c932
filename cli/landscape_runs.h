/* What `talweg landscape` follows: each optimizer at each learning rate, for each number of
 * steps. Rules are written as NAME or NAME:KEY=VALUE,KEY=VALUE with commas between them:
 *
 *     sgd,momentum:momentum=.5,adam:lr=.1,beta1=.8
 *
 * A piece that has an equals sign and no colon before it belongs to the rule on its left.
 */
#ifndef TW_CLI_LANDSCAPE_RUNS_H
#define TW_CLI_LANDSCAPE_RUNS_H

#include "lab/landscape.h"

#define TW_LANDSCAPE_LABEL 160
/* Of one run; and of all runs together, for memory's sake. */
#define TW_LANDSCAPE_STEPS 1000000
#define TW_LANDSCAPE_STEPS_ALL 4000000

/* What was asked for; texts are borrowed. */
struct tw_landscape_wish {
    const char *optimizers; /* as above */
    const char *lr;         /* "1e-3,1e-2", for rules that do not say theirs; or NULL */
    const char *steps;      /* "5000,10000" */
    uint64_t seed;          /* of the noise */
};

struct tw_landscape_case {
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    size_t steps;
    char label[TW_LANDSCAPE_LABEL];
};

struct tw_landscape_cases {
    int count;
    struct tw_landscape_case at[TW_LANDSCAPE_RUNS];
    struct tw_landscape_run run[TW_LANDSCAPE_RUNS]; /* after follow */
};

/* Reads what was asked for. TW_JOB with the message: an unknown rule, option or value; TW_USAGE:
 * too many. */
enum tw_status tw_landscape_cases_read(struct tw_landscape_cases *cases,
                                       const struct tw_landscape_wish *wish,
                                       struct tw_error *error);

/* Follows all of them from options->start. Fini in any case. TW_NO_MEMORY. */
enum tw_status tw_landscape_cases_follow(struct tw_landscape_cases *cases,
                                         const struct tw_objective *objective,
                                         const struct tw_objective_options *options, uint64_t seed,
                                         struct tw_error *error);
void tw_landscape_cases_fini(struct tw_landscape_cases *cases);

#endif
