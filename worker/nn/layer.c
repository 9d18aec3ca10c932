#include "worker/nn/layer.h"

#include <string.h>

#include "common/base/arith.h"

/* One line each, in the order of --help. */
#define LAYERS(X)                                                                                  \
    X(dense)                                                                                       \
    X(sparse_dense)                                                                                \
    X(conv2d)                                                                                      \
    X(max_pool)                                                                                    \
    X(avg_pool)                                                                                    \
    X(relu)                                                                                        \
    X(leaky_relu)                                                                                  \
    X(sigmoid)                                                                                     \
    X(tanh)                                                                                        \
    X(softmax)                                                                                     \
    X(maxout)                                                                                      \
    X(dropout)                                                                                     \
    X(flatten)                                                                                     \
    X(batch_norm)                                                                                  \
    X(embedding)                                                                                   \
    X(skip)                                                                                        \
    X(add)

#define X(name) extern const struct tw_layer tw_layer_##name;
LAYERS(X)
#undef X

const struct tw_layer *const tw_layers[] = {
#define X(name) &tw_layer_##name,
    LAYERS(X)
#undef X
};
const int tw_layer_count = sizeof tw_layers / sizeof tw_layers[0];

enum tw_status tw_layer_find(const struct tw_layer **out, const struct tw_variant *variant,
                             struct tw_error *error) {
    const char *names[sizeof tw_layers / sizeof tw_layers[0]];
    for (int i = 0; i < tw_layer_count; i++) {
        names[i] = tw_layers[i]->name;
        if (strcmp(names[i], variant->name) == 0) {
            *out = tw_layers[i];
            return TW_OK;
        }
    }
    return tw_unknown_variant(variant, "layer", names, tw_layer_count, sizeof names[0], error);
}

enum tw_status tw_layer_same_shape(const struct tw_variant *variant, const void *options,
                                   const struct tw_shape *in, struct tw_shape *out,
                                   struct tw_error *error) {
    *out = *in;
    return TW_OK;
}

bool tw_shape_set(struct tw_shape *shape, int dims, const int64_t *size) {
    if (dims < 1 || dims > TW_DIMS_MAX)
        return false;
    *shape = (struct tw_shape){.dims = dims, .elements = 1};
    for (int i = 0; i < dims; i++) {
        shape->size[i] = size[i];
        if (size[i] < 1 || !tw_i64_multiply(shape->elements, size[i], &shape->elements) ||
            shape->elements > INT32_MAX)
            return false;
    }
    return true;
}
