#include "cli/simulation.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/server_config.h"
#include "common/base/denormals.h"
#include "common/tensor/safetensors.h"
#include "server/io/borders.h"
#include "server/io/checkpoint_writer.h"
#include "server/io/order_writer.h"
#include "server/io/run_directory.h"
#include "server/io/trace.h"
#include "worker/data/datasets.h"
#include "worker/io/score.h"
#include "worker/io/shares.h"
#include "worker/nn/gemm.h"

#define ORDER_BYTES (64 << 10) /* of the log that may wait */
#define PROGRESS_S 0.1
#define LOOKS 64 /* at whether to stop, between two looks at the clock */

/* What is counted here and goes back with the run. */
struct counts {
    uint64_t position; /* of the CHECKPOINT that they are of; 0: the start */
    struct tw_borders borders;
    double staleness_squares;
};

/* What a simulation has while it runs; all of it is zero until it is made. */
struct simulating {
    const struct tw_simulation *of;
    const struct tw_job *job;
    struct tw_server_config server;
    struct tw_datasets data;
    struct tw_shares *shares; /* of all workers in turn */
    struct tw_scorer scorer;
    struct tw_server_plan plan;
    struct tw_world *world;
    char numerics[TW_NUMERICS_MAX + 1];
    uint8_t digest[TW_DIGEST_BYTES];

    bool has_directory, has_order;
    struct tw_run_directory directory;
    struct tw_order_writer order;
    struct tw_trace trace;
    struct tw_checkpoint_writer writer;

    bool started;
    uint64_t started_ns; /* training, in virtual time */
    double start_s, told_s;
    unsigned looks;
    struct counts counts;
    struct counts saved[2]; /* as they were: a CHECKPOINT may come to nothing, and then it is the
                               one before it that counts */
    uint64_t evicted;
    struct tw_error failed;
    struct tw_error unwritten; /* the first failure of a file that is closed by now */
    struct tw_result *result;
};

static double wall_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double seconds_at(const struct simulating *s, uint64_t now_ns) {
    return (double)(now_ns - s->started_ns) * 1e-9;
}

static const struct tw_sequencer *sequencer(const struct simulating *s) {
    return tw_node_sequencer(tw_world_lead(s->world));
}

/* ---- what workers compute ---- */

static enum tw_status gradient(void *context, uint32_t slot, uint32_t width, uint64_t step,
                               const float *const *weights, float *out, struct tw_world_push *push,
                               struct tw_error *error) {
    struct simulating *s = context;
    const struct tw_tensor_list *list = &s->of->checked->model->list;
    int first, tensors;
    enum tw_status status = tw_shares_bind(s->shares, slot, weights, error);
    if (status == TW_OK)
        status = tw_shares_begin(s->shares, step, error);
    if (status != TW_OK)
        return status;
    while (tw_shares_next(s->shares, &first, &tensors))
        continue;
    for (int i = 0; i < list->count; i++) {
        size_t count = (size_t)list->tensors[i].elements;
        memcpy(out, tw_shares_gradient(s->shares, i), count * sizeof(float));
        out += count;
    }
    push->examples = tw_shares_examples(s->shares);
    push->loss = tw_shares_loss(s->shares);
    const struct tw_train_data data = tw_datasets_train(&s->data);
    if (tw_train_data_any(&data) && tw_train_data_any(&data)->outputs == 0)
        push->correct = 1 + tw_shares_correct(s->shares);
    return TW_OK;
}

static void begins(void *context, uint32_t rank) {
    struct simulating *s = context;
    tw_shares_forget(s->shares, rank * (uint32_t)(s->job->slots / s->job->workers));
}

static enum tw_status evaluate(void *context, const float *const *weights,
                               struct tw_metric_values *values, struct tw_error *error) {
    struct simulating *s = context;
    *values = tw_scorer_run(&s->scorer, weights);
    return TW_OK;
}

/* ---- what is written and told ---- */

