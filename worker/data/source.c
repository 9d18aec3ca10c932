#include "worker/data/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GZIP_BUFFER_BYTES (128u << 10)
#define FIRST_LINE_BYTES ((size_t)64 << 10)

enum tw_status tw_source_open(struct tw_source *source, const char *path, struct tw_error *error) {
    *source = (struct tw_source){.path = path};
    errno = 0;
    source->file = gzopen(path, "rbe");
    if (source->file == NULL) {
        if (errno == 0 || errno == ENOMEM)
            return tw_error_set(error, TW_NO_MEMORY, "%s: out of memory", path);
        return tw_error_set(error, TW_DATA, "%s: cannot open: %s", path, strerror(errno));
    }
    gzbuffer(source->file, GZIP_BUFFER_BYTES);
    return TW_OK;
}

void tw_source_memory(struct tw_source *source, const void *bytes, size_t size) {
    *source = (struct tw_source){.path = "memory", .memory = bytes, .left = size};
}

/* What zlib or the system says about a read that failed. */
static enum tw_status read_failed(struct tw_source *source, struct tw_error *error) {
    int code = Z_OK;
    const char *text = gzerror(source->file, &code);
    if (code == Z_ERRNO)
        return tw_error_set(error, TW_DATA, "%s: cannot read: %s", source->path, strerror(errno));
    if (code == Z_MEM_ERROR)
        return tw_error_set(error, TW_NO_MEMORY, "%s: out of memory in zlib", source->path);
    size_t length = strlen(source->path); /* zlib says "path: what" */
    if (strncmp(text, source->path, length) == 0 && strncmp(text + length, ": ", 2) == 0)
        text += length + 2;
    return tw_error_set(error, TW_DATA, "%s: corrupt gzip: %s", source->path, text);
}

static size_t read_memory(struct tw_source *source, void *out, size_t wanted) {
    size_t size = wanted < source->left ? wanted : source->left;
    if (size > 0)
        memcpy(out, source->memory, size);
    source->memory += size;
    source->left -= size;
    return size;
}

enum tw_status tw_source_read(struct tw_source *source, void *out, size_t wanted, size_t *got,
                              struct tw_error *error) {
    *got = 0;
    if (source->file == NULL) {
        *got = read_memory(source, out, wanted);
        return TW_OK;
    }
    while (*got < wanted) {
        size_t rest = wanted - *got;
        unsigned part = rest > (1u << 30) ? 1u << 30 : (unsigned)rest;
        int count = gzread(source->file, (char *)out + *got, part);
        if (count < 0)
            return read_failed(source, error);
        *got += (size_t)count;
        if ((unsigned)count < part) {
            int code = Z_OK;
            gzerror(source->file, &code); /* a gzip that is cut off is not an error of gzread() */
            if (code == Z_BUF_ERROR)
                return tw_error_set(error, TW_DATA,
                                    "%s: truncated: the gzip data ends in the middle",
                                    source->path);
            return code == Z_OK || code == Z_STREAM_END ? TW_OK : read_failed(source, error);
        }
    }
    return TW_OK;
}

bool tw_source_is_plain(const struct tw_source *source) {
    return source->file == NULL || gzdirect(source->file) == 1;
}

void tw_source_close(struct tw_source *source) {
    if (source->file != NULL)
        gzclose_r(source->file);
    *source = (struct tw_source){.path = source->path};
}

/* ---- lines ---- */

void tw_lines_init(struct tw_lines *lines, struct tw_source *source) {
    *lines = (struct tw_lines){.source = source, .line = 1};
}

/* More bytes behind those that there are. */
static enum tw_status refill(struct tw_lines *lines, struct tw_error *error) {
    const char *path = lines->source->path;
    size_t got;
    if (lines->from > 0) {
        memmove(lines->buffer, lines->buffer + lines->from, lines->to - lines->from);
        lines->to -= lines->from;
        lines->from = 0;
    }
    if (lines->to + 1 >= lines->room) {
        if (lines->room >= TW_DATA_LINE_MAX)
            return tw_error_set(error, TW_DATA, "%s:%llu: a line of %zu MiB or more", path,
                                (unsigned long long)lines->line, TW_DATA_LINE_MAX >> 20);
        size_t room = lines->room == 0 ? FIRST_LINE_BYTES : 2 * lines->room;
        char *buffer = realloc(lines->buffer, room);
        if (buffer == NULL)
            return tw_error_set(error, TW_NO_MEMORY, "%s: out of memory for a line", path);
        lines->buffer = buffer;
        lines->room = room;
    }
    size_t wanted = lines->room - 1 - lines->to;
    enum tw_status status =
        tw_source_read(lines->source, lines->buffer + lines->to, wanted, &got, error);
    if (status != TW_OK)
        return status;
    if (memchr(lines->buffer + lines->to, '\0', got) != NULL)
        return tw_error_set(error, TW_DATA, "%s: a zero byte near line %llu: this is no text", path,
                            (unsigned long long)lines->line);
    lines->ended = got < wanted;
    lines->to += got;
    return TW_OK;
}

enum tw_status tw_lines_next(struct tw_lines *lines, bool quotes, char **text, uint64_t *number,
                             struct tw_error *error) {
    size_t length = 0; /* looked at so far */
    uint64_t ends = 0; /* of lines, within quotes */
    bool inside = false;
    for (;; length++) {
        while (lines->from + length == lines->to && !lines->ended) {
            enum tw_status status = refill(lines, error);
            if (status != TW_OK)
                return status;
        }
        if (lines->from + length == lines->to)
            break;
        char c = lines->buffer[lines->from + length];
        inside = inside != (quotes && c == '"');
        if (c == '\n' && !inside)
            break;
        ends += c == '\n';
    }
    if (inside)
        return tw_error_set(error, TW_DATA, "%s:%llu: a quote that is never closed",
                            lines->source->path, (unsigned long long)lines->line);
    bool last = lines->from + length == lines->to;
    if (last && length == 0)
        return TW_CLOSED;
    *number = lines->line;
    *text = lines->buffer + lines->from;
    lines->from += length + !last;
    lines->line += ends + 1;
    (*text)[length - (length > 0 && (*text)[length - 1] == '\r')] = '\0';
    return TW_OK;
}

void tw_lines_fini(struct tw_lines *lines) {
    free(lines->buffer);
    lines->buffer = NULL;
}
