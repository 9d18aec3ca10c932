/* The scheduler of the virtual cluster: picks, by seed, what happens next. The
 * streams between its processes are in wire.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "tests/sim/cluster_parts.h"
#include "tests/sim/oracle.h"

uint64_t cluster_below(struct cluster *c, uint64_t n) {
    return tw_rng_below(&c->rng, n);
}

static bool chance(struct cluster *c, double p) {
    return tw_rng_uniform(&c->rng) < p;
}

/* ---- faults ---- */

static int pick_worker(struct cluster *c, bool joined) {
    int found = -1;
    uint64_t seen = 0;
    for (int i = 0; i < CLUSTER_WORKERS; i++) {
        struct virtual_worker *w = &c->worker[i];
        if (w->used && !tw_client_over(&w->client) &&
            (!joined || w->client.phase == TW_CLIENT_JOINED) && cluster_below(c, ++seen) == 0)
            found = i;
    }
    return found;
}

static void kill_worker(struct cluster *c, int index) {
    for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++)
        if (c->wire[i].used && c->wire[i].worker == index)
            wire_abandon(c, &c->wire[i]);
    cluster_free_worker(c, &c->worker[index]);
}

/* Whether a worker that is killed may be so for good: the others go on when it is evicted. */
static bool can_do_without(struct cluster *c) {
    uint32_t others = 0;
    for (int i = 0; i < CLUSTER_WORKERS; i++)
        others += c->worker[i].used && !c->worker[i].evaluator && i != c->frozen;
    return c->config->evict && others > 1 &&
           tw_sequencer_version(tw_node_sequencer(c->node[0].node)) > 0 && chance(c, 0.4);
}

/* Somebody has waited for long enough, or not at all. */
static void evict_somebody(struct cluster *c) {
    tw_node_evict(c->node[0].node, (uint32_t)cluster_below(c, c->config->workers));
    c->node[0].busy = true;
    cluster_drain(c, 0);
}

static void cause_fault(struct cluster *c) {
    int index = pick_worker(c, true);
    if (index < 0)
        return;
    struct virtual_worker *w = &c->worker[index];
    bool evaluator = w->evaluator;
    int rank = evaluator ? -1 : (int)w->client.rank;
    switch (cluster_below(c, 3)) {
    case 0:
        for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++)
            if (c->wire[i].used && c->wire[i].worker == index) {
                wire_cut(c, &c->wire[i]);
                c->counters->cuts++;
                break;
            }
        break;
    case 1:
        c->counters->kills++;
        if (!evaluator && can_do_without(c)) {
            kill_worker(c, index);
            break;
        }
        kill_worker(c, index);
        c->restart[c->restarts++] = (struct restart){chance(c, 0.5) ? rank : -1, evaluator};
        break;
    default: /* stands still behind a partition, while a new process takes its rank */
        if (evaluator || c->frozen >= 0)
            break;
        for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++)
            if (c->wire[i].used && c->wire[i].worker == index)
                wire_cut(c, &c->wire[i]);
        c->frozen = index;
        c->restart[c->restarts++] = (struct restart){rank, false};
        c->counters->replacements++;
        break;
    }
}

static void restart_one(struct cluster *c) {
    struct restart r = c->restart[--c->restarts];
    for (int i = 0; i < CLUSTER_WORKERS; i++)
        if (!c->worker[i].used) {
            cluster_start_worker(c, i, r.rank, r.evaluator);
            return;
        }
    fail_msg("no room for another worker");
}

/* Whether a fenced process leaves a rank without anybody who would take it. */
static bool too_few(const struct cluster *c) {
    uint32_t workers = (uint32_t)c->restarts;
    for (int i = 0; i < CLUSTER_WORKERS; i++)
        workers += c->worker[i].used && !c->worker[i].evaluator;
    return workers - 1 < c->config->workers;
}

