#include "worker/core/client.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/tally.h"
#include "worker/core/client_parts.h"

/* ---- memory ---- */

struct memory_plan {
    size_t chunk, here, lacks, gradient, segment, shape, encoded; /* offsets */
    size_t bytes;                                                 /* 0: it does not fit */
};

static size_t plan_part(struct memory_plan *plan, size_t count, size_t size) {
    size_t at = (plan->bytes + 15) & ~(size_t)15;
    plan->bytes = at + count * size;
    return at;
}

/* The most that all gradients take in an encoding that is no plain copy of them. */
static size_t encoded_bytes(const struct tw_tensor_list *list) {
    size_t most = 0;
    for (uint32_t e = 0; e < TW_ENCODINGS; e++) {
        size_t bytes = 0;
        for (int i = 0; tw_encodings[e].encode && i < list->count; i++)
            bytes += tw_encoding_bytes(e, (size_t)list->tensors[i].elements);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* The chunk size is known only after Welcome; the smallest one needs most memory. */
static struct memory_plan plan_memory(const struct tw_tensor_list *list) {
    struct memory_plan plan = {0};
    size_t chunks = tw_layout_count(list, TW_CHUNK_BYTES_MIN);
    size_t tensors = (size_t)list->count;
    if (chunks == 0 || list->count < 1)
        return plan;
    plan.chunk = plan_part(&plan, chunks, sizeof(struct tw_chunk));
    plan.here = plan_part(&plan, chunks, 1);
    plan.lacks = plan_part(&plan, tensors, sizeof(uint32_t));
    plan.gradient = plan_part(&plan, tensors, sizeof(const float *));
    plan.segment = plan_part(&plan, tensors + TW_SERVERS_MAX, sizeof(struct tw_client_segment));
    plan.shape = plan_part(&plan, tensors, sizeof(struct tw_tensor_shape));
    plan.encoded = plan_part(&plan, encoded_bytes(list), 1);
    return plan;
}

size_t tw_client_memory_bytes(const struct tw_tensor_list *list) {
    return plan_memory(list).bytes;
}

static void fill_shapes(struct tw_client *client) {
    const struct tw_tensor_list *list = client->config.list;
    for (int i = 0; i < list->count; i++) {
        const struct tw_tensor *tensor = &list->tensors[i];
        client->shape[i].name = (struct tw_view){tensor->name, strlen(tensor->name)};
        client->shape[i].dims = (size_t)tensor->dims;
        client->shape[i].shape = (const uint64_t *)tensor->shape; /* each >= 1 */
    }
}

enum tw_status tw_client_init(struct tw_client *client, const struct tw_client_config *config,
                              void *memory, struct tw_error *error) {
    struct memory_plan plan = plan_memory(config->list);
    unsigned char *base = memory;

    memset(client, 0, sizeof(*client));
    if (plan.bytes == 0)
        return tw_error_set(error, TW_LIMIT, "the tensors have too many chunks");
    if (config->token != NULL &&
        (config->token_bytes < TW_TOKEN_BYTES_MIN || config->token_bytes > TW_TOKEN_BYTES_MAX))
        return tw_error_set(error, TW_USAGE, "the token has %zu bytes; it must have %d to %d",
                            config->token_bytes, TW_TOKEN_BYTES_MIN, TW_TOKEN_BYTES_MAX);
    if (config->numerics == NULL || strlen(config->numerics) > TW_NUMERICS_MAX)
        return tw_error_set(error, TW_USAGE, "the numerics id must have at most %d bytes",
                            TW_NUMERICS_MAX);
    memset(memory, 0, plan.encoded); /* what follows may never be touched */
    client->config = *config;
    client->chunk = (struct tw_chunk *)(base + plan.chunk);
    client->segment = (struct tw_client_segment *)(base + plan.segment);
    client->gradient = (const float **)(base + plan.gradient);
    client->shape = (struct tw_tensor_shape *)(base + plan.shape);
    client->chunk_here = base + plan.here;
    client->lacks = (uint32_t *)(base + plan.lacks);
    client->encoded = base + plan.encoded;
    fill_shapes(client);
    return TW_OK;
}

/* ---- states ---- */

#define P(phase) (1u << TW_CLIENT_##phase)

/* Where each phase may go. STOPPED and FAILED can be reached from every other. */
static const unsigned phases_after[TW_CLIENT_PHASES] = {
    [TW_CLIENT_DISCONNECTED] = P(GREETING) | P(STOPPED) | P(FAILED),
    [TW_CLIENT_GREETING] = P(JOINING) | P(RECONNECTING) | P(STOPPED) | P(FAILED),
    [TW_CLIENT_JOINING] = P(ATTACHING) | P(RECONNECTING) | P(STOPPED) | P(FAILED),
    [TW_CLIENT_ATTACHING] = P(JOINED) | P(RECONNECTING) | P(STOPPED) | P(FAILED),
    [TW_CLIENT_JOINED] = P(RECONNECTING) | P(STOPPED) | P(FAILED),
    [TW_CLIENT_RECONNECTING] = P(GREETING) | P(STOPPED) | P(FAILED),
    [TW_CLIENT_STOPPED] = 0,
    [TW_CLIENT_FAILED] = 0,
};

static const unsigned works_after[TW_CLIENT_WORKS] = {
    [TW_CLIENT_IDLE] = P(WAITING),
    [TW_CLIENT_WAITING] = P(BEGUN) | P(COMPUTING),
    [TW_CLIENT_BEGUN] = P(COMPUTING) | P(PUSHING) | P(WAITING),
    [TW_CLIENT_COMPUTING] = P(PUSHING) | P(WAITING),
    [TW_CLIENT_PUSHING] = P(WAITING),
};

#undef P

void tw_client_set_phase(struct tw_client *client, enum tw_client_phase phase) {
    assert((phases_after[client->phase] & (1u << phase)) != 0);
    client->phase = phase;
}

void tw_client_set_work(struct tw_client *client, enum tw_client_work work) {
    assert((works_after[client->work] & (1u << work)) != 0);
    client->work = work;
}

bool tw_client_over(const struct tw_client *client) {
    return client->phase == TW_CLIENT_STOPPED || client->phase == TW_CLIENT_FAILED;
}

bool tw_client_cancelled(const struct tw_client *client) {
    if (client->config.role != TW_ROLE_WORKER)
        return false;
    return tw_client_over(client) || (client->work == TW_CLIENT_COMPUTING && !client->live) ||
           (client->work == TW_CLIENT_BEGUN && tw_client_set_is_over(client));
}

enum tw_status tw_client_fail(struct tw_client *client, enum tw_client_ending ending) {
    client->live = false;
    client->ending = ending;
    if (!tw_client_over(client))
        tw_client_set_phase(client, TW_CLIENT_FAILED);
    return client->error.status;
}

enum tw_status tw_client_violation(struct tw_client *client, struct tw_error *error,
                                   enum tw_status status, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    tw_error_set(&client->error, status, "the server at %s broke the protocol: %s",
                 client->config.server, text);
    tw_error_set(error, status, "%s", text);
    return tw_client_fail(client, TW_CLIENT_VIOLATION);
}

/* ---- the application ---- */

static enum tw_status on_pull(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;

    if (client->work == TW_CLIENT_WAITING)
        return TW_OK; /* an interrupted pull goes on */
    bool computing = client->work == TW_CLIENT_COMPUTING || client->work == TW_CLIENT_BEGUN;
    if (computing && !tw_client_cancelled(client))
        return tw_error_set(turn->error, TW_UNEXPECTED,
                            client->config.role == TW_ROLE_WORKER
                                ? "a pull before the push of step %llu has ended"
                                : "a pull before the report on pull %llu",
                            (unsigned long long)tw_client_set(client)->step);
    tw_client_set_work(client, TW_CLIENT_WAITING);
    if (client->config.role == TW_ROLE_EVALUATOR) {
        client->asked = true;
        tw_client_send_ask(turn);
    }
    return TW_OK;
}

void tw_client_send_ask(struct tw_client_turn *turn) {
    const struct tw_client *client = turn->client;
    struct tw_frame frame = {.body = TW_BODY_ASK};
    if (client->phase != TW_CLIENT_JOINED)
        return; /* when it is */
    frame.ask.samples = (client->sets + 1) * client->config.epoch_samples;
    tw_client_send(turn, TW_CLIENT_CONTROL, &frame);
}

static enum tw_status on_report(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;

    if (client->config.role != TW_ROLE_EVALUATOR)
        return tw_error_set(turn->error, TW_UNEXPECTED, "only an evaluator reports");
    if (client->work != TW_CLIENT_COMPUTING)
        return tw_error_set(turn->error, TW_UNEXPECTED, "a report without a pull before it");
    client->evaluation = (struct tw_evaluation){
        .position = client->held.position,
        .samples = client->sets * client->config.epoch_samples,
    };
    client->portion.position = 0;
    tw_evaluation_put(&client->evaluation, turn->event->values);
    client->reported = true;
    tw_client_set_work(client, TW_CLIENT_PUSHING);
    if (client->phase == TW_CLIENT_JOINED) {
        struct tw_frame frame = {.body = TW_BODY_EVALUATION, .evaluation = client->evaluation};
        tw_client_send(turn, TW_CLIENT_CONTROL, &frame);
    }
    return TW_OK;
}

/* What an application counted of its portion: what is wrong with it, or NULL. */
static const char *fault_of_tally(const struct tw_client *client,
                                  const struct tw_tally_frame *tally) {
    size_t fits = tally->fits.size;
    if (client->config.role != TW_ROLE_EVALUATOR || client->work != TW_CLIENT_COMPUTING)
        return "a tally without a pull before it, or of no evaluator";
    if (!client->portions)
        return "a tally of a part where all samples were to be scored";
    if (tally->loss.size != TW_EXACT_SUM_BYTES)
        return "a tally whose loss is no exact sum";
    if (client->config.test_valued
            ? !fits || fits % TW_TALLY_FIT_BYTES ||
                  fits / TW_TALLY_FIT_BYTES > TW_SPREAD_OUTPUTS_MAX || tally->scores.size
            : fits || tally->scores.size > TW_TALLY_SCORES * TW_TALLY_SCORE_BYTES)
        return "a tally whose fits or scores have a wrong size";
    return NULL;
}

/* Of real targets as many frames as it takes. A portion that was ours before a connection was lost
 * is somebody else's now. */
static enum tw_status on_tally(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    const struct tw_tally_frame *tally = turn->event->tally;
    const char *fault = fault_of_tally(client, tally);
    struct tw_frame frame = {.body = TW_BODY_TALLY, .tally = *tally};
    size_t at = 0, most = TW_TALLY_FITS * TW_TALLY_FIT_BYTES;

    if (fault != NULL)
        return tw_error_set(turn->error, TW_UNEXPECTED, "%s", fault);
    tw_client_set_work(client, TW_CLIENT_PUSHING);
    bool ours = client->portion.position != 0 && client->phase == TW_CLIENT_JOINED;
    frame.tally.position = client->portion.position;
    frame.tally.first = client->portion.first;
    frame.tally.samples = client->portion.samples;
    client->portion.position = 0;
    while (ours) {
        size_t left = tally->fits.size - at;
        frame.tally.output = (uint32_t)(at / TW_TALLY_FIT_BYTES);
        frame.tally.fits.bytes = left ? (const char *)tally->fits.bytes + at : NULL;
        frame.tally.fits.size = left < most ? left : most;
        tw_client_send(turn, TW_CLIENT_CONTROL, &frame);
        at += frame.tally.fits.size;
        ours = at < tally->fits.size;
    }
    return TW_OK;
}

static enum tw_status on_leave(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    struct tw_frame bye = {.body = TW_BODY_BYE};

    if (client->phase == TW_CLIENT_JOINED)
        tw_client_send_ping(turn); /* the last measures */
    if (client->link[TW_CLIENT_CONTROL].state == TW_LINK_READY)
        tw_client_send(turn, TW_CLIENT_CONTROL, &bye);
    tw_client_close_all(turn, 0);
    client->live = false;
    client->ending = TW_CLIENT_RUN_OVER;
    tw_client_set_phase(client, TW_CLIENT_STOPPED);
    return TW_OK;
}

static enum tw_status on_application(struct tw_client_turn *turn) {
    switch (turn->event->kind) {
    case TW_CLIENT_ON_PULL:
        return on_pull(turn);
    case TW_CLIENT_ON_BEGIN:
        return tw_client_on_begin(turn);
    case TW_CLIENT_ON_WANT:
        return tw_client_on_want(turn);
    case TW_CLIENT_ON_PUSH:
        return tw_client_on_push(turn);
    case TW_CLIENT_ON_END:
        return tw_client_on_end(turn);
    case TW_CLIENT_ON_REPORT:
        return on_report(turn);
    case TW_CLIENT_ON_TALLY:
        return on_tally(turn);
    default:
        return on_leave(turn);
    }
}

/* Measures that are enough for a Ping leave with the push that makes them so. */
static void on_sent(struct tw_client_turn *turn) {
    struct tw_client *client = turn->client;
    if (tw_client_awaits_sent(client))
        tw_measures_sent(&client->measures, turn->event->now_ns);
    client->measuring = false;
    if (client->phase == TW_CLIENT_JOINED &&
        tw_measures_due_ns(&client->measures) <= turn->event->now_ns)
        tw_client_send_ping(turn);
}

/* After the end, frames and losses of connections that still close mean nothing. */
static enum tw_status step_when_over(const struct tw_client_turn *turn) {
    const struct tw_client *client = turn->client;
    if (turn->event->kind < TW_CLIENT_ON_PULL || turn->event->kind == TW_CLIENT_ON_LEAVE)
        return TW_OK;
    if (client->error.status == TW_OK)
        return tw_error_set(turn->error, TW_STOPPED, "the run is over");
    return tw_error_set(turn->error, client->error.status, "%s", client->error.text);
}

enum tw_status tw_client_step(struct tw_client *client, const struct tw_client_event *event,
                              struct tw_client_effects *effects, struct tw_error *error) {
    struct tw_client_turn turn = {client, event, effects, error};

    effects->count = 0;
    if (tw_client_over(client))
        return step_when_over(&turn);
    switch (event->kind) {
    case TW_CLIENT_ON_START:
        client->trying_since_ms = event->now_ms;
        tw_client_begin_try(&turn);
        return TW_OK;
    case TW_CLIENT_ON_OPENED:
        tw_client_on_opened(&turn);
        return TW_OK;
    case TW_CLIENT_ON_LOST:
        tw_client_on_lost(&turn);
        return TW_OK;
    case TW_CLIENT_ON_FRAME:
        return tw_client_on_frame(&turn);
    case TW_CLIENT_ON_TICK:
        tw_client_on_tick(&turn);
        return TW_OK;
    case TW_CLIENT_ON_SENT:
        on_sent(&turn);
        return TW_OK;
    default:
        return on_application(&turn);
    }
}

uint32_t tw_client_missing(const struct tw_client *client) {
    return client->layout.chunks - client->arrived;
}
