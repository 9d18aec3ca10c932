/* What peers say to a node: greeting, joining, attaching, pushing, and how they are lost.
 * node_evaluator.c has what evaluators are given and say. */
#include <stdio.h>
#include <string.h>

#include "common/base/digest.h"
#include "server/core/node_state.h"

static struct tw_session *session_of(struct tw_node *n, uint32_t connection) {
    return &n->connection[connection].session;
}

static struct tw_node_member *member_of(struct tw_node *n, const struct tw_session *session) {
    return session->role == TW_ROLE_EVALUATOR ? &n->evaluator[session->rank].member
                                              : &n->member[session->rank];
}

/* A join may be answered later; by then its connection's number may be another's. */
uint64_t tw_node_ticket(const struct tw_node *n, uint32_t connection) {
    return (uint64_t)n->connection[connection].serial << 32 | connection;
}

static bool still_joining(struct tw_node *n, uint64_t ticket) {
    uint32_t connection = (uint32_t)ticket;
    return ticket == tw_node_ticket(n, connection) &&
           session_of(n, connection)->state == TW_SESSION_JOINING;
}

uint32_t tw_node_open(struct tw_node *n, const uint8_t *random) {
    for (uint32_t i = 0; i < n->config.connections; i++) {
        struct tw_node_connection *connection = &n->connection[i];
        if (connection->session.state != TW_SESSION_CLOSED)
            continue;
        connection->paused = connection->receiving = connection->asked = false;
        connection->serial++;
        tw_session_open(&connection->session, random);
        memcpy(connection->key, random + TW_NONCE_BYTES, TW_SESSION_BYTES);
        return i;
    }
    return TW_NO_CONNECTION;
}

uint32_t tw_node_rank(const struct tw_node *n, uint32_t connection) {
    const struct tw_session *session = &n->connection[connection].session;
    bool joined = session->state == TW_SESSION_CONTROL || session->state == TW_SESSION_BULK;
    return joined && session->role == TW_ROLE_WORKER ? session->rank : TW_NOBODY;
}

bool tw_node_is_evaluator(const struct tw_node *n, uint32_t connection) {
    const struct tw_session *session = &n->connection[connection].session;
    return session->state == TW_SESSION_CONTROL && session->role == TW_ROLE_EVALUATOR;
}

bool tw_node_is_pending(const struct tw_node *n, uint32_t connection) {
    enum tw_session_state state = n->connection[connection].session.state;
    return state == TW_SESSION_HELLO || state == TW_SESSION_PROOF || state == TW_SESSION_KNOWN ||
           state == TW_SESSION_ATTACHING;
}

/* ---- joining ---- */

/* The connections that a member had are no longer its own. */
static void let_go(struct tw_node *n, struct tw_node_member *member, const char *text) {
    uint32_t old[2] = {member->control, member->bulk};
    member->control = member->bulk = TW_NO_CONNECTION;
    for (int i = 0; i < 2; i++)
        tw_node_close(n, old[i], TW_CLOSED, text);
}

static void attach_waiting(struct tw_node *n, enum tw_role role, uint32_t rank);

void tw_node_learn_member(struct tw_node *n, const struct tw_node_order *order) {
    bool evaluator = order->member.role == TW_ROLE_EVALUATOR;
    struct tw_node_member *member =
        evaluator ? &n->evaluator[order->member.rank].member : &n->member[order->member.rank];
    let_go(n, member, "the worker has connected again");
    if (evaluator)
        n->evaluation.to &= ~(UINT64_C(1) << order->member.rank);
    member->incarnation = order->member.incarnation;
    member->attempt = order->member.attempt;
    memcpy(member->session, order->member.session, TW_SESSION_BYTES);
    attach_waiting(n, order->member.role, order->member.rank);
}

