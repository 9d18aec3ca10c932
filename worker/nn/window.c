#include "worker/nn/window.h"

enum tw_status tw_window_shape(const struct tw_variant *variant, const struct tw_window *window,
                               int64_t channels, const struct tw_shape *in, struct tw_shape *out,
                               struct tw_error *error) {
    char text[256];
    int64_t size[3] = {channels};
    tw_shape_text(in->dims, in->size, text, sizeof text);
    if (in->dims != 3)
        return tw_job_error(error, variant->where, variant->path,
                            "%s needs images, [channels, height, width], but gets %s",
                            variant->name, text);
    if (window->padding >= window->kernel)
        return tw_job_error(error, variant->where, variant->path,
                            "a padding of %lld for a kernel of %lld x %lld; less than the kernel "
                            "would be right",
                            (long long)window->padding, (long long)window->kernel,
                            (long long)window->kernel);
    for (int i = 1; i < 3; i++) {
        int64_t room = in->size[i] + 2 * window->padding - window->kernel;
        if (room < 0)
            return tw_job_error(error, variant->where, variant->path,
                                "a kernel of [%lld, %lld] with padding %lld does not fit into %s",
                                (long long)window->kernel, (long long)window->kernel,
                                (long long)window->padding, text);
        size[i] = room / window->stride + 1;
    }
    if (!tw_shape_set(out, 3, size))
        return tw_job_error(error, variant->where, variant->path,
                            "%lld channels of %s are more than 2^31 - 1 outputs",
                            (long long)channels, text);
    return TW_OK;
}

/* ---- pooling ---- */

const struct tw_option_rule tw_pool_rules[TW_POOL_RULES] = {
    TW_WINDOW_RULE(0, kernel, .required = true, .min = 1, .text = "height and width"),
    TW_WINDOW_RULE(0, stride, .fallback = 0, .min = 0,
                   .text = "places between windows; 0: as many as the kernel has"),
    TW_WINDOW_RULE(0, padding, .fallback = 0, .min = 0,
                   .text = "how far windows reach out of the image"),
};

enum tw_status tw_pool_shape(const struct tw_variant *variant, const void *options,
                             const struct tw_shape *in, struct tw_shape *out,
                             struct tw_error *error) {
    struct tw_window whole = *(const struct tw_window *)options;
    if (whole.stride == 0)
        whole.stride = whole.kernel;
    return tw_window_shape(variant, &whole, in->size[0], in, out, error);
}

double tw_pool_flop(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    const double kernel = (double)((const struct tw_window *)options)->kernel;
    return kernel * kernel * (double)out->elements;
}

struct tw_pool tw_pool_of(const struct tw_layer_pass *pass) {
    const struct tw_window *window = pass->options;
    const struct tw_shape *in = pass->in_shape, *out = pass->out_shape;
    return (struct tw_pool){
        .kernel = window->kernel,
        .stride = window->stride == 0 ? window->kernel : window->stride,
        .padding = window->padding,
        .channels = in->size[0],
        .height = in->size[1],
        .width = in->size[2],
        .out_height = out->size[1],
        .out_width = out->size[2],
    };
}
