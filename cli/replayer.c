#include "cli/replayer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/trace_file.h"
#include "common/base/denormals.h"
#include "common/tensor/safetensors.h"
#include "server/io/run_directory.h"
#include "sim/replay.h"
#include "worker/data/datasets.h"
#include "worker/io/score.h"
#include "worker/nn/gemm.h"

#define PROGRESS_S 0.1

/* What a replay has while it runs; all of it is zero until it is made. */
struct replaying {
    const struct tw_replayer *replayer;
    struct tw_datasets data;
    struct tw_replay *replay;
    char numerics[TW_NUMERICS_MAX + 1];
    struct tw_run_directory directory;
    double start_s, evaluation_s; /* the clock does not run while it evaluates */
    double border_seconds, told_seconds;
    uint64_t borders, border_samples, border_dropped;
    uint64_t border_not_finite, scored_version;
    struct tw_scorer scorer;
    struct tw_metric_values test; /* of scored_version; NaN: none */
    double ratio[TW_TENSORS_MAX]; /* |change| / |weights| of each, after the update */
    uint64_t ratio_version, told_ratio_version;
    struct tw_result *result;
    struct tw_trace_file trace;
    bool compares;               /* there is more of the trace */
    bool has_entry;              /* read, and of an update that is still to come: */
    struct tw_trace_entry entry; /* a HASH or SUMS */
    struct tw_error trace_error; /* why there is no more of it; TW_OK: it was read to its end */
};

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double seconds(const struct replaying *r) {
    return now_s() - r->start_s - r->evaluation_s;
}

/* Samples of an epoch; 0: there are no epochs. */
static uint64_t epoch_samples(const struct replaying *r) {
    return r->data.train_samples;
}

static uint64_t end_samples(const struct replaying *r) {
    double samples = ceil(r->replayer->checked->job->epochs * (double)epoch_samples(r));
    return samples >= 1 ? (uint64_t)samples : 0;
}

/* ---- set-up ---- */

static enum tw_status load_data(struct replaying *r, struct tw_error *error) {
    const struct tw_job *job = r->replayer->checked->job;
    if (!job->has_train)
        return TW_OK;
    struct tw_data_needs needs = tw_model_needs(r->replayer->checked->model);
    unsigned wanted = TW_WANT_TRAIN | TW_WANT_TEST | (r->replayer->inexact ? TW_WANT_ANY : 0);
    return tw_datasets_open(&r->data, job, &needs, wanted, error);
}

static enum tw_status make_replay(struct replaying *r, struct tw_error *error) {
    const struct tw_replayer *replayer = r->replayer;
    const struct tw_job *job = replayer->checked->job;
    struct tw_replay_config config = {
        .model = replayer->checked->model,
        .train = tw_datasets_train(&r->data),
        .epoch_samples = epoch_samples(r),
        .shard = job->shard,
        .batch = tw_job_batch(job),
        .seeds = job->seeds,
        .initial = replayer->checked->initial.value,
        .augment = tw_augment_of(job),
        .push = job->encoding.push,
        .pull = job->encoding.pull,
        .slots = (uint32_t)job->slots,
        .width = (uint32_t)(job->slots / job->workers),
        .parts = (uint32_t)job->accumulate,
        .local = job->local,
        .end_samples = end_samples(r),
        .end_updates = (uint64_t)job->updates,
        .optimizer = replayer->checked->optimizer,
        .options = replayer->checked->optimizer_options,
        .pace = replayer->checked->pace,
        .shaping = replayer->checked->shaping,
        .end = tw_judge_of_end(job),
        .sums_every = job->trace.on ? (uint64_t)job->trace.sums_every : 0,
        .own_scalars = replayer->own_scalars,
        .fresh = replayer->fresh,
        .changed = replayer->changed,
        .numerics = tw_numerics_id(r->numerics),
        .inexact = replayer->inexact,
    };
    config.pace.epoch_samples = epoch_samples(r);
    return tw_replay_new(&r->replay, &config, error);
}

/* What is compared from here on. A run without a trace, or with one that cannot be read, is
 * replayed all the same. */
static void open_trace(struct replaying *r, uint32_t generation) {
    const struct tw_replayer *replayer = r->replayer;
    if (replayer->changed || replayer->inexact)
        return;
    tw_trace_file_close(&r->trace);
    r->has_entry = false;
    r->trace_error.status = TW_OK;
    r->compares = tw_trace_file_open_of(&r->trace, replayer->run, generation,
                                        replayer->history->generation, &r->trace_error) == TW_OK;
}

