#include "worker/io/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"

/* A push goes on being queued while a connection has less than this unsent; with the
 * largest chunk on top it stays below what tw_connection_send() takes. */
#define QUEUE_LOW_BYTES TW_GATHER_BYTES
#define QUEUE_MAX_BYTES (QUEUE_LOW_BYTES + 2 * TW_FRAME_BYTES_MAX)

/* Less than this of a push that has not ended waits for more of it: small tensors and their
 * End leave in one write, and are one read for the server. */
#define HOLD_BYTES (32u << 10)

/* Weights that are still to come while the application computes on the first of them: this much
 * waits in the sockets' buffers until it asks for it, more is received meanwhile. */
#define SOCKET_BYTES (512u << 10)

/* One connection and what the core calls it. Ours until on_closed. */
struct tw_link {
    struct tw_shell *shell;
    struct tw_lane *lane; /* NULL: it could not even be made */
    int number;
    bool detached; /* the core has closed it and hears no more of it */
    bool held;     /* weights wait in it for a pull */
    bool polite;   /* Bye or Refuse was said: let it arrive */
    bool pumping;
};

/* ---- time ---- */

static void on_moment(struct tw_lane *lane) {
    const struct tw_link *link = tw_lane_context(lane);
    *link->shell->moment_ns = 0;
}

uint64_t tw_shell_moment(struct tw_shell *shell) {
    if (*shell->moment_ns == 0)
        *shell->moment_ns = uv_hrtime();
    return *shell->moment_ns;
}

/* ---- sending ---- */

/* What is queued need not leave before the application's next call. */
static bool is_held_back(const struct tw_link *link) {
    return tw_lane_queued(link->lane) < HOLD_BYTES &&
           tw_client_goes_on_pushing(&link->shell->client) && link->number != TW_CLIENT_CONTROL &&
           !tw_lane_is_writing(link->lane);
}

static bool has_room(const struct tw_link *link) {
    return tw_lane_queued(link->lane) < QUEUE_LOW_BYTES;
}

static void pump(struct tw_link *link) {
    struct tw_shell *shell = link->shell;
    struct tw_frame frame;
    const void *data;

    if (link->pumping || link->detached)
        return; /* on_released comes from inside of tw_connection_flush() */
    link->pumping = true;
    while (has_room(link) && tw_client_next(&shell->client, link->number, &frame, &data)) {
        if (data != NULL)
            shell->borrowed++;
        if (tw_lane_send(link->lane, &frame, data, link) != TW_OK) {
            if (data != NULL)
                shell->borrowed--;
            break; /* on_closed follows, and everything is sent again */
        }
    }
    link->pumping = false;
    if (!has_room(link) && tw_client_has_next(&shell->client, link->number))
        tw_lane_await_drain(link->lane); /* what is queued may all be of others */
    if (!is_held_back(link))
        tw_lane_flush(link->lane);
}

/* Behind the last link that there can be: one for each server of the last Welcome. */
static int link_end(const struct tw_shell *shell) {
    return 1 + (int)shell->client.servers;
}

static void pump_all(struct tw_shell *shell) {
    for (int i = 1; i < link_end(shell); i++)
        if (shell->link[i] != NULL && tw_client_has_next(&shell->client, i))
            pump(shell->link[i]);
}

static void on_released(struct tw_lane *lane, void *token) {
    struct tw_link *link = token;
    link->shell->borrowed--;
    if (!link->detached && tw_client_has_next(&link->shell->client, link->number))
        pump(link);
}

/* The last bytes of a push may be those of any shard. */
static void on_drained(struct tw_lane *lane) {
    struct tw_link *link = tw_lane_context(lane);
    struct tw_shell *shell = link->shell;
    if (link->detached)
        return;
    if (!tw_client_awaits_sent(&shell->client)) {
        if (tw_client_has_next(&shell->client, link->number))
            pump(link);
        return;
    }
    for (int i = 1; i < link_end(shell); i++)
        if (shell->link[i] != NULL && tw_lane_queued(shell->link[i]->lane) > 0)
            return;
    struct tw_client_event sent = {.kind = TW_CLIENT_ON_SENT};
    tw_shell_steps(shell, &sent, 1, tw_shell_moment(shell), NULL);
}

