/* Clients, and what happens to their processes.
 *
 * Happy path: the process starts -> connections, handshakes, JOINED -> pull -> weights are complete
 * -> COMPUTED on the agenda, a delay later -> the gradient is computed, pushed and ended -> pull. A
 * step that is cancelled is given up at once. A process that dies takes what it was computing with
 * it; its connections end, what it had sent still arrives.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/world_state.h"

static uint32_t wire_at(const struct tw_world *world, uint32_t index, uint32_t link) {
    return index * (world->servers + 1) + link;
}

static void fail_worker(struct tw_world *world, uint32_t index, const char *why) {
    char text[TW_ERROR_TEXT];
    snprintf(text, sizeof(text), "worker %u: %.400s", index, why);
    tw_world_fail(world, TW_INTERNAL, text);
}

/* Virtual servers are always there, and clients try for ages. */
static const char *why_over(const struct tw_client *client) {
    bool cut_off = client->error.status == TW_UNREACHABLE || client->error.status == TW_CLOSED;
    return cut_off ? "over this network it never gets to train: what it sends and is sent takes "
                     "longer than anybody waits for an answer; let frames take less, or more "
                     "bandwidth be there"
                   : client->error.text;
}

/* ---- what a client wants ---- */

static void open_link(struct tw_world *world, uint32_t at) {
    struct tw_wire *wire = &world->wire[at];
    wire->life++;
    wire->client_open = true;
    wire->up_waits = false;
    tw_mail_discard_all(world, &wire->held_up);
    tw_mail_discard_all(world, &wire->held_down);
    tw_mail_sign(world, TW_MAIL_OPEN, at, true, wire->life);
}

/* Behind what was sent the other side will find the end. */
static void close_link(struct tw_world *world, uint32_t at) {
    struct tw_wire *wire = &world->wire[at];
    if (!wire->client_open)
        return;
    wire->client_open = false;
    tw_mail_discard_all(world, &wire->held_down);
    tw_mail_sign(world, TW_MAIL_CLOSED, at, true, wire->life);
}

static void carry_out(struct tw_world *world, uint32_t index) {
    for (int i = 0; i < world->effects.count; i++) {
        const struct tw_client_effect *effect = &world->effects.at[i];
        uint32_t at = wire_at(world, index, (uint32_t)effect->link);
        switch (effect->kind) {
        case TW_CLIENT_OPEN:
            open_link(world, at);
            break;
        case TW_CLIENT_SEND:
            if (world->wire[at].client_open)
                tw_mail_frame(world, at, true, &effect->frame, NULL, 0);
            break;
        case TW_CLIENT_CLOSE:
            close_link(world, at);
            break;
        }
    }
}

static enum tw_status step(struct tw_world *world, uint32_t index, struct tw_client_event *event) {
    struct tw_world_worker *worker = &world->worker[index];
    struct tw_error error;
    event->now_ns = world->now_ns + 1; /* 0 is no time to what it measures */
    event->now_ms = world->now_ns / 1000000;
    enum tw_status status = tw_client_step(&worker->client, event, &world->effects, &error);
    if (event->kind >= TW_CLIENT_ON_PULL && status != TW_OK && !tw_client_over(&worker->client))
        fail_worker(world, index, error.text);
    carry_out(world, index);
    return status;
}

/* ---- what it does next ---- */

/* As much of the push as may leave now: of each connection one frame at a time, where sending takes
 * time. */
static void hand_out(struct tw_world *world, uint32_t index) {
    struct tw_world_worker *worker = &world->worker[index];
    struct tw_frame frame;
    const void *data;
    for (uint32_t link = 1; link <= world->servers; link++)
        while (tw_net_is_idle(world, wire_at(world, index, link)) &&
               tw_client_next(&worker->client, (int)link, &frame, &data))
            tw_mail_frame(world, wire_at(world, index, link), true, &frame, data, 0);
    if (tw_client_awaits_sent(&worker->client))
        step(world, index, &(struct tw_client_event){.kind = TW_CLIENT_ON_SENT});
}

