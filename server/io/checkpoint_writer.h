/* Writes the folders of checkpoints, one after the other: the arrays of all chunks into the files
 * of their servers, checksums on the way, the manifest at the end (docs/checkpoints.md).
 *
 * Used by saver.c, whose chunks come from the shard and over links, and by
 * cli/simulation_told.c, whose cluster is virtual. The caller says begin, then adds what the
 * servers have, of each in the order of its chunks, and of a chunk its arrays in theirs; the last
 * add says so; then seal, and keep.
 * Nothing is copied in memory. A failure stays in `failed` until the next begin: what follows does
 * nothing, and keep removes what was written. What is in checkpoints/ under its name is whole.
 */
#ifndef TW_IO_CHECKPOINT_WRITER_H
#define TW_IO_CHECKPOINT_WRITER_H

#include "common/base/file.h"
#include "server/core/shard.h"
#include "server/io/manifest.h"

/* Whose; all but the two ids is borrowed. */
struct tw_checkpoint_of {
    const char *run; /* its directory */
    const struct tw_layout *layout;
    struct tw_arrays arrays; /* of each weight */
    uint32_t workers;
    const uint8_t *digest, *id; /* [TW_DIGEST_BYTES], [TW_JOB_ID_BYTES] as in struct tw_manifest */
};

struct tw_checkpoint_writer {
    const struct tw_layout *layout;
    struct tw_arrays arrays;
    uint32_t array_count;
    struct tw_manifest manifest;      /* of the one that is being written */
    int fd[TW_SERVERS_MAX];           /* of its files; -1: none */
    uint64_t tensors[TW_SERVERS_MAX]; /* bytes of the file before them */
    struct {
        uint32_t chunk, array; /* the next that is expected of each server */
        uint64_t at;           /* bytes of its weights before that chunk */
    } next[TW_SERVERS_MAX];
    uint32_t unfinished;    /* servers of which something is missing */
    struct tw_error failed; /* of the one that is being written; TW_OK: nothing has */
    char root[TW_PATH_MAX], draft[TW_PATH_MAX], folder[TW_PATH_MAX];
    struct tw_text text; /* of manifest.json */
};

/* `writer` is zeroed. Removes what somebody who was killed left half-written. TW_LIMIT,
 * TW_NO_MEMORY. */
enum tw_status tw_checkpoint_writer_init(struct tw_checkpoint_writer *writer,
                                         const struct tw_checkpoint_of *of, struct tw_error *error);
/* Harmless after a failed init, and when zeroed. Gives up one that was begun. */
void tw_checkpoint_writer_fini(struct tw_checkpoint_writer *writer);

/* Of this snapshot, which is copied; `seconds` of training: so far, and at the last border. */
void tw_checkpoint_writer_begin(struct tw_checkpoint_writer *writer,
                                const struct tw_sequencer_snapshot *snapshot, uint32_t generation,
                                double seconds, double border_seconds);

/* The next array of the next chunk of this server; true: now all is there, of all servers. */
bool tw_checkpoint_writer_add(struct tw_checkpoint_writer *writer, uint32_t server,
                              const float *elements);

/* Makes the manifest. `logged`: order.log has this checkpoint's record; if not it has failed. */
void tw_checkpoint_writer_seal(struct tw_checkpoint_writer *writer, bool logged);

/* What follows for the disk: it gets its name, and all but the newest `keep` are removed; or, after
 * a failure, it is. First its files are flushed to the disk, and the file `order`, unless that is
 * -1. Touches nothing but the writer: it may run in another thread. */
void tw_checkpoint_writer_keep(struct tw_checkpoint_writer *writer, int order, size_t keep);

/* One that was begun and will not be kept. */
void tw_checkpoint_writer_give_up(struct tw_checkpoint_writer *writer);

/* A line, if it has failed. */
void tw_checkpoint_writer_tell(const struct tw_checkpoint_writer *writer);

#endif
