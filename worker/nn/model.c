#include "worker/nn/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum tw_status out_of_memory(struct tw_error *error) {
    return tw_error_set(error, TW_NO_MEMORY, "out of memory while the model was built");
}

/* The number of this layer among those of its kind, from 1. */
static int number_of(const struct tw_model *model, int layer) {
    int number = 0;
    for (int i = 0; i <= layer; i++)
        number += model->layers[i].kind == model->layers[layer].kind;
    return number;
}

/* Appends the tensors of one layer, whose `tensors` is their count so far. */
static enum tw_status add_tensors(struct tw_model *model, int layer,
                                  const struct tw_variant *variant, struct tw_error *error) {
    struct tw_model_layer *place = &model->layers[layer];
    struct tw_tensor own[TW_LAYER_TENSORS_MAX];
    memset(own, 0, sizeof own);
    place->first_tensor = model->list.count;
    place->tensors = place->kind->tensors == NULL
                         ? 0
                         : place->kind->tensors(place->options, &place->in, &place->out, own);
    for (int i = 0; i < place->tensors; i++) {
        char name[TW_NAME_MAX + 1];
        struct tw_error why;
        snprintf(name, sizeof name, "%s%d.%.64s", place->kind->name, number_of(model, layer),
                 own[i].name);
        if (tw_tensor_init(&model->list.tensors[model->list.count], name, own[i].dims, own[i].shape,
                           own[i].init, &why) != TW_OK)
            return tw_job_error(error, variant->where, variant->path, "%s", why.text);
        model->list.tensors[model->list.count].update = own[i].update;
        model->list.tensors[model->list.count].keep = own[i].keep;
        model->list.count++;
    }
    return TW_OK;
}

/* A layer that closes finds the last one that is open. */
static enum tw_status find_partner(struct tw_model *model, int layer,
                                   const struct tw_variant *variant, struct tw_error *error) {
    struct tw_model_layer *place = &model->layers[layer];
    int open = layer - 1;
    place->partner = -1;
    if (place->kind->role != TW_LAYER_CLOSES)
        return TW_OK;
    while (open >= 0 &&
           (model->layers[open].kind->role != TW_LAYER_OPENS || model->layers[open].partner >= 0))
        open--;
    if (open < 0)
        return tw_job_error(error, variant->where, variant->path,
                            "%s without a skip before it that has none; put - skip where the "
                            "residual block begins",
                            place->kind->name);
    place->partner = open;
    model->layers[open].partner = layer;
    return place->kind->meet(variant, &place->in, &model->layers[open].in, error);
}

static enum tw_status add_layer(struct tw_model *model, const struct tw_variant *variant,
                                const struct tw_shape *in, struct tw_error *error) {
    struct tw_model_layer *place = &model->layers[model->layer_count];
    enum tw_status status = tw_layer_find(&place->kind, variant, error);
    if (status != TW_OK)
        return status;
    place->options = calloc(1, place->kind->options_size + 1);
    if (place->options == NULL)
        return out_of_memory(error);
    model->layer_count++; /* from here on tw_model_free() knows it */
    place->in = *in;
    if (place->kind->sparse && model->layer_count > 1)
        return tw_job_error(error, variant->where, variant->path,
                            "%s takes sparse rows, which only the data has; it is the first layer "
                            "or none",
                            place->kind->name);
    status = tw_options_read(variant, place->kind->rules, place->kind->rule_count, place->options,
                             error);
    if (status == TW_OK)
        status = place->kind->shape(variant, place->options, in, &place->out, error);
    if (status == TW_OK)
        status = find_partner(model, model->layer_count - 1, variant, error);
    if (status == TW_OK)
        status = add_tensors(model, model->layer_count - 1, variant, error);
    return status;
}

