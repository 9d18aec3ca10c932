#include "cli/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ptrdiff_t read_more(void *context, void *out, size_t room, struct tw_error *error) {
    const struct tw_log_file *file = context;
    ssize_t count;
    do
        count = read(file->fd, out, room);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        tw_error_set(error, TW_DATA, "cannot be read: %s", strerror(errno));
    return count;
}

static enum tw_status check_run(const char *run, struct tw_error *error) {
    struct stat about;
    if (stat(run, &about) != 0)
        return tw_error_set(error, TW_DATA, "%s: %s; the directory of a run is wanted", run,
                            strerror(errno));
    if (!S_ISDIR(about.st_mode))
        return tw_error_set(error, TW_DATA, "%s: is no directory; that of a run is wanted", run);
    return TW_OK;
}

static enum tw_status open_log(struct tw_log_file *file, const char *run, struct tw_error *error) {
    struct stat about;
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0 && errno == ENOENT)
        return tw_error_set(error, TW_DATA,
                            "%s: is not the directory of a run: it has no order.log", run);
    if (file->fd < 0)
        return tw_error_set(error, TW_DATA, "%s: %s", file->path, strerror(errno));
    if (fstat(file->fd, &about) != 0 || !S_ISREG(about.st_mode))
        return tw_error_set(error, TW_DATA, "%s: is no regular file", file->path);
    return tw_order_log_reader_new(&file->reader, read_more, file, error);
}

enum tw_status tw_log_file_open(struct tw_log_file *file, const char *run, struct tw_error *error) {
    *file = (struct tw_log_file){.fd = -1};
    enum tw_status status = check_run(run, error);
    if (status == TW_OK && tw_path_join(file->path, TW_PATH_MAX, run, "order.log") != TW_OK)
        status = tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", run);
    if (status == TW_OK)
        status = open_log(file, run, error);
    if (status != TW_OK)
        tw_log_file_close(file);
    return status;
}

enum tw_status tw_log_file_next(struct tw_log_file *file, struct tw_record *record,
                                struct tw_error *error) {
    enum tw_status status = tw_order_log_next(file->reader, record, error);
    if (status != TW_OK && status != TW_CLOSED)
        tw_error_wrap(error, "%s", file->path);
    return status;
}

void tw_log_file_close(struct tw_log_file *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    tw_order_log_reader_free(file->reader);
    file->reader = NULL;
}
