/* Model files in the safetensors format: 8 bytes with the length of the header,
 * a JSON header with name, type, shape and place of each tensor, and then the
 * tensors' bytes, one behind the other. Any safetensors library reads them.
 *
 * Used by server/io for model.safetensors, and by cli/. The same weights give the same bytes,
 * whatever the cluster, mode, time or host: the tensors stand in the order of
 * their list, all are F32, there is no metadata, and the header is padded with
 * spaces so that the data begins at a multiple of 8.
 *
 * The bytes are streamed: nothing but the header is ever in memory. The file
 * appears under its name only when it is whole (tw_draft, common/base/file.h), and
 * whatever fails leaves neither it nor a temporary file behind, only a message
 * that names the path.
 *
 *     tw_safetensors_open(&file, path, list, error)
 *     tw_safetensors_write(&file, ...)  as often as needed, in canonical order
 *     tw_safetensors_commit(&file, sha, error)   or   tw_safetensors_discard(&file)
 */
#ifndef TW_TENSOR_SAFETENSORS_H
#define TW_TENSOR_SAFETENSORS_H

#include <stdbool.h>

#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/text.h"
#include "common/tensor/tensor.h"

/* A file being written: the caller's storage. */
struct tw_safetensors {
    struct tw_draft draft;
    struct tw_sha256 sha; /* of the whole file so far */
    uint64_t missing;     /* bytes of tensors that are still to come */
    bool unwritten;       /* there is no file, only its SHA-256 */
};

/* Begins a file and writes its header; with `path` NULL there is no file, and commit
 * tells the SHA-256 that it would have. TW_IO, TW_LIMIT (path too long), TW_NO_MEMORY; on
 * failure nothing is left to discard. */
enum tw_status tw_safetensors_open(struct tw_safetensors *file, const char *path,
                                   const struct tw_tensor_list *list, struct tw_error *error);

/* Appends the next `count` floats of the tensors, in list order; a call may end
 * in the middle of a tensor, or span several. TW_IO (the disk is full, ...);
 * TW_INTERNAL when they are more than the tensors hold. After a failure the file
 * is discarded. */
enum tw_status tw_safetensors_write(struct tw_safetensors *file, const float *elements,
                                    size_t count, struct tw_error *error);

/* Makes it the file `path`, for good, and tells the SHA-256 of its bytes. TW_IO;
 * TW_INTERNAL when elements are missing. Nothing is left to discard. */
enum tw_status tw_safetensors_commit(struct tw_safetensors *file, uint8_t sha[TW_SHA256_BYTES],
                                     struct tw_error *error);

/* Removes what was written; harmless after commit, after a failure, and twice. */
void tw_safetensors_discard(struct tw_safetensors *file);

/* All of it at once: `elements` floats, all tensors in list order, and the digits of the SHA-256 of
 * the file. With `path` NULL only these. TW_IO, TW_LIMIT, TW_NO_MEMORY, TW_INTERNAL as above; no
 * file is left after a failure. */
enum tw_status tw_safetensors_save(const char *path, const struct tw_tensor_list *list,
                                   const float *weights, size_t elements,
                                   char sha256[TW_SHA256_HEX], struct tw_error *error);

/* A header in pieces, for files that are written by other means (checkpoints): begin, add each
 * tensor in the order of its bytes, end. The caller frees `text`; the file begins with its length,
 * 8 bytes, little-endian, and then it. */
struct tw_safetensors_header {
    struct tw_text text;
    struct tw_json json;
    uint64_t bytes; /* of the tensors so far */
};

void tw_safetensors_header_begin(struct tw_safetensors_header *header);
void tw_safetensors_header_add(struct tw_safetensors_header *header, const char *name, int dims,
                               const int64_t *shape, int64_t elements);
/* Pads it. False: out of memory. */
bool tw_safetensors_header_end(struct tw_safetensors_header *header);

#endif
