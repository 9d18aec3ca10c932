#include "proto/trace_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flat.h"
#include "proto/trace_log_pack.h"

#define WINDOW (2 * TW_TRACE_MESSAGE_MAX)

struct tw_trace_reader {
    struct tw_delimited file;
    uint64_t skipped;
    struct tw_trace_arena arena;
    unsigned char window[WINDOW];
};

size_t tw_trace_pack(const struct tw_trace_entry *entry, unsigned char *out) {
    size_t size = tw_put_length(out, 0, 1 + tw_trace_message_pack(entry, out + 1));
    assert(size <= TW_TRACE_ENTRY_MAX);
    return size;
}

enum tw_status tw_trace_reader_new(struct tw_trace_reader **out, tw_byte_source *source,
                                   void *context, struct tw_error *error) {
    struct tw_trace_reader *reader = malloc(sizeof *reader);
    *out = reader;
    if (reader == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "no memory to read a trace log");
    reader->skipped = 0;
    reader->file = (struct tw_delimited){.source = source,
                                         .context = context,
                                         .article = "an",
                                         .noun = "entry",
                                         .longest = TW_TRACE_MESSAGE_MAX,
                                         .window = reader->window,
                                         .room = WINDOW};
    return TW_OK;
}

void tw_trace_reader_free(struct tw_trace_reader *reader) {
    free(reader);
}

uint64_t tw_trace_skipped(const struct tw_trace_reader *reader) {
    return reader->skipped;
}

struct parsing {
    struct tw_trace_reader *reader;
    struct tw_trace_entry *entry;
    bool known;
};

static enum tw_status check_header(const struct tw_trace_entry *entry, bool known, bool first,
                                   struct tw_error *error) {
    bool header = known && entry->kind == TW_TRACE_HEADER;
    if (header != first)
        return tw_error_set(error, TW_DATA,
                            first ? "the first entry is no header, so this is no "
                                    "trace log"
                                  : "a second header");
    if (header && entry->header.format != TW_TRACE_FORMAT)
        return tw_error_set(error, TW_DATA, "format %u; this version of Talweg reads format %u",
                            entry->header.format, TW_TRACE_FORMAT);
    return TW_OK;
}

static enum tw_status parse(void *context, const unsigned char *bytes, size_t size,
                            struct tw_error *error) {
    struct parsing *parsing = context;
    enum tw_status status = tw_trace_message_unpack(&parsing->reader->arena, bytes, size,
                                                    parsing->entry, &parsing->known, error);
    if (status != TW_OK)
        return status;
    return check_header(parsing->entry, parsing->known, parsing->reader->file.count == 0, error);
}

enum tw_status tw_trace_next(struct tw_trace_reader *reader, struct tw_trace_entry *entry,
                             struct tw_error *error) {
    struct parsing parsing = {.reader = reader, .entry = entry};
    for (;;) {
        enum tw_status status = tw_delimited_next(&reader->file, parse, &parsing, error);
        if (status != TW_OK || parsing.known)
            return status;
        reader->skipped++;
    }
}
