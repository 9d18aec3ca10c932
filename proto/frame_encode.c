/* The encoder: see frame.h. A frame on the wire is
 *
 *     length of the rest            varint
 *     key, length, fields           the body
 *     F0 7F, number                 unless its lane is 0: key 2046, wire type 0
 *     FA 7F, length                 only with data: key 2047, wire type 2
 *     tensor bytes                  not written here
 */
#include <string.h>

#include "proto/flat.h"
#include "proto/frame_pack.h"
#include "proto/frame_scan.h"

#define HEAD_MAX 16 /* the frame's length, the body's key and length: 5, 2 and 5 bytes at most */

static uint64_t body_key(const struct tw_frame *frame) {
    return (uint64_t)frame->body << 3 | 2;
}

/* What stands behind the fields. */
static size_t put_tail(const struct tw_frame *frame, unsigned char *out) {
    size_t at = 0;
    if (frame->lane != 0)
        at = tw_put_varint(out, tw_put_varint(out, at, TW_LANE_KEY), frame->lane);
    if (frame->data_bytes != 0)
        at = tw_put_varint(out, tw_put_varint(out, at, TW_DATA_KEY), frame->data_bytes);
    return at;
}

/* And in front of them. */
static size_t put_head(const struct tw_frame *frame, size_t fields, size_t tail,
                       unsigned char *out) {
    uint64_t key = body_key(frame);
    size_t body = tw_varint_bytes(key) + tw_varint_bytes(fields) + fields;
    size_t at = tw_put_varint(out, 0, body + tail + frame->data_bytes);
    return tw_put_varint(out, tw_put_varint(out, at, key), fields);
}

struct tw_frame_bytes tw_frame_measure(const struct tw_frame *frame) {
    size_t fields = tw_frame_pack_fields(frame, NULL), tail = put_tail(frame, NULL);
    return (struct tw_frame_bytes){.fields = fields,
                                   .prefix = put_head(frame, fields, tail, NULL) + fields + tail};
}

size_t tw_frame_write(const struct tw_frame *frame, struct tw_frame_bytes bytes, void *out) {
    unsigned char *to = out;
    size_t at = put_head(frame, bytes.fields, put_tail(frame, NULL), to);
    at += tw_frame_pack_fields(frame, to + at);
    return at + put_tail(frame, to + at);
}

size_t tw_frame_write_plain(const struct tw_frame *frame, unsigned char room[TW_PLAIN_MAX],
                            const unsigned char **start) {
    if (!tw_frame_is_plain(frame))
        return 0;
    unsigned char head[HEAD_MAX], *to = room + HEAD_MAX;
    size_t fields = tw_frame_pack_fields(frame, to);
    size_t tail = put_tail(frame, to + fields);
    size_t before = put_head(frame, fields, tail, head);
    *start = memcpy(to - before, head, before);
    return before + fields + tail;
}

size_t tw_frame_prefix_bytes(const struct tw_frame *frame) {
    return tw_frame_measure(frame).prefix;
}

size_t tw_frame_encode(const struct tw_frame *frame, void *out, size_t capacity) {
    struct tw_frame_bytes bytes = tw_frame_measure(frame);
    return bytes.prefix <= capacity ? tw_frame_write(frame, bytes, out) : 0;
}
