/* Weights: chunks become a set, and only a complete set of one position counts.
 *
 * Each shard sends its chunks of a position in order, but shards do not wait for
 * each other: frames of two positions may arrive interleaved. The newest one wins;
 * what arrives of an older one is thrown away.
 *
 * A worker may begin on a set before it is complete, tensor by tensor. Then nothing newer may come
 * into its memory until it pulls again; it is told that its step is over, and newer frames wait.
 */
#include <string.h>

#include "worker/core/client_parts.h"

/* What a frame of weights is to us. */
enum fate {
    FATE_OLD,      /* of a position that is over */
    FATE_ARRIVING, /* one more chunk of the set that is arriving */
    FATE_NEW,      /* the first of a newer set */
};

static enum fate fate_of(const struct tw_client *client, const struct tw_weights *weights) {
    if (client->arriving.position != 0 && weights->position == client->arriving.position)
        return FATE_ARRIVING;
    /* Equal to `newest` and not arriving: what a lost connection had begun. */
    return weights->position < client->newest ? FATE_OLD : FATE_NEW;
}

/* Is it for us, from the shard that owns the chunk, and of the right size? */
static enum tw_status check_frame(struct tw_client *client, int link, const struct tw_frame *frame,
                                  struct tw_error *error) {
    const struct tw_weights *weights = &frame->weights;
    const struct tw_layout *layout = &client->layout;

    if (frame->body != TW_BODY_WEIGHTS || link == TW_CLIENT_CONTROL ||
        client->link[link].state != TW_LINK_READY)
        return tw_client_violation(client, error, TW_UNEXPECTED, "a %s frame with data",
                                   tw_body_name(frame->body));
    if (weights->chunk >= layout->chunks)
        return tw_client_violation(client, error, TW_UNEXPECTED,
                                   "weights of chunk %u, but there are only %u", weights->chunk,
                                   layout->chunks);
    const struct tw_chunk *chunk = &layout->chunk[weights->chunk];
    if (chunk->shard != (uint32_t)link - 1)
        return tw_client_violation(client, error, TW_UNEXPECTED,
                                   "weights of chunk %u from shard %d, but shard %u owns it",
                                   weights->chunk, link - 1, chunk->shard);
    size_t expected = tw_encoding_bytes(client->pull, chunk->count);
    if (frame->data_bytes != expected)
        return tw_client_violation(client, error, TW_MALFORMED,
                                   "weights of chunk %u have %zu bytes instead of the %zu of %s",
                                   weights->chunk, frame->data_bytes, expected,
                                   tw_encodings[client->pull].name);
    if (weights->epoch != client->epoch || weights->generation != client->generation)
        return tw_client_violation(client, error, TW_STALE,
                                   "weights of epoch %llu, generation %u; we joined epoch %llu, "
                                   "generation %u",
                                   (unsigned long long)weights->epoch, weights->generation,
                                   (unsigned long long)client->epoch, client->generation);
    return TW_OK;
}

static enum tw_status check_same_set(struct tw_client *client, const struct tw_weights *weights,
                                     struct tw_error *error) {
    if (weights->version != client->arriving.version || weights->step != client->arriving.step)
        return tw_client_violation(client, error, TW_UNEXPECTED,
                                   "two versions or steps of weights at position %llu",
                                   (unsigned long long)weights->position);
    if (client->chunk_here[weights->chunk])
        return tw_client_violation(client, error, TW_UNEXPECTED, "chunk %u twice at position %llu",
                                   weights->chunk, (unsigned long long)weights->position);
    return TW_OK;
}

/* A later step than the newest that we have seen weights of. Usually the next; steps
 * are left out when reads were cancelled and their weights never left the server; so it is
 * after a Welcome, too, which says what the last one was. */
static bool step_fits(const struct tw_client *client, uint64_t step) {
    const struct tw_client_set *newest =
        client->arriving.position != 0 ? &client->arriving : &client->held;
    if (step == 0)
        return false;
    if (client->config.role == TW_ROLE_EVALUATOR)
        return client->fresh || step > newest->step;
    if (newest->position != 0 && step > newest->step)
        return true;
    return client->fresh && step > client->last_step;
}

