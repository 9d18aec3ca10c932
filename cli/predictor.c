#include "cli/predictor.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/blas_core.h"
#include "cli/model_source.h"
#include "common/base/arith.h"
#include "common/base/file.h"
#include "worker/nn/gemm.h"
#include "worker/nn/net.h"

enum { PIECE = 1 << 20 };

/* ---- one model ---- */

/* All of it is zero until it is made. */
struct member {
    struct tw_checked_job job;
    struct tw_datasets *datasets; /* stay where they are opened */
    const struct tw_dataset *data;
    float *block;
    const float **weights; /* [tensors] */
};

static void fini_member(struct member *member) {
    free(member->block);
    free(member->weights);
    tw_checked_job_fini(&member->job);
}

/* The job of a run stands in its directory; that of a checkpoint two above. */
static enum tw_status find_job(const char *model, char path[TW_PATH_MAX], struct tw_error *error) {
    static const char *const places[] = {"job.yaml", "../../job.yaml"};
    struct stat about;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (tw_path_join(path, TW_PATH_MAX, model, places[i]) != TW_OK)
            return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", model);
        if (stat(path, &about) == 0)
            return TW_OK;
    }
    return tw_error_set(error, TW_DATA,
                        "%s: no job.yaml there; a model is the directory of a run, or a checkpoint "
                        "in one",
                        model);
}

static bool is_word(const char *data) {
    return strcmp(data, "test") == 0 || strcmp(data, "validation") == 0 ||
           strcmp(data, "train") == 0;
}

static enum tw_status load_job(struct member *member, const char *model, const char *data,
                               struct tw_error *error) {
    const struct tw_job_setting setting = {
        .key = "data.test", .value = data, .flag = "DATA", .folder = "."};
    char path[TW_PATH_MAX];
    enum tw_status status = find_job(model, path, error);
    if (status == TW_OK)
        status = tw_checked_job_load(&member->job, path, &setting, !is_word(data), TW_CHECK_NO_DATA,
                                     error);
    if (status == TW_OK && (member->job.model->objective || !tw_model_computes(member->job.model)))
        status =
            tw_error_set(error, TW_JOB, "%s: this run has no layers that could predict", model);
    return status;
}

static enum tw_status load_data(struct member *member, const char *data, struct tw_error *error) {
    const struct tw_data_needs needs = tw_model_needs(member->job.model);
    unsigned wanted = strcmp(data, "train") == 0        ? TW_WANT_TRAIN
                      : strcmp(data, "validation") == 0 ? TW_WANT_VALIDATION
                                                        : TW_WANT_TEST;
    struct tw_datasets *all = member->datasets;
    if (wanted == TW_WANT_TRAIN && member->job.job->shard == TW_SHARD_OWN)
        return tw_error_set(error, TW_USAGE,
                            "%s: each worker had training data of its own (data.shard: own); name "
                            "the files of one of them",
                            member->job.job->path);
    enum tw_status status =
        tw_datasets_open(all, member->job.job, &needs, wanted | TW_WANT_ANY, error);
    if (status != TW_OK)
        return status;
    member->data = wanted == TW_WANT_TRAIN        ? all->train
                   : wanted == TW_WANT_VALIDATION ? all->validation
                                                  : all->test;
    if (!member->data)
        return tw_error_set(error, TW_USAGE, "%s: its job has no data.%s", member->job.job->path,
                            data);
    return TW_OK;
}

static enum tw_status load_tensor(const struct tw_model_source *source,
                                  const struct tw_tensor *tensor, float *out,
                                  struct tw_error *error) {
    uint64_t elements = (uint64_t)tensor->elements;
    int index;
    enum tw_status status = tw_model_source_match(source, tensor, "its job", &index, error);
    for (uint64_t at = 0; status == TW_OK && at < elements; at += PIECE) {
        uint32_t count = (uint32_t)(elements - at < PIECE ? elements - at : PIECE);
        status = tw_model_source_read(source, index, at, count, out + at, error);
    }
    for (uint64_t i = 0; status == TW_OK && i < elements; i++)
        if (!isfinite(out[i]))
            status = tw_error_set(error, TW_DATA,
                                  "%s: element %" PRIu64 " of tensor \"%.64s\" is not finite",
                                  source->name, i, tensor->name);
    return status;
}

