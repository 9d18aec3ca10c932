/* Arrays of NumPy: one file of samples, one of targets. Rows of float32 or of bytes in C order
 * stay in their file, which is mapped; all others are converted in memory. */
#include <stdlib.h>
#include <string.h>

#include "worker/data/dataset.h"
#include "worker/data/mapping.h"
#include "worker/data/npy.h"

struct options {
    const char *samples, *targets;
};

static const struct tw_option_rule rules[] = {
    {.key = "samples",
     .type = TW_OPTION_PATH,
     .offset = offsetof(struct options, samples),
     .required = true,
     .text = "array [samples, ...] of numbers; bytes (uint8) are divided by 255, as images"},
    {.key = "targets",
     .type = TW_OPTION_PATH,
     .offset = offsetof(struct options, targets),
     .required = true,
     .text = "array [samples] of whole numbers: classes; or floats, [samples] or [samples, "
             "outputs]: real targets"},
};

/* The array stays in the file when it can. */
static enum tw_status read_samples(struct tw_dataset *dataset, const char *path,
                                   struct tw_error *error) {
    struct tw_npy npy;
    enum tw_status status = tw_mapping_open(&dataset->mapping, path, error);
    if (status == TW_OK)
        status = tw_npy_parse(&npy, path, dataset->mapping.at, dataset->mapping.bytes, error);
    if (status != TW_OK)
        return status;
    if (npy.shape[0] > UINT32_MAX)
        return tw_error_set(error, TW_DATA, "%s: more than 2^32 - 1 samples", path);
    dataset->count = (uint32_t)npy.shape[0];
    dataset->dims = npy.dims > 1 ? npy.dims - 1 : 1;
    dataset->shape[0] = 1; /* one dimension: samples of a single number */
    for (int i = 1; i < npy.dims; i++)
        dataset->shape[i - 1] = npy.shape[i];
    dataset->elements = npy.elements / npy.shape[0];
    dataset->kind = npy.kind == 'u' && npy.size == 1 && tw_npy_is_plain(&npy, 'u', 1)
                        ? TW_ROWS_BYTES
                        : TW_ROWS_FLOATS;
    if (dataset->kind == TW_ROWS_BYTES ||
        (tw_npy_is_plain(&npy, 'f', 4) && (uintptr_t)npy.bytes % sizeof(float) == 0)) {
        dataset->rows = npy.bytes;
        tw_dataset_mapped(dataset);
        return TW_OK;
    }
    float *rows = reallocarray(NULL, (size_t)npy.elements, sizeof *rows);
    dataset->rows = dataset->owned[0] = rows;
    if (rows == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "%s: out of memory", path);
    tw_npy_floats(&npy, rows);
    if (npy.kind == 'u' && npy.size == 1) /* as their C order would be */
        for (int64_t i = 0; i < npy.elements; i++)
            rows[i] /= 255.0f;
    tw_mapping_close(&dataset->mapping);
    return TW_OK;
}

static enum tw_status check_targets(const struct tw_npy *npy, const struct tw_dataset *dataset,
                                    const char *path, struct tw_error *error) {
    char text[256];
    int most = npy->kind == 'f' ? 2 : 1;
    if (npy->dims > most || (npy->dims == 2 && npy->shape[1] > INT32_MAX))
        return tw_error_set(error, TW_DATA, "%s: the shape %s; %s", path,
                            tw_shape_text(npy->dims, npy->shape, text, sizeof text),
                            npy->kind == 'f' ? "real targets are [samples] or [samples, outputs]"
                                             : "classes are [samples]");
    if (npy->shape[0] != dataset->count)
        return tw_error_set(error, TW_DATA, "%s: %lld targets, but %s has %u samples", path,
                            (long long)npy->shape[0], dataset->samples_name, dataset->count);
    return TW_OK;
}

static enum tw_status convert_targets(const struct tw_npy *npy, struct tw_dataset *dataset,
                                      const char *path, struct tw_error *error) {
    int64_t at;
    void *memory = reallocarray(NULL, (size_t)npy->elements, sizeof(float));
    dataset->owned[1] = memory;
    if (memory == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "%s: out of memory", path);
    if (npy->kind == 'f') {
        dataset->outputs = npy->dims == 2 ? (int)npy->shape[1] : 1;
        dataset->targets = memory;
        tw_npy_floats(npy, memory);
        return TW_OK;
    }
    dataset->labels = memory;
    if (tw_npy_labels(npy, memory, &at))
        return TW_OK;
    return tw_error_set(error, TW_DATA,
                        "%s: the class of sample %lld (counted from 0) is not from 0 to 2^31 - 1",
                        path, (long long)at);
}

static enum tw_status read_targets(struct tw_dataset *dataset, const char *path,
                                   struct tw_error *error) {
    struct tw_mapping mapping;
    struct tw_npy npy;
    enum tw_status status = tw_mapping_open(&mapping, path, error);
    if (status == TW_OK)
        status = tw_npy_parse(&npy, path, mapping.at, mapping.bytes, error);
    if (status == TW_OK)
        status = check_targets(&npy, dataset, path, error);
    if (status == TW_OK)
        status = convert_targets(&npy, dataset, path, error);
    tw_mapping_close(&mapping);
    return status;
}

static enum tw_status read_both(struct tw_dataset *dataset, const void *options,
                                struct tw_error *error) {
    const struct options *paths = options;
    dataset->samples_name = strdup(paths->samples);
    dataset->targets_name = strdup(paths->targets);
    if (dataset->samples_name == NULL || dataset->targets_name == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a data set");
    enum tw_status status = read_samples(dataset, paths->samples, error);
    return status == TW_OK ? read_targets(dataset, paths->targets, error) : status;
}

const struct tw_data_format tw_data_format_npy = {
    .name = "npy",
    .text = "arrays as numpy.save() writes them; may be larger than memory",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .read = read_both,
};
