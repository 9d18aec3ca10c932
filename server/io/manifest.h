/* manifest.json of a checkpoint: what it is of, where the run stood, and the checksums of its
 * files. docs/checkpoints.md explains the keys.
 *
 * Used by checkpoint_writer.c, which writes one, and restore.c, which trusts none: a manifest whose
 * last line is not the CRC-32C of what stands before it, or whose keys are not those that we write,
 * in our order, within limits, is TW_DATA with a sentence. Memory: in proportion to its bytes.
 */
#ifndef TW_IO_MANIFEST_H
#define TW_IO_MANIFEST_H

#include "common/base/text.h"
#include "proto/frame.h"
#include "server/core/sequencer.h"

#define TW_MANIFEST_FORMAT 1
#define TW_MANIFEST_BYTES_MAX (64u << 20)
#define TW_CHECKPOINT_NAME 48 /* "v00001234-g0", with its terminating zero */

/* shard-N.safetensors */
struct tw_manifest_file {
    uint64_t bytes;  /* of the whole file */
    uint32_t header; /* CRC-32C of all bytes before the tensors */
    uint32_t blocks; /* of block_bytes, counted from the start of each tensor */
    uint32_t *crc;   /* [blocks] CRC-32C */
};

struct tw_manifest {
    uint8_t job[TW_JOB_ID_BYTES];    /* id of the processes that wrote it */
    uint8_t digest[TW_DIGEST_BYTES]; /* of what the job file means (common/job/job.h) */
    uint32_t generation;
    struct tw_sequencer_snapshot snapshot; /* its array is the manifest's */
    double seconds, border_seconds;        /* of training: so far, and at the last border */
    uint32_t block_bytes;
    uint32_t files;
    struct tw_manifest_file file[TW_SERVERS_MAX];
};

/* "v00001234-g0" */
void tw_checkpoint_name(uint64_t version, uint32_t generation, char out[TW_CHECKPOINT_NAME]);
/* False: the name of something else. */
bool tw_checkpoint_name_parse(const char *name, uint64_t *version, uint32_t *generation);

/* Appends the whole file; out of memory shows as text->failed. */
void tw_manifest_write(struct tw_text *text, const struct tw_manifest *manifest);

/* TW_DATA, TW_NO_MEMORY. The caller frees with tw_manifest_fini(), also after a failure. */
enum tw_status tw_manifest_parse(struct tw_manifest *manifest, const char *text, size_t size,
                                 struct tw_error *error);
void tw_manifest_fini(struct tw_manifest *manifest);

#endif
