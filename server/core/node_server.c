/* Servers among themselves: who serves which shard (the lead's side), and orders that come
 * from the lead (the others' side). */
#include <string.h>

#include "server/core/letters.h"
#include "server/core/node_state.h"
#include "server/core/order_check.h"

uint32_t tw_node_missing_server(const struct tw_node *n) {
    for (uint32_t i = 1; n->lead && i < n->config.servers; i++)
        if (!n->server[i].here)
            return i;
    return 0;
}

uint32_t tw_node_server(const struct tw_node *n, uint32_t index) {
    return n->server[index].here ? n->server[index].connection : TW_NO_CONNECTION;
}

char *tw_node_server_address(struct tw_node *n, uint32_t index) {
    return n->server[index].address;
}

void tw_node_add_server(struct tw_node *n, uint32_t index, uint32_t connection) {
    n->server[index].here = true;
    n->server[index].connection = connection;
}

void tw_node_fill_addresses(struct tw_node *n, struct tw_welcome *welcome) {
    if (n->config.servers < 2)
        return;
    for (uint32_t i = 0; i < n->config.servers; i++)
        n->addresses[i] = (struct tw_view){n->server[i].address, strlen(n->server[i].address)};
    welcome->addresses = n->config.servers;
    welcome->address = n->addresses;
}

/* Whether the other one serves the same job, cut in the same way. */
static enum tw_status check_serve(const struct tw_node *n, const struct tw_serve *serve,
                                  struct tw_error *error) {
    uint32_t servers = n->config.servers;
    uint8_t layout[TW_DIGEST_BYTES];
    if (serve->servers != servers)
        return tw_error_set(error, TW_WRONG_JOB,
                            "the lead runs %u servers, this one was started for %u; give both the "
                            "same cluster.servers",
                            servers, serve->servers);
    if (serve->index < 1 || serve->index >= servers)
        return tw_error_set(error, TW_LIMIT,
                            "there is no server %u to add: this job has %u, and 0 is the lead",
                            serve->index, servers);
    if (serve->digest.size != TW_DIGEST_BYTES ||
        memcmp(serve->digest.bytes, n->config.terms.digest, TW_DIGEST_BYTES) != 0)
        return tw_error_set(error, TW_WRONG_JOB,
                            "server %u has another job file, or other --set options or data, than "
                            "the lead",
                            serve->index);
    tw_layout_digest(n->config.shard.layout, layout);
    if (serve->layout.size != TW_DIGEST_BYTES ||
        memcmp(serve->layout.bytes, layout, TW_DIGEST_BYTES) != 0)
        return tw_error_set(error, TW_WRONG_MODEL,
                            "server %u shares out the model in another way than the lead: are "
                            "both of the same version of Talweg?",
                            serve->index);
    /* A shard that waits for permits among others that give none waits for ever. */
    if (serve->pooled != (n->config.shard.pool > 0) || serve->ahead != n->config.shard.ahead)
        return tw_error_set(
            error, TW_WRONG_JOB,
            "server %u has %s room for gradients on their way than the lead; give "
            "both the same memory.inflight",
            serve->index, serve->pooled || serve->ahead < n->config.shard.ahead ? "less" : "more");
    if (!serve->address.size || serve->address.size >= TW_SERVER_ADDRESS ||
        !memchr(serve->address.bytes, ':', serve->address.size))
        return tw_error_set(error, TW_MALFORMED, "server %u does not say where it listens",
                            serve->index);
    return TW_OK;
}

enum tw_status tw_node_on_serve(struct tw_node *n, uint32_t connection,
                                const struct tw_serve *serve, struct tw_error *error) {
    if (!n->lead)
        return tw_error_set(error, TW_UNEXPECTED, "this is server %u, not the lead",
                            n->config.shard.index);
    enum tw_status status = check_serve(n, serve, error);
    if (status != TW_OK)
        return status;
    if (n->over)
        return tw_error_set(error, TW_STOPPED, "the run is over");
    if (n->server[serve->index].here)
        return tw_error_set(error, TW_RANK_TAKEN, "there is a server %u already", serve->index);
    struct tw_session *session = &n->connection[connection].session;
    session->state = TW_SESSION_SERVER;
    session->rank = serve->index;
    memcpy(n->server[serve->index].address, serve->address.bytes, serve->address.size);
    n->server[serve->index].address[serve->address.size] = '\0';
    tw_node_add_server(n, serve->index, connection);
    tw_node_say(n, connection, TW_BODY_SERVED)->served.job =
        (struct tw_view){n->config.terms.job, TW_JOB_ID_BYTES};
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_SERVER);
    event->rank = serve->index;
    event->connection = connection;
    event->present = true;
    return TW_OK;
}

/* A run does not outlive one of its servers: part of the weights is gone. */
void tw_node_lose_server(struct tw_node *n, uint32_t index, const char *why) {
    n->server[index].here = false;
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_SERVER);
    event->rank = index;
    event->present = false;
    event->text = why;
}

enum tw_status tw_node_hear_shard(struct tw_node *n, uint32_t shard, const struct tw_frame *frame,
                                  struct tw_error *error) {
    struct tw_node_vote vote;
    enum tw_status status = tw_vote_of_frame(frame, shard, &vote, error);
    if (status != TW_OK)
        return status;
    bool reach = vote.kind == TW_VOTE_ATTACHED || vote.kind == TW_VOTE_LOST;
    if (reach && vote.rank >= n->config.shard.slots)
        return tw_error_set(error, TW_UNEXPECTED, "there is no rank %u", vote.rank);
    if (vote.kind == TW_VOTE_READY && vote.ready.slot >= n->config.shard.slots)
        return tw_error_set(error, TW_UNEXPECTED, "there is no slot %u", vote.ready.slot);
    if (vote.kind == TW_VOTE_SQUARES &&
        vote.squares.tensor >= (uint32_t)n->config.shard.layout->list->count)
        return tw_error_set(error, TW_UNEXPECTED, "there is no tensor %u", vote.squares.tensor);
    tw_node_hear_vote(n, &vote);
    return TW_OK;
}

enum tw_status tw_node_hear_lead(struct tw_node *n, const struct tw_node_order *order,
                                 struct tw_error *error) {
    enum tw_status status = TW_OK;
    switch (order->kind) {
    case TW_ORDER_RECORD:
        status = tw_record_check(n->shard, &order->record, n->heard, error);
        n->heard = order->record.position;
        break;
    case TW_ORDER_PREPARE:
        status = tw_prepare_check(n->shard, &order->prepare, error);
        break;
    case TW_ORDER_MEMBER:
        if (order->member.role > TW_ROLE_EVALUATOR ||
            order->member.rank >=
                (order->member.role == TW_ROLE_WORKER ? n->config.shard.slots : TW_EVALUATORS_MAX))
            status = tw_error_set(error, TW_UNEXPECTED, "there is no rank %u", order->member.rank);
        break;
    }
    if (status == TW_OK)
        tw_node_hear_order(n, order);
    return status;
}
