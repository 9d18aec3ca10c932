/* Connections: opening, losing and making them again.
 *
 * Happy path: control is opened, greeted, joined; then one bulk connection per
 * shard is opened, greeted, attached; then on_joined. Failure of any of them at
 * any time ends the whole try: all are closed and, after a pause, all are made
 * again. Only control outlives the loss of a bulk connection until the pause is
 * over: the servers close bulk at the end of a run, and their Stop is on its way.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "worker/core/client_parts.h"

static struct tw_client_effect *effect(struct tw_client_turn *turn, enum tw_client_effect_kind kind,
                                       int link) {
    struct tw_client_effect *at = &turn->effects->at[turn->effects->count++];
    at->kind = kind;
    at->link = link;
    return at;
}

void tw_client_send(struct tw_client_turn *turn, int link, const struct tw_frame *frame) {
    effect(turn, TW_CLIENT_SEND, link)->frame = *frame;
}

void tw_client_open(struct tw_client_turn *turn, int link) {
    turn->client->link[link].state = TW_LINK_OPENING;
    effect(turn, TW_CLIENT_OPEN, link);
}

void tw_client_close(struct tw_client_turn *turn, int link) {
    if (turn->client->link[link].state != TW_LINK_CLOSED)
        effect(turn, TW_CLIENT_CLOSE, link);
    turn->client->link[link].state = TW_LINK_CLOSED;
}

void tw_client_close_all(struct tw_client_turn *turn, int from_link) {
    for (int i = from_link; i < TW_CLIENT_LINKS_MAX; i++)
        tw_client_close(turn, i);
}

void tw_client_begin_try(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    tw_client_close_all(turn, 0); /* control may have been left open */
    tw_client_set_phase(client, TW_CLIENT_GREETING);
    client->try_until_ms = turn->event->now_ms + TW_CLIENT_TRY_MS;
    tw_client_open(turn, TW_CLIENT_CONTROL);
}

/* ---- loss ---- */

static void give_up(struct tw_client *client) {
    unsigned seconds = (client->config.connect_ms + 999) / 1000;
    if (!client->welcomed) {
        tw_error_set(&client->error, TW_UNREACHABLE,
                     "no server at %s (%s) after %u s: start it, or check the address",
                     client->config.server, client->cause, seconds);
        tw_client_fail(client, TW_CLIENT_UNREACHABLE);
        return;
    }
    tw_error_set(&client->error, TW_CLOSED,
                 "the connection to the server at %s was lost and could not be made again "
                 "within %u s (%s)",
                 client->config.server, seconds, client->cause);
    tw_client_fail(client, TW_CLIENT_GONE);
}

/* Exponential back-off with full jitter: uniform below a bound that doubles. */
static uint64_t backoff_ms(struct tw_client *client) {
    uint32_t doublings = client->tries < 10 ? client->tries : 10;
    uint64_t bound = (uint64_t)TW_CLIENT_BACKOFF_MIN_MS << doublings;
    if (bound > TW_CLIENT_BACKOFF_MAX_MS)
        bound = TW_CLIENT_BACKOFF_MAX_MS;
    client->tries++;
    double x = tw_rng_uniform_at(client->config.seed, TW_STREAM_JITTER, 0, 0, client->draws++);
    return (uint64_t)(x * (double)bound);
}

/* The try, or the membership, is over: all connections will be made again. */
void tw_client_interrupt(struct tw_client_turn *turn, int lost, const char *cause) {
    struct tw_client *client = turn->client;
    uint64_t now = turn->event->now_ms;

    if (client->phase == TW_CLIENT_RECONNECTING)
        return; /* it is known, and control has followed now */
    snprintf(client->cause, sizeof(client->cause), "%s", cause);
    tw_client_close_all(turn, lost == TW_CLIENT_CONTROL ? 0 : 1);
    tw_client_forget_set(client);
    client->portion.position = 0;
    if (client->phase == TW_CLIENT_JOINED) {
        client->tries = 0;
        client->trying_since_ms = now;
    }
    uint64_t give_up_ms = client->trying_since_ms + client->config.connect_ms;
    if (now >= give_up_ms) {
        tw_client_close_all(turn, 0);
        give_up(client);
        return;
    }
    uint64_t delay = backoff_ms(client);
    if (lost != TW_CLIENT_CONTROL && delay < TW_CLIENT_BACKOFF_MIN_MS)
        delay = TW_CLIENT_BACKOFF_MIN_MS; /* time for a Stop */
    client->retry_ms = now + delay < give_up_ms ? now + delay : give_up_ms;
    tw_client_set_phase(client, TW_CLIENT_RECONNECTING);
}