static enum tw_status load_weights(struct member *member, const char *model,
                                   struct tw_error *error) {
    const struct tw_tensor_list *list = &member->job.model->list;
    struct tw_model_source source = {0};
    size_t elements = 0, at = 0;
    for (int t = 0; t < list->count; t++)
        elements += (size_t)list->tensors[t].elements;
    member->block = malloc(elements * sizeof *member->block);
    member->weights = calloc((size_t)list->count, sizeof *member->weights);
    if (!member->block || !member->weights)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for %zu weights", elements);
    enum tw_status status = tw_model_source_open(&source, model, error);
    for (int t = 0; status == TW_OK && t < list->count; t++) {
        member->weights[t] = member->block + at;
        status = load_tensor(&source, &list->tensors[t], member->block + at, error);
        at += (size_t)list->tensors[t].elements;
    }
    tw_model_source_close(&source);
    return status;
}

/* The kernels are chosen once for a process: others compute with those of the first one's job. */
static enum tw_status start_kernels(const struct member *first, char **again,
                                    struct tw_error *error) {
    const char *core = first->job.job->blas_core;
    enum tw_status status = tw_blas_core_pin(core, again, error);
    return status == TW_OK ? tw_gemm_start(core, error) : status;
}

static enum tw_status load(struct member *member, const struct tw_predictor_config *config,
                           int index, struct tw_error *error) {
    const char *model = config->model[index];
    enum tw_status status = load_job(member, model, config->data, error);
    if (status == TW_OK && index == 0)
        status = start_kernels(member, config->again, error);
    if (status == TW_OK)
        status = load_data(member, config->data, error);
    return status == TW_OK ? load_weights(member, model, error) : status;
}

/* ---- computing ---- */

/* Every threads-th batch. */
struct part {
    const struct member *member;
    struct tw_predictor *out;
    int number, threads;
    struct tw_error error;
};

static void compute_batch(const struct part *part, struct tw_net *net, uint32_t *positions,
                          uint32_t first) {
    const struct tw_dataset *data = part->member->data;
    size_t outputs = (size_t)part->out->outputs;
    uint32_t left = data->count - first, rows = TW_NET_EVALUATION_ROWS;
    int here = (int)(left < rows ? left : rows);
    for (int i = 0; i < here; i++)
        positions[i] = first + (uint32_t)i;
    tw_dataset_gather(data, positions, here, tw_net_batch(net));
    tw_net_evaluate(net, here, NULL);
    memcpy(part->out->out + first * outputs, tw_net_outputs(net),
           (size_t)here * outputs * sizeof(float));
}

static void *compute_part(void *context) {
    struct part *part = context;
    uint32_t positions[TW_NET_EVALUATION_ROWS], rows = TW_NET_EVALUATION_ROWS;
    struct tw_net *net;
    tw_gemm_thread();
    if (tw_net_new(&net, part->member->job.model, (int)rows, false, part->member->weights,
                   &part->error) != TW_OK)
        return NULL;
    for (uint64_t first = (uint64_t)part->number * rows; first < part->member->data->count;
         first += (uint64_t)part->threads * rows)
        compute_batch(part, net, positions, (uint32_t)first);
    tw_net_free(net);
    return NULL;
}

/* The outputs of a model into predictor->out. */
static enum tw_status compute(struct tw_predictor *predictor, const struct member *member,
                              int threads, struct tw_error *error) {
    struct part *part = calloc((size_t)threads, sizeof *part);
    pthread_t *thread = calloc((size_t)threads, sizeof *thread);
    int begun = 0;
    enum tw_status status =
        part && thread ? TW_OK : tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (; status == TW_OK && begun < threads; begun++) {
        part[begun] = (struct part){member, predictor, begun, threads, {.status = TW_OK}};
        if (pthread_create(&thread[begun], NULL, compute_part, &part[begun]) == 0)
            continue;
        status =
            tw_error_set(error, TW_NO_MEMORY, "the system starts no more than %d threads", begun);
        break;
    }
    for (int i = 0; i < begun; i++) {
        pthread_join(thread[i], NULL);
        if (status == TW_OK && part[i].error.status != TW_OK) {
            *error = part[i].error;
            status = error->status;
        }
    }
    free(part);
    free(thread);
    return status;
}

/* ---- all of them ---- */

static enum tw_status allocate(struct tw_predictor *predictor, struct tw_error *error) {
    size_t count, bytes;
    if (tw_size_multiply((size_t)predictor->samples, (size_t)predictor->outputs, &count) &&
        tw_size_multiply(count, sizeof(double), &bytes)) {
        predictor->answer = calloc(count, sizeof(double));
        predictor->out = calloc(count, sizeof(float));
    }
    if (predictor->answer && predictor->out)
        return TW_OK;
    return tw_error_set(error, TW_NO_MEMORY, "no memory for %d predictions of each of %llu samples",
                        predictor->outputs, (unsigned long long)predictor->samples);
}

/* The first one's job and data are those of the predictor. */
static enum tw_status take_first(struct tw_predictor *predictor, struct member *member,
                                 struct tw_error *error) {
    predictor->samples = member->data->count;
    predictor->outputs = (int)member->job.model->output.elements;
    return allocate(predictor, error);
}