static enum tw_status check_new_set(struct tw_client *client, const struct tw_weights *weights,
                                    struct tw_error *error) {
    if (weights->position == 0 || weights->position == client->held.position)
        return tw_client_violation(client, error, TW_UNEXPECTED,
                                   "weights of position %llu, which is over",
                                   (unsigned long long)weights->position);
    if (weights->version < client->held.version)
        return tw_client_violation(
            client, error, TW_STALE, "weights of version %llu after those of version %llu",
            (unsigned long long)weights->version, (unsigned long long)client->held.version);
    if (!step_fits(client, weights->step))
        return tw_client_violation(
            client, error, TW_UNEXPECTED, "weights for step %llu after those for step %llu",
            (unsigned long long)weights->step, (unsigned long long)client->held.step);
    return TW_OK;
}

static void begin_set(struct tw_client *client, const struct tw_weights *weights) {
    client->arriving = (struct tw_client_set){weights->position, weights->version, weights->step};
    client->newest = weights->position;
    client->arrived = 0;
    client->left = (uint64_t)client->layout.elements;
    memset(client->chunk_here, 0, client->layout.chunks);
    memset(client->lacks, 0, (size_t)client->config.list->count * sizeof(client->lacks[0]));
    for (uint32_t i = 0; i < client->layout.chunks; i++)
        client->lacks[client->layout.chunk[i].tensor]++;
}

void tw_client_forget_set(struct tw_client *client) {
    client->arriving = (struct tw_client_set){0};
    client->arrived = 0;
}

bool tw_client_set_is_over(const struct tw_client *client) {
    return client->arriving.position == 0 || client->arriving.step <= client->over;
}

/* ---- beginning on a part of it ---- */

bool tw_client_may_begin(const struct tw_client *client) {
    return client->config.role == TW_ROLE_WORKER && client->work == TW_CLIENT_WAITING &&
           !tw_client_over(client) && !tw_client_set_is_over(client);
}

const struct tw_client_set *tw_client_set(const struct tw_client *client) {
    return client->work == TW_CLIENT_BEGUN ? &client->arriving : &client->held;
}

bool tw_client_has_tensor(const struct tw_client *client, int tensor) {
    if (client->work != TW_CLIENT_BEGUN)
        return client->work == TW_CLIENT_COMPUTING;
    return client->arriving.position != 0 && client->lacks[tensor] == 0;
}

uint64_t tw_client_bytes_to_come(const struct tw_client *client) {
    bool waits = client->work == TW_CLIENT_BEGUN && !tw_client_cancelled(client);
    return waits ? tw_encoding_bytes(client->pull, (size_t)client->left) : 0;
}

enum tw_status tw_client_on_begin(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    if (client->work == TW_CLIENT_COMPUTING)
        return TW_OK; /* all of it is here already */
    if (!tw_client_may_begin(client))
        return tw_error_set(turn->error, TW_UNEXPECTED, "no weights are arriving to begin with");
    client->begun_ns = turn->event->now_ns;
    client->waited_ns = 0;
    client->wanted = 0;
    tw_client_set_work(client, TW_CLIENT_BEGUN);
    return TW_OK;
}

static void end_wait(struct tw_client *client, uint64_t now_ns) {
    if (client->wanted != 0)
        client->waited_ns += now_ns - client->wanted_ns;
    client->wanted = 0;
}

enum tw_status tw_client_on_want(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    int tensor = turn->event->tensor;

    if (client->work != TW_CLIENT_BEGUN && client->work != TW_CLIENT_COMPUTING)
        return tw_error_set(turn->error, TW_UNEXPECTED, "weights are wanted outside of a step");
    if (tensor < 0 || tensor >= client->config.list->count)
        return tw_error_set(turn->error, TW_UNEXPECTED, "weights of tensor %d of %d are wanted",
                            tensor, client->config.list->count);
    end_wait(client, turn->event->now_ns);
    if (!tw_client_has_tensor(client, tensor)) {
        client->wanted = 1 + tensor;
        client->wanted_ns = turn->event->now_ns;
    }
    return TW_OK;
}

/* ---- arriving ---- */

static float *values_of(const struct tw_client *client, const struct tw_chunk *chunk) {
    return client->config.weights[chunk->tensor] + chunk->first;
}

