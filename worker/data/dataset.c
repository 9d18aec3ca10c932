#include "worker/data/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "common/tensor/clones.h"

/* One line each, in the order of --help. */
#define FORMATS(X) X(idx)

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

enum tw_status tw_dataset_open(struct tw_dataset **out, const struct tw_variant *variant,
                               struct tw_error *error) {
    const struct tw_data_format *format;
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
        if (status == TW_OK && (status = format->read(dataset, options, error)) != TW_OK)
            add_place(variant, error);
    }
    free(options);
    if (status == TW_OK)
        *out = dataset;
    else
        tw_dataset_free(dataset);
    return status;
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
    free(dataset->samples);
    free(dataset->labels);
    free(dataset->samples_name);
    free(dataset->labels_name);
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

enum tw_status tw_dataset_check(const struct tw_dataset *dataset, int dims, const int64_t *shape,
                                int classes, struct tw_error *error) {
    char ours[256], theirs[256];
    if (!same_shape(dataset->dims, dataset->shape, dims, shape))
        return tw_error_set(
            error, TW_DATA, "%s: its samples have the shape %s, but model.input is %s",
            dataset->samples_name, tw_shape_text(dataset->dims, dataset->shape, ours, sizeof ours),
            tw_shape_text(dims, shape, theirs, sizeof theirs));
    for (uint32_t i = 0; i < dataset->count; i++)
        if (dataset->labels[i] >= classes)
            return tw_error_set(error, TW_DATA,
                                "%s: the label of sample %u (counted from 0) is %d, but the model "
                                "has %d outputs, for labels 0 to %d",
                                dataset->labels_name, i, dataset->labels[i], classes, classes - 1);
    return TW_OK;
}

void tw_dataset_sha256(const struct tw_dataset *dataset, char out[TW_SHA256_HEX]) {
    uint8_t digest[TW_SHA256_BYTES];
    struct tw_sha256 sha;
    tw_sha256_init(&sha);
    tw_sha256_update(&sha, dataset->samples, dataset->count * (size_t)dataset->elements);
    tw_sha256_update(&sha, dataset->labels, dataset->count);
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
                        dataset->samples_name, dataset->labels_name, found, expected);
}

/* byte / 255, rounded once: the bits that a division gives, at a third of its time.
 * 1/255 in two parts: byte * HIGH is exact, and of byte * LOW so little is lost that the
 * sum is rounded as the quotient would be (the tests compare all 256). */
#define HIGH 0x1.01p-8f
#define LOW 0x1.010102p-24f

TW_CLONES static void scale(const uint8_t *restrict bytes, int64_t count, float *restrict out) {
    for (int64_t i = 0; i < count; i++) {
        float value = (float)bytes[i];
        out[i] = value * HIGH + value * LOW;
    }
}

/* Samples lie anywhere: their lines are asked for while the one before is scaled. */
static void prefetch(const uint8_t *bytes, int64_t count) {
    for (int64_t i = 0; i < count; i += 64)
        __builtin_prefetch(bytes + i);
}

void tw_dataset_gather(const struct tw_dataset *dataset, const uint32_t *positions, int rows,
                       float *x, int32_t *labels) {
    int64_t elements = dataset->elements;
    for (int i = 0; i < rows; i++) {
        if (i + 1 < rows)
            prefetch(dataset->samples + positions[i + 1] * elements, elements);
        scale(dataset->samples + positions[i] * elements, elements, x + i * elements);
        labels[i] = dataset->labels[positions[i]];
    }
}
