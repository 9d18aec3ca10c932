/* Frames that wait to leave a connection, in order. Private to proto/.
 *
 * Small fields are encoded when a frame is queued; tensor bytes are borrowed until
 * the frame has been taken whole, and copied besides when they are few. Pages are
 * reused, so a queue that neither grows nor dries up allocates nothing. No I/O here:
 * connection.c gathers, writes what it got, and takes off what the kernel accepted.
 */
#ifndef TW_PROTO_SEND_QUEUE_H
#define TW_PROTO_SEND_QUEUE_H

#include <sys/uio.h>

#include "proto/frame_pack.h"

/* Tensor bytes that lie beside the small fields of their frame: to be a piece of their own would
 * cost the kernel more than they cost to copy. */
#define TW_SEND_COPIED_MAX 128

/* Pages that are kept for reuse: what sixty-four workers on one connection push at once. */
#define TW_SEND_SPARE 32

#define TW_GATHER_PIECES (2 * TW_GATHER_FRAMES)

struct tw_page;

/* A frame with data, of this lane, has left whole or was taken out. */
typedef void tw_send_released(void *context, uint32_t lane, void *token);

struct tw_send_queue {
    struct tw_page *head, *tail;
    struct tw_page *spare;
    size_t pages, spares; /* of either list */
    size_t bytes;         /* not yet taken, prefixes and tensor bytes */
    size_t entries;       /* not yet taken whole */
    size_t taken;         /* bytes of the first of them */
};

/* An empty queue is all zeros. Frees everything; nothing may be queued. */
void tw_send_queue_fini(struct tw_send_queue *queue);

/* What the queue would use with so many bytes more: its bytes, and memory for pages. */
size_t tw_send_queue_cost(const struct tw_send_queue *queue, size_t frame_bytes);

/* Puts a frame at the end. `bytes` is tw_frame_measure(); or `written` has bytes.prefix bytes of it
 * already, else that is NULL. `data` is borrowed until tw_send_queue_take() hands out `token`.
 * TW_NO_MEMORY: nothing was queued; TW_LIMIT: its small fields are more than TW_SMALL_FIELDS_MAX,
 * nothing was queued. */
enum tw_status tw_send_queue_put(struct tw_send_queue *queue, const struct tw_frame *frame,
                                 struct tw_frame_bytes bytes, const unsigned char *written,
                                 const void *data, void *token);

/* Lists what to write next: up to TW_GATHER_FRAMES frames, and whole ones until
 * they reach TW_GATHER_BYTES. Returns the pieces, *bytes their sum. The pieces
 * stay where they are until they are taken. */
size_t tw_send_queue_gather(const struct tw_send_queue *queue,
                            struct iovec pieces[TW_GATHER_PIECES], size_t *bytes);

/* `bytes` of the front are gone. `released` is called for each frame with data
 * that has now left whole; it may queue more. */
void tw_send_queue_take(struct tw_send_queue *queue, size_t bytes, tw_send_released *released,
                        void *context);

/* Takes frames of a lane with tensor bytes out again, all that begin behind the first `keep`
 * bytes and of which nothing has been taken. `released` as above, but it must not queue. */
void tw_send_queue_drop_data(struct tw_send_queue *queue, uint32_t lane, size_t keep,
                             tw_send_released *released, void *context);

#endif
