#include "cli/simulation.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/simulation_state.h"
#include "common/base/denormals.h"
#include "common/tensor/safetensors.h"
#include "worker/nn/gemm.h"

/* ---- set-up ---- */

static enum tw_status make_world(struct tw_simulating *s, struct tw_error *error) {
    const struct tw_simulation *of = s->of;
    enum tw_loss_action loss = s->job->on_worker_loss.action;
    static const uint8_t id[TW_JOB_ID_BYTES];
    struct tw_world_config config = {
        .plans = s->plan.memory,
        .list = &of->checked->model->list,
        .epoch_samples = s->server.train_samples,
        .numerics = tw_numerics_id(s->numerics),
        .delay = of->delay,
        .service = of->service.law ? &of->service : NULL,
        .latency = of->latency,
        .bandwidth = of->bandwidth,
        .stands_for = of->parameters / (double)s->plan.layout.elements,
        .mishaps = of->mishaps,
        .mishap_count = of->mishap_count,
        .loss_seconds = loss == TW_LOSS_WAIT ? (double)INFINITY : s->job->on_worker_loss.after,
        .loss_fails = loss == TW_LOSS_FAIL,
        .seed = of->seed,
        .measures = s->job->trace.on && tw_simulating_keeps_account(s),
        .local_steps = s->job->local.steps,
        .checkpoint_seconds = s->job->checkpoint.seconds,
        .program.context = s,
    };
    tw_simulating_computes(&config.program);
    tw_simulating_listens(s, &config.program);
    /* Two connections of everybody, twice: of a process that dies, and of the next. */
    uint32_t connections = 4 * ((uint32_t)s->job->workers + 1);
    tw_server_node_config(&s->server, &s->plan.layout, &s->plan.memory[0], id, connections,
                          &config.node);
    memcpy(s->digest, config.node.terms.digest, sizeof s->digest);
    config.node.tells_inputs = config.node.tells_inputs && of->out;
    if (!of->out)
        config.node.shard.hash_every = config.node.shard.sums_every = 0;
    return tw_world_new(&s->world, &config, error);
}

static enum tw_status set_up(struct tw_simulating *s, struct tw_error *error) {
    enum tw_status status = tw_simulating_make_workers(s, error);
    if (status == TW_OK)
        status = tw_server_plan_make(&s->plan, s->of->checked, &s->server, error);
    if (status == TW_OK)
        status = make_world(s, error);
    return status == TW_OK ? tw_simulating_open(s, error) : status;
}

static void tear_down(struct tw_simulating *s) {
    tw_simulating_close(s);
    tw_world_free(s->world);
    tw_simulating_free_workers(s);
    tw_server_plan_fini(&s->plan);
}

/* ---- the end ---- */

/* A first failure is the result's. */
static void blame(struct tw_result *result, const struct tw_error *error) {
    if (result->status != TW_OK && result->status != TW_INTERRUPTED)
        return;
    result->status = error->status;
    snprintf(result->error, sizeof result->error, "%s", error->text);
}

static void blame_run(struct tw_simulating *s, const struct tw_error *error) {
    struct tw_error told = *error;
    if (error->status == TW_NOT_FINITE) {
        tw_error_set(&told, TW_NOT_FINITE,
                     "diverged at update %" PRIu64 ": %d in a row were not finite",
                     tw_sequencer_version(tw_simulating_sequencer(s)) + 1,
                     s->job->goes_on ? TW_NOT_FINITE_ENOUGH : TW_NOT_FINITE_MAX);
        tw_server_advise(&s->server, tw_simulating_sequencer(s), told.text, sizeof told.text);
    }
    if (error->status == TW_INTERRUPTED)
        tw_error_set(&told, TW_INTERRUPTED, "stopped by a signal");
    blame(s->result, &told);
}

/* As the last entry of the trace has it. */
static struct tw_sample hash_of(const struct tw_simulating *s, const float *weights) {
    const struct tw_tensor_list *list = &s->of->checked->model->list;
    struct tw_sample sample = {.version = tw_sequencer_version(tw_simulating_sequencer(s)),
                               .hashed = true};
    for (int i = 0; i < list->count; i++) {
        size_t count = (size_t)list->tensors[i].elements;
        tw_sample_hash(&sample, (uint32_t)i, 0, weights, count);
        weights += count;
    }
    return sample;
}