static void add_staleness(struct simulating *s, const struct tw_record *record) {
    for (uint32_t i = 0; i < record->count; i++) {
        double staleness = (double)record->contributions[i].staleness;
        s->counts.staleness_squares += staleness * staleness;
    }
}

static void note_counts(struct simulating *s, uint64_t position) {
    s->counts.position = position;
    s->saved[0] = s->saved[1];
    s->saved[1] = s->counts;
}

static void take_back_counts(struct simulating *s, uint64_t position) {
    const struct counts *saved = &s->saved[s->saved[1].position == position];
    assert(saved->position == position);
    s->counts = s->saved[1] = *saved;
}

static void on_record(void *context, const struct tw_record *record, uint64_t now_ns) {
    struct simulating *s = context;
    if (record->kind == TW_RECORD_COMMIT)
        add_staleness(s, record);
    if (record->kind == TW_RECORD_CHECKPOINT)
        note_counts(s, record->position);
    if (!s->has_order)
        return;
    tw_order_writer_add(&s->order, record);
    tw_trace_record(&s->trace, record, now_ns);
    if (s->order.used > ORDER_BYTES)
        tw_order_writer_flush(&s->order);
}

static void on_checkpoint(void *context, const struct tw_sequencer_snapshot *snapshot,
                          uint64_t now_ns) {
    struct simulating *s = context;
    if (s->has_order)
        tw_checkpoint_writer_begin(&s->writer, snapshot,
                                   tw_node_generation(tw_world_lead(s->world)),
                                   seconds_at(s, now_ns), s->counts.borders.seconds);
}

static void on_saves(void *context, uint32_t server, const float *array) {
    struct simulating *s = context;
    if (!s->has_order || !tw_checkpoint_writer_add(&s->writer, server, array))
        return;
    tw_order_writer_flush(&s->order);
    tw_trace_flush(&s->trace);
    tw_checkpoint_writer_seal(&s->writer, s->order.failed.status == TW_OK);
    tw_checkpoint_writer_keep(&s->writer, s->order.file, (size_t)s->job->checkpoint.keep);
    tw_checkpoint_writer_tell(&s->writer);
}

static void on_input(void *context, const struct tw_sequencer_event *input, uint64_t now_ns) {
    struct simulating *s = context;
    if (s->has_order)
        tw_trace_input(&s->trace, input, now_ns);
}

static void on_served(void *context, uint32_t rank, uint64_t position, uint64_t now_ns) {
    struct simulating *s = context;
    if (s->has_order)
        tw_trace_served(&s->trace, rank, position, now_ns);
}

static struct tw_report report_of(const struct simulating *s, enum tw_report_kind kind) {
    struct tw_stretch total = tw_sequencer_total(sequencer(s));
    struct tw_stretch stretch = tw_sequencer_stretch(sequencer(s));
    double passed = seconds_at(s, tw_world_now_ns(s->world));
    uint64_t n = s->server.train_samples;
    return (struct tw_report){
        .kind = kind,
        .updates = tw_sequencer_version(sequencer(s)),
        .samples = total.examples,
        .samples_total = tw_server_samples_total(&s->server),
        .epoch = n ? (double)total.examples / (double)n : 0,
        .seconds = passed,
        .samples_per_second = passed > 0 ? (double)total.examples / passed : 0,
        .train_loss = stretch.examples ? stretch.loss / (double)stretch.examples
                                       : s->counts.borders.train_loss,
        .train_accuracy = s->counts.borders.train_accuracy,
        .test_loss = (double)NAN,
        .test_accuracy = (double)NAN,
        .staleness_mean = (double)NAN,
    };
}

static void tell_complete_borders(struct simulating *s) {
    struct tw_border border;
    while (tw_borders_next(&s->counts.borders, &border)) {
        struct tw_report report = tw_border_report(&border);
        report.samples_total = tw_server_samples_total(&s->server);
        if (s->has_directory)
            tw_run_directory_add(&s->directory, &border);
        if (s->of->progress)
            tw_progress_report(s->of->progress, &report, tw_now_ms());
    }
}