static enum tw_status add_layers(struct tw_model *model, const struct tw_job_model *job,
                                 struct tw_error *error) {
    if (job->layer_count < 1)
        return tw_job_error(error, job->where, "model.layers",
                            "no layers; give at least one dense");
    model->layers = calloc((size_t)job->layer_count, sizeof *model->layers);
    model->list.tensors =
        calloc((size_t)job->layer_count * TW_LAYER_TENSORS_MAX, sizeof *model->list.tensors);
    if (model->layers == NULL || model->list.tensors == NULL)
        return out_of_memory(error);
    model->output = model->input;
    for (int i = 0; i < job->layer_count; i++) {
        enum tw_status status = add_layer(model, &job->layers[i], &model->output, error);
        if (status != TW_OK)
            return status;
        model->output = model->layers[i].out;
    }
    for (int i = 0; i < job->layer_count; i++)
        if (model->layers[i].kind->role == TW_LAYER_OPENS && model->layers[i].partner < 0)
            return tw_job_error(error, job->layers[i].where, job->layers[i].path,
                                "no add belongs to it; put - add where the residual block ends");
    struct tw_error why;
    if (model->list.count == 0)
        return tw_job_error(error, job->where, "model.layers",
                            "no layer has weights to train; give at least one dense");
    if (tw_tensor_list_check(&model->list, &why) != TW_OK)
        return tw_job_error(error, job->where, "model.layers", "%s", why.text);
    return TW_OK;
}

static enum tw_status add_loss(struct tw_model *model, const struct tw_job_model *job,
                               struct tw_error *error) {
    char text[256];
    const struct tw_shape *output = &model->output;
    enum tw_status status = tw_loss_find(&model->loss, &model->loss_options, &job->loss, error);
    if (status != TW_OK)
        return status;
    int least = model->loss->valued ? 1 : 2;
    if (output->dims != 1 || output->elements < least)
        return tw_job_error(error, job->loss.where, job->loss.path,
                            "%s needs at least %d output%s of one dimension, [classes], but the "
                            "last layer (model.layers[%d]) gives %s",
                            model->loss->name, least, least == 1 ? "" : "s", model->layer_count - 1,
                            tw_shape_text(output->dims, output->size, text, sizeof text));
    return TW_OK;
}

/* model.tensors: the list is all there is. */
static enum tw_status copy_own(struct tw_model *model, const struct tw_job_model *job,
                               struct tw_error *error) {
    size_t count = (size_t)job->tensors.count;
    model->list.tensors = calloc(count + 1, sizeof *model->list.tensors);
    if (model->list.tensors == NULL)
        return out_of_memory(error);
    memcpy(model->list.tensors, job->tensors.tensors, count * sizeof *model->list.tensors);
    model->list.count = job->tensors.count;
    return TW_OK;
}

static enum tw_status build_objective(struct tw_model *model, const struct tw_variant *variant,
                                      struct tw_error *error) {
    struct tw_objective_options *options = &model->objective_options;
    enum tw_status status = tw_objective_find(&model->objective, options, variant, error);
    if (status != TW_OK)
        return status;
    const int64_t shape[] = {options->n};
    model->list.tensors = calloc(1, sizeof *model->list.tensors);
    if (model->list.tensors == NULL)
        return out_of_memory(error);
    struct tw_init init = {TW_INIT_CONSTANT, 0};
    status = tw_tensor_init(&model->list.tensors[0], "x", 1, shape, init, error);
    model->list.tensors[0].start = options->start.at;
    model->list.count = 1;
    if (status == TW_OK && !tw_shape_set(&model->input, 1, shape))
        status = tw_error_set(error, TW_INTERNAL, "an objective of %d dimensions", options->n);
    return status;
}

static enum tw_status build(struct tw_model *model, const struct tw_job_model *job,
                            struct tw_error *error) {
    if (job->own)
        return copy_own(model, job, error);
    if (job->objective.name != NULL)
        return build_objective(model, &job->objective, error);
    char text[256];
    if (!tw_shape_set(&model->input, job->input_dims, job->input))
        return tw_job_error(error, job->where, "model.input",
                            "%s is no shape of a sample: 1 to %d sizes of at least 1, whose "
                            "product is below 2^31",
                            tw_shape_text(job->input_dims, job->input, text, sizeof text),
                            TW_DIMS_MAX);
    enum tw_status status = add_layers(model, job, error);
    return status == TW_OK ? add_loss(model, job, error) : status;
}

enum tw_status tw_model_build(struct tw_model **out, const struct tw_job_model *job,
                              struct tw_error *error) {
    struct tw_model *model = calloc(1, sizeof *model);
    *out = NULL;
    if (model == NULL)
        return out_of_memory(error);
    enum tw_status status = build(model, job, error);
    if (status == TW_OK)
        *out = model;
    else
        tw_model_free(model);
    return status;
}

bool tw_model_computes(const struct tw_model *model) {
    return model->layer_count > 0 || model->objective != NULL;
}

int tw_model_classes(const struct tw_model *model) {
    if (model->loss == NULL)
        return 0;
    return tw_loss_classes(model->loss, (int)model->output.elements);
}

