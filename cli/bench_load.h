/* Many workers in one process, for `talweg bench`: cores of the client (worker/core) on one
 * loop, without a thread each. Their gradients cost nothing, so that what is measured is the
 * server. Each is a worker as any other: a rank, two connections or lanes, one push at a time.
 *
 *     tw_load_start -> tw_load_joined -> [ tw_load_begin, tw_load_end ] ... -> tw_party_end
 *
 * Used by bench_*.c only.
 */
#ifndef TW_CLI_BENCH_LOAD_H
#define TW_CLI_BENCH_LOAD_H

#include "cli/bench.h"
#include "cli/party.h"

struct tw_load_plan {
    const char *server; /* "HOST:PORT" */
    uint64_t bytes;     /* of the one tensor */
    int first, count;   /* ranks */
    int core;           /* -1: any */
    bool shared;        /* they share two connections, as lanes (proto/lane.h) */
};

/* What the workers of a process saw while it was measured. A wait is the time from a push until its
 * answer is complete, each by the clock at the read() that brought what led to it. Who shares
 * connections has his answers in one read with those of others, and so a wait is exact to the time
 * that the load takes to answer all of these. */
struct tw_load_seen {
    uint64_t pushes; /* that were applied: their answers have come */
    uint64_t fewest; /* of one worker */
    double seconds;
    double wait_sum;     /* of all waits */
    double wait_longest; /* of one */
    double worker_mean;  /* the mean wait of the worker that waited most, on average */
};

/* TW_IO; after a failure there is nothing to end. */
enum tw_status tw_load_start(struct tw_party *load, const struct tw_load_plan *plan,
                             struct tw_error *error);

/* Waits until all of its workers have got their first weights, and all others of the job,
 * too. Seconds since the start into *out. */
enum tw_status tw_load_joined(struct tw_party *load, double *out, struct tw_error *error);

/* Measures for so long, and until each worker has had TW_LOAD_LEAST answers, for a minute at most,
 * while the workers go on. They also do so before and afterwards. */
enum { TW_LOAD_LEAST = 3 };
enum tw_status tw_load_begin(struct tw_party *load, double seconds, struct tw_error *error);
enum tw_status tw_load_end(struct tw_party *load, struct tw_load_seen *out, struct tw_error *error);

/* Stops the process, as if it got no processor, and lets it go on: for whatever else is to be
 * measured meanwhile. Harmless when it is gone. */
void tw_load_pause(const struct tw_party *load);
void tw_load_go_on(const struct tw_party *load);

#endif
