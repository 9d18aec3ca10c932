/* The yardstick of `talweg bench cluster`: a server that does nothing but read and answer
 * messages of one size, on one epoll_wait() loop, and clients that hold its connections.
 *
 * As with us each worker has two connections, one of them silent here, the sockets have the
 * options of ours, each message is received into a buffer of its connection's own, all answers
 * leave from one buffer, the loads are as many processes, and all is pinned as ours is. What it
 * does not do: frames and their heads, sums, updates, order log, trace, accounts, timers,
 * heartbeats, limits. A message is read and written in one call each; nothing else is asked of
 * the kernel.
 *
 *     tw_crowd_start -> tw_crowd_measure ... -> tw_crowd_end
 *
 * Between measurements it is silent. Used by bench_cluster.c only.
 */
#ifndef TW_CLI_BENCH_CROWD_H
#define TW_CLI_BENCH_CROWD_H

#include "cli/bench.h"
#include "cli/party.h"

#define TW_CROWD_LOADS_MAX 4

struct tw_crowd_plan {
    uint64_t bytes;        /* of a message, and of its answer */
    int workers, per_load; /* of a process of clients */
    bool together;         /* answers leave when all workers' messages are here, as in sync;
                            * else each at once, as in async */
};

struct tw_crowd {
    struct tw_party server, load[TW_CROWD_LOADS_MAX];
    int loads, workers;
};

struct tw_crowd_seen {
    uint64_t messages;
    double seconds, cpu_us; /* CPU time of the server, of all messages */
};

/* TW_IO; after a failure there is nothing to end. */
enum tw_status tw_crowd_start(struct tw_crowd *crowd, const struct tw_crowd_plan *plan,
                              const struct tw_bench_options *options, struct tw_error *error);

/* Adds to *sum what it measures in about `seconds`: all workers send as many messages, each
 * the next when it has its answer. */
enum tw_status tw_crowd_measure(struct tw_crowd *crowd, double seconds, struct tw_crowd_seen *sum,
                                struct tw_error *error);

void tw_crowd_end(struct tw_crowd *crowd);

#endif