/* ---- receiving ---- */

/* After the end the core closes nothing more: what is open is closed here. `but`: the
 * link whose callback is running and will end with a Refuse. */
static void close_if_over(struct tw_shell *shell, const struct tw_link *but) {
    if (!tw_client_over(&shell->client))
        return;
    for (int i = 0; i < TW_CLIENT_LINKS_MAX; i++) {
        struct tw_link *link = shell->link[i];
        if (link == NULL || link == but)
            continue;
        link->detached = true;
        shell->link[i] = NULL;
        tw_lane_close(link->lane);
    }
}

/* What the application may know without going in. */
static void note(struct tw_shell *shell) {
    const struct tw_client *client = &shell->client;
    bool computes = !tw_client_over(client) &&
                    (client->work == TW_CLIENT_BEGUN || client->work == TW_CLIENT_COMPUTING);
    int here = computes ? atomic_load(&shell->here) : 0;
    while (computes && here < client->config.list->count && tw_client_has_tensor(client, here))
        here++;
    atomic_store_explicit(&shell->here, here, memory_order_release);
    atomic_store_explicit(&shell->cancelled, tw_client_cancelled(client), memory_order_release);
}

static enum tw_status on_data(struct tw_lane *lane, const struct tw_frame *frame, void **place,
                              struct tw_error *error) {
    struct tw_link *link = tw_lane_context(lane);
    *place = NULL;
    if (link->detached)
        return TW_OK;
    enum tw_status status =
        tw_client_place(&link->shell->client, link->number, frame, place, error);
    if (*place != NULL && frame->weights.position != link->shell->answer_position) {
        link->shell->answer_position = frame->weights.position;
        link->shell->answered_ns = tw_shell_moment(link->shell);
    }
    link->held = status == TW_AGAIN;
    if (status != TW_OK) /* a step or all may be over; weights that have a place change nothing */
        note(link->shell);
    link->polite = status != TW_OK && status != TW_AGAIN;
    close_if_over(link->shell, link);
    return status;
}

static enum tw_status on_frame(struct tw_lane *lane, const struct tw_frame *frame, void *data,
                               struct tw_error *error) {
    struct tw_link *link = tw_lane_context(lane);
    struct tw_shell *shell = link->shell;
    enum tw_body body = frame->body;
    if (link->detached)
        return TW_OK;
    struct tw_client_event event = {
        .kind = TW_CLIENT_ON_FRAME, .link = link->number, .frame = frame, .data = data};
    uint32_t lanes = body == TW_BODY_CHALLENGE ? frame->challenge.lanes : 0;
    enum tw_status status = tw_shell_steps(shell, &event, 1, tw_shell_moment(shell), error);
    if (body == TW_BODY_CHALLENGE && status == TW_OK && !link->detached) {
        tw_trunk_allow(tw_lane_trunk(lane), lanes); /* behind our Proof */
        if (shell->group)
            shell->group->is_apart = lanes < 2;
    }
    if (body == TW_BODY_ATTACHED && status == TW_OK)
        tw_lane_limit(lane, TW_FRAME_BYTES_MAX, true);
    if (status != TW_OK)
        link->polite = true;
    close_if_over(shell, status == TW_OK ? NULL : link);
    return status;
}

static void on_closed(struct tw_lane *lane, const struct tw_error *cause) {
    struct tw_link *link = tw_lane_context(lane);
    struct tw_shell *shell = link->shell;

    if (!link->detached) {
        shell->link[link->number] = NULL;
        tw_shell_step(shell,
                      &(struct tw_client_event){
                          .kind = TW_CLIENT_ON_LOST, .link = link->number, .cause = cause},
                      NULL);
        close_if_over(shell, NULL);
    }
    tw_lane_free(lane);
    free(link);
    shell->connections--;
}

