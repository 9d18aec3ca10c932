/* Tensor descriptors: what the weights of a model are called, their shapes, and
 * how they start.
 *
 * A tensor list is made by the model (worker/nn) or read from the job
 * (model.tensors), and handed to server and worker alike; it never changes
 * during a run. Tensors are float32, row-major, and numbered in list order;
 * that number (their index) keys their initial random numbers.
 */
#ifndef TW_TENSOR_TENSOR_H
#define TW_TENSOR_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/base/status.h"

/* How the elements of a tensor start. */
enum tw_init_kind {
    TW_INIT_CONSTANT, /* every element = scale (0 gives zeros) */
    TW_INIT_NORMAL,   /* normal, mean 0, standard deviation = scale */
    TW_INIT_UNIFORM,  /* uniform in [-scale, scale) */
};

struct tw_init {
    enum tw_init_kind kind;
    double scale;
};

/* What an update does with a tensor. */
enum tw_tensor_update {
    TW_TENSOR_TRAINED, /* the optimizer's rule, by its gradient */
    TW_TENSOR_RUNNING, /* a statistic of the examples. What pushes bring is its sum over theirs; it
                        * becomes keep * itself + (1 - keep) * the mean over the update's */
    TW_TENSOR_MEAN,    /* likewise, the mean of all updates so far, which weigh the same */
};

struct tw_tensor {
    char name[TW_NAME_MAX + 1]; /* [A-Za-z0-9._/-], unique in its list */
    int dims;                   /* 0 (a scalar) to TW_DIMS_MAX */
    int64_t shape[TW_DIMS_MAX]; /* each >= 1 */
    int64_t elements;           /* their product, <= TW_ELEMENTS_MAX */
    struct tw_init init;
    const double *start; /* [elements] first values instead of `init`'s; NULL: none; borrowed */
    enum tw_tensor_update update;
    double keep; /* of TW_TENSOR_RUNNING: 0 to 1 */
};

/* The encoding (encoding.h) in which such a tensor is pushed where the job says `encoding`: a
 * statistic is not a gradient, whose rounding evens out as its noise does, and always travels as
 * float32. */
static inline uint32_t tw_tensor_push_encoding(const struct tw_tensor *tensor, uint32_t encoding) {
    return tensor->update == TW_TENSOR_TRAINED ? encoding : 0;
}

struct tw_tensor_list {
    int count;
    struct tw_tensor *tensors; /* owned by whoever made the list */
};

/* Fills one descriptor; checks name, dimensions and their product.
 * TW_LIMIT or TW_MALFORMED with a message that names the tensor. */
enum tw_status tw_tensor_init(struct tw_tensor *tensor, const char *name, int dims,
                              const int64_t *shape, struct tw_init init, struct tw_error *error);

/* All names differ, at least one tensor, at most TW_TENSORS_MAX. */
enum tw_status tw_tensor_list_check(const struct tw_tensor_list *list, struct tw_error *error);

/* Compares names and shapes (not init) in order. TW_WRONG_MODEL, naming the
 * first tensor that differs and both shapes: "tensor 2: ours is b1 [256],
 * theirs is b1 [128]". */
enum tw_status tw_tensor_list_compare(const struct tw_tensor_list *ours,
                                      const struct tw_tensor_list *theirs, struct tw_error *error);

/* "[784, 256]" into `out`; always terminated. Returns out. */
char *tw_shape_text(int dims, const int64_t *shape, char *out, size_t capacity);

/* Fills elements [first, first + count) of tensor number `index` with their
 * initial values: a pure function of (seed, index, element), so that any split
 * over chunks and servers gives the same bits. */
void tw_tensor_fill(const struct tw_tensor *tensor, int index, uint64_t seed, int64_t first,
                    int64_t count, float *out);

#endif
