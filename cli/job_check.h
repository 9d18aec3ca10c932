/* Everything about a job that can be wrong, found before any process starts.
 *
 * common/job knows the shape of the file; what a layer, an optimizer, a mode or a
 * data format means is known by the rooms with their tables. Here they meet: run,
 * server and worker load their job through this and get all that they need of it.
 */
#ifndef TW_CLI_JOB_CHECK_H
#define TW_CLI_JOB_CHECK_H

#include "common/job/job.h"
#include "common/tensor/initial.h"
#include "server/core/dial.h"
#include "server/core/optimizer.h"
#include "server/core/schedule.h"
#include "server/core/shaping.h"
#include "worker/nn/model.h"

/* Which data is opened and looked through, down to the last label. */
enum tw_check_data {
    TW_CHECK_NO_DATA,
    TW_CHECK_TRAIN, /* what a server needs: how many samples there are */
    TW_CHECK_ALL,
};

struct tw_checked_job {
    struct tw_job *job; /* resolved */
    struct tw_model *model;
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options optimizer_options;
    struct tw_initial initial; /* where the job has model.init and data is looked at */
    struct tw_shaping shaping;
    struct tw_treatment *treatment; /* [tensors] */
    struct tw_pace pace;            /* what the schedules say; epoch_samples is train_samples */
    struct tw_dial dial;
    struct tw_dial_turn *turns; /* [turn_count] */
    uint32_t turn_count;
    uint64_t train_samples; /* 0: own gradients, or the data was not opened */
};

/* TW_JOB, TW_DATA, TW_UNSUPPORTED with a message for the user, TW_NO_MEMORY.
 * After a failure there is nothing to free. */
enum tw_status tw_checked_job_load(struct tw_checked_job *out, const char *path,
                                   const struct tw_job_setting *settings, int count,
                                   enum tw_check_data data, struct tw_error *error);

/* The weights that the job starts from into checked->initial, of one that was loaded with
 * TW_CHECK_NO_DATA. TW_OK and nothing: there are none. TW_JOB, TW_DATA, TW_NO_MEMORY. */
enum tw_status tw_checked_job_initial(struct tw_checked_job *checked, struct tw_error *error);

/* Harmless on zeros. */
void tw_checked_job_fini(struct tw_checked_job *checked);

#endif