static void on_open(struct tw_lane *lane, enum tw_status status, const struct tw_error *error) {
    struct tw_link *link = tw_lane_context(lane);
    uint8_t nonce[TW_NONCE_BYTES];

    if (status != TW_OK || link->detached)
        return; /* on_closed follows with the cause */
    if (tw_random_bytes(nonce, sizeof(nonce)) != TW_OK) {
        tw_lane_close(lane);
        return;
    }
    tw_shell_step(link->shell,
                  &(struct tw_client_event){
                      .kind = TW_CLIENT_ON_OPENED, .link = link->number, .nonce = nonce},
                  NULL);
}

static const struct tw_lane_events events = {.on_moment = on_moment,
                                             .on_data = on_data,
                                             .on_frame = on_frame,
                                             .on_released = on_released,
                                             .on_drained = on_drained,
                                             .on_closed = on_closed};

/* ---- effects ---- */

/* Where a server is, by what the lead says of it: "HOST:PORT", ":PORT" on the lead's
 * host, "" at the lead's address. */
static enum tw_status find_server(struct tw_shell *shell, int number, struct sockaddr_storage *to,
                                  struct tw_error *error) {
    const char *text = number == TW_CLIENT_CONTROL ? "" : shell->client.address[number - 1];
    struct tw_host_port at;
    char lead[TW_ADDRESS_TEXT], whole[TW_ADDRESS_TEXT + TW_CLIENT_ADDRESS];
    size_t count;
    *to = shell->server.address[shell->server.tried];
    if (!*text)
        return TW_OK;
    tw_address_name((const struct sockaddr *)to, lead);
    char *colon = strrchr(lead, ':');
    if (colon)
        *colon = '\0';
    snprintf(whole, sizeof(whole), "%s%s", *text == ':' ? lead : "", text);
    if (tw_host_port_parse(&at, whole, error) == TW_OK &&
        tw_address_resolve(&at, to, 1, &count, error) == TW_OK)
        return TW_OK;
    return tw_error_set(error, TW_UNREACHABLE, "server %d cannot be at %.200s", number - 1, whole);
}

/* A lane of a connection that others of the group have, or a connection. */
static enum tw_status open_lane(struct tw_shell *shell, struct tw_link *link,
                                const struct sockaddr *to, struct tw_error *error) {
    struct tw_trunk **shared = shell->group ? &shell->group->trunk[link->number] : NULL;
    if (shared && *shared && !shell->group->is_apart && tw_trunk_can_branch(*shared))
        return tw_lane_branch(&link->lane, *shared, &events, link, on_open, error);
    struct tw_connection_host host = shell->host;
    if (link->number != TW_CLIENT_CONTROL) /* control tells whether the servers are there */
        host.stalled_send_ms = TW_BACKPRESSURE_MS;
    enum tw_status status = tw_lane_connect(&link->lane, to, &host, &events, link, on_open, error);
    if (status == TW_OK && shared)
        tw_trunk_keep(tw_lane_trunk(link->lane), shared);
    return status;
}

static enum tw_status open_link(struct tw_shell *shell, int number, struct tw_error *error) {
    if (number == TW_CLIENT_CONTROL) {
        enum tw_status status = tw_address_next(&shell->server, error);
        if (status != TW_OK)
            return status;
    }
    struct sockaddr_storage to;
    enum tw_status found = find_server(shell, number, &to, error);
    if (found != TW_OK)
        return found;
    struct tw_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    link->shell = shell;
    link->number = number;
    enum tw_status status = open_lane(shell, link, (const struct sockaddr *)&to, error);
    if (status != TW_OK) {
        free(link);
        return status;
    }
    shell->link[number] = link;
    shell->connections++;
    tw_lane_limit(link->lane, TW_SMALL_FIELDS_MAX, false);
    return TW_OK;
}

