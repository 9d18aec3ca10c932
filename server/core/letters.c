#include "server/core/letters.h"

#include <assert.h>
#include <string.h>

/* ---- votes ---- */

/* As many examples as an End may say that there are, and no more right than there are. */
static enum tw_status ready_of(const struct tw_ready *frame, uint32_t shard, struct tw_ready *ready,
                               struct tw_error *error) {
    *ready = *frame;
    ready->shard = shard;
    if (ready->examples < 1 || ready->examples > (uint64_t)TW_ELEMENTS_MAX)
        return tw_error_set(error, TW_MALFORMED, "a Ready with %llu examples",
                            (unsigned long long)ready->examples);
    if (ready->correct && ready->correct - 1 > ready->examples)
        return tw_error_set(error, TW_MALFORMED, "a Ready with %llu of %llu examples right",
                            (unsigned long long)ready->correct - 1,
                            (unsigned long long)ready->examples);
    return TW_OK;
}

static void sample_frame(const struct tw_sample *sample, struct tw_frame *frame, uint8_t *scratch) {
    frame->body = TW_BODY_SAMPLE;
    frame->sample = (struct tw_sample_frame){
        .version = sample->version,
        .hash = sample->hash,
        .hashed = sample->hashed,
        .summed = sample->summed,
        .sums = {scratch, TW_SAMPLE_SUMS_BYTES},
    };
    tw_exact_sum_put(
        tw_exact_sum_put(tw_exact_sum_put(scratch, &sample->gradient), &sample->update),
        &sample->weights);
}

static enum tw_status sample_of(const struct tw_sample_frame *frame, struct tw_sample *sample,
                                struct tw_error *error) {
    if (frame->sums.size != TW_SAMPLE_SUMS_BYTES)
        return tw_error_set(error, TW_MALFORMED, "a Sample with sums of %zu bytes, not %d",
                            frame->sums.size, TW_SAMPLE_SUMS_BYTES);
    *sample = (struct tw_sample){.version = frame->version,
                                 .hash = frame->hash,
                                 .hashed = frame->hashed,
                                 .summed = frame->summed};
    tw_exact_sum_get(
        tw_exact_sum_get(tw_exact_sum_get(frame->sums.bytes, &sample->gradient), &sample->update),
        &sample->weights);
    return TW_OK;
}

static void sums_frame(const struct tw_sums *sums, struct tw_frame *frame, uint8_t *scratch) {
    frame->body = TW_BODY_SUMS;
    frame->sums = (struct tw_sums_frame){
        .version = sums->version, .finite = sums->finite, .squares = {scratch, TW_SQUARES_BYTES}};
    tw_exact_sum_put_words(scratch, &sums->squares);
}

/* There is no way to say a sum that is negative or no number. One that is too large for any model
 * is a lie; added to others it might run over, and nobody would clip. */
static enum tw_status sums_of(const struct tw_sums_frame *frame, uint32_t shard,
                              struct tw_sums *sums, struct tw_error *error) {
    if (frame->squares.size != TW_SQUARES_BYTES)
        return tw_error_set(error, TW_MALFORMED, "Sums with a sum of squares of %zu bytes, not %d",
                            frame->squares.size, TW_SQUARES_BYTES);
    *sums = (struct tw_sums){.shard = shard, .version = frame->version, .finite = frame->finite};
    tw_exact_sum_get_words(frame->squares.bytes, &sums->squares);
    if (sums->finite && tw_exact_sum_value(&sums->squares) >= TW_SQUARES_LIMIT)
        return tw_error_set(error, TW_MALFORMED,
                            "Sums with a sum of squares of %g, more than finite gradients can have",
                            tw_exact_sum_value(&sums->squares));
    return TW_OK;
}

static void squares_frame(const struct tw_squares *squares, struct tw_frame *frame,
                          uint8_t *scratch) {
    frame->body = TW_BODY_SQUARES;
    frame->squares = (struct tw_squares_frame){.version = squares->version,
                                               .tensor = squares->tensor,
                                               .applied = squares->applied,
                                               .sums = {scratch, TW_TENSOR_SUMS_BYTES}};
    tw_exact_sum_put(tw_exact_sum_put(scratch, &squares->of.weights), &squares->of.step);
}

