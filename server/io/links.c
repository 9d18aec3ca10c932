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
 * address, and each for so long. One more is refused by name; when even those that
 * are being refused become too many, they are closed without a word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/say.h"
#include "common/net/listen.h"
#include "server/io/server_state.h"

#define BACKLOG 256
#define ADDRESSES 8
#define FAULT_LINES 10
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
    tw_say("%s was turned away: %s: %s", tw_connection_peer(link->connection),
           tw_status_name((int)status), why);
}

static void leave_node(struct tw_link *link, enum tw_status status, const char *why) {
    struct tw_server *server = link->server;
    uint32_t number = link->number;
    if (number == TW_NO_CONNECTION)
        return;
    tell_fault(link, status, why);
    snprintf(link->why, sizeof(link->why), "%s", why);
    link->number = TW_NO_CONNECTION;
    server->link[number] = NULL;
    server->parting++;
    tw_node_lost(server->node, number, link->why);
    tw_pump_wake(server);
}

void tw_links_part(struct tw_link *link, enum tw_status status, const char *why) {
    tw_connection_finish(link->connection, status, why);
    leave_node(link, status, status == TW_OK ? "it said goodbye" : why);
}

static void unlist(struct tw_link *link) {
    struct tw_server *server = link->server;
    if (link->previous)
        link->previous->next = link->next;
    else
        server->links = link->next;
    if (link->next)
        link->next->previous = link->previous;
    server->parting--;
    tw_pump_forget(server, link);
}

static void on_closed(struct tw_connection *connection, const struct tw_error *error) {
    struct tw_link *link = tw_connection_context(connection);
    struct tw_server *server = link->server;
    leave_node(link, error->status, error->text);
    tw_pump_drain(server);
    unlist(link);
    tw_connection_free(connection);
    free(link);
    if (server->phase == TW_SERVER_LEAVING && !server->links)
        tw_server_close(server);
}

/* ---- frames ---- */

static enum tw_status gone(struct tw_error *error) {
    return tw_error_set(error, TW_CLOSED, "this connection is being closed");
}