static void close_link(struct tw_shell *shell, int number) {
    struct tw_link *link = shell->link[number];
    if (link == NULL)
        return;
    link->detached = true;
    shell->link[number] = NULL;
    if (link->polite)
        tw_lane_finish(link->lane, TW_OK, "");
    else
        tw_lane_close(link->lane);
}

static void send_small(struct tw_shell *shell, int number, const struct tw_frame *frame) {
    struct tw_link *link = shell->link[number];
    if (link == NULL)
        return;
    if (frame->body == TW_BODY_BYE)
        link->polite = true;
    struct tw_frame ours = *frame;
    /* When it fails, on_closed says so. */
    (void)tw_lane_send(link->lane, &ours, NULL, NULL);
    if (shell->group == NULL) /* else with what others say in this turn of the loop */
        tw_lane_flush(link->lane);
}

/* Carries the effects out. A connection that cannot even be begun is told to the core
 * afterwards, since the other effects belong to the state that it has now. */
static void carry_out(struct tw_shell *shell, const struct tw_client_effects *effects) {
    struct tw_error error;
    int failed = -1;

    for (int i = 0; i < effects->count; i++) {
        const struct tw_client_effect *effect = &effects->at[i];
        if (effect->kind == TW_CLIENT_SEND)
            send_small(shell, effect->link, &effect->frame);
        else if (effect->kind == TW_CLIENT_CLOSE)
            close_link(shell, effect->link);
        else if (failed < 0 && open_link(shell, effect->link, &error) != TW_OK)
            failed = effect->link;
    }
    if (failed >= 0)
        tw_shell_step(
            shell,
            &(struct tw_client_event){.kind = TW_CLIENT_ON_LOST, .link = failed, .cause = &error},
            NULL);
}

/* ---- steps ---- */

static void on_timer(uv_timer_t *timer) {
    struct tw_shell *shell = timer->data;
    shell->timer_at_ms = UINT64_MAX;
    tw_shell_step(shell, &(struct tw_client_event){.kind = TW_CLIENT_ON_TICK}, NULL);
    close_if_over(shell, NULL);
}

/* A deadline is put off with every push: the timer stays, and rings in vain now and then. */
static void set_timer(struct tw_shell *shell) {
    uint64_t at = tw_client_deadline(&shell->client), now_ms = shell->now_ms;
    if (at >= shell->timer_at_ms)
        return;
    shell->timer_at_ms = at;
    uv_update_time(shell->loop);
    uv_timer_start(&shell->timer, on_timer, at > now_ms ? at - now_ms : 0, 0);
}

/* Connections go on whose weights had to wait for a pull. */
static void resume(struct tw_shell *shell) {
    for (int i = 1; i < link_end(shell); i++) {
        struct tw_link *link = shell->link[i];
        if (link != NULL && link->held)
            tw_lane_resume(link->lane);
    }
}

static void set_now(struct tw_shell *shell, uint64_t now_ns) {
    if (now_ns <= shell->now_ns)
        return; /* a step has led to a later one */
    shell->now_ns = now_ns;
    shell->now_ms = now_ns / 1000000;
}

static enum tw_status step(struct tw_shell *shell, struct tw_client_event *event,
                           struct tw_error *error) {
    struct tw_client_effects effects; /* not in the shell: a step may lead to another */

    event->now_ns = shell->now_ns;
    event->now_ms = shell->now_ms;
    enum tw_status status = tw_client_step(&shell->client, event, &effects, error);
    carry_out(shell, &effects);
    if (event->kind == TW_CLIENT_ON_PULL)
        resume(shell);
    return status;
}

