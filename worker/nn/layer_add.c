/* The end of a residual block: what went into the `skip` that belongs to it is added to what
 * came through the layers between them (He et al. 2016, "Deep Residual Learning for Image
 * Recognition", eq. 1).
 *
 * Where the block has made images smaller or given them more channels, the way past it has no
 * weights either (option A of section 3.3 there): every S-th place of every S-th row is taken,
 * and the channels that are missing are zeros. */
#include <stdio.h>
#include <string.h>

#include "common/tensor/clones.h"
#include "worker/nn/layer.h"

/* The smallest step that makes of `from` places `to`, as a window of 1 does; 0: there is none. */
static int64_t step_of(int64_t from, int64_t to) {
    const int64_t step = (from - 1) / to + 1;
    return (from - 1) / step + 1 == to ? step : 0;
}

static bool is_same(const struct tw_shape *a, const struct tw_shape *b) {
    return a->dims == b->dims && memcmp(a->size, b->size, (size_t)a->dims * sizeof *a->size) == 0;
}

static enum tw_status meet(const struct tw_variant *variant, const struct tw_shape *in,
                           const struct tw_shape *aside, struct tw_error *error) {
    char ours[256], theirs[256];
    if (is_same(in, aside))
        return TW_OK;
    if (in->dims == 3 && aside->dims == 3 && aside->size[0] <= in->size[0] &&
        step_of(aside->size[1], in->size[1]) != 0 &&
        step_of(aside->size[1], in->size[1]) == step_of(aside->size[2], in->size[2]))
        return TW_OK;
    return tw_job_error(error, variant->where, variant->path,
                        "what went into its skip is %s, but here it is %s; they must be the same, "
                        "or images that became smaller by a stride or have more channels now",
                        tw_shape_text(aside->dims, aside->size, theirs, sizeof theirs),
                        tw_shape_text(in->dims, in->size, ours, sizeof ours));
}

/* to[i] = a[i] + b[i * step]. */
TW_CLONES static void add_spread(const tw_real *a, const tw_real *b, int64_t step, int64_t count,
                                 tw_real *to) {
    TW_INDEPENDENT
    for (int64_t i = 0; i < count; i++)
        to[i] = a[i] + b[i * step];
}

/* Rows of an image that have a partner: both start, the places of each, and the step. */
struct match {
    int64_t step, width;
    int64_t in_row, aside_row; /* elements of a row */
};

static struct match match_of(const struct tw_layer_pass *pass) {
    const struct tw_shape *in = pass->in_shape, *aside = pass->aside_shape;
    return (struct match){.step = step_of(aside->size[1], in->size[1]),
                          .width = in->size[2],
                          .in_row = in->size[2],
                          .aside_row = aside->size[2]};
}

static void forward(const struct tw_layer_pass *pass) {
    const struct tw_shape *in = pass->in_shape, *aside = pass->aside_shape;
    const int64_t count = pass->rows * in->elements;
    if (is_same(in, aside)) {
        add_spread(pass->in, pass->aside, 1, count, pass->out);
        return;
    }
    const struct match match = match_of(pass);
    if (pass->out != pass->in)
        memcpy(pass->out, pass->in, (size_t)count * sizeof *pass->out);
    for (int64_t row = 0; row < pass->rows; row++)
        for (int64_t c = 0; c < aside->size[0]; c++)
            for (int64_t y = 0; y < in->size[1]; y++) {
                tw_real *to = pass->out + row * in->elements + (c * in->size[1] + y) * match.in_row;
                add_spread(to,
                           pass->aside + row * aside->elements +
                               (c * aside->size[1] + y * match.step) * match.aside_row,
                           match.step, match.width, to);
            }
}

static void take_aside(const struct tw_layer_pass *pass) {
    const struct tw_shape *in = pass->in_shape, *aside = pass->aside_shape;
    const struct match match = match_of(pass);
    memset(pass->aside_gradient, 0,
           (size_t)(pass->rows * aside->elements) * sizeof *pass->aside_gradient);
    for (int64_t row = 0; row < pass->rows; row++)
        for (int64_t c = 0; c < aside->size[0]; c++)
            for (int64_t y = 0; y < in->size[1]; y++) {
                const tw_real *from =
                    pass->out_gradient + row * in->elements + (c * in->size[1] + y) * match.in_row;
                tw_real *to = pass->aside_gradient + row * aside->elements +
                              (c * aside->size[1] + y * match.step) * match.aside_row;
                for (int64_t x = 0; x < match.width; x++)
                    to[x * match.step] = from[x];
            }
}

static void backward(const struct tw_layer_pass *pass) {
    const size_t bytes = (size_t)(pass->rows * pass->in_shape->elements) * sizeof(tw_real);
    if (pass->aside_gradient != NULL && is_same(pass->in_shape, pass->aside_shape))
        memcpy(pass->aside_gradient, pass->out_gradient, bytes);
    else if (pass->aside_gradient != NULL)
        take_aside(pass);
    if (pass->in_gradient != NULL && pass->in_gradient != pass->out_gradient)
        memcpy(pass->in_gradient, pass->out_gradient, bytes);
}

const struct tw_layer tw_layer_add = {
    .name = "add",
    .text = "adds what went into the skip that belongs to it: the end of a residual block",
    .in_place = true,
    .role = TW_LAYER_CLOSES,
    .shape = tw_layer_same_shape,
    .meet = meet,
    .forward = forward,
    .backward = backward,
};