static void admit(struct tw_node *n, uint32_t connection, enum tw_role role, uint32_t rank,
                  uint32_t incarnation, uint32_t attempt) {
    struct tw_session *session = session_of(n, connection);
    session->state = TW_SESSION_CONTROL;
    session->role = role;
    session->rank = rank;
    session->incarnation = incarnation;
    struct tw_node_order order = {.kind = TW_ORDER_MEMBER};
    order.member.role = role;
    order.member.rank = rank;
    order.member.incarnation = incarnation;
    order.member.attempt = attempt;
    memcpy(order.member.session, n->connection[connection].key, TW_SESSION_BYTES);
    tw_node_order_member(n, &order);
    member_of(n, session)->control = connection;
}

static void welcome(struct tw_node *n, uint32_t connection, uint64_t last_step) {
    const struct tw_session *session = session_of(n, connection);
    struct tw_frame *frame = tw_node_say(n, connection, TW_BODY_WELCOME);
    frame->welcome = (struct tw_welcome){
        .job = {n->config.terms.job, TW_JOB_ID_BYTES},
        .session = {n->connection[connection].key, TW_SESSION_BYTES},
        .rank = session->rank,
        .incarnation = session->incarnation,
        .generation = n->generation,
        .workers = n->config.shard.slots,
        .slots = n->config.shard.slots * n->config.width,
        .width = n->config.width,
        .last_step = last_step,
        .chunk_bytes = n->config.shard.layout->chunk_bytes,
        .servers = n->config.servers,
        .attempt = member_of(n, session)->attempt,
    };
    if (session->role == TW_ROLE_WORKER) {
        frame->welcome.slot = session->rank * n->config.width;
        frame->welcome.push = n->config.terms.push;
        frame->welcome.pull = n->config.terms.pull;
    }
    if (session->role == TW_ROLE_EVALUATOR)
        frame->welcome.portions = n->evaluator[session->rank].test > 0;
    tw_node_fill_addresses(n, &frame->welcome);
}

void tw_node_on_joined(struct tw_node *n, const struct tw_sequencer_effect *effect) {
    uint32_t connection = (uint32_t)effect->joined.ticket;
    uint32_t rank = effect->joined.rank, incarnation = effect->joined.incarnation;
    if (!still_joining(n, effect->joined.ticket)) {
        /* It went away while its join was deferred. */
        n->member[rank].incarnation = incarnation;
        n->member[rank].attempt = effect->joined.attempt;
        n->member[rank].orphan = n->orphans = true;
        return;
    }
    admit(n, connection, TW_ROLE_WORKER, rank, incarnation, effect->joined.attempt);
    welcome(n, connection, effect->joined.last_step);
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_JOINED);
    event->rank = rank;
    event->incarnation = incarnation;
    event->connection = connection;
}

void tw_node_on_refused(struct tw_node *n, const struct tw_sequencer_effect *effect) {
    uint32_t connection = (uint32_t)effect->refused.ticket, rank = effect->refused.rank;
    uint32_t workers = n->config.shard.slots;
    char *text = n->refusal;
    size_t room = sizeof(n->refusal);
    if (!still_joining(n, effect->refused.ticket))
        return;
    switch (effect->refused.status) {
    case TW_LIMIT:
        snprintf(text, room, "there is no rank %u: this job has %u workers, 0 to %u", rank, workers,
                 workers - 1);
        break;
    case TW_NO_FREE_RANK:
        snprintf(text, room, "all %u workers of this job are connected", workers);
        break;
    case TW_RANK_TAKEN:
        snprintf(text, room, "rank %u is held by a connected worker", rank);
        break;
    case TW_AGAIN:
        snprintf(text, room,
                 "another worker takes this rank, or the last free one, when the update under way "
                 "is over");
        break;
    case TW_FENCED:
        snprintf(text, room, "a newer worker has taken over rank %u", rank);
        break;
    case TW_NUMERICS:
        snprintf(text, room,
                 "the worker computes with other numerics than the first one that "
                 "joined (another build, BLAS or CPU type), so results would not be "
                 "reproducible; set worker.blas_core for all, or start the server "
                 "with --inexact");
        break;
    case TW_STOPPED:
        snprintf(text, room, "the run is over");
        break;
    default:
        snprintf(text, room, "rank %u cannot be given", rank);
        break;
    }
    tw_node_close(n, connection, effect->refused.status, text);
}

