/* What models of runs say to a data set: of one model its outputs, of several the mean of their
 * answers (an ensemble).
 *
 * A model is the directory of a run, or of one of its checkpoints. Answers are what the loss makes
 * of outputs: probabilities (softmax, sigmoid), or the outputs themselves. Samples are computed
 * in the one batch shape that evaluates, so that they have the bits of the run's own
 * evaluations, and each by one thread alone: how many there are changes nothing.
 *
 * Used by `talweg predict` (cmd_predict.c).
 */
#ifndef TW_CLI_PREDICTOR_H
#define TW_CLI_PREDICTOR_H

#include "cli/job_check.h"
#include "worker/data/datasets.h"

struct tw_predictor_config {
    const char *const *model; /* [models] */
    int models;
    const char *data; /* test, validation, train, or YAML as of data.test */
    int threads;
    char **again; /* the command line, for worker.blas_core of the first model's job */
};

/* All zeros until it is made. */
struct tw_predictor {
    struct tw_checked_job job; /* of the first model */
    struct tw_datasets datasets;
    const struct tw_dataset *data; /* one of them */
    uint64_t samples;
    int outputs;
    double *answer; /* [samples, outputs] */
    float *out;     /* [samples, outputs] that the answers stand for, before softmax */
};

/* TW_USAGE, TW_JOB, TW_DATA: something is wrong with a model or the data, or models do not fit
 * together; TW_NO_MEMORY. Fini in any case. */
enum tw_status tw_predictor_run(struct tw_predictor *predictor,
                                const struct tw_predictor_config *config, struct tw_error *error);
void tw_predictor_fini(struct tw_predictor *predictor);

/* What sample i should be. */
struct tw_target tw_predictor_target(const struct tw_predictor *predictor, uint64_t i);

#endif
