/* Connections, and their numbers in the node.
 *
 * Happy path: accepted -> a number from the node -> Hello ... Join or Attach in
 * time -> frames -> the peer closes -> the node is told, the link is freed.
 *
 * A link whose number is TW_NO_CONNECTION is parting: the node has forgotten it
 * (so its rank is free and its number may be given away), and only what is queued,
 * such as a Refuse, still leaves. Nothing that comes in on it is looked at.
 *
 * Limits: so many connections may be unknown at a time, in all and from one
 * address, and each for so long. More of them wait in line, unread, until others have
 * joined or given up: a thousand workers of one machine come in one after the other. When the
 * line is full one more is refused by name; when even those that are being refused become
 * too many, they are closed without a word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/say.h"
#include "common/net/listen.h"
#include "server/io/server_state.h"

#define BACKLOG 1024
#define ADDRESSES 8
#define FAULT_LINES 10
#define LOOKED_AT 16 /* of those in line, in a turn of the loop */
#define FAULT_WINDOW_MS 10000

/* ---- parting ---- */

/* The operator should see why somebody could not come in: a wrong secret, another
 * job. That a peer just went away, or that the run is over, is no fault. */
static void tell_fault(const struct tw_link *link, enum tw_status status, const char *why) {
    struct tw_fault_lines *lines = &link->server->faults;
    uint64_t now = uv_now(&link->server->loop);
    if (link->is_member || status == TW_OK || status == TW_CLOSED || status == TW_IO ||
        status == TW_STOPPED)
        return;
    if (now - lines->since_ms >= FAULT_WINDOW_MS) {
        if (lines->untold)
            tw_say("%u more connections were turned away", lines->untold);
        *lines = (struct tw_fault_lines){.since_ms = now};
    }
    if (lines->told == FAULT_LINES) {
        lines->untold++;
        return;
    }
    lines->told++;
    tw_say("%s was turned away: %s: %s", tw_lane_peer(link->lane), tw_status_name((int)status),
           why);
}

static void forget_pending(struct tw_link *link) {
    struct tw_link **at = &link->server->pending;
    while (*at && *at != link)
        at = &(*at)->next_pending;
    if (*at)
        *at = link->next_pending;
}

static void leave_node(struct tw_link *link, enum tw_status status, const char *why) {
    struct tw_server *server = link->server;
    uint32_t number = link->number;
    if (number == TW_NO_CONNECTION)
        return;
    tell_fault(link, status, why);
    forget_pending(link);
    snprintf(link->why, sizeof(link->why), "%s", why);
    link->number = TW_NO_CONNECTION;
    server->link[number] = NULL;
    server->parting++;
    tw_node_lost(server->node, number, link->why);
    tw_pump_wake(server);
}

void tw_links_part(struct tw_link *link, enum tw_status status, const char *why) {
    tw_lane_finish(link->lane, status, why);
    leave_node(link, status, status == TW_OK ? "it said goodbye" : why);
}

static void leave_line(struct tw_link *link) {
    struct tw_server *server = link->server;
    struct tw_link **at = &server->line, *before = NULL;
    for (; *at != link; at = &(*at)->next_in_line)
        before = *at;
    *at = link->next_in_line;
    if (server->line_end == link)
        server->line_end = before;
    link->next_in_line = NULL;
    link->is_in_line = false;
    server->line_length--;
}

static void unlist(struct tw_link *link) {
    struct tw_server *server = link->server;
    if (link->previous)
        link->previous->next = link->next;
    else
        server->links = link->next;
    if (link->next)
        link->next->previous = link->previous;
    if (link->is_in_line)
        leave_line(link);
    else
        server->parting--;
    tw_pump_forget(server, link);
}

