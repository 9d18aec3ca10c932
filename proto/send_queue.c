/* See send_queue.h. */
#include "proto/send_queue.h"

#include <stdlib.h>
#include <string.h>

/* A prefix of a frame with data is at most 91 bytes long; with it most others fit. One that does
 * not has a piece of the heap, which a spare entry keeps for the next unless it is larger. */
#define INLINE_BYTES 96
#define SPARE_BYTES 1024

struct tw_queued {
    struct tw_queued *next;
    unsigned char *prefix; /* [room]: `inlined`, or from malloc */
    size_t room;
    size_t prefix_bytes;
    const void *data; /* [data_bytes], borrowed */
    size_t data_bytes;
    size_t taken; /* of both */
    void *token;
    uint32_t lane;
    unsigned char inlined[INLINE_BYTES];
};

/* Gives the entry `room` bytes for its prefix; false: out of memory, it has what fits inline. */
static bool make_room(struct tw_queued *entry, size_t room) {
    if (entry->prefix != entry->inlined) {
        free(entry->prefix);
    }
    bool outside = room > INLINE_BYTES;
    unsigned char *piece = outside ? malloc(room) : NULL;
    entry->prefix = piece != NULL ? piece : entry->inlined;
    entry->room = piece != NULL ? room : INLINE_BYTES;
    return !outside || piece != NULL;
}

static void free_entry(struct tw_queued *entry) {
    make_room(entry, 0);
    free(entry);
}

static void forget(struct tw_send_queue *queue, struct tw_queued *entry) {
    if (queue->spares == TW_SEND_SPARE) {
        free_entry(entry);
        return;
    }
    if (entry->room > SPARE_BYTES) {
        make_room(entry, 0);
    }
    entry->next = queue->spare;
    queue->spare = entry;
    queue->spares++;
}

static struct tw_queued *new_entry(struct tw_send_queue *queue, size_t prefix_bytes) {
    struct tw_queued *entry = queue->spare;
    if (entry != NULL) {
        queue->spare = entry->next;
        queue->spares--;
    } else if ((entry = malloc(sizeof *entry)) == NULL) {
        return NULL;
    } else {
        entry->prefix = entry->inlined;
        entry->room = INLINE_BYTES;
    }
    if (prefix_bytes > entry->room && !make_room(entry, prefix_bytes)) {
        forget(queue, entry);
        return NULL;
    }
    return entry;
}

void tw_send_queue_fini(struct tw_send_queue *queue) {
    while (queue->spare != NULL) {
        struct tw_queued *entry = queue->spare;
        queue->spare = entry->next;
        free_entry(entry);
    }
    queue->spares = 0;
}

size_t tw_send_queue_cost(const struct tw_send_queue *queue, size_t frame_bytes) {
    return queue->bytes + queue->entries * sizeof(struct tw_queued) + frame_bytes;
}

enum tw_status tw_send_queue_put(struct tw_send_queue *queue, const struct tw_frame *frame,
                                 struct tw_frame_bytes bytes, const unsigned char *written,
                                 const void *data, void *token) {
    if (bytes.prefix > TW_SMALL_FIELDS_MAX) {
        return TW_LIMIT;
    }
    struct tw_queued *entry = new_entry(queue, bytes.prefix);
    if (entry == NULL) {
        return TW_NO_MEMORY;
    }
    entry->next = NULL;
    if (written != NULL)
        memcpy(entry->prefix, written, bytes.prefix);
    else
        tw_frame_write(frame, bytes, entry->prefix);
    entry->prefix_bytes = bytes.prefix;
    entry->data = data;
    entry->data_bytes = frame->data_bytes;
    entry->taken = 0;
    entry->token = token;
    entry->lane = frame->lane;
    *(queue->tail != NULL ? &queue->tail->next : &queue->head) = entry;
    queue->tail = entry;
    queue->bytes += entry->prefix_bytes + entry->data_bytes;
    queue->entries++;
    return TW_OK;
}

/* Adds what is left of a piece, of which `taken` bytes are gone. */
static size_t add_piece(struct iovec *piece, const void *start, size_t size, size_t taken) {
    if (taken >= size) {
        return 0;
    }
    piece->iov_base = (char *)(uintptr_t)start + taken;
    piece->iov_len = size - taken;
    return 1;
}

size_t tw_send_queue_gather(const struct tw_send_queue *queue,
                            struct iovec pieces[TW_GATHER_PIECES], size_t *bytes) {
    size_t count = 0;
    size_t frames = 0;
    *bytes = 0;
    for (const struct tw_queued *entry = queue->head;
         entry != NULL && frames < TW_GATHER_FRAMES && *bytes < TW_GATHER_BYTES;
         entry = entry->next, frames++) {
        size_t head = entry->prefix_bytes;
        size_t of_data = entry->taken > head ? entry->taken - head : 0;
        count += add_piece(&pieces[count], entry->prefix, head, entry->taken);
        count += add_piece(&pieces[count], entry->data, entry->data_bytes, of_data);
        *bytes += head + entry->data_bytes - entry->taken;
    }
    return count;
}

void tw_send_queue_take(struct tw_send_queue *queue, size_t bytes, tw_send_released *released,
                        void *context) {
    while (bytes > 0) {
        struct tw_queued *entry = queue->head;
        size_t left = entry->prefix_bytes + entry->data_bytes - entry->taken;
        size_t taken = bytes < left ? bytes : left;
        entry->taken += taken;
        queue->bytes -= taken;
        bytes -= taken;
        if (taken < left) {
            return;
        }
        queue->head = entry->next;
        queue->tail = queue->head != NULL ? queue->tail : NULL;
        queue->entries--;
        bool had_data = entry->data_bytes > 0;
        void *token = entry->token;
        uint32_t lane = entry->lane;
        forget(queue, entry);
        if (had_data) {
            released(context, lane, token);
        }
    }
}

void tw_send_queue_drop_data(struct tw_send_queue *queue, uint32_t lane, size_t keep,
                             tw_send_released *released, void *context) {
    struct tw_queued **at = &queue->head;
    size_t before = 0;
    queue->tail = NULL;
    while (*at != NULL) {
        struct tw_queued *entry = *at;
        size_t left = entry->prefix_bytes + entry->data_bytes - entry->taken;
        if (before < keep || entry->taken > 0 || entry->data_bytes == 0 || entry->lane != lane) {
            before += left;
            queue->tail = entry;
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        queue->bytes -= left;
        queue->entries--;
        void *token = entry->token;
        forget(queue, entry);
        released(context, lane, token);
    }
}
