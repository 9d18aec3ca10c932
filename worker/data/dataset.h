/* A data set: samples, and what a model should answer to each, in memory.
 *
 * A format is a const table in one file; adding one is a new file and one line in
 * dataset.c. Every format ends in the same struct: rows as they stand in their files (bytes
 * or floats), and for each either a class number or real targets. They become what a net
 * takes only when a batch is gathered (dataset_gather.c): bytes are scaled, and what was prepared
 * from the training set (prepare.h) is done to them. A data set never changes once it is open
 * and may be read by several threads.
 *
 * A file may be missing, cut short, corrupt or made to hurt: the answer is TW_DATA
 * with the file, what was expected and what was found, and memory never grows by
 * what a header claims, only by bytes that were really there.
 *
 * All data of a job is opened by datasets.h.
 */
#ifndef TW_DATA_DATASET_H
#define TW_DATA_DATASET_H

#include "common/base/digest.h"
#include "common/job/options.h"
#include "common/tensor/batch.h"
#include "worker/data/mapping.h"

enum tw_row_kind {
    TW_ROWS_BYTES,  /* uint8_t: byte / 255, as images have it */
    TW_ROWS_FLOATS, /* float: as they are */
    TW_ROWS_SPARSE, /* float, with its index: all others are 0 */
};

#define TW_DATASET_PARTS 4

struct tw_preparation;
struct tw_source;
struct tw_vocabularies;

struct tw_dataset {
    uint32_t count; /* samples, >= 1 */
    int dims;       /* shape of one sample, without the count */
    int64_t shape[TW_DIMS_MAX];
    int64_t elements; /* of one sample */
    enum tw_row_kind kind;
    const void *rows;      /* [rows of the files, elements] */
    const uint64_t *first; /* of sparse rows, [rows + 1]: where each begins in `rows` and in: */
    const uint32_t *index; /* the number of each element that is given, below `elements` */
    const int32_t *labels; /* [rows of the files]; NULL: they have */
    const float *targets;  /* [rows of the files, outputs] */
    int outputs;           /* numbers of a target; 0: labels */
    bool missing;          /* floats may be NaN: not given, to be filled in (prepare.h) */
    const struct tw_preparation *preparation; /* done to samples when gathered; borrowed; NULL: */
    uint32_t *place;               /* [count]: the row of each sample; NULL: they are in order */
    char *samples_name;            /* the file, for messages */
    char *targets_name;            /* that of labels or targets */
    struct tw_vocabularies *words; /* of columns of words, owned; NULL: there are none */
    struct tw_mapping mapping;     /* of the file that the rows stay in; zeros: none */
    bool streams;                  /* it is larger than memory: rows are asked for ahead */
    void *owned[TW_DATASET_PARTS]; /* from malloc, freed with it; NULL: nothing */
};

struct tw_data_format {
    const char *name;
    const char *text; /* one line for --help and docs */
    const struct tw_option_rule *rules;
    int rule_count;
    size_t options_size;
    /* Fills a zeroed data set; what it owned until it failed is freed by the caller. */
    enum tw_status (*read)(struct tw_dataset *dataset, const void *options, struct tw_error *error);
    /* Or, of a format whose data is one file that is read from its start to its end: where its
     * options have the path (const char *), and the same from its bytes, which the fuzzer gives,
     * too. `like`: as for tw_dataset_open(). */
    size_t file;
    enum tw_status (*parse)(struct tw_dataset *dataset, const void *options,
                            const struct tw_dataset *like, struct tw_source *source,
                            struct tw_error *error);
};

/* All formats, in the order of --help. */
extern const struct tw_data_format *const tw_data_formats[];
extern const int tw_data_format_count;

/* Reads the data that a job's data.train or data.test names. `like` is the training data, whose
 * words number those of this one; NULL: this is the training data. TW_JOB: unknown format or
 * option; TW_DATA: a wrong file (the message starts with the place in the job);
 * TW_NO_MEMORY. *out is the caller's. */
enum tw_status tw_dataset_open(struct tw_dataset **out, const struct tw_variant *variant,
                               const struct tw_dataset *like, struct tw_error *error);

/* The same with bytes in the place of the file, for formats that have only one (`parse`). */
enum tw_status tw_dataset_parse(struct tw_dataset **out, const struct tw_variant *variant,
                                const struct tw_dataset *like, const void *bytes, size_t size,
                                struct tw_error *error);

/* The rules of a format, for struct tw_rule_book: `path` is "data.train" or "data.test"; NULL
 * for other paths and unknown names. */
const struct tw_option_rule *tw_dataset_rules(const char *path, const char *name, int *count);

/* NULL is fine. */
void tw_dataset_free(struct tw_dataset *dataset);

/* Whether a model can learn from it: samples have its shape (sizes of 1 do not count: [28, 28] is
 * [1, 28, 28]), the loss takes what they have, labels are below the number of classes, targets
 * have a number for each output. TW_DATA with the file, both shapes, or the first wrong one with
 * its row. */
enum tw_status tw_dataset_check(const struct tw_dataset *dataset, const struct tw_data_needs *needs,
                                struct tw_error *error);

/* What identifies a data set: the SHA-256, in hexadecimal, of all samples and then all labels or
 * targets, as they stand in the files: bytes, floats as 4 bytes (little-endian), labels as a byte
 * each where all of them are below 256, else as 4. Of sparse rows there comes first where each
 * begins (`first`, 8 bytes each), then the index of each element (4 bytes). Not of a part
 * (tw_dataset_split).
 */
void tw_dataset_sha256(const struct tw_dataset *dataset, char out[TW_SHA256_HEX]);

/* Whether it is the data set that the job wants (data.sha256; "": any). TW_DATA with both
 * files, what was expected and what was found. */
enum tw_status tw_dataset_check_sha256(const struct tw_dataset *dataset, const char *expected,
                                       struct tw_error *error);

/* A dense sample below count into x[elements], not prepared: bytes are divided by 255 and rounded
 * once. */
void tw_dataset_row(const struct tw_dataset *dataset, uint32_t sample, float *x);

/* Samples at `positions` [rows], each below count, prepared, and their labels or targets, into a
 * batch of at least so many rows. It fits the net (tw_dataset_check). */
void tw_dataset_gather(const struct tw_dataset *dataset, const uint32_t *positions, int rows,
                       struct tw_batch *out);

/* These samples will be gathered soon: where rows stay in a file that memory does not hold, reading
 * them begins. Changes no result. */
void tw_dataset_ahead(const struct tw_dataset *dataset, const uint32_t *positions, int rows);

/* That no float is NaN or infinite: TW_DATA with the file, row and column of the first that is.
 * What the reader itself says is missing is none. */
enum tw_status tw_dataset_check_numbers(const struct tw_dataset *dataset, struct tw_error *error);

/* Of readers: the rows stay where they are, in the mapping. */
void tw_dataset_mapped(struct tw_dataset *dataset);

/* Divides a data set that is whole: it keeps its samples but `count` of them, which *out gets
 * (NULL: they are only left out); both in the order of the files. Which ones says a permutation of
 * (seed, TW_STREAM_SPLIT): the last `count` of it. *out borrows from `dataset`, which outlives
 * it. TW_JOB when nothing would be left, TW_NO_MEMORY. */
enum tw_status tw_dataset_split(struct tw_dataset *dataset, uint32_t count, uint64_t seed,
                                struct tw_dataset **out, struct tw_error *error);

#endif