/* Workers that are over: refused ones come again, as a supervisor would do. */
static void reap(struct cluster *c) {
    for (int i = 0; i < CLUSTER_WORKERS; i++) {
        struct virtual_worker *w = &c->worker[i];
        if (!w->used || !tw_client_over(&w->client))
            continue;
        enum tw_status status = w->client.error.status;
        if (getenv("TALWEG_SEED"))
            print_message("%" PRIu64 " process %d is over: %s\n", c->steps, i,
                          w->client.error.text);
        if (w->client.phase == TW_CLIENT_FAILED && !c->goodbye) {
            if (status == TW_FENCED)
                c->counters->fenced++;
            else if (w->client.ending == TW_CLIENT_REFUSED)
                c->counters->refused++;
            else if (!cluster_blames_a_lie(c))
                fail_msg("seed %llu: a worker failed: %s", (unsigned long long)c->config->seed,
                         w->client.error.text);
            /* Else two that insist on one rank could leave another to nobody for ever. */
            bool any = status == TW_FENCED || (status == TW_RANK_TAKEN && cluster_below(c, 8) == 0);
            if (status != TW_FENCED || too_few(c))
                c->restart[c->restarts++] = (struct restart){any ? -1 : w->rank, w->evaluator};
        }
        if (i == c->frozen)
            c->frozen = -1;
        kill_worker(c, i);
    }
}

/* ---- the schedule ---- */

static void act_wires(struct cluster *c) {
    for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++) {
        struct wire *wire = &c->wire[i];
        if (wire->used && !wire->node_alive && !wire->worker_alive)
            wire_free(wire);
        if (!wire->used || wire->worker == c->frozen)
            continue;
        int kinds = wire_actions(wire, c->action + c->actions, i);
        c->actions += kinds;
    }
}

static void list_actions(struct cluster *c) {
    c->actions = 0;
    act_wires(c);
    cluster_act_nodes(c);
    for (int i = 0; i < CLUSTER_WORKERS; i++)
        if (i != c->frozen && cluster_worker_has_work(c, &c->worker[i]))
            c->action[c->actions++] = (struct action){ACT_WORKER, i};
    if (c->restarts)
        c->action[c->actions++] = (struct action){ACT_RESTART, 0};
}

static void tick(struct cluster *c) {
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < CLUSTER_WORKERS; i++)
        if (c->worker[i].used && i != c->frozen) {
            uint64_t deadline = tw_client_deadline(&c->worker[i].client);
            due = deadline < due ? deadline : due;
        }
    if (due == UINT64_MAX)
        return;
    c->now_ms = due > c->now_ms ? due : c->now_ms;
    for (int i = 0; i < CLUSTER_WORKERS; i++) {
        struct virtual_worker *w = &c->worker[i];
        if (w->used && i != c->frozen && tw_client_deadline(&w->client) <= c->now_ms)
            cluster_tell_worker(c, w, (struct tw_client_event){.kind = TW_CLIENT_ON_TICK});
    }
}

static void act(struct cluster *c, struct action action) {
    switch (action.kind) {
    case ACT_NODE_WORK:
        cluster_work(c, (uint32_t)action.index);
        break;
    case ACT_SAVED:
        cluster_saved(c, (uint32_t)action.index);
        break;
    case ACT_NODE_HEARS:
        cluster_hear(c, (uint32_t)action.index);
        break;
    case ACT_WORKER:
        cluster_worker_acts(c, &c->worker[action.index]);
        break;
    case ACT_RESTART:
        restart_one(c);
        break;
    default:
        wire_act(c, &c->wire[action.index], action.kind);
        break;
    }
}

static bool all_gone(const struct cluster *c) {
    for (int i = 0; i < CLUSTER_WORKERS; i++)
        if (c->worker[i].used)
            return false;
    return true;
}

/* What stands still, for whoever has to find out why. */
static void dump(struct cluster *c) {
    print_message("actions %d; restarts %d; frozen %d; finished %d\n", c->actions, c->restarts,
                  c->frozen, c->finished);
    for (int i = 0; i < CLUSTER_WORKERS; i++) {
        const struct virtual_worker *w = &c->worker[i];
        if (w->used)
            print_message("process %d: rank %u.%u phase %d work %d step %" PRIu64 " held %" PRIu64
                          " missing %u\n",
                          i, w->client.rank, w->client.incarnation, w->client.phase, w->client.work,
                          w->client.held.step, w->client.held.position,
                          tw_client_missing(&w->client));
    }
    for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++) {
        const struct wire *wire = &c->wire[i];
        if (wire->used)
            print_message("wire %d: process %d link %d node %u: up %zu%s down %zu%s queue %d%s%s\n",
                          i, wire->worker, wire->link, wire->node, wire->up.size - wire->up.at,
                          wire->up_paused ? " paused" : "", wire->down.size - wire->down.at,
                          wire->down_paused ? " paused" : "", wire->queue_count,
                          wire->node_alive ? "" : " node gone",
                          wire->worker_alive ? "" : " worker gone");
    }
}

