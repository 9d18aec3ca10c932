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

/* Bytes of everything behind the frame's own length. */
static size_t frame_bytes(const struct tw_frame *frame, size_t body_bytes) {
    if (frame->data_bytes == 0) {
        return body_bytes;
    }
    return body_bytes + TW_DATA_KEY_BYTES + tw_varint_bytes(frame->data_bytes) + frame->data_bytes;
}

static size_t prefix_bytes(const struct tw_frame *frame, size_t body_bytes) {
    size_t bytes = frame_bytes(frame, body_bytes);
    return tw_varint_bytes(bytes) + bytes - frame->data_bytes;
}

size_t tw_frame_prefix_bytes(const struct tw_frame *frame) {
    return prefix_bytes(frame, tw_frame_body_bytes(frame).all);
}

size_t tw_frame_encode(const struct tw_frame *frame, void *out, size_t capacity) {
    unsigned char *to = out;
    struct tw_body_bytes body = tw_frame_body_bytes(frame);
    if (prefix_bytes(frame, body.all) > capacity) {
        return 0;
    }
    size_t at = tw_varint_put(to, frame_bytes(frame, body.all));
    at += tw_frame_body_pack(frame, body, to + at);
    if (frame->data_bytes > 0) {
        at += tw_varint_put(to + at, TW_DATA_KEY);
        at += tw_varint_put(to + at, frame->data_bytes);
    }
    return at;
}
