/* model: {input, layers, loss}, or model: {objective} for a function without data, or model:
 * {tensors} when the gradients come from a program of the user's own. */
#include <inttypes.h>
#include <string.h>

#include "common/base/arith.h"
#include "common/job/job_read.h"

static const struct tw_variant_form layer_form = {
    .key = "name", .what = "a layer such as dense: 256", .shorthand = true};
static const struct tw_variant_form loss_form = {
    .key = "name", .what = "a loss such as softmax_cross_entropy", .shorthand = true};

static const struct tw_variant_form objective_form = {
    .key = "name", .what = "an objective such as rosenbrock", .shorthand = true};

static enum tw_status read_input(const struct tw_job_reader *reader, const struct tw_yaml *model) {
    struct tw_job_model *out = &reader->job->model;
    const struct tw_yaml *node = tw_yaml_find(model, "input");
    if (!node)
        return tw_missing_error(reader, model, "input",
                                "the shape of one sample, such as [1, 28, 28]");
    if (node->kind == TW_YAML_LIST && node->count == 0)
        return tw_node_error(reader, node,
                             "empty; give the shape of one sample, such as [1, 28, 28]");
    enum tw_status status = tw_read_shape(reader, node, &out->input_dims, out->input);
    int64_t elements = 1;
    for (int i = 0; status == TW_OK && i < out->input_dims; i++)
        if (!tw_i64_multiply(elements, out->input[i], &elements) || elements > TW_ELEMENTS_MAX)
            return tw_node_error(reader, node, "more than %" PRId64 " elements in one sample",
                                 TW_ELEMENTS_MAX);
    return status;
}

static enum tw_status read_layers(const struct tw_job_reader *reader, const struct tw_yaml *model) {
    struct tw_job_model *out = &reader->job->model;
    const struct tw_yaml *node = tw_yaml_find(model, "layers");
    if (!node)
        return tw_missing_error(reader, model, "layers",
                                "the list of layers, such as [flatten, {dense: 10}]");
    enum tw_status status =
        tw_need_kind(reader, node, TW_YAML_LIST, "layers such as [flatten, {dense: 10}]");
    if (status != TW_OK)
        return status;
    out->layers = tw_job_memory_get(reader->memory, (size_t)node->count * sizeof *out->layers);
    if (!out->layers)
        return tw_job_memory_error(reader->error);
    for (const struct tw_yaml *child = node->first; child && status == TW_OK; child = child->next)
        status = tw_read_variant(reader, child, &layer_form, &out->layers[out->layer_count++]);
    return status;
}

static enum tw_status read_net(const struct tw_job_reader *reader, const struct tw_yaml *model) {
    enum tw_status status = read_input(reader, model);
    if (status == TW_OK)
        status = read_layers(reader, model);
    if (status != TW_OK)
        return status;
    const struct tw_yaml *loss = tw_yaml_find(model, "loss");
    if (!loss)
        return tw_missing_error(reader, model, "loss", "a loss such as softmax_cross_entropy");
    return tw_read_variant(reader, loss, &loss_form, &reader->job->model.loss);
}

static enum tw_status read_tensor(const struct tw_job_reader *reader, const struct tw_yaml *node,
                                  struct tw_tensor *out) {
    const struct tw_init zero = {TW_INIT_CONSTANT, 0};
    int64_t shape[TW_DIMS_MAX];
    int dims;
    enum tw_status status = tw_read_shape(reader, node, &dims, shape);
    if (status != TW_OK)
        return status;
    struct tw_error why;
    if (tw_tensor_init(out, node->key, dims, shape, zero, &why) != TW_OK)
        return tw_node_error(reader, node, "%s", why.text);
    return TW_OK;
}

static enum tw_status read_tensors(const struct tw_job_reader *reader, const struct tw_yaml *node) {
    struct tw_job_model *out = &reader->job->model;
    enum tw_status status =
        tw_need_kind(reader, node, TW_YAML_MAP, "tensors such as {w: [784, 10], b: [10]}");
    if (status != TW_OK)
        return status;
    out->own = true;
    out->tensors.tensors =
        tw_job_memory_get(reader->memory, (size_t)node->count * sizeof *out->tensors.tensors);
    if (!out->tensors.tensors)
        return tw_job_memory_error(reader->error);
    for (const struct tw_yaml *child = node->first; child; child = child->next) {
        status = read_tensor(reader, child, &out->tensors.tensors[out->tensors.count]);
        if (status != TW_OK)
            return status;
        out->tensors.count++;
    }
    struct tw_error why;
    if (tw_tensor_list_check(&out->tensors, &why) != TW_OK)
        return tw_node_error(reader, node, "%s", why.text);
    return TW_OK;
}

enum tw_status tw_read_model(const struct tw_job_reader *reader, const struct tw_yaml *root) {
    static const char *const names[] = {"input",     "layers", "loss", "tensors",
                                        "objective", "init",   NULL};
    const struct tw_yaml *model = tw_yaml_find(root, "model");
    if (!model)
        return tw_missing_error(reader, root, "model",
                                "it needs input, layers and loss, or objective, or tensors");
    enum tw_status status = tw_need_kind(reader, model, TW_YAML_MAP,
                                         "input, layers and loss, or objective, or tensors");
    if (status == TW_OK)
        status = tw_need_keys(reader, model, names);
    if (status != TW_OK)
        return status;
    reader->job->model.where = model->where;
    const struct tw_yaml *tensors = tw_yaml_find(model, "tensors");
    const struct tw_yaml *objective = tw_yaml_find(model, "objective");
    const struct tw_yaml *alone = tensors ? tensors : objective;
    const struct tw_yaml *init = tw_yaml_find(model, "init");
    if (init)
        status = tw_read_init(reader, init);
    if (status != TW_OK)
        return status;
    if (!alone)
        return read_net(reader, model);
    if (model->count > 1 + (init != NULL))
        return tw_node_error(reader, model->first == alone ? alone->next : model->first,
                             "stands beside model.%s; give tensors for gradients of your own "
                             "program, an objective, or input, layers and loss",
                             alone->key);
    if (tensors)
        return read_tensors(reader, tensors);
    return tw_read_variant(reader, objective, &objective_form, &reader->job->model.objective);
}
