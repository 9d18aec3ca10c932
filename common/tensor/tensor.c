#include "common/tensor/tensor.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"

/* How much of a name a message shows: it may come from a peer. */
#define SHOWN 80

static bool name_is_legal(const char *name) {
    static const char legal[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";
    return name[0] != 0 && name[strspn(name, legal)] == 0;
}

/* The product of the dimensions, or -1 when it exceeds TW_ELEMENTS_MAX. */
static int64_t product(int dims, const int64_t *shape) {
    int64_t elements = 1;
    for (int d = 0; d < dims; d++) {
        if (shape[d] > TW_ELEMENTS_MAX / elements) {
            return -1;
        }
        elements *= shape[d];
    }
    return elements;
}

enum tw_status tw_tensor_init(struct tw_tensor *tensor, const char *name, int dims,
                              const int64_t *shape, struct tw_init init, struct tw_error *error) {
    if (strnlen(name, TW_NAME_MAX + 1) > TW_NAME_MAX) {
        return tw_error_set(error, TW_LIMIT, "tensor %.*s...: the name is longer than %d bytes",
                            SHOWN, name, TW_NAME_MAX);
    }
    if (!name_is_legal(name)) {
        return tw_error_set(error, TW_MALFORMED,
                            "tensor \"%.*s\": a name is made of letters, digits and . _ / -", SHOWN,
                            name);
    }
    if (dims < 0 || dims > TW_DIMS_MAX) {
        return tw_error_set(error, TW_LIMIT, "tensor %.*s: %d dimensions; it may have 0 to %d",
                            SHOWN, name, dims, TW_DIMS_MAX);
    }
    for (int d = 0; d < dims; d++) {
        if (shape[d] < 1) {
            return tw_error_set(error, TW_MALFORMED,
                                "tensor %.*s: dimension %d is %" PRId64 "; it must be at least 1",
                                SHOWN, name, d, shape[d]);
        }
    }
    int64_t elements = product(dims, shape);
    if (elements < 0) {
        char text[256];
        return tw_error_set(error, TW_LIMIT,
                            "tensor %.*s %s: it may have at most %" PRId64 " elements", SHOWN, name,
                            tw_shape_text(dims, shape, text, sizeof text), TW_ELEMENTS_MAX);
    }
    *tensor = (struct tw_tensor){.dims = dims, .elements = elements, .init = init};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    for (int d = 0; d < dims; d++) {
        tensor->shape[d] = shape[d];
    }
    return TW_OK;
}

/* FNV-1a. Only to skip most of the comparisons of names below. */
static uint32_t name_hash(const char *name) {
    uint32_t hash = 2166136261u;
    for (; *name != 0; name++) {
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    }
    return hash;
}

enum tw_status tw_tensor_list_check(const struct tw_tensor_list *list, struct tw_error *error) {
    if (list->count < 1) {
        return tw_error_set(error, TW_LIMIT, "the model has no tensors; it needs at least one");
    }
    if (list->count > TW_TENSORS_MAX) {
        return tw_error_set(error, TW_LIMIT, "the model has %d tensors; at most %d are possible",
                            list->count, TW_TENSORS_MAX);
    }
    uint32_t hash[TW_TENSORS_MAX];
    for (int i = 0; i < list->count; i++) {
        hash[i] = name_hash(list->tensors[i].name);
        for (int j = 0; j < i; j++) {
            if (hash[i] == hash[j] && strcmp(list->tensors[i].name, list->tensors[j].name) == 0) {
                return tw_error_set(error, TW_MALFORMED,
                                    "tensors %d and %d are both called %.*s; names must differ", j,
                                    i, SHOWN, list->tensors[i].name);
            }
        }
    }
    return TW_OK;
}

static bool same(const struct tw_tensor *a, const struct tw_tensor *b) {
    return strcmp(a->name, b->name) == 0 && a->dims == b->dims &&
           memcmp(a->shape, b->shape, (size_t)a->dims * sizeof a->shape[0]) == 0;
}

enum tw_status tw_tensor_list_compare(const struct tw_tensor_list *ours,
                                      const struct tw_tensor_list *theirs, struct tw_error *error) {
    int both = ours->count < theirs->count ? ours->count : theirs->count;
    for (int t = 0; t < both; t++) {
        const struct tw_tensor *a = &ours->tensors[t];
        const struct tw_tensor *b = &theirs->tensors[t];
        if (!same(a, b)) {
            char shape_a[256];
            char shape_b[256];
            return tw_error_set(error, TW_WRONG_MODEL,
                                "tensor %d: ours is %.*s %s, theirs is %.*s %s", t, SHOWN, a->name,
                                tw_shape_text(a->dims, a->shape, shape_a, sizeof shape_a), SHOWN,
                                b->name, tw_shape_text(b->dims, b->shape, shape_b, sizeof shape_b));
        }
    }
    if (ours->count != theirs->count) {
        bool more = ours->count > theirs->count;
        return tw_error_set(error, TW_WRONG_MODEL,
                            "ours has %d tensors, theirs has %d; the first that is missing %s is "
                            "%.*s",
                            ours->count, theirs->count, more ? "there" : "here", SHOWN,
                            (more ? ours : theirs)->tensors[both].name);
    }
    return TW_OK;
}

char *tw_shape_text(int dims, const int64_t *shape, char *out, size_t capacity) {
    if (capacity == 0) {
        return out;
    }
    size_t used = (size_t)snprintf(out, capacity, "[");
    for (int d = 0; d < dims && used < capacity; d++) {
        used += (size_t)snprintf(out + used, capacity - used, "%s%" PRId64, d > 0 ? ", " : "",
                                 shape[d]);
    }
    if (used < capacity) {
        snprintf(out + used, capacity - used, "]");
    }
    return out;
}

/* A uniform number from 24 random bits: 2u - 1 is then exact in float, and its
 * product with `scale` rounds to less than scale, so the range stays half open. */
static float uniform(float scale, uint64_t random) {
    int32_t bits = (int32_t)(random >> 40);
    return scale * ((float)(bits - (1 << 23)) * 0x1p-23f);
}

void tw_tensor_fill(const struct tw_tensor *tensor, int index, uint64_t seed, int64_t first,
                    int64_t count, float *out) {
    double scale = tensor->init.scale;
    if (tensor->start != NULL) {
        for (int64_t i = 0; i < count; i++)
            out[i] = (float)tensor->start[first + i];
        return;
    }
    struct tw_rng rng;
    tw_rng_init(&rng, seed, TW_STREAM_INIT, (uint64_t)index, 0);
    tw_rng_seek(&rng, (uint64_t)first);
    for (int64_t i = 0; i < count; i++) {
        switch (tensor->init.kind) {
        case TW_INIT_CONSTANT:
            out[i] = (float)scale;
            break;
        case TW_INIT_NORMAL:
            out[i] = (float)(scale * tw_rng_normal(&rng));
            break;
        case TW_INIT_UNIFORM:
            out[i] = uniform((float)scale, tw_rng_next(&rng));
            break;
        }
    }
}
