/* Fully connected: out = in W + b, with W [in, out]; and the same for sparse rows, whose cost does
 * not depend on how many features there are. */
#include <string.h>

#include "common/tensor/clones.h"
#include "worker/nn/gemm.h"
#include "worker/nn/layer.h"
#include "worker/nn/weight_init.h"

#define UNITS_MAX (1 << 24)

struct options {
    int64_t units;
    struct tw_weight_init init;
};

static const struct tw_option_rule rules[] = {
    {.key = "units",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, units),
     .required = true,
     .min = 1,
     .max = UNITS_MAX,
     .text = "outputs"},
    TW_WEIGHT_INIT_RULES(options),
};

static enum tw_status shape(const struct tw_variant *variant, const void *options,
                            const struct tw_shape *in, struct tw_shape *out,
                            struct tw_error *error) {
    const struct options *dense = options;
    enum tw_status status = tw_weight_init_check(variant, &dense->init, error);
    if (status != TW_OK)
        return status;
    if (in->dims != 1) {
        char text[256];
        return tw_job_error(error, variant->where, variant->path,
                            "dense needs inputs of one dimension, [n], but gets %s; put flatten "
                            "before it",
                            tw_shape_text(in->dims, in->size, text, sizeof text));
    }
    *out = (struct tw_shape){.dims = 1, .size = {dense->units}, .elements = dense->units};
    return TW_OK;
}

static int tensors(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                   struct tw_tensor *list) {
    const struct tw_weight_init *init = &((const struct options *)options)->init;
    list[0] = (struct tw_tensor){
        .name = "weight",
        .dims = 2,
        .shape = {in->elements, out->elements},
        .init = tw_weight_init_of(init, (double)in->elements, (double)out->elements),
    };
    list[1] = (struct tw_tensor){
        .name = "bias", .dims = 1, .shape = {out->elements}, .init = tw_bias_init_of(init)};
    return 2;
}

static double flop(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    return 2.0 * (double)in->elements * (double)out->elements;
}

/* The product is added to the biases: the pass that writes them replaces the one in
 * which BLAS would clear the output. */
static void forward(const struct tw_layer_pass *pass) {
    int in = (int)pass->in_shape->elements, out = (int)pass->out_shape->elements;
    for (int row = 0; row < pass->rows; row++)
        memcpy(pass->out + (size_t)row * out, pass->weights[1], (size_t)out * sizeof(tw_real));
    tw_gemm(false, false, pass->rows, out, in, pass->in, pass->weights[0], true, pass->out);
}

/* Sums of columns, each in row order. */
TW_CLONES static void sum_rows(const tw_real *restrict values, int rows, int columns,
                               tw_real *restrict sums) {
    memset(sums, 0, (size_t)columns * sizeof *sums);
    for (int row = 0; row < rows; row++) {
        const tw_real *restrict from = values + (size_t)row * columns;
        for (int column = 0; column < columns; column++)
            sums[column] += from[column];
    }
}

static void backward(const struct tw_layer_pass *pass) {
    int in = (int)pass->in_shape->elements, out = (int)pass->out_shape->elements;
    tw_gemm(true, false, in, out, pass->rows, pass->in, pass->out_gradient, false,
            pass->gradients[0]);
    sum_rows(pass->out_gradient, pass->rows, out, pass->gradients[1]);
    if (pass->in_gradient != NULL)
        tw_gemm(false, true, pass->rows, in, out, pass->out_gradient, pass->weights[0], false,
                pass->in_gradient);
}

const struct tw_layer tw_layer_dense = {
    .name = "dense",
    .text = "fully connected: x W + b",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .needs_in = true,
    .shape = shape,
    .tensors = tensors,
    .flop = flop,
    .forward = forward,
    .backward = backward,
};

/* ---- sparse rows ---- */

/* to += factor from, over `count`. */
static inline void add_scaled(tw_real *restrict to, const tw_real *restrict from, tw_real factor,
                              size_t count) {
    for (size_t i = 0; i < count; i++)
        to[i] += factor * from[i];
}

static void sparse_forward(const struct tw_layer_pass *pass) {
    size_t out = (size_t)pass->out_shape->elements;
    for (int row = 0; row < pass->rows; row++) {
        const struct tw_sparse_row *x = &pass->sparse[row];
        tw_real *y = pass->out + (size_t)row * out;
        memcpy(y, pass->weights[1], out * sizeof *y);
        for (uint32_t i = 0; i < x->count; i++)
            add_scaled(y, pass->weights[0] + x->index[i] * out, (tw_real)x->value[i], out);
    }
}

/* The rows whose elements are in the gradient: it is 0 elsewhere, and never swept as a whole. */
static int64_t sparse_kept(const void *options, const struct tw_shape *in,
                           const struct tw_shape *out, int rows) {
    return rows * (int64_t)sizeof(struct tw_sparse_row);
}

static void clear(const struct tw_layer_pass *pass) {
    const struct tw_sparse_row *last = (const struct tw_sparse_row *)pass->kept;
    size_t out = (size_t)pass->out_shape->elements;
    if (pass->changed) {
        memset(pass->gradients[0], 0, (size_t)pass->in_shape->elements * out * sizeof(tw_real));
        return;
    }
    for (int row = 0; row < pass->rows; row++)
        for (uint32_t i = 0; i < last[row].count; i++)
            memset(pass->gradients[0] + last[row].index[i] * out, 0, out * sizeof(tw_real));
}

static void sparse_backward(const struct tw_layer_pass *pass) {
    size_t out = (size_t)pass->out_shape->elements;
    clear(pass);
    for (int row = 0; row < pass->rows; row++) {
        const struct tw_sparse_row *x = &pass->sparse[row];
        const tw_real *slope = pass->out_gradient + (size_t)row * out;
        for (uint32_t i = 0; i < x->count; i++)
            add_scaled(pass->gradients[0] + x->index[i] * out, slope, (tw_real)x->value[i], out);
    }
    memcpy(pass->kept, pass->sparse, (size_t)pass->rows * sizeof *pass->sparse);
    sum_rows(pass->out_gradient, pass->rows, (int)out, pass->gradients[1]);
}

/* What one output of one sample costs nobody knows before the data is there. */
const struct tw_layer tw_layer_sparse_dense = {
    .name = "sparse_dense",
    .text = "dense for sparse rows (libsvm), as the first layer: costs what is not 0",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .sparse = true,
    .shape = shape,
    .tensors = tensors,
    .kept = sparse_kept,
    .forward = sparse_forward,
    .backward = sparse_backward,
};
