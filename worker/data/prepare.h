/* What is done to samples before a net gets them, learned from the training data alone and then
 * done to validation and test data just the same: standardisation, x -> (x - mean) / deviation
 * of each element, and filling in missing values with the mean.
 *
 * The numbers are a function of the training samples in the order of their files, summed in
 * double, so that every process that reads the same data gets the same bits; none has
 * to be told, and nothing is written down.
 */
#ifndef TW_DATA_PREPARE_H
#define TW_DATA_PREPARE_H

#include "worker/data/dataset.h"

struct tw_preparation {
    int64_t elements; /* of a sample; 0: nothing is done */
    bool scales;      /* else missing values are filled in, nothing more */
    float *mean;      /* [elements], of those that are not missing */
    float *factor;    /* [elements], 1 / standard deviation (that of a population); 1 where all
                       * samples have the same value, or nearly: it is below FLT_MIN */
};

/* Learns from a data set of dense rows; `scales` as above. TW_DATA: an element is missing in all
 * samples; TW_NO_MEMORY. On failure there is nothing to free. */
enum tw_status tw_prepare(struct tw_preparation *out, const struct tw_dataset *train, bool scales,
                          struct tw_error *error);

/* Does it to one sample, x[elements]; missing values are NaN. */
void tw_prepare_row(const struct tw_preparation *preparation, float *x);

void tw_preparation_fini(struct tw_preparation *preparation);

#endif
