/* The same job under many schedules: what differs is the seed of the delays, and nothing else.
 *
 * Used by cmd_sim.c. Each replica is a process of its own, as many at once as there are cores, so
 * that none of them depends on how many there are.
 */
#ifndef TW_CLI_SIM_REPLICAS_H
#define TW_CLI_SIM_REPLICAS_H

#include "cli/simulation.h"

#define TW_REPLICAS_MAX 100000

/* What is averaged, in the order of the tables. */
#define TW_REPLICA_VALUES(X)                                                                       \
    X(seconds)                                                                                     \
    X(updates)                                                                                     \
    X(updates_per_second)                                                                          \
    X(train_loss)                                                                                  \
    X(test_loss)                                                                                   \
    X(test_accuracy)                                                                               \
    X(staleness_mean)                                                                              \
    X(staleness_sd)                                                                                \
    X(staleness_max)                                                                               \
    X(dropped)

enum tw_replica_value {
#define X(name) TW_REPLICA_##name,
    TW_REPLICA_VALUES(X)
#undef X
        TW_REPLICA_COUNT
};
extern const char *const tw_replica_names[TW_REPLICA_COUNT];

/* Mean and its standard error over those that have the value; NaN: none has, or only one. */
struct tw_replica_mean {
    double mean, error;
    int count;
};

/* Runs `count` of them, the i-th with seed delay.seed + i, and, with `out`, into DIR/r000, r001,
 * ...: directories that are made here. TW_OK when all were; else the first failure, said with its
 * number. */
enum tw_status tw_replicas_run(const struct tw_simulation *simulation, int count,
                               struct tw_replica_mean out[TW_REPLICA_COUNT],
                               struct tw_error *error);

#endif
