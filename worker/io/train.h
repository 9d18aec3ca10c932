/* The built-in worker: trains the model of a job on its part of the data, or, as
 * the evaluator, scores the weights of each epoch on the test data.
 *
 *     load data, build the net -> talweg_join ->
 *     [ talweg_pull_begin -> forward, each layer when its weights are there
 *                         -> backward, pushing each tensor as it is final ] ...
 *     -> talweg_leave
 *
 * Its only way to the servers is talweg.h, the same that users have; what it does,
 * a program of theirs can do. Used by `talweg worker` (cli/cmd_worker.c).
 *
 * It prints only through on_note; catches no signals: whoever does makes stop_fd
 * readable.
 */
#ifndef TW_IO_TRAIN_H
#define TW_IO_TRAIN_H

#include "common/job/job.h"
#include "worker/io/straggler.h"

struct tw_worker_config {
    const struct tw_job *job; /* resolved; borrowed, like all pointers here */
    const char *server;       /* "HOST:PORT" of the lead */
    int rank;                 /* -1: the lowest free one */
    bool evaluator;
    const void *token; /* shared secret, or NULL */
    size_t token_bytes;
    double connect_seconds; /* 0: 30 s */
    struct tw_straggler straggler;
    int stop_fd; /* readable: say goodbye and return; -1: none */
    void (*on_note)(void *context, const char *line); /* for the log; may be NULL */
    void *context;
};

/* Runs until the servers say that the run is over (TW_OK). TW_INTERRUPTED: stop_fd.
 * TW_JOB, TW_DATA: before anything was connected. TW_UNREACHABLE: no server;
 * TW_CLOSED: it was lost; TW_UNEXPECTED: it refused us; TW_STOPPED: the run failed.
 * `error` has their own words.
 * Not for jobs with gradients of their own (model.tensors): TW_JOB.
 *
 * Call tw_gemm_start() before. */
enum tw_status tw_worker_train(const struct tw_worker_config *config, struct tw_error *error);

#endif
