/* The largest of each `pieces` neighbours of the first dimension: [n pieces, ...] becomes
 * [n, ...]. Behind a dense layer of n pieces units these are n maxout units (Goodfellow et
 * al. 2013, "Maxout Networks", section 2), behind a convolution n channels. Of equal ones
 * the first wins; a NaN wins over all. */
#include <math.h>
#include <string.h>

#include "worker/nn/layer.h"

#define PIECES_MAX 256 /* their number fits in a byte */

struct options {
    int64_t pieces;
};

static const struct tw_option_rule rules[] = {
    {.key = "pieces",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, pieces),
     .fallback = 2,
     .min = 2,
     .max = PIECES_MAX,
     .text = "units of which one output takes the largest"},
};

static enum tw_status shape(const struct tw_variant *variant, const void *options,
                            const struct tw_shape *in, struct tw_shape *out,
                            struct tw_error *error) {
    char text[256];
    int64_t pieces = ((const struct options *)options)->pieces, size[TW_DIMS_MAX];
    if (in->size[0] % pieces != 0)
        return tw_job_error(error, variant->where, variant->path,
                            "maxout of %lld pieces needs a multiple of %lld in the first "
                            "dimension, but gets %s",
                            (long long)pieces, (long long)pieces,
                            tw_shape_text(in->dims, in->size, text, sizeof text));
    memcpy(size, in->size, sizeof size);
    size[0] /= pieces;
    return tw_shape_set(out, in->dims, size) ? TW_OK
                                             : tw_error_set(error, TW_INTERNAL, "maxout: no shape");
}

/* Elements of one piece: those of all dimensions but the first. */
static int64_t plane_of(const struct tw_layer_pass *pass) {
    return pass->in_shape->elements / pass->in_shape->size[0];
}

static void forward(const struct tw_layer_pass *pass) {
    const int64_t pieces = ((const struct options *)pass->options)->pieces;
    const int64_t plane = plane_of(pass), count = pass->rows * pass->out_shape->elements;
    for (int64_t i = 0; i < count; i++) {
        const tw_real *in = pass->in + i / plane * plane * pieces + i % plane;
        tw_real largest = in[0];
        uint8_t which = 0;
        for (int64_t p = 1; p < pieces; p++) {
            tw_real x = in[p * plane];
            if (x > largest || isnan(x)) {
                largest = x;
                which = (uint8_t)p;
            }
        }
        pass->out[i] = largest;
        if (pass->training)
            pass->kept[i] = which;
    }
}

static void backward(const struct tw_layer_pass *pass) {
    const int64_t pieces = ((const struct options *)pass->options)->pieces;
    const int64_t plane = plane_of(pass), count = pass->rows * pass->out_shape->elements;
    if (pass->in_gradient == NULL)
        return;
    for (int64_t i = 0; i < count; i++)
        for (int64_t p = 0; p < pieces; p++)
            pass->in_gradient[i / plane * plane * pieces + p * plane + i % plane] =
                p == pass->kept[i] ? pass->out_gradient[i] : 0;
}

static int64_t kept(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                    int rows) {
    return rows * out->elements;
}

static double flop(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    return (double)in->elements;
}

const struct tw_layer tw_layer_maxout = {
    .name = "maxout",
    .text = "the largest of each `pieces` neighbours of the first dimension",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .shape = shape,
    .kept = kept,
    .flop = flop,
    .forward = forward,
    .backward = backward,
};
