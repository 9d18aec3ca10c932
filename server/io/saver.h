/* Writes checkpoints while a run goes on (the lead only; docs/checkpoints.md).
 *
 *   IDLE --CHECKPOINT in the log--> COPYING --all chunks are here--> SYNCING --> IDLE
 *
 * COPYING: each chunk of our own shard is written as the sweep reaches it, before a later update
 * may touch it; those of other servers come over their links, chunk by chunk (lead_link.c), and are
 * written as they arrive. Nothing is copied in memory: write() copies into the kernel's cache, and
 * when that is full the server waits for the disk. SYNCING: a thread of libuv's flushes the files
 * and the order log, writes the manifest, renames the folder, and removes what is older than
 * `keep`. The next CHECKPOINT comes only then.
 *
 * Whatever fails: that checkpoint is given up, its files are removed, a line says why, and training
 * goes on; the next one is tried when it is due. What is in checkpoints/ under its name is whole.
 */
#ifndef TW_IO_SAVER_H
#define TW_IO_SAVER_H

#include <uv.h>

#include "server/io/checkpoint_writer.h"

struct tw_server;
struct tw_link;

enum tw_saver_phase { TW_SAVER_IDLE, TW_SAVER_COPYING, TW_SAVER_SYNCING };

struct tw_saver {
    bool on; /* the job has checkpoints, and we are the lead */
    uint64_t period_ms, asked_ms;
    enum tw_saver_phase phase;
    struct tw_checkpoint_writer writer;
    float **inbox; /* [servers] where chunks of the others arrive, and leave (restorer.c) */
    uv_work_t work;
};

/* After the node is made. TW_NO_MEMORY, TW_LIMIT. */
enum tw_status tw_saver_init(struct tw_server *server, struct tw_error *error);
void tw_saver_fini(struct tw_server *server);

/* A CHECKPOINT has been logged. */
void tw_saver_begin(struct tw_server *server);
/* Our own shard has reached it with this chunk. */
void tw_saver_own(struct tw_server *server, uint32_t chunk);
/* A chunk of another server, as on_data and on_frame of a connection. */
enum tw_status tw_saver_place(struct tw_link *link, const struct tw_frame *frame, void **place,
                              struct tw_error *error);
enum tw_status tw_saver_arrived(struct tw_link *link, const struct tw_frame *frame,
                                struct tw_error *error);
void tw_saver_tick(struct tw_server *server);
/* One is being written: what follows the end of training waits for it. */
bool tw_saver_is_busy(const struct tw_server *server);

#endif