static void let_go_of_borders(struct simulating *s) {
    tw_borders_let_go(&s->counts.borders);
    tell_complete_borders(s);
}

static void on_border(struct simulating *s, const struct tw_node_event *event, uint64_t now_ns) {
    if (s->counts.borders.holds == TW_HELD_BORDERS)
        let_go_of_borders(s);
    tw_borders_begin(&s->counts.borders, event, s->server.train_samples, seconds_at(s, now_ns));
    tell_complete_borders(s);
}

static void on_evaluated(struct simulating *s, const struct tw_node_event *event) {
    tw_borders_evaluated(&s->counts.borders, event);
    tell_complete_borders(s);
}

static void on_event(void *context, const struct tw_node_event *event, uint64_t now_ns) {
    struct simulating *s = context;
    if (s->has_order)
        tw_trace_event(&s->trace, event, now_ns);
    switch (event->kind) {
    case TW_EVENT_STARTED: /* once more where the run was begun again: its seconds go on */
        s->started_ns = s->started ? s->started_ns : now_ns;
        s->started = true;
        break;
    case TW_EVENT_BORDER:
        on_border(s, event, now_ns);
        break;
    case TW_EVENT_EVALUATED:
        on_evaluated(s, event);
        break;
    case TW_EVENT_EVICTED:
        s->evicted++;
        break;
    case TW_EVENT_VERDICT:
        if (event->verdict.on == TW_VERDICT_END)
            snprintf(s->result->stopped, sizeof s->result->stopped, "%s",
                     tw_stop_name(event->verdict.stop));
        break;
    default:
        break;
    }
}

static void note_unwritten(struct simulating *s, const struct tw_error *failure) {
    if (s->unwritten.status == TW_OK)
        s->unwritten = *failure;
}

/* What `talweg run --resume` does to the files of a run; but times go on. */
static enum tw_status open_again(struct simulating *s, uint32_t generation, uint64_t version,
                                 struct tw_error *error) {
    const char *out = s->of->out;
    tw_checkpoint_writer_give_up(&s->writer);
    tw_run_directory_close(&s->directory);
    tw_trace_close(&s->trace);
    note_unwritten(s, &s->directory.failed);
    note_unwritten(s, &s->trace.writer.failed);
    enum tw_status status = tw_run_directory_open(&s->directory, out, (int64_t)version, error);
    if (status == TW_OK)
        status = tw_trace_put_by(out, generation - 1, error);
    return status == TW_OK ? tw_trace_open(&s->trace, s->job, tw_sequencer_config_of(sequencer(s)),
                                           out, 0, error)
                           : status;
}

static void tell_again(const struct simulating *s, const struct tw_sequencer_snapshot *from,
                       uint32_t generation) {
    struct tw_report report = {.kind = TW_REPORT_RESUMED};
    if (from->position)
        snprintf(report.text, sizeof report.text,
                 "going on from the checkpoint after update %" PRIu64 " (generation %u)",
                 from->version, generation);
    else
        snprintf(report.text, sizeof report.text,
                 "no checkpoint was taken: beginning again from the start (generation %u)",
                 generation);
    if (s->of->progress)
        tw_progress_report(s->of->progress, &report, tw_now_ms());
}

static void on_again(void *context, const struct tw_sequencer_snapshot *from, uint32_t generation,
                     uint64_t now_ns) {
    struct simulating *s = context;
    struct tw_borders *borders = &s->counts.borders;
    take_back_counts(s, from->position);
    borders->holds = 0; /* nobody evaluates those any more */
    borders->samples = from->total.examples - from->stretch.examples;
    s->evicted = 0;
    s->result->stopped[0] = '\0';
    tell_again(s, from, generation);
    if (s->has_order && s->failed.status == TW_OK)
        open_again(s, generation, from->version, &s->failed);
}

