/* data.shard: own: each slot learns from files of its own. {slot} in a path is the slot's number,
 * from 0; without it the same path means other files on each machine.
 *
 * Nobody needs to see all of them: a worker opens those of its slots, and what would need all
 * (means, numbers of words, samples held out) is refused. Who replays, or starts all workers on one
 * machine, opens all.
 */
#ifndef TW_DATA_OWN_H
#define TW_DATA_OWN_H

#include "common/job/job.h"
#include "worker/data/dataset.h"

/* Who learns from what. */
struct tw_train_data {
    const struct tw_dataset *all;        /* all slots share it; NULL: each has its own, or none */
    const struct tw_dataset *const *own; /* [count], of the slots from `first` on */
    uint32_t first, count;
};

/* NULL: there is no data. A slot that was opened. */
static inline const struct tw_dataset *tw_train_data_of(const struct tw_train_data *train,
                                                        uint32_t slot) {
    return train->own != NULL ? train->own[slot - train->first] : train->all;
}

/* Any of them: all have targets of one kind. NULL: there is no data. */
static inline const struct tw_dataset *tw_train_data_any(const struct tw_train_data *train) {
    return tw_train_data_of(train, train->first);
}

/* Whether one machine can open the files of all slots: TW_JOB when {slot} is in no path. */
enum tw_status tw_own_check(const struct tw_job *job, struct tw_error *error);

/* TW_DATA: labels or features are words, which get numbers by those of all training data. */
enum tw_status tw_own_check_words(const struct tw_dataset *data, struct tw_error *error);

/* Opens the files of one slot, and checks that they fit a model and have nothing that would need
 * those of the others. `streamed`: rows larger than memory need not be read through. TW_JOB,
 * TW_DATA, TW_NO_MEMORY; then *out is NULL. */
enum tw_status tw_own_open(struct tw_dataset **out, const struct tw_job *job,
                           const struct tw_data_needs *needs, uint32_t slot, bool streamed,
                           struct tw_error *error);

#endif