static enum tw_status on_data(struct tw_connection *connection, const struct tw_frame *frame,
                              void **place, struct tw_error *error) {
    struct tw_link *link = tw_connection_context(connection);
    struct tw_server *server = link->server;
    if (link->number == TW_NO_CONNECTION)
        return gone(error);
    tw_waits_heard(link, frame);
    bool collected = frame->body == TW_BODY_WEIGHTS;
    enum tw_status status = collected
                                ? tw_shards_place(link, frame, place, error)
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
    if (body == TW_BODY_PROOF)
        tw_connection_limit(link->connection, TW_SMALL_FIELDS_MAX, false);
    else if (body == TW_BODY_ATTACH)
        tw_connection_limit(link->connection, TW_FRAME_BYTES_MAX, true);
    else if (body == TW_BODY_QUERY || body == TW_BODY_TURN)
        link->pending_ms = 0;
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

static enum tw_status on_frame(struct tw_connection *connection, const struct tw_frame *frame,
                               void *data, struct tw_error *error) {
    struct tw_link *link = tw_connection_context(connection);
    struct tw_server *server = link->server;
    if (link->number == TW_NO_CONNECTION)
        return gone(error);
    enum tw_body body = frame->body;
    link->heard_ms = uv_now(&server->loop);
    if (body == TW_BODY_REFUSE) {
        on_refuse(link, &frame->refuse, error);
        tw_pump_wake(server);
        tw_pump_drain(server);
        return error->status;
    }
    tw_waits_heard(link, frame);
    enum tw_status status = body == TW_BODY_WEIGHTS && frame->data_bytes
                                ? tw_shards_arrived(link, error)
                                : tw_node_frame(server->node, link->number, frame, data, error);
    if (status == TW_OK)
        widen(link, body);
    else
        leave_node(link, error->status, error->text);
    tw_pump_wake(server);
    tw_pump_drain(server);
    return status;
}

static void on_released(struct tw_connection *connection, void *token) {
    struct tw_link *link = tw_connection_context(connection);
    uint32_t number = (uint32_t)(uintptr_t)token;
    if (number == link->weights_last && link->number != TW_NO_CONNECTION) {
        link->weights_last = UINT32_MAX;
        if (link->weights_rank != TW_SLOT_EVALUATOR) {
            tw_trace_served(&link->server->trace, link->weights_rank, link->weights_position);
            tw_waits_served(link->server, link->weights_rank);
        }
    }
    tw_pump_sent(link->server, number);
}

static const struct tw_connection_events events = {
    .on_data = on_data, .on_frame = on_frame, .on_released = on_released, .on_closed = on_closed};

/* ---- accepting ---- */

static size_t host_length(const struct tw_link *link) {
    const char *peer = tw_connection_peer(link->connection);
    const char *colon = strrchr(peer, ':');
    return colon ? (size_t)(colon - peer) : strlen(peer);
}

static bool is_pending(const struct tw_link *link) {
    return link->number != TW_NO_CONNECTION && tw_node_is_pending(link->server->node, link->number);
}

/* Whether this connection, which has no number yet, is one too many. */
static bool is_too_many(const struct tw_link *link, struct tw_error *error) {
    const struct tw_server_limits *limits = &link->server->limits;
    uint32_t pending = 0, same = 0;
    size_t length = host_length(link);
    const char *peer = tw_connection_peer(link->connection);
    for (const struct tw_link *other = link->server->links; other; other = other->next) {
        if (!is_pending(other))
            continue;
        pending++;
        same += host_length(other) == length &&
                memcmp(tw_connection_peer(other->connection), peer, length) == 0;
    }
    if (pending >= limits->pending)
        tw_error_set(error, TW_LIMIT, "%u connections that have not joined are open already",
                     pending);
    else if (same >= limits->pending_per_address)
        tw_error_set(error, TW_LIMIT,
                     "%u connections from %.*s that have not joined are open already", same,
                     (int)length, peer);
    else
        return false;
    return true;
}

static void enter(struct tw_link *link) {
    struct tw_server *server = link->server;
    struct tw_error error = {.status = TW_OK};
    uint8_t random[TW_NODE_RANDOM_BYTES];
    uint32_t number = TW_NO_CONNECTION;
    if (server->parting > server->limits.pending) {
        tw_connection_close(link->connection);
        return;
    }
    if (!is_too_many(link, &error)) {
        if (tw_random_bytes(random, sizeof(random)) != TW_OK)
            tw_error_set(&error, TW_IO, "the server's system gives no random numbers");
        else if ((number = tw_node_open(server->node, random)) == TW_NO_CONNECTION)
            tw_error_set(&error, TW_LIMIT, "the server has no room for another connection");
    }
    if (number == TW_NO_CONNECTION) {
        tell_fault(link, error.status, error.text);
        tw_connection_finish(link->connection, error.status, error.text);
        return;
    }
    server->parting--;
    link->number = number;
    server->link[number] = link;
    tw_connection_limit(link->connection, TW_HELLO_BYTES_MAX, false);
}

static void list(struct tw_link *link) {
    struct tw_server *server = link->server;
    link->next = server->links;
    if (link->next)
        link->next->previous = link;
    server->links = link;
    server->parting++; /* until it has a number */
}

static void accept_one(struct tw_server *server) {
    struct tw_error error;
    struct tw_link *link = calloc(1, sizeof(*link));
    if (!link || tw_connection_new(&link->connection, &server->host, &events, link) != TW_OK) {
        free(link);
        server->has_unaccepted = true; /* libuv says no more until it is accepted */
        tw_say("out of memory: a connection has to wait");
        return;
    }
    link->server = server;
    link->number = TW_NO_CONNECTION;
    link->weights_last = UINT32_MAX;
    if (tw_connection_accept(link->connection, (uv_stream_t *)&server->listener, &error) != TW_OK) {
        tw_connection_free(link->connection); /* the peer has gone again */
        free(link);
        return;
    }
    list(link);
    enter(link);
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
    if (server->has_unaccepted && server->phase != TW_SERVER_CLOSING) {
        server->has_unaccepted = false;
        accept_one(server);
    }
}

void tw_links_say_goodbye(struct tw_server *server) {
    for (struct tw_link *link = server->links; link; link = link->next)
        if (is_pending(link))
            tw_links_part(link, TW_STOPPED, "the run is over");
    tw_pump_drain(server);
}

void tw_links_close(struct tw_server *server) {
    for (struct tw_link *link = server->links; link; link = link->next)
        tw_connection_close(link->connection);
}
