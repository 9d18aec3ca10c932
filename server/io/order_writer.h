/* Writes order.log: the records of the sequencer, and nothing else
 * (docs/order-log.md).
 *
 * Records are gathered in memory and given to the kernel with one write() per turn
 * of the loop, before anything that follows from them leaves this process. What
 * the kernel has outlives the process, however it dies; a machine that loses its power
 * may lose the end. Used by pump.c and server.c.
 *
 * A run whose order cannot be recorded ends: the first failure stays in `failed`, the
 * server stops, and the file ends behind its last whole record.
 */
#ifndef TW_IO_ORDER_WRITER_H
#define TW_IO_ORDER_WRITER_H

#include "common/base/file.h"
#include "proto/order_log.h"

struct tw_order_writer {
    int file;               /* -1: closed */
    int64_t bytes;          /* of whole records that the kernel has */
    unsigned char *waiting; /* [used] of [room]: records since the last flush */
    size_t used, room;
    uint32_t width;                /* slots of a rank */
    struct tw_contribution *named; /* [named_room], a record's, with the slots' numbers */
    uint32_t named_room;
    struct tw_error failed; /* TW_OK: nothing has */
    char path[TW_PATH_MAX];
};

/* Makes an empty order.log; with `bytes` not negative goes on with the one that is there, from its
 * first so many bytes. It is ours alone until closed (flock()). The log names first slots: `width`
 * times the numbers of the core (server/core/README.md). TW_IO when the folder is missing, not
 * writable, has one already (or none), or a server works on it; TW_LIMIT. On failure there is
 * nothing to close. */
enum tw_status tw_order_writer_open(struct tw_order_writer *writer, const char *folder,
                                    uint32_t width, int64_t bytes, struct tw_error *error);

/* Adds a record to what waits. After a failure it does nothing. */
void tw_order_writer_add(struct tw_order_writer *writer, const struct tw_record *record);

/* Gives what waits to the kernel. No system call when nothing waits. */
void tw_order_writer_flush(struct tw_order_writer *writer);

/* Harmless after a failed open, and twice. What waits is lost. */
void tw_order_writer_close(struct tw_order_writer *writer);

#endif