static void drop_evaluator(struct tw_node *n, uint32_t number) {
    struct tw_node_member *member = &n->evaluator[number].member;
    bool attached = member->bulk != TW_NO_CONNECTION;
    let_go(n, member, "the evaluator's other connection is lost");
    n->evaluation.to &= ~(UINT64_C(1) << number);
    if (n->lead && attached)
        tw_node_evaluator_gone(n, number);
}

static enum tw_status join_evaluator(struct tw_node *n, uint32_t connection,
                                     const struct tw_join *join, struct tw_error *error) {
    uint32_t number = 0, incarnation = join->incarnation;
    enum tw_status status = tw_node_number_evaluator(n, join, &number, error);
    if (status != TW_OK)
        return status;
    const struct tw_node_member *member = &n->evaluator[number].member;
    if (member->bulk != TW_NO_CONNECTION)
        drop_evaluator(n, number);
    if (!incarnation)
        incarnation = member->incarnation + 1;
    admit(n, connection, TW_ROLE_EVALUATOR, number, incarnation, member->attempt + 1);
    tw_node_note_evaluator(n, number, join);
    welcome(n, connection, 0);
    return TW_OK;
}

static enum tw_status on_join(struct tw_node *n, uint32_t connection, const struct tw_join *join,
                              struct tw_error *error) {
    if (!n->lead)
        return tw_error_set(error, TW_UNEXPECTED, "this server is not the lead; join at server 0");
    enum tw_status status = tw_session_check_join(&n->config.terms, join, error);
    if (status != TW_OK)
        return status;
    if (n->over)
        return tw_error_set(error, TW_STOPPED, "the run is over");
    if (join->role == TW_ROLE_OPERATOR)
        return tw_node_join_operator(n, connection, error);
    if (tw_node_missing_server(n)) {
        snprintf(n->refusal, sizeof(n->refusal), "server %u of %u has not come yet",
                 tw_node_missing_server(n), n->config.servers);
        tw_node_close(n, connection, TW_AGAIN, n->refusal);
        return TW_OK;
    }
    if (n->config.resumes && !n->restored) {
        tw_node_close(n, connection, TW_AGAIN, "the weights of a checkpoint are being loaded");
        return TW_OK;
    }
    bool resumes = join->incarnation != 0;
    const struct tw_node_member *holder = NULL;
    if (join->role == TW_ROLE_EVALUATOR)
        holder = join->rank < TW_EVALUATORS_MAX ? &n->evaluator[join->rank].member : NULL;
    else if (join->rank < n->config.shard.slots)
        holder = &n->member[join->rank];
    if (resumes && holder && join->incarnation == holder->incarnation &&
        (join->session.size != TW_SESSION_BYTES ||
         !tw_equal_secret(join->session.bytes, holder->session, TW_SESSION_BYTES)))
        return tw_error_set(error, TW_FENCED, "the session key does not fit rank %u", join->rank);
    session_of(n, connection)->state = TW_SESSION_JOINING;
    if (join->role == TW_ROLE_EVALUATOR)
        return join_evaluator(n, connection, join, error);
    struct tw_sequencer_event event = {.kind = TW_SEQ_JOIN};
    event.join.ticket = tw_node_ticket(n, connection);
    event.join.any_rank = join->any_rank && !resumes;
    event.join.rank = join->rank;
    event.join.incarnation = join->incarnation;
    event.join.read = join->read;
    if (join->numerics.size)
        memcpy(event.join.numerics, join->numerics.bytes, join->numerics.size);
    if (resumes && join->session.size == TW_SESSION_BYTES) /* it stays the one it knows */
        memcpy(n->connection[connection].key, join->session.bytes, TW_SESSION_BYTES);
    tw_node_sequence(n, &event);
    return TW_OK;
}

static bool has_key(const struct tw_node_member *member, const void *key) {
    return tw_equal_secret(key, member->session, TW_SESSION_BYTES);
}

