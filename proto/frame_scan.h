/* Walks the top-level fields of a frame as its bytes arrive. Private to proto/.
 *
 * It looks only at keys and lengths, and refuses what is wrong before anything
 * is collected for it; the fields of the body are the business of frame_pack.c.
 * A scan goes on where it stopped, so bytes that arrive one by one cost no more
 * than bytes that arrive together.
 */
#ifndef TW_PROTO_FRAME_SCAN_H
#define TW_PROTO_FRAME_SCAN_H

#include "proto/frame.h"

#define TW_DATA_KEY (2047u << 3 | 2) /* FA 7F on the wire */
#define TW_DATA_KEY_BYTES 2u
#define TW_LANE_KEY (2046u << 3 | 0) /* F0 7F */
#define TW_LANE_KEY_BYTES 2u

enum tw_scan_result {
    TW_SCAN_MORE,     /* bytes are missing */
    TW_SCAN_STANDARD, /* all small fields are here, the rest of the frame is its data */
    TW_SCAN_COMPLETE, /* the whole frame is here, and data (if any) is not at its end only */
    TW_SCAN_FAILED,
};

/* Begins a frame of `frame_bytes` bytes. */
void tw_scan_begin(struct tw_scan *scan, size_t frame_bytes, bool data_allowed);

/* Goes on: `bytes` are the first `have` bytes of the frame. On TW_SCAN_FAILED,
 * `error` says what is wrong: TW_MALFORMED, TW_LIMIT, or TW_UNEXPECTED. */
enum tw_scan_result tw_scan_go_on(struct tw_scan *scan, const unsigned char *bytes, size_t have,
                                  struct tw_error *error);

/* After TW_SCAN_MORE: bytes of the frame, counted from its start, that must be in
 * one piece before the scan can say more. */
size_t tw_scan_needs(const struct tw_scan *scan);

/* After TW_SCAN_COMPLETE: copies all fields but data, end to end, to `out`, which
 * has room for scan->small_bytes; returns how many they are. */
size_t tw_scan_gather(const struct tw_scan *scan, const unsigned char *bytes, unsigned char *out);

#endif
