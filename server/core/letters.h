/* What servers say to each other, as frames: votes up to the lead, orders down to the
 * other shards. The node speaks in values (struct tw_node_vote, tw_node_order); between
 * processes, also those of the virtual cluster, they travel as these frames.
 *
 * A record may be larger than a frame: it travels in parts (Order.more), which the inbox
 * puts together again in memory of a fixed size. What comes in is not trusted: a status
 * and a sentence, never an assertion. Pure.
 */
#ifndef TW_CORE_LETTERS_H
#define TW_CORE_LETTERS_H

#include "proto/order_log_pack.h"
#include "server/core/node.h"

#define TW_ORDER_PART_BYTES (32u << 10)

#define TW_SQUARES_BYTES (TW_EXACT_SUM_WORDS * 8)
#define TW_SAMPLE_SUMS_BYTES (3 * (TW_SQUARES_BYTES + 1))
#define TW_TENSOR_SUMS_BYTES (2 * (TW_SQUARES_BYTES + 1))

/* 2^50 elements (common/base/limits.h), each below 2^128. Those of all shards together, too, stay
 * within an exact sum. */
#define TW_SQUARES_LIMIT 0x1p306

/* A vote as its frame, which borrows from `scratch`. */
void tw_vote_frame(const struct tw_node_vote *vote, struct tw_frame *frame,
                   uint8_t scratch[TW_SAMPLE_SUMS_BYTES]);

/* A frame Ready, Sums, Reach, Sample or Squares from shard `shard`. TW_MALFORMED: so many examples,
 * or so many right ones, cannot be; its sums are none, or are not below TW_SQUARES_LIMIT. */
enum tw_status tw_vote_of_frame(const struct tw_frame *frame, uint32_t shard,
                                struct tw_node_vote *vote, struct tw_error *error);

/* An order on its way out, as one frame or several. */
struct tw_order_outbox {
    const struct tw_node_order *order; /* borrowed until the last frame */
    size_t size, at;                   /* of the record in `bytes` */
    bool done;
    unsigned char bytes[TW_ORDER_LOG_RECORD_MAX];
};

void tw_order_put(struct tw_order_outbox *outbox, const struct tw_node_order *order);
/* The next frame; it borrows from outbox and order. False: that was all. */
bool tw_order_next(struct tw_order_outbox *outbox, struct tw_frame *frame);

/* Orders on their way in. */
struct tw_order_inbox {
    size_t size;
    bool prepare;
    unsigned char bytes[TW_ORDER_LOG_RECORD_MAX];
    struct tw_record_arena arena;
};

/* A frame Order or Member. TW_OK: *order is whole, and valid until the next call;
 * TW_AGAIN: more parts are to come. TW_LIMIT, TW_MALFORMED, TW_UNEXPECTED: it is wrong. */
enum tw_status tw_order_take(struct tw_order_inbox *inbox, const struct tw_frame *frame,
                             struct tw_node_order *order, struct tw_error *error);

#endif
