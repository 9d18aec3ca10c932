/* The encoder: see frame.h. A frame on the wire is
 *
 *     length of the rest            varint
 *     key, length, fields           the body
 *     F0 7F, number                 unless its lane is 0: key 2046, wire type 0
 *     FA 7F, length                 only with data: key 2047, wire type 2
 *     tensor bytes                  not written here
 */
#include <string.h>

#include "proto/frame_pack.h"
#include "proto/frame_scan.h"
#include "proto/varint.h"

#define HEAD_MAX 16 /* the frame's length, the body's key and length: 5, 2 and 5 bytes at most */

static uint64_t body_key(const struct tw_frame *frame) {
    return (uint64_t)frame->body << 3 | 2;
}

/* Bytes of everything behind the frame's own length. */
static size_t frame_bytes(const struct tw_frame *frame, size_t fields) {
    size_t body = tw_varint_bytes(body_key(frame)) + tw_varint_bytes(fields) + fields;
    if (frame->lane != 0)
        body += TW_LANE_KEY_BYTES + tw_varint_bytes(frame->lane);
    if (frame->data_bytes == 0) {
        return body;
    }
    return body + TW_DATA_KEY_BYTES + tw_varint_bytes(frame->data_bytes) + frame->data_bytes;
}

struct tw_frame_bytes tw_frame_measure(const struct tw_frame *frame) {
    size_t fields = tw_frame_pack_fields(frame, NULL), bytes = frame_bytes(frame, fields);
    return (struct tw_frame_bytes){.fields = fields,
                                   .prefix = tw_varint_bytes(bytes) + bytes - frame->data_bytes};
}

/* What stands before the fields. */
static size_t write_head(const struct tw_frame *frame, size_t fields, unsigned char *to) {
    size_t at = tw_varint_put(to, frame_bytes(frame, fields));
    at += tw_varint_put(to + at, body_key(frame));
    return at + tw_varint_put(to + at, fields);
}

/* And behind them. */
static size_t write_tail(const struct tw_frame *frame, unsigned char *to) {
    size_t at = 0;
    if (frame->lane != 0) {
        at = tw_varint_put(to, TW_LANE_KEY);
        at += tw_varint_put(to + at, frame->lane);
    }
    if (frame->data_bytes == 0)
        return at;
    at += tw_varint_put(to + at, TW_DATA_KEY);
    return at + tw_varint_put(to + at, frame->data_bytes);
}

size_t tw_frame_write(const struct tw_frame *frame, struct tw_frame_bytes bytes, void *out) {
    unsigned char *to = out;
    size_t at = write_head(frame, bytes.fields, to);
    at += tw_frame_pack_fields(frame, to + at);
    return at + write_tail(frame, to + at);
}

size_t tw_frame_write_plain(const struct tw_frame *frame, unsigned char room[TW_PLAIN_MAX],
                            const unsigned char **start) {
    if (!tw_frame_is_plain(frame))
        return 0;
    unsigned char head[HEAD_MAX], *to = room + HEAD_MAX;
    size_t fields = tw_frame_pack_fields(frame, to);
    size_t before = write_head(frame, fields, head);
    size_t behind = write_tail(frame, to + fields);
    *start = memcpy(to - before, head, before);
    return before + fields + behind;
}

size_t tw_frame_prefix_bytes(const struct tw_frame *frame) {
    return tw_frame_measure(frame).prefix;
}

size_t tw_frame_encode(const struct tw_frame *frame, void *out, size_t capacity) {
    struct tw_frame_bytes bytes = tw_frame_measure(frame);
    return bytes.prefix <= capacity ? tw_frame_write(frame, bytes, out) : 0;
}
