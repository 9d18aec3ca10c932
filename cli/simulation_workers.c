/* What the workers of a simulation compute: gradients and scores, on the job's data. */
#include <string.h>

#include "cli/simulation_state.h"

static enum tw_status gradient(void *context, uint32_t slot, uint32_t width, uint64_t step,
                               const float *const *weights, float *out, struct tw_world_push *push,
                               struct tw_error *error) {
    struct tw_simulating *s = context;
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
    struct tw_simulating *s = context;
    tw_shares_forget(s->shares, rank * (uint32_t)(s->job->slots / s->job->workers));
}

static enum tw_status evaluate(void *context, const float *const *weights,
                               struct tw_metric_values *values, struct tw_error *error) {
    struct tw_simulating *s = context;
    *values = tw_scorer_run(&s->scorer, weights);
    return TW_OK;
}

void tw_simulating_computes(struct tw_world_program *program) {
    program->gradient = gradient;
    program->evaluate = evaluate;
    program->begins = begins;
}

/* ---- set-up ---- */

static enum tw_status load_data(struct tw_simulating *s, struct tw_error *error) {
    if (!s->job->has_train)
        return TW_OK;
    struct tw_data_needs needs = tw_model_needs(s->of->checked->model);
    return tw_datasets_open(&s->data, s->job, &needs, TW_WANT_TRAIN | TW_WANT_TEST, error);
}

static enum tw_status make_shares(struct tw_simulating *s, struct tw_error *error) {
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

enum tw_status tw_simulating_make_workers(struct tw_simulating *s, struct tw_error *error) {
    enum tw_status status = load_data(s, error);
    return status ? status : make_shares(s, error);
}

void tw_simulating_free_workers(struct tw_simulating *s) {
    tw_scorer_fini(&s->scorer);
    tw_shares_free(s->shares);
    tw_datasets_close(&s->data);
}
