/* What operators say to a node: people's programs that ask how the run goes and turn
 * the dial.
 *
 * An operator has no rank, and nothing ever waits for it. There are at most
 * TW_OPERATORS_MAX at a time, each with one question that is not answered yet. The
 * answer to a Query is the shell's, which knows times and addresses. */
#include <stdio.h>
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

/* ---- turning the dial ---- */

/* Whether this job can have the mode; as its check at the start (cli/job_check.c). */
static enum tw_status check_mode(const struct tw_node *n, const char *mode, struct tw_dial *dial,
                                 struct tw_error *error) {
    char asked[TW_MODE_MAX + 16];
    snprintf(asked, sizeof(asked), "--mode %s", mode);
    struct tw_where where = {asked, 0};
    enum tw_status status = tw_dial_parse(mode, where, (int)n->config.shard.slots, dial, error);
    if (status != TW_OK)
        return status;
    if (n->config.keeps_mode)
        return tw_error_set(error, TW_UNSUPPORTED,
                            "the job has local_steps.rho: a turn would take back steps that its "
                            "slots have made by themselves");
    if (n->config.width > 1 && !dial->members_known)
        return tw_job_error(error, where, "consistency.mode",
                            "the job has %u slots for %u workers, which is for mode sync only",
                            n->config.shard.slots * n->config.width, n->config.shard.slots);
    if (dial->on_arrival != n->config.shard.on_arrival)
        return tw_error_set(
            error, TW_UNSUPPORTED,
            "a run is in mode hogwild from its start to its end, or never; this one "
            "is in \"%s\"",
            tw_sequencer_dial(n->sequencer)->word);
    if (tw_dial_ahead(dial) > n->config.shard.ahead)
        return tw_error_set(error, TW_UNSUPPORTED,
                            "memory.inflight is too small for mode \"%s\", which keeps whole "
                            "pushes while their workers go on",
                            dial->word);
    if (strcmp(dial->word, tw_sequencer_dial(n->sequencer)->word) == 0)
        return tw_error_set(error, TW_UNEXPECTED, "the mode is \"%s\" already", dial->word);
    return TW_OK;
}

static enum tw_status refusal(enum tw_status status, struct tw_error *error) {
    if (status == TW_STOPPED)
        return tw_error_set(error, status, "the run ends before the dial can be turned");
    return tw_error_set(error, status,
                        "another turn of the dial waits for the update under way; try again");
}

static enum tw_status turn(struct tw_node *n, const char *mode, uint64_t ticket,
                           struct tw_error *error) {
    struct tw_sequencer_event event = {.kind = TW_SEQ_TURN};
    event.turn.ticket = ticket;
    enum tw_status status = check_mode(n, mode, &event.turn.dial, error);
    if (status != TW_OK)
        return status;
    n->turning = true;
    n->refused = TW_OK;
    tw_node_sequence(n, &event);
    n->turning = false;
    return n->refused == TW_OK ? TW_OK : refusal(n->refused, error);
}

enum tw_status tw_node_turn(struct tw_node *n, const char *mode, struct tw_error *error) {
    return turn(n, mode, UINT64_MAX, error);
}

enum tw_status tw_node_on_turn(struct tw_node *n, uint32_t connection, const struct tw_turn *frame,
                               struct tw_error *error) {
    char mode[TW_MODE_MAX + 1];
    size_t size = frame->mode.size;
    if (n->connection[connection].asked)
        return tw_error_set(error, TW_UNEXPECTED, "Turn came before the last one was answered");
    if (size < 1 || size > TW_MODE_MAX || memchr(frame->mode.bytes, 0, size))
        return tw_error_set(error, TW_MALFORMED, "a mode has 1 to %d bytes, none of them zero",
                            TW_MODE_MAX);
    memcpy(mode, frame->mode.bytes, size);
    mode[size] = 0;
    n->connection[connection].asked = true;
    return turn(n, mode, tw_node_ticket(n, connection), error);
}

void tw_node_tell_turned(struct tw_node *n, const struct tw_record *record) {
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_TURNED);
    event->version = n->turned_version = record->version;
    event->text = record->mode;
    n->turned_position = record->position;
}

void tw_node_on_turned(struct tw_node *n, const struct tw_sequencer_effect *effect) {
    uint32_t connection = (uint32_t)effect->turned.ticket;
    enum tw_status status = effect->turned.status;
    if (status != TW_OK && n->turning) {
        n->refused = status;
        return;
    }
    if (connection >= n->config.connections || !tw_node_is_operator(n, connection) ||
        effect->turned.ticket != tw_node_ticket(n, connection))
        return; /* nobody of these, or it has left */
    n->connection[connection].asked = false;
    if (status != TW_OK) {
        refusal(status, &n->turn_error);
        tw_node_close(n, connection, status, n->turn_error.text);
        return;
    }
    const char *word = tw_sequencer_dial(n->sequencer)->word;
    struct tw_frame *frame = tw_node_say(n, connection, TW_BODY_TURNED);
    frame->turned = (struct tw_turned){
        .mode = {word, strlen(word)}, .position = n->turned_position, .version = n->turned_version};
}
