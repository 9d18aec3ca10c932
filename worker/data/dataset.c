#include "worker/data/dataset.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/source.h"
#include "worker/data/vocabulary.h"

/* One line each, in the order of --help. */
#define FORMATS(X)                                                                                 \
    X(csv)                                                                                         \
    X(idx)                                                                                         \
    X(libsvm)                                                                                      \
    X(npy)                                                                                         \
    X(synthetic)

#define X(name) extern const struct tw_data_format tw_data_format_##name;
FORMATS(X)
#undef X

const struct tw_data_format *const tw_data_formats[] = {
#define X(name) &tw_data_format_##name,
    FORMATS(X)
#undef X
};
const int tw_data_format_count = sizeof tw_data_formats / sizeof tw_data_formats[0];

static enum tw_status find(const struct tw_data_format **out, const struct tw_variant *variant,
                           struct tw_error *error) {
    const char *names[sizeof tw_data_formats / sizeof tw_data_formats[0]];
    for (int i = 0; i < tw_data_format_count; i++) {
        names[i] = tw_data_formats[i]->name;
        if (strcmp(names[i], variant->name) == 0) {
            *out = tw_data_formats[i];
            return TW_OK;
        }
    }
    return tw_unknown_variant(variant, "data format", names, tw_data_format_count, sizeof names[0],
                              error);
}

/* Puts "job.yaml:12: data.train: " before what a format said. */
static enum tw_status add_place(const struct tw_variant *variant, struct tw_error *error) {
    const char *file = variant->where.file != NULL ? variant->where.file : "job";
    if (variant->where.line > 0)
        return tw_error_wrap(error, "%s:%d: %s", file, variant->where.line, variant->path);
    return tw_error_wrap(error, "%s: %s", file, variant->path);
}