/* Whether a cause may go away by trying again. */
bool tw_client_may_pass(enum tw_status status) {
    return status == TW_CLOSED || status == TW_IO || status == TW_SLOW_PEER ||
           status == TW_UNREACHABLE || status == TW_AGAIN || status == TW_NO_MEMORY;
}

void tw_client_on_lost(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_error *cause = turn->event->cause;
    int link = turn->event->link;

    if (client->link[link].state == TW_LINK_CLOSED)
        return;
    client->link[link].state = TW_LINK_CLOSED;
    if (!tw_client_may_pass(cause->status)) {
        tw_client_violation(client, NULL, cause->status, "%s", cause->text);
        tw_client_close_all(turn, 0);
        return;
    }
    tw_client_interrupt(turn, link, cause->text);
}

/* ---- progress ---- */

void tw_client_on_opened(struct tw_client_turn *turn) {
    int i = turn->event->link;
    struct tw_client_link *link = &turn->client->link[i];
    struct tw_frame frame = {.body = TW_BODY_HELLO};

    if (link->state != TW_LINK_OPENING)
        return;
    memcpy(link->nonce, turn->event->nonce, TW_NONCE_BYTES);
    link->state = TW_LINK_GREETING;
    frame.hello.protocol_min = TW_PROTOCOL_MIN;
    frame.hello.protocol_max = TW_PROTOCOL_MAX;
    frame.hello.nonce = (struct tw_view){link->nonce, TW_NONCE_BYTES};
    frame.hello.software =
        (struct tw_view){"talweg " TALWEG_VERSION, strlen("talweg " TALWEG_VERSION)};
    tw_client_send(turn, i, &frame);
}

void tw_client_on_joined(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;

    tw_client_set_phase(client, TW_CLIENT_JOINED);
    client->tries = 0;
    client->silent_pings = 0;
    client->ping_ms = turn->event->now_ms + TW_HEARTBEAT_MS;
    tw_client_send_ping(turn); /* for the lead's clock */
    if (client->last_step >= client->held.step)
        client->live = false; /* settled while we were away */
    if (client->live)
        tw_client_rewind_push(client);
    if (client->reported) {
        struct tw_frame frame = {.body = TW_BODY_EVALUATION, .evaluation = client->evaluation};
        tw_client_send(turn, TW_CLIENT_CONTROL, &frame);
    }
    if (client->asked)
        tw_client_send_ask(turn);
}

void tw_client_send_ping(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    struct tw_frame frame = {.body = TW_BODY_PING};

    frame.ping.step = client->held.step;
    frame.ping.nonce = ++client->pings;
    tw_measures_take(&client->measures, &frame.ping);
    tw_measures_pinged(&client->measures, frame.ping.nonce, turn->event->now_ns);
    tw_client_send(turn, TW_CLIENT_CONTROL, &frame);
}

static void heartbeat(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;

    if (client->silent_pings >= TW_CLIENT_SILENCE_MAX) {
        tw_client_interrupt(turn, TW_CLIENT_CONTROL, "it does not answer");
        return;
    }
    client->silent_pings++;
    client->ping_ms = turn->event->now_ms + TW_HEARTBEAT_MS;
    tw_client_send_ping(turn);
}

/* When measures should leave. */
static uint64_t measures_due_ms(const struct tw_client *client) {
    uint64_t due = tw_measures_due_ns(&client->measures);
    return due == UINT64_MAX ? due : due / 1000000 + 1;
}

void tw_client_on_tick(struct tw_client_turn *turn) {
    if (turn->event->now_ms < tw_client_deadline(turn->client))
        return;
    switch (turn->client->phase) {
    case TW_CLIENT_RECONNECTING:
        tw_client_begin_try(turn);
        return;
    case TW_CLIENT_GREETING:
    case TW_CLIENT_JOINING:
    case TW_CLIENT_ATTACHING:
        tw_client_interrupt(turn, TW_CLIENT_CONTROL, "it took the connection and did not answer");
        return;
    case TW_CLIENT_JOINED:
        if (turn->event->now_ms >= turn->client->ping_ms)
            heartbeat(turn);
        else
            tw_client_send_ping(turn);
        return;
    default:
        return;
    }
}

uint64_t tw_client_deadline(const struct tw_client *client) {
    switch (client->phase) {
    case TW_CLIENT_RECONNECTING:
        return client->retry_ms;
    case TW_CLIENT_GREETING:
    case TW_CLIENT_JOINING:
    case TW_CLIENT_ATTACHING:
        return client->try_until_ms;
    case TW_CLIENT_JOINED: {
        uint64_t due_ms = measures_due_ms(client);
        return due_ms < client->ping_ms ? due_ms : client->ping_ms;
    }
    default:
        return UINT64_MAX;
    }
}