bool tw_model_is_sparse(const struct tw_model *model) {
    return model->layer_count > 0 && model->layers[0].kind->sparse;
}

struct tw_data_needs tw_model_needs(const struct tw_model *model) {
    struct tw_data_needs needs = {
        .dims = model->input.dims,
        .outputs = (int)model->output.elements,
        .classes = tw_model_classes(model),
        .labels = model->output.elements > 1 || model->loss->binary,
        .values = model->loss->valued,
        .below = tw_model_inputs_below(model),
        .parts = model->loss->parts,
        .loss = model->loss->name,
        .sparse = tw_model_is_sparse(model),
    };
    memcpy(needs.shape, model->input.size, sizeof needs.shape);
    return needs;
}

struct tw_layer_cost tw_model_cost(const struct tw_model *model, int layer) {
    const struct tw_model_layer *place = &model->layers[layer];
    const struct tw_layer *kind = place->kind;
    struct tw_layer_cost cost = {0};
    bool below = false; /* somebody needs gradients by its inputs */
    for (int i = 0; i < layer; i++)
        below |= model->layers[i].tensors > 0;
    for (int t = 0; t < place->tensors; t++)
        cost.parameters += model->list.tensors[place->first_tensor + t].elements;
    if (kind->flop != NULL)
        cost.forward = kind->flop(place->options, &place->in, &place->out);
    else if (!kind->view)
        cost.forward = (double)place->out.elements;
    cost.backward = cost.forward * ((place->tensors > 0) + below);
    return cost;
}

int tw_model_least_rows(const struct tw_model *model, int *layer) {
    int least = 1;
    *layer = 0;
    for (int i = 0; i < model->layer_count; i++) {
        const struct tw_model_layer *place = &model->layers[i];
        int rows =
            place->kind->least_rows ? place->kind->least_rows(place->options, &place->in) : 1;
        if (rows <= least)
            continue;
        least = rows;
        *layer = i;
    }
    return least;
}

int64_t tw_model_inputs_below(const struct tw_model *model) {
    int first = 0; /* that does not get samples as they are */
    while (first + 1 < model->layer_count && model->layers[first].kind->view)
        first++;
    const struct tw_model_layer *place = &model->layers[first];
    return model->layer_count > 0 && place->kind->below ? place->kind->below(place->options) : 0;
}

/* Whether all weights of a layer that has some start at one value. */
static bool starts_constant(const struct tw_model *model, int layer) {
    const struct tw_model_layer *place = &model->layers[layer];
    const struct tw_init *init = &model->list.tensors[place->first_tensor].init;
    return init->kind == TW_INIT_CONSTANT || init->scale == 0;
}

int tw_model_symmetric_layer(const struct tw_model *model) {
    int lower = -1; /* the last layer with weights, while nothing has told its units apart */
    for (int i = 0; i < model->layer_count; i++) {
        const struct tw_layer *kind = model->layers[i].kind;
        if (kind->draws || kind->role == TW_LAYER_CLOSES)
            lower = -1;
        if (model->layers[i].tensors == 0 || kind->unitwise)
            continue;
        bool constant = starts_constant(model, i);
        if (lower >= 0 && constant)
            return lower;
        lower = constant && model->layers[i].out.size[0] > 1 ? i : -1;
    }
    return -1;
}

void tw_model_free(struct tw_model *model) {
    if (model == NULL)
        return;
    for (int i = 0; i < model->layer_count; i++)
        free(model->layers[i].options);
    free(model->layers);
    free(model->loss_options);
    free(model->list.tensors);
    free(model);
}

const struct tw_option_rule *tw_model_rules(const char *path, const char *name, int *count) {
    *count = 0;
    if (strncmp(path, "model.layers[", strlen("model.layers[")) == 0)
        for (int i = 0; i < tw_layer_count; i++)
            if (strcmp(tw_layers[i]->name, name) == 0) {
                *count = tw_layers[i]->rule_count;
                return tw_layers[i]->rules;
            }
    if (strcmp(path, "model.objective") == 0)
        return tw_objective_rules(name, count);
    if (strcmp(path, "model.loss") == 0)
        for (int i = 0; i < tw_loss_count; i++)
            if (strcmp(tw_losses[i]->name, name) == 0) {
                *count = tw_losses[i]->rule_count;
                return tw_losses[i]->rules;
            }
    return NULL;
}