/* From the file that the options name, or from bytes. */
static enum tw_status parse(const struct tw_data_format *format, struct tw_dataset *dataset,
                            const void *options, const struct tw_dataset *like,
                            struct tw_source *memory, struct tw_error *error) {
    struct tw_source source;
    const char *path = *(const char *const *)((const char *)options + format->file);
    dataset->samples_name = strdup(path);
    dataset->targets_name = strdup(path);
    if (dataset->samples_name == NULL || dataset->targets_name == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a data set");
    if (memory != NULL) {
        memory->path = path;
        return format->parse(dataset, options, like, memory, error);
    }
    enum tw_status status = tw_source_open(&source, path, error);
    if (status != TW_OK)
        return status;
    status = format->parse(dataset, options, like, &source, error);
    tw_source_close(&source);
    return status;
}

/* Of `memory` (NULL: of files), by a format that can. */
static enum tw_status open_from(struct tw_dataset **out, const struct tw_variant *variant,
                                const struct tw_dataset *like, struct tw_source *memory,
                                struct tw_error *error) {
    const struct tw_data_format *format = NULL;
    struct tw_error own; /* callers may pass NULL, but the message is wrapped here */
    error = error == NULL ? &own : error;
    *out = NULL;
    enum tw_status status = find(&format, variant, error);
    if (status != TW_OK)
        return status;
    struct tw_dataset *dataset = calloc(1, sizeof *dataset);
    void *options = calloc(1, format->options_size + 1);
    if (dataset == NULL || options == NULL) {
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory for a data set");
    } else {
        status = tw_options_read(variant, format->rules, format->rule_count, options, error);
        if (status == TW_OK) {
            assert(memory == NULL || format->parse != NULL);
            status = format->parse != NULL ? parse(format, dataset, options, like, memory, error)
                                           : format->read(dataset, options, error);
            if (status != TW_OK)
                add_place(variant, error);
        }
    }
    free(options);
    if (status == TW_OK)
        *out = dataset;
    else
        tw_dataset_free(dataset);
    return status;
}

enum tw_status tw_dataset_open(struct tw_dataset **out, const struct tw_variant *variant,
                               const struct tw_dataset *like, struct tw_error *error) {
    return open_from(out, variant, like, NULL, error);
}

enum tw_status tw_dataset_parse(struct tw_dataset **out, const struct tw_variant *variant,
                                const struct tw_dataset *like, const void *bytes, size_t size,
                                struct tw_error *error) {
    struct tw_source memory;
    tw_source_memory(&memory, bytes, size);
    return open_from(out, variant, like, &memory, error);
}

const struct tw_option_rule *tw_dataset_rules(const char *path, const char *name, int *count) {
    *count = 0;
    if (strcmp(path, "data.train") != 0 && strcmp(path, "data.test") != 0)
        return NULL;
    for (int i = 0; i < tw_data_format_count; i++)
        if (strcmp(tw_data_formats[i]->name, name) == 0) {
            *count = tw_data_formats[i]->rule_count;
            return tw_data_formats[i]->rules;
        }
    return NULL;
}

void tw_dataset_free(struct tw_dataset *dataset) {
    if (dataset == NULL)
        return;
    for (int i = 0; i < TW_DATASET_PARTS; i++)
        free(dataset->owned[i]);
    tw_mapping_close(&dataset->mapping);
    tw_vocabularies_free(dataset->words);
    free(dataset->place);
    free(dataset->samples_name);
    free(dataset->targets_name);
    free(dataset);
}

/* Equal but for sizes of 1. */
static bool same_shape(int a_dims, const int64_t *a, int b_dims, const int64_t *b) {
    int i = 0, j = 0;
    for (;;) {
        while (i < a_dims && a[i] == 1)
            i++;
        while (j < b_dims && b[j] == 1)
            j++;
        if (i == a_dims || j == b_dims)
            return i == a_dims && j == b_dims;
        if (a[i++] != b[j++])
            return false;
    }
}

static uint32_t row_of(const struct tw_dataset *dataset, uint32_t sample) {
    return dataset->place == NULL ? sample : dataset->place[sample];
}

static enum tw_status check_labels(const struct tw_dataset *dataset,
                                   const struct tw_data_needs *needs, struct tw_error *error) {
    for (uint32_t i = 0; i < dataset->count; i++) {
        uint32_t row = row_of(dataset, i);
        int32_t label = dataset->labels[row];
        if (label < 0 || label >= needs->classes)
            return tw_error_set(error, TW_DATA,
                                "%s: the label of sample %u (counted from 0) is %d, but the model "
                                "has %d outputs, for labels 0 to %d",
                                dataset->targets_name, row, label, needs->classes,
                                needs->classes - 1);
    }
    return TW_OK;
}

static enum tw_status check_targets(const struct tw_dataset *dataset,
                                    const struct tw_data_needs *needs, struct tw_error *error) {
    if (dataset->outputs != needs->outputs)
        return tw_error_set(
            error, TW_DATA, "%s: a target has %d number%s, but the model has %d output%s",
            dataset->targets_name, dataset->outputs, dataset->outputs == 1 ? "" : "s",
            needs->outputs, needs->outputs == 1 ? "" : "s");
    for (uint32_t i = 0; needs->parts && i < dataset->count; i++) {
        size_t row = row_of(dataset, i);
        for (int k = 0; k < dataset->outputs; k++) {
            float value = dataset->targets[row * (size_t)dataset->outputs + (size_t)k];
            if (!(value >= 0 && value <= 1))
                return tw_error_set(error, TW_DATA,
                                    "%s: the target of sample %zu (counted from 0) is %g, but %s "
                                    "takes numbers from 0 to 1",
                                    dataset->targets_name, row, (double)value, needs->loss);
        }
    }
    return TW_OK;
}

/* Samples of a model that begins with an embedding. */
static enum tw_status check_whole(const struct tw_dataset *dataset, int64_t below,
                                  struct tw_error *error) {
    const float *rows = dataset->rows;
    if (dataset->kind != TW_ROWS_FLOATS)
        return tw_error_set(error, TW_DATA,
                            "%s: its samples are bytes, which become parts of 255, but the model's "
                            "embedding takes whole numbers; give a format of numbers",
                            dataset->samples_name);
    for (int64_t i = 0; i < dataset->count; i++) {
        const int64_t row = dataset->place == NULL ? i : dataset->place[i];
        for (int64_t j = 0; j < dataset->elements; j++) {
            const double x = (double)rows[row * dataset->elements + j];
            if (x >= 0 && x < (double)below && x == floor(x))
                continue;
            return tw_error_set(error, TW_DATA,
                                "%s: element %lld of sample %lld (both counted from 0) is %g, but "
                                "the model's embedding takes whole numbers from 0 to %lld",
                                dataset->samples_name, (long long)j, (long long)row, x,
                                (long long)below - 1);
        }
    }
    return TW_OK;
}

enum tw_status tw_dataset_check(const struct tw_dataset *dataset, const struct tw_data_needs *needs,
                                struct tw_error *error) {
    char ours[256], theirs[256];
    if (!same_shape(dataset->dims, dataset->shape, needs->dims, needs->shape))
        return tw_error_set(
            error, TW_DATA, "%s: its samples have the shape %s, but model.input is %s",
            dataset->samples_name, tw_shape_text(dataset->dims, dataset->shape, ours, sizeof ours),
            tw_shape_text(needs->dims, needs->shape, theirs, sizeof theirs));
    bool sparse = dataset->kind == TW_ROWS_SPARSE;
    if (sparse != needs->sparse)
        return tw_error_set(error, TW_DATA,
                            sparse
                                ? "%s: its rows are sparse; let the model begin with sparse_dense "
                                  "in the place of dense"
                                : "%s: its rows are not sparse; let the model begin with dense in "
                                  "the place of sparse_dense",
                            dataset->samples_name);
    if (needs->below > 0) {
        enum tw_status status = check_whole(dataset, needs->below, error);
        if (status != TW_OK)
            return status;
    }
    if (dataset->outputs > 0 && !needs->values)
        return tw_error_set(error, TW_DATA,
                            "%s: its targets are real numbers, but %s takes classes; take "
                            "mean_squared_error or the like, or give classes",
                            dataset->targets_name, needs->loss);
    if (dataset->outputs > 0)
        return check_targets(dataset, needs, error);
    if (!needs->labels)
        return tw_error_set(error, TW_DATA,
                            "%s: its targets are classes, but %s with one output takes real "
                            "numbers; give the last layer an output for each class",
                            dataset->targets_name, needs->loss);
    return check_labels(dataset, needs, error);
}

/* Of `count` rows of `columns` floats; `what` they are. */
static enum tw_status check_finite(const float *floats, uint32_t count, size_t columns,
                                   bool missing, const char *name, const char *what,
                                   struct tw_error *error) {
    for (size_t i = 0; i < count * columns; i++)
        if (!isfinite(floats[i]) && !(missing && isnan(floats[i])))
            return tw_error_set(
                error, TW_DATA, "%s: %s in row %zu, column %zu (counted from 0) of the %s", name,
                isnan(floats[i]) ? "NaN" : "an infinity", i / columns, i % columns, what);
    return TW_OK;
}

enum tw_status tw_dataset_check_numbers(const struct tw_dataset *dataset, struct tw_error *error) {
    enum tw_status status = TW_OK;
    assert(dataset->place == NULL);
    if (dataset->kind == TW_ROWS_FLOATS)
        status = check_finite(dataset->rows, dataset->count, (size_t)dataset->elements,
                              dataset->missing, dataset->samples_name, "samples", error);
    if (status == TW_OK && dataset->outputs > 0)
        status = check_finite(dataset->targets, dataset->count, (size_t)dataset->outputs, false,
                              dataset->targets_name, "targets", error);
    return status;
}

/* A byte each where all of them fit, so that it does not matter how a file writes them. */
static void add_labels(struct tw_sha256 *sha, const int32_t *labels, uint32_t count) {
    bool small = true;
    for (uint32_t i = 0; i < count; i++)
        small = small && labels[i] >= 0 && labels[i] < 256;
    if (!small) {
        tw_sha256_update(sha, labels, count * sizeof *labels);
        return;
    }
    uint8_t bytes[1024];
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes[used++] = (uint8_t)labels[i];
        if (used == sizeof bytes || i + 1 == count) {
            tw_sha256_update(sha, bytes, used);
            used = 0;
        }
    }
}

