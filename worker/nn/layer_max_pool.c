/* The largest of each window: images [C, H, W] become [C, H', W'] (window.h). What is outside of
 * the image never wins; of equal ones the first does; a NaN wins over all. */
#include <math.h>
#include <string.h>

#include "common/tensor/clones.h"
#include "worker/nn/window.h"

/* Where in its plane the largest was. */
static int64_t kept(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                    int rows) {
    return rows * out->elements * (int64_t)sizeof(int32_t);
}

/* A row of the same, where nobody asks for it. */
static int64_t scratch(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    return out->size[2] * (int64_t)sizeof(int32_t);
}

/* A row of outputs: every element of the windows in its turn, for all windows of the row. */
static inline __attribute__((always_inline)) void
take_row(const struct tw_pool *pool, int64_t y, const tw_real *restrict plane,
         tw_real *restrict out, int32_t *restrict place, const int64_t stride) {
    for (int64_t x = 0; x < pool->out_width; x++) {
        out[x] = -INFINITY;
        place[x] = -1;
    }
    for (int64_t i = 0; i < pool->kernel; i++) {
        const int64_t row = y * stride + i - pool->padding;
        if (row < 0 || row >= pool->height)
            continue;
        for (int64_t j = 0; j < pool->kernel; j++) {
            /* In 32 bits, like the places: else a vector holds half as many. */
            const struct tw_span span = tw_pool_span(pool, j);
            const int32_t first = (int32_t)(row * pool->width + j - pool->padding);
            const int32_t end = (int32_t)span.end, step = (int32_t)stride;
            for (int32_t x = (int32_t)span.first; x < end; x++) {
                const int32_t here = first + x * step, before = place[x];
                const tw_real value = plane[here], best = out[x];
                const int32_t better = (value > best) | (value != value) | (before < 0);
                out[x] = better ? value : best;
                place[x] = better ? here : before;
            }
        }
    }
}

TW_CLONES static void forward(const struct tw_layer_pass *pass) {
    const struct tw_pool pool = tw_pool_of(pass);
    int32_t *place = pass->training ? (int32_t *)(void *)pass->kept : pass->scratch;
    for (int64_t plane = 0; plane < pass->rows * pool.channels; plane++) {
        const tw_real *in = pass->in + plane * pool.height * pool.width;
        for (int64_t y = 0; y < pool.out_height; y++) {
            const int64_t row = (plane * pool.out_height + y) * pool.out_width;
            int32_t *here = pass->training ? place + row : place;
            if (pool.stride == 2)
                take_row(&pool, y, in, pass->out + row, here, 2);
            else
                take_row(&pool, y, in, pass->out + row, here, pool.stride);
        }
    }
}

static void backward(const struct tw_layer_pass *pass) {
    const int64_t in = pass->in_shape->size[1] * pass->in_shape->size[2];
    const int64_t out = pass->out_shape->size[1] * pass->out_shape->size[2];
    const int64_t planes = pass->rows * pass->in_shape->size[0];
    const int32_t *place = (const int32_t *)(void *)pass->kept;
    if (pass->in_gradient == NULL)
        return;
    memset(pass->in_gradient, 0, (size_t)(planes * in) * sizeof(tw_real));
    for (int64_t plane = 0; plane < planes; plane++)
        for (int64_t i = 0; i < out; i++)
            pass->in_gradient[plane * in + place[plane * out + i]] +=
                pass->out_gradient[plane * out + i];
}

const struct tw_layer tw_layer_max_pool = {
    .name = "max_pool",
    .text = "the largest of each window of an image",
    .rules = tw_pool_rules,
    .rule_count = TW_POOL_RULES,
    .options_size = sizeof(struct tw_window),
    .shape = tw_pool_shape,
    .kept = kept,
    .scratch = scratch,
    .flop = tw_pool_flop,
    .forward = forward,
    .backward = backward,
};