static enum tw_status set_up(struct replaying *r, struct tw_error *error) {
    enum tw_status status = load_data(r, error);
    open_trace(r, 0);
    if (status == TW_OK)
        status = make_replay(r, error);
    if (status == TW_OK && r->replayer->out)
        status = tw_run_directory_open(&r->directory, r->replayer->out, -1, error);
    return status;
}

static void tear_down(struct replaying *r) {
    tw_trace_file_close(&r->trace);
    if (r->replayer->out)
        tw_run_directory_close(&r->directory);
    tw_replay_free(r->replay);
    tw_scorer_fini(&r->scorer);
    tw_datasets_close(&r->data);
}

/* ---- on the way ---- */

/* Scores the weights of this version, once. */
static enum tw_status evaluate(struct replaying *r, struct tw_error *error) {
    const struct tw_replay_total *total = tw_replay_total(r->replay);
    double before = now_s();
    enum tw_status status = TW_OK;
    if (!r->data.test || (r->scored_version == total->version && !isnan(r->test.loss)))
        return TW_OK;
    if (!r->scorer.net)
        status = tw_scorer_init(&r->scorer, r->replayer->checked->model, r->data.test, error);
    if (status != TW_OK)
        return status;
    r->scored_version = total->version;
    r->test = tw_scorer_run(&r->scorer, tw_replay_evaluated(r->replay));
    r->evaluation_s += now_s() - before;
    return TW_OK;
}

static struct tw_report report_of(const struct replaying *r, enum tw_report_kind kind) {
    const struct tw_replay_total *total = tw_replay_total(r->replay);
    double passed = seconds(r);
    return (struct tw_report){
        .kind = kind,
        .updates = total->version,
        .samples = total->samples,
        .samples_total = end_samples(r),
        .epoch = epoch_samples(r) ? (double)total->samples / (double)epoch_samples(r) : 0,
        .seconds = passed,
        .samples_per_second = passed > 0 ? (double)total->samples / passed : 0,
        .train_loss = total->train_loss,
        .train_accuracy = total->train_accuracy,
        .test_loss = (double)NAN,
        .test_accuracy = (double)NAN,
        .staleness_mean = total->border_staleness,
    };
}

/* As a server, which knows of an update what it amounts to when the next one comes. */
static void take_ratios(struct replaying *r) {
    uint64_t version;
    const struct tw_tensor_squares *change = tw_replay_change(r->replay, &version);
    if (version == r->ratio_version)
        return;
    r->ratio_version = version;
    for (int t = 0; t < r->replayer->checked->model->list.count; t++)
        r->ratio[t] = tw_tensor_squares_ratio(&change[t]);
}

static void add_ratios(struct replaying *r, struct tw_border *border) {
    if (r->ratio_version == r->told_ratio_version)
        return;
    r->told_ratio_version = r->ratio_version;
    border->tensors = &r->replayer->checked->model->list;
    border->update_ratio = r->ratio;
    border->update_ratio_at = r->ratio_version;
}

/* An epoch is over. With a directory to write it is scored as in the run; else only the last
 * weights are, which saves the time. */
static enum tw_status tell_border(struct replaying *r, struct tw_error *error) {
    const struct tw_replay_total *total = tw_replay_total(r->replay);
    enum tw_status status = r->replayer->out ? evaluate(r, error) : TW_OK;
    if (status != TW_OK)
        return status;
    struct tw_report report = report_of(r, TW_REPORT_EPOCH);
    bool scored = r->scored_version == total->version;
    report.test_loss = scored ? r->test.loss : (double)NAN;
    report.test_accuracy = scored ? r->test.accuracy : (double)NAN;
    tw_progress_report(r->replayer->progress, &report, tw_now_ms());
    if (r->replayer->out) {
        double n = (double)epoch_samples(r), since = report.seconds - r->border_seconds;
        double samples = (double)(total->samples - r->border_samples);
        struct tw_border border = {
            .version = total->version,
            .samples = total->samples,
            .epoch = report.epoch,
            .whole = n > 0 && floor(report.epoch) > floor((double)r->border_samples / n),
            .seconds = report.seconds,
            .samples_per_second = since > 0 ? samples / since : (double)NAN,
            .lr = total->rate,
            .train_loss = total->train_loss,
            .train_accuracy = total->train_accuracy,
            .test = scored ? r->test : tw_metric_values_none(),
            .staleness_mean = total->border_staleness,
            .staleness_max = total->border_staleness_max,
            .dropped = total->dropped - r->border_dropped,
            .not_finite = total->not_finite - r->border_not_finite,
        };
        add_ratios(r, &border);
        tw_run_directory_add(&r->directory, &border);
    }
    r->borders = total->borders;
    r->border_seconds = report.seconds;
    r->border_samples = total->samples;
    r->border_dropped = total->dropped;
    r->border_not_finite = total->not_finite;
    return TW_OK;
}