static void begin_computing(struct tw_world *world, uint32_t index) {
    struct tw_world_worker *worker = &world->worker[index];
    double seconds = 0;
    worker->computes = true;
    for (uint32_t i = 0; i == 0 || i < world->config.local_steps; i++)
        seconds += tw_delay_next(&world->config.delay, &worker->delay);
    worker->due_ns = world->now_ns + tw_world_ns(seconds);
    tw_world_put(world, worker->due_ns, TW_WORLD_COMPUTED, index, ++worker->computations);
}

static void evaluate(struct tw_world *world, uint32_t index) {
    const struct tw_world_program *program = &world->config.program;
    const struct tw_world_worker *worker = &world->worker[index];
    struct tw_metric_values values;
    struct tw_error error;
    if (program->evaluate(program->context, (const float *const *)worker->weights, &values,
                          &error) != TW_OK)
        tw_world_fail(world, error.status, error.text);
    else
        step(world, index,
             &(struct tw_client_event){.kind = TW_CLIENT_ON_REPORT, .values = &values});
}

static void hear_held(struct tw_world *world, uint32_t index) {
    for (uint32_t link = world->servers + 1; link-- > 0;)
        tw_mail_prepend(&world->now, &world->wire[wire_at(world, index, link)].held_down);
}

static void watch_clock(struct tw_world *world, uint32_t index) {
    struct tw_world_worker *worker = &world->worker[index];
    uint64_t due_ms = tw_client_deadline(&worker->client);
    if (due_ms == UINT64_MAX)
        return;
    uint64_t due_ns = due_ms * 1000000;
    due_ns = due_ns > world->now_ns ? due_ns : world->now_ns;
    if (due_ns >= worker->tick_ns)
        return;
    worker->tick_ns = due_ns;
    tw_world_put(world, due_ns, TW_WORLD_TICK, index, 0);
}

static void pull(struct tw_world *world, uint32_t index) {
    world->worker[index].computes = false;
    step(world, index, &(struct tw_client_event){.kind = TW_CLIENT_ON_PULL});
}

/* After any event of a client. */
static void follow(struct tw_world *world, uint32_t index) {
    struct tw_world_worker *worker = &world->worker[index];
    const struct tw_client *client = &worker->client;
    hand_out(world, index);
    for (;;) { /* neither a pull nor a report leaves anything to be handed out */
        if (world->failed.status != TW_OK || tw_client_over(client))
            break;
        if (client->work == TW_CLIENT_WAITING) {
            hear_held(world, index);
            break;
        }
        if (!client->welcomed)
            break;
        if (client->work != TW_CLIENT_COMPUTING || tw_client_cancelled(client)) {
            pull(world, index);
        } else if (worker->evaluator) {
            evaluate(world, index);
        } else {
            if (!worker->computes)
                begin_computing(world, index);
            break;
        }
    }
    watch_clock(world, index);
    if (client->phase == TW_CLIENT_FAILED && !world->finished)
        fail_worker(world, index, why_over(client));
}

void tw_world_worker_tell(struct tw_world *world, uint32_t index, struct tw_client_event *event) {
    step(world, index, event);
    follow(world, index);
}

void tw_world_worker_left(struct tw_world *world, uint32_t index) {
    const struct tw_world_worker *worker = &world->worker[index];
    if (worker->lives && !worker->stands_still)
        hand_out(world, index);
}

void tw_world_worker_tick(struct tw_world *world, uint32_t index) {
    struct tw_world_worker *worker = &world->worker[index];
    if (worker->tick_ns != world->now_ns)
        return; /* of an earlier process, or put off */
    worker->tick_ns = UINT64_MAX;
    if (!worker->lives || worker->stands_still || tw_client_over(&worker->client))
        return;
    if (tw_client_deadline(&worker->client) <= world->now_ns / 1000000)
        tw_world_worker_tell(world, index, &(struct tw_client_event){.kind = TW_CLIENT_ON_TICK});
    else
        watch_clock(world, index);
}

/* ---- a step ---- */