static void on_closed(struct tw_lane *lane, const struct tw_error *error) {
    struct tw_link *link = tw_lane_context(lane);
    if (!link) { /* there was no memory for it */
        tw_lane_free(lane);
        return;
    }
    struct tw_server *server = link->server;
    leave_node(link, error->status, error->text);
    tw_pump_drain(server);
    unlist(link);
    tw_lane_free(lane);
    free(link);
    if (server->phase == TW_SERVER_LEAVING && !server->links)
        tw_server_close(server);
}

/* ---- frames ---- */

static enum tw_status gone(struct tw_error *error) {
    return tw_error_set(error, TW_CLOSED, "this connection is being closed");
}

/* A frame of it begins to arrive, or is complete: many are in the same millisecond. */
static void hear(struct tw_link *link) {
    if (link->heard_ms != uv_now(&link->server->loop))
        tw_waits_heard(link);
}

static enum tw_status on_data(struct tw_lane *lane, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    struct tw_link *link = tw_lane_context(lane);
    struct tw_server *server = link->server;
    if (link->number == TW_NO_CONNECTION)
        return gone(error);
    hear(link);
    if (frame->body == TW_BODY_PUSH)
        tw_waits_arriving(link);
    bool collected = frame->body == TW_BODY_WEIGHTS;
    enum tw_status status =
        collected && server->shards.collecting ? tw_shards_place(link, frame, place, error)
        : collected                            ? tw_saver_place(link, frame, place, error)
                    : tw_node_data(server->node, link->number, frame, place, error);
    if (status != TW_OK && status != TW_AGAIN)
        leave_node(link, error->status, error->text);
    if (status == TW_AGAIN)
        tw_pump_wake(server); /* it may have to ask for a permit */
    tw_pump_drain(server);
    return status;
}

/* What the peer has shown of itself decides how much it may send. */
static void widen(struct tw_link *link, enum tw_body body) {
    if (body == TW_BODY_PROOF) {
        tw_lane_limit(link->lane, TW_SMALL_FIELDS_MAX, false);
        tw_trunk_allow(tw_lane_trunk(link->lane), link->server->lanes);
    } else if (body == TW_BODY_ATTACH) {
        tw_lane_limit(link->lane, TW_FRAME_BYTES_MAX, true);
    } else if (body == TW_BODY_QUERY || body == TW_BODY_TURN) {
        link->pending_ms = 0;
    }
}

/* The peer will not have us: our secret is not its own, or we broke the protocol. */
static void on_refuse(struct tw_link *link, const struct tw_refuse *refuse,
                      struct tw_error *error) {
    enum tw_status status =
        refuse->status <= TW_INTERNAL ? (enum tw_status)refuse->status : TW_UNEXPECTED;
    int length = refuse->text.size < 400 ? (int)refuse->text.size : 400;
    const char *text = length ? refuse->text.bytes : "";
    tw_error_set(error, status ? status : TW_UNEXPECTED, "it refused this server: %.*s", length,
                 text);
    leave_node(link, error->status, error->text);
}

static enum tw_status on_frame(struct tw_lane *lane, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct tw_link *link = tw_lane_context(lane);
    struct tw_server *server = link->server;
    if (link->number == TW_NO_CONNECTION)
        return gone(error);
    enum tw_body body = frame->body;
    if (body == TW_BODY_REFUSE) {
        on_refuse(link, &frame->refuse, error);
        tw_pump_wake(server);
        tw_pump_drain(server);
        return error->status;
    }
    hear(link);
    if (body == TW_BODY_END)
        tw_waits_arrived(link, frame->end.step);
    bool collected = body == TW_BODY_WEIGHTS && frame->data_bytes;
    enum tw_status status = collected && server->shards.collecting ? tw_shards_arrived(link, error)
                            : collected
                                ? tw_saver_arrived(link, frame, error)
                                : tw_node_frame(server->node, link->number, frame, data, error);
    if (status == TW_OK)
        widen(link, body);
    else
        leave_node(link, error->status, error->text);
    tw_pump_wake(server);
    tw_pump_drain(server);
    return status;
}

