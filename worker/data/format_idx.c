/* IDX, the format of MNIST and its relatives: two zero bytes, a type, the number of
 * dimensions, the size of each in 4 bytes (big-endian), then the elements, row-major.
 * Only type 8, unsigned bytes. Plain or gzipped; zlib sees which.
 * Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/arith.h"
#include "worker/data/dataset.h"
#include "worker/data/source.h"

#define TYPE_UINT8 0x08
#define FIRST_BYTES (1u << 20) /* of memory, before any element was read */

struct options {
    const char *images, *labels;
};

static const struct tw_option_rule rules[] = {
    {.key = "images",
     .type = TW_OPTION_PATH,
     .offset = offsetof(struct options, images),
     .required = true,
     .text = "IDX file of the samples, unsigned bytes, plain or gzipped"},
    {.key = "labels",
     .type = TW_OPTION_PATH,
     .offset = offsetof(struct options, labels),
     .required = true,
     .text = "IDX file of the labels, unsigned bytes, plain or gzipped"},
};

/* One file while it is read. */
struct idx {
    const char *path;
    struct tw_source source;
    int dims;
    int64_t shape[TW_DIMS_MAX];
    int64_t elements;
    uint8_t *bytes; /* [elements], from malloc */
};

static enum tw_status read_header(struct idx *idx, struct tw_error *error) {
    uint8_t head[4], sizes[4 * TW_DIMS_MAX];
    char text[256];
    size_t got;
    enum tw_status status = tw_source_read(&idx->source, head, sizeof head, &got, error);
    if (status != TW_OK)
        return status;
    if (got < sizeof head)
        return tw_error_set(error, TW_DATA,
                            "%s: truncated: %zu bytes, but an IDX header has 4 or more", idx->path,
                            got);
    if (head[0] != 0 || head[1] != 0)
        return tw_error_set(error, TW_DATA,
                            "%s: not an IDX file: it starts with %02x %02x %02x %02x, expected "
                            "00 00 08 and the number of dimensions",
                            idx->path, head[0], head[1], head[2], head[3]);
    if (head[2] != TYPE_UINT8)
        return tw_error_set(error, TW_DATA,
                            "%s: elements of IDX type 0x%02x, expected 0x08 (unsigned bytes)",
                            idx->path, head[2]);
    idx->dims = head[3];
    if (idx->dims < 1 || idx->dims > TW_DIMS_MAX)
        return tw_error_set(error, TW_DATA, "%s: %d dimensions, expected 1 to %d", idx->path,
                            idx->dims, TW_DIMS_MAX);
    status = tw_source_read(&idx->source, sizes, 4 * (size_t)idx->dims, &got, error);
    if (status != TW_OK)
        return status;
    if (got < 4 * (size_t)idx->dims)
        return tw_error_set(error, TW_DATA,
                            "%s: truncated: the header of %d dimensions has %d bytes, found %zu",
                            idx->path, idx->dims, 4 + 4 * idx->dims, 4 + got);
    bool fits = true;
    idx->elements = 1;
    for (int i = 0; i < idx->dims; i++) {
        const uint8_t *at = sizes + 4 * i;
        idx->shape[i] =
            (int64_t)((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]);
        fits = fits && idx->shape[i] > 0 &&
               tw_i64_multiply(idx->elements, idx->shape[i], &idx->elements) &&
               idx->elements <= TW_ELEMENTS_MAX;
    }
    if (!fits)
        return tw_error_set(error, TW_DATA,
                            "%s: the shape %s is empty or has more than 2^40 elements", idx->path,
                            tw_shape_text(idx->dims, idx->shape, text, sizeof text));
    return TW_OK;
}

/* Whether so many bytes behind the header are what the shape needs. */
static enum tw_status check_size(const struct idx *idx, size_t size, struct tw_error *error) {
    size_t wanted = (size_t)idx->elements;
    char text[256];
    (void)tw_shape_text(idx->dims, idx->shape, text, sizeof text);
    if (size < wanted)
        return tw_error_set(error, TW_DATA,
                            "%s: truncated: the shape %s needs %zu bytes, found %zu", idx->path,
                            text, wanted, size);
    if (size > wanted)
        return tw_error_set(error, TW_DATA,
                            "%s: bytes follow after the %zu that the shape %s needs", idx->path,
                            wanted, text);
    return TW_OK;
}

/* Memory grows with what was really read: a header that lies costs nothing. */
static enum tw_status read_elements(struct idx *idx, struct tw_error *error) {
    size_t wanted = (size_t)idx->elements, room = wanted < FIRST_BYTES ? wanted : FIRST_BYTES;
    size_t size = 0, got;
    for (;;) {
        uint8_t *bytes = realloc(idx->bytes, room);
        if (bytes == NULL)
            return tw_error_set(error, TW_NO_MEMORY, "%s: out of memory for %zu MiB", idx->path,
                                room >> 20);
        idx->bytes = bytes;
        enum tw_status status =
            tw_source_read(&idx->source, bytes + size, room - size, &got, error);
        if (status != TW_OK)
            return status;
        size += got;
        if (size == wanted || size < room)
            break;
        room = room < wanted / 2 ? 2 * room : wanted;
    }
    return check_size(idx, size, error);
}

