#include "cli/token.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Looked at through the descriptor that is read, so that no one can swap the file
 * in between. */
static enum tw_status check_file(int fd, const char *path, struct tw_error *error) {
    struct stat about;
    if (fstat(fd, &about) != 0)
        return tw_error_set(error, TW_USAGE, "--token-file %s: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return tw_error_set(error, TW_USAGE, "--token-file %s: is no regular file", path);
    if (about.st_mode & 077)
        return tw_error_set(error, TW_USAGE,
                            "--token-file %s: others may read it (mode %03o); a secret needs"
                            " `chmod 600 %s`",
                            path, (unsigned)(about.st_mode & 0777), path);
    return TW_OK;
}

static enum tw_status read_bytes(int fd, struct tw_token *out, const char *path,
                                 struct tw_error *error) {
    char bytes[TW_TOKEN_BYTES_MAX + 2]; /* a newline, and one to see that it is too long */
    size_t size = 0;
    ssize_t n;
    while (size < sizeof bytes && (n = read(fd, bytes + size, sizeof bytes - size)) != 0) {
        if (n < 0 && errno != EINTR)
            return tw_error_set(error, TW_USAGE, "--token-file %s: %s", path, strerror(errno));
        size += n > 0 ? (size_t)n : 0;
    }
    if (size > 0 && bytes[size - 1] == '\n')
        size--;
    if (size < TW_TOKEN_BYTES_MIN || size > TW_TOKEN_BYTES_MAX)
        return tw_error_set(error, TW_USAGE,
                            "--token-file %s: %s %zu bytes; a secret has %d to %d, for example from"
                            " `head -c 24 /dev/urandom | base64`",
                            path, size > TW_TOKEN_BYTES_MAX ? "at least" : "has", size,
                            TW_TOKEN_BYTES_MIN, TW_TOKEN_BYTES_MAX);
    memcpy(out->bytes, bytes, size);
    out->size = size;
    return TW_OK;
}

enum tw_status tw_token_read(struct tw_token *out, const char *path, struct tw_error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tw_error_set(error, TW_USAGE, "--token-file %s: %s", path, strerror(errno));
    enum tw_status status = check_file(fd, path, error);
    if (!status)
        status = read_bytes(fd, out, path, error);
    close(fd);
    return status;
}
