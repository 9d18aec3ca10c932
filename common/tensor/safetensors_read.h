/* Reads files in the safetensors format (safetensors.h) that nobody has to be trusted for.
 *
 * Used by whoever reads weights back, such as `talweg average`. What is refused, by name and with
 * the path: a header over 16 MiB, or that is no JSON of the format; types and shapes that are not
 * known or do not give the bytes that the offsets say; tensors that overlap, leave holes, stand in
 * another order than their bytes, or have one name; bytes missing or behind the last tensor. Names
 * are only compared, never used as a path. Tensors are read with pread(), never mapped: a file
 * that shrinks meanwhile is an error, not a signal. Memory: the header, and an entry per tensor,
 * of which there are at most TW_SAFETENSORS_ENTRIES_MAX.
 */
#ifndef TW_TENSOR_SAFETENSORS_READ_H
#define TW_TENSOR_SAFETENSORS_READ_H

#include "common/base/file.h"
#include "common/tensor/tensor.h"

#define TW_SAFETENSORS_NAME (TW_NAME_MAX + 64) /* with its terminating zero */

struct tw_safetensors_entry {
    char name[TW_SAFETENSORS_NAME];
    char dtype[8];                 /* "F32", "I64", ... */
    int dims;                      /* 0 to TW_DIMS_MAX */
    uint64_t shape[TW_DIMS_MAX];   /* each >= 1 */
    uint64_t elements, begin, end; /* bytes, from the end of the header */
};

struct tw_safetensors_list {
    size_t count;
    struct tw_safetensors_entry *entry; /* [count], in the order of their bytes */
};

/* What a header says about `data_bytes` bytes that follow it. TW_DATA: it cannot be; TW_LIMIT;
 * TW_NO_MEMORY. On success the caller frees with tw_safetensors_list_fini(). */
enum tw_status tw_safetensors_parse(struct tw_safetensors_list *list, const void *header,
                                    size_t header_bytes, uint64_t data_bytes,
                                    struct tw_error *error);
void tw_safetensors_list_fini(struct tw_safetensors_list *list);

struct tw_safetensors_reader {
    int fd;               /* -1: closed */
    uint64_t bytes, data; /* of the file; where its tensors begin */
    struct tw_safetensors_list list;
    char path[TW_PATH_MAX];
};

/* TW_IO (with what the system says), TW_DATA, TW_LIMIT, TW_NO_MEMORY; then nothing is open. */
enum tw_status tw_safetensors_read_open(struct tw_safetensors_reader *reader, const char *path,
                                        struct tw_error *error);
/* Bytes [from, from + size) of the tensors, counted from the end of the header. TW_DATA when the
 * file has fewer; TW_IO. */
enum tw_status tw_safetensors_read(const struct tw_safetensors_reader *reader, uint64_t from,
                                   void *out, size_t size, struct tw_error *error);
/* The same, counted from the start of the file. */
enum tw_status tw_safetensors_read_file(const struct tw_safetensors_reader *reader, uint64_t from,
                                        void *out, size_t size, struct tw_error *error);
/* Harmless after a failed open, and twice. */
void tw_safetensors_read_close(struct tw_safetensors_reader *reader);

#endif
