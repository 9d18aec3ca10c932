/* Small fields: struct tw_frame to protobuf and back. Private to proto/.
 *
 * frame_pack.c is the one file that knows protobuf-c; tensor bytes and the
 * length in front of a frame are the business of frame_encode.c and
 * frame_decode.c.
 */
#ifndef TW_PROTO_FRAME_PACK_H
#define TW_PROTO_FRAME_PACK_H

#include "proto/frame.h"

/* Bytes of the fields of a frame's body; and of all of it that is not tensor bytes. */
struct tw_frame_bytes {
    size_t fields, prefix;
};

/* frame_encode.c: counts; and writes what was counted, for which `out` has room. Whoever needs to
 * know how much it is before it is written counts once. */
struct tw_frame_bytes tw_frame_measure(const struct tw_frame *frame);
size_t tw_frame_write(const struct tw_frame *frame, struct tw_frame_bytes bytes, void *out);

/* Most frames are of a few numbers, or are a Ping with not too many measures: they are written
 * without being counted before, to the end of `room`. Returns how many bytes, *start the first; 0:
 * it has more than that, count it. */
#define TW_PLAIN_FIELDS_MAX 768
#define TW_PLAIN_MAX (TW_PLAIN_FIELDS_MAX + 32)
size_t tw_frame_write_plain(const struct tw_frame *frame, unsigned char room[TW_PLAIN_MAX],
                            const unsigned char **start);

/* frame_pack.c: the body has at most TW_PLAIN_FIELDS_MAX bytes of fields. */
bool tw_frame_is_plain(const struct tw_frame *frame);

/* frame_pack.c: the fields of the body; with `out` NULL only counts. */
size_t tw_frame_pack_fields(const struct tw_frame *frame, unsigned char *out);

/* Reads a frame that is scan->plain, of whose first byte `bytes` is the address, all but
 * frame->data_bytes, if its body has nothing but numbers, as those of every push and its answer
 * have, or is a Ping. False: it is not made as we make it, or not valid; whatever was written to
 * `frame` means nothing. */
bool tw_frame_unpack_plain(struct tw_unpack_arena *arena, const struct tw_scan *scan,
                           const unsigned char *bytes, struct tw_frame *frame);

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