static enum tw_status look(struct replaying *r, struct tw_error *error) {
    if (seconds(r) - r->told_seconds > PROGRESS_S) {
        struct tw_report report = report_of(r, TW_REPORT_PROGRESS);
        r->told_seconds = report.seconds;
        tw_progress_report(r->replayer->progress, &report, tw_now_ms());
    }
    return *r->replayer->stop ? tw_error_set(error, TW_INTERRUPTED, "stopped by a signal") : TW_OK;
}

/* An update more than the job wants now. */
static bool is_beyond(const struct replaying *r, const struct tw_record *record) {
    uint64_t updates = (uint64_t)r->replayer->checked->job->updates;
    return record->kind == TW_RECORD_COMMIT && updates && record->version > updates;
}

/* A border that was passed is told; what the update left behind counts with it. */
static enum tw_status tell_passed_border(struct replaying *r, const struct tw_record *next,
                                         struct tw_error *error) {
    bool passed = tw_replay_total(r->replay)->borders != r->borders;
    return passed && !(next && next->kind == TW_RECORD_DROP) ? tell_border(r, error) : TW_OK;
}

/* ---- what the trace says ---- */

/* The next HASH or SUMS is in r->entry. */
static bool read_entry(struct replaying *r) {
    while (r->compares && !r->has_entry) {
        enum tw_status status = tw_trace_file_next(&r->trace, &r->entry, &r->trace_error);
        r->compares = status == TW_OK;
        if (status == TW_CLOSED)
            r->trace_error.status = TW_OK;
        r->has_entry =
            r->compares && (r->entry.kind == TW_TRACE_HASH || r->entry.kind == TW_TRACE_SUMS);
    }
    return r->has_entry;
}

static uint64_t version_of(const struct tw_trace_entry *entry) {
    return entry->kind == TW_TRACE_HASH ? entry->hash.version : entry->sums.version;
}

static void note_expected(struct tw_replay_expected *expected, const struct tw_trace_entry *entry) {
    if (entry->kind == TW_TRACE_HASH) {
        expected->hashed = true;
        expected->hash = entry->hash.hash;
        return;
    }
    expected->summed = true;
    expected->gradient = entry->sums.gradient;
    expected->update = entry->sums.update;
    expected->weights = entry->sums.weights;
}

/* All that the trace has of this update, which comes next. */
static void expect(struct replaying *r, uint64_t version) {
    struct tw_replay_expected expected = {.version = version};
    while (read_entry(r) && version_of(&r->entry) <= version) {
        if (version_of(&r->entry) == version)
            note_expected(&expected, &r->entry);
        r->has_entry = false;
    }
    if (expected.hashed || expected.summed)
        tw_replay_expect(r->replay, &expected);
}

static void tell_trace(struct replaying *r) {
    const struct tw_replay_total *total = tw_replay_total(r->replay);
    struct tw_text line = {0};
    if (total->checked > 0) {
        tw_text_add(&line,
                    "hashes and sums of the weights of %" PRIu64
                    " updates are as recorded; the last was update %" PRIu64,
                    total->checked, total->checked_version);
        tw_progress_text(r->replayer->progress, TW_TONE_GOOD, &line);
    }
    if (r->trace_error.status == TW_OK)
        return;
    line = (struct tw_text){0};
    tw_text_add(&line, "%s: the weights on the way cannot be compared%s", r->trace_error.text,
                total->checked ? " any further" : "");
    tw_progress_text(r->replayer->progress, TW_TONE_CARE, &line);
}

static enum tw_status feed_record(struct replaying *r, const struct tw_record *record,
                                  struct tw_error *error) {
    enum tw_status status = tell_passed_border(r, record, error);
    if (status != TW_OK)
        return status;
    if (record->kind == TW_RECORD_COMMIT) {
        take_ratios(r);
        expect(r, record->version);
    }
    if (record->kind == TW_RECORD_ROLLBACK)
        open_trace(r, record->generation);
    status = tw_replay_record(r->replay, record, error);
    if (status != TW_OK)
        return tw_error_wrap(error, "%s", r->replayer->log->file.path);
    return look(r, error);
}

