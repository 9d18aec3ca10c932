/* The workers of the virtual cluster: real client cores, and what their programs do. Half of them
 * begin on a part of the weights, and take the tensors over in any order, each as soon as it is
 * here; what they compute on is what they took. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/cluster_parts.h"
#include "tests/sim/oracle.h"

static size_t tensor_bytes(const struct cluster *c, int t) {
    return (size_t)c->list.tensors[t].elements * sizeof(float);
}

void cluster_start_worker(struct cluster *c, int index, int rank, bool evaluator) {
    struct virtual_worker *w = &c->worker[index];
    *w = (struct virtual_worker){.used = true, .rank = rank, .evaluator = evaluator};
    w->early = (c->config->seed + (uint64_t)index) % 2 == 0;
    for (int t = 0; t < c->list.count; t++) {
        w->weights[t] = calloc(1, tensor_bytes(c, t));
        w->gradient[t] = calloc(1, tensor_bytes(c, t));
        w->copy[t] = calloc(1, tensor_bytes(c, t));
    }
    struct tw_client_config config = {
        .role = evaluator ? TW_ROLE_EVALUATOR : TW_ROLE_WORKER,
        .rank = rank,
        .server = "virtual:1",
        .numerics = "virtual",
        .list = &c->list,
        .weights = w->weights,
        .epoch_samples = c->config->epoch,
        .test_samples = evaluator && c->scorers ? SCORERS_SAMPLES : 0,
        .connect_ms = 1000000000,
        .seed = c->config->seed + (uint64_t)index * 977,
    };
    if (c->config->token) {
        config.token = CLUSTER_TOKEN;
        config.token_bytes = strlen(CLUSTER_TOKEN);
    }
    w->memory = malloc(tw_client_memory_bytes(&c->list));
    assert_int_equal(tw_client_init(&w->client, &config, w->memory, NULL), TW_OK);
    cluster_tell_worker(c, w, (struct tw_client_event){.kind = TW_CLIENT_ON_START});
}

void cluster_free_worker(struct cluster *c, struct virtual_worker *w) {
    for (int t = 0; t < c->list.count; t++) {
        free(w->weights[t]);
        free(w->gradient[t]);
        free(w->copy[t]);
    }
    free(w->memory);
    w->used = false;
}

/* ---- weights ---- */

static void take(const struct cluster *c, struct virtual_worker *w, int t) {
    memcpy(w->copy[t], w->weights[t], tensor_bytes(c, t));
    w->taken[t] = true;
}

static void begin(struct cluster *c, struct virtual_worker *w) {
    cluster_tell_worker(c, w, (struct tw_client_event){.kind = TW_CLIENT_ON_BEGIN});
    w->begun = tw_client_set(&w->client)->position;
    memset(w->taken, 0, sizeof w->taken);
    c->counters->begun++;
}

/* A tensor that is here and was not taken; -1: none. */
static int next_to_take(const struct cluster *c, const struct virtual_worker *w, int from) {
    for (int i = 0; i < c->list.count; i++) {
        int t = (from + i) % c->list.count;
        if (!w->taken[t] && tw_client_has_tensor(&w->client, t))
            return t;
    }
    return -1;
}

static void go_on_taking(struct cluster *c, struct virtual_worker *w) {
    int from = (int)cluster_below(c, (uint64_t)c->list.count);
    int t = next_to_take(c, w, from);
    cluster_tell_worker(c, w, (struct tw_client_event){.kind = TW_CLIENT_ON_WANT, .tensor = from});
    take(c, w, t);
}

/* Nobody has written to what was taken. */
static void expect_untouched(const struct cluster *c, const struct virtual_worker *w) {
    for (int t = 0; t < c->list.count; t++)
        if (w->taken[t] && memcmp(w->copy[t], w->weights[t], tensor_bytes(c, t)) != 0)
            fail_msg("seed %llu: tensor %d changed while it was in use",
                     (unsigned long long)c->config->seed, t);
}