/* The connection has shown that it is its member's. */
static void attach(struct tw_node *n, uint32_t connection) {
    struct tw_session *session = session_of(n, connection);
    struct tw_node_member *member = member_of(n, session);
    session->state = TW_SESSION_BULK;
    member->bulk = connection;
    tw_node_say(n, connection, TW_BODY_ATTACHED);
    if (session->role == TW_ROLE_WORKER) {
        struct tw_node_vote vote = {.kind = TW_VOTE_ATTACHED};
        vote.rank = session->rank;
        vote.attempt = member->attempt;
        vote.shard = n->config.shard.index;
        tw_node_vote(n, &vote);
    } else if (n->lead) {
        tw_node_evaluator_here(n, session->rank);
    }
}

/* With several servers an Attach may overtake what the lead says of its rank. */
static void attach_waiting(struct tw_node *n, enum tw_role role, uint32_t rank) {
    if (n->lead)
        return; /* what it says itself nothing overtakes */
    for (uint32_t i = 0; i < n->config.connections; i++) {
        struct tw_node_connection *connection = &n->connection[i];
        struct tw_session *session = &connection->session;
        if (session->state != TW_SESSION_ATTACHING || session->role != role ||
            session->rank != rank)
            continue;
        const struct tw_node_member *member = member_of(n, session);
        if (connection->attempt > member->attempt)
            continue;
        if (connection->attempt == member->attempt && has_key(member, connection->key) &&
            member->bulk == TW_NO_CONNECTION)
            attach(n, i);
        else
            tw_node_close(n, i, TW_FENCED, "a newer worker has taken over this rank");
    }
}

static enum tw_status on_attach(struct tw_node *n, uint32_t connection,
                                const struct tw_attach *frame, struct tw_error *error) {
    struct tw_session *session = session_of(n, connection);
    if (frame->role == TW_ROLE_OPERATOR)
        return tw_error_set(error, TW_UNEXPECTED, "an operator has no bulk connection");
    if (frame->role == TW_ROLE_WORKER && frame->rank >= n->config.shard.slots)
        return tw_error_set(error, TW_MALFORMED, "there is no rank %u", frame->rank);
    if (frame->role == TW_ROLE_EVALUATOR && frame->rank >= TW_EVALUATORS_MAX)
        return tw_error_set(error, TW_MALFORMED, "there is no evaluator %u", frame->rank);
    if (frame->session.size != TW_SESSION_BYTES)
        return tw_error_set(error, TW_MALFORMED, "a session key has %d bytes, not %zu",
                            TW_SESSION_BYTES, frame->session.size);
    session->role = frame->role;
    session->rank = frame->rank;
    session->incarnation = frame->incarnation;
    const struct tw_node_member *member = member_of(n, session);
    if (frame->attempt < member->attempt || frame->incarnation < member->incarnation)
        return tw_error_set(error, TW_FENCED, "a newer worker has taken over rank %u", frame->rank);
    if (frame->attempt > member->attempt && !n->lead) {
        session->state = TW_SESSION_ATTACHING;
        n->connection[connection].attempt = frame->attempt;
        memcpy(n->connection[connection].key, frame->session.bytes, TW_SESSION_BYTES);
        return TW_OK;
    }
    bool joined = frame->attempt == member->attempt && has_key(member, frame->session.bytes) &&
                  member->attempt && (!n->lead || member->control != TW_NO_CONNECTION);
    if (!joined)
        return tw_error_set(error, TW_UNEXPECTED, "rank %u has not joined with this session",
                            frame->rank);
    if (member->bulk != TW_NO_CONNECTION)
        return tw_error_set(error, TW_UNEXPECTED, "rank %u is attached already", frame->rank);
    attach(n, connection);
    return TW_OK;
}

/* ---- frames ---- */

/* A push is named by the first slot of its rank. Behind this door it has the number of
 * the rank (README.md, "Slots"). */
static enum tw_status check_worker(const struct tw_node *n, const struct tw_session *session,
                                   uint32_t slot, uint32_t incarnation, uint32_t generation,
                                   struct tw_error *error) {
    uint32_t first = session->rank * n->config.width;
    if (generation != n->generation)
        return tw_error_set(error, TW_STALE, "a push of generation %u; the run is in %u",
                            generation, n->generation);
    if (slot == first && incarnation == session->incarnation)
        return TW_OK;
    return tw_error_set(
        error, TW_UNEXPECTED,
        "rank %u, incarnation %u pushes as slot %u, incarnation %u; its slots begin "
        "with %u",
        session->rank, session->incarnation, slot, incarnation, first);
}

