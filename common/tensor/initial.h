/* The weights that a run starts from where the job names a model (model.init): all of its tensors,
 * or those whose names fit a pattern.
 *
 * Used by whoever checks a job, before any process starts; servers and replay then fill their
 * weights from it. What identifies it is the SHA-256 of the elements that are taken, so it does not
 * matter which file they come from (weights_read.h). Memory: these tensors once more.
 */
#ifndef TW_TENSOR_INITIAL_H
#define TW_TENSOR_INITIAL_H

#include "common/base/digest.h"
#include "common/tensor/tensor.h"

/* All zeros: nothing is taken. */
struct tw_initial {
    float **value; /* [count]; NULL: this tensor starts by its own init; so do all if it is NULL */
    int count;
    char sha256[TW_SHA256_HEX];
};

/* Reads the tensors of `list` that fit `pattern` (with * and ?). TW_DATA: one of them is not there,
 * of another shape (both are named), not finite; TW_JOB: the pattern fits none; TW_NO_MEMORY,
 * TW_IO. On failure nothing is left. */
enum tw_status tw_initial_load(struct tw_initial *out, const char *name, const char *pattern,
                               const struct tw_tensor_list *list, struct tw_error *error);
void tw_initial_fini(struct tw_initial *initial);

#endif
