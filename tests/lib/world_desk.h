/* A small virtual cluster for tests: sim/world.h around f(x) = curvature/2 (x - target)^2 with
 * noise, whose laws are known in closed form.
 *
 * Set what differs from zero, then world_desk_run(). Zero means: one worker, one server, sync,
 * steps of 1 s, no network, sgd with rate 0.
 */
#ifndef TW_TESTS_WORLD_DESK_H
#define TW_TESTS_WORLD_DESK_H

#include "sim/world.h"

#define DESK_WORKERS 1024

struct world_desk {
    uint32_t workers, servers;
    const char *mode, *delay, *service; /* as on a command line: "gamma cv=.1" */
    double rate;                        /* of sgd */
    const char *optimizer;              /* NULL: sgd with that rate */
    struct tw_corrections corrections;
    const struct tw_shaping *shaping; /* of a job, with corrections of its own; NULL: none */
    uint64_t examples;                /* of each push; 0: 1 */
    int64_t elements;                 /* of x; 0: 1 */
    double curvature, noise, start;
    const double *target; /* [workers]; NULL: 0 */
    /* The gradient of a step into out, where it is not that of f; NULL: it is. */
    void (*gradient)(struct world_desk *desk, uint32_t slot, uint64_t step, const float *weights,
                     float *out);
    uint64_t updates, seed, delay_seed;
    double latency, bandwidth; /* 0: no limit */
    double stands_for;         /* as in the world's config */
    const struct tw_mishap *mishaps;
    size_t mishap_count;
    double loss_seconds; /* 0: never */
    bool loss_fails;
    uint64_t checkpoint_every; /* updates */
    double checkpoint_seconds;
    double stop_at; /* seconds; 0: nobody stops it */
    void (*on_record)(struct world_desk *desk, const struct tw_record *record, uint64_t now_ns);
    void (*on_version)(struct world_desk *desk, uint64_t version);   /* after each update */
    void (*on_gradient)(struct world_desk *desk, const float *read); /* before each is computed */
    void *context;

    /* What became of it. */
    struct tw_error error;
    enum tw_status status;
    double seconds;
    uint64_t version, events, evictions, rollbacks;
    struct tw_staleness sums;
    float x[64];            /* the first weights, at the end */
    uint64_t log;           /* hash of all records, in order */
    uint64_t data;          /* of what each slot has seen at each step, whatever the order */
    struct tw_world *world; /* while it runs */
};

/* Fails the test when the world cannot be made. */
enum tw_status world_desk_run(struct world_desk *desk);

#endif