static struct tw_push inside(const struct tw_session *session, const struct tw_push *push) {
    struct tw_push ours = *push;
    ours.slot = session->rank;
    return ours;
}

enum tw_status tw_node_data(struct tw_node *n, uint32_t connection, const struct tw_frame *frame,
                            void **place, struct tw_error *error) {
    const struct tw_session *session = session_of(n, connection);
    enum tw_status status = tw_session_allows(session, frame->body, error);
    if (status != TW_OK)
        return status;
    if (frame->body != TW_BODY_PUSH)
        return tw_error_set(error, TW_MALFORMED, "%s with data", tw_body_name(frame->body));
    status = check_worker(n, session, frame->push.slot, frame->push.incarnation,
                          frame->push.generation, error);
    if (status != TW_OK)
        return status;
    struct tw_push push = inside(session, &frame->push);
    status = tw_shard_place(n->shard, &push, frame->data_bytes, place, error);
    if (status == TW_AGAIN) {
        n->paused += !n->connection[connection].paused;
        n->connection[connection].paused = true;
    }
    n->connection[connection].receiving = status == TW_OK && *place;
    n->connection[connection].push = push;
    return status;
}

static enum tw_status on_worker_frame(struct tw_node *n, uint32_t connection,
                                      const struct tw_frame *frame, const void *data,
                                      struct tw_error *error) {
    const struct tw_session *session = session_of(n, connection);
    if (frame->body == TW_BODY_PUSH) {
        n->connection[connection].receiving = false;
        if (!frame->data_bytes)
            return tw_error_set(error, TW_MALFORMED, "Push without data");
        struct tw_push push = inside(session, &frame->push);
        if (data)
            tw_shard_arrived(n->shard, &push);
        return TW_OK;
    }
    struct tw_end end = frame->end;
    enum tw_status status =
        check_worker(n, session, end.slot, end.incarnation, end.generation, error);
    end.slot = session->rank;
    if (status == TW_OK)
        status = tw_shard_end(n->shard, &end, error);
    if (status == TW_OK && tw_shard_wants_again(n->shard, end.slot))
        tw_node_say_again(n, end.slot);
    return status;
}

/* The shell, which has a clock, fills in the time of the answer. */
static void on_ping(struct tw_node *n, uint32_t connection, const struct tw_ping *ping) {
    const struct tw_session *session = session_of(n, connection);
    tw_node_say(n, connection, TW_BODY_PONG)->pong.nonce = ping->nonce;
    if (session->state != TW_SESSION_CONTROL || session->role != TW_ROLE_WORKER || !ping->measures)
        return;
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_MEASURED);
    event->rank = session->rank;
    event->connection = connection;
    event->measures = ping->measures;
    event->measure = ping->measure;
}

static enum tw_status greet(struct tw_node *n, uint32_t connection, const struct tw_frame *frame,
                            struct tw_error *error) {
    struct tw_frame answer;
    enum tw_status status =
        tw_session_greet(session_of(n, connection), &n->config.terms, frame, &answer, error);
    if (status == TW_OK && answer.body != TW_BODY_NONE)
        *tw_node_say(n, connection, answer.body) = answer;
    return status;
}

