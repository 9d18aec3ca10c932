/* Models for the tests of worker/nn, from a few lines of YAML. */
#ifndef TW_TEST_NET_JOB_H
#define TW_TEST_NET_JOB_H

#include <stdio.h>
#include <string.h>

#include "worker/nn/model.h"

/* Builds the model of a job whose lines 2 on are `model` (indented by two). The result
 * is tw_model_free()'s; the job is gone already, which shows that nothing of it is kept. */
static inline enum tw_status build_model(struct tw_model **out, const char *model,
                                         struct tw_error *error) {
    char text[2048];
    struct tw_job *job;
    snprintf(text, sizeof text,
             "model:\n%s"
             "data: {train: {format: idx, images: a, labels: b}}\n"
             "batch: 8\nupdates: 1\noptimizer: {name: sgd, lr: 0.1}\n",
             model);
    *out = NULL;
    enum tw_status status = tw_job_parse(&job, "job.yaml", text, strlen(text), NULL, 0, error);
    if (status != TW_OK)
        return status;
    status = tw_model_build(out, &job->model, error);
    tw_job_free(job);
    return status;
}

#endif
