/* A vector for each of so many things: inputs are whole numbers from 0 to entries - 1, each of
 * which becomes its row of the table [entries, size]. A sample [n] becomes [n, size].
 *
 * A number that is none of these becomes NaN, so that the loss tells. Slopes by the inputs are 0:
 * there is nothing between two whole numbers. */
#include <math.h>
#include <string.h>

#include "worker/nn/layer.h"

#define ENTRIES_MAX (1 << 24) /* whole numbers that a float tells apart */
#define SIZE_MOST (1 << 20)

struct options {
    int64_t entries, size;
    double std;
};

static const struct tw_option_rule rules[] = {
    {.key = "entries",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, entries),
     .required = true,
     .min = 1,
     .max = ENTRIES_MAX,
     .text = "inputs are whole numbers from 0 to entries - 1"},
    {.key = "size",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, size),
     .required = true,
     .min = 1,
     .max = SIZE_MOST,
     .text = "numbers that each of them becomes"},
    {.key = "std",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, std),
     .fallback = 1,
     .min = 0,
     .max = 1e6,
     .text = "standard deviation of the numbers at first"},
};

static enum tw_status shape(const struct tw_variant *variant, const void *options,
                            const struct tw_shape *in, struct tw_shape *out,
                            struct tw_error *error) {
    const struct options *embedding = options;
    char text[256];
    int64_t size[TW_DIMS_MAX + 1];
    memcpy(size, in->size, sizeof in->size);
    size[in->dims] = embedding->size;
    if (tw_shape_set(out, in->dims + 1, size))
        return TW_OK;
    return tw_job_error(error, variant->where, variant->path,
                        "%s with %lld numbers for each element: more than %d dimensions or 2^31 - "
                        "1 elements",
                        tw_shape_text(in->dims, in->size, text, sizeof text),
                        (long long)embedding->size, TW_DIMS_MAX);
}

static int tensors(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                   struct tw_tensor *list) {
    const struct options *embedding = options;
    list[0] = (struct tw_tensor){.name = "weight",
                                 .dims = 2,
                                 .shape = {embedding->entries, embedding->size},
                                 .init = {TW_INIT_NORMAL, embedding->std}};
    return 1;
}

static int64_t below(const void *options) {
    return ((const struct options *)options)->entries;
}

/* -1: no entry. */
static int64_t entry_of(const struct options *embedding, tw_real x) {
    if (!(x >= 0 && x < (tw_real)embedding->entries))
        return -1;
    const int64_t entry = (int64_t)x;
    return entry < embedding->entries && (tw_real)entry == x ? entry : -1;
}

static void forward(const struct tw_layer_pass *pass) {
    const struct options *embedding = pass->options;
    const int64_t count = pass->rows * pass->in_shape->elements;
    tw_real *out = pass->out;
    for (int64_t i = 0; i < count; i++, out += embedding->size) {
        const int64_t entry = entry_of(embedding, pass->in[i]);
        if (entry >= 0)
            memcpy(out, pass->weights[0] + entry * embedding->size,
                   (size_t)embedding->size * sizeof *out);
        for (int64_t j = 0; entry < 0 && j < embedding->size; j++)
            out[j] = (tw_real)NAN;
    }
}

static void backward(const struct tw_layer_pass *pass) {
    const struct options *embedding = pass->options;
    const int64_t count = pass->rows * pass->in_shape->elements;
    const tw_real *slope = pass->out_gradient;
    memset(pass->gradients[0], 0, (size_t)(embedding->entries * embedding->size) * sizeof(tw_real));
    if (pass->in_gradient != NULL)
        memset(pass->in_gradient, 0, (size_t)count * sizeof(tw_real));
    for (int64_t i = 0; i < count; i++, slope += embedding->size) {
        const int64_t entry = entry_of(embedding, pass->in[i]);
        for (int64_t j = 0; entry >= 0 && j < embedding->size; j++)
            pass->gradients[0][entry * embedding->size + j] += slope[j];
    }
}

const struct tw_layer tw_layer_embedding = {
    .name = "embedding",
    .text = "whole numbers become rows of a table that is learnt",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .needs_in = true,
    .shape = shape,
    .below = below,
    .tensors = tensors,
    .forward = forward,
    .backward = backward,
};
