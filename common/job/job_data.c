/* data: what is learned from, and tested on. Formats and their options are worker/data's. */
#include <inttypes.h>
#include <string.h>

#include "common/job/job_read.h"

#define SAMPLES_MAX UINT32_MAX

/* The format of a file whose job does not say it, by the end of its name, ".gz" aside. */
static const char *guess_format(const char *file) {
    static const struct {
        const char *ending, *format;
    } endings[] = {{"-ubyte", "idx"}, {".idx", "idx"},       {".csv", "csv"},
                   {".npy", "npy"},   {".libsvm", "libsvm"}, {".svmlight", "libsvm"},
                   {".svm", "libsvm"}};
    size_t size = strlen(file);
    size -= size > 3 && strcmp(file + size - 3, ".gz") == 0 ? 3 : 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t last = strlen(endings[i].ending);
        if (size > last && strncmp(file + size - last, endings[i].ending, last) == 0)
            return endings[i].format;
    }
    return NULL;
}

static const struct tw_variant_form data_form = {
    .key = "format",
    .what = "data such as {format: idx, images: FILE, labels: FILE}",
    .paths = true,
    .guess = guess_format};

static enum tw_status read_part(const struct tw_job_reader *reader, const struct tw_yaml *data,
                                const char *key, bool *has, struct tw_variant *out) {
    const struct tw_yaml *node = tw_yaml_find(data, key);
    *has = node != NULL;
    return node ? tw_read_variant(reader, node, &data_form, out) : TW_OK;
}

/* Of data, or weights: written into the job of a run, so that nobody goes on with others. */
enum tw_status tw_read_sha256(const struct tw_job_reader *reader, const struct tw_yaml *map,
                              char *out) {
    const struct tw_yaml *node = tw_yaml_find(map, "sha256");
    struct tw_option option;
    char shown[TW_SHOWN];
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_scalar(reader, node, &option);
    if (status != TW_OK)
        return status;
    if (strlen(option.text) != 64 || strspn(option.text, "0123456789abcdef") != 64)
        return tw_node_error(reader, node, "%s is no SHA-256; it must be 64 of 0-9 and a-f",
                             tw_shown(option.text, shown));
    memcpy(out, option.text, 65);
    return TW_OK;
}

/* How many samples are held out of the training data. */
static enum tw_status read_validation(const struct tw_job_reader *reader,
                                      const struct tw_yaml *data) {
    const struct tw_yaml *node = tw_yaml_find(data, "validation");
    if (!node)
        return TW_OK;
    reader->job->validation_where = node->where;
    return tw_read_integer(reader, data, "validation", 0, SAMPLES_MAX, &reader->job->validation);
}

/* data.test, behind data.validation: data, or the word `validation`. */
static enum tw_status read_test(const struct tw_job_reader *reader, const struct tw_yaml *data) {
    const struct tw_yaml *node = tw_yaml_find(data, "test");
    struct tw_job *job = reader->job;
    if (!node || node->kind != TW_YAML_SCALAR || strcmp(node->text, "validation") != 0)
        return read_part(reader, data, "test", &job->has_test, &job->test);
    if (job->validation == 0)
        return tw_node_error(reader, node,
                             "validation means the samples that data.validation holds out, but it "
                             "holds out none; write validation: COUNT");
    job->has_test = job->tests_held_out = true;
    return TW_OK;
}

/* How images are changed at random, each time they are used. */
static enum tw_status read_augment(const struct tw_job_reader *reader, const struct tw_yaml *data) {
    static const char *const names[] = {"crop", "flip", NULL};
    const struct tw_yaml *node = tw_yaml_find(data, "augment");
    struct tw_job *job = reader->job;
    const int64_t *size = job->model.input;
    if (!node)
        return TW_OK;
    enum tw_status status = tw_need_kind(reader, node, TW_YAML_MAP, "{crop: 2, flip: true}");
    if (status == TW_OK)
        status = tw_need_keys(reader, node, names);
    if (status == TW_OK)
        status = tw_read_integer(reader, node, "crop", 0, INT32_MAX, &job->augment.crop);
    if (status == TW_OK)
        status = tw_read_flag(reader, node, "flip", &job->augment.flip);
    if (status != TW_OK)
        return status;
    if (job->model.input_dims != 3)
        return tw_node_error(reader, node,
                             "images of [channels, height, width] can be cropped and flipped; "
                             "model.input has %d dimension%s",
                             job->model.input_dims, job->model.input_dims == 1 ? "" : "s");
    if (job->augment.crop >= size[1] || job->augment.crop >= size[2])
        return tw_node_error(reader, tw_yaml_find(node, "crop"),
                             "%" PRId64 " is not below the %" PRId64 " rows and %" PRId64
                             " columns of model.input",
                             job->augment.crop, size[1], size[2]);
    return TW_OK;
}

/* Files of each worker's own: what would need all of them cannot be had. */
static enum tw_status read_own(const struct tw_job_reader *reader, const struct tw_yaml *data) {
    struct tw_job *job = reader->job;
    const struct tw_yaml *samples = tw_yaml_find(data, "samples");
    bool own = job->shard == TW_SHARD_OWN;
    if (samples && !own)
        return tw_node_error(reader, samples,
                             "the samples are counted where they are read; this is for data.shard: "
                             "own, take it out");
    if (own && job->validation)
        return tw_node_error(reader, tw_yaml_find(data, "validation"),
                             "with data.shard: own nobody has all samples to draw from; name a "
                             "file of its own in data.test");
    if (own && job->standardise)
        return tw_node_error(reader, tw_yaml_find(data, "standardise"),
                             "with data.shard: own nobody has all samples to take the means of; "
                             "standardise the files, and take it out");
    return samples ? tw_read_integer(reader, data, "samples", 1, 1e15, &job->samples) : TW_OK;
}

enum tw_status tw_read_data(const struct tw_job_reader *reader) {
    static const char *const names[] = {"train", "test",    "validation", "standardise", "augment",
                                        "shard", "samples", "sha256",     NULL};
    static const char *const shards[] = {"epoch", "fixed", "own", NULL};
    struct tw_job *job = reader->job;
    const struct tw_yaml *data;
    enum tw_status status = tw_find_section(reader, "data", names, "train, test, shard", &data);
    if (status != TW_OK)
        return status;
    if (data && job->model.own)
        return tw_node_error(reader, data,
                             "model.tensors means gradients of your own program, which reads its "
                             "data itself; take it out");
    if (data && !tw_job_has_data(job))
        return tw_node_error(reader, data, "model.objective needs no data; take it out");
    if (!tw_job_has_data(job))
        return TW_OK;
    if (!data || !tw_yaml_find(data, "train"))
        return tw_missing_error(reader, data ? data : reader->root, data ? "train" : "data.train",
                                data_form.what);
    int shard = TW_SHARD_EPOCH;
    status = read_part(reader, data, "train", &job->has_train, &job->train);
    if (status == TW_OK)
        status = read_validation(reader, data);
    if (status == TW_OK)
        status = read_test(reader, data);
    if (status == TW_OK)
        status = tw_read_flag(reader, data, "standardise", &job->standardise);
    if (status == TW_OK)
        status = read_augment(reader, data);
    if (status == TW_OK)
        status = tw_read_name(reader, data, "shard", shards, &shard);
    job->shard = (enum tw_data_shard)shard;
    if (status == TW_OK)
        status = read_own(reader, data);
    return status == TW_OK ? tw_read_sha256(reader, data, job->data_sha256) : status;
}
