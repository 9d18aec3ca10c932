#include "cli/run_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum tw_status tw_run_check(const char *run, struct tw_error *error) {
    struct stat about;
    if (stat(run, &about) != 0)
        return tw_error_set(error, TW_DATA, "%s: %s; the directory of a run is wanted", run,
                            strerror(errno));
    if (!S_ISDIR(about.st_mode))
        return tw_error_set(error, TW_DATA, "%s: is no directory; that of a run is wanted", run);
    return TW_OK;
}

enum tw_status tw_run_file_open(struct tw_run_file *file, const char *run, const char *name,
                                struct tw_error *error) {
    struct stat about;
    *file = (struct tw_run_file){.fd = -1};
    if (tw_path_join(file->path, TW_PATH_MAX, run, name) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", run);
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0 && errno == ENOENT)
        return tw_error_set(error, TW_CLOSED, "%s has no %s", run, name);
    if (file->fd < 0)
        return tw_error_set(error, TW_DATA, "%s: %s", file->path, strerror(errno));
    if (fstat(file->fd, &about) == 0 && S_ISREG(about.st_mode))
        return TW_OK;
    tw_run_file_close(file);
    return tw_error_set(error, TW_DATA, "%s: is no regular file", file->path);
}

ptrdiff_t tw_run_file_read(void *file, void *out, size_t room, struct tw_error *error) {
    const struct tw_run_file *source = file;
    ssize_t count;
    do
        count = read(source->fd, out, room);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        tw_error_set(error, TW_DATA, "cannot be read: %s", strerror(errno));
    return count;
}

enum tw_status tw_run_file_said(const struct tw_run_file *file, enum tw_status status,
                                struct tw_error *error) {
    if (status != TW_OK && status != TW_CLOSED)
        tw_error_wrap(error, "%s", file->path);
    return status;
}

void tw_run_file_close(struct tw_run_file *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
