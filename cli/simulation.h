/* A job in virtual time: the data, the model and the run directory of a real run around
 * sim/world.h.
 *
 * Used by cmd_sim.c, which has read the command line and checked the job. What a simulated run
 * leaves is what a real one leaves, with virtual seconds wherever seconds stand.
 */
#ifndef TW_CLI_SIMULATION_H
#define TW_CLI_SIMULATION_H

#include <signal.h>

#include "cli/job_check.h"
#include "cli/progress.h"
#include "sim/world.h"

struct tw_simulation {
    const struct tw_checked_job *checked; /* borrowed, as all pointers */
    struct tw_delay delay;
    struct tw_delay service; /* law NULL: servers take no time */
    double latency, bandwidth;
    double parameters;               /* that the network is busy with; 0: those of the model */
    const struct tw_mishap *mishaps; /* [mishap_count] */
    size_t mishap_count;
    uint64_t seed;                     /* of handshakes */
    const char *out;                   /* run directory to write, or NULL */
    struct tw_progress *progress;      /* NULL: nothing is told on the way */
    const volatile sig_atomic_t *stop; /* not 0: stop, the model so far is saved */
};

/* Besides what a summary holds. */
struct tw_simulated {
    uint64_t events;
    double wall_seconds;
    double staleness_variance; /* of what was applied */
};

/* Simulates to the end of the run. `summary`: its result is filled, in virtual seconds. Returns
 * the status of the result: as tw_world_run(); TW_DATA, TW_JOB before anything happens;
 * TW_INTERRUPTED; TW_IO; TW_NO_MEMORY. The calling thread has called tw_gemm_start(). */
enum tw_status tw_simulation_run(const struct tw_simulation *simulation, struct tw_summary *summary,
                                 struct tw_simulated *simulated);

#endif
