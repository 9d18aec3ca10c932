/* Records of the order log to protobuf and back. For order_log.c, and for what servers say
 * to each other (server/core/letters.c).
 *
 * order_log_pack.c is the one file that includes order_log's generated code; the
 * length in front of a record, and the file, are the business of order_log.c.
 */
#ifndef TW_PROTO_ORDER_LOG_PACK_H
#define TW_PROTO_ORDER_LOG_PACK_H

#include "proto/order_log.h"

/* Memory for unpacking one record: the largest needs 1.4 MiB of it. */
#define TW_RECORD_ARENA_BYTES (2u << 20)

struct tw_record_arena {
    size_t used;
    _Alignas(16) unsigned char bytes[TW_RECORD_ARENA_BYTES];
};

/* As many bytes as the message Record has, or more. */
size_t tw_record_message_room(const struct tw_record *record);

/* Writes the message; returns its bytes. `out` has tw_record_message_room(). */
size_t tw_record_message_pack(const struct tw_record *record, unsigned char *out);

/* Reads a message Record. What it points to lies in the arena, whose earlier content is
 * lost. TW_DATA with a message that says what is wrong with it. */
enum tw_status tw_record_message_unpack(struct tw_record_arena *arena, const unsigned char *bytes,
                                        size_t size, struct tw_record *record,
                                        struct tw_error *error);

#endif