static void on_released(struct tw_lane *lane, void *token) {
    struct tw_link *link = tw_lane_context(lane);
    struct tw_server *server = link->server;
    uint32_t number = (uint32_t)(uintptr_t)token;
    if (number == TW_RESTORER_TOKEN) {
        tw_restorer_sent(link);
        return;
    }
    if (number == link->weights_last && link->number != TW_NO_CONNECTION) {
        link->weights_last = UINT32_MAX;
        if (link->weights_rank != TW_SLOT_EVALUATOR) {
            uint64_t now_ns =
                server->pump.flushing ? tw_server_moment(server) : tw_server_now(server);
            tw_trace_served(&server->trace, link->weights_rank, link->weights_position, now_ns);
            tw_waits_served(server, link->weights_rank, now_ns);
        }
    }
    tw_pump_sent(server, number);
}

static void on_moment(struct tw_lane *lane) {
    const struct tw_link *link = tw_lane_context(lane);
    tw_server_end_moment(link->server);
}

static void on_branch(struct tw_lane *lane, void *owner);

static const struct tw_lane_events events = {.on_moment = on_moment,
                                             .on_data = on_data,
                                             .on_frame = on_frame,
                                             .on_released = on_released,
                                             .on_closed = on_closed,
                                             .on_branch = on_branch};

/* ---- accepting ---- */

static size_t host_length(const struct tw_link *link) {
    const char *peer = tw_lane_peer(link->lane);
    const char *colon = strrchr(peer, ':');
    return colon ? (size_t)(colon - peer) : strlen(peer);
}

static bool is_pending(const struct tw_link *link) {
    return link->number != TW_NO_CONNECTION && tw_node_is_pending(link->server->node, link->number);
}

static bool is_from(const struct tw_link *link, const char *host, size_t length) {
    return host_length(link) == length && memcmp(tw_lane_peer(link->lane), host, length) == 0;
}

/* How many connections have not joined or attached yet, and of them from this one's address. Those
 * that have are taken out of the list. */
static uint32_t count_pending(const struct tw_link *link, uint32_t *same) {
    struct tw_link **at = &link->server->pending;
    size_t length = host_length(link);
    uint32_t pending = 0;
    *same = 0;
    while (*at) {
        if (!is_pending(*at)) {
            *at = (*at)->next_pending;
            continue;
        }
        pending += !(*at)->is_branch;
        *same += !(*at)->is_branch && is_from(*at, tw_lane_peer(link->lane), length);
        at = &(*at)->next_pending;
    }
    return pending;
}

/* Whether this connection, which has no number yet, is one too many. */
static bool is_too_many(const struct tw_link *link, uint32_t pending, uint32_t same,
                        struct tw_error *error) {
    const struct tw_server_limits *limits = &link->server->limits;
    if (pending >= limits->pending)
        tw_error_set(error, TW_LIMIT, "%u connections that have not joined are open already",
                     pending);
    else if (same >= limits->pending_per_address)
        tw_error_set(error, TW_LIMIT,
                     "%u connections from %.*s that have not joined are open already", same,
                     (int)host_length(link), tw_lane_peer(link->lane));
    else
        return false;
    return true;
}

/* Its turn comes later. False: the line is full. */
static bool stand_in_line(struct tw_link *link, uint32_t pending) {
    struct tw_server *server = link->server;
    if (pending + server->line_length >= server->limits.unknown)
        return false;
    server->parting--;
    link->is_in_line = true;
    *(server->line_end ? &server->line_end->next_in_line : &server->line) = link;
    server->line_end = link;
    server->line_length++;
    tw_lane_pause(link->lane);
    return true;
}

static void take_number(struct tw_link *link, uint32_t number) {
    struct tw_server *server = link->server;
    server->parting--;
    link->number = number;
    link->next_pending = server->pending;
    server->pending = link;
    server->link[number] = link;
    tw_lane_limit(link->lane, TW_HELLO_BYTES_MAX, false);
}