/* Faults stop after a while, the frozen process wakes up, and all must end. */
static void run(struct cluster *c) {
    uint64_t limit = 300000, quiet = 20000 + 2000 * c->config->updates;
    double rate = c->config->faults / (double)(600 * c->config->updates + 1);
    for (c->steps = 0; c->steps < limit; c->steps++) {
        bool faulty = c->steps < quiet && !c->finished;
        if (c->over)
            return;
        if (faulty && chance(c, rate))
            cause_fault(c);
        if (chance(c, c->config->turns / (double)(600 * c->config->updates + 1)))
            cluster_turn(c);
        if (c->config->evict && chance(c, 0.004))
            evict_somebody(c);
        if (c->frozen >= 0 && (!faulty || chance(c, 0.0005)))
            c->frozen = -1;
        reap(c);
        list_actions(c);
        if (!c->actions || chance(c, 0.0005)) {
            if (!c->actions && c->goodbye && all_gone(c))
                return;
            tick(c);
            continue;
        }
        act(c, c->action[cluster_below(c, (uint64_t)c->actions)]);
        if (c->goodbye && all_gone(c))
            return;
    }
    if (cluster_blames_a_lie(c)) /* somebody waits for what will never come */
        return;
    dump(c);
    fail_msg("seed %llu: not finished after %llu events: version %llu of %llu",
             (unsigned long long)c->config->seed, (unsigned long long)limit,
             (unsigned long long)tw_sequencer_version(tw_node_sequencer(c->node[0].node)),
             (unsigned long long)c->config->updates);
}

bool cluster_blames_a_lie(struct cluster *c) {
    c->over = c->over || c->lied;
    return c->lied;
}

/* The connections are gone, so nothing keeps the shards from what the log says. */
static void settle_nodes(struct cluster *c) {
    for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++)
        if (c->wire[i].used)
            wire_end_node(c, &c->wire[i]);
    for (uint32_t s = 0; s < c->config->servers; s++) {
        while (!c->over && cluster_has_mail(c, s))
            cluster_hear(c, s);
        do {
            cluster_work(c, s);
        } while (c->node[s].busy);
    }
}

static void tear_down(struct cluster *c) {
    for (int i = 0; i < CLUSTER_CONNECTIONS_ALL; i++)
        wire_free(&c->wire[i]);
    for (int i = 0; i < CLUSTER_WORKERS; i++)
        if (c->worker[i].used)
            cluster_free_worker(c, &c->worker[i]);
    for (uint32_t s = 0; s < c->config->servers; s++)
        free(c->node[s].node);
    cluster_unlink_servers(c);
    oracle_free(c->oracle);
    arrivals_free(c->arrivals);
    scorers_free(c->scorers);
    free(c->chunk);
    free(c->list.tensors);
    free(c);
}

struct cluster_result cluster_run(const struct cluster_config *config,
                                  struct cluster_counters *counters) {
    struct cluster *c = calloc(1, sizeof(*c));
    c->config = config;
    c->counters = counters;
    c->frozen = -1;
    tw_rng_init(&c->rng, config->schedule ? config->schedule : config->seed, TW_STREAM_DELAY, 0, 0);
    cluster_make(c);
    c->scorers = config->evaluators ? scorers_new() : NULL;
    c->oracle = oracle_new(&c->list, config->seed, config->workers, config->width, c->optimizer,
                           &c->options, &config->shaping, config->not_finite);
    oracle_encodings(c->oracle, config->push, config->pull);
    for (uint32_t i = 0; i < config->workers; i++)
        cluster_start_worker(c, (int)i, -1, false);
    for (uint32_t i = 0; config->epoch && (i == 0 || i < config->evaluators); i++)
        cluster_start_worker(c, (int)(config->workers + i), -1, true);
    run(c);
    settle_nodes(c);
    struct cluster_result result = {
        .status = c->status, .steps = c->steps, .lied = c->lied, .refused = c->over};
    const struct tw_sequencer *sequencer = tw_node_sequencer(c->node[0].node);
    result.version = tw_sequencer_version(sequencer);
    result.total = tw_sequencer_total(sequencer);
    result.staleness = tw_sequencer_staleness(sequencer);
    cluster_check_weights(c, &result);
    result.scored = scorers_counts(c->scorers);
    tear_down(c);
    return result;
}
