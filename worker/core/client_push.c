/* The push: tensors become ready in any order, their chunks leave in the canonical
 * one as far as it goes, and each shard gets an End that counts them.
 *
 * As float32 nothing is copied: a gradient belongs to its push until weights of a newer
 * position say that the servers have settled it. Until then everything can be
 * handed out again, from the first chunk (Regather, reconnection); the servers
 * throw away what they had already.
 *
 * A push that is cancelled stops between two frames, whatever it was at: the servers have
 * forgotten what came of it, throw away what was on its way, and wait for no End.
 */
#include <string.h>

#include "worker/core/client_parts.h"

/* In which the gradient of this tensor travels. */
static uint32_t encoding_of(const struct tw_client *client, uint32_t tensor) {
    return tw_tensor_push_encoding(&client->layout.list->tensors[tensor], client->push);
}

void tw_client_make_segments(struct tw_client *client) {
    const struct tw_layout *layout = &client->layout;
    uint32_t count = 0;
    size_t encoded = 0;

    for (uint32_t shard = 0; shard < layout->servers; shard++) {
        client->shard_segment[shard] = count;
        for (uint32_t i = layout->shard_first[shard]; i < layout->shard_first[shard + 1]; i++) {
            uint32_t tensor = layout->chunk[i].tensor;
            if (i == layout->shard_first[shard] || tensor != layout->chunk[i - 1].tensor)
                client->segment[count++] =
                    (struct tw_client_segment){tensor, shard, i, i, i, encoded};
            client->segment[count - 1].end = i + 1;
            uint32_t encoding = encoding_of(client, tensor);
            if (tw_encodings[encoding].encode) /* else it is sent from where it lies */
                encoded += tw_encoding_bytes(encoding, layout->chunk[i].count);
        }
    }
    client->shard_segment[layout->servers] = count;
    client->segments = count;
}

void tw_client_rewind_shard(struct tw_client *client, uint32_t shard) {
    for (uint32_t i = client->shard_segment[shard]; i < client->shard_segment[shard + 1]; i++)
        client->segment[i].next = client->segment[i].first;
    client->link[1 + shard].ended = false;
}

void tw_client_rewind_push(struct tw_client *client) {
    for (uint32_t shard = 0; shard < client->layout.servers; shard++)
        tw_client_rewind_shard(client, shard);
}

void tw_client_begin_push(struct tw_client *client) {
    client->live = client->config.role == TW_ROLE_WORKER;
    client->end = false;
    client->pushed = 0;
    memset(client->gradient, 0, (size_t)client->config.list->count * sizeof(client->gradient[0]));
    tw_client_rewind_push(client);
}

enum tw_status tw_client_on_push(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    int tensor = turn->event->tensor;

    if (client->config.role != TW_ROLE_WORKER)
        return tw_error_set(turn->error, TW_UNEXPECTED, "an evaluator does not push");
    if (client->work == TW_CLIENT_BEGUN && !tw_client_cancelled(client))
        return tw_error_set(turn->error, TW_UNEXPECTED,
                            "a push of tensor %d before all weights of step %llu are here", tensor,
                            (unsigned long long)client->arriving.step);
    if (client->work != TW_CLIENT_COMPUTING && client->work != TW_CLIENT_BEGUN)
        return tw_error_set(turn->error, TW_UNEXPECTED, "a push without a pull before it");
    if (tw_client_cancelled(client))
        return TW_OK;
    if (tensor < 0 || tensor >= client->config.list->count)
        return tw_error_set(turn->error, TW_UNEXPECTED, "a push of tensor %d of %d", tensor,
                            client->config.list->count);
    if (turn->event->gradient == NULL)
        return tw_error_set(turn->error, TW_UNEXPECTED, "a push of tensor %d without a gradient",
                            tensor);
    if (client->gradient[tensor] != NULL)
        return tw_error_set(turn->error, TW_UNEXPECTED, "tensor %d was pushed already in step %llu",
                            tensor, (unsigned long long)client->held.step);
    client->gradient[tensor] = turn->event->gradient;
    client->pushed++;
    return TW_OK;
}