static void turn_away(struct tw_link *link, enum tw_status status, const char *why) {
    tell_fault(link, status, why);
    tw_lane_finish(link->lane, status, why);
}

static void take_number_or_part(struct tw_link *link) {
    uint8_t random[TW_NODE_RANDOM_BYTES];
    uint32_t number;
    if (tw_random_bytes(random, sizeof(random)) != TW_OK)
        turn_away(link, TW_IO, "the server's system gives no random numbers");
    else if ((number = tw_node_open(link->server->node, random)) == TW_NO_CONNECTION)
        turn_away(link, TW_LIMIT, "the server has no room for another connection");
    else
        take_number(link, number);
}

static void enter(struct tw_link *link) {
    struct tw_server *server = link->server;
    struct tw_error error = {.status = TW_OK};
    uint32_t same, pending = count_pending(link, &same);
    if (server->parting > server->limits.pending)
        tw_lane_close(link->lane);
    else if (!is_too_many(link, pending, same, &error))
        take_number_or_part(link);
    else if (!stand_in_line(link, pending))
        turn_away(link, error.status, error.text);
}

/* In turn; those of an address that has enough others before the handshake go to the end. */
void tw_links_let_in(struct tw_server *server) {
    uint32_t looks = server->line_length < LOOKED_AT ? server->line_length : LOOKED_AT;
    for (; looks > 0 && server->phase == TW_SERVER_RUNNING; looks--) {
        struct tw_link *link = server->line;
        leave_line(link);
        server->parting++; /* until it has a number */
        enter(link);
        if (!link->is_in_line)
            tw_lane_unpause(link->lane);
    }
}

static void list(struct tw_link *link) {
    struct tw_server *server = link->server;
    link->next = server->links;
    if (link->next)
        link->next->previous = link;
    server->links = link;
    server->parting++; /* until it has a number */
}

static struct tw_link *new_link(struct tw_server *server) {
    struct tw_link *link = calloc(1, sizeof(*link));
    if (!link)
        return NULL;
    link->server = server;
    link->number = TW_NO_CONNECTION;
    link->weights_last = UINT32_MAX;
    return link;
}

static void accept_one(struct tw_server *server) {
    struct tw_error error = {.status = TW_NO_MEMORY};
    struct tw_link *link = new_link(server);
    if (!link || tw_trunk_accept(&link->lane, (uv_stream_t *)&server->listener, &server->host,
                                 &events, link, server, &error) != TW_OK) {
        free(link);
        if (error.status != TW_NO_MEMORY)
            return;                    /* the peer has gone again */
        server->has_unaccepted = true; /* libuv says no more until it is accepted */
        tw_say("out of memory: a connection has to wait");
        return;
    }
    list(link);
    enter(link);
}

/* One more lane beside the first of its connection would be too many that have not joined or
 * attached yet: in all, or from its address, which may have half of them. */
static bool has_too_many_branches(const struct tw_link *link) {
    const struct tw_server *server = link->server;
    size_t length = host_length(link);
    uint32_t all = 0, same = 0;
    for (const struct tw_link *at = server->pending; at; at = at->next_pending) {
        all += at->is_branch && is_pending(at);
        same += at->is_branch && is_pending(at) && is_from(at, tw_lane_peer(link->lane), length);
    }
    return all >= server->limits.pending || same >= (server->limits.pending + 1) / 2;
}

/* Whoever opens another lane has shown who he is, and does not stand in line; one of too many tries
 * again. */
static void on_branch(struct tw_lane *lane, void *owner) {
    struct tw_server *server = owner;
    struct tw_link *link = new_link(server);
    tw_lane_set_context(lane, link);
    if (!link) {
        tw_lane_finish(lane, TW_NO_MEMORY, "out of memory");
        return;
    }
    link->lane = lane;
    link->is_branch = true;
    list(link);
    if (has_too_many_branches(link))
        turn_away(link, TW_LIMIT, "too many conversations that have not joined are open");
    else
        take_number_or_part(link);
}