static uint32_t row_of(const struct tw_dataset *data, uint64_t i) {
    return data->place ? data->place[i] : (uint32_t)i;
}

/* Whether sample i is the same of both, as far as rows and targets say. */
static bool is_same(const struct tw_dataset *a, const struct tw_dataset *b, uint32_t i) {
    size_t row = row_of(a, i), outputs = (size_t)a->outputs;
    if (row != row_of(b, i) || a->outputs != b->outputs)
        return false;
    if (outputs == 0)
        return a->labels[row] == b->labels[row];
    return memcmp(a->targets + row * outputs, b->targets + row * outputs,
                  outputs * sizeof *a->targets) == 0;
}

static enum tw_status check_alike(const struct tw_predictor *predictor, const struct member *member,
                                  const char *model, struct tw_error *error) {
    const struct tw_loss *ours = predictor->job.model->loss, *theirs = member->job.model->loss;
    int outputs = (int)member->job.model->output.elements;
    if (outputs != predictor->outputs || theirs != ours)
        return tw_error_set(error, TW_DATA,
                            "%s: %d outputs for %s, but the first model has %d for %s; they cannot "
                            "be averaged",
                            model, outputs, theirs->name, predictor->outputs, ours->name);
    if (member->data->count != predictor->samples)
        return tw_error_set(error, TW_DATA,
                            "%s: its job finds %u samples, the first one's %llu; name the data",
                            model, member->data->count, (unsigned long long)predictor->samples);
    for (uint32_t i = 0; i < member->data->count; i++)
        if (!is_same(predictor->data, member->data, i))
            return tw_error_set(error, TW_DATA,
                                "%s: its sample %u is not that of the first model (runs with other "
                                "seeds hold out other samples); name the data",
                                model, i);
    return TW_OK;
}

static enum tw_status add_answers(struct tw_predictor *predictor, int models,
                                  struct tw_error *error) {
    const struct tw_loss *loss = predictor->job.model->loss;
    size_t outputs = (size_t)predictor->outputs;
    double *answer = calloc(outputs, sizeof *answer);
    if (!answer)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (uint64_t i = 0; i < predictor->samples; i++) {
        tw_loss_answer(loss, predictor->out + i * outputs, (int)outputs, answer);
        for (size_t k = 0; k < outputs; k++)
            predictor->answer[i * outputs + k] += answer[k] / models;
    }
    free(answer);
    return TW_OK;
}

static enum tw_status run_one(struct tw_predictor *predictor,
                              const struct tw_predictor_config *config, int index,
                              struct tw_error *error) {
    struct tw_datasets own = {0};
    struct member member = {.datasets = index == 0 ? &predictor->datasets : &own};
    enum tw_status status = load(&member, config, index, error);
    if (status == TW_OK)
        status = index == 0 ? take_first(predictor, &member, error)
                            : check_alike(predictor, &member, config->model[index], error);
    if (status == TW_OK)
        status = compute(predictor, &member, config->threads, error);
    if (status == TW_OK && index == 0) {
        predictor->job = member.job;
        predictor->data = member.data;
        member.job = (struct tw_checked_job){0};
    }
    fini_member(&member);
    tw_datasets_close(&own);
    return status == TW_OK ? add_answers(predictor, config->models, error) : status;
}

enum tw_status tw_predictor_run(struct tw_predictor *predictor,
                                const struct tw_predictor_config *config, struct tw_error *error) {
    enum tw_status status = TW_OK;
    size_t outputs;
    *predictor = (struct tw_predictor){0};
    for (int i = 0; status == TW_OK && i < config->models; i++)
        status = run_one(predictor, config, i, error);
    outputs = (size_t)predictor->outputs;
    for (uint64_t i = 0; status == TW_OK && config->models > 1 && i < predictor->samples; i++)
        tw_loss_unanswer(predictor->job.model->loss, predictor->answer + i * outputs, (int)outputs,
                         predictor->out + i * outputs);
    return status;
}

void tw_predictor_fini(struct tw_predictor *predictor) {
    free(predictor->answer);
    free(predictor->out);
    tw_datasets_close(&predictor->datasets);
    tw_checked_job_fini(&predictor->job);
    memset(predictor, 0, sizeof *predictor);
}

struct tw_target tw_predictor_target(const struct tw_predictor *predictor, uint64_t i) {
    const struct tw_dataset *data = predictor->data;
    uint32_t row = row_of(data, i);
    if (data->outputs > 0)
        return (struct tw_target){.values = data->targets + (size_t)row * (size_t)data->outputs};
    return (struct tw_target){.label = data->labels[row]};
}