static bool stops(void *context) {
    struct simulating *s = context;
    if (s->failed.status != TW_OK || s->order.failed.status != TW_OK)
        return true;
    double now = s->of->progress && ++s->looks % LOOKS == 0 ? wall_s() : 0;
    if (now - s->told_s > PROGRESS_S) {
        struct tw_report report = report_of(s, TW_REPORT_PROGRESS);
        s->told_s = now;
        tw_progress_report(s->of->progress, &report, tw_now_ms());
    }
    return *s->of->stop != 0;
}

/* ---- set-up ---- */

static enum tw_status load_data(struct simulating *s, struct tw_error *error) {
    if (!s->job->has_train)
        return TW_OK;
    struct tw_data_needs needs = tw_model_needs(s->of->checked->model);
    return tw_datasets_open(&s->data, s->job, &needs, TW_WANT_TRAIN | TW_WANT_TEST, error);
}

static enum tw_status make_workers(struct simulating *s, struct tw_error *error) {
    const struct tw_checked_job *checked = s->of->checked;
    struct tw_shares_config config = {
        .model = checked->model,
        .data = tw_datasets_train(&s->data),
        .augment = tw_augment_of(s->job),
        .shard = s->job->shard,
        .seeds = s->job->seeds,
        .batch = tw_job_batch(s->job),
        .width = (uint32_t)(s->job->slots / s->job->workers),
        .slots = (uint32_t)s->job->slots,
        .parts = (uint32_t)s->job->accumulate,
        .local = s->job->local,
    };
    static const float *none[TW_TENSORS_MAX]; /* bound to a worker's before each step */
    config.weights = none;
    if (config.batch < config.slots)
        return tw_job_error(error, s->job->model.where, "batch",
                            "%lld examples cannot be split over %u slots", (long long)config.batch,
                            config.slots);
    enum tw_status status = tw_shares_new(&s->shares, &config, error);
    if (status == TW_OK && s->data.test)
        status = tw_scorer_init(&s->scorer, checked->model, s->data.test, error);
    return status;
}

static enum tw_status make_world(struct simulating *s, struct tw_error *error) {
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
        .measures = of->out && s->job->trace.on,
        .local_steps = s->job->local.steps,
        .checkpoint_seconds = s->job->checkpoint.seconds,
        .program = {.context = s,
                    .gradient = gradient,
                    .evaluate = evaluate,
                    .begins = begins,
                    .record = on_record,
                    .event = on_event,
                    .checkpoint = on_checkpoint,
                    .saves = on_saves,
                    .input = on_input,
                    .served = on_served,
                    .again = on_again,
                    .stops = stops},
    };
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

static enum tw_status open_writer(struct simulating *s, struct tw_error *error) {
    static const uint8_t id[TW_JOB_ID_BYTES];
    const struct tw_checkpoint_of of = {
        .run = s->of->out,
        .layout = &s->plan.layout,
        .arrays = tw_shard_arrays_of(tw_node_shard(tw_world_lead(s->world))),
        .workers = (uint32_t)s->job->workers,
        .digest = s->digest,
        .id = id,
    };
    return tw_checkpoint_writer_init(&s->writer, &of, error);
}

static enum tw_status open_directory(struct simulating *s, struct tw_error *error) {
    const char *out = s->of->out;
    if (!out)
        return TW_OK;
    uint32_t width = (uint32_t)(s->job->slots / s->job->workers);
    enum tw_status status = tw_run_directory_open(&s->directory, out, -1, error);
    s->has_directory = status == TW_OK;
    if (status == TW_OK)
        status = tw_order_writer_open(&s->order, out, width, -1, error);
    s->has_order = status == TW_OK;
    if (status == TW_OK)
        status = open_writer(s, error);
    return status == TW_OK ? tw_trace_open(&s->trace, s->job, tw_sequencer_config_of(sequencer(s)),
                                           out, 0, error)
                           : status;
}

