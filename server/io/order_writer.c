#include "server/io/order_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define ROOM_MIN (16u << 10)

enum tw_status tw_order_writer_open(struct tw_order_writer *writer, const char *folder,
                                    uint32_t width, int64_t bytes, struct tw_error *error) {
    int how = bytes < 0 ? O_CREAT | O_EXCL : 0;
    *writer = (struct tw_order_writer){.file = -1, .width = width, .bytes = bytes < 0 ? 0 : bytes};
    if (tw_path_join(writer->path, sizeof(writer->path), folder, "order.log") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the path of the run directory is too long");
    writer->file = open(writer->path, O_WRONLY | O_APPEND | O_CLOEXEC | how, 0666);
    if (writer->file < 0)
        return tw_error_set(error, TW_IO, "cannot %s %s: %s", bytes < 0 ? "make" : "open",
                            writer->path, strerror(errno));
    enum tw_status status = TW_OK;
    if (flock(writer->file, LOCK_EX | LOCK_NB) != 0)
        status =
            tw_error_set(error, TW_IO, "%s: %s", writer->path,
                         errno == EWOULDBLOCK ? "a server works on this run" : strerror(errno));
    else if (bytes >= 0 && ftruncate(writer->file, bytes) != 0)
        status = tw_error_set(error, TW_IO, "cannot cut %s: %s", writer->path, strerror(errno));
    if (status != TW_OK)
        tw_order_writer_close(writer);
    return status;
}

void tw_order_writer_close(struct tw_order_writer *writer) {
    if (writer->file >= 0)
        close(writer->file);
    writer->file = -1;
    free(writer->waiting);
    writer->waiting = NULL;
    free(writer->named);
    writer->named = NULL;
    writer->named_room = 0;
    writer->used = writer->room = 0;
}

/* The file ends behind its last whole record, if the system lets us. */
static void fail(struct tw_order_writer *writer, enum tw_status status, const char *why) {
    const char *more = "";
    if (ftruncate(writer->file, writer->bytes) != 0)
        more = "; its end is cut";
    writer->used = 0;
    tw_error_set(&writer->failed, status,
                 "cannot write %s: %s%s. A run whose order is not recorded does not go on",
                 writer->path, why, more);
}

/* The numbers of the core are those of the ranks; the log has those of their first
 * slots. False: no memory. */
static bool name_slots(struct tw_order_writer *writer, struct tw_record *record) {
    if (record->count > writer->named_room) {
        void *larger = realloc(writer->named, record->count * sizeof(*writer->named));
        if (!larger)
            return false;
        writer->named = larger;
        writer->named_room = record->count;
    }
    tw_record_name_slots(record, writer->width, writer->named);
    return true;
}

void tw_order_writer_add(struct tw_order_writer *writer, const struct tw_record *of_core) {
    const struct tw_record *record = of_core;
    struct tw_record named;
    if (writer->failed.status != TW_OK)
        return;
    if (writer->width > 1) {
        named = *of_core;
        record = &named;
        if (!name_slots(writer, &named)) {
            fail(writer, TW_NO_MEMORY, "out of memory");
            return;
        }
    }
    size_t bytes = tw_order_log_room(record);
    if (bytes > writer->room - writer->used) {
        size_t room = 2 * (writer->used + bytes);
        room = room < ROOM_MIN ? ROOM_MIN : room;
        unsigned char *larger = realloc(writer->waiting, room);
        if (!larger) {
            fail(writer, TW_NO_MEMORY, "out of memory");
            return;
        }
        writer->waiting = larger;
        writer->room = room;
    }
    writer->used += tw_order_log_pack(record, writer->waiting + writer->used);
}

void tw_order_writer_flush(struct tw_order_writer *writer) {
    size_t done = 0;
    while (done < writer->used) {
        ssize_t count = write(writer->file, writer->waiting + done, writer->used - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            fail(writer, TW_IO, strerror(count < 0 ? errno : ENOSPC));
            return;
        }
        done += (size_t)count;
    }
    writer->bytes += (int64_t)done;
    writer->used = 0;
}
