/* How lanes open and end, and whose is what comes: see lane.h, and the states in lane_private.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/lane_private.h"

/* ---- lists ---- */

/* Something is to be told to its owner from the loop. */
static void call(struct tw_lane *lane) {
    struct tw_trunk *trunk = lane->trunk;
    if (trunk->closed)
        return; /* it is told now */
    tw_connection_call(trunk->connection);
    if (lane->is_called)
        return;
    lane->is_called = true;
    lane->next_called = NULL;
    *trunk->called_end = lane;
    trunk->called_end = &lane->next_called;
}

static struct tw_lane *take_called(struct tw_trunk *trunk) {
    struct tw_lane *lane = trunk->called;
    if (lane == NULL)
        return NULL;
    trunk->called = lane->next_called;
    if (trunk->called == NULL)
        trunk->called_end = &trunk->called;
    lane->is_called = false;
    return lane;
}

static void forget_called(struct tw_lane *lane) {
    struct tw_trunk *trunk = lane->trunk;
    struct tw_lane *all = trunk->called, *next;
    if (!lane->is_called)
        return;
    trunk->called = NULL;
    trunk->called_end = &trunk->called;
    for (; all != NULL; all = next) {
        next = all->next_called;
        all->is_called = false;
        if (all != lane)
            call(all);
    }
}

static void forget_sent(struct tw_lane *lane) {
    struct tw_trunk *trunk = lane->trunk;
    struct tw_lane **at = &trunk->sent;
    if (!lane->has_sent)
        return;
    while (*at != lane)
        at = &(*at)->next_sent;
    *at = lane->next_sent;
    if (trunk->sent_end == &lane->next_sent)
        trunk->sent_end = at;
    lane->has_sent = false;
}

/* What all lanes may have in the queue together. */
static void bound_queue(struct tw_trunk *trunk) {
    size_t lanes = trunk->live > 0 ? trunk->live : 1;
    if (trunk->connection != NULL)
        tw_connection_bound(trunk->connection, lanes * trunk->queue_bytes_each);
}

/* ---- lanes of a trunk ---- */

static struct tw_lane *lane_of(const struct tw_trunk *trunk, uint32_t number) {
    return number < trunk->room ? trunk->lane[number] : NULL;
}

/* Room for this number. */
static bool make_room(struct tw_trunk *trunk, uint32_t number) {
    bool is_only = trunk->lane == trunk->only;
    uint32_t room = trunk->room;
    if (number < trunk->room)
        return true;
    while (room <= number)
        room *= 2;
    struct tw_lane **lane = realloc(is_only ? NULL : trunk->lane, room * sizeof(*lane));
    if (lane == NULL)
        return false;
    if (is_only)
        lane[0] = trunk->only[0];
    memset(lane + trunk->room, 0, (room - trunk->room) * sizeof(*lane));
    trunk->lane = lane;
    trunk->room = room;
    return true;
}

static struct tw_lane *new_lane(struct tw_trunk *trunk, uint32_t number,
                                const struct tw_lane_events *events, void *context) {
    struct tw_lane *lane = make_room(trunk, number) ? calloc(1, sizeof(*lane)) : NULL;
    if (lane == NULL)
        return NULL;
    lane->trunk = trunk;
    lane->number = number;
    lane->events = events;
    lane->context = context;
    trunk->lane[number] = lane;
    trunk->next = number + 1;
    trunk->live++;
    trunk->lanes++;
    bound_queue(trunk);
    return lane;
}

/* ---- ending ---- */

static void free_trunk(struct tw_trunk *trunk) {
    if (trunk->keeper != NULL)
        *trunk->keeper = NULL;
    tw_connection_free(trunk->connection);
    if (trunk->lane != trunk->only)
        free(trunk->lane);
    free(trunk);
}

void tw_lane_free(struct tw_lane *lane) {
    struct tw_trunk *trunk = lane->trunk;
    assert(lane->state == TW_LANE_CLOSED);
    free(lane);
    if (--trunk->lanes == 0 && trunk->closed)
        free_trunk(trunk);
}