static void on_connection(uv_stream_t *listener, int code) {
    struct tw_server *server = listener->data;
    if (code != 0)
        tw_say("a connection could not be accepted: %s", uv_strerror(code));
    else
        accept_one(server);
}

/* A queue may hold a whole model, whose bytes are borrowed from the shard, and some
 * small frames; a peer that lets more pile up is cut off. */
static void set_host(struct tw_server *server) {
    enum { ENTRY_BYTES = 512, SLACK_BYTES = 4 << 20 };
    size_t model = (size_t)server->layout.elements * sizeof(float);
    server->host = (struct tw_connection_host){
        .loop = &server->loop,
        .arena = &server->arena,
        .send_queue_bytes_max = model + server->layout.chunks * (size_t)ENTRY_BYTES + SLACK_BYTES,
    };
}

enum tw_status tw_links_listen(struct tw_server *server, struct tw_error *error) {
    struct tw_host_port at;
    struct sockaddr_storage address[ADDRESSES];
    size_t count;
    bool initialised = false;
    set_host(server);
    enum tw_status status = tw_host_port_parse(&at, server->config->listen, error);
    if (status == TW_OK)
        status = tw_address_resolve(&at, address, ADDRESSES, &count, error);
    if (status == TW_OK)
        status = tw_listen(&server->listener, &server->loop, (struct sockaddr *)&address[0],
                           BACKLOG, on_connection, &initialised, error);
    if (status == TW_OK)
        status = tw_listen_address(&server->listener, &address[0], error);
    if (status != TW_OK)
        return status;
    server->listener.data = server;
    if (server->config->index)
        status = tw_lead_init(server, (struct sockaddr *)&address[0], error);
    else if (tw_server_file_write(&server->file, server->config->out,
                                  (struct sockaddr *)&address[0], server->random, error) != TW_OK)
        tw_say("%s; this run cannot be asked for its status", error->text); /* training goes on */
    if (status == TW_OK)
        tw_narrator_listening(server, (struct sockaddr *)&address[0]);
    return status;
}

/* ---- ticks and the end ---- */

/* Whoever stays must join, and an operator must have something to ask. */
static void check_patience(struct tw_link *link, uint32_t passed_ms) {
    const struct tw_server_limits *limits = &link->server->limits;
    bool is_operator =
        link->number != TW_NO_CONNECTION && tw_node_is_operator(link->server->node, link->number);
    char text[128];
    if (!is_operator && !is_pending(link))
        return;
    link->pending_ms += passed_ms;
    if (is_operator && link->pending_ms >= TW_OPERATOR_MS) {
        tw_links_part(link, TW_SLOW_PEER, "an operator that asks nothing is let go");
    } else if (!is_operator && link->pending_ms >= limits->handshake_ms) {
        snprintf(text, sizeof(text),
                 "no Join, Attach or Serve that could be answered has come within %u ms",
                 limits->handshake_ms);
        tw_links_part(link, TW_SLOW_PEER, text);
    }
}

void tw_links_tick(struct tw_server *server, uint32_t passed_ms) {
    struct tw_link *next;
    for (struct tw_link *link = server->links; link; link = next) {
        next = link->next;
        check_patience(link, passed_ms);
    }
    tw_pump_drain(server);
    tw_links_let_in(server);
    if (server->has_unaccepted && server->phase != TW_SERVER_CLOSING) {
        server->has_unaccepted = false;
        accept_one(server);
    }
}

void tw_links_say_goodbye(struct tw_server *server) {
    for (struct tw_link *link = server->links; link; link = link->next)
        if (is_pending(link) || link->is_in_line)
            tw_links_part(link, TW_STOPPED, "the run is over");
    tw_pump_drain(server);
}

void tw_links_close(struct tw_server *server) {
    for (struct tw_link *link = server->links; link; link = link->next)
        tw_lane_close(link->lane);
}
