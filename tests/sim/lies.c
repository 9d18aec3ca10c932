/* What a server that lies says to another: the honest frame with some bits changed, cut, said
 * twice, out of its order or not at all; any other frame; bytes that are none. */
#include <string.h>

#include "tests/lib/frame_samples.h"
#include "tests/sim/cluster_parts.h"

enum { ROOM = TW_ORDER_PART_BYTES + 128 };

/* Mostly low bits: numbers become other numbers that could be. The length stays right. */
static void change_bits(struct cluster *c, unsigned char *bytes, size_t size) {
    size_t head = size > 128 ? 2 : 1;
    for (uint64_t left = 1 + cluster_below(c, 3); left && size > head; left--) {
        uint64_t at = head + cluster_below(c, size - head);
        bytes[at] ^= (unsigned char)(1u << (cluster_below(c, 4) ? cluster_below(c, 3)
                                                                : cluster_below(c, 8)));
    }
}

static void say_something_else(struct cluster *c, struct stream *stream) {
    unsigned char bytes[ROOM];
    const struct tw_frame *frame;
    do
        frame = &frame_samples[cluster_below(c, FRAME_SAMPLES)].frame;
    while (frame->data_bytes);
    stream_add(stream, bytes, tw_frame_encode(frame, bytes, sizeof(bytes)));
}

static void say_nonsense(struct cluster *c, struct stream *stream) {
    unsigned char bytes[40];
    size_t size = 1 + cluster_below(c, sizeof(bytes));
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)cluster_below(c, 256);
    stream_add(stream, bytes, size);
}

void cluster_lie(struct server_link *link, const unsigned char *honest, size_t size) {
    struct cluster *c = link->cluster;
    unsigned char bytes[ROOM];
    memcpy(bytes, honest, size);
    c->lied = true;
    switch (cluster_below(c, 8)) {
    case 0: /* twice */
        stream_add(&link->stream, honest, size);
        stream_add(&link->stream, honest, size);
        break;
    case 1: /* not at all */
        break;
    case 2:
        say_something_else(c, &link->stream);
        stream_add(&link->stream, honest, size);
        break;
    case 3:
        say_nonsense(c, &link->stream);
        break;
    case 4: /* and the next frame is read as the rest of this one */
        stream_add(&link->stream, honest, 1 + cluster_below(c, size));
        break;
    case 5: /* the truth, and then something like it */
        stream_add(&link->stream, honest, size);
        change_bits(c, bytes, size);
        stream_add(&link->stream, bytes, size);
        break;
    default:
        change_bits(c, bytes, size);
        stream_add(&link->stream, bytes, size);
        break;
    }
}
