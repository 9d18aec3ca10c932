/* A part of a data set is held out, for validation. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "worker/data/ascending.h"
#include "worker/data/dataset.h"

/* The permutation: out[count], from malloc. */
static uint32_t *permute(uint32_t count, uint64_t seed) {
    struct tw_rng rng;
    uint32_t *out = malloc(count * sizeof *out);
    if (out == NULL)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        out[i] = i;
    tw_rng_init(&rng, seed, TW_STREAM_SPLIT, 0, 0);
    tw_rng_shuffle(&rng, out, count);
    return out;
}

static enum tw_status make_part(const struct tw_dataset *whole, const uint32_t *place,
                                uint32_t count, struct tw_dataset **out, struct tw_error *error) {
    struct tw_dataset *part = malloc(sizeof *part);
    if (part != NULL) {
        *part = *whole;
        memset(part->owned, 0, sizeof part->owned);
        part->words = NULL; /* all of these stay those of the whole */
        part->mapping = (struct tw_mapping){0};
        part->count = count;
        part->place = malloc(count * sizeof *place);
        part->samples_name = strdup(whole->samples_name);
        part->targets_name = strdup(whole->targets_name);
    }
    if (part == NULL || part->place == NULL || part->samples_name == NULL ||
        part->targets_name == NULL) {
        tw_dataset_free(part);
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a part of %s",
                            whole->samples_name);
    }
    memcpy(part->place, place, count * sizeof *place);
    *out = part;
    return TW_OK;
}

enum tw_status tw_dataset_split(struct tw_dataset *dataset, uint32_t count, uint64_t seed,
                                struct tw_dataset **out, struct tw_error *error) {
    assert(dataset->place == NULL);
    if (count >= dataset->count)
        return tw_error_set(error, TW_JOB,
                            "%u samples are held out for validation, but %s has only %u", count,
                            dataset->samples_name, dataset->count);
    uint32_t kept = dataset->count - count;
    uint32_t *place = permute(dataset->count, seed);
    if (place == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for the order of %u samples",
                            dataset->count);
    /* Files are read forwards, whichever samples were drawn. */
    qsort(place, kept, sizeof *place, tw_ascending);
    qsort(place + kept, count, sizeof *place, tw_ascending);
    if (out != NULL) {
        enum tw_status status = make_part(dataset, place + kept, count, out, error);
        if (status != TW_OK) {
            free(place);
            return status;
        }
    }
    dataset->place = place;
    dataset->count = kept;
    return TW_OK;
}
