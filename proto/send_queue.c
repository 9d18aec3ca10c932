/* See send_queue.h.
 *
 * A queue is a list of pages. A page has a few frames, and the bytes that were copied of them, one
 * behind the other, so that frames with little or no data that were queued one behind the other are
 * one piece for the kernel, or a few, instead of two each.
 */
#include "proto/send_queue.h"

#include <stdlib.h>
#include <string.h>

/* With what malloc() adds a page takes as much as the frames of one push of a worker did when each
 * had a piece of memory: a thousand connections that send little have one page each. */
#define PAGE_FRAMES 4
#define PAGE_BYTES 368

/* A page with more room than this, for one frame, is not kept. */
#define SPARE_BYTES 1024

struct tw_queued {
    const void *data; /* [borrowed] */
    size_t borrowed;
    void *token;
    uint32_t at, copied; /* in page->bytes: its prefix, and its data if they are few */
    uint32_t lane;
    bool has_data;
};

struct tw_page {
    struct tw_page *next;
    size_t room, used;
    unsigned first, end; /* frame[first .. end) wait */
    struct tw_queued frame[PAGE_FRAMES];
    unsigned char bytes[]; /* [room] */
};

/* ---- pages ---- */

/* The page is in no list. */
static void forget(struct tw_send_queue *queue, struct tw_page *page) {
    queue->pages--;
    if (queue->spares == TW_SEND_SPARE || page->room > SPARE_BYTES) {
        free(page);
        return;
    }
    page->next = queue->spare;
    queue->spare = page;
    queue->spares++;
}

static struct tw_page *take_spare(struct tw_send_queue *queue, size_t room) {
    struct tw_page *page = queue->spare;
    if (page == NULL)
        return NULL;
    queue->spare = page->next;
    queue->spares--;
    if (page->room >= room)
        return page;
    free(page);
    return NULL;
}

/* An empty one with room for so many bytes, at the end; NULL: out of memory. */
static struct tw_page *add_page(struct tw_send_queue *queue, size_t bytes) {
    size_t room = bytes > PAGE_BYTES ? bytes : PAGE_BYTES;
    struct tw_page *page = take_spare(queue, room);
    if (page == NULL) {
        page = malloc(sizeof *page + room);
        if (page == NULL)
            return NULL;
        page->room = room;
    }
    page->next = NULL;
    page->used = page->first = page->end = 0;
    *(queue->tail != NULL ? &queue->tail->next : &queue->head) = page;
    queue->tail = page;
    queue->pages++;
    return page;
}

void tw_send_queue_fini(struct tw_send_queue *queue) {
    while (queue->spare != NULL) {
        struct tw_page *page = queue->spare;
        queue->spare = page->next;
        free(page);
    }
    queue->spares = 0;
}

/* ---- putting ---- */

size_t tw_send_queue_cost(const struct tw_send_queue *queue, size_t frame_bytes) {
    return queue->bytes + queue->pages * (sizeof(struct tw_page) + PAGE_BYTES) + frame_bytes;
}

enum tw_status tw_send_queue_put(struct tw_send_queue *queue, const struct tw_frame *frame,
                                 struct tw_frame_bytes bytes, const unsigned char *written,
                                 const void *data, void *token) {
    if (bytes.prefix > TW_SMALL_FIELDS_MAX)
        return TW_LIMIT;
    size_t little = frame->data_bytes <= TW_SEND_COPIED_MAX ? frame->data_bytes : 0;
    size_t copied = bytes.prefix + little;
    struct tw_page *page = queue->tail;
    if (page == NULL || page->end == PAGE_FRAMES || page->room - page->used < copied)
        page = add_page(queue, copied);
    if (page == NULL)
        return TW_NO_MEMORY;
    unsigned char *to = page->bytes + page->used;
    if (written != NULL)
        memcpy(to, written, bytes.prefix);
    else
        tw_frame_write(frame, bytes, to);
    if (little > 0)
        memcpy(to + bytes.prefix, data, little);
    page->frame[page->end++] = (struct tw_queued){.data = data,
                                                  .borrowed = frame->data_bytes - little,
                                                  .token = token,
                                                  .at = (uint32_t)page->used,
                                                  .copied = (uint32_t)copied,
                                                  .lane = frame->lane,
                                                  .has_data = frame->data_bytes > 0};
    page->used += copied;
    queue->bytes += bytes.prefix + frame->data_bytes;
    queue->entries++;
    return TW_OK;
}

