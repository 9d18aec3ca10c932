/* The encoder: see frame.h. A frame on the wire is
 *
 *     length of the rest            varint
 *     key, length, fields           the body
 *     FA 7F, length                 only with data: key 2047, wire type 2
 *     tensor bytes                  not written here
 */
#include "proto/frame_pack.h"
#include "proto/frame_scan.h"
#include "proto/varint.h"

static uint64_t body_key(const struct tw_frame *frame) {
    return (uint64_t)frame->body << 3 | 2;
}

/* Bytes of everything behind the frame's own length. */
static size_t frame_bytes(const struct tw_frame *frame, size_t fields) {
    size_t body = tw_varint_bytes(body_key(frame)) + tw_varint_bytes(fields) + fields;
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

size_t tw_frame_write(const struct tw_frame *frame, struct tw_frame_bytes bytes, void *out) {
    unsigned char *to = out;
    size_t at = tw_varint_put(to, frame_bytes(frame, bytes.fields));
    at += tw_varint_put(to + at, body_key(frame));
    at += tw_varint_put(to + at, bytes.fields);
    at += tw_frame_pack_fields(frame, to + at);
    if (frame->data_bytes > 0) {
        at += tw_varint_put(to + at, TW_DATA_KEY);
        at += tw_varint_put(to + at, frame->data_bytes);
    }
    return at;
}

size_t tw_frame_prefix_bytes(const struct tw_frame *frame) {
    return tw_frame_measure(frame).prefix;
}

size_t tw_frame_encode(const struct tw_frame *frame, void *out, size_t capacity) {
    struct tw_frame_bytes bytes = tw_frame_measure(frame);
    return bytes.prefix <= capacity ? tw_frame_write(frame, bytes, out) : 0;
}
