#include "cli/job_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/layout.h"
#include "server/core/memory_plan.h"
#include "worker/data/datasets.h"
#include "worker/data/sampler.h"

static const struct tw_option_rule *rules_of(const char *path, const char *name, int *count) {
    *count = 0;
    if (strcmp(path, "optimizer") == 0) {
        for (int i = 0; i < tw_optimizer_count; i++) {
            if (strcmp(tw_optimizers[i]->name, name) == 0) {
                *count = tw_optimizers[i]->rule_count;
                return tw_optimizers[i]->rules;
            }
        }
        return NULL;
    }
    const struct tw_correction *correction =
        strncmp(path, "corrections", strlen("corrections")) == 0 ? tw_correction_named(name) : NULL;
    if (correction) {
        *count = correction->rule_count;
        return correction->rules;
    }
    if (strncmp(path, "schedule", strlen("schedule")) == 0)
        return tw_schedule_rules(name, count);
    if (strncmp(path, "data.", 5) == 0)
        return tw_dataset_rules(path, name, count);
    return tw_model_rules(path, name, count);
}

static const struct tw_rule_book rule_book = {rules_of};

/* Reads all data only to know that it is whole and fits the model. Training data is what the job
 * says it is; a job that says nothing learns it here. */
static enum tw_status read_data(struct tw_checked_job *checked, enum tw_check_data data,
                                struct tw_error *error) {
    struct tw_job *job = checked->job;
    struct tw_data_needs needs = tw_model_needs(checked->model);
    struct tw_datasets datasets;
    unsigned wanted = data == TW_CHECK_ALL ? TW_WANT_TEST | TW_WANT_SHA256 : TW_WANT_SHA256;
    bool own = job->shard == TW_SHARD_OWN;
    if (own && job->samples && data == TW_CHECK_TRAIN)
        wanted = 0; /* the workers' files are elsewhere, perhaps */
    enum tw_status status = tw_datasets_open(&datasets, job, &needs, wanted, error);
    if (status)
        return status;
    checked->train_samples = datasets.train_samples;
    if (own)
        job->samples = (int64_t)datasets.train_samples;
    if (wanted & TW_WANT_SHA256)
        memcpy(job->data_sha256, datasets.sha256, sizeof job->data_sha256);
    tw_datasets_close(&datasets);
    return TW_OK;
}

static enum tw_status check_data(struct tw_checked_job *checked, enum tw_check_data data,
                                 struct tw_error *error) {
    const struct tw_job *job = checked->job;
    struct tw_where where = {job->path, 0};
    if (!job->has_train || data == TW_CHECK_NO_DATA)
        return TW_OK;
    enum tw_status status = read_data(checked, data, error);
    if (status)
        return status;
    uint64_t samples = checked->train_samples;
    if (job->slots_given && samples < (uint64_t)job->slots)
        return tw_job_error(error, job->slots_where, "slots",
                            "%d slots but only %" PRIu64 " training samples: each slot needs at "
                            "least one",
                            job->slots, samples);
    if (samples < (uint64_t)job->workers)
        return tw_job_error(error, where, "cluster.workers",
                            "%d workers but only %" PRIu64 " training samples: at most %" PRIu64
                            " workers would each have one",
                            job->workers, samples, samples);
    if (samples < (uint64_t)job->batch)
        return tw_job_error(error, where, "batch",
                            "%" PRId64 " examples of each update, but only %" PRIu64
                            " training samples; at most %" PRIu64 ", all of them, would be right",
                            job->batch, samples, samples);
    return TW_OK;
}

static enum tw_status check_slots(const struct tw_job *job, const struct tw_dial *dial,
                                  struct tw_error *error) {
    if (job->slots == job->workers || dial->members_known)
        return TW_OK;
    return tw_job_error(error, job->slots_where, "slots",
                        "%d slots of %d workers are for consistency.mode: sync, and the mode "
                        "is \"%s\"; take slots out, or change the mode",
                        job->slots, job->workers, dial->word);
}

