/* Data sets: samples and labels in memory, as the bytes of their files.
 *
 * A format is a const table in one file; adding one is a new file and one line in
 * dataset.c. Every format ends in the same struct: n samples of uint8, one uint8
 * label each; they become floats only when a batch is gathered. A data set never
 * changes once it is open and may be read by several threads.
 *
 * A file may be missing, cut short, corrupt or made to hurt: the answer is TW_DATA
 * with the file, what was expected and what was found, and memory never grows by
 * what a header claims, only by bytes that were really there.
 */
#ifndef TW_DATA_DATASET_H
#define TW_DATA_DATASET_H

#include "common/base/digest.h"
#include "common/job/options.h"
#include "common/tensor/tensor.h"

struct tw_dataset {
    uint32_t count; /* samples, >= 1 */
    int dims;       /* shape of one sample, without the count */
    int64_t shape[TW_DIMS_MAX];
    int64_t elements;   /* of one sample */
    uint8_t *samples;   /* [count, elements] */
    uint8_t *labels;    /* [count] */
    char *samples_name; /* the file, for messages */
    char *labels_name;
};

struct tw_data_format {
    const char *name;
    const char *text; /* one line for --help and docs */
    const struct tw_option_rule *rules;
    int rule_count;
    size_t options_size;
    /* Fills a zeroed data set; what it allocated until it failed is freed by the
     * caller. */
    enum tw_status (*read)(struct tw_dataset *dataset, const void *options, struct tw_error *error);
};

/* All formats, in the order of --help. */
extern const struct tw_data_format *const tw_data_formats[];
extern const int tw_data_format_count;

/* Reads the data that a job's data.train or data.test names. TW_JOB: unknown format or
 * option; TW_DATA: a wrong file (the message starts with the place in the job);
 * TW_NO_MEMORY. *out is the caller's. */
enum tw_status tw_dataset_open(struct tw_dataset **out, const struct tw_variant *variant,
                               struct tw_error *error);

/* The rules of a format, for struct tw_rule_book: `path` is "data.train" or "data.test"; NULL
 * for other paths and unknown names. */
const struct tw_option_rule *tw_dataset_rules(const char *path, const char *name, int *count);

/* NULL is fine. */
void tw_dataset_free(struct tw_dataset *dataset);

/* Whether a model can learn from it: samples have the shape `shape` (sizes of 1 do not
 * count: [28, 28] is [1, 28, 28]) and labels are below `classes`. TW_DATA with the
 * file, both shapes, or the first wrong label with its row. */
enum tw_status tw_dataset_check(const struct tw_dataset *dataset, int dims, const int64_t *shape,
                                int classes, struct tw_error *error);

/* What identifies a data set: the SHA-256, in hexadecimal, of all samples and then all
 * labels, a byte each, whatever files they come from. */
void tw_dataset_sha256(const struct tw_dataset *dataset, char out[TW_SHA256_HEX]);

/* Whether it is the data set that the job wants (data.sha256; "": any). TW_DATA with both
 * files, what was expected and what was found. */
enum tw_status tw_dataset_check_sha256(const struct tw_dataset *dataset, const char *expected,
                                       struct tw_error *error);

/* Samples at `positions` [rows], each below count, as rows of x [rows, elements]:
 * byte / 255, rounded once; and their labels [rows]. */
void tw_dataset_gather(const struct tw_dataset *dataset, const uint32_t *positions, int rows,
                       float *x, int32_t *labels);

#endif
