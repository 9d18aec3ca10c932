/* Small fields: struct tw_frame to protobuf and back. Private to proto/.
 *
 * frame_pack.c is the one file that knows protobuf-c; tensor bytes and the
 * length in front of a frame are the business of frame_encode.c and
 * frame_decode.c.
 */
#ifndef TW_PROTO_FRAME_PACK_H
#define TW_PROTO_FRAME_PACK_H

#include "proto/frame.h"

/* Bytes of the frame's body as a field of Frame: key, length, fields. */
struct tw_body_bytes {
    size_t fields, all;
};
struct tw_body_bytes tw_frame_body_bytes(const struct tw_frame *frame);

/* Writes them; `bytes` is tw_frame_body_bytes(), and `out` has room for all. */
size_t tw_frame_body_pack(const struct tw_frame *frame, struct tw_body_bytes bytes,
                          unsigned char *out);

/* Reads a Frame without `data` from `bytes` into `frame`, all but
 * frame->data_bytes. Views point into the arena from `arena->used` on, which is
 * all the memory that this may use: over it is TW_LIMIT. TW_MALFORMED: not a
 * message, or without a body that this version knows; `name` is what to call
 * the frame then. */
enum tw_status tw_frame_unpack(struct tw_unpack_arena *arena, const unsigned char *bytes,
                               size_t size, const char *name, struct tw_frame *frame,
                               struct tw_error *error);

/* `size` bytes of the arena, aligned for anything; NULL when it is used up. */
void *tw_unpack_arena_take(struct tw_unpack_arena *arena, size_t size);

#endif
