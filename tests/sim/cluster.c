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
#include "tests/lib/variant_text.h"
#include "tests/sim/cluster_parts.h"
#include "tests/sim/oracle.h"

uint64_t cluster_below(struct cluster *c, uint64_t n) {
    return tw_rng_below(&c->rng, n);
}

static bool chance(struct cluster *c, double p) {
    return tw_rng_uniform(&c->rng) < p;
}

/* ---- building ---- */

static const struct {
    const char *name;
    int64_t elements;
} shapes[] = {{"a.weight", 40000}, {"a.bias", 10}, {"b.weight", 300}, {"b.bias", 3}, {"c", 1}};

enum { TENSORS = sizeof(shapes) / sizeof(shapes[0]) };

static void make_tensors(struct cluster *c) {
    const struct tw_init init = {TW_INIT_NORMAL, 1};
    const struct tw_treatment *own = c->config->shaping.treatment;
    c->list = (struct tw_tensor_list){TENSORS, calloc(TENSORS, sizeof(struct tw_tensor))};
    for (int t = 0; t < TENSORS; t++) {
        assert_int_equal(
            tw_tensor_init(&c->list.tensors[t], shapes[t].name, 1, &shapes[t].elements, init, NULL),
            TW_OK);
        c->list.tensors[t].update = own ? own[t].update : TW_TENSOR_TRAINED;
    }
    uint32_t chunks = tw_layout_count(&c->list, c->config->chunk_bytes);
    c->chunk = calloc(chunks, sizeof(*c->chunk));
    assert_int_equal(tw_layout_init(&c->layout, &c->list, c->config->chunk_bytes,
                                    c->config->servers, c->chunk, NULL),
                     TW_OK);
}

static void make_optimizer(struct cluster *c) {
    assert_int_equal(
        tw_optimizer_find(&c->optimizer, &c->options, tw_test_variant(c->config->optimizer), NULL),
        TW_OK);
}

static void *aligned_zero(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    memset(memory, 0, bytes);
    return memory;
}

/* Any mode with any number. */
static void draw_mode(struct tw_rng *rng, uint32_t workers, char mode[32]) {
    static const struct {
        const char *name;
        bool number;
        uint32_t least;
    } presets[] = {{"sync", false, 0},        {"async", false, 0},        {"backup", true, 0},
                   {"k-sync", true, 1},       {"k-batch-sync", true, 1},  {"ssp", true, 0},
                   {"k-async", true, 1},      {"k-batch-async", true, 1}, {"softsync", true, 1},
                   {"stale-uniform", true, 1}};
    uint64_t i = tw_rng_below(rng, sizeof(presets) / sizeof(presets[0]));
    uint64_t number = presets[i].least + tw_rng_below(rng, workers);
    if (presets[i].number)
        snprintf(mode, 32, "%s:%" PRIu64, presets[i].name, number);
    else
        snprintf(mode, 32, "%s", presets[i].name);
}

/* Modes that need room for whole pushes. */
static bool keeps_pushes(const char *mode) {
    return strncmp(mode, "k-batch", 7) == 0 || strncmp(mode, "softsync", 8) == 0;
}

/* Turns by the job: as many as those by hand, at some updates. */
static uint32_t plan_turns(struct cluster *c) {
    uint32_t count = 0;
    struct tw_rng rng;
    char mode[32];
    tw_rng_init(&rng, c->config->seed, TW_STREAM_JITTER, 2, 0);
    for (uint64_t update = 1; update <= c->config->updates && count < CLUSTER_TURNS; update++) {
        if (tw_rng_uniform(&rng) * (double)c->config->updates >= c->config->turns)
            continue;
        c->turn[count].update = update;
        do
            draw_mode(&rng, c->config->workers, mode);
        while (c->config->pool && keeps_pushes(mode));
        assert_int_equal(tw_dial_parse(mode, (struct tw_where){0}, (int)c->config->workers,
                                       &c->turn[count++].dial, NULL),
                         TW_OK);
    }
    return count;
}

/* An operator turns the dial. */
static void turn_by_hand(struct cluster *c) {
    char mode[32];
    struct tw_error error;
    draw_mode(&c->rng, c->config->workers, mode);
    enum tw_status status = tw_node_turn(c->node[0].node, mode, &error);
    bool too_large = status == TW_UNSUPPORTED && c->config->pool;
    if (status != TW_OK && status != TW_STOPPED && status != TW_UNEXPECTED && !too_large)
        fail_msg("%s: %s", mode, error.text);
    c->node[0].busy = true;
    cluster_drain(c, 0);
}

static void make_nodes(struct cluster *c) {
    const struct cluster_config *config = c->config;
    struct tw_node_config node = {.servers = config->servers, .connections = CLUSTER_CONNECTIONS};
    assert_int_equal(tw_dial_parse(config->mode, (struct tw_where){0}, (int)config->workers,
                                   &node.sequencer.dial, NULL),
                     TW_OK);
    node.terms.tensors = &c->list;
    if (config->token) {
        node.terms.token = CLUSTER_TOKEN;
        node.terms.token_bytes = strlen(CLUSTER_TOKEN);
    }
    node.sequencer.workers = config->workers;
    node.sequencer.shards = config->servers;
    node.sequencer.tensors = (uint32_t)c->layout.list->count;
    node.sequencer.samples = config->epoch;
    node.sequencer.end_updates = config->updates;
    node.sequencer.checkpoint_every = 1 + config->seed % 3;
    node.sequencer.evaluator = config->epoch > 0;
    scorers_configure(&node, config->evaluators > 0, config->judged);
    node.sequencer.turns = c->turn;
    node.sequencer.turn_count = plan_turns(c);
    node.sequencer.optimizer = c->optimizer;
    node.sequencer.options = c->options;
    node.sequencer.shaping = node.shard.shaping = config->shaping;
    node.shard.layout = &c->layout;
    node.shard.slots = config->workers;
    node.width = config->width;
    node.shard.members_known = node.sequencer.dial.members_known;
    node.shard.on_arrival = node.sequencer.dial.on_arrival;
    node.shard.batch = (int64_t)ARRIVALS_SHARE * config->workers;
    if (node.shard.on_arrival)
        c->arrivals = arrivals_new(&c->layout, config->seed);
    node.shard.ahead = config->turns > 0 ? config->workers : tw_dial_ahead(&node.sequencer.dial);
    if (config->pool) {
        node.shard.pool = tw_shard_pool_min(config->workers) + config->pool - 1;
        node.shard.ahead = 0;
        node.sequencer.admission = true;
    }
    node.shard.spares = 1; /* as few as possible: updates must wait for sends */
    node.shard.push = node.terms.push = config->push;
    node.shard.pull = node.terms.pull = config->pull;
    node.shard.seed = config->seed;
    node.shard.hash_every = 2;
    node.shard.sums_every = 3;
    node.shard.optimizer = c->optimizer;
    node.shard.options = c->options;
    c->mirror = mirror_new(&node);
    for (uint32_t s = 0; s < config->servers; s++) {
        node.shard.index = s;
        size_t bytes = tw_node_bytes(&node);
        assert_true(bytes > 0);
        c->node[s].node = tw_node_init(aligned_zero(bytes), &node);
    }
    cluster_link_servers(c);
    for (uint32_t s = 1; s < config->servers; s++)
        tw_node_add_server(c->node[0].node, s, TW_NO_CONNECTION);
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
            turn_by_hand(c);
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
    make_tensors(c);
    make_optimizer(c);
    make_nodes(c);
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
