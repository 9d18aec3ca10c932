#include "cli/server_config.h"

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
        .stop_fd = -1,
    };
}
