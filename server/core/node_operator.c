/* What operators say to a node: people's programs that ask how the run goes and turn
 * the dial.
 *
 * An operator has no rank, and nothing ever waits for it. There are at most
 * TW_OPERATORS_MAX at a time, each with one question that is not answered yet. The
 * answer to a Query is the shell's, which knows times and addresses. */
#include <string.h>

#include "server/core/node_state.h"

static bool is_operator(const struct tw_session *session) {
    return session->state == TW_SESSION_CONTROL && session->role == TW_ROLE_OPERATOR;
}

bool tw_node_is_operator(const struct tw_node *n, uint32_t connection) {
    return is_operator(&n->connection[connection].session);
}

enum tw_status tw_node_join_operator(struct tw_node *n, uint32_t connection,
                                     struct tw_error *error) {
    struct tw_session *session = &n->connection[connection].session;
    uint32_t present = 0;
    for (uint32_t i = 0; i < n->config.connections; i++)
        present += is_operator(&n->connection[i].session);
    if (present >= TW_OPERATORS_MAX)
        return tw_error_set(error, TW_LIMIT, "%u operators are connected already; try again later",
                            present);
    session->state = TW_SESSION_CONTROL;
    session->role = TW_ROLE_OPERATOR;
    struct tw_frame *frame = tw_node_say(n, connection, TW_BODY_WELCOME);
    frame->welcome = (struct tw_welcome){
        .job = {n->config.terms.job, TW_JOB_ID_BYTES},
        .workers = n->config.shard.slots,
        .slots = n->config.shard.slots * n->config.width,
        .width = n->config.width,
        .chunk_bytes = n->config.shard.layout->chunk_bytes,
        .servers = n->config.servers,
    };
    return TW_OK;
}

/* Asking faster than answers come would only fill the queue. */
enum tw_status tw_node_on_query(struct tw_node *n, uint32_t connection,
                                const struct tw_query *query, struct tw_error *error) {
    uint32_t workers = n->config.shard.slots;
    if (n->connection[connection].asked)
        return tw_error_set(error, TW_UNEXPECTED,
                            "Query came before the last one had been answered");
    n->connection[connection].asked = true;
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_QUERY);
    event->connection = connection;
    event->rank = query->first < workers ? query->first : workers;
    event->ranks = workers - event->rank;
    if (event->ranks > query->ranks)
        event->ranks = query->ranks;
    if (event->ranks > TW_STATUS_RANKS_MAX)
        event->ranks = TW_STATUS_RANKS_MAX;
    return TW_OK;
}

void tw_node_answered(struct tw_node *n, uint32_t connection) {
    n->connection[connection].asked = false;
}

enum tw_status tw_node_on_turn(struct tw_node *n, uint32_t connection, const struct tw_turn *turn,
                               struct tw_error *error) {
    return tw_error_set(error, TW_UNSUPPORTED,
                        "this server cannot turn the dial of a run that is under way");
}
