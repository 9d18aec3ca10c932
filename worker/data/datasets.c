#include "worker/data/datasets.h"

#include <string.h>

static enum tw_status open_one(struct tw_dataset **out, const struct tw_variant *variant,
                               const struct tw_data_needs *needs, const struct tw_dataset *like,
                               struct tw_error *error) {
    enum tw_status status = tw_dataset_open(out, variant, like, error);
    return status == TW_OK ? tw_dataset_check(*out, needs, error) : status;
}

/* Which training data it is, before anything is taken away from it. */
static enum tw_status identify(struct tw_datasets *out, const struct tw_job *job, unsigned wanted,
                               struct tw_error *error) {
    if (wanted & TW_WANT_SOON && out->train->streams)
        return TW_OK;
    enum tw_status status = tw_dataset_check_numbers(out->train, error);
    if (status != TW_OK)
        return status;
    if (wanted & TW_WANT_SHA256)
        tw_dataset_sha256(out->train, out->sha256);
    return wanted & TW_WANT_ANY ? TW_OK
                                : tw_dataset_check_sha256(out->train, job->data_sha256, error);
}

/* Labels that are all the same teach nothing, and are nearly always a mistake. */
static enum tw_status check_classes(const struct tw_dataset *train, struct tw_error *error) {
    const int32_t *labels = train->labels;
    if (train->outputs > 0 || train->count < 2)
        return TW_OK;
    const uint32_t *place = train->place;
    int32_t first = labels[place == NULL ? 0 : place[0]];
    for (uint32_t i = 1; i < train->count; i++)
        if (labels[place == NULL ? i : place[i]] != first)
            return TW_OK;
    return tw_error_set(error, TW_DATA,
                        "%s: all %u training samples have the label %d: with one class only "
                        "there is nothing to learn",
                        train->targets_name, train->count, first);
}

static enum tw_status hold_out(struct tw_datasets *out, const struct tw_job *job, unsigned wanted,
                               struct tw_error *error) {
    struct tw_dataset **validation = wanted & TW_WANT_VALIDATION ? &out->validation : NULL;
    if (job->validation == 0)
        return TW_OK;
    if (job->validation >= out->train->count)
        return tw_job_error(error, job->validation_where, "data.validation",
                            "%lld samples are to be held out, but the training data has only %u",
                            (long long)job->validation, out->train->count);
    return tw_dataset_split(out->train, (uint32_t)job->validation, job->seeds.split, validation,
                            error);
}

/* What is learned from the training data, and done to all. */
static enum tw_status prepare(struct tw_datasets *out, const struct tw_job *job,
                              const struct tw_data_needs *needs, struct tw_error *error) {
    if (job->standardise && needs->below > 0)
        return tw_job_error(error, (struct tw_where){job->path, 0}, "data.standardise",
                            "the model begins with an embedding, which takes whole numbers; take "
                            "it out");
    if (!job->standardise && !out->train->missing)
        return TW_OK;
    if (out->train->kind == TW_ROWS_SPARSE)
        return tw_job_error(error, job->train.where, "data.standardise",
                            "sparse rows would be sparse no more; take it out");
    enum tw_status status = tw_prepare(&out->preparation, out->train, job->standardise, error);
    if (status != TW_OK)
        return status;
    out->train->preparation = &out->preparation;
    if (out->validation != NULL)
        out->validation->preparation = &out->preparation;
    return TW_OK;
}

static enum tw_status open_test(struct tw_datasets *out, const struct tw_job *job,
                                const struct tw_data_needs *needs, struct tw_error *error) {
    if (job->tests_held_out) {
        out->test = out->validation;
        return TW_OK;
    }
    enum tw_status status = open_one(&out->test, &job->test, needs, out->train, error);
    if (status != TW_OK)
        return status;
    status = tw_dataset_check_numbers(out->test, error);
    if (status != TW_OK)
        return status;
    if (out->preparation.elements > 0)
        out->test->preparation = &out->preparation;
    else if (out->test->missing)
        return tw_error_set(error, TW_DATA,
                            "%s: values are missing, but none in the training data, whose means "
                            "would fill them in",
                            out->test->samples_name);
    return TW_OK;
}

enum tw_status tw_datasets_open(struct tw_datasets *out, const struct tw_job *job,
                                const struct tw_data_needs *needs, unsigned wanted,
                                struct tw_error *error) {
    memset(out, 0, sizeof *out);
    if (job->tests_held_out && wanted & TW_WANT_TEST)
        wanted |= TW_WANT_VALIDATION;
    enum tw_status status = open_one(&out->train, &job->train, needs, NULL, error);
    if (status == TW_OK)
        status = identify(out, job, wanted, error);
    if (status == TW_OK)
        status = hold_out(out, job, wanted, error);
    if (status == TW_OK)
        status = check_classes(out->train, error);
    if (status == TW_OK)
        status = prepare(out, job, needs, error);
    if (status == TW_OK) {
        out->train_samples = out->train->count;
        if (job->has_test && wanted & TW_WANT_TEST)
            status = open_test(out, job, needs, error);
        if (!(wanted & TW_WANT_TRAIN) && out->validation == NULL) {
            tw_dataset_free(out->train);
            out->train = NULL;
        }
    }
    if (status != TW_OK)
        tw_datasets_close(out);
    return status;
}

void tw_datasets_close(struct tw_datasets *datasets) {
    if (datasets->test != datasets->validation)
        tw_dataset_free(datasets->test);
    tw_dataset_free(datasets->validation); /* borrows from the next */
    tw_dataset_free(datasets->train);
    tw_preparation_fini(&datasets->preparation);
    memset(datasets, 0, sizeof *datasets);
}
