/* A server and its workers for `talweg bench`: the program's own server and libtalweg, on
 * a job with one tensor of any size, whose gradients cost nothing to compute.
 *
 *     tw_cell_start -> tw_cell_measure ... -> tw_cell_end
 *
 * Used by bench_*.c only. */
#ifndef TW_CLI_BENCH_CELL_H
#define TW_CLI_BENCH_CELL_H

#include "cli/bench.h"
#include "cli/party.h"

#define TW_CELL_WORKERS_MAX 8

struct tw_cell {
    struct tw_party server, worker[TW_CELL_WORKERS_MAX];
    int workers;
};

struct tw_cell_plan {
    uint64_t bytes; /* of the tensor: a multiple of 4 */
    int workers;
    const char *optimizer; /* YAML */
    const char *encoding;  /* both ways; NULL: float32 as it is */
    const char *mode;      /* NULL: sync */
};

#define TW_CELL_ADDRESS 80

/* A server alone, on the first core; its "HOST:PORT" into `address`. TW_IO; after a failure
 * there is nothing to end. */
enum tw_status tw_cell_serve(struct tw_party *server, const struct tw_cell_plan *plan,
                             const struct tw_bench_options *options, char address[TW_CELL_ADDRESS],
                             struct tw_error *error);

/* Seconds of a step, from the start of its push. */
struct tw_cell_step {
    double push; /* until the first bytes of the answer, which the last gradient sets off */
    double pull; /* from then until all weights were there */
    double wait; /* from the end of the push until all weights were there */
};

/* TW_IO; after a failure there is nothing to end. */
enum tw_status tw_cell_start(struct tw_cell *cell, const struct tw_cell_plan *plan,
                             const struct tw_bench_options *options, struct tw_error *error);

/* `count` steps in a row, of all workers at once; those of worker 0 into out[count]. */
enum tw_status tw_cell_measure(struct tw_cell *cell, int count, struct tw_cell_step *out,
                               struct tw_error *error);

void tw_cell_end(struct tw_cell *cell);

#endif
