/* A virtual cluster: the real nodes (server/core) and the real clients
 * (worker/core) in one process, joined by virtual byte streams, driven by a
 * seeded scheduler that picks what happens next. No sockets, no clock, no threads.
 *
 * What may happen, at any moment, in any order: some bytes of a stream arrive; a
 * frame leaves a send queue; a node does a piece of work; a message between
 * servers arrives; a worker does its next thing; a connection is cut; a worker is
 * killed and started anew; a process stands still while another takes its rank.
 * At some point faults stop, and then the run must finish.
 *
 * A campaign counts how often every kind of event happened, so that a test can
 * insist that each one did.
 */
#ifndef TW_TESTS_CLUSTER_H
#define TW_TESTS_CLUSTER_H

#include "server/core/node.h"
#include "tests/sim/scorers.h"
#include "worker/core/client.h"

/* Everything that a campaign must have seen. */
#define CLUSTER_COUNTERS(X)                                                                        \
    X(joins)                                                                                       \
    X(takeovers)                                                                                   \
    X(resumes)                                                                                     \
    X(releases)                                                                                    \
    X(commits)                                                                                     \
    X(clipped)                                                                                     \
    X(ratios)                                                                                      \
    X(drops)                                                                                       \
    X(regathers)                                                                                   \
    X(prepares)                                                                                    \
    X(pauses)                                                                                      \
    X(duplicates)                                                                                  \
    X(cuts)                                                                                        \
    X(kills)                                                                                       \
    X(replacements)                                                                                \
    X(fenced)                                                                                      \
    X(refused)                                                                                     \
    X(evaluations)                                                                                 \
    X(holds)                                                                                       \
    X(split_frames)                                                                                \
    X(late_releases)                                                                               \
    X(cancels)                                                                                     \
    X(given_up)                                                                                    \
    X(begun)                                                                                       \
    X(begun_in_vain)                                                                               \
    X(not_finite)                                                                                  \
    X(blocked)                                                                                     \
    X(turns)                                                                                       \
    X(permits)                                                                                     \
    X(taken_back)                                                                                  \
    X(sent_again)                                                                                  \
    X(evictions)                                                                                   \
    X(checkpoints)                                                                                 \
    X(samples)

struct cluster_counters {
#define X(name) uint64_t name;
    CLUSTER_COUNTERS(X)
#undef X
};

#define CLUSTER_TENSORS 8

/* How many elements its tensors have. */
struct cluster_model {
    uint32_t tensors;
    int64_t elements[CLUSTER_TENSORS];
};

struct cluster_config {
    uint64_t seed;     /* of weights and gradients, and, unless set, of the schedule */
    uint64_t schedule; /* seed of what happens when; 0: seed */
    uint32_t workers, servers;
    struct cluster_model model; /* all zeros: five tensors, of 160 KB together */
    uint32_t width;             /* slots of each worker; 0: 1 */
    const char *mode;
    const char *optimizer;     /* "adam", "momentum lr=.05 momentum=.5" */
    struct tw_shaping shaping; /* zero: none */
    uint64_t updates;
    uint64_t epoch;      /* examples; 0: no evaluator */
    uint32_t evaluators; /* that share out the test data (scorers.h); 0: one, which does not */
    bool judged;         /* something goes by the test loss: training holds until it is there */
    uint32_t chunk_bytes;
    uint32_t push, pull; /* encodings (enum tw_encoding_number) */
    double faults;       /* expected number over the run; 0: none */
    double not_finite;   /* probability that a gradient has a NaN */
    double turns;        /* expected number, by hand to a random mode; also as many by the job */
    double lies;         /* probability that what a server says to another is wrong; see below */
    bool evict;          /* workers that are gone may be evicted, and some never come back */
    bool token;
    uint32_t pool;     /* spare chunks beyond the least that a shard can live with, + 1; 0: room for
                          everything */
    bool out_of_order; /* workers push their tensors in any order */
};

/* Of its model: at least as many as servers. */
uint32_t cluster_chunks(const struct cluster_config *config);

struct cluster_result {
    enum tw_status status; /* of FINISHED; TW_AGAIN: it never finished (a bug) */
    uint64_t version;
    struct tw_stretch total;
    struct tw_staleness staleness;
    uint8_t weights[32];  /* SHA-256 of the final weights */
    uint8_t replayed[32]; /* of the weights that the log gives (see oracle.h) */
    uint64_t steps;
    struct scorers_counts scored;
    bool lied, refused; /* a server said something wrong; somebody refused a frame after that */
};

/* With lies the run is over as soon as somebody refuses something; until then whatever was
 * believed may do what it likes to the result, so that nothing is asserted of it: what is
 * tested are the assertions of the cores, and the sanitizers.
 *
 * Runs one cluster to its end. Adds to *counters. Asserts (cmocka's fail, with the
 * seed) when an invariant breaks. */
struct cluster_result cluster_run(const struct cluster_config *config,
                                  struct cluster_counters *counters);

#endif