enum tw_status tw_client_on_end(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;

    if (client->work == TW_CLIENT_BEGUN && tw_client_cancelled(client)) {
        tw_client_set_work(client, TW_CLIENT_PUSHING);
        return TW_OK;
    }
    if (client->config.role != TW_ROLE_WORKER || client->work != TW_CLIENT_COMPUTING)
        return tw_error_set(turn->error, TW_UNEXPECTED, "the end of a push that never began");
    if (client->pushed != client->config.list->count && !tw_client_cancelled(client))
        return tw_error_set(turn->error, TW_UNEXPECTED, "the push ends after %d of %d tensors",
                            client->pushed, client->config.list->count);
    client->end = true;
    client->examples = turn->event->examples;
    client->loss = turn->event->loss;
    client->correct = turn->event->correct;
    client->measuring = true;
    tw_measures_computed(&client->measures, turn->event->now_ns);
    tw_client_set_work(client, TW_CLIENT_PUSHING);
    return TW_OK;
}

bool tw_client_awaits_sent(const struct tw_client *client) {
    if (!client->measuring || !client->live)
        return false;
    for (uint32_t shard = 0; shard < client->servers; shard++)
        if (!client->link[1 + shard].ended)
            return false;
    return true;
}

bool tw_client_goes_on_pushing(const struct tw_client *client) {
    return client->live && client->work == TW_CLIENT_COMPUTING && !client->end;
}

/* The first segment of the link's shard that has something ready; NULL: none. */
static struct tw_client_segment *ready_segment(const struct tw_client *client, int link) {
    uint32_t shard = (uint32_t)link - 1;
    for (uint32_t i = client->shard_segment[shard]; i < client->shard_segment[shard + 1]; i++) {
        struct tw_client_segment *segment = &client->segment[i];
        if (segment->next < segment->end && client->gradient[segment->tensor] != NULL)
            return segment;
    }
    return NULL;
}

static bool may_send(const struct tw_client *client, int link) {
    return client->live && client->phase == TW_CLIENT_JOINED && link != TW_CLIENT_CONTROL &&
           client->link[link].state == TW_LINK_READY && !client->link[link].ended;
}

bool tw_client_has_next(const struct tw_client *client, int link) {
    return may_send(client, link) &&
           (client->end || (client->pushed > 0 && ready_segment(client, link) != NULL));
}

static void fill_end(const struct tw_client *client, uint32_t shard, struct tw_frame *frame) {
    const uint32_t *first = client->layout.shard_first;
    frame->data_bytes = 0;
    frame->body = TW_BODY_END;
    frame->end = (struct tw_end){
        .slot = client->slot,
        .incarnation = client->incarnation,
        .generation = client->generation,
        .epoch = client->epoch,
        .step = client->held.step,
        .read = client->held.position,
        .frames = first[shard + 1] - first[shard],
        .examples = client->examples,
        .loss = client->loss,
        .correct = client->correct,
    };
}

/* A chunk of the gradient as it travels. Made anew when it is sent again, which gives the same
 * bytes: they may still be on their way. */
static const void *encoded_chunk(struct tw_client *client, const struct tw_client_segment *segment,
                                 uint32_t number) {
    const struct tw_chunk *chunk = &client->layout.chunk[number];
    const float *gradient = client->gradient[chunk->tensor] + chunk->first;
    const struct tw_encoding *encoding = &tw_encodings[encoding_of(client, chunk->tensor)];
    if (!encoding->encode)
        return gradient;
    /* All chunks of a segment but the last are of one size. */
    size_t each = encoding->bytes(client->layout.chunk[segment->first].count);
    unsigned char *out = client->encoded + segment->encoded + (number - segment->first) * each;
    encoding->encode(out, gradient, chunk->count);
    return out;
}

bool tw_client_next(struct tw_client *client, int link, struct tw_frame *frame, const void **data) {
    *data = NULL;
    if (!may_send(client, link))
        return false;
    struct tw_client_segment *segment = ready_segment(client, link);
    if (segment == NULL) {
        if (!client->end)
            return false;
        client->link[link].ended = true;
        fill_end(client, (uint32_t)link - 1, frame);
        return true;
    }
    uint32_t number = segment->next++;
    const struct tw_chunk *chunk = &client->layout.chunk[number];
    frame->body = TW_BODY_PUSH;
    frame->push = (struct tw_push){
        .slot = client->slot,
        .incarnation = client->incarnation,
        .generation = client->generation,
        .epoch = client->epoch,
        .step = client->held.step,
        .chunk = number,
    };
    frame->data_bytes = tw_encoding_bytes(encoding_of(client, chunk->tensor), chunk->count);
    *data = encoded_chunk(client, segment, number);
    return true;
}
