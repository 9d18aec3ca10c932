#include "cli/trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ptrdiff_t read_more(void *context, void *out, size_t room, struct tw_error *error) {
    const struct tw_trace_file *file = context;
    ssize_t count;
    do
        count = read(file->fd, out, room);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        tw_error_set(error, TW_DATA, "cannot be read: %s", strerror(errno));
    return count;
}

enum tw_status tw_trace_file_open(struct tw_trace_file *file, const char *run,
                                  struct tw_error *error) {
    struct stat about;
    enum tw_status status = TW_OK;
    *file = (struct tw_trace_file){.fd = -1};
    if (tw_path_join(file->path, TW_PATH_MAX, run, "trace.log") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", run);
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0 && errno == ENOENT)
        return tw_error_set(error, TW_CLOSED, "%s has no trace.log", run);
    if (file->fd < 0)
        return tw_error_set(error, TW_DATA, "%s: %s", file->path, strerror(errno));
    if (fstat(file->fd, &about) != 0 || !S_ISREG(about.st_mode))
        status = tw_error_set(error, TW_DATA, "%s: is no regular file", file->path);
    if (status == TW_OK)
        status = tw_trace_reader_new(&file->reader, read_more, file, error);
    if (status != TW_OK)
        tw_trace_file_close(file);
    return status;
}

enum tw_status tw_trace_file_next(struct tw_trace_file *file, struct tw_trace_entry *entry,
                                  struct tw_error *error) {
    enum tw_status status = tw_trace_next(file->reader, entry, error);
    if (status != TW_OK && status != TW_CLOSED)
        tw_error_wrap(error, "%s", file->path);
    return status;
}

void tw_trace_file_close(struct tw_trace_file *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    tw_trace_reader_free(file->reader);
    file->reader = NULL;
}