enum tw_status tw_node_frame(struct tw_node *n, uint32_t connection, const struct tw_frame *frame,
                             const void *data, struct tw_error *error) {
    const struct tw_session *session = session_of(n, connection);
    enum tw_status status = tw_session_allows(session, frame->body, error);
    if (status != TW_OK)
        return status;
    switch (frame->body) {
    case TW_BODY_HELLO:
    case TW_BODY_PROOF:
        return greet(n, connection, frame, error);
    case TW_BODY_JOIN:
        return on_join(n, connection, &frame->join, error);
    case TW_BODY_ATTACH:
        return on_attach(n, connection, &frame->attach, error);
    case TW_BODY_SERVE:
        return tw_node_on_serve(n, connection, &frame->serve, error);
    case TW_BODY_READY:
    case TW_BODY_SUMS:
    case TW_BODY_REACH:
    case TW_BODY_SAMPLE:
    case TW_BODY_SQUARES:
        return tw_node_hear_shard(n, session->rank, frame, error);
    case TW_BODY_PUSH:
    case TW_BODY_END:
        return on_worker_frame(n, connection, frame, data, error);
    case TW_BODY_ASK:
        return tw_node_on_ask(n, session->rank, frame->ask.samples, error);
    case TW_BODY_EVALUATION:
        return tw_node_on_evaluation(n, session->rank, &frame->evaluation, error);
    case TW_BODY_TALLY:
        return tw_node_on_tally(n, session->rank, &frame->tally, error);
    case TW_BODY_PING:
        on_ping(n, connection, &frame->ping);
        return TW_OK;
    case TW_BODY_BYE:
        tw_node_close(n, connection, TW_OK, "");
        return TW_OK;
    case TW_BODY_QUERY:
        return tw_node_on_query(n, connection, &frame->query, error);
    case TW_BODY_TURN:
        return tw_node_on_turn(n, connection, &frame->turn, error);
    default:
        return TW_OK; /* Pong */
    }
}

/* ---- losing ---- */

/* Every server that it was attached to says so: the first one counts. */
void tw_node_drop_worker(struct tw_node *n, uint32_t rank, uint32_t attempt, const char *why) {
    struct tw_node_member *member = &n->member[rank];
    if (member->attempt != attempt || member->control == TW_NO_CONNECTION)
        return;
    struct tw_node_event *event = tw_node_tell(n, TW_EVENT_LEFT);
    event->rank = rank;
    event->incarnation = member->incarnation;
    event->text = why;
    let_go(n, member, "the worker's other connection is lost");
    struct tw_sequencer_event lost = {.kind = TW_SEQ_LOST};
    lost.rank = rank;
    lost.attempt = attempt;
    tw_node_sequence(n, &lost);
}

void tw_node_lost(struct tw_node *n, uint32_t connection, const char *why) {
    struct tw_session *session = session_of(n, connection);
    if (n->connection[connection].receiving)
        tw_shard_aborted(n->shard, &n->connection[connection].push);
    n->connection[connection].receiving = n->connection[connection].paused = false;
    enum tw_session_state state = session->state;
    session->state = TW_SESSION_CLOSED;
    if (state == TW_SESSION_SERVER)
        tw_node_lose_server(n, session->rank, why);
    if ((state != TW_SESSION_CONTROL && state != TW_SESSION_BULK) ||
        session->role == TW_ROLE_OPERATOR)
        return;
    struct tw_node_member *member = member_of(n, session);
    if (member->control != connection && member->bulk != connection)
        return; /* let go of before */
    if (n->over && n->lead && member->bulk == connection) {
        member->bulk = TW_NO_CONNECTION; /* it leaves, and its last words may still be on control */
        return;
    }
    if (session->role == TW_ROLE_EVALUATOR) {
        drop_evaluator(n, session->rank);
    } else if (n->lead) {
        tw_node_drop_worker(n, session->rank, member->attempt, why);
    } else {
        struct tw_node_vote vote = {.kind = TW_VOTE_LOST};
        vote.rank = session->rank;
        vote.attempt = member->attempt;
        let_go(n, member, why);
        tw_node_vote(n, &vote);
    }
}

void tw_node_goodbye(struct tw_node *n, enum tw_status status, const char *text) {
    n->over = true;
    for (uint32_t i = 0; i < n->config.connections; i++) {
        enum tw_session_state state = n->connection[i].session.state;
        if (state != TW_SESSION_CONTROL && state != TW_SESSION_SERVER)
            continue;
        struct tw_frame *frame = tw_node_say(n, i, TW_BODY_STOP);
        frame->stop.status = (uint32_t)status;
        frame->stop.text = (struct tw_view){text, strlen(text)};
    }
}
