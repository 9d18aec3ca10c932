/* A simulation's insides, shared by
 *
 *   simulation.c           set-up, and the end
 *   simulation_workers.c   what workers compute
 *   simulation_told.c      what is written and told as the run goes
 *
 * Private to them.
 */
#ifndef TW_CLI_SIMULATION_STATE_H
#define TW_CLI_SIMULATION_STATE_H

#include "cli/server_config.h"
#include "cli/simulation.h"
#include "server/io/borders.h"
#include "server/io/checkpoint_writer.h"
#include "server/io/order_writer.h"
#include "server/io/run_directory.h"
#include "server/io/steps.h"
#include "server/io/trace.h"
#include "server/io/training_clock.h"
#include "worker/data/datasets.h"
#include "worker/io/score.h"
#include "worker/io/shares.h"

/* What is counted here and goes back with the run. */
struct tw_simulated_counts {
    uint64_t position; /* of the CHECKPOINT that they are of; 0: the start */
    struct tw_borders borders;
    double staleness_squares;
    struct tw_timesheet_border *border; /* what is saved has it; NULL: there is no account */
};

/* What a simulation has while it runs; all of it is zero until it is made. */
struct tw_simulating {
    const struct tw_simulation *of;
    const struct tw_job *job;
    struct tw_server_config server;
    struct tw_datasets data;
    struct tw_shares *shares; /* of all workers in turn */
    struct tw_scorer scorer;
    struct tw_server_plan plan;
    struct tw_world *world;
    char numerics[TW_NUMERICS_MAX + 1];
    uint8_t digest[TW_DIGEST_BYTES];

    void *sheet_memory; /* of the account of where time goes; NULL: nobody asks for it */
    struct tw_timesheet sheet;

    bool has_directory, has_order; /* with the latter there is all that follows, too */
    struct tw_run_directory directory;
    struct tw_order_writer order;
    struct tw_trace trace;
    struct tw_checkpoint_writer writer;
    struct tw_steps steps;

    bool started, finished;
    struct tw_training_clock clock; /* in virtual time */
    double start_s, told_s;
    unsigned looks;
    struct tw_simulated_counts counts;
    struct tw_simulated_counts
        saved[2]; /* as they were: a CHECKPOINT may come to nothing, and then it is the
                               one before it that counts */
    uint64_t evicted;
    struct tw_error failed;
    struct tw_error unwritten; /* the first failure of a file that is closed by now */
    struct tw_result *result;
};

/* Of training, in virtual time. */
static inline double tw_simulating_seconds(const struct tw_simulating *s, uint64_t now_ns) {
    return tw_training_clock_seconds(&s->clock, now_ns);
}

/* Of where time goes: for metrics.jsonl, and for who reads. It is a twentieth of the work of a
 * small update: where nothing is written, none without a trace. */
static inline bool tw_simulating_keeps_account(const struct tw_simulating *s) {
    return s->of->out || (s->of->progress && s->job->trace.on);
}

static inline const struct tw_sequencer *tw_simulating_sequencer(const struct tw_simulating *s) {
    return tw_node_sequencer(tw_world_lead(s->world));
}

/* simulation_workers.c */
/* TW_DATA, TW_JOB, TW_NO_MEMORY. Either way tw_simulating_free_workers() follows. */
enum tw_status tw_simulating_make_workers(struct tw_simulating *s, struct tw_error *error);
void tw_simulating_free_workers(struct tw_simulating *s);
/* What of a program computes. */
void tw_simulating_computes(struct tw_world_program *program);

/* simulation_told.c */
/* The account of where time goes, if anybody reads it, and the files of the run directory, if there
 * is to be one. TW_IO, TW_NO_MEMORY, TW_LIMIT. */
enum tw_status tw_simulating_open(struct tw_simulating *s, struct tw_error *error);
void tw_simulating_close(struct tw_simulating *s);
/* What of a program listens; to less where nothing is written. */
void tw_simulating_listens(const struct tw_simulating *s, struct tw_world_program *program);
/* At the end: where the time went, and, of what is written, how far updates moved the weights. */
void tw_simulating_tell_times(struct tw_simulating *s);
/* Evaluations that have not come will not come. */
void tw_simulating_let_go(struct tw_simulating *s);
double tw_wall_seconds(void);

#endif
