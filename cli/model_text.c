#include "cli/model_text.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/json.h"
#include "worker/io/shares.h"

enum tw_status tw_model_summarise(struct tw_model_summary *out,
                                  const struct tw_checked_job *checked, struct tw_error *error) {
    const struct tw_job *job = checked->job;
    const struct tw_model *model = checked->model;
    enum tw_status status = TW_OK;
    const struct tw_shares_config shares = {
        .model = model,
        .batch = tw_job_batch(job),
        .width = (uint32_t)(job->slots / job->workers),
        .slots = (uint32_t)job->slots,
        .parts = (uint32_t)job->accumulate,
        .local = job->local,
    };
    uint32_t share = tw_sampler_share(shares.batch, shares.slots, 0);
    *out = (struct tw_model_summary){.rows = (int)tw_sampler_part(share, shares.parts, 0).rows};
    for (int i = 0; i < model->list.count; i++)
        out->parameters += model->list.tensors[i].elements;
    for (int i = 0; i < model->layer_count; i++) {
        struct tw_layer_cost cost = tw_model_cost(model, i);
        out->forward += cost.forward;
        out->backward += cost.backward;
    }
    if (tw_model_computes(model))
        status = tw_shares_bytes(&shares, &out->worker, error);
    if (!status && model->layer_count > 0)
        status = tw_net_bytes(model, TW_NET_EVALUATION_ROWS, false, &out->evaluator, error);
    size_t weights = (size_t)out->parameters * sizeof(float);
    out->worker += out->worker && out->worker != SIZE_MAX ? weights : 0;
    out->evaluator += out->evaluator && out->evaluator != SIZE_MAX ? weights : 0;
    return status;
}

/* ---- for people ---- */

/* Three digits and a unit: 1.25 M. */
static const char *scaled(double value, char out[16]) {
    static const char *const units[] = {"", " k", " M", " G", " T", " P", " E"};
    size_t unit = 0;
    for (; value >= 999.5 && unit + 1 < sizeof units / sizeof *units; unit++)
        value /= 1000;
    int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(out, 16, "%.*f%s", digits, value, units[unit]);
    return out;
}

static void add_layers(struct tw_text *out, const struct tw_model *model) {
    tw_text_add(out, "\n%5s  %-12s %-20s %12s %10s %10s\n", "", "layer", "output", "parameters",
                "forward", "backward");
    for (int i = 0; i < model->layer_count; i++) {
        const struct tw_model_layer *layer = &model->layers[i];
        struct tw_layer_cost cost = tw_model_cost(model, i);
        char shape[256], forward[16], backward[16];
        tw_text_add(out, "%5d  %-12s %-20s %12" PRId64 " %10s %10s\n", i, layer->kind->name,
                    tw_shape_text(layer->out.dims, layer->out.size, shape, sizeof shape),
                    cost.parameters, scaled(cost.forward, forward),
                    scaled(cost.backward, backward));
    }
}

static void add_tensors(struct tw_text *out, const struct tw_tensor_list *list) {
    for (int i = 0; i < list->count; i++) {
        char shape[256];
        const struct tw_tensor *tensor = &list->tensors[i];
        tw_text_add(out, "       %s %s%s\n", tensor->name,
                    tw_shape_text(tensor->dims, tensor->shape, shape, sizeof shape),
                    tensor->update == TW_TENSOR_TRAINED ? "" : ", averaged over batches");
    }
}

static void add_memory(struct tw_text *out, const char *who, int rows, size_t bytes) {
    if (bytes == SIZE_MAX)
        tw_text_add(out, "%s needs more memory than there is\n", who);
    else if (bytes > 0)
        tw_text_add(out, "%s, %d rows at a time: %.1f MiB beside its data\n", who, rows,
                    (double)bytes / (1 << 20));
}

void tw_model_warning(struct tw_text *out, const struct tw_model *model) {
    int layer = tw_model_symmetric_layer(model);
    if (layer >= 0)
        tw_text_add(out,
                    "model.layers[%d]: all units of this %s start identical and stay so, since "
                    "its weights and those of the next layer are constants; say init: he, or "
                    "another that is random",
                    layer, model->layers[layer].kind->name);
}

