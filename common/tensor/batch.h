/* The samples of one step, on their way from data to a net: memory of the net's, which data
 * (worker/data) fills and the net (worker/nn) reads. Neither room knows the other; both know
 * this struct, and what a model asks of its data.
 */
#ifndef TW_TENSOR_BATCH_H
#define TW_TENSOR_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/tensor.h"

/* The type of the numbers in a net: float; double in a second build for the tests
 * (worker/nn/real.h), which no data goes into. */
#ifdef TW_NN_DOUBLE
typedef double tw_real;
#else
typedef float tw_real;
#endif

/* A row of which most elements are 0. */
struct tw_sparse_row {
    const uint32_t *index; /* [count], upwards */
    const float *value;    /* [count] */
    uint32_t count;
};

/* Rows of a slot's step that are computed together: first, first + every, first + 2 every, ... So
 * many they are. A step that is computed at once is the part {0, 1, all rows}. */
struct tw_part {
    uint32_t first, every, rows;
};

static inline struct tw_part tw_whole_step(uint32_t rows) {
    return (struct tw_part){.first = 0, .every = 1, .rows = rows};
}

/* Which row of the step a row of the part is. */
static inline uint32_t tw_part_row(const struct tw_part *part, uint32_t row) {
    return part->first + row * part->every;
}

struct tw_batch {
    struct tw_sparse_row *sparse; /* [rows], of data that does not move; NULL: */
    tw_real *x;                   /* [rows, elements of a sample] */
    int32_t *labels;              /* [rows], below the number of classes, unless: */
    tw_real *targets;             /* [rows, outputs] */
    bool valued;                  /* the targets count, else the labels; whoever fills says which */
};

/* What a model asks of its data (tw_model_needs). */
struct tw_data_needs {
    int dims; /* shape of one sample */
    int64_t shape[TW_DIMS_MAX];
    int outputs;      /* numbers that a target has */
    int classes;      /* labels are below this */
    bool labels;      /* the loss takes labels */
    bool values;      /* the loss takes real targets */
    bool sparse;      /* it takes sparse rows, and no others */
    int64_t below;    /* inputs are whole numbers from 0 to one less; 0: any numbers */
    bool parts;       /* real targets must be from 0 to 1 */
    const char *loss; /* its name, for messages */
};

#endif
