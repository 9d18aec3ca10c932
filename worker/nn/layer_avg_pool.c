/* The mean of each window: images [C, H, W] become [C, H', W'] (window.h). Zeros of the padding
 * count: a mean is always of K x K numbers. */
#include <string.h>

#include "common/tensor/clones.h"
#include "worker/nn/window.h"

/* Calls `what` for each element of each window of a plane that lies in the image: the output
 * `o` and the input `i` that belong to each other. */
#define EACH_PAIR(pool, what)                                                                      \
    for (int64_t y = 0; y < (pool).out_height; y++)                                                \
        for (int64_t row = 0; row < (pool).kernel; row++) {                                        \
            const int64_t line = y * (pool).stride + row - (pool).padding;                         \
            for (int64_t column = 0; column < (pool).kernel; column++) {                           \
                const struct tw_span span = tw_pool_span(&(pool), column);                         \
                if (line < 0 || line >= (pool).height)                                             \
                    continue;                                                                      \
                for (int64_t x = span.first; x < span.end; x++) {                                  \
                    const int64_t o = y * (pool).out_width + x;                                    \
                    const int64_t i =                                                              \
                        line * (pool).width + x * (pool).stride + column - (pool).padding;         \
                    what;                                                                          \
                }                                                                                  \
            }                                                                                      \
        }

TW_CLONES static void forward(const struct tw_layer_pass *pass) {
    const struct tw_pool pool = tw_pool_of(pass);
    const int64_t planes = pass->rows * pool.channels,
                  count = planes * pool.out_height * pool.out_width;
    const tw_real area = (tw_real)(pool.kernel * pool.kernel);
    memset(pass->out, 0, (size_t)count * sizeof(tw_real));
    for (int64_t plane = 0; plane < planes; plane++) {
        const tw_real *in = pass->in + plane * pool.height * pool.width;
        tw_real *out = pass->out + plane * pool.out_height * pool.out_width;
        EACH_PAIR(pool, out[o] += in[i])
    }
    for (int64_t i = 0; i < count; i++)
        pass->out[i] /= area;
}

TW_CLONES static void backward(const struct tw_layer_pass *pass) {
    const struct tw_pool pool = tw_pool_of(pass);
    const int64_t planes = pass->rows * pool.channels, count = planes * pool.height * pool.width;
    const tw_real area = (tw_real)(pool.kernel * pool.kernel);
    if (pass->in_gradient == NULL)
        return;
    memset(pass->in_gradient, 0, (size_t)count * sizeof(tw_real));
    for (int64_t plane = 0; plane < planes; plane++) {
        const tw_real *out = pass->out_gradient + plane * pool.out_height * pool.out_width;
        tw_real *in = pass->in_gradient + plane * pool.height * pool.width;
        EACH_PAIR(pool, in[i] += out[o] / area)
    }
}

const struct tw_layer tw_layer_avg_pool = {
    .name = "avg_pool",
    .text = "the mean of each window of an image",
    .rules = tw_pool_rules,
    .rule_count = TW_POOL_RULES,
    .options_size = sizeof(struct tw_window),
    .shape = tw_pool_shape,
    .flop = tw_pool_flop,
    .forward = forward,
    .backward = backward,
};
