#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/digest.h"

/* "cannot VERB PATH: what errno says" */
static enum tw_status io_error(struct tw_error *error, const char *verb, const char *path) {
    return tw_error_set(error, TW_IO, "cannot %s %s: %s", verb, path, strerror(errno));
}

static enum tw_status too_long(struct tw_error *error, const char *path, size_t max) {
    return tw_error_set(error, TW_LIMIT, "%s is longer than the %zu bytes that it may have", path,
                        max);
}

/* ---- reading ---- */

/* Reads to the end. `first` is how much memory to begin with, at most max + 1: one
 * byte more than allowed is how a file that is too long shows itself. */
static enum tw_status read_to_end(int fd, const char *path, size_t max, size_t first, char **out,
                                  size_t *size, struct tw_error *error) {
    size_t room = 0, have = 0;
    for (;;) {
        if (have == room) {
            room = room == 0 ? first : room <= max / 2 ? 2 * room : max + 1;
            char *grown = realloc(*out, room + 1);
            if (grown == NULL)
                return tw_error_set(error, TW_NO_MEMORY, "no memory to read %s (%zu bytes)", path,
                                    room);
            *out = grown;
        }
        ssize_t got = read(fd, *out + have, room - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return io_error(error, "read", path);
        if (got == 0)
            break;
        have += (size_t)got;
        if (have > max)
            return too_long(error, path, max);
    }
    (*out)[have] = '\0';
    *size = have;
    return TW_OK;
}

enum tw_status tw_file_read(const char *path, size_t max, char **out, size_t *size,
                            struct tw_error *error) {
    *out = NULL;
    *size = 0;
    if (max > SIZE_MAX / 4)
        max = SIZE_MAX / 4; /* no sum below can wrap */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_error(error, "open", path);
    enum tw_status status;
    struct stat about;
    size_t first = max < 4096 ? max + 1 : 4096;
    if (fstat(fd, &about) != 0) {
        status = io_error(error, "read", path);
    } else if (S_ISREG(about.st_mode) && (uintmax_t)about.st_size > max) {
        status = too_long(error, path, max);
    } else {
        if (S_ISREG(about.st_mode))
            first = (size_t)about.st_size + 1;
        status = read_to_end(fd, path, max, first, out, size, error);
    }
    close(fd);
    if (status != TW_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- writing ---- */

/* A rename would put a file in the place of a device or a pipe. */
static enum tw_status check_target(const char *path, struct tw_error *error) {
    struct stat about;
    if (lstat(path, &about) != 0) {
        if (errno == ENOENT)
            return TW_OK;
        return io_error(error, "write", path);
    }
    if (S_ISREG(about.st_mode) || S_ISLNK(about.st_mode))
        return TW_OK;
    return tw_error_set(error, TW_IO, "cannot write %s: it exists and is not a plain file", path);
}

/* A name that nobody else uses, in the folder of the file. */
static enum tw_status name_temporary(struct tw_draft *draft, struct tw_error *error) {
    unsigned char random[8];
    char hex[2 * sizeof random + 1];
    if (tw_random_bytes(random, sizeof random) != TW_OK)
        return io_error(error, "make a temporary name for", draft->path);
    tw_hex(random, sizeof random, hex);
    int size = snprintf(draft->temporary, sizeof draft->temporary, "%s.%s.tmp", draft->path, hex);
    if (size < 0 || (size_t)size >= sizeof draft->temporary) {
        draft->temporary[0] = '\0';
        return tw_error_set(error, TW_LIMIT, "path too long (at most %d bytes): %s",
                            TW_PATH_MAX - 22, draft->path);
    }
    return TW_OK;
}

enum tw_status tw_draft_open(struct tw_draft *draft, const char *path, struct tw_error *error) {
    draft->fd = -1;
    draft->temporary[0] = '\0';
    int size = snprintf(draft->path, sizeof draft->path, "%s", path);
    if (size < 0 || (size_t)size >= sizeof draft->path)
        return tw_error_set(error, TW_LIMIT, "path too long (at most %d bytes): %s",
                            TW_PATH_MAX - 22, path);
    enum tw_status status = check_target(draft->path, error);
    if (status == TW_OK)
        status = name_temporary(draft, error);
    if (status != TW_OK)
        return status;
    draft->fd = open(draft->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (draft->fd < 0) {
        draft->temporary[0] = '\0';
        return io_error(error, "write", draft->path);
    }
    return TW_OK;
}

/* Says what errno says, then removes the draft. */
static enum tw_status give_up(struct tw_draft *draft, struct tw_error *error) {
    enum tw_status status = io_error(error, "write", draft->path);
    tw_draft_discard(draft);
    return status;
}

static enum tw_status check_open(const struct tw_draft *draft, struct tw_error *error) {
    if (draft->fd >= 0)
        return TW_OK;
    return tw_error_set(error, TW_IO, "cannot write %s: an earlier write of it failed",
                        draft->path);
}

enum tw_status tw_draft_write(struct tw_draft *draft, const void *bytes, size_t size,
                              struct tw_error *error) {
    enum tw_status status = check_open(draft, error);
    if (status != TW_OK)
        return status;
    const char *at = bytes;
    while (size > 0) {
        ssize_t written = write(draft->fd, at, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return give_up(draft, error);
        at += written;
        size -= (size_t)written;
    }
    return TW_OK;
}

/* Makes the new name last: it is in the folder, which has to reach the disk too. */
static enum tw_status flush_folder(const char *path, struct tw_error *error) {
    char folder[TW_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        strcpy(folder, ".");
    else
        slash[slash == folder ? 1 : 0] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? TW_OK /* writable, not readable: then the system decides */
                               : io_error(error, "open folder", folder);
    enum tw_status status = TW_OK;
    if (fsync(fd) != 0 && errno != EINVAL) /* EINVAL: a file system that has no such thing */
        status = io_error(error, "flush folder", folder);
    close(fd);
    return status;
}

enum tw_status tw_draft_commit(struct tw_draft *draft, struct tw_error *error) {
    enum tw_status status = check_open(draft, error);
    if (status != TW_OK)
        return status;
    if (fsync(draft->fd) != 0 && errno != EINVAL)
        return give_up(draft, error);
    int fd = draft->fd;
    draft->fd = -1;
    if (close(fd) != 0 || rename(draft->temporary, draft->path) != 0)
        return give_up(draft, error);
    draft->temporary[0] = '\0';
    return flush_folder(draft->path, error);
}

void tw_draft_discard(struct tw_draft *draft) {
    if (draft->fd >= 0)
        close(draft->fd);
    if (draft->temporary[0] != '\0')
        unlink(draft->temporary);
    draft->fd = -1;
    draft->temporary[0] = '\0';
}

enum tw_status tw_file_write_atomic(const char *path, const void *bytes, size_t size,
                                    struct tw_error *error) {
    struct tw_draft draft;
    enum tw_status status = tw_draft_open(&draft, path, error);
    if (status == TW_OK)
        status = tw_draft_write(&draft, bytes, size, error);
    if (status == TW_OK)
        status = tw_draft_commit(&draft, error);
    return status;
}

/* ---- folders ---- */

/* One folder of the way; fine when it is there. */
static bool make_one(const char *path) {
    if (mkdir(path, 0777) == 0)
        return true;
    int cause = errno;
    struct stat about;
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        return true;
    errno = cause == EEXIST ? ENOTDIR : cause;
    return false;
}

static enum tw_status check_empty(const char *path, struct tw_error *error) {
    DIR *folder = opendir(path);
    if (folder == NULL)
        return io_error(error, "look into folder", path);
    enum tw_status status = TW_OK;
    const struct dirent *entry;
    errno = 0;
    while (status == TW_OK && (entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = tw_error_set(error, TW_USAGE,
                                  "folder %s is not empty: name another one, or remove it", path);
    if (status == TW_OK && errno != 0)
        status = io_error(error, "look into folder", path);
    closedir(folder);
    return status;
}

enum tw_status tw_folder_make(const char *path, bool must_be_empty, struct tw_error *error) {
    char part[TW_PATH_MAX];
    size_t size = strlen(path);
    if (size >= sizeof part)
        return tw_error_set(error, TW_LIMIT, "path too long (at most %d bytes): %s",
                            TW_PATH_MAX - 1, path);
    for (size_t end = 1; end <= size; end++) {
        if (path[end] != '/' && path[end] != '\0')
            continue;
        memcpy(part, path, end);
        part[end] = '\0';
        if (!make_one(part))
            return io_error(error, "make folder", part);
    }
    if (size == 0) {
        errno = ENOENT;
        return io_error(error, "make folder", "\"\"");
    }
    return must_be_empty ? check_empty(path, error) : TW_OK;
}

enum tw_status tw_path_join(char *out, size_t room, const char *folder, const char *name) {
    size_t folder_size = strlen(folder);
    bool alone = folder_size == 0 || name[0] == '/';
    bool slash = !alone && folder[folder_size - 1] != '/';
    int size = alone ? snprintf(out, room, "%s", name)
                     : snprintf(out, room, "%s%s%s", folder, slash ? "/" : "", name);
    if (size >= 0 && (size_t)size < room)
        return TW_OK;
    if (room > 0)
        out[0] = '\0';
    return TW_LIMIT;
}