/* Last layer first, as a backward pass makes them. */
static void push(struct tw_world *world, uint32_t index) {
    struct tw_world_worker *worker = &world->worker[index];
    const struct tw_world_program *program = &world->config.program;
    const struct tw_tensor_list *list = world->config.list;
    struct tw_client *client = &worker->client;
    struct tw_world_push sums = {.examples = 0};
    struct tw_error error;
    enum tw_status status =
        program->gradient(program->context, client->slot, client->width, client->held.step,
                          (const float *const *)worker->weights, worker->gradient, &sums, &error);
    if (status != TW_OK) {
        tw_world_fail(world, status, error.text);
        return;
    }
    struct tw_client_event event = {.kind = TW_CLIENT_ON_PUSH};
    size_t at = world->elements;
    for (int i = list->count; i-- > 0;) {
        at -= (size_t)list->tensors[i].elements;
        event.tensor = i;
        event.gradient = worker->gradient + at;
        step(world, index, &event);
    }
    event = (struct tw_client_event){.kind = TW_CLIENT_ON_END,
                                     .examples = sums.examples,
                                     .loss = sums.loss,
                                     .correct = sums.correct};
    tw_world_worker_tell(world, index, &event);
}

void tw_world_worker_computed(struct tw_world *world, uint32_t index, uint64_t which) {
    struct tw_world_worker *worker = &world->worker[index];
    if (!worker->lives || !worker->computes || worker->computations != which)
        return; /* given up */
    worker->computes = false;
    push(world, index);
}

/* ---- what comes ---- */

static enum tw_status hear(struct tw_world *world, uint32_t index, const struct tw_mail *mail,
                           struct tw_error *error) {
    struct tw_world_worker *worker = &world->worker[index];
    int link = (int)world->wire[mail->wire].link;
    void *place = NULL;
    if (mail->kind == TW_MAIL_BYTES)
        return tw_mail_decode(world, mail, error);
    if (mail->data) {
        enum tw_status status = tw_client_place(&worker->client, link, &mail->frame, &place, error);
        if (status != TW_OK)
            return status;
        if (place)
            memcpy(place, mail->data, mail->frame.data_bytes);
        tw_world_server_sent(world, mail->from, mail->token);
    }
    tw_world_worker_tell(
        world, index,
        &(struct tw_client_event){
            .kind = TW_CLIENT_ON_FRAME, .link = link, .frame = &mail->frame, .data = place});
    return TW_OK;
}

/* A frame that is wrong would be a bug of ours: nobody lies here. */
static void hear_or_hold(struct tw_world *world, uint32_t index, struct tw_mail *mail) {
    struct tw_error error;
    enum tw_status status = hear(world, index, mail, &error);
    if (status == TW_AGAIN) {
        tw_mail_add(&world->wire[mail->wire].held_down, mail);
        return;
    }
    if (status != TW_OK) {
        fail_worker(world, index, error.text);
        tw_mail_discard(world, mail);
        return;
    }
    tw_mail_free(world, mail);
}

static void lose_link(struct tw_world *world, uint32_t index, uint32_t at) {
    struct tw_error cause = {.status = TW_CLOSED, .text = "closed by the server"};
    world->wire[at].client_open = false;
    tw_world_worker_tell(world, index,
                         &(struct tw_client_event){.kind = TW_CLIENT_ON_LOST,
                                                   .link = (int)world->wire[at].link,
                                                   .cause = &cause});
}

static void open_client(struct tw_world *world, uint32_t index, uint32_t at) {
    uint8_t nonce[TW_NONCE_BYTES];
    for (size_t i = 0; i < sizeof(nonce); i++)
        nonce[i] = (uint8_t)tw_rng_next(&world->rng);
    tw_world_worker_tell(world, index,
                         &(struct tw_client_event){.kind = TW_CLIENT_ON_OPENED,
                                                   .link = (int)world->wire[at].link,
                                                   .nonce = nonce});
}

