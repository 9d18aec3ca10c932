/* Entries of the trace log to protobuf and back. Private to proto/.
 *
 * trace_log_pack.c is the one file that includes trace_log's generated code; the length
 * in front of an entry, and the file, are the business of trace_log.c.
 */
#ifndef TW_PROTO_TRACE_LOG_PACK_H
#define TW_PROTO_TRACE_LOG_PACK_H

#include "proto/trace_log.h"

/* An entry of a kind to come may be larger than those that we write. */
#define TW_TRACE_MESSAGE_MAX (16u << 10)

/* Memory for unpacking one entry, fields that are not known included. */
#define TW_TRACE_ARENA_BYTES (1u << 20)

struct tw_trace_arena {
    size_t used;
    _Alignas(16) unsigned char bytes[TW_TRACE_ARENA_BYTES];
};

/* Writes the message Entry, at most TW_TRACE_ENTRY_MAX - 2 bytes; returns how many.
 */
size_t tw_trace_message_pack(const struct tw_trace_entry *entry, unsigned char *out);

/* Reads a message Entry. *known false: of a kind that this version does not know. TW_DATA
 * with a message that says what is wrong with it. */
enum tw_status tw_trace_message_unpack(struct tw_trace_arena *arena, const unsigned char *bytes,
                                       size_t size, struct tw_trace_entry *entry, bool *known,
                                       struct tw_error *error);

#endif
