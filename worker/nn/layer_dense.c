/* Fully connected: out = in W + b, with W [in, out].
 *
 * Initial weights: He et al. 2015, "Delving Deep into Rectifiers", eq. 10 (standard
 * deviation sqrt(2 / in)); Glorot and Bengio 2010, eq. 16 (uniform, +- sqrt(6 / (in +
 * out))). Biases start at zero.
 */
#include <math.h>
#include <string.h>

#include "common/tensor/clones.h"
#include "worker/nn/gemm.h"
#include "worker/nn/layer.h"

#define UNITS_MAX (1 << 24)
#define STD_DEFAULT 0.01

enum init { INIT_HE, INIT_GLOROT, INIT_NORMAL, INIT_ZEROS };
static const char *const init_names[] = {"he", "glorot", "normal", "zeros", NULL};

struct options {
    int64_t units;
    int init; /* enum init */
    double std;
};

static const struct tw_option_rule rules[] = {
    {.key = "units",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, units),
     .required = true,
     .min = 1,
     .max = UNITS_MAX,
     .text = "outputs"},
    {.key = "init",
     .type = TW_OPTION_ENUM,
     .offset = offsetof(struct options, init),
     .fallback = INIT_HE,
     .names = init_names,
     .text = "how weights start: he (normal, std sqrt(2/in)), glorot (uniform, "
             "+-sqrt(6/(in+out))), normal (std given), zeros"},
    {.key = "std",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, std),
     .fallback = STD_DEFAULT,
     .min = 0,
     .max = 1e6,
     .text = "standard deviation of init: normal"},
};

static enum tw_status shape(const struct tw_variant *variant, const void *options,
                            const struct tw_shape *in, struct tw_shape *out,
                            struct tw_error *error) {
    const struct options *dense = options;
    if (dense->init != INIT_NORMAL && dense->std != STD_DEFAULT) /* a resolved job spells it out */
        return tw_job_error(error, variant->where, variant->path,
                            "std is for init: normal, but init is %s; leave std out or say init: "
                            "normal",
                            init_names[dense->init]);
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

static struct tw_init weight_init(const struct options *options, double in, double out) {
    switch ((enum init)options->init) {
    case INIT_HE:
        return (struct tw_init){TW_INIT_NORMAL, sqrt(2.0 / in)};
    case INIT_GLOROT:
        return (struct tw_init){TW_INIT_UNIFORM, sqrt(6.0 / (in + out))};
    case INIT_NORMAL:
        return (struct tw_init){TW_INIT_NORMAL, options->std};
    case INIT_ZEROS:
        break;
    }
    return (struct tw_init){TW_INIT_CONSTANT, 0.0};
}

static int tensors(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                   struct tw_tensor *list) {
    list[0] = (struct tw_tensor){
        .name = "weight",
        .dims = 2,
        .shape = {in->elements, out->elements},
        .init = weight_init(options, (double)in->elements, (double)out->elements),
    };
    list[1] = (struct tw_tensor){.name = "bias", .dims = 1, .shape = {out->elements}};
    return 2;
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
    .forward = forward,
    .backward = backward,
};