enum tw_status tw_client_place(struct tw_client *client, int link, const struct tw_frame *frame,
                               void **place, struct tw_error *error) {
    const struct tw_weights *weights = &frame->weights;
    enum tw_status status = TW_OK;

    *place = NULL;
    if (tw_client_over(client) || client->link[link].state == TW_LINK_CLOSED)
        return TW_OK;
    status = check_frame(client, link, frame, error);
    if (status != TW_OK)
        return status;
    switch (fate_of(client, weights)) {
    case FATE_OLD:
        return TW_OK;
    case FATE_ARRIVING:
        status = check_same_set(client, weights, error);
        break;
    case FATE_NEW:
        status = check_new_set(client, weights, error);
        if (status != TW_OK)
            return status;
        /* Newer weights mean that the push of the older ones is settled. */
        client->live = false;
        /* Outside of a pull somebody computes on the memory that these would fill. */
        if (client->work != TW_CLIENT_WAITING) {
            tw_client_forget_set(client); /* begun with, and will not be complete */
            client->newest = weights->position;
            return TW_AGAIN;
        }
        begin_set(client, weights);
        break;
    }
    if (status == TW_OK) {
        const struct tw_chunk *chunk = &client->layout.chunk[weights->chunk];
        *place = tw_encoding_place(client->pull, values_of(client, chunk), chunk->count);
    }
    return status;
}

/* When weights and, where there are any, the portion of these weights are here. */
static void begin_scoring(struct tw_client *client) {
    if (client->portions && client->portion.position != client->held.position)
        return;
    client->asked = false;
    tw_client_set_work(client, TW_CLIENT_COMPUTING);
}

static void complete_set(struct tw_client *client, uint64_t now_ns) {
    /* Weights that are evaluated once more are no other epoch. */
    client->sets += client->arriving.version != client->held.version;
    client->held = client->arriving;
    tw_client_forget_set(client);
    client->fresh = false;
    client->reported = false;
    client->measuring = false;
    /* Time in which it waited for a part of them is moved in front of what it computed. */
    if (client->config.role == TW_ROLE_WORKER)
        tw_measures_received(&client->measures, client->held.step,
                             client->work == TW_CLIENT_BEGUN ? client->begun_ns + client->waited_ns
                                                             : now_ns);
    tw_client_begin_push(client);
    if (client->config.role == TW_ROLE_EVALUATOR)
        begin_scoring(client);
    else if (client->held.step <= client->over)
        client->live = false; /* cancelled on its way: there will be newer ones */
    else
        tw_client_set_work(client, TW_CLIENT_COMPUTING);
}

/* It comes on control: before the weights that it is of, after them, or without any. */
enum tw_status tw_client_on_portion(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_portion *portion = &turn->event->frame->portion;
    uint64_t all = client->config.test_samples;

    if (client->phase != TW_CLIENT_JOINED)
        return TW_OK; /* of a membership that is over */
    if (!client->portions || !client->asked || client->portion.position != 0 ||
        portion->position == 0 || portion->position < client->held.position)
        return tw_client_violation(client, turn->error, TW_UNEXPECTED,
                                   "a Portion of position %llu that nobody asked for",
                                   (unsigned long long)portion->position);
    if (portion->samples == 0 || portion->samples > all || portion->first > all - portion->samples)
        return tw_client_violation(client, turn->error, TW_UNEXPECTED,
                                   "a Portion of %llu samples from %llu on; there are %llu",
                                   (unsigned long long)portion->samples,
                                   (unsigned long long)portion->first, (unsigned long long)all);
    client->portion = *portion;
    if (portion->position == client->held.position)
        begin_scoring(client);
    return TW_OK;
}

enum tw_status tw_client_on_weights(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_weights *weights = &turn->event->frame->weights;
    enum tw_status status = TW_OK;

    if (turn->event->data == NULL) /* else it was looked at when it was given its place */
        status = check_frame(client, turn->event->link, turn->event->frame, turn->error);
    if (status != TW_OK || fate_of(client, weights) == FATE_OLD)
        return status;
    if (turn->event->data == NULL || fate_of(client, weights) == FATE_NEW)
        return tw_client_violation(client, turn->error, TW_MALFORMED, "weights without data");
    const struct tw_chunk *chunk = &client->layout.chunk[weights->chunk];
    tw_encoding_settle(client->pull, values_of(client, chunk), chunk->count);
    client->chunk_here[weights->chunk] = 1;
    client->arrived++;
    client->left -= chunk->count;
    client->lacks[chunk->tensor]--;
    if (client->wanted == 1 + (int)chunk->tensor && client->lacks[chunk->tensor] == 0)
        end_wait(client, turn->event->now_ns);
    if (client->arrived == client->layout.chunks)
        complete_set(client, turn->event->now_ns);
    return TW_OK;
}