/* Sums that run over together are not finite, and so is the update. */
static enum tw_status squares_of(const struct tw_squares_frame *frame, uint32_t shard,
                                 struct tw_squares *squares, struct tw_error *error) {
    if (frame->sums.size != TW_TENSOR_SUMS_BYTES)
        return tw_error_set(error, TW_MALFORMED, "Squares with sums of %zu bytes, not %d",
                            frame->sums.size, TW_TENSOR_SUMS_BYTES);
    *squares = (struct tw_squares){.shard = shard,
                                   .tensor = frame->tensor,
                                   .version = frame->version,
                                   .applied = frame->applied};
    tw_exact_sum_get(tw_exact_sum_get(frame->sums.bytes, &squares->of.weights), &squares->of.step);
    return TW_OK;
}

void tw_vote_frame(const struct tw_node_vote *vote, struct tw_frame *frame,
                   uint8_t scratch[TW_SAMPLE_SUMS_BYTES]) {
    *frame = (struct tw_frame){.body = TW_BODY_REACH};
    switch (vote->kind) {
    case TW_VOTE_READY:
        frame->body = TW_BODY_READY;
        frame->ready = vote->ready;
        break;
    case TW_VOTE_SUMS:
        sums_frame(&vote->sums, frame, scratch);
        break;
    case TW_VOTE_SAMPLE:
        sample_frame(&vote->sample, frame, scratch);
        break;
    case TW_VOTE_SQUARES:
        squares_frame(&vote->squares, frame, scratch);
        break;
    case TW_VOTE_ATTACHED:
    case TW_VOTE_LOST:
        frame->reach.rank = vote->rank;
        frame->reach.attempt = vote->attempt;
        frame->reach.attached = vote->kind == TW_VOTE_ATTACHED;
        break;
    }
}

enum tw_status tw_vote_of_frame(const struct tw_frame *frame, uint32_t shard,
                                struct tw_node_vote *vote, struct tw_error *error) {
    if (frame->body == TW_BODY_READY) {
        vote->kind = TW_VOTE_READY;
        return ready_of(&frame->ready, shard, &vote->ready, error);
    } else if (frame->body == TW_BODY_SUMS) {
        vote->kind = TW_VOTE_SUMS;
        return sums_of(&frame->sums, shard, &vote->sums, error);
    } else if (frame->body == TW_BODY_SAMPLE) {
        vote->kind = TW_VOTE_SAMPLE;
        return sample_of(&frame->sample, &vote->sample, error);
    } else if (frame->body == TW_BODY_SQUARES) {
        vote->kind = TW_VOTE_SQUARES;
        return squares_of(&frame->squares, shard, &vote->squares, error);
    } else {
        vote->kind = frame->reach.attached ? TW_VOTE_ATTACHED : TW_VOTE_LOST;
        vote->rank = frame->reach.rank;
        vote->attempt = frame->reach.attempt;
        vote->shard = shard;
    }
    return TW_OK;
}

/* ---- orders out ---- */

void tw_order_put(struct tw_order_outbox *outbox, const struct tw_node_order *order) {
    struct tw_record commit_to_be = {.kind = TW_RECORD_COMMIT};
    const struct tw_record *record = &order->record;
    outbox->order = order;
    outbox->size = outbox->at = 0;
    outbox->done = false;
    if (order->kind == TW_ORDER_MEMBER)
        return;
    if (order->kind == TW_ORDER_PREPARE) {
        commit_to_be.version = order->prepare.version;
        commit_to_be.count = order->prepare.count;
        commit_to_be.contributions = order->prepare.contributions;
        commit_to_be.examples = order->prepare.examples;
        commit_to_be.rate = order->prepare.rate;
        commit_to_be.scalar_count = order->prepare.scalar_count;
        commit_to_be.scalars = order->prepare.scalars;
        record = &commit_to_be;
    }
    assert(tw_record_message_room(record) <= sizeof(outbox->bytes));
    outbox->size = tw_record_message_pack(record, outbox->bytes);
}

static bool record_is_of_evaluator(const struct tw_record *record) {
    return record->kind == TW_RECORD_RELEASE && record->slot == TW_SLOT_EVALUATOR;
}