enum tw_status tw_shell_steps(struct tw_shell *shell, struct tw_client_event *event, int count,
                              uint64_t now_ns, struct tw_error *error) {
    bool computes = shell->client.work == TW_CLIENT_COMPUTING;
    enum tw_status status = TW_OK;

    if (now_ns == 0) /* frames of a read that is still being looked at come behind this */
        now_ns = *shell->moment_ns = uv_hrtime();
    set_now(shell, now_ns);
    shell->depth++;
    for (int i = 0; i < count && status == TW_OK; i++)
        status = step(shell, &event[i], error);
    if (shell->on_weights != NULL && !computes && shell->client.work == TW_CLIENT_COMPUTING)
        shell->on_weights(shell);
    if (--shell->depth > 0)
        return status; /* what follows is looked at once for all steps that one has led to */
    note(shell);
    pump_all(shell);
    set_timer(shell);
    return status;
}

enum tw_status tw_shell_step(struct tw_shell *shell, struct tw_client_event *event,
                             struct tw_error *error) {
    return tw_shell_steps(shell, event, 1, 0, error);
}

bool tw_shell_busy(const struct tw_shell *shell) {
    if (shell->client.phase > TW_CLIENT_DISCONNECTED && shell->client.phase != TW_CLIENT_JOINED &&
        !tw_client_over(&shell->client))
        return true;
    if (tw_client_bytes_to_come(&shell->client) > SOCKET_BYTES)
        return true;
    for (int i = 0; i < link_end(shell); i++)
        if (shell->link[i] != NULL && tw_lane_queued(shell->link[i]->lane) > 0 &&
            !is_held_back(shell->link[i]))
            return true;
    return false;
}

bool tw_shell_may_signal(const struct tw_shell *shell) {
    int known = 0;
    for (int i = 0; i < link_end(shell); i++) {
        known += shell->link[i] != NULL;
        if (shell->link[i] != NULL && tw_lane_is_writing(shell->link[i]->lane))
            return true;
    }
    return known < shell->connections; /* those that close may be writing */
}

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *timer) {
    struct tw_shell *shell = timer->data;
    shell->timer_open = false;
}

static void free_memory(struct tw_shell *shell) {
    free(shell->client_memory);
    if (shell->group == NULL)
        free(shell->arena);
}

enum tw_status tw_shell_init(struct tw_shell *shell, uv_loop_t *loop,
                             const struct tw_client_config *config, struct tw_shell_group *group,
                             struct tw_error *error) {
    memset(shell, 0, sizeof(*shell));
    enum tw_status status = tw_host_port_parse(&shell->server.host, config->server, error);
    if (status != TW_OK)
        return status;
    shell->client_memory = malloc(tw_client_memory_bytes(config->list) + 1);
    shell->group = group;
    shell->arena = group ? &group->arena : malloc(sizeof(*shell->arena));
    shell->moment_ns = group ? &group->moment_ns : &shell->own_moment_ns;
    if (shell->client_memory == NULL || shell->arena == NULL)
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory");
    if (status == TW_OK)
        status = tw_client_init(&shell->client, config, shell->client_memory, error);
    if (status != TW_OK) {
        free_memory(shell);
        return status;
    }
    shell->loop = loop;
    shell->timer_at_ms = UINT64_MAX;
    shell->timer.data = shell;
    uv_timer_init(loop, &shell->timer);
    shell->timer_open = true;
    shell->host = (struct tw_connection_host){
        .loop = loop, .arena = shell->arena, .send_queue_bytes_max = QUEUE_MAX_BYTES};
    return TW_OK;
}

void tw_shell_fini(struct tw_shell *shell) {
    for (int i = 0; i < TW_CLIENT_LINKS_MAX; i++)
        close_link(shell, i);
    uv_close((uv_handle_t *)&shell->timer, on_timer_closed);
    while (shell->connections > 0 || shell->timer_open)
        uv_run(shell->loop, UV_RUN_ONCE);
    free_memory(shell);
}
