/* Buffers: boundary i lies before layer i, boundary `layers` holds the outputs. A
 * layer that is a view, or may work in place, shares one buffer between its two
 * boundaries. In training every other boundary keeps its values for the backward
 * pass; gradients need but two buffers, taken in turn. All of it is one
 * allocation, whose parts are staggered: were they all aligned alike, their lines
 * would compete for the same sets of the cache. */
#include "worker/nn/net.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arith.h"

#define ALIGNMENT 64
#define STAGGER (5 * ALIGNMENT)

/* What one layer has of its own for its calls. */
struct place {
    uint8_t *kept;           /* NULL: nothing */
    tw_real *aside_gradient; /* of two partners, the same */
    struct tw_dice dice;
};

struct tw_net {
    const struct tw_model *model;
    const tw_real **weights; /* [tensors], the caller's values */
    int rows;
    bool training;
    bool changed;          /* somebody has written into the gradients */
    int next;              /* layer whose turn it is in the backward pass, plus 1 */
    int lowest;            /* first layer that has tensors; none below needs gradients */
    tw_real **values;      /* [layers + 1] */
    tw_real **slopes;      /* [layers + 1], gradients by the values; NULL below `lowest` */
    tw_real **gradients;   /* [tensors] */
    struct tw_batch batch; /* x: values[0] */
    struct place *places;  /* [layers] */
    void *scratch;         /* what the neediest layer wants, for one call at a time */
    void *memory;          /* all of it but the labels */
    bool (*unwanted)(void *context);
    void *context; /* of unwanted */
    bool (*there)(void *context, int first, int tensors);
    void *there_context;
};

/* Bytes of what is asked for, once to count and once to hand out. */
struct carver {
    char *memory; /* NULL: only count */
    size_t used;
    bool failed; /* more than a size_t counts */
};

static void *carve(struct carver *carver, int64_t count, size_t size) {
    size_t bytes, place = carver->used;
    if (!tw_size_multiply((size_t)count, size, &bytes) ||
        !tw_size_add(bytes, ALIGNMENT - 1 + STAGGER, &bytes) ||
        !tw_size_add(place, bytes & ~(size_t)(ALIGNMENT - 1), &carver->used)) {
        carver->failed = true;
        return NULL;
    }
    return carver->memory == NULL ? NULL : carver->memory + place;
}

/* A number for each row and element. */
static tw_real *carve_rows(const struct tw_net *net, struct carver *carver, int64_t elements) {
    return carve(carver, net->rows * elements, sizeof(tw_real));
}

static int64_t boundary_elements(const struct tw_net *net, int boundary) {
    const struct tw_model *model = net->model;
    return boundary == 0 ? model->input.elements : model->layers[boundary - 1].out.elements;
}

/* `kept` goes along with a buffer: an earlier layer's backward, or a layer that closes, reads
 * what it holds. */
static void carve_values(struct tw_net *net, struct carver *carver) {
    const struct tw_model *model = net->model;
    bool kept = false;
    net->values[0] =
        tw_model_is_sparse(model) ? NULL : carve_rows(net, carver, boundary_elements(net, 0));
    for (int i = 0; i < model->layer_count; i++) {
        const struct tw_layer *kind = model->layers[i].kind;
        bool shared = kind->view || (kind->in_place && !kept);
        net->values[i + 1] =
            shared ? net->values[i] : carve_rows(net, carver, boundary_elements(net, i + 1));
        kept =
            kind->role == TW_LAYER_OPENS || (net->training && kind->needs_out) || (shared && kept);
    }
}

static void carve_slopes(struct tw_net *net, struct carver *carver) {
    const struct tw_model *model = net->model;
    int64_t largest = 0;
    for (int i = net->lowest + 1; i <= model->layer_count; i++)
        largest = boundary_elements(net, i) > largest ? boundary_elements(net, i) : largest;
    tw_real *turn[2] = {carve_rows(net, carver, largest), carve_rows(net, carver, largest)};
    int now = 0;
    net->slopes[model->layer_count] = turn[now];
    for (int i = model->layer_count - 1; i > net->lowest; i--) {
        const struct tw_layer *kind = model->layers[i].kind;
        now = kind->view || kind->in_place ? now : !now;
        net->slopes[i] = turn[now];
    }
}