/* The last event of a lane; its number is free of it. `cause`: of one that has none of its own. */
static void tell_closed(struct tw_lane *lane, const struct tw_error *cause) {
    struct tw_trunk *trunk = lane->trunk;
    struct tw_error own;
    forget_called(lane);
    forget_sent(lane);
    trunk->live -= lane->state < TW_LANE_ENDING;
    trunk->lane[lane->number] = NULL;
    lane->state = TW_LANE_CLOSED;
    if (lane->cause != TW_OK) {
        tw_error_set(&own, lane->cause, "%s", lane->why ? lane->why : tw_status_text(lane->cause));
        cause = &own;
    }
    free(lane->why);
    lane->events->on_closed(lane, cause);
}

/* Nothing that comes for it is wanted any more. */
static void deafen(struct tw_lane *lane) {
    struct tw_trunk *trunk = lane->trunk;
    lane->state = TW_LANE_ENDING;
    lane->ending_ms = uv_now(trunk->loop);
    trunk->live--; /* the queue keeps its bound until the next lane comes: nothing is taken away */
    if (trunk->receiving == lane) {
        tw_connection_discard(trunk->connection);
        trunk->receiving = NULL;
    }
    if (trunk->waiting == lane) {
        tw_connection_resume(trunk->connection); /* what waits is thrown away */
        trunk->waiting = NULL;
    }
    call(lane);
}

static void set_cause(struct tw_lane *lane, enum tw_status status, const char *text) {
    if (lane->cause != TW_OK)
        return;
    lane->cause = status;
    lane->why = strdup(text);
}

/* When it fails the connection is lost, and that is told. */
static void send_last(struct tw_lane *lane, struct tw_frame *frame) {
    frame->lane = lane->number;
    (void)tw_connection_send(lane->trunk->connection, frame, NULL, NULL);
}

static void say_shut(struct tw_lane *lane) {
    struct tw_frame shut = {.body = TW_BODY_SHUT};
    if (lane->spoke)
        send_last(lane, &shut);
}

static void say_refuse(struct tw_lane *lane, enum tw_status status, const char *text) {
    const char *name = tw_status_name((int)status);
    struct tw_frame refuse = {.body = TW_BODY_REFUSE,
                              .refuse = {.status = (uint32_t)status,
                                         .name = {name, strlen(name)},
                                         .text = {text, strlen(text)}}};
    if (lane->spoke && status != TW_OK)
        send_last(lane, &refuse);
}

/* Lanes that wait to be allowed, from this number on: they never will be. */
static void lose_waiting(struct tw_trunk *trunk, uint32_t first, const char *why) {
    for (uint32_t i = first; i < trunk->next; i++) {
        struct tw_lane *lane = trunk->lane[i];
        if (lane == NULL || lane->state != TW_LANE_OPENING)
            continue;
        set_cause(lane, TW_AGAIN, why);
        deafen(lane);
    }
}

/* What the peer allows is learnt on lane 0 (tw_trunk_allow). */
static void lose_orphans(const struct tw_lane *lane) {
    if (lane->number == 0 && !lane->trunk->is_allowed)
        lose_waiting(lane->trunk, 1, "the conversation that began this connection has ended");
}

void tw_lane_finish(struct tw_lane *lane, enum tw_status status, const char *text) {
    struct tw_trunk *trunk = lane->trunk;
    if (lane->state >= TW_LANE_ENDING)
        return;
    lose_orphans(lane);
    if (trunk->live > 1 || trunk->over) {
        say_refuse(lane, status, text);
        say_shut(lane);
    } else {
        trunk->over = true;
        if (trunk->connected)
            say_refuse(lane, status, text);
        tw_connection_finish(trunk->connection, trunk->connected ? TW_OK : status, text);
    }
    set_cause(lane, status == TW_OK ? TW_CLOSED : status,
              status == TW_OK ? "closed by this side" : text);
    deafen(lane);
}

void tw_lane_close(struct tw_lane *lane) {
    struct tw_trunk *trunk = lane->trunk;
    if (lane->state >= TW_LANE_ENDING) {
        if (trunk->over && !trunk->closed) /* no more patience with last words */
            tw_connection_close(trunk->connection);
        return;
    }
    lose_orphans(lane);
    set_cause(lane, TW_CLOSED, "closed by this side");
    if (trunk->live > 1 || trunk->over) {
        tw_connection_drop_data(trunk->connection, lane->number);
        say_shut(lane);
    } else {
        trunk->over = true;
        if (trunk->lanes > 1) /* last words of others may be on their way */
            tw_connection_finish(trunk->connection, TW_OK, "");
        else
            tw_connection_close(trunk->connection);
    }
    deafen(lane);
}