/* The rate of local steps is the rule's where that makes an update their mean. */
static enum tw_status find_local_rate(struct tw_checked_job *checked, struct tw_error *error) {
    struct tw_job *job = checked->job;
    if ((job->local.steps == 1 && job->local.rho == 0) || job->local_rate_given)
        return TW_OK;
    bool plain = strcmp(checked->optimizer->name, "sgd") == 0 && !job->schedule.name;
    if (!plain)
        return tw_job_error(error, job->local_where, "local_steps.lr",
                            "missing; only with optimizer sgd and no schedule it is "
                            "optimizer.lr. Write {steps: %u, lr: ...}",
                            job->local.steps);
    job->local.rate = checked->optimizer_options.lr;
    return TW_OK;
}

/* Of every part of every slot; the last has no more rows than the others. */
static enum tw_status check_rows(const struct tw_checked_job *checked, struct tw_error *error) {
    const struct tw_job *job = checked->job;
    const struct tw_model *model = checked->model;
    int layer, least = tw_model_least_rows(model, &layer);
    uint32_t slots = (uint32_t)job->slots, parts = (uint32_t)job->accumulate;
    uint32_t share = tw_sampler_share(tw_job_batch(job), slots, slots - 1);
    uint32_t rows = tw_sampler_share(share, parts, parts - 1);
    if (rows >= (uint32_t)least)
        return TW_OK;
    if (parts > 1)
        return tw_job_error(error, job->accumulate_where, "accumulate",
                            "model.layers[%d], %s, takes at least %d examples at once, but %u "
                            "parts of %u examples have %u; fewer parts, or a batch of at least "
                            "%" PRId64 ", would be right",
                            layer, model->layers[layer].kind->name, least, parts, share, rows,
                            (int64_t)least * parts * slots);
    return tw_job_error(error, job->model.where, "batch",
                        "model.layers[%d], %s, takes at least %d examples of each slot, but "
                        "%" PRId64 " over %d slots leave %u; at least %d would be right",
                        layer, model->layers[layer].kind->name, least, tw_job_batch(job),
                        job->slots, rows, least * job->slots);
}

/* Elastic averaging: a step that was made is never thrown away. */
#define NEVER_TAKEN_BACK                                                                           \
    "what a slot has done by itself cannot be taken back. Use sync, async, ssp:S, k-async:K, "     \
    "k-batch-async:K, softsync:M, stale-uniform:B or stale-geometric:M"

static enum tw_status check_elastic(const struct tw_job *job, const struct tw_dial *dial,
                                    struct tw_error *error) {
    if (job->local.rho == 0 || dial->late == TW_LATE_USE)
        return TW_OK;
    return tw_job_error(error, job->local_where, "local_steps.rho",
                        "the mode is \"%s\", which drops late steps; " NEVER_TAKEN_BACK,
                        dial->word);
}

static enum tw_status check_turn(const struct tw_job *job, int index, const struct tw_dial *before,
                                 struct tw_dial_turn *out, struct tw_error *error) {
    const struct tw_job_turn *turn = &job->turns[index];
    char key[48];
    snprintf(key, sizeof key, "consistency.turns[%d].mode", index);
    out->update = (uint64_t)turn->update;
    enum tw_status status =
        tw_dial_parse_at(turn->mode, turn->where, key, job->workers, &out->dial, error);
    if (!status && strcmp(out->dial.word, before->word) == 0)
        return tw_job_error(error, turn->where, key,
                            "\"%s\" is the mode already; take this turn out, or write another",
                            before->word);
    if (!status && out->dial.on_arrival != before->on_arrival)
        return tw_job_error(
            error, turn->where, key,
            "a run is in mode hogwild from its start to its end, or never: it has no "
            "whole versions to turn at; take this turn out, or write async");
    return status ? status : check_slots(job, &out->dial, error);
}

