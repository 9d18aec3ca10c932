/* Reads the weights of a model back, tensor by tensor, wherever they lie: in a safetensors file, in
 * the directory of a run (its model.safetensors), or in a checkpoint, where a tensor may be spread
 * over the files of several servers.
 *
 * For model.init, where servers, which know nothing of the run that the file is from, take some
 * tensors or all; the job pins the SHA-256 of what was read. Nothing of a file is trusted
 * (safetensors_read.h). Of a checkpoint the weights are taken, not the state of the rule.
 */
#ifndef TW_TENSOR_WEIGHTS_READ_H
#define TW_TENSOR_WEIGHTS_READ_H

#include "common/tensor/safetensors_read.h"

struct tw_weights_reader;

/* `name`: such a file or directory. TW_DATA: there is none, or it is corrupt; TW_LIMIT;
 * TW_NO_MEMORY. *out is the caller's. */
enum tw_status tw_weights_open(struct tw_weights_reader **out, const char *name,
                               struct tw_error *error);
/* NULL is fine. */
void tw_weights_close(struct tw_weights_reader *reader);

/* Fills `out` [tensor->elements]. TW_DATA: there is no such tensor, or not in float32, or of
 * another shape (both are named), or an element is not finite. TW_IO. */
enum tw_status tw_weights_read(const struct tw_weights_reader *reader,
                               const struct tw_tensor *tensor, float *out, struct tw_error *error);

/* The file, or the first of them; for messages. */
const char *tw_weights_path(const struct tw_weights_reader *reader);

#endif