bool tw_order_next(struct tw_order_outbox *outbox, struct tw_frame *frame) {
    const struct tw_node_order *order = outbox->order;
    if (outbox->done)
        return false;
    *frame = (struct tw_frame){.body = TW_BODY_ORDER};
    if (order->kind == TW_ORDER_MEMBER) {
        frame->body = TW_BODY_MEMBER;
        frame->member.role = order->member.role;
        frame->member.rank = order->member.rank;
        frame->member.incarnation = order->member.incarnation;
        frame->member.attempt = order->member.attempt;
        frame->member.session = (struct tw_view){order->member.session, TW_SESSION_BYTES};
        outbox->done = true;
        return true;
    }
    size_t left = outbox->size - outbox->at;
    size_t part = left < TW_ORDER_PART_BYTES ? left : TW_ORDER_PART_BYTES;
    frame->order.record = (struct tw_view){outbox->bytes + outbox->at, part};
    frame->order.more = part < left;
    frame->order.prepare = order->kind == TW_ORDER_PREPARE;
    if (order->kind == TW_ORDER_RECORD && record_is_of_evaluator(&order->record))
        frame->order.evaluators = order->evaluators;
    outbox->at += part;
    outbox->done = part == left;
    return true;
}

/* ---- orders in ---- */

static enum tw_status take_member(const struct tw_member_frame *frame, struct tw_node_order *order,
                                  struct tw_error *error) {
    if (frame->session.size != TW_SESSION_BYTES)
        return tw_error_set(error, TW_MALFORMED, "a Member with a session key of %zu bytes, not %d",
                            frame->session.size, TW_SESSION_BYTES);
    order->kind = TW_ORDER_MEMBER;
    order->member.role = frame->role;
    order->member.rank = frame->rank;
    order->member.incarnation = frame->incarnation;
    order->member.attempt = frame->attempt;
    memcpy(order->member.session, frame->session.bytes, TW_SESSION_BYTES);
    return TW_OK;
}

static enum tw_status add_part(struct tw_order_inbox *inbox, const struct tw_order *part,
                               struct tw_error *error) {
    if (inbox->size && part->prepare != inbox->prepare)
        return tw_error_set(error, TW_UNEXPECTED, "parts of two orders are mixed");
    if (part->more && !part->record.size)
        return tw_error_set(error, TW_MALFORMED, "a part of an order without bytes");
    if (part->record.size > sizeof(inbox->bytes) - inbox->size)
        return tw_error_set(error, TW_LIMIT, "an order of more than %zu bytes",
                            sizeof(inbox->bytes));
    if (part->record.size)
        memcpy(inbox->bytes + inbox->size, part->record.bytes, part->record.size);
    inbox->size += part->record.size;
    inbox->prepare = part->prepare;
    return part->more ? TW_AGAIN : TW_OK;
}

enum tw_status tw_order_take(struct tw_order_inbox *inbox, const struct tw_frame *frame,
                             struct tw_node_order *order, struct tw_error *error) {
    struct tw_record record;
    if (frame->body == TW_BODY_MEMBER)
        return inbox->size ? tw_error_set(error, TW_UNEXPECTED, "a Member inside of an order")
                           : take_member(&frame->member, order, error);
    enum tw_status status = add_part(inbox, &frame->order, error);
    if (status != TW_OK)
        return status;
    status = tw_record_message_unpack(&inbox->arena, inbox->bytes, inbox->size, &record, error);
    inbox->size = 0;
    if (status != TW_OK)
        return tw_error_set(error, TW_MALFORMED, "an order that is no record");
    order->kind = TW_ORDER_RECORD;
    order->evaluators = frame->order.evaluators;
    order->record = record;
    if (!inbox->prepare)
        return TW_OK;
    if (record.kind != TW_RECORD_COMMIT)
        return tw_error_set(error, TW_MALFORMED, "a %s that is to be prepared",
                            tw_record_name(record.kind));
    order->kind = TW_ORDER_PREPARE;
    order->prepare = (struct tw_prepare){.version = record.version,
                                         .count = record.count,
                                         .contributions = record.contributions,
                                         .examples = record.examples,
                                         .rate = record.rate,
                                         .scalar_count = record.scalar_count,
                                         .scalars = record.scalars};
    return TW_OK;
}
