#include "worker/io/train.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "worker/data/datasets.h"
#include "worker/io/score.h"
#include "worker/io/shares.h"
#include "worker/io/straggler.h"
#include "worker/io/talweg.h"
#include "worker/nn/gemm.h"

/* Everything that a worker process has. All of it is zero until it is made. */
struct trainee {
    const struct tw_worker_config *config;
    struct tw_model *model;
    struct tw_datasets datasets;
    const struct tw_dataset *data; /* a worker's training data, an evaluator's test data */
    uint64_t epoch_samples;        /* of the training data */
    float *block;                  /* the weights, tensor after tensor */
    const float **weights;         /* [tensors], into the block */
    struct talweg_tensor *tensors;
    unsigned char *statistics; /* [tensors] which of them are */
    struct talweg *talweg;
    struct talweg_place place;
    struct tw_shares *shares; /* a worker's */
    struct tw_scorer scorer;  /* an evaluator's */
    double slowed;            /* how many times as long our steps are made; 0: not */
    uint64_t layer_begun;     /* by tw_straggler_begin(), later by the time that it waited */
    int waiting;              /* what the last wait for weights came to */
    uint64_t computed;        /* steps, to their end */
    uint64_t given_up;        /* steps that were cancelled before that */
};

static void note(const struct trainee *trainee, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(const struct trainee *trainee, const char *format, ...) {
    char line[512];
    va_list arguments;
    if (trainee->config->on_note == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    trainee->config->on_note(trainee->config->context, line);
}

/* ---- before anything is connected ---- */

static enum tw_status check_job(const struct tw_worker_config *config, struct tw_error *error) {
    const struct tw_job *job = config->job;
    if (job->model.own)
        return tw_job_error(error, job->model.where, "model.tensors",
                            "the gradients of this job come from a program of your own (see "
                            "examples/own_gradient.c); `talweg worker` needs model.layers");
    if (config->evaluator && job->model.objective.name)
        return tw_job_error(error, job->model.objective.where, job->model.objective.path,
                            "an objective has no test data to score; start no evaluator");
    if (tw_job_has_data(job) && !job->has_train)
        return tw_job_error(error, job->model.where, "data.train", "missing; a worker needs it");
    if (config->evaluator && !job->has_test)
        return tw_job_error(error, job->model.where, "data.test", "missing; an evaluator needs it");
    return TW_OK;
}

static enum tw_status load_data(struct trainee *trainee, struct tw_error *error) {
    const struct tw_job *job = trainee->config->job;
    bool evaluator = trainee->config->evaluator, own = job->shard == TW_SHARD_OWN;

    if (!job->has_train)
        return TW_OK;
    struct tw_data_needs needs = tw_model_needs(trainee->model);
    unsigned wanted = evaluator ? TW_WANT_TEST : own ? 0 : TW_WANT_TRAIN;
    enum tw_status status =
        tw_datasets_open(&trainee->datasets, job, &needs, TW_WANT_SOON | wanted, error);
    if (status != TW_OK)
        return status;
    trainee->epoch_samples = trainee->datasets.train_samples;
    trainee->data = evaluator ? trainee->datasets.test : trainee->datasets.train;
    if (trainee->data != NULL)
        note(trainee, "%u samples from %s", trainee->data->count, trainee->data->samples_name);
    return TW_OK;
}

/* Files of its own a worker opens when it knows which slots it has. */
static enum tw_status load_own_data(struct trainee *trainee, struct tw_error *error) {
    const struct tw_job *job = trainee->config->job;
    const struct talweg_place *place = &trainee->place;

    if (!job->has_train || job->shard != TW_SHARD_OWN)
        return TW_OK;
    struct tw_data_needs needs = tw_model_needs(trainee->model);
    enum tw_status status =
        tw_datasets_open_own(&trainee->datasets, job, &needs, place->slot, place->width, error);
    for (uint32_t i = 0; status == TW_OK && i < place->width; i++) {
        trainee->data = trainee->datasets.own[i];
        note(trainee, "slot %u: %u samples from %s", place->slot + i, trainee->data->count,
             trainee->data->samples_name);
    }
    return status;
}

static enum tw_status allocate_weights(struct trainee *trainee, struct tw_error *error) {
    const struct tw_tensor_list *list = &trainee->model->list;
    size_t count = (size_t)list->count, elements = 0, at = 0;

    for (int i = 0; i < list->count; i++)
        elements += (size_t)list->tensors[i].elements;
    trainee->block = calloc(elements, sizeof(float));
    trainee->weights = calloc(count, sizeof(float *));
    trainee->tensors = calloc(count, sizeof(struct talweg_tensor));
    trainee->statistics = calloc(count, 1);
    if (trainee->block == NULL || trainee->weights == NULL || trainee->tensors == NULL ||
        trainee->statistics == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for %zu weights", elements);
    for (int i = 0; i < list->count; i++) {
        const struct tw_tensor *tensor = &list->tensors[i];
        trainee->weights[i] = trainee->block + at;
        trainee->tensors[i] = (struct talweg_tensor){
            .name = tensor->name,
            .dims = tensor->dims,
            .shape = tensor->shape,
            .weights = trainee->block + at,
        };
        trainee->statistics[i] = tensor->update != TW_TENSOR_TRAINED;
        at += (size_t)tensor->elements;
    }
    return TW_OK;
}

static enum tw_status prepare(struct trainee *trainee, struct tw_error *error) {
    enum tw_status status = check_job(trainee->config, error);
    if (status == TW_OK)
        status = tw_model_build(&trainee->model, &trainee->config->job->model, error);
    if (status == TW_OK)
        status = load_data(trainee, error);
    if (status == TW_OK)
        status = allocate_weights(trainee, error);
    return status;
}

/* ---- with the servers ---- */

/* What a result of the library is in our words. TALWEG_E_STOP is no error. */
static enum tw_status told(const struct trainee *trainee, int result, struct tw_error *error) {
    static const enum tw_status statuses[] = {
        [TALWEG_OK] = TW_OK,
        [TALWEG_E_STOP] = TW_OK,
        [TALWEG_E_ARGUMENT] = TW_USAGE,
        [TALWEG_E_CONNECT] = TW_UNREACHABLE,
        [TALWEG_E_REFUSED] = TW_UNEXPECTED,
        [TALWEG_E_LOST] = TW_CLOSED,
        [TALWEG_E_FAILED] = TW_STOPPED,
        [TALWEG_E_MEMORY] = TW_NO_MEMORY,
        [TALWEG_E_INTERRUPTED] = TW_INTERRUPTED,
        [TALWEG_E_AGAIN] = TW_STALE,
    };
    if (statuses[result] == TW_OK)
        return TW_OK;
    return tw_error_set(error, statuses[result], "%s", talweg_error(trainee->talweg));
}

static int join(struct trainee *trainee) {
    const struct tw_worker_config *config = trainee->config;
    struct talweg_config ours = TALWEG_CONFIG_INIT;
    char numerics[TW_NUMERICS_MAX + 1];
    uint8_t digest[TW_SHA256_BYTES];

    tw_job_digest(config->job, trainee->epoch_samples, digest);
    ours.server = config->server;
    ours.rank = config->rank;
    ours.evaluator = config->evaluator;
    ours.token = config->token;
    ours.token_bytes = config->token_bytes;
    ours.digest = digest;
    ours.numerics = tw_numerics_id(numerics);
    ours.connect_seconds = config->connect_seconds;
    ours.tensors = trainee->tensors;
    ours.tensor_count = trainee->model->list.count;
    ours.epoch_samples = trainee->epoch_samples;
    ours.statistics = trainee->statistics;
    ours.test_samples = config->evaluator ? trainee->data->count : 0;
    ours.test_valued = config->evaluator && trainee->data->outputs > 0;
    ours.stop_fd = config->stop_fd;
    ours.poll_us = config->job->poll_us > 0 ? config->job->poll_us : -1;
    note(trainee, "connecting to %s", config->server);
    int result = talweg_join(&trainee->talweg, &ours);
    if (result != TALWEG_OK)
        return result;
    trainee->place = talweg_get_place(trainee->talweg);
    if (config->evaluator)
        note(trainee, "joined %s as an evaluator", config->server);
    else
        note(trainee, "joined %s as rank %u of %u, incarnation %u", config->server,
             trainee->place.rank, trainee->place.workers, trainee->place.incarnation);
    return TALWEG_OK;
}

/* ---- a worker ---- */

/* Between two layers: a straggler is made slow here, as a slow machine would be. */
static bool step_is_over(void *context) {
    struct trainee *trainee = context;
    if (trainee->slowed > 0) {
        tw_straggler_wait(trainee->slowed, trainee->layer_begun, trainee->config->stop_fd);
        trainee->layer_begun = tw_straggler_begin();
    }
    return talweg_cancelled(trainee->talweg) != 0;
}

/* Before a layer: waits for its weights. A wait is not made longer by a straggler, who is slow to
 * compute. */
static bool weights_are_there(void *context, int first, int tensors) {
    struct trainee *trainee = context;
    uint64_t begun = trainee->slowed > 0 ? tw_straggler_begin() : 0;
    trainee->waiting = TALWEG_OK;
    for (int i = first; trainee->waiting == TALWEG_OK && i < first + tensors; i++)
        trainee->waiting = talweg_pull_tensor(trainee->talweg, i);
    if (trainee->slowed > 0)
        trainee->layer_begun += tw_straggler_begin() - begun;
    return trainee->waiting == TALWEG_OK;
}

static enum tw_status make_shares(struct trainee *trainee, struct tw_error *error) {
    const struct tw_job *job = trainee->config->job;
    const struct talweg_place *place = &trainee->place;
    struct tw_shares_config config = {
        .model = trainee->model,
        .weights = trainee->weights,
        .data = tw_datasets_train(&trainee->datasets),
        .shard = job->shard,
        .seeds = job->seeds,
        .augment = tw_augment_of(job),
        .batch = tw_job_batch(job),
        .slot = place->slot,
        .width = place->width,
        .slots = place->slots,
        .parts = (uint32_t)job->accumulate,
        .local = job->local,
        .unwanted = step_is_over,
        .there = weights_are_there,
        .context = trainee,
    };
    if (tw_job_batch(job) < place->slots)
        return tw_job_error(error, job->model.where, "batch",
                            "%lld examples cannot be split over %u slots",
                            (long long)tw_job_batch(job), place->slots);
    if (place->width > 1)
        note(trainee, "slots %u to %u of %u are ours", place->slot, place->slot + place->width - 1,
             place->slots);
    if (job->accumulate > 1)
        note(trainee, "each share is computed in %d parts", job->accumulate);
    if (job->local.steps > 1)
        note(trainee, "each slot makes %u steps at a rate of %g between two pushes",
             job->local.steps, job->local.rate);
    return tw_shares_new(&trainee->shares, &config, error);
}

/* Pushes each tensor while the layers before it are still being computed. */
static int push(struct trainee *trainee) {
    struct tw_shares *shares = trainee->shares;
    int first, tensors, result = TALWEG_OK;

    while (tw_shares_next(shares, &first, &tensors)) {
        for (int i = first; result == TALWEG_OK && i < first + tensors; i++)
            result = talweg_push_tensor(trainee->talweg, i, tw_shares_gradient(shares, i));
        if (result != TALWEG_OK)
            return result;
        if (step_is_over(trainee)) {
            trainee->given_up++;
            return TALWEG_OK;
        }
    }
    trainee->computed++;
    if (trainee->data != NULL && trainee->data->outputs == 0)
        result = talweg_push_correct(trainee->talweg, tw_shares_correct(shares));
    if (result != TALWEG_OK)
        return result;
    return talweg_push_end(trainee->talweg, tw_shares_examples(shares), tw_shares_loss(shares));
}

/* Computes and pushes the gradient of a step, or gives it up. */
static enum tw_status compute(struct trainee *trainee, uint64_t step, int *result,
                              struct tw_error *error) {
    trainee->layer_begun = tw_straggler_begin();
    trainee->waiting = TALWEG_OK;
    enum tw_status status = tw_shares_begin(trainee->shares, step, error);
    if (status == TW_OK)
        *result = push(trainee);
    if (status != TW_STALE)
        return status;
    trainee->given_up++;
    if (trainee->waiting != TALWEG_E_AGAIN)
        *result = trainee->waiting;
    return TW_OK;
}

static void slow_down(struct trainee *trainee) {
    const struct tw_straggler *straggler = &trainee->config->straggler;
    if (straggler->factor == 0 || straggler->rank != trainee->place.rank)
        return;
    trainee->slowed = straggler->factor;
    note(trainee, "made slow: every step takes %g times as long", straggler->factor);
}

static enum tw_status train(struct trainee *trainee, struct tw_error *error) {
    enum tw_status status = load_own_data(trainee, error);
    uint64_t step = 0;
    int result = TALWEG_OK;

    if (status == TW_OK)
        status = make_shares(trainee, error);
    slow_down(trainee);
    while (status == TW_OK) {
        result = talweg_pull_begin(trainee->talweg, &step);
        if (result != TALWEG_OK)
            break;
        status = compute(trainee, step, &result, error);
        if (status != TW_OK || result != TALWEG_OK)
            break;
        /* The samples of the next step are known before its weights are. */
        status = tw_shares_ready(trainee->shares, step + 1, error);
    }
    if (status == TW_OK && result == TALWEG_E_STOP)
        note(trainee, "the run is over at step %llu: %llu gradients computed, %llu given up",
             (unsigned long long)step, (unsigned long long)trainee->computed,
             (unsigned long long)trainee->given_up);
    return status == TW_OK ? told(trainee, result, error) : status;
}

/* ---- the evaluator ---- */

/* All of the test data: the numbers themselves. */
static int report_all(struct trainee *trainee) {
    struct tw_metric_values values = tw_scorer_run(&trainee->scorer, trainee->weights);
    note(trainee, "version %llu: test loss %.4f, test accuracy %.4f",
         (unsigned long long)talweg_version(trainee->talweg), values.loss, values.accuracy);
#define X(name) talweg_report_metric(trainee->talweg, #name, values.name);
    TW_METRIC_VALUES_MORE(X)
#undef X
    return talweg_report(trainee->talweg, values.loss, values.accuracy);
}

/* A part of it: what the lead makes them of. */
static enum tw_status report_part(struct trainee *trainee, struct talweg_part part, int *result,
                                  struct tw_error *error) {
    struct tw_scorer *scorer = &trainee->scorer;
    enum tw_status status = tw_scorer_part(scorer, trainee->weights, (uint32_t)part.first,
                                           (uint32_t)part.samples, error);
    if (status != TW_OK)
        return status;
    note(trainee, "version %llu: scored test samples %llu to %llu",
         (unsigned long long)talweg_version(trainee->talweg), (unsigned long long)part.first,
         (unsigned long long)(part.first + part.samples - 1));
    *result =
        talweg_report_part(trainee->talweg, &(struct talweg_tally){
                                                .correct = scorer->metrics.tally.correct,
                                                .among_five = scorer->metrics.tally.among_five,
                                                .loss = scorer->loss,
                                                .fits = scorer->fits,
                                                .scores = scorer->scores,
                                                .fit_bytes = scorer->fit_bytes,
                                                .score_bytes = scorer->score_bytes,
                                            });
    return TW_OK;
}

static enum tw_status evaluate(struct trainee *trainee, struct tw_error *error) {
    enum tw_status status = tw_scorer_init(&trainee->scorer, trainee->model, trainee->data, error);
    uint64_t pull;
    int result = TALWEG_OK;

    while (status == TW_OK && result == TALWEG_OK) {
        result = talweg_pull(trainee->talweg, &pull);
        if (result != TALWEG_OK)
            break;
        struct talweg_part part = talweg_get_part(trainee->talweg);
        if (part.samples == trainee->data->count)
            result = report_all(trainee);
        else
            status = report_part(trainee, part, &result, error);
    }
    return status == TW_OK ? told(trainee, result, error) : status;
}

/* ---- all of it ---- */

enum tw_status tw_worker_train(const struct tw_worker_config *config, struct tw_error *error) {
    struct trainee trainee = {.config = config};

    tw_gemm_thread();
    enum tw_status status = prepare(&trainee, error);
    if (status == TW_OK) {
        int result = join(&trainee);
        if (result != TALWEG_OK)
            status = told(&trainee, result, error);
        else
            status = config->evaluator ? evaluate(&trainee, error) : train(&trainee, error);
    }
    talweg_leave(trainee.talweg); /* before what it may still be sending is freed */
    tw_scorer_fini(&trainee.scorer);
    tw_shares_free(trainee.shares);
    free(trainee.statistics);
    free(trainee.tensors);
    free(trainee.weights);
    free(trainee.block);
    tw_datasets_close(&trainee.datasets);
    tw_model_free(trainee.model);
    return status;
}
