#include "worker/data/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "worker/data/vocabulary.h"

static const char mark[] = "{slot}";

static bool is_path(const struct tw_variant *variant, const struct tw_option *option) {
    int count;
    const struct tw_option_rule *rules = tw_dataset_rules("data.train", variant->name, &count);
    for (int i = 0; i < count; i++)
        if (strcmp(rules[i].key, option->key) == 0)
            return rules[i].type == TW_OPTION_PATH;
    return false;
}

static const char *path_of(const struct tw_option *option) {
    return option->path != NULL ? option->path : option->text;
}

/* How many options are paths, with the mark if `marked`. */
static int count_paths(const struct tw_job *job, bool marked) {
    int count = 0;
    for (int i = 0; i < job->train.count; i++) {
        const struct tw_option *option = &job->train.options[i];
        count += is_path(&job->train, option) && (!marked || strstr(path_of(option), mark) != NULL);
    }
    return count;
}

static enum tw_status check_files(const struct tw_job *job, struct tw_error *error) {
    if (count_paths(job, false) > 0)
        return TW_OK;
    return tw_job_error(error, job->train.where, "data.shard",
                        "%s has no files that could be each worker's own; write epoch or fixed",
                        job->train.name);
}

enum tw_status tw_own_check(const struct tw_job *job, struct tw_error *error) {
    enum tw_status status = check_files(job, error);
    if (status != TW_OK || count_paths(job, true) > 0)
        return status;
    return tw_job_error(error, job->train.where, "data.train",
                        "with data.shard: own all slots would read the same files here; write "
                        "{slot} where their numbers stand, such as part-{slot}.npy");
}

/* Every mark becomes the number. */
static enum tw_status fill_in(const char *path, uint32_t slot, char out[TW_PATH_MAX],
                              struct tw_error *error) {
    size_t used = 0;
    for (const char *at; (at = strstr(path, mark)) != NULL; path = at + strlen(mark)) {
        int size = snprintf(out + used, TW_PATH_MAX - used, "%.*s%u", (int)(at - path), path, slot);
        used += (size_t)size;
        if (used >= TW_PATH_MAX)
            break;
    }
    if (used + strlen(path) >= TW_PATH_MAX)
        return tw_error_set(error, TW_JOB, "%.80s...: longer than a path may be (%d bytes)", path,
                            TW_PATH_MAX - 1);
    strcpy(out + used, path);
    return TW_OK;
}

/* The data of this slot, as the job would name it. */
static enum tw_status open_files(struct tw_dataset **out, const struct tw_job *job, uint32_t slot,
                                 struct tw_error *error) {
    struct tw_variant variant = job->train;
    size_t count = (size_t)variant.count;
    struct tw_option *options = calloc(count + 1, sizeof *options);
    char(*paths)[TW_PATH_MAX] = calloc(count + 1, sizeof *paths);
    enum tw_status status = TW_OK;
    if (options == NULL || paths == NULL)
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory for paths");
    for (size_t i = 0; status == TW_OK && i < count; i++) {
        options[i] = job->train.options[i];
        if (!is_path(&job->train, &options[i]))
            continue;
        status = fill_in(path_of(&options[i]), slot, paths[i], error);
        options[i].path = paths[i];
    }
    variant.options = options;
    if (status == TW_OK)
        status = tw_dataset_open(out, &variant, NULL, error);
    free(paths);
    free(options);
    return status;
}

enum tw_status tw_own_check_words(const struct tw_dataset *data, struct tw_error *error) {
    bool words = false;
    for (int i = 0; data->words != NULL && i < data->words->count; i++)
        words |= data->words->at[i].count > 0;
    if (words)
        return tw_error_set(error, TW_DATA,
                            "%s: words are numbered by those of all training data, which with "
                            "data.shard: own nobody has; write numbers (targets: numbers), or npy "
                            "or idx with labels",
                            data->samples_name);
    return TW_OK;
}

/* What all workers would have to know of all samples. */
static enum tw_status check_alone(const struct tw_dataset *data, struct tw_error *error) {
    enum tw_status status = tw_own_check_words(data, error);
    if (status == TW_OK && data->missing)
        return tw_error_set(error, TW_DATA,
                            "%s: what is missing would get the mean of all training data, which "
                            "with data.shard: own nobody has; write missing: zero or skip",
                            data->samples_name);
    return status;
}

enum tw_status tw_own_open(struct tw_dataset **out, const struct tw_job *job,
                           const struct tw_data_needs *needs, uint32_t slot, bool streamed,
                           struct tw_error *error) {
    *out = NULL;
    enum tw_status status = check_files(job, error);
    if (status == TW_OK)
        status = open_files(out, job, slot, error);
    if (status == TW_OK)
        status = check_alone(*out, error);
    if (status == TW_OK)
        status = tw_dataset_check(*out, needs, error);
    if (status == TW_OK && !(streamed && (*out)->streams))
        status = tw_dataset_check_numbers(*out, error);
    if (status == TW_OK)
        return TW_OK;
    tw_dataset_free(*out);
    *out = NULL;
    return status;
}