/* To the end of the log: TW_OK, or why it ended before. */
static enum tw_status feed(struct replaying *r, struct tw_error *error) {
    struct tw_record record;
    enum tw_status status = TW_OK;
    while (status == TW_OK) {
        status = tw_log_history_next(r->replayer->history, r->replayer->log, &record, error);
        if (status == TW_CLOSED || (status == TW_OK && is_beyond(r, &record)))
            return tell_passed_border(r, NULL, error);
        if (status == TW_OK)
            status = feed_record(r, &record, error);
    }
    return status;
}

/* ---- the end ---- */

static enum tw_status save(struct replaying *r, struct tw_error *error) {
    struct tw_result *result = r->result;
    const char *path = r->replayer->out ? r->directory.model_path : NULL;
    const char *ema = r->replayer->out ? r->directory.ema_path : NULL;
    const float *average = tw_replay_average(r->replay);
    const struct tw_tensor_list *list = &r->replayer->checked->model->list;
    size_t elements = tw_replay_elements(r->replay);
    enum tw_status status = tw_safetensors_save(path, list, tw_replay_weights(r->replay), elements,
                                                result->model_sha256, error);
    if (status == TW_OK)
        snprintf(result->model, sizeof result->model, "%s", path ? path : "");
    if (status == TW_OK && average)
        status = tw_safetensors_save(ema, list, average, elements, result->model_ema_sha256, error);
    if (status == TW_OK && average)
        snprintf(result->model_ema, sizeof result->model_ema, "%s", ema ? ema : "");
    return status;
}

static void add_counts(struct replaying *r) {
    const struct tw_replay_total *total = tw_replay_total(r->replay);
    struct tw_result *result = r->result;
    bool scored = r->scored_version == total->version;
    result->updates = total->version;
    result->samples = total->samples;
    result->samples_per_second = result->seconds > 0 ? (double)total->samples / result->seconds : 0;
    result->train_loss = total->train_loss;
    if (isnan(result->train_loss) && total->samples)
        result->train_loss = total->loss / (double)total->samples;
    result->train_accuracy = total->train_accuracy;
    const struct tw_train_data data = tw_datasets_train(&r->data);
    const struct tw_dataset *train = tw_train_data_any(&data);
    if (isnan(result->train_accuracy) && total->samples && train && !train->outputs)
        result->train_accuracy = (double)total->correct / (double)total->samples;
    result->test_loss = scored ? r->test.loss : (double)NAN;
    result->test_accuracy = scored ? r->test.accuracy : (double)NAN;
    result->staleness_mean =
        total->contributions ? (double)total->staleness_sum / (double)total->contributions : 0;
    result->staleness_max = total->staleness_max;
    result->dropped = total->dropped;
    result->not_finite = total->not_finite;
    snprintf(result->stopped, sizeof result->stopped, "%s",
             tw_stop_name(total->verdict[TW_VERDICT_END].stop));
}

/* A first failure is the result's. */
static void blame(struct tw_result *result, const struct tw_error *error) {
    if (result->status != TW_OK && result->status != TW_INTERRUPTED)
        return;
    result->status = error->status;
    snprintf(result->error, sizeof result->error, "%s", error->text);
}

static void conclude(struct replaying *r) {
    struct tw_error error;
    r->result->seconds = seconds(r);
    tell_trace(r);
    if (evaluate(r, &error))
        blame(r->result, &error);
    add_counts(r);
    if (save(r, &error))
        blame(r->result, &error);
    if (r->replayer->out && r->directory.failed.status != TW_OK)
        blame(r->result, &r->directory.failed);
}

enum tw_status tw_replayer_run(const struct tw_replayer *replayer, struct tw_summary *summary) {
    struct tw_error error;
    struct replaying r = {
        .replayer = replayer,
        .directory = {.metrics = -1},
        .trace = {.file.fd = -1},
        .test = tw_metric_values_none(),
        .result = &summary->result,
    };
    tw_flush_denormals();
    memset(r.result, 0, sizeof *r.result);
    if (set_up(&r, &error)) {
        blame(r.result, &error);
    } else {
        r.start_s = now_s();
        if (feed(&r, &error))
            blame(r.result, &error);
        /* Refused before its first update, it leaves nothing. */
        summary->counted = r.result->status == TW_OK || tw_replay_total(r.replay)->version > 0;
        if (summary->counted)
            conclude(&r);
    }
    tear_down(&r);
    return r.result->status;
}