/* What goes past a residual block, from the layer that closes to the one that opens. */
static void carve_asides(struct tw_net *net, struct carver *carver) {
    const struct tw_model *model = net->model;
    for (int i = net->lowest + 1; i < model->layer_count; i++) {
        const struct tw_model_layer *layer = &model->layers[i];
        if (layer->kind->role != TW_LAYER_OPENS)
            continue;
        net->places[i].aside_gradient = carve_rows(net, carver, layer->in.elements);
        net->places[layer->partner].aside_gradient = net->places[i].aside_gradient;
    }
}

static void carve_gradients(struct tw_net *net, struct carver *carver) {
    const struct tw_tensor_list *list = &net->model->list;
    int64_t elements = 0;
    for (int i = 0; i < list->count; i++)
        if (!tw_i64_add(elements, list->tensors[i].elements, &elements))
            carver->failed = true;
    tw_real *at = carve(carver, elements, sizeof(tw_real));
    for (int i = 0; at != NULL && i < list->count; i++) {
        net->gradients[i] = at;
        at += list->tensors[i].elements;
    }
}

/* What layers keep from forward to backward, and the scratch that they share. */
static void carve_places(struct tw_net *net, struct carver *carver) {
    const struct tw_model *model = net->model;
    int64_t scratch = 0;
    for (int i = 0; i < model->layer_count; i++) {
        const struct tw_model_layer *layer = &model->layers[i];
        int64_t needs = layer->kind->scratch == NULL
                            ? 0
                            : layer->kind->scratch(layer->options, &layer->in, &layer->out);
        scratch = needs > scratch ? needs : scratch;
        if (net->training && layer->kind->kept != NULL)
            net->places[i].kept = carve(
                carver, layer->kind->kept(layer->options, &layer->in, &layer->out, net->rows), 1);
    }
    net->scratch = carve(carver, scratch, 1);
}

static void carve_all(struct tw_net *net, struct carver *carver) {
    carve_values(net, carver);
    net->batch.x = net->values[0];
    if (tw_model_is_sparse(net->model))
        net->batch.sparse = carve(carver, net->rows, sizeof *net->batch.sparse);
    net->batch.targets = carve_rows(net, carver, net->model->output.elements);
    carve_places(net, carver);
    if (net->training) {
        carve_slopes(net, carver);
        carve_asides(net, carver);
        carve_gradients(net, carver);
    }
}

/* A row's random numbers are dealt to the layers that draw, in their order. */
static void share_dice(struct tw_net *net) {
    const struct tw_model *model = net->model;
    int64_t total = 0;
    for (int i = 0; i < model->layer_count; i++)
        if (model->layers[i].kind->draws) {
            net->places[i].dice.first = total;
            total += model->layers[i].in.elements;
        }
    for (int i = 0; i < model->layer_count; i++) {
        net->places[i].dice.per_row = total;
        net->places[i].dice.part = tw_whole_step((uint32_t)net->rows);
    }
}