static void add_rows(struct tw_sha256 *sha, const struct tw_dataset *dataset) {
    size_t elements = dataset->count * (size_t)dataset->elements;
    if (dataset->kind == TW_ROWS_SPARSE) {
        elements = dataset->first[dataset->count];
        tw_sha256_update(sha, dataset->first, (dataset->count + (size_t)1) * sizeof(uint64_t));
        tw_sha256_update(sha, dataset->index, elements * sizeof(uint32_t));
    }
    tw_sha256_update(sha, dataset->rows,
                     elements * (dataset->kind == TW_ROWS_BYTES ? 1 : sizeof(float)));
}

void tw_dataset_sha256(const struct tw_dataset *dataset, char out[TW_SHA256_HEX]) {
    uint8_t digest[TW_SHA256_BYTES];
    struct tw_sha256 sha;
    size_t count = dataset->count;
    assert(dataset->place == NULL);
    tw_sha256_init(&sha);
    add_rows(&sha, dataset);
    if (dataset->outputs == 0)
        add_labels(&sha, dataset->labels, dataset->count);
    else
        tw_sha256_update(&sha, dataset->targets, count * (size_t)dataset->outputs * sizeof(float));
    tw_sha256_final(&sha, digest);
    tw_hex(digest, sizeof digest, out);
}

enum tw_status tw_dataset_check_sha256(const struct tw_dataset *dataset, const char *expected,
                                       struct tw_error *error) {
    char found[TW_SHA256_HEX];
    if (!*expected)
        return TW_OK;
    tw_dataset_sha256(dataset, found);
    if (strcmp(found, expected) == 0)
        return TW_OK;
    return tw_error_set(error, TW_DATA,
                        "%s, %s: this is other training data than the job's: its SHA-256 is %s, "
                        "data.sha256 of the job is %s",
                        dataset->samples_name, dataset->targets_name, found, expected);
}