/* All of them are here: the rest is taken. */
static float **take_the_rest(const struct cluster *c, struct virtual_worker *w) {
    if (w->begun != w->client.held.position)
        memset(w->taken, 0, sizeof w->taken);
    for (int t = 0; t < c->list.count; t++)
        if (!w->taken[t])
            take(c, w, t);
    expect_untouched(c, w);
    return w->copy;
}

/* ---- gradients ---- */

static void compute(struct cluster *c, struct virtual_worker *w) {
    float **weights = take_the_rest(c, w);
    if (c->arrivals) {
        arrivals_gradient(&c->list, c->config->seed, w->client.slot, w->client.held.step,
                          c->config->not_finite, w->gradient);
        w->examples = ARRIVALS_SHARE;
        w->loss = 1;
    } else {
        oracle_gradient(&c->list, c->config->seed, w->client.slot, w->client.width,
                        w->client.held.step, c->config->not_finite, (const float *const *)weights,
                        w->gradient, &w->examples, &w->loss);
    }
    if (isnan(w->gradient[c->list.count - 1][0]))
        c->counters->not_finite++;
    w->computed = w->client.held.position;
    w->tensors = 0;
    w->first_tensor = (int)cluster_below(c, (uint64_t)c->list.count);
}

/* Last layer first, as a backward pass does; or from anywhere on, with a stride that comes to all
 * of them. */
static int tensor_to_push(const struct cluster *c, const struct virtual_worker *w) {
    int count = c->list.count, stride = count % 2 ? 2 : count - 1;
    if (c->config->out_of_order)
        return (w->first_tensor + stride * w->tensors) % count;
    return count - 1 - w->tensors;
}

static struct tw_client_event push(struct cluster *c, struct virtual_worker *w) {
    struct tw_client_event event = {.kind = TW_CLIENT_ON_END};
    if (w->computed != w->client.held.position)
        compute(c, w);
    event.examples = w->examples;
    event.loss = w->loss;
    if (w->tensors == c->list.count)
        return event;
    event.kind = TW_CLIENT_ON_PUSH;
    event.tensor = tensor_to_push(c, w);
    w->tensors++;
    event.gradient = w->gradient[event.tensor];
    return event;
}

static struct tw_client_event report(struct cluster *c, struct virtual_worker *w) {
    struct tw_client_event event = {.kind = TW_CLIENT_ON_REPORT};
    if (c->scorers)
        return scorers_score(c->scorers, &w->client, (double)w->weights[0][0]);
    w->values = tw_metric_values_none();
    w->values.loss = (double)w->weights[0][0];
    event.values = &w->values;
    return event;
}

void cluster_worker_acts(struct cluster *c, struct virtual_worker *w) {
    struct tw_client_event event = {.kind = TW_CLIENT_ON_PULL};
    /* Some programs ask whether their step was cancelled, others push in vain. */
    bool cancelled = tw_client_cancelled(&w->client), gives_up = cancelled && cluster_below(c, 2);
    c->counters->given_up += gives_up;
    c->counters->begun_in_vain += cancelled && w->client.work == TW_CLIENT_BEGUN;
    if (!gives_up && w->client.work == TW_CLIENT_WAITING) {
        begin(c, w);
        return;
    }
    if (!cancelled && w->client.work == TW_CLIENT_BEGUN) {
        go_on_taking(c, w);
        return;
    }
    if (w->client.work == TW_CLIENT_BEGUN) /* in vain, whatever it does now */
        expect_untouched(c, w);
    if (!gives_up && w->client.work == TW_CLIENT_BEGUN)
        event.kind = TW_CLIENT_ON_END;
    else if (!gives_up && w->client.work == TW_CLIENT_COMPUTING)
        event = w->evaluator ? report(c, w) : push(c, w);
    cluster_tell_worker(c, w, event);
}

bool cluster_worker_has_work(const struct cluster *c, const struct virtual_worker *w) {
    if (!w->used || tw_client_over(&w->client) || !w->client.welcomed)
        return false;
    if (w->client.work == TW_CLIENT_WAITING)
        return w->early && tw_client_may_begin(&w->client);
    if (w->client.work == TW_CLIENT_BEGUN)
        return tw_client_cancelled(&w->client) || next_to_take(c, w, 0) >= 0;
    return true;
}