/* The peer has closed it. */
static void on_shut(struct tw_lane *lane) {
    struct tw_trunk *trunk = lane->trunk;
    lose_orphans(lane);
    set_cause(lane, TW_CLOSED, "the peer closed the connection");
    if (trunk->live == 1 && !trunk->over) {
        trunk->over = true;
        tw_connection_finish(trunk->connection, TW_OK, "");
    } else {
        tw_connection_drop_data(trunk->connection, lane->number);
    }
    deafen(lane);
}

/* ---- events of the connection ---- */

static void on_bytes(struct tw_connection *connection) {
    struct tw_trunk *trunk = tw_connection_context(connection);
    trunk->is_news = true;
}

static void tell_moment(struct tw_lane *lane) {
    if (!lane->trunk->is_news)
        return;
    lane->trunk->is_news = false;
    if (lane->events->on_moment != NULL)
        lane->events->on_moment(lane);
}

/* What its owner says of a frame concerns this lane alone. */
static void settle(struct tw_lane *lane, enum tw_status status, const struct tw_error *error) {
    if (status != TW_OK)
        tw_lane_finish(lane, status, error->text);
}

/* The lane of a frame; NULL with TW_OK: one that is over. */
static enum tw_status find_lane(struct tw_trunk *trunk, const struct tw_frame *frame,
                                struct tw_lane **out, struct tw_error *error) {
    *out = lane_of(trunk, frame->lane);
    if (*out != NULL || frame->lane < trunk->next)
        return TW_OK;
    const struct tw_lane *first = trunk->lanes > 0 ? trunk->lane[0] : NULL;
    for (uint32_t i = 1; first == NULL && i < trunk->next; i++)
        first = trunk->lane[i];
    if (first == NULL)
        return TW_OK; /* the connection is on its way out */
    if (first->events->on_branch == NULL || !trunk->is_allowed || frame->body != TW_BODY_HELLO)
        return tw_error_set(error, TW_UNEXPECTED, "a %s frame on lane %u, which nobody has opened",
                            tw_body_name(frame->body), frame->lane);
    if (frame->lane >= trunk->most)
        return tw_error_set(error, TW_LIMIT, "lane %u of a connection; it may have 0 to %u",
                            frame->lane, trunk->most - 1);
    *out = new_lane(trunk, frame->lane, first->events, NULL);
    if (*out == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    (*out)->state = TW_LANE_OPEN;
    (*out)->spoke = true;
    (*out)->events->on_branch(*out, trunk->owner);
    return TW_OK;
}

static enum tw_status on_data(struct tw_connection *connection, const struct tw_frame *frame,
                              void **place, struct tw_error *error) {
    struct tw_trunk *trunk = tw_connection_context(connection);
    struct tw_lane *lane;
    *place = NULL;
    trunk->waiting = NULL;
    enum tw_status status = find_lane(trunk, frame, &lane, error);
    if (status != TW_OK || lane == NULL || lane->state != TW_LANE_OPEN)
        return status;
    tell_moment(lane);
    if (lane->data_allowed)
        status = lane->events->on_data(lane, frame, place, error);
    else
        status = tw_error_set(error, TW_UNEXPECTED, "%zu tensor bytes where none are allowed",
                              frame->data_bytes);
    if (lane->state != TW_LANE_OPEN) { /* its owner has closed it meanwhile */
        *place = NULL;
        return TW_OK;
    }
    if (status == TW_AGAIN) {
        trunk->waiting = lane;
        return TW_AGAIN;
    }
    if (status != TW_OK)
        *place = NULL;
    trunk->receiving = *place != NULL ? lane : NULL;
    settle(lane, status, error);
    return TW_OK;
}

static enum tw_status on_frame(struct tw_connection *connection, const struct tw_frame *frame,
                               void *data, struct tw_error *error) {
    struct tw_trunk *trunk = tw_connection_context(connection);
    struct tw_lane *lane;
    enum tw_status status = find_lane(trunk, frame, &lane, error);
    trunk->receiving = NULL;
    if (status != TW_OK || lane == NULL || lane->state != TW_LANE_OPEN)
        return status;
    tell_moment(lane);
    if (frame->body == TW_BODY_SHUT)
        on_shut(lane);
    else
        settle(lane, lane->events->on_frame(lane, frame, data, error), error);
    return TW_OK;
}

static void on_released(struct tw_connection *connection, uint32_t number, void *token) {
    const struct tw_trunk *trunk = tw_connection_context(connection);
    struct tw_lane *lane = lane_of(trunk, number);
    assert(lane != NULL && lane->borrowed > 0);
    lane->borrowed--;
    lane->events->on_released(lane, token);
    if (lane->state == TW_LANE_ENDING && lane->borrowed == 0)
        call(lane);
}

static uint32_t count_sent(const struct tw_lane *lane) {
    uint32_t count = 0;
    for (; lane != NULL; lane = lane->next_sent)
        count++;
    return count;
}

/* Who has sent or asked for room before is told once; who does so meanwhile, the next time. */
static void on_drained(struct tw_connection *connection) {
    struct tw_trunk *trunk = tw_connection_context(connection);
    struct tw_lane *lane;
    trunk->is_news = true;
    for (uint32_t left = count_sent(trunk->sent); left > 0 && (lane = trunk->sent) != NULL;
         left--) {
        trunk->sent = lane->next_sent;
        if (trunk->sent == NULL)
            trunk->sent_end = &trunk->sent;
        lane->has_sent = false;
        if (lane->state == TW_LANE_OPEN) {
            tell_moment(lane);
            lane->events->on_drained(lane);
        }
    }
}

/* What a lane that is over has begun to send must leave; when the peer does not take it all go. */
static void on_tick(struct tw_connection *connection) {
    struct tw_trunk *trunk = tw_connection_context(connection);
    uint64_t now = uv_now(trunk->loop);
    for (uint32_t i = 0; i < trunk->next && trunk->lanes > trunk->live; i++) {
        const struct tw_lane *lane = trunk->lane[i];
        if (lane != NULL && lane->state == TW_LANE_ENDING &&
            now - lane->ending_ms >= trunk->finish_ms) {
            trunk->over = true;
            tw_connection_close(connection);
            return;
        }
    }
}

static void tell_opened(struct tw_lane *lane) {
    static const struct tw_error none = {.status = TW_OK};
    lane->state = TW_LANE_OPEN;
    lane->on_open(lane, TW_OK, &none);
}

/* With the last lane of a trunk its connection closes, and says so then. */
static void on_called(struct tw_connection *connection) {
    struct tw_trunk *trunk = tw_connection_context(connection);
    struct tw_lane *lane;
    while (!trunk->over && (lane = take_called(trunk)) != NULL) {
        if (lane->state == TW_LANE_ENDING && lane->borrowed == 0)
            tell_closed(lane, NULL);
        else if (lane->state == TW_LANE_OPENING && trunk->is_allowed && lane->number < trunk->most)
            tell_opened(lane);
    }
}

static void on_closed(struct tw_connection *connection, const struct tw_error *error) {
    struct tw_trunk *trunk = tw_connection_context(connection);
    struct tw_error cause = *error;
    trunk->over = trunk->closed = true;
    trunk->lanes++; /* it stays until the last was told */
    for (uint32_t i = 0; i < trunk->next; i++) {
        if (trunk->lane[i] != NULL)
            tell_closed(trunk->lane[i], &cause);
    }
    if (--trunk->lanes == 0)
        free_trunk(trunk);
}

static const struct tw_connection_events events = {.on_bytes = on_bytes,
                                                   .on_data = on_data,
                                                   .on_frame = on_frame,
                                                   .on_released = on_released,
                                                   .on_drained = on_drained,
                                                   .on_called = on_called,
                                                   .on_tick = on_tick,
                                                   .on_closed = on_closed};

/* ---- opening ---- */

/* With its lane 0; NULL: out of memory. */
static struct tw_trunk *new_trunk(const struct tw_connection_host *host,
                                  const struct tw_lane_events *lane_events, void *context) {
    struct tw_trunk *trunk = calloc(1, sizeof(*trunk));
    if (trunk == NULL)
        return NULL;
    trunk->lane = trunk->only;
    trunk->room = 1;
    trunk->called_end = &trunk->called;
    trunk->sent_end = &trunk->sent;
    trunk->loop = host->loop;
    trunk->queue_bytes_each = host->send_queue_bytes_max;
    trunk->finish_ms = host->finish_ms != 0 ? host->finish_ms : TW_FINISH_MS;
    trunk->most = 1;
    if (new_lane(trunk, 0, lane_events, context) != NULL &&
        tw_connection_new(&trunk->connection, host, &events, trunk) == TW_OK)
        return trunk;
    if (trunk->lanes > 0)
        free(trunk->lane[0]);
    free(trunk);
    return NULL;
}

enum tw_status tw_trunk_accept(struct tw_lane **out, uv_stream_t *listener,
                               const struct tw_connection_host *host,
                               const struct tw_lane_events *lane_events, void *context, void *owner,
                               struct tw_error *error) {
    struct tw_trunk *trunk = new_trunk(host, lane_events, context);
    if (trunk == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    enum tw_status status = tw_connection_accept(trunk->connection, listener, error);
    if (status != TW_OK) {
        free(trunk->lane[0]);
        free_trunk(trunk);
        return status;
    }
    trunk->connected = true;
    trunk->owner = owner;
    trunk->lane[0]->state = TW_LANE_OPEN;
    trunk->lane[0]->spoke = true;
    *out = trunk->lane[0];
    return TW_OK;
}

/* Lanes that wait for it beside lane 0 hear of a failure by their on_closed. */
static void on_open(struct tw_connection *connection, enum tw_status status,
                    const struct tw_error *error) {
    struct tw_trunk *trunk = tw_connection_context(connection);
    struct tw_lane *lane = trunk->lane[0];
    trunk->connected = status == TW_OK;
    if (lane == NULL || lane->state != TW_LANE_OPENING)
        return;
    lane->state = status == TW_OK ? TW_LANE_OPEN : TW_LANE_OPENING;
    lane->on_open(lane, status, error);
}

enum tw_status tw_lane_connect(struct tw_lane **out, const struct sockaddr *to,
                               const struct tw_connection_host *host,
                               const struct tw_lane_events *lane_events, void *context,
                               tw_lane_opened *opened, struct tw_error *error) {
    struct tw_trunk *trunk = new_trunk(host, lane_events, context);
    if (trunk == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    *out = trunk->lane[0];
    trunk->lane[0]->on_open = opened;
    return tw_connection_connect(trunk->connection, to, on_open, error);
}

bool tw_trunk_can_branch(const struct tw_trunk *trunk) {
    return !trunk->over && tw_connection_is_alive(trunk->connection) &&
           trunk->next < (trunk->is_allowed ? trunk->most : TW_LANES_MAX);
}

enum tw_status tw_lane_branch(struct tw_lane **out, struct tw_trunk *trunk,
                              const struct tw_lane_events *lane_events, void *context,
                              tw_lane_opened *opened, struct tw_error *error) {
    if (!tw_trunk_can_branch(trunk))
        return tw_error_set(error, TW_LIMIT, "this connection takes no more lanes");
    *out = new_lane(trunk, trunk->next, lane_events, context);
    if (*out == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    (*out)->on_open = opened;
    if (trunk->is_allowed)
        call(*out);
    return TW_OK;
}

void tw_trunk_allow(struct tw_trunk *trunk, uint32_t lanes) {
    if (trunk->is_allowed)
        return;
    trunk->is_allowed = true;
    trunk->most = lanes < 1 ? 1 : lanes > TW_LANES_MAX ? TW_LANES_MAX : lanes;
    for (uint32_t i = 1; i < trunk->next && i < trunk->most; i++)
        if (trunk->lane[i] != NULL && trunk->lane[i]->state == TW_LANE_OPENING)
            call(trunk->lane[i]);
    lose_waiting(trunk, trunk->most, "the peer lets fewer conversations share a connection");
}

void tw_trunk_keep(struct tw_trunk *trunk, struct tw_trunk **keeper) {
    if (*keeper != NULL)
        (*keeper)->keeper = NULL;
    trunk->keeper = keeper;
    *keeper = trunk;
}

uint32_t tw_trunk_lanes(const struct tw_trunk *trunk) {
    return trunk->live;
}