/* Nothing may follow. To look for it also makes zlib check the sum at the end. */
static enum tw_status check_end(struct idx *idx, struct tw_error *error) {
    uint8_t more;
    size_t got;
    enum tw_status status = tw_source_read(&idx->source, &more, 1, &got, error);
    return status == TW_OK ? check_size(idx, (size_t)idx->elements + got, error) : status;
}

/* The elements stay in the file. `mapping` is the caller's, also on failure. */
static enum tw_status map_elements(struct idx *idx, struct tw_mapping *mapping,
                                   struct tw_error *error) {
    size_t head = 4 + 4 * (size_t)idx->dims;
    enum tw_status status = tw_mapping_open(mapping, idx->path, error);
    if (status != TW_OK)
        return status;
    if (mapping->bytes < head) /* it has become shorter */
        return tw_error_set(error, TW_DATA, "%s: truncated", idx->path);
    idx->bytes = (uint8_t *)mapping->at + head;
    return check_size(idx, mapping->bytes - head, error);
}

/* `idx` keeps no open file. Its bytes are from malloc and the caller's, also on failure; or, with a
 * `mapping` and a file that is not gzipped, those of the file. */
static enum tw_status read_file(struct idx *idx, const char *path, struct tw_mapping *mapping,
                                struct tw_error *error) {
    *idx = (struct idx){.path = path};
    enum tw_status status = tw_source_open(&idx->source, path, error);
    if (status == TW_OK)
        status = read_header(idx, error);
    if (status == TW_OK && mapping != NULL && tw_source_is_plain(&idx->source)) {
        status = map_elements(idx, mapping, error);
    } else {
        if (status == TW_OK)
            status = read_elements(idx, error);
        if (status == TW_OK)
            status = check_end(idx, error);
    }
    tw_source_close(&idx->source);
    return status;
}

static enum tw_status read_samples(struct tw_dataset *dataset, const char *path,
                                   struct tw_error *error) {
    struct idx idx;
    enum tw_status status = read_file(&idx, path, &dataset->mapping, error);
    dataset->rows = idx.bytes;
    if (dataset->mapping.at == NULL)
        dataset->owned[0] = idx.bytes;
    if (status != TW_OK)
        return status;
    if (dataset->mapping.at != NULL)
        tw_dataset_mapped(dataset);
    dataset->kind = TW_ROWS_BYTES;
    dataset->count = (uint32_t)idx.shape[0]; /* of 4 bytes in the file */
    dataset->dims = idx.dims > 1 ? idx.dims - 1 : 1;
    dataset->shape[0] = 1; /* one dimension: samples of a single number */
    for (int i = 1; i < idx.dims; i++)
        dataset->shape[i - 1] = idx.shape[i];
    dataset->elements = idx.elements / idx.shape[0];
    return TW_OK;
}

static enum tw_status check_labels(const struct idx *idx, const struct tw_dataset *dataset,
                                   struct tw_error *error) {
    char text[256];
    if (idx->dims != 1)
        return tw_error_set(error, TW_DATA, "%s: labels have one dimension, but its shape is %s",
                            idx->path, tw_shape_text(idx->dims, idx->shape, text, sizeof text));
    if (idx->shape[0] != dataset->count)
        return tw_error_set(error, TW_DATA, "%s: %lld labels, but %s has %u samples", idx->path,
                            (long long)idx->shape[0], dataset->samples_name, dataset->count);
    return TW_OK;
}

static enum tw_status read_labels(struct tw_dataset *dataset, const char *path,
                                  struct tw_error *error) {
    struct idx idx;
    enum tw_status status = read_file(&idx, path, NULL, error);
    if (status == TW_OK)
        status = check_labels(&idx, dataset, error);
    int32_t *labels = status == TW_OK ? malloc(dataset->count * sizeof *labels) : NULL;
    if (status == TW_OK && labels == NULL)
        status = tw_error_set(error, TW_NO_MEMORY, "%s: out of memory for the labels", path);
    for (uint32_t i = 0; labels != NULL && i < dataset->count; i++)
        labels[i] = idx.bytes[i];
    dataset->labels = dataset->owned[1] = labels;
    free(idx.bytes);
    return status;
}

static enum tw_status read_both(struct tw_dataset *dataset, const void *options,
                                struct tw_error *error) {
    const struct options *paths = options;
    dataset->samples_name = strdup(paths->images);
    dataset->targets_name = strdup(paths->labels);
    if (dataset->samples_name == NULL || dataset->targets_name == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a data set");
    enum tw_status status = read_samples(dataset, paths->images, error);
    return status == TW_OK ? read_labels(dataset, paths->labels, error) : status;
}

const struct tw_data_format tw_data_format_idx = {
    .name = "idx",
    .text = "images and labels as MNIST has them: IDX files of unsigned bytes, plain or gzipped",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .read = read_both,
};
