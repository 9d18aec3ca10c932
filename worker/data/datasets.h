/* All data of a job, opened as one: the training data without what is held out of it
 * (data.validation), that, and the test data. Every process that reads data does it here, so
 * that all of them see the same samples: launcher, workers, evaluator, replay.
 */
#ifndef TW_DATA_DATASETS_H
#define TW_DATA_DATASETS_H

#include "common/job/job.h"
#include "worker/data/own.h"
#include "worker/data/prepare.h"

struct tw_datasets {
    uint64_t train_samples;                       /* of an epoch, also when `train` is not wanted */
    struct tw_dataset *train, *validation, *test; /* NULL: not wanted, or the job has none */
    struct tw_dataset **own;                      /* [own_count] of data.shard: own; else NULL */
    uint32_t own_first, own_count;                /* the slots whose they are */
    struct tw_preparation preparation;            /* of all of them; from the training data */
    char sha256[TW_SHA256_HEX];                   /* of the training data; "": not wanted */
};

/* What is wanted. The training data is read in any case, but kept in memory only when
 * somebody needs it. `test` is `validation` where the job scores what is held out. */
enum {
    TW_WANT_TRAIN = 1,
    TW_WANT_VALIDATION = 2,
    TW_WANT_TEST = 4,
    TW_WANT_SHA256 = 8,
    TW_WANT_ANY = 16,  /* other training data than data.sha256 says will do */
    TW_WANT_SOON = 32, /* what is larger than memory has been read through by somebody else: who
                        * computes on a part of it need not */
};

/* Reads what is wanted, and checks that it is the job's and fits a model. The job has data.train.
 * With data.shard: own the training data is that of all slots, and read only where it is wanted, or
 * its SHA-256, which is that of theirs (hexadecimal, one behind the other).
 * TW_JOB, TW_DATA with the place in the job; TW_NO_MEMORY. On failure there is nothing to
 * close. What is opened points to `out`, which stays where it is. */
enum tw_status tw_datasets_open(struct tw_datasets *out, const struct tw_job *job,
                                const struct tw_data_needs *needs, unsigned wanted,
                                struct tw_error *error);

/* The same for a worker of data.shard: own, which learns what its slots are when it has joined: it
 * opens the training data of these alone, into what tw_datasets_open() filled without
 * TW_WANT_TRAIN.
 * On failure `out` is as it was. */
enum tw_status tw_datasets_open_own(struct tw_datasets *out, const struct tw_job *job,
                                    const struct tw_data_needs *needs, uint32_t slot,
                                    uint32_t width, struct tw_error *error);

/* What each slot learns from; borrowed. */
struct tw_train_data tw_datasets_train(const struct tw_datasets *datasets);

void tw_datasets_close(struct tw_datasets *datasets);

#endif