void tw_model_text(struct tw_text *out, const struct tw_checked_job *checked,
                   const struct tw_model_summary *summary) {
    const struct tw_model *model = checked->model;
    char shape[256], forward[16], backward[16];
    tw_text_add(out, "%s: ", checked->job->name);
    if (model->layer_count > 0) {
        tw_text_add(out, "samples of %s, loss %s\n",
                    tw_shape_text(model->input.dims, model->input.size, shape, sizeof shape),
                    model->loss->name);
        add_layers(out, model);
        tw_text_add(out,
                    "\n%" PRId64 " parameters (%.2f MiB); of one sample %s FLOP forward, "
                    "%s FLOP backward\n",
                    summary->parameters, (double)summary->parameters * 4 / (1 << 20),
                    scaled(summary->forward, forward), scaled(summary->backward, backward));
        add_memory(out, "a worker", summary->rows, summary->worker);
        add_memory(out, "the evaluator", TW_NET_EVALUATION_ROWS, summary->evaluator);
    } else {
        tw_text_add(out, "%s, %" PRId64 " parameters\n",
                    model->objective != NULL ? model->objective->name
                                             : "gradients from a program of your own",
                    summary->parameters);
    }
    tw_text_add(out, "\ntensors:\n");
    add_tensors(out, &model->list);
    struct tw_text warning = {0};
    tw_model_warning(&warning, model);
    if (warning.size > 0)
        tw_text_add(out, "\nwarning: %s\n", warning.at);
    out->failed |= warning.failed;
    tw_text_fini(&warning);
}

/* ---- for programs ---- */

static void add_shape(struct tw_json *json, const char *key, int dims, const int64_t *size) {
    tw_json_begin_array(json, key);
    for (int i = 0; i < dims; i++)
        tw_json_integer(json, NULL, size[i]);
    tw_json_end_array(json);
}

static void add_layer(struct tw_json *json, const struct tw_model *model, int number) {
    const struct tw_model_layer *layer = &model->layers[number];
    struct tw_layer_cost cost = tw_model_cost(model, number);
    tw_json_begin_object(json, NULL);
    tw_json_integer(json, "number", number);
    tw_json_string(json, "layer", layer->kind->name);
    add_shape(json, "input", layer->in.dims, layer->in.size);
    add_shape(json, "output", layer->out.dims, layer->out.size);
    tw_json_integer(json, "parameters", cost.parameters);
    tw_json_real(json, "flop_forward", cost.forward);
    tw_json_real(json, "flop_backward", cost.backward);
    tw_json_end_object(json);
}

static void add_bytes(struct tw_json *json, const char *key, size_t bytes) {
    if (bytes == 0 || bytes == SIZE_MAX)
        tw_json_null(json, key);
    else
        tw_json_unsigned(json, key, bytes);
}

void tw_model_json(struct tw_text *out, const struct tw_checked_job *checked,
                   const struct tw_model_summary *summary) {
    const struct tw_model *model = checked->model;
    int symmetric = tw_model_symmetric_layer(model);
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "job", checked->job->name);
    add_shape(&json, "input", model->input.dims, model->input.size);
    tw_json_begin_array(&json, "layers");
    for (int i = 0; i < model->layer_count; i++)
        add_layer(&json, model, i);
    tw_json_end_array(&json);
    tw_json_string(&json, "loss", model->loss != NULL ? model->loss->name : NULL);
    tw_json_begin_array(&json, "tensors");
    for (int i = 0; i < model->list.count; i++) {
        tw_json_begin_object(&json, NULL);
        const struct tw_tensor *tensor = &model->list.tensors[i];
        tw_json_string(&json, "name", tensor->name);
        add_shape(&json, "shape", tensor->dims, tensor->shape);
        tw_json_bool(&json, "trained", tensor->update == TW_TENSOR_TRAINED);
        tw_json_end_object(&json);
    }
    tw_json_end_array(&json);
    tw_json_integer(&json, "parameters", summary->parameters);
    tw_json_real(&json, "flop_forward", summary->forward);
    tw_json_real(&json, "flop_backward", summary->backward);
    tw_json_integer(&json, "rows", summary->rows);
    add_bytes(&json, "worker_bytes", summary->worker);
    add_bytes(&json, "evaluator_bytes", summary->evaluator);
    if (symmetric >= 0)
        tw_json_integer(&json, "symmetric_layer", symmetric);
    else
        tw_json_null(&json, "symmetric_layer");
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