static enum tw_status set_up(struct simulating *s, struct tw_error *error) {
    enum tw_status status = load_data(s, error);
    if (status == TW_OK)
        status = tw_server_plan_make(&s->plan, s->of->checked, &s->server, error);
    if (status == TW_OK)
        status = make_workers(s, error);
    if (status == TW_OK)
        status = make_world(s, error);
    return status == TW_OK ? open_directory(s, error) : status;
}

static void tear_down(struct simulating *s) {
    tw_checkpoint_writer_fini(&s->writer);
    if (s->has_order)
        tw_order_writer_close(&s->order);
    if (s->has_order)
        tw_trace_close(&s->trace);
    if (s->has_directory)
        tw_run_directory_close(&s->directory);
    tw_world_free(s->world);
    tw_scorer_fini(&s->scorer);
    tw_shares_free(s->shares);
    tw_server_plan_fini(&s->plan);
    tw_datasets_close(&s->data);
}

/* ---- the end ---- */

/* A first failure is the result's. */
static void blame(struct tw_result *result, const struct tw_error *error) {
    if (result->status != TW_OK && result->status != TW_INTERRUPTED)
        return;
    result->status = error->status;
    snprintf(result->error, sizeof result->error, "%s", error->text);
}

static void blame_run(struct simulating *s, const struct tw_error *error) {
    struct tw_error told = *error;
    if (error->status == TW_NOT_FINITE) {
        tw_error_set(&told, TW_NOT_FINITE,
                     "diverged at update %" PRIu64 ": %d in a row were not finite",
                     tw_sequencer_version(sequencer(s)) + 1,
                     s->job->goes_on ? TW_NOT_FINITE_ENOUGH : TW_NOT_FINITE_MAX);
        tw_server_advise(&s->server, sequencer(s), told.text, sizeof told.text);
    }
    if (error->status == TW_INTERRUPTED)
        tw_error_set(&told, TW_INTERRUPTED, "stopped by a signal");
    blame(s->result, &told);
}

/* As the last entry of the trace has it. */
static struct tw_sample hash_of(const struct simulating *s, const float *weights) {
    const struct tw_tensor_list *list = &s->of->checked->model->list;
    struct tw_sample sample = {.version = tw_sequencer_version(sequencer(s)), .hashed = true};
    for (int i = 0; i < list->count; i++) {
        size_t count = (size_t)list->tensors[i].elements;
        tw_sample_hash(&sample, (uint32_t)i, 0, weights, count);
        weights += count;
    }
    return sample;
}

/* To the run directory, or only to their SHA-256. */
static enum tw_status save(struct simulating *s, struct tw_error *error) {
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

static void add_counts(struct simulating *s, struct tw_simulated *simulated) {
    double contributions = (double)tw_sequencer_total(sequencer(s)).contributions;
    struct tw_result *result = s->result;
    tw_borders_result(&s->counts.borders, sequencer(s), seconds_at(s, tw_world_now_ns(s->world)),
                      result);
    result->evicted = s->evicted;
    double mean = result->staleness_mean;
    simulated->staleness_variance =
        contributions > 0 ? s->counts.staleness_squares / contributions - mean * mean : 0;
}

static void write_end(struct simulating *s) {
    struct tw_error error;
    let_go_of_borders(s);
    if (!tw_world_is_broken(s->world) && save(s, &error))
        blame(s->result, &error);
    if (tw_sequencer_check_staleness(sequencer(s), &error) ||
        tw_world_check_staleness(s->world, &error))
        blame(s->result, &error);
    if (!s->has_order)
        return;
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
    struct simulating s = {
        .of = simulation,
        .job = simulation->checked->job,
        .server = tw_server_config_of(simulation->checked),
        .directory = {.metrics = -1},
        .order = {.file = -1},
        .start_s = wall_s(),
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
        s.start_s = wall_s();
        if (tw_world_run(s.world, &error))
            blame_run(&s, &error);
        simulated->wall_seconds = wall_s() - s.start_s;
        simulated->events = tw_world_events(s.world);
        summary->counted = true;
        add_counts(&s, simulated);
        write_end(&s);
    }
    tear_down(&s);
    return s.result->status;
}
