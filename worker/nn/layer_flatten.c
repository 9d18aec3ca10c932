/* The same numbers in one dimension: what stands before a dense layer. */
#include "worker/nn/layer.h"

static enum tw_status shape(const struct tw_variant *variant, const void *options,
                            const struct tw_shape *in, struct tw_shape *out,
                            struct tw_error *error) {
    *out = (struct tw_shape){.dims = 1, .size = {in->elements}, .elements = in->elements};
    return TW_OK;
}

const struct tw_layer tw_layer_flatten = {
    .name = "flatten",
    .text = "all dimensions of a sample become one",
    .in_place = true,
    .view = true,
    .shape = shape,
};