/* To the run directory, or only to their SHA-256. */
static enum tw_status save(struct tw_simulating *s, struct tw_error *error) {
    struct tw_result *result = s->result;
    size_t elements = (size_t)s->plan.layout.elements;
    const char *path = s->has_directory ? s->directory.model_path : NULL;
    const char *ema = s->has_directory ? s->directory.ema_path : NULL;
    float *weights = malloc(elements * sizeof(float));
    if (!weights)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for the model");
    tw_world_weights(s->world, weights);
    if (s->has_order) {
        struct tw_sample sample = hash_of(s, weights);
        tw_trace_end(&s->trace, &sample);
    }
    const struct tw_tensor_list *list = &s->of->checked->model->list;
    enum tw_status status =
        tw_safetensors_save(path, list, weights, elements, result->model_sha256, error);
    if (status == TW_OK)
        snprintf(result->model, sizeof result->model, "%s", path ? path : "");
    if (status == TW_OK && tw_world_average(s->world, weights)) {
        status = tw_safetensors_save(ema, list, weights, elements, result->model_ema_sha256, error);
        snprintf(result->model_ema, sizeof result->model_ema, "%s", ema && !status ? ema : "");
    }
    free(weights);
    return status;
}

static void add_counts(struct tw_simulating *s, struct tw_simulated *simulated) {
    double contributions = (double)tw_sequencer_total(tw_simulating_sequencer(s)).contributions;
    struct tw_result *result = s->result;
    tw_borders_result(&s->counts.borders, tw_simulating_sequencer(s),
                      tw_simulating_seconds(s, tw_world_now_ns(s->world)), result);
    result->evicted = s->evicted;
    double mean = result->staleness_mean;
    simulated->staleness_variance =
        contributions > 0 ? s->counts.staleness_squares / contributions - mean * mean : 0;
}

static void write_end(struct tw_simulating *s) {
    struct tw_error error;
    tw_simulating_let_go(s);
    if (!tw_world_is_broken(s->world) && save(s, &error))
        blame(s->result, &error);
    if (tw_sequencer_check_staleness(tw_simulating_sequencer(s), &error) ||
        tw_world_check_staleness(s->world, &error))
        blame(s->result, &error);
    if (!tw_world_is_broken(s->world))
        tw_simulating_tell_times(s);
    if (!s->has_order)
        return;
    tw_world_goodbye(s->world);
    tw_order_writer_flush(&s->order);
    tw_trace_flush(&s->trace);
    const struct tw_error *failures[] = {&s->unwritten, &s->directory.failed, &s->order.failed,
                                         &s->trace.writer.failed, &s->failed};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        if (failures[i]->status != TW_OK)
            blame(s->result, failures[i]);
}

enum tw_status tw_simulation_run(const struct tw_simulation *simulation, struct tw_summary *summary,
                                 struct tw_simulated *simulated) {
    struct tw_error error = {0};
    struct tw_simulating s = {
        .of = simulation,
        .job = simulation->checked->job,
        .server = tw_server_config_of(simulation->checked),
        .directory = {.metrics = -1},
        .order = {.file = -1},
        .start_s = tw_wall_seconds(),
        .result = &summary->result,
    };
    tw_borders_init(&s.counts.borders);
    s.saved[1] = s.counts;
    tw_flush_denormals();
    memset(s.result, 0, sizeof *s.result);
    *simulated = (struct tw_simulated){0};
    if (set_up(&s, &error)) {
        blame(s.result, &error);
    } else {
        s.start_s = tw_wall_seconds();
        if (tw_world_run(s.world, &error))
            blame_run(&s, &error);
        simulated->wall_seconds = tw_wall_seconds() - s.start_s;
        simulated->events = tw_world_events(s.world);
        summary->counted = true;
        add_counts(&s, simulated);
        write_end(&s);
    }
    tear_down(&s);
    return s.result->status;
}