static enum tw_status check_turns(struct tw_checked_job *checked, struct tw_error *error) {
    const struct tw_job *job = checked->job;
    const struct tw_dial *before = &checked->dial;
    enum tw_status status = TW_OK;
    checked->turns = calloc((size_t)job->turn_count + 1, sizeof *checked->turns);
    if (!checked->turns)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (int i = 0; i < job->turn_count && !status; i++) {
        status = check_turn(job, i, before, &checked->turns[i], error);
        before = &checked->turns[i].dial;
        checked->turn_count++;
    }
    return status;
}

/* What needs the whole gradient of an update before any of it is applied. */
static enum tw_status check_arrival(const struct tw_checked_job *checked, struct tw_error *error) {
    const struct tw_job *job = checked->job;
    struct tw_where where = {job->path, 0};
    const char *word = checked->dial.word;
    if (!checked->dial.on_arrival)
        return TW_OK;
    if (checked->optimizer->ratio)
        return tw_job_error(error, job->optimizer.where, "optimizer.name",
                            "%s measures whole tensors before it changes them, and in mode %s each "
                            "chunk is applied as it comes; take %s, or mode async",
                            checked->optimizer->name, word,
                            strcmp(checked->optimizer->name, "lamb") == 0 ? "adam" : "momentum");
    if (checked->shaping.clip_norm > 0)
        return tw_job_error(
            error, where, "clip.norm",
            "the norm of a gradient is known when all of it is here, and in mode %s "
            "each chunk is applied as it comes; write clip: {value: ...}, or take "
            "mode async",
            word);
    if (job->local.rho != 0)
        return tw_job_error(error, job->local_where, "local_steps.rho",
                            "the mode is \"%s\", where a push may be applied in "
                            "part; " NEVER_TAKEN_BACK,
                            word);
    if (job->correction_count)
        return tw_job_error(
            error, job->corrections[0].where, "corrections",
            "in mode %s the learning rate of a gradient leaves with its weights, before anybody "
            "knows how late it comes; take them out, or take mode async",
            word);
    if (checked->shaping.norm_wanted)
        return tw_job_error(
            error, where, "stop.gradient_norm",
            "the norm of a gradient is known when all of it is here, and in mode %s "
            "each chunk is applied as it comes; take it out, or take mode async",
            word);
    return TW_OK;
}

static enum tw_status find_shaping(struct tw_checked_job *checked, struct tw_error *error) {
    const struct tw_tensor_list *list = &checked->model->list;
    checked->treatment = calloc((size_t)list->count, sizeof *checked->treatment);
    if (!checked->treatment)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    return tw_shaping_find(&checked->shaping, checked->job, checked->optimizer, list,
                           checked->treatment, error);
}

/* That memory.inflight is enough, on every server. */
static enum tw_status check_memory(const struct tw_checked_job *checked, uint32_t chunks,
                                   struct tw_error *error) {
    const struct tw_job *job = checked->job;
    struct tw_memory_plan plan;
    struct tw_layout layout;
    struct tw_chunk *memory = calloc(chunks ? chunks : 1, sizeof *memory);
    if (!memory)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    enum tw_status status = tw_layout_init(&layout, &checked->model->list, job->chunk_bytes,
                                           (uint32_t)job->servers, memory, error);
    if (!status)
        status = tw_memory_plan(job, &layout, 0, &checked->dial, checked->turns,
                                (uint32_t)checked->turn_count, &plan, error);
    free(memory);
    return status;
}

