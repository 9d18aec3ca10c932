/* Reads checkpoints: finds the newest that is whole, and gives what it has, by tensor and range, so
 * that it does not matter how many servers wrote it, or what size of chunks they had.
 *
 * Used by restorer.c, and by talweg average. Nothing of a checkpoint is trusted: its manifest, the
 * headers of its files, their sizes, and the CRC-32C of every block are checked before anything of
 * it is used (docs/checkpoints.md says in what order). Blocking: before training begins only.
 */
#ifndef TW_IO_RESTORE_H
#define TW_IO_RESTORE_H

#include "common/tensor/safetensors_read.h"
#include "server/core/shard.h"
#include "server/io/manifest.h"

/* What is wanted. */
struct tw_restore_ask {
    const char *folder; /* of the run */
    const struct tw_tensor_list *list;
    struct tw_arrays arrays; /* for each weight */
    const uint8_t *digest;   /* [TW_DIGEST_BYTES] of the job */
    uint32_t workers;
    uint64_t position;                                /* of the last record of the log */
    bool (*stands)(void *context, uint64_t position); /* whether no ROLLBACK took it back */
    void *context;
};

struct tw_restore;

/* The newest that can be used is *out, the caller's; NULL: there is none. Why newer ones cannot be
 * used is added to `news`, a line each. TW_NO_MEMORY, TW_LIMIT. */
enum tw_status tw_restore_newest(struct tw_restore **out, const struct tw_restore_ask *ask,
                                 struct tw_text *news, struct tw_error *error);
/* The checkpoint in this folder, whatever run it is of: of `ask` only list and arrays are looked
 * at. TW_IO, TW_DATA, TW_NO_MEMORY, TW_LIMIT. */
enum tw_status tw_restore_open(struct tw_restore **out, const char *folder,
                               const struct tw_restore_ask *ask, struct tw_error *error);
void tw_restore_free(struct tw_restore *restore); /* NULL is fine */

const struct tw_manifest *tw_restore_manifest(const struct tw_restore *restore);
const char *tw_restore_name(const struct tw_restore *restore); /* "v00001234-g0" */

/* Elements [first, first + count) of an array of a tensor. TW_IO; TW_DATA when the file has changed
 * since it was checked. */
enum tw_status tw_restore_read(const struct tw_restore *restore, uint32_t array, uint32_t tensor,
                               int64_t first, uint32_t count, float *out, struct tw_error *error);

/* "name", "name:m", "name[65536:131072]", "name:m[65536:131072]" of a tensor, or a part of it, into
 * out[TW_SAFETENSORS_NAME]. */
void tw_part_name(char *out, const struct tw_tensor *tensor, const char *array, int64_t first,
                  int64_t end);

#endif
