/* Writes trace.log: entries of proto/trace_log.h (docs/trace-log.md).
 *
 * Entries are gathered in memory, as they are: they are packed when nobody waits for anything any
 * more (settle), or when there is no room. They are given to the kernel at each tick of the server,
 * at the end, and when TW_TRACE_WAITING_MAX bytes wait. A disk that is full does not stop
 * training: the first failure stays in `failed`, nothing is written any more, and the file
 * ends behind its last whole entry. Used by trace.c.
 */
#ifndef TW_IO_TRACE_WRITER_H
#define TW_IO_TRACE_WRITER_H

#include "common/base/file.h"
#include "proto/trace_log.h"

#define TW_TRACE_WAITING_MAX (64u << 10)
#define TW_TRACE_UNPACKED_MAX 64

struct tw_trace_writer {
    int file;               /* -1: closed */
    int64_t bytes;          /* of whole entries that the kernel has */
    size_t used;            /* of `waiting` */
    struct tw_error failed; /* TW_OK: nothing has */
    char path[TW_PATH_MAX];
    unsigned char waiting[TW_TRACE_WAITING_MAX];
    uint32_t unpacked; /* behind these: */
    struct tw_trace_entry entry[TW_TRACE_UNPACKED_MAX];
};

/* Makes an empty trace.log. TW_IO when the folder is missing, not writable, or has one
 * already; TW_LIMIT. On failure there is nothing to close. */
enum tw_status tw_trace_writer_open(struct tw_trace_writer *writer, const char *folder,
                                    struct tw_error *error);

/* A new entry of this kind, which the caller fills in before anything else is done here. */
struct tw_trace_entry *tw_trace_writer_add(struct tw_trace_writer *writer, enum tw_trace_kind kind);
/* After a failure these do nothing. */
void tw_trace_writer_settle(struct tw_trace_writer *writer);
void tw_trace_writer_flush(struct tw_trace_writer *writer);

/* Harmless after a failed open, and twice. What waits is lost. */
void tw_trace_writer_close(struct tw_trace_writer *writer);

#endif
