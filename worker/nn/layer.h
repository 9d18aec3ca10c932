/* Layers: what a model is built of. Each is a const table in one file; adding
 * one is a new file and one line in layer.c.
 *
 * A layer is a description and a few pure functions. It owns no memory and no
 * weights: a model (model.h) asks it for shapes and tensors, a net (net.h) hands
 * it the buffers of one call. Its table also feeds the check of the job file, the
 * resolved job and --help.
 *
 * Sums over the rows of a batch have one order, which the number of rows decides, and
 * nothing depends on where the buffers lie or on other threads: the same inputs give
 * the same bits (docs/determinism.md).
 */
#ifndef TW_NN_LAYER_H
#define TW_NN_LAYER_H

#include "common/job/options.h"
#include "common/tensor/tensor.h"
#include "worker/nn/real.h"

/* Tensors that one layer may have. */
#define TW_LAYER_TENSORS_MAX 4

/* Shape of one sample, without the batch. */
struct tw_shape {
    int dims; /* 1 to TW_DIMS_MAX */
    int64_t size[TW_DIMS_MAX];
    int64_t elements; /* their product, 1 to INT32_MAX */
};

/* Where the random numbers of a call come from: value `first` + i of each row's
 * `per_row` belongs to element i of the layer's input (common/base/rng.h). The rows are a part
 * of the slot's step, so what is drawn for one does not depend on how the step is taken apart. */
struct tw_dice {
    uint64_t seed, slot, step;
    struct tw_part part;
    int64_t first, per_row;
};

/* Of layers that pass something by the layers between them (layer_skip.c). */
enum tw_layer_role {
    TW_LAYER_PLAIN,
    TW_LAYER_OPENS,  /* what goes in here ... */
    TW_LAYER_CLOSES, /* ... is read here, too */
};

/* One call of forward or backward. A matrix is row-major, a row is a sample. */
struct tw_layer_pass {
    const void *options; /* as tw_options_read() filled them */
    int rows;            /* >= 1 */
    bool training;       /* else the outputs are for scoring; backward is not called then */
    const struct tw_shape *in_shape, *out_shape;
    const tw_real *const *weights; /* [tensors of the layer] */
    tw_real *const *gradients;     /* [tensors]; backward writes sums over the rows; of a tensor
                                    * that is a statistic forward does, in training */
    const struct tw_sparse_row *sparse; /* [rows], of a layer for these, instead of `in` */
    bool changed;                       /* of backward: gradients hold what it has not left there */
    const tw_real *in;                  /* [rows, in]; backward: NULL unless needs_in */
    tw_real *out;                       /* [rows, out]; may be `in` when in_place */
    const tw_real *out_gradient;        /* [rows, out]; backward */
    tw_real *in_gradient;               /* [rows, in]; backward; NULL: nobody needs it. May be
                                    * out_gradient when in_place */
    uint8_t *kept;                      /* kept() bytes, from forward to backward; training only */
    void *scratch;              /* scratch() bytes, at a multiple of 64, for this call only */
    const struct tw_dice *dice; /* of layers that draw; training only */
    /* Of a layer that closes: what went into the one that opens, and its shape; and what backward
     * leaves for that one, and finds there as it. */
    const struct tw_shape *aside_shape;
    const tw_real *aside;    /* [rows, aside] */
    tw_real *aside_gradient; /* [rows, aside]; NULL: nobody needs it */
};

struct tw_layer {
    const char *name;
    const char *text; /* one line for --help and docs */
    const struct tw_option_rule *rules;
    int rule_count;
    size_t options_size;
    bool in_place;  /* may write its output over its input */
    bool view;      /* output = input, under another shape; forward is NULL then */
    bool needs_in;  /* backward reads `in` */
    bool needs_out; /* backward reads `out` */
    bool sparse;    /* takes sparse rows: the first layer only */
    bool draws;     /* forward of training takes a random number per input */
    bool unitwise;  /* its tensors have a weight for each unit, which meets no other */
    enum tw_layer_role role;
    /* Output shape, after the checks of the layer's own. TW_JOB with a message that
     * starts with the place in the job and names the shapes. */
    enum tw_status (*shape)(const struct tw_variant *variant, const void *options,
                            const struct tw_shape *in, struct tw_shape *out,
                            struct tw_error *error);
    /* Of a layer that closes: whether these two shapes go together; TW_JOB, naming both. */
    enum tw_status (*meet)(const struct tw_variant *variant, const struct tw_shape *in,
                           const struct tw_shape *aside, struct tw_error *error);
    /* Inputs are whole numbers from 0 to one less than this; NULL: any numbers. */
    int64_t (*below)(const void *options);
    /* The fewest rows with which training is possible; NULL: 1. */
    int (*least_rows)(const void *options, const struct tw_shape *in);
    /* Describes its tensors, names given as "weight", "bias"; `tensors` has room for
     * TW_LAYER_TENSORS_MAX. Returns how many; NULL when it has none. */
    int (*tensors)(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                   struct tw_tensor *tensors);
    /* Bytes of `kept`, and of `scratch`. NULL: none. */
    int64_t (*kept)(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                    int rows);
    int64_t (*scratch)(const void *options, const struct tw_shape *in, const struct tw_shape *out);
    /* Additions and multiplications of forward for one sample. NULL: one for each output, none
     * for a view. */
    double (*flop)(const void *options, const struct tw_shape *in, const struct tw_shape *out);
    void (*forward)(const struct tw_layer_pass *pass);
    void (*backward)(const struct tw_layer_pass *pass);
};

/* All layers, in the order of --help. */
extern const struct tw_layer *const tw_layers[];
extern const int tw_layer_count;

/* Finds the layer that `variant` names, or says TW_JOB with the known ones. */
enum tw_status tw_layer_find(const struct tw_layer **out, const struct tw_variant *variant,
                             struct tw_error *error);

/* shape() of a layer whose outputs have the shape of its inputs. */
enum tw_status tw_layer_same_shape(const struct tw_variant *variant, const void *options,
                                   const struct tw_shape *in, struct tw_shape *out,
                                   struct tw_error *error);

/* Fills a shape. False when dims or sizes are out of range, or the product is
 * over INT32_MAX (BLAS counts in 32 bits). */
bool tw_shape_set(struct tw_shape *shape, int dims, const int64_t *size);

#endif
