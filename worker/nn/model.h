/* A model: the layers of a job, checked, with shapes and tensors. Immutable once
 * built; it holds no weights. The server takes its tensor list, a worker binds it
 * to memory as a net (net.h).
 *
 * Tensors are named by layer and number within that kind, counted from 1:
 * dense1.weight [784, 256], dense1.bias [256], dense2.weight ... The order of the
 * list is that of the layers, and within a layer that of its table.
 *
 * An objective (objective.h) has no layers and one tensor, "x"; its nets take draws of noise
 * for samples.
 *
 * A job whose gradients come from a program of the user's (model.tensors) gives a
 * model with a tensor list only: no layers, no loss, no nets.
 */
#ifndef TW_NN_MODEL_H
#define TW_NN_MODEL_H

#include "common/job/job.h"
#include "worker/nn/layer.h"
#include "worker/nn/loss.h"
#include "worker/nn/objective.h"

struct tw_model_layer {
    const struct tw_layer *kind;
    void *options; /* kind->options_size bytes */
    struct tw_shape in, out;
    int first_tensor; /* index in the list */
    int tensors;
    int partner; /* of a layer that opens: the one that closes, and the other way round; else -1 */
};

struct tw_model {
    const struct tw_objective *objective; /* NULL: none; else there are no layers and no loss */
    struct tw_objective_options objective_options;
    int layer_count; /* 0 without an objective: own gradients, the rest but `list` is empty */
    struct tw_model_layer *layers;
    const struct tw_loss *loss;
    void *loss_options;
    struct tw_shape input, output; /* output has 1 dimension */
    struct tw_tensor_list list;    /* owned by the model */
};

/* Checks and builds. TW_JOB: an unknown layer, loss or option, or shapes that do not
 * fit: "job.yaml:7: model.layers[3]: dense needs one dimension but gets [1, 28, 28];
 * put flatten before it". Nothing is borrowed from the job. *out is the
 * caller's. */
enum tw_status tw_model_build(struct tw_model **out, const struct tw_job_model *job,
                              struct tw_error *error);

/* Whether it can compute gradients: it has layers or an objective. */
bool tw_model_computes(const struct tw_model *model);

/* How many classes the outputs tell apart; 0 without layers. */
int tw_model_classes(const struct tw_model *model);

/* Whether it begins with a layer for sparse rows. */
bool tw_model_is_sparse(const struct tw_model *model);

/* What samples and targets must be like. The model has layers. */
struct tw_data_needs tw_model_needs(const struct tw_model *model);

/* What a layer costs: additions and multiplications for one sample (FLOP), of the forward pass,
 * and of the backward pass: as many again for its inputs, unless nobody below has weights,
 * and for its weights. */
struct tw_layer_cost {
    int64_t parameters;
    double forward, backward;
};

struct tw_layer_cost tw_model_cost(const struct tw_model *model, int layer);

/* The fewest rows with which it can be trained, and the layer that wants so many. */
int tw_model_least_rows(const struct tw_model *model, int *layer);

/* Samples are whole numbers below this: an embedding gets them as they are. 0: any numbers. */
int64_t tw_model_inputs_below(const struct tw_model *model);

/* The first layer whose units start identical and stay so: its weights, and those of the next
 * layer that has any, are constants, so that all its units get the same gradients. -1: none.
 * Dropout between the two makes them differ; so does what is added by a residual block. */
int tw_model_symmetric_layer(const struct tw_model *model);

/* NULL is fine. */
void tw_model_free(struct tw_model *model);

/* The rules of what the job names, for struct tw_rule_book: of the loss at path "model.loss",
 * of the objective at "model.objective",
 * of a layer at "model.layers[i]"; NULL for other paths and unknown names. */
const struct tw_option_rule *tw_model_rules(const char *path, const char *name, int *count);

#endif