/* The small arrays, and how much memory the values need. */
static enum tw_status prepare(struct tw_net *net, const struct tw_model *model, int rows,
                              bool training, struct carver *carver, struct tw_error *error) {
    size_t boundaries = (size_t)model->layer_count + 1, tensors = (size_t)model->list.count;
    net->model = model;
    net->rows = rows;
    net->training = training;
    while (model->layer_count > 0 && model->layers[net->lowest].tensors == 0)
        net->lowest++; /* a model has at least one tensor */
    net->values = calloc(boundaries, sizeof *net->values);
    net->slopes = calloc(boundaries, sizeof *net->slopes);
    net->gradients = calloc(tensors, sizeof *net->gradients);
    net->weights = calloc(tensors, sizeof *net->weights);
    net->batch.labels = calloc((size_t)rows, sizeof *net->batch.labels);
    net->places = calloc(boundaries, sizeof *net->places);
    if (net->values == NULL || net->places == NULL || net->slopes == NULL ||
        net->gradients == NULL || net->weights == NULL || net->batch.labels == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a net of %d rows", rows);
    share_dice(net);
    carve_all(net, carver);
    return TW_OK;
}

static enum tw_status allocate(struct tw_net *net, struct carver *carver, struct tw_error *error) {
    if (!carver->failed)
        net->memory = aligned_alloc(ALIGNMENT, carver->used);
    if (net->memory == NULL)
        return tw_error_set(error, TW_NO_MEMORY,
                            "out of memory: a net of %d rows needs %zu MiB; use a smaller batch or "
                            "model",
                            net->rows, carver->used >> 20);
    memset(net->memory, 0, carver->used);
    *carver = (struct carver){.memory = net->memory};
    carve_all(net, carver);
    return TW_OK;
}

enum tw_status tw_net_new(struct tw_net **out, const struct tw_model *model, int rows,
                          bool training, const tw_real *const *weights, struct tw_error *error) {
    struct carver carver = {0};
    *out = NULL;
    assert(tw_model_computes(model));
    int wants, least = training ? tw_model_least_rows(model, &wants) : 1;
    if (rows < least)
        return tw_error_set(error, TW_LIMIT, "a net of %d rows: at least %d is needed", rows,
                            least);
    struct tw_net *net = calloc(1, sizeof *net);
    if (net == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a net");
    enum tw_status status = prepare(net, model, rows, training, &carver, error);
    if (status == TW_OK)
        status = allocate(net, &carver, error);
    if (status != TW_OK) {
        tw_net_free(net);
        return status;
    }
    tw_net_bind(net, weights);
    *out = net;
    return TW_OK;
}

enum tw_status tw_net_bytes(const struct tw_model *model, int rows, bool training, size_t *bytes,
                            struct tw_error *error) {
    struct carver carver = {0};
    struct tw_net *net = calloc(1, sizeof *net);
    if (net == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a net");
    enum tw_status status = prepare(net, model, rows, training, &carver, error);
    *bytes = carver.failed ? SIZE_MAX : carver.used;
    tw_net_free(net);
    return status;
}

void tw_net_bind(struct tw_net *net, const tw_real *const *weights) {
    memcpy(net->weights, weights, (size_t)net->model->list.count * sizeof *net->weights);
}

void tw_net_watch(struct tw_net *net, bool (*unwanted)(void *context), void *context) {
    net->unwanted = unwanted;
    net->context = context;
}

void tw_net_await(struct tw_net *net, bool (*there)(void *context, int first, int tensors),
                  void *context) {
    net->there = there;
    net->there_context = context;
}

void tw_net_dice(struct tw_net *net, uint64_t seed, uint64_t slot, uint64_t step,
                 const struct tw_part *part) {
    assert(part->rows == (uint32_t)net->rows);
    for (int i = 0; i < net->model->layer_count; i++) {
        net->places[i].dice.seed = seed;
        net->places[i].dice.slot = slot;
        net->places[i].dice.step = step;
        net->places[i].dice.part = *part;
    }
}

void tw_net_free(struct tw_net *net) {
    if (net == NULL)
        return;
    free(net->memory);
    free(net->places);
    free(net->batch.labels);
    free(net->weights);
    free(net->gradients);
    free(net->slopes);
    free(net->values);
    free(net);
}

struct tw_batch *tw_net_batch(struct tw_net *net) {
    return &net->batch;
}

tw_real *tw_net_input(struct tw_net *net) {
    return net->batch.x;
}

int32_t *tw_net_labels(struct tw_net *net) {
    return net->batch.labels;
}

int tw_net_rows(const struct tw_net *net) {
    return net->rows;
}

tw_real *tw_net_gradient(struct tw_net *net, int tensor) {
    assert(net->training && tensor >= 0 && tensor < net->model->list.count);
    return net->gradients[tensor];
}

/* What forward and backward of one layer get. */
static struct tw_layer_pass pass_of(const struct tw_net *net, int layer, bool training) {
    const struct tw_model_layer *place = &net->model->layers[layer];
    const int opens = place->kind->role == TW_LAYER_CLOSES ? place->partner : layer;
    return (struct tw_layer_pass){
        .options = place->options,
        .rows = net->rows,
        .training = training,
        .in_shape = &place->in,
        .out_shape = &place->out,
        .weights = (const tw_real *const *)net->weights + place->first_tensor,
        .gradients = net->gradients + place->first_tensor,
        .sparse = layer == 0 ? net->batch.sparse : NULL,
        .changed = net->changed,
        .in = net->values[layer],
        .out = net->values[layer + 1],
        .kept = net->places[layer].kept,
        .scratch = net->scratch,
        .dice = &net->places[layer].dice,
        .aside_shape = &net->model->layers[opens].in,
        .aside = net->values[opens],
        .aside_gradient = net->places[layer].aside_gradient,
    };
}

static void run_layer(struct tw_net *net, int layer, bool training) {
    const struct tw_layer *kind = net->model->layers[layer].kind;
    struct tw_layer_pass pass = pass_of(net, layer, training);
    if (kind->forward != NULL)
        kind->forward(&pass);
}

static bool are_there(const struct tw_net *net, int first, int tensors) {
    return net->there == NULL || tensors == 0 || net->there(net->there_context, first, tensors);
}

bool tw_net_forward(struct tw_net *net, struct tw_score *score) {
    int last = net->model->layer_count;
    assert(net->training);
    *score = (struct tw_score){0};
    if (net->model->objective != NULL) {
        if (!are_there(net, 0, net->model->list.count))
            return false;
        tw_objective_add(net->model->objective, &net->model->objective_options, net->weights[0],
                         net->values[0], net->rows, net->gradients[0], score);
        net->next = 1;
        return true;
    }
    net->next = 0;
    for (int i = 0; i < last; i++) {
        const struct tw_model_layer *layer = &net->model->layers[i];
        if (!are_there(net, layer->first_tensor, layer->tensors))
            return false;
        run_layer(net, i, true);
        if (net->unwanted != NULL && net->unwanted(net->context))
            return false;
    }
    tw_loss_add(net->model->loss, net->model->loss_options, net->values[last], net->rows,
                (int)net->model->output.elements, &net->batch, net->slopes[last], score);
    net->next = last;
    return true;
}

bool tw_net_backward_step(struct tw_net *net, int *first, int *tensors) {
    if (net->next <= net->lowest)
        return false;
    int layer = --net->next;
    if (net->model->objective != NULL) { /* its one gradient came with the value */
        *first = 0;
        *tensors = 1;
        return true;
    }
    const struct tw_model_layer *place = &net->model->layers[layer];
    struct tw_layer_pass pass = pass_of(net, layer, true);
    pass.in = place->kind->needs_in ? pass.in : NULL;
    pass.out_gradient = net->slopes[layer + 1];
    pass.in_gradient = net->slopes[layer];
    if (place->kind->backward != NULL)
        place->kind->backward(&pass);
    net->changed = net->changed && layer > net->lowest;
    *first = place->first_tensor;
    *tensors = place->tensors;
    return true;
}

/* Of the batch, from row `count` on. */
static void empty_rows(struct tw_net *net, int count) {
    size_t elements = (size_t)net->model->input.elements, rows = (size_t)(net->rows - count);
    if (net->batch.sparse != NULL)
        memset(net->batch.sparse + count, 0, rows * sizeof *net->batch.sparse);
    else
        memset(net->batch.x + (size_t)count * elements, 0, rows * elements * sizeof(tw_real));
}

void tw_net_changed(struct tw_net *net) {
    net->changed = true;
}

void tw_net_evaluate(struct tw_net *net, int count, struct tw_score *score) {
    const struct tw_model *model = net->model;
    assert(model->objective == NULL);
    assert(count >= 0 && count <= net->rows);
    empty_rows(net, count);
    for (int i = 0; i < model->layer_count; i++)
        run_layer(net, i, false);
    if (score != NULL)
        tw_loss_add(model->loss, model->loss_options, net->values[model->layer_count], count,
                    (int)model->output.elements, &net->batch, NULL, score);
}

const tw_real *tw_net_outputs(const struct tw_net *net) {
    return net->values[net->model->layer_count];
}
