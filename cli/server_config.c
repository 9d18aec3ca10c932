#include "cli/server_config.h"

#include <stdlib.h>

#include "lab/spectrum.h"

/* Of an objective the curvature is known; the mean over the examples is that of one. */
static double curvature_of(const struct tw_checked_job *checked) {
    const struct tw_model *model = checked->model;
    struct tw_spectrum spectrum;
    if (!model->objective || checked->shaping.sum)
        return 0;
    const struct tw_objective_options *surface = &model->objective_options;
    tw_spectrum_at(&spectrum, model->objective, surface, surface->start.at);
    double largest = spectrum.value[surface->n - 1];
    return largest > 0 ? largest + checked->shaping.l2 : 0;
}

/* Nothing of a program of the user's own, nor of an objective. */
static struct tw_node_scoring scoring_of(const struct tw_checked_job *checked) {
    const struct tw_model *model = checked->model;
    if (!model->layer_count || !checked->job->has_test)
        return (struct tw_node_scoring){.values = false};
    return (struct tw_node_scoring){.outputs = (uint32_t)model->output.elements,
                                    .classes = (uint32_t)tw_model_classes(model),
                                    .values = model->loss->valued};
}

struct tw_server_config tw_server_config_of(const struct tw_checked_job *checked) {
    return (struct tw_server_config){
        .job = checked->job,
        .tensors = &checked->model->list,
        .initial = checked->initial.value,
        .optimizer = checked->optimizer,
        .optimizer_options = checked->optimizer_options,
        .pace = checked->pace,
        .shaping = checked->shaping,
        .curvature = curvature_of(checked),
        .dial = checked->dial,
        .turns = checked->turns,
        .turn_count = checked->turn_count,
        .train_samples = checked->train_samples,
        .evaluator = checked->job->has_test,
        .scoring = scoring_of(checked),
        .stop_fd = -1,
    };
}

enum tw_status tw_server_plan_make(struct tw_server_plan *plan,
                                   const struct tw_checked_job *checked,
                                   const struct tw_server_config *server, struct tw_error *error) {
    const struct tw_job *job = checked->job;
    const struct tw_tensor_list *list = &checked->model->list;
    uint32_t chunks = tw_layout_count(list, job->chunk_bytes), servers = (uint32_t)job->servers;
    *plan = (struct tw_server_plan){.chunks = NULL};
    if (!chunks)
        return tw_error_set(error, TW_LIMIT, "the model has more chunks than can be numbered");
    plan->chunks = calloc(chunks, sizeof(*plan->chunks));
    plan->memory = calloc(servers, sizeof(*plan->memory));
    if (!plan->chunks || !plan->memory)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for a list of %u chunks", chunks);
    enum tw_status status =
        tw_layout_init(&plan->layout, list, job->chunk_bytes, servers, plan->chunks, error);
    for (uint32_t i = 0; status == TW_OK && i < servers; i++)
        status = tw_memory_plan(job, &plan->layout, i, &server->dial, server->turns,
                                server->turn_count, &plan->memory[i], error);
    return status;
}

void tw_server_plan_fini(struct tw_server_plan *plan) {
    free(plan->chunks);
    free(plan->memory);
    *plan = (struct tw_server_plan){.chunks = NULL};
}
