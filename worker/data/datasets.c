#include "worker/data/datasets.h"

#include <stdlib.h>
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
    if (status == TW_OK && job->shard == TW_SHARD_OWN)
        status = tw_own_check_words(out->test, error);
    if (status == TW_OK)
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

/* ---- data.shard: own ---- */

static void close_own(struct tw_datasets *datasets) {
    for (uint32_t i = 0; i < datasets->own_count; i++)
        tw_dataset_free(datasets->own[i]);
    free(datasets->own);
    datasets->own = NULL;
    datasets->own_count = 0;
}

/* Classes or real targets, as those before it: who counts right answers asks any of them. */
static enum tw_status check_kind(const struct tw_dataset *data, const struct tw_dataset *first,
                                 struct tw_error *error) {
    static const char *const kinds[] = {"classes", "real targets"};
    if ((data->outputs > 0) == (first->outputs > 0))
        return TW_OK;
    return tw_error_set(error, TW_DATA,
                        "%s has %s, but %s has %s; with data.shard: own all files must have the "
                        "same kind",
                        data->targets_name, kinds[data->outputs > 0], first->targets_name,
                        kinds[first->outputs > 0]);
}

static enum tw_status open_own(struct tw_datasets *out, const struct tw_job *job,
                               const struct tw_data_needs *needs, uint32_t slot, uint32_t width,
                               bool streamed, struct tw_error *error) {
    enum tw_status status = TW_OK;
    out->own = calloc(width, sizeof(struct tw_dataset *));
    out->own_first = slot;
    if (out->own == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a data set");
    for (uint32_t i = 0; status == TW_OK && i < width; i++) {
        status = tw_own_open(&out->own[i], job, needs, slot + i, streamed, error);
        out->own_count += status == TW_OK;
        if (status == TW_OK)
            status = check_kind(out->own[i], out->own[0], error);
    }
    if (status != TW_OK)
        close_own(out);
    return status;
}

enum tw_status tw_datasets_open_own(struct tw_datasets *out, const struct tw_job *job,
                                    const struct tw_data_needs *needs, uint32_t slot,
                                    uint32_t width, struct tw_error *error) {
    return open_own(out, job, needs, slot, width, true, error);
}

/* Of all slots together: of the digests, one behind the other. */
static void digest_own(const struct tw_datasets *datasets, char out[TW_SHA256_HEX]) {
    uint8_t digest[TW_SHA256_BYTES];
    char one[TW_SHA256_HEX];
    struct tw_sha256 sha;
    tw_sha256_init(&sha);
    for (uint32_t i = 0; i < datasets->own_count; i++) {
        tw_dataset_sha256(datasets->own[i], one);
        tw_sha256_update(&sha, one, strlen(one));
    }
    tw_sha256_final(&sha, digest);
    tw_hex(digest, sizeof digest, out);
}

/* Who sees all files knows how many samples there are; who does not is told. */
static enum tw_status count_own(struct tw_datasets *out, const struct tw_job *job,
                                struct tw_error *error) {
    uint64_t found = 0;
    for (uint32_t i = 0; i < out->own_count; i++)
        found += out->own[i]->count;
    out->train_samples = out->own != NULL ? found : (uint64_t)job->samples;
    if (out->train_samples == 0)
        return tw_job_error(error, job->train.where, "data.samples",
                            "missing; say how many samples all workers have together, since with "
                            "data.shard: own nobody else can count them");
    if (job->samples != 0 && out->train_samples != (uint64_t)job->samples)
        return tw_job_error(error, job->train.where, "data.samples",
                            "the job says %lld, but the files of its %d slots have %llu",
                            (long long)job->samples, job->slots, (unsigned long long)found);
    return TW_OK;
}

static enum tw_status open_all_own(struct tw_datasets *out, const struct tw_job *job,
                                   const struct tw_data_needs *needs, unsigned wanted,
                                   struct tw_error *error) {
    enum tw_status status = TW_OK;
    bool reads = wanted & (TW_WANT_TRAIN | TW_WANT_SHA256);
    char sha256[TW_SHA256_HEX] = "";
    if (reads)
        status = tw_own_check(job, error);
    if (status == TW_OK && reads)
        status = open_own(out, job, needs, 0, (uint32_t)job->slots, false, error);
    if (status == TW_OK)
        status = count_own(out, job, error);
    bool compares = reads && !(wanted & TW_WANT_ANY) && *job->data_sha256;
    if (status == TW_OK && (compares || wanted & TW_WANT_SHA256))
        digest_own(out, sha256);
    if (status == TW_OK && compares && strcmp(sha256, job->data_sha256) != 0)
        status = tw_error_set(error, TW_DATA,
                              "%s and the files of the other slots: this is other training data "
                              "than the job's: its SHA-256 is %s, data.sha256 of the job is %s",
                              out->own[0]->samples_name, sha256, job->data_sha256);
    if (wanted & TW_WANT_SHA256)
        memcpy(out->sha256, sha256, sizeof out->sha256);
    if (status == TW_OK && !(wanted & TW_WANT_TRAIN))
        close_own(out);
    return status;
}

/* ---- all of it ---- */

static enum tw_status open_train(struct tw_datasets *out, const struct tw_job *job,
                                 const struct tw_data_needs *needs, unsigned wanted,
                                 struct tw_error *error) {
    if (job->shard == TW_SHARD_OWN)
        return open_all_own(out, job, needs, wanted, error);
    enum tw_status status = open_one(&out->train, &job->train, needs, NULL, error);
    if (status == TW_OK)
        status = identify(out, job, wanted, error);
    if (status == TW_OK)
        status = hold_out(out, job, wanted, error);
    if (status == TW_OK)
        status = check_classes(out->train, error);
    if (status == TW_OK)
        status = prepare(out, job, needs, error);
    if (status == TW_OK)
        out->train_samples = out->train->count;
    return status;
}

enum tw_status tw_datasets_open(struct tw_datasets *out, const struct tw_job *job,
                                const struct tw_data_needs *needs, unsigned wanted,
                                struct tw_error *error) {
    memset(out, 0, sizeof *out);
    if (job->tests_held_out && wanted & TW_WANT_TEST)
        wanted |= TW_WANT_VALIDATION;
    enum tw_status status = open_train(out, job, needs, wanted, error);
    if (status == TW_OK && job->has_test && wanted & TW_WANT_TEST)
        status = open_test(out, job, needs, error);
    if (status == TW_OK && !(wanted & TW_WANT_TRAIN) && out->validation == NULL) {
        tw_dataset_free(out->train);
        out->train = NULL;
    }
    if (status != TW_OK)
        tw_datasets_close(out);
    return status;
}

struct tw_train_data tw_datasets_train(const struct tw_datasets *datasets) {
    return (struct tw_train_data){.all = datasets->train,
                                  .own = (const struct tw_dataset *const *)datasets->own,
                                  .first = datasets->own_first,
                                  .count = datasets->own_count};
}

void tw_datasets_close(struct tw_datasets *datasets) {
    if (datasets->test != datasets->validation)
        tw_dataset_free(datasets->test);
    tw_dataset_free(datasets->validation); /* borrows from the next */
    tw_dataset_free(datasets->train);
    close_own(datasets);
    tw_preparation_fini(&datasets->preparation);
    memset(datasets, 0, sizeof *datasets);
}