/* What the job says, without touching data; then all defaults are spelled out. */
static enum tw_status check_words(struct tw_checked_job *checked, struct tw_error *error) {
    const struct tw_job *job = checked->job;
    struct tw_where where = {job->path, 0};
    enum tw_status status = tw_model_build(&checked->model, &job->model, error);
    if (status)
        return status;
    status =
        tw_optimizer_find(&checked->optimizer, &checked->optimizer_options, &job->optimizer, error);
    if (status)
        return status;
    status = tw_pace_find(&checked->pace, &job->schedule, &job->schedule_momentum,
                          checked->optimizer, &checked->optimizer_options, job->has_train, error);
    if (status)
        return status;
    if (tw_pace_watches(&checked->pace, TW_WATCH_TEST) && !job->has_test)
        return tw_job_error(error, job->schedule.where, "schedule.watch",
                            "test, but the job has no data.test; give it some, or write watch: "
                            "train");
    status = find_local_rate(checked, error);
    if (!status)
        status = find_shaping(checked, error);
    if (status)
        return status;
    status = tw_dial_parse(job->mode, job->mode_where, job->workers, &checked->dial, error);
    if (!status)
        status = check_slots(job, &checked->dial, error);
    if (!status)
        status = check_elastic(job, &checked->dial, error);
    if (!status)
        status = check_arrival(checked, error);
    if (!status)
        status = check_turns(checked, error);
    if (!status && checked->model->layer_count > 0)
        status = check_rows(checked, error);
    if (status)
        return status;
    uint32_t chunks = tw_layout_count(&checked->model->list, job->chunk_bytes);
    if (chunks && (uint32_t)job->servers > chunks)
        return tw_job_error(error, where, "cluster.servers",
                            "%d servers, but the model has only %u chunks; at most %u servers, or "
                            "a smaller chunk, would be right",
                            job->servers, chunks, chunks);
    status = check_memory(checked, chunks, error);
    return status ? status : tw_job_resolve(checked->job, &rule_book, error);
}

enum tw_status tw_checked_job_initial(struct tw_checked_job *checked, struct tw_error *error) {
    struct tw_job_model *model = &checked->job->model;
    const struct tw_where where = model->init.where;
    struct tw_error why = {.status = TW_OK};
    if (!model->init.file || checked->initial.value) /* it was needed before */
        return TW_OK;
    enum tw_status status = tw_initial_load(&checked->initial, model->init.file,
                                            model->init.pattern, &checked->model->list, &why);
    if (status != TW_OK) {
        tw_job_error(error, where, "model.init", "%s", why.text);
        return error->status = status;
    }
    if (*model->init.sha256 && strcmp(model->init.sha256, checked->initial.sha256) != 0)
        return tw_job_error(error, where, "model.init.sha256",
                            "other weights than the job's: what is in %s has %s", model->init.file,
                            checked->initial.sha256);
    memcpy(model->init.sha256, checked->initial.sha256, sizeof model->init.sha256);
    return TW_OK;
}

/* A process that only has to agree on them needs no file. */
static enum tw_status check_initial(struct tw_checked_job *checked, enum tw_check_data data,
                                    struct tw_error *error) {
    bool known = data == TW_CHECK_NO_DATA && *checked->job->model.init.sha256;
    return known ? TW_OK : tw_checked_job_initial(checked, error);
}

enum tw_status tw_checked_job_load(struct tw_checked_job *out, const char *path,
                                   const struct tw_job_setting *settings, int count,
                                   enum tw_check_data data, struct tw_error *error) {
    memset(out, 0, sizeof *out);
    enum tw_status status = tw_job_load(&out->job, path, settings, count, error);
    if (!status)
        status = check_words(out, error);
    if (!status)
        status = check_initial(out, data, error);
    if (!status)
        status = check_data(out, data, error);
    out->pace.epoch_samples = out->train_samples;
    if (status)
        tw_checked_job_fini(out);
    return status;
}

void tw_checked_job_fini(struct tw_checked_job *checked) {
    free(checked->treatment);
    tw_initial_fini(&checked->initial);
    tw_model_free(checked->model);
    free(checked->turns);
    if (checked->job)
        tw_job_free(checked->job);
    memset(checked, 0, sizeof *checked);
}