void tw_world_worker_mail(struct tw_world *world, struct tw_mail *mail) {
    uint32_t at = mail->wire, index = world->wire[at].process;
    struct tw_world_worker *worker = &world->worker[index];
    struct tw_wire *wire = &world->wire[at];
    if (!worker->lives || !wire->client_open) {
        tw_mail_discard(world, mail);
    } else if (worker->stands_still) {
        tw_mail_add(&worker->not_heard, mail);
    } else if (wire->held_down.first) {
        tw_mail_add(&wire->held_down, mail);
    } else if (mail->kind == TW_MAIL_OPEN) {
        open_client(world, index, at);
        tw_mail_free(world, mail);
    } else if (mail->kind == TW_MAIL_CLOSED) {
        lose_link(world, index, at);
        tw_mail_free(world, mail);
    } else {
        hear_or_hold(world, index, mail);
    }
}

/* ---- processes ---- */

void tw_world_worker_start(struct tw_world *world, uint32_t index) {
    struct tw_world_worker *worker = &world->worker[index];
    const struct tw_world_config *config = &world->config;
    struct tw_error error;
    if (worker->lives)
        return;
    struct tw_client_config client = {
        .role = worker->evaluator ? TW_ROLE_EVALUATOR : TW_ROLE_WORKER,
        .rank = worker->evaluator ? -1 : (int)index,
        .server = "the virtual server",
        .digest = config->node.terms.digest,
        .numerics = config->numerics,
        .list = config->list,
        .weights = worker->weights,
        .epoch_samples = config->epoch_samples,
        .connect_ms = 1000000000,
        .seed = config->seed + (uint64_t)index * 977,
    };
    if (!worker->memory)
        worker->memory = malloc(tw_client_memory_bytes(config->list));
    if (!worker->memory) {
        tw_world_fail(world, TW_NO_MEMORY, "no memory for a worker");
        return;
    }
    if (tw_client_init(&worker->client, &client, worker->memory, &error) != TW_OK) {
        tw_world_fail(world, error.status, error.text);
        return;
    }
    worker->lives = true;
    worker->computes = false;
    if (config->program.begins && !worker->evaluator)
        config->program.begins(config->program.context, index);
    tw_world_worker_tell(world, index, &(struct tw_client_event){.kind = TW_CLIENT_ON_START});
}

void tw_world_worker_stop(struct tw_world *world, uint32_t index) {
    struct tw_world_worker *worker = &world->worker[index];
    if (!worker->lives)
        return;
    worker->lives = worker->computes = worker->stands_still = false;
    tw_mail_discard_all(world, &worker->not_heard);
    for (uint32_t link = 0; link <= world->servers; link++)
        close_link(world, wire_at(world, index, link));
}

static void pause(struct tw_world *world, const struct tw_mishap *mishap) {
    struct tw_world_worker *worker = &world->worker[mishap->rank];
    if (worker->stands_still)
        return;
    worker->stands_still = true;
    worker->left_ns = worker->computes ? worker->due_ns - world->now_ns : 0;
    worker->computations++; /* the one on the agenda is not to come */
    tw_world_put(world, world->now_ns + tw_world_ns(mishap->seconds), TW_WORLD_GOES_ON,
                 mishap->rank, worker->computations);
}

void tw_world_worker_mishap(struct tw_world *world, const struct tw_mishap *mishap) {
    if (!world->worker[mishap->rank].lives)
        return;
    if (mishap->kind == TW_MISHAP_PAUSE) {
        pause(world, mishap);
        return;
    }
    tw_world_worker_stop(world, mishap->rank);
    if (isfinite(mishap->seconds))
        tw_world_put(world, world->now_ns + tw_world_ns(mishap->seconds), TW_WORLD_COMES,
                     mishap->rank, 0);
}

void tw_world_worker_goes_on(struct tw_world *world, uint32_t index, uint64_t pause) {
    struct tw_world_worker *worker = &world->worker[index];
    if (!worker->stands_still || worker->computations != pause)
        return; /* it has died since, and may stand still again */
    worker->stands_still = false;
    if (worker->computes) {
        worker->due_ns = world->now_ns + worker->left_ns;
        tw_world_put(world, worker->due_ns, TW_WORLD_COMPUTED, index, ++worker->computations);
    }
    tw_mail_prepend(&world->now, &worker->not_heard);
    hand_out(world, index);
    watch_clock(world, index);
}