/* ---- taking ---- */

/* Adds a piece to the list, or to the last one if it lies behind that. */
static size_t add_piece(struct iovec *pieces, size_t count, const void *start, size_t size) {
    struct iovec *last = count > 0 ? &pieces[count - 1] : NULL;
    if (size == 0)
        return count;
    if (last != NULL && (const char *)last->iov_base + last->iov_len == (const char *)start) {
        last->iov_len += size;
        return count;
    }
    pieces[count] = (struct iovec){.iov_base = (void *)(uintptr_t)start, .iov_len = size};
    return count + 1;
}

/* What is left of a frame of which `taken` bytes are gone. */
static size_t add_frame(struct iovec *pieces, size_t count, const struct tw_page *page,
                        const struct tw_queued *frame, size_t taken) {
    size_t gone = taken < frame->copied ? taken : frame->copied;
    count = add_piece(pieces, count, page->bytes + frame->at + gone, frame->copied - gone);
    if (frame->borrowed == 0)
        return count;
    gone = taken - gone;
    return add_piece(pieces, count, (const char *)frame->data + gone, frame->borrowed - gone);
}

size_t tw_send_queue_gather(const struct tw_send_queue *queue,
                            struct iovec pieces[TW_GATHER_PIECES], size_t *bytes) {
    size_t count = 0, frames = 0, taken = queue->taken;
    *bytes = 0;
    for (const struct tw_page *page = queue->head; page != NULL; page = page->next) {
        for (unsigned i = page->first; i < page->end; i++) {
            const struct tw_queued *frame = &page->frame[i];
            if (frames++ == TW_GATHER_FRAMES || *bytes >= TW_GATHER_BYTES)
                return count;
            count = add_frame(pieces, count, page, frame, taken);
            *bytes += frame->copied + frame->borrowed - taken;
            taken = 0;
        }
    }
    return count;
}

/* The front frame is gone. */
static void drop_front(struct tw_send_queue *queue) {
    struct tw_page *page = queue->head;
    queue->entries--;
    queue->taken = 0;
    if (++page->first < page->end)
        return;
    queue->head = page->next;
    queue->tail = queue->head != NULL ? queue->tail : NULL;
    forget(queue, page);
}

void tw_send_queue_take(struct tw_send_queue *queue, size_t bytes, tw_send_released *released,
                        void *context) {
    while (bytes > 0) {
        struct tw_queued frame = queue->head->frame[queue->head->first];
        size_t left = frame.copied + frame.borrowed - queue->taken;
        if (bytes < left) {
            queue->taken += bytes;
            queue->bytes -= bytes;
            return;
        }
        bytes -= left;
        queue->bytes -= left;
        drop_front(queue);
        if (frame.has_data)
            released(context, frame.lane, frame.token);
    }
}

/* Takes out what tw_send_queue_drop_data() wants of a page; *before: the bytes in front of it. */
static void drop_of_page(struct tw_send_queue *queue, struct tw_page *page, uint32_t lane,
                         size_t keep, size_t *before, tw_send_released *released, void *context) {
    size_t taken = page == queue->head ? queue->taken : 0;
    unsigned kept = page->first;
    for (unsigned i = page->first; i < page->end; i++, taken = 0) {
        struct tw_queued frame = page->frame[i];
        size_t left = frame.copied + frame.borrowed - taken;
        if (*before < keep || taken > 0 || !frame.has_data || frame.lane != lane) {
            *before += left;
            page->frame[kept++] = frame;
            continue;
        }
        queue->bytes -= left;
        queue->entries--;
        released(context, lane, frame.token);
    }
    page->end = kept;
}

void tw_send_queue_drop_data(struct tw_send_queue *queue, uint32_t lane, size_t keep,
                             tw_send_released *released, void *context) {
    struct tw_page **at = &queue->head, *page;
    size_t before = 0;
    queue->tail = NULL;
    while ((page = *at) != NULL) {
        drop_of_page(queue, page, lane, keep, &before, released, context);
        if (page->first < page->end) {
            queue->tail = page;
            at = &page->next;
        } else {
            *at = page->next;
            forget(queue, page);
        }
    }
}
