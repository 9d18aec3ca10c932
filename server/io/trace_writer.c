#include "server/io/trace_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/say.h"

enum tw_status tw_trace_writer_open(struct tw_trace_writer *writer, const char *folder,
                                    struct tw_error *error) {
    writer->file = -1;
    writer->bytes = 0;
    writer->used = writer->unpacked = 0;
    writer->failed.status = TW_OK;
    if (tw_path_join(writer->path, sizeof(writer->path), folder, "trace.log") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the path of the run directory is too long");
    writer->file = open(writer->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    if (writer->file < 0)
        return tw_error_set(error, TW_IO, "cannot make %s: %s", writer->path, strerror(errno));
    return TW_OK;
}

void tw_trace_writer_close(struct tw_trace_writer *writer) {
    if (writer->file >= 0)
        close(writer->file);
    writer->file = -1;
}

static void fail(struct tw_trace_writer *writer, const char *why) {
    const char *more = "";
    if (ftruncate(writer->file, writer->bytes) != 0)
        more = "; its end is cut";
    tw_error_set(&writer->failed, TW_IO, "cannot write %s: %s%s", writer->path, why, more);
    tw_say("%s; training goes on without it", writer->failed.text);
}

static void write_waiting(struct tw_trace_writer *writer) {
    size_t done = 0;
    if (writer->failed.status != TW_OK)
        writer->used = 0;
    while (done < writer->used) {
        ssize_t count = write(writer->file, writer->waiting + done, writer->used - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            fail(writer, strerror(count < 0 ? errno : ENOSPC));
            break;
        }
        done += (size_t)count;
    }
    if (writer->failed.status == TW_OK)
        writer->bytes += (int64_t)done;
    writer->used = 0;
}

void tw_trace_writer_settle(struct tw_trace_writer *writer) {
    const struct tw_trace_entry *end = writer->entry + writer->unpacked;
    for (const struct tw_trace_entry *entry = writer->entry; entry < end; entry++) {
        if (sizeof(writer->waiting) - writer->used < TW_TRACE_ENTRY_MAX)
            write_waiting(writer);
        if (writer->failed.status == TW_OK)
            writer->used += tw_trace_pack(entry, writer->waiting + writer->used);
    }
    writer->unpacked = 0;
}

struct tw_trace_entry *tw_trace_writer_add(struct tw_trace_writer *writer,
                                           enum tw_trace_kind kind) {
    if (writer->unpacked == TW_TRACE_UNPACKED_MAX)
        tw_trace_writer_settle(writer);
    struct tw_trace_entry *entry = &writer->entry[writer->unpacked++];
    entry->kind = kind;
    return entry;
}

void tw_trace_writer_flush(struct tw_trace_writer *writer) {
    tw_trace_writer_settle(writer);
    write_waiting(writer);
}
