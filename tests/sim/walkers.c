#include "tests/sim/walkers.h"

#include <stdio.h>

#include "tests/sim/laws.h"

static void need(enum tw_status status, const struct tw_error *error) {
    if (status != TW_OK)
        fail_msg("%s", error->text);
}

static void read_job(struct walkers *w) {
    char text[2048], rho[48] = "";
    struct tw_error error;
    if (w->local.rho > 0)
        snprintf(rho, sizeof rho, ", rho: %.17g", w->local.rho);
    else if (w->local.steps > 1)
        snprintf(rho, sizeof rho, ", lr: %.17g", w->local.rate);
    snprintf(text, sizeof text,
             "model:\n%s%sbatch: %u\nupdates: 1\noptimizer: {name: sgd, lr: %.17g}\n"
             "local_steps: {steps: %u%s}\ncluster: {workers: %u}\n",
             w->model, w->data ? "data: {train: {format: csv, path: a}}\n" : "", w->slots * w->rows,
             w->local.rate, w->local.steps, rho, w->slots);
    need(tw_job_parse(&w->job, "job.yaml", text, strlen(text), NULL, 0, &error), &error);
    assert_int_equal(w->job->local.steps, w->local.steps);
    assert_true(w->job->local.rho == w->local.rho);
    need(tw_model_build(&w->built, &w->job->model, &error), &error);
}

void walkers_open(struct walkers *w) {
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    struct tw_error error;
    static const float *none[4]; /* bound to those that are read, before each step */
    read_job(w);
    w->drawn_from = seed_of(w->seed);
    need(tw_optimizer_find(&rule, &options, &w->job->optimizer, &error), &error);
    need(tw_shaping_find(&w->shaping, w->job, rule, &w->built->list, w->treatment, &error), &error);
    struct tw_shares_config config = {
        .model = w->built,
        .weights = none,
        .data.all = w->data,
        .seeds = {.sampling = w->drawn_from, .noise = w->drawn_from},
        .batch = (int64_t)w->slots * w->rows,
        .width = 1,
        .slots = w->slots,
        .parts = 1,
        .local = w->local,
    };
    need(tw_shares_new(&w->shares, &config, &error), &error);
}

void walkers_close(struct walkers *w) {
    tw_shares_free(w->shares);
    tw_model_free(w->built);
    tw_job_free(w->job);
}

static void compute(struct world_desk *desk, uint32_t slot, uint64_t step, const float *weights,
                    float *out) {
    struct walkers *w = desk->context;
    const struct tw_tensor_list *list = &w->built->list;
    const float *tensors[4];
    struct tw_error error;
    int first, count;
    for (int i = 0; i < list->count; weights += list->tensors[i++].elements)
        tensors[i] = weights;
    need(tw_shares_bind(w->shares, slot, tensors, &error), &error);
    need(tw_shares_begin(w->shares, step, &error), &error);
    while (tw_shares_next(w->shares, &first, &count))
        continue;
    float *at = out;
    for (int i = 0; i < list->count; at += list->tensors[i++].elements)
        memcpy(at, tw_shares_gradient(w->shares, i),
               (size_t)list->tensors[i].elements * sizeof *at);
    assert_int_equal(tw_shares_examples(w->shares), desk->examples);
    if (w->pushed)
        w->pushed(w, slot, step, out);
}

static void tell(struct world_desk *desk, uint64_t version) {
    struct walkers *w = desk->context;
    float x[WALKERS_ELEMENTS];
    tw_world_weights(desk->world, x);
    if (w->moved)
        w->moved(w, version, x);
}

void walkers_run(struct walkers *w) {
    int64_t elements = 0;
    for (int i = 0; i < w->built->list.count; i++)
        elements += w->built->list.tensors[i].elements;
    assert_true(elements <= WALKERS_ELEMENTS);
    struct world_desk desk = {.workers = w->slots,
                              .mode = w->mode,
                              .delay = w->delay,
                              .rate = w->local.rate,
                              .shaping = &w->shaping,
                              .examples = (uint64_t)w->rows * w->local.steps,
                              .elements = elements,
                              .start = w->start,
                              .updates = w->updates,
                              .seed = w->seed,
                              .delay_seed = w->seed,
                              .gradient = compute,
                              .on_version = tell,
                              .context = w};
    for (uint32_t slot = 0; slot < w->slots; slot++)
        tw_shares_forget(w->shares, slot);
    run(&desk);
}
