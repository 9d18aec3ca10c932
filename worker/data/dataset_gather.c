/* From the rows of a data set to the batch of a net. */
#include <string.h>

#include "common/tensor/clones.h"
#include "worker/data/prepare.h"

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

/* Samples lie anywhere: their lines are asked for while the one before is copied. */
static void prefetch(const char *bytes, size_t size) {
    for (size_t i = 0; i < size; i += 64)
        __builtin_prefetch(bytes + i);
}

static size_t row_at(const struct tw_dataset *dataset, uint32_t position) {
    return dataset->place == NULL ? position : dataset->place[position];
}

static size_t row_bytes(const struct tw_dataset *dataset) {
    return (size_t)dataset->elements * (dataset->kind == TW_ROWS_BYTES ? 1 : sizeof(float));
}

void tw_dataset_row(const struct tw_dataset *dataset, uint32_t sample, float *x) {
    size_t size = row_bytes(dataset);
    const char *row = (const char *)dataset->rows + row_at(dataset, sample) * size;
    if (dataset->kind == TW_ROWS_BYTES)
        scale((const uint8_t *)row, dataset->elements, x);
    else
        memcpy(x, row, size);
}

static void gather_rows(const struct tw_dataset *dataset, const uint32_t *positions, int rows,
                        float *x) {
    size_t size = row_bytes(dataset);
    for (int i = 0; i < rows; i++, x += dataset->elements) {
        if (i + 1 < rows)
            prefetch((const char *)dataset->rows + row_at(dataset, positions[i + 1]) * size, size);
        tw_dataset_row(dataset, positions[i], x);
        if (dataset->preparation != NULL)
            tw_prepare_row(dataset->preparation, x);
    }
}

/* Sparse rows are not copied. */
static void point_at_rows(const struct tw_dataset *dataset, const uint32_t *positions, int rows,
                          struct tw_sparse_row *out) {
    const float *values = dataset->rows;
    for (int i = 0; i < rows; i++) {
        size_t row = row_at(dataset, positions[i]);
        uint64_t first = dataset->first[row];
        out[i] = (struct tw_sparse_row){.index = dataset->index + first,
                                        .value = values + first,
                                        .count = (uint32_t)(dataset->first[row + 1] - first)};
    }
}

void tw_dataset_mapped(struct tw_dataset *dataset) {
    tw_mapping_at_random(&dataset->mapping);
    dataset->streams = tw_mapping_is_large(&dataset->mapping);
}

void tw_dataset_ahead(const struct tw_dataset *dataset, const uint32_t *positions, int rows) {
    size_t size = row_bytes(dataset);
    if (dataset->mapping.at == NULL)
        return;
    for (int i = 0; i < rows; i++)
        tw_mapping_ahead(&dataset->mapping,
                         (const char *)dataset->rows + row_at(dataset, positions[i]) * size, size);
}

void tw_dataset_gather(const struct tw_dataset *dataset, const uint32_t *positions, int rows,
                       struct tw_batch *out) {
    size_t outputs = (size_t)dataset->outputs;
    if (dataset->kind == TW_ROWS_SPARSE)
        point_at_rows(dataset, positions, rows, out->sparse);
    else
        gather_rows(dataset, positions, rows, out->x);
    out->valued = outputs > 0;
    for (int i = 0; i < rows; i++) {
        size_t row = row_at(dataset, positions[i]);
        if (out->valued)
            memcpy(out->targets + (size_t)i * outputs, dataset->targets + row * outputs,
                   outputs * sizeof(float));
        else
            out->labels[i] = dataset->labels[row];
    }
}
