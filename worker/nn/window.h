/* Windows that slide over images: what convolution and pooling share.
 *
 * An image is [channels, height, width]. The window has the size kernel x kernel, moves by
 * `stride`, and may begin up to `padding` outside of the image, on each side. What is left
 * over at the right and below, less than a stride, no window covers.
 */
#ifndef TW_NN_WINDOW_H
#define TW_NN_WINDOW_H

#include "worker/nn/layer.h"

#define TW_KERNEL_MAX 1024

struct tw_window {
    int64_t kernel, stride, padding;
};

/* The shape of what windows give, with so many channels. TW_JOB, naming shapes: the input is no
 * image, or no window fits; the padding is as large as the kernel. */
enum tw_status tw_window_shape(const struct tw_variant *variant, const struct tw_window *window,
                               int64_t channels, const struct tw_shape *in, struct tw_shape *out,
                               struct tw_error *error);

/* The rule of one member of a window that lies at `place` in the options of a layer. */
#define TW_WINDOW_RULE(place, member, ...)                                                         \
    {                                                                                              \
        .key = #member, .type = TW_OPTION_INTEGER,                                                 \
        .offset = (place) + offsetof(struct tw_window, member), .max = TW_KERNEL_MAX, __VA_ARGS__  \
    }

/* ---- pooling: a window per channel; its stride is its kernel unless given ---- */

enum { TW_POOL_RULES = 3 };
extern const struct tw_option_rule tw_pool_rules[TW_POOL_RULES];

/* shape() and flop() of a layer that pools; its options are a struct tw_window, whose stride may be
 * 0. */
enum tw_status tw_pool_shape(const struct tw_variant *variant, const void *options,
                             const struct tw_shape *in, struct tw_shape *out,
                             struct tw_error *error);
double tw_pool_flop(const void *options, const struct tw_shape *in, const struct tw_shape *out);

struct tw_pool {
    int64_t kernel, stride, padding, channels, height, width, out_height, out_width;
};

struct tw_pool tw_pool_of(const struct tw_layer_pass *pass);

/* The windows of a row whose column `column` lies in the image: [first, end). */
struct tw_span {
    int64_t first, end;
};

static inline struct tw_span tw_pool_span(const struct tw_pool *pool, int64_t column) {
    if (pool->padding == 0) /* every window lies inside; divisions would be most of the time */
        return (struct tw_span){0, pool->out_width};
    const int64_t outside = pool->padding - column;                /* of window 0 */
    const int64_t last = pool->width - 1 + pool->padding - column; /* x * stride <= last */
    const int64_t end = last < 0 ? 0 : last / pool->stride + 1;
    return (struct tw_span){
        .first = outside <= 0 ? 0 : (outside + pool->stride - 1) / pool->stride,
        .end = end < pool->out_width ? end : pool->out_width,
    };
}

#endif
