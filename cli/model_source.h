/* What `talweg average` and `talweg predict` take weights from: a file in the safetensors format,
 * the directory of a run (its model.safetensors), or one of the folders in its checkpoints/.
 *
 * Nothing in them is trusted. A checkpoint's parts are put together by what the job.yaml of its run
 * says of names and shapes, and every byte is checked against manifest.json before any is used.
 */
#ifndef TW_CLI_MODEL_SOURCE_H
#define TW_CLI_MODEL_SOURCE_H

#include "cli/job_check.h"
#include "common/tensor/safetensors_read.h"
#include "server/io/restore.h"

/* All of it is zero until it is opened. */
struct tw_model_source {
    const char *name; /* as it was given; borrowed */
    /* The tensors are the source's, float32; of a file in the order of its bytes, of a checkpoint
     * in that of the model. */
    struct tw_tensor_list list;
    struct tw_safetensors_reader file;
    struct tw_restore *checkpoint; /* NULL: it is a file */
};

/* TW_DATA (also when it is missing), TW_LIMIT, TW_NO_MEMORY; the caller closes it in any case. */
enum tw_status tw_model_source_open(struct tw_model_source *source, const char *name,
                                    struct tw_error *error);
/* The index of a tensor; -1: there is none of this name. */
int tw_model_source_find(const struct tw_model_source *source, const char *tensor);
/* The index of the tensor of this name, which must be of the same shape. TW_DATA says what `whose`,
 * the model that `tensor` is of, has. */
enum tw_status tw_model_source_match(const struct tw_model_source *source,
                                     const struct tw_tensor *tensor, const char *whose, int *index,
                                     struct tw_error *error);
/* Elements [first, first + count) of a tensor. TW_IO, TW_DATA. */
enum tw_status tw_model_source_read(const struct tw_model_source *source, int tensor,
                                    uint64_t first, uint32_t count, float *out,
                                    struct tw_error *error);
/* Harmless on zeros. */
void tw_model_source_close(struct tw_model_source *source);

#endif
