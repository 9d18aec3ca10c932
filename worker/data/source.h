/* The bytes of a data file, plain or gzipped (zlib sees which), one after the other; and its lines.
 *
 * Who uses it: the readers of the formats. The tests and the fuzzer read from memory instead. A
 * file that is missing, a folder, cut off or corrupt is TW_DATA, with its path.
 */
#ifndef TW_DATA_SOURCE_H
#define TW_DATA_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <zlib.h>

#include "common/base/status.h"

struct tw_source {
    const char *path; /* for messages; borrowed */
    gzFile file;      /* NULL: from memory */
    const uint8_t *memory;
    size_t left; /* of it */
};

/* TW_DATA, TW_NO_MEMORY; then nothing is open. */
enum tw_status tw_source_open(struct tw_source *source, const char *path, struct tw_error *error);

/* The same from bytes, which outlive it; whoever knows a path sets it. */
void tw_source_memory(struct tw_source *source, const void *bytes, size_t size);

/* Up to `wanted` bytes into `out`; *got is less only at the end of the file. */
enum tw_status tw_source_read(struct tw_source *source, void *out, size_t wanted, size_t *got,
                              struct tw_error *error);

/* Whether its bytes are those of the file, not gzipped. Something has been read. */
bool tw_source_is_plain(const struct tw_source *source);

/* Harmless on one that is not open. */
void tw_source_close(struct tw_source *source);

/* Bytes of one line, of CSV of one row, with its end. */
#define TW_DATA_LINE_MAX ((size_t)64 << 20)

struct tw_lines {
    struct tw_source *source;
    char *buffer; /* from malloc; grows up to the longest line */
    size_t room, from, to;
    uint64_t line; /* number of the next one, from 1 */
    bool ended;
};

void tw_lines_init(struct tw_lines *lines, struct tw_source *source);

/* The next line, without its end (LF or CR LF; the last one may have none) and with a zero behind
 * it; *number is its own, from 1. A line end within quotes ("...") ends nothing when `quotes`.
 * *text is valid until the next call, and may be written to. TW_CLOSED: there is no more; TW_DATA:
 * a zero byte, a line that is too long, quotes that are not closed; TW_NO_MEMORY. */
enum tw_status tw_lines_next(struct tw_lines *lines, bool quotes, char **text, uint64_t *number,
                             struct tw_error *error);

void tw_lines_fini(struct tw_lines *lines);

#endif
