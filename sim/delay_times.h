/* How long single steps took, worker by worker, in their order: of a real run, or from a file. The
 * law `trace` draws from them, and a law with few numbers is fitted to them.
 *
 * Used by cli, which reads them from files. Everything is in seconds. No files, no clock; what is
 * added is allocated.
 */
#ifndef TW_SIM_DELAY_TIMES_H
#define TW_SIM_DELAY_TIMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct tw_worker_times {
    double *at; /* [count] of [room] */
    size_t count, room;
    bool begins; /* a new process, whose first step is left out */
};

struct tw_delay_times {
    struct tw_worker_times *worker; /* [workers] */
    uint32_t workers;
};

/* The next step of a worker; workers without any may be left between. TW_LIMIT: there is no such
 * worker; TW_DATA: the time is negative or no number; TW_NO_MEMORY. */
enum tw_status tw_delay_times_add(struct tw_delay_times *times, uint32_t worker, double seconds,
                                  struct tw_error *error);

/* From here on the steps are those of new processes. The first of each pays again for what is done
 * once, and is left out where the worker has others. */
void tw_delay_times_new_processes(struct tw_delay_times *times);

/* Harmless on zeros. */
void tw_delay_times_fini(struct tw_delay_times *times);

/* Mean over workers of their means; variance of all steps around it, workers counting alike. */
double tw_delay_times_mean(const struct tw_delay_times *times);
double tw_delay_times_variance(const struct tw_delay_times *times);

struct tw_fitted {
    double value, error; /* error: standard; NaN: not known */
};

/* A heterogeneous gamma law (sim/delay_gamma.c) that is like them: `machine_cv` is that of the
 * workers' means, without what their finite number of steps adds to it; 0: they do not differ by
 * more than that. `cv` is that of a worker's steps around its own mean. Workers are taken as
 * independent, and so are steps: where these hang together the error of cv is too small. */
struct tw_delay_fit {
    uint32_t workers;
    size_t steps;
    struct tw_fitted mean, cv, machine_cv;
};

/* By moments, from workers with three steps or more, each without its first of each generation,
 * which pays for what is done once. TW_DATA: there is none, or no step takes any time;
 * TW_NO_MEMORY. */
enum tw_status tw_delay_fit(const struct tw_delay_times *times, struct tw_delay_fit *out,
                            struct tw_error *error);

#endif
