#include "worker/io/shares.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arith.h"
#include "common/base/tree_sum.h"
#include "common/tensor/kernels.h"

/* The share of one slot. */
struct share {
    struct tw_sampler *sampler; /* NULL: of an objective */
    uint32_t rows;              /* of a step, in all parts */
};

/* What is computed at once: a part of the share of a slot, in one of its local steps. They are
 * numbered: parts of a step, steps of a slot, slots. */
struct leaf {
    struct tw_part part;
    struct tw_net *net; /* one of tw_shares.net */
    uint32_t share;     /* its slot is config.slot + share */
    uint32_t walked;    /* local steps of the slot before this one */
    uint32_t part_number;
};

struct tw_shares {
    struct tw_shares_config config;
    struct share *share;   /* [width] */
    struct tw_net *net[2]; /* parts of the shares of a batch differ by one row at most */
    uint32_t *positions;   /* [rows of the largest share] */
    uint64_t gathered;     /* the step whose samples are in the first leaf's net; 0: none */
    uint64_t leaves;       /* width * local steps * parts */
    struct leaf leaf;      /* the last that was found, */
    uint64_t found;        /* of this number, from 1; 0: none */
    /* The tree, as a binary counter: while part i of a step is computed, partial[k] is the sum of
     * the last 2^k parts before it wherever bit k of i is set; above them likewise of slots. */
    float **partial; /* [depth], tensor after tensor */
    int depth;       /* log2 of width * parts */
    int parts_depth; /* log2 of parts */
    /* NULL where a slot makes no steps of its own: */
    float *path;  /* sum over a slot's local steps so far, tensor after tensor; when elastic: how
                   * far the servers' weights are from the slot's, but for statistics */
    float *local; /* where these steps have led, likewise; when elastic one of `own` */
    const float **local_weights; /* [tensors] into it */
    float **own;    /* [slots] when elastic: of a slot, from one push to the next; NULL: none yet */
    size_t *offset; /* [tensors] of each in a partial sum */
    size_t elements;                    /* of all tensors */
    struct tw_tree_sum loss, slot_loss; /* of slots; of the leaves of the present one */
    uint64_t examples, correct;
};

/* ---- making ---- */

static enum tw_status out_of_memory(const struct tw_shares *shares, struct tw_error *error) {
    return tw_error_set(error, TW_NO_MEMORY, "out of memory for the sums of %u slots",
                        shares->config.width);
}

/* Touched before it is needed. NULL: out of memory. */
static float *new_plane(size_t elements) {
    float *plane = malloc(elements * sizeof(float));
    if (plane != NULL)
        memset(plane, 0, elements * sizeof(float));
    return plane;
}

static bool is_elastic(const struct tw_shares *shares) {
    return shares->config.local.rho > 0;
}

/* Whether slots make steps of their own. */
static bool walks(const struct tw_shares *shares) {
    return shares->config.local.steps > 1 || is_elastic(shares);
}

static void point_local(struct tw_shares *shares, float *local) {
    shares->local = local;
    for (int i = 0; i < shares->config.model->list.count; i++)
        shares->local_weights[i] = local + shares->offset[i];
}

static enum tw_status allocate_path(struct tw_shares *shares, struct tw_error *error) {
    size_t tensors = (size_t)shares->config.model->list.count;
    if (!walks(shares))
        return TW_OK;
    shares->path = new_plane(shares->elements);
    shares->local_weights = calloc(tensors, sizeof(*shares->local_weights));
    if (is_elastic(shares))
        shares->own = calloc(shares->config.slots, sizeof(*shares->own));
    else
        shares->local = new_plane(shares->elements);
    if (shares->path == NULL || shares->local_weights == NULL ||
        (shares->own == NULL && shares->local == NULL))
        return out_of_memory(shares, error);
    if (!is_elastic(shares))
        point_local(shares, shares->local);
    return TW_OK;
}

static enum tw_status allocate(struct tw_shares *shares, struct tw_error *error) {
    const struct tw_tensor_list *list = &shares->config.model->list;
    size_t elements = 0;

    const struct tw_shares_config *config = &shares->config;
    shares->leaves = (uint64_t)config->width * config->local.steps * config->parts;
    while (1U << shares->parts_depth < config->parts)
        shares->parts_depth++;
    shares->depth = shares->parts_depth;
    while (1U << shares->depth < config->width * config->parts)
        shares->depth++;
    shares->share = calloc(shares->config.width, sizeof(*shares->share));
    shares->partial = calloc((size_t)shares->depth + 1, sizeof(*shares->partial));
    shares->offset = calloc((size_t)list->count, sizeof(*shares->offset));
    if (shares->share == NULL || shares->partial == NULL || shares->offset == NULL)
        return out_of_memory(shares, error);
    for (int i = 0; i < list->count; i++) {
        shares->offset[i] = elements;
        elements += (size_t)list->tensors[i].elements;
    }
    for (int k = 0; k < shares->depth; k++) {
        shares->partial[k] = new_plane(elements);
        if (shares->partial[k] == NULL)
            return out_of_memory(shares, error);
    }
    shares->elements = elements;
    return allocate_path(shares, error);
}

/* The net of so many rows. */
static enum tw_status find_net(struct tw_shares *shares, uint32_t rows, struct tw_net **out,
                               struct tw_error *error) {
    const struct tw_shares_config *config = &shares->config;
    int i = shares->net[0] != NULL && (uint32_t)tw_net_rows(shares->net[0]) != rows;
    enum tw_status status = TW_OK;
    if (shares->net[i] == NULL)
        status =
            tw_net_new(&shares->net[i], config->model, (int)rows, true, config->weights, error);
    if (status == TW_OK) {
        tw_net_watch(shares->net[i], config->unwanted, config->context);
        tw_net_await(shares->net[i], config->there, config->context);
    }
    *out = shares->net[i];
    return status;
}

static struct leaf leaf_of(const struct tw_shares *shares, uint64_t number) {
    const uint32_t parts = shares->config.parts, steps = shares->config.local.steps;
    const uint32_t part = (uint32_t)(number % parts), share = (uint32_t)(number / parts / steps);
    return (struct leaf){
        .part = tw_sampler_part(shares->share[share].rows, parts, part),
        .share = share,
        .walked = (uint32_t)(number / parts % steps),
        .part_number = part,
    };
}

/* The leaf with its net, which is made when there is none yet. */
static enum tw_status find_leaf(struct tw_shares *shares, uint64_t number, struct leaf *out,
                                struct tw_error *error) {
    enum tw_status status = TW_OK;
    if (shares->found != number + 1) {
        shares->leaf = leaf_of(shares, number);
        status = find_net(shares, shares->leaf.part.rows, &shares->leaf.net, error);
        shares->found = status == TW_OK ? number + 1 : 0;
    }
    *out = shares->leaf;
    return status;
}

/* The first part of a share is the largest, the last the smallest. */
static enum tw_status make_nets(struct tw_shares *shares, struct tw_error *error) {
    enum tw_status status = TW_OK;
    struct leaf leaf;
    const uint64_t each = shares->leaves / shares->config.width;
    for (uint32_t i = 0; status == TW_OK && i < shares->config.width; i++) {
        status = find_leaf(shares, i * each, &leaf, error);
        if (status == TW_OK)
            status = find_leaf(shares, i * each + each - 1, &leaf, error);
    }
    return status;
}

static enum tw_status make_share(struct tw_shares *shares, uint32_t i, struct tw_error *error) {
    const struct tw_shares_config *config = &shares->config;
    uint32_t rows = tw_sampler_share(config->batch, config->slots, config->slot + i);
    shares->share[i].rows = rows;
    if (rows < config->parts)
        return tw_error_set(error, TW_JOB,
                            "slot %u has %u examples of each update: too few for %u part%s",
                            config->slot + i, rows, config->parts, config->parts > 1 ? "s" : "");
    if (config->model->objective != NULL)
        return TW_OK;
    struct tw_sampler_config sampler = {
        .shard = config->shard,
        .seed = config->seeds.sampling,
        .slot = config->slot + i,
        .slots = config->slots,
        .samples = tw_train_data_of(&config->data, config->slot + i)->count,
        .rows = rows,
    };
    return tw_sampler_new(&shares->share[i].sampler, &sampler, error);
}

enum tw_status tw_shares_new(struct tw_shares **out, const struct tw_shares_config *config,
                             struct tw_error *error) {
    *out = NULL;
    struct tw_shares *shares = calloc(1, sizeof(*shares));
    if (shares == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    assert(config->parts >= 1 && config->local.steps >= 1);
    shares->config = *config;
    enum tw_status status = allocate(shares, error);
    for (uint32_t i = 0; status == TW_OK && i < config->width; i++)
        status = make_share(shares, i, error);
    if (status == TW_OK)
        status = make_nets(shares, error);
    if (status == TW_OK) { /* the first slot has no fewer rows than the others */
        shares->positions = calloc(shares->share[0].rows, sizeof(*shares->positions));
        if (shares->positions == NULL)
            status = out_of_memory(shares, error);
    }
    if (status == TW_OK)
        *out = shares;
    else
        tw_shares_free(shares);
    return status;
}

enum tw_status tw_shares_bytes(const struct tw_shares_config *config, size_t *bytes,
                               struct tw_error *error) {
    const struct tw_tensor_list *list = &config->model->list;
    uint32_t last = config->slot + config->width - 1; /* no share is smaller, none larger: */
    uint32_t most = tw_sampler_share(config->batch, config->slots, config->slot);
    most = tw_sampler_part(most, config->parts, 0).rows;
    uint32_t least = tw_sampler_share(config->batch, config->slots, last);
    least = tw_sampler_part(least, config->parts, config->parts - 1).rows;
    size_t elements = 0, net = 0, sum;
    bool counted = true;
    enum tw_status status = tw_net_bytes(config->model, (int)most, true, bytes, error);
    if (status == TW_OK && least != most)
        status = tw_net_bytes(config->model, (int)least, true, &net, error);
    if (status != TW_OK)
        return status;
    for (int i = 0; i < list->count; i++)
        elements += (size_t)list->tensors[i].elements;
    counted &= tw_size_multiply(elements, sizeof(float), &sum) && tw_size_add(*bytes, net, bytes);
    for (uint32_t leaves = 1; leaves < config->width * config->parts; leaves *= 2)
        counted = counted && tw_size_add(*bytes, sum, bytes);
    const uint32_t planes = config->local.rho > 0     ? 1 + config->width
                            : config->local.steps > 1 ? 2
                                                      : 0;
    counted = counted && tw_size_multiply(sum, planes, &sum) && tw_size_add(*bytes, sum, bytes);
    if (!counted)
        *bytes = SIZE_MAX;
    return TW_OK;
}

enum tw_status tw_shares_bind(struct tw_shares *shares, uint32_t slot, const float *const *weights,
                              struct tw_error *error) {
    struct tw_shares_config *config = &shares->config;
    config->slot = slot;
    config->weights = weights;
    shares->gathered = 0;
    enum tw_status status = TW_OK;
    bool alike = true;
    for (uint32_t i = 0; status == TW_OK && i < config->width; i++) {
        struct share *share = &shares->share[i];
        const uint32_t rows = tw_sampler_share(config->batch, config->slots, slot + i);
        alike = alike && rows == share->rows;
        share->rows = rows;
        if (share->sampler != NULL)
            status = tw_sampler_bind(share->sampler, slot + i,
                                     tw_train_data_of(&config->data, slot + i)->count, share->rows,
                                     error);
    }
    if (!alike) {
        shares->found = 0;
        if (status == TW_OK)
            status = make_nets(shares, error);
    }
    for (int i = 0; i < 2; i++)
        if (shares->net[i] != NULL)
            tw_net_bind(shares->net[i], weights);
    return status;
}

void tw_shares_free(struct tw_shares *shares) {
    if (shares == NULL)
        return;
    for (uint32_t i = 0; shares->share != NULL && i < shares->config.width; i++)
        tw_sampler_free(shares->share[i].sampler);
    for (int k = 0; shares->partial != NULL && k < shares->depth; k++)
        free(shares->partial[k]);
    tw_net_free(shares->net[0]);
    tw_net_free(shares->net[1]);
    for (uint32_t i = 0; shares->own != NULL && i < shares->config.slots; i++)
        free(shares->own[i]);
    free(shares->path);
    if (shares->own == NULL)
        free(shares->local);
    free(shares->own);
    free(shares->local_weights);
    free(shares->share);
    free(shares->positions);
    free(shares->partial);
    free(shares->offset);
    free(shares);
}

void tw_shares_forget(struct tw_shares *shares, uint32_t slot) {
    for (uint32_t i = slot; shares->own != NULL && i < slot + shares->config.width; i++) {
        free(shares->own[i]);
        shares->own[i] = NULL;
    }
}

/* ---- a step ---- */

/* The number of a leaf's step, to the sampler and to whatever draws. 0: 64 bits do not have it. */
static uint64_t local_step(const struct tw_shares *shares, const struct leaf *leaf, uint64_t step) {
    const uint32_t steps = shares->config.local.steps;
    uint64_t end;
    return step > 0 && tw_u64_multiply(step, steps, &end) ? end - steps + 1 + leaf->walked : 0;
}

/* Rows of the slot's next step will be asked for soon: the pages that they are in are read. */
static void read_ahead(struct tw_shares *shares, const struct share *share,
                       const struct tw_dataset *data, uint64_t step) {
    if (data->streams && tw_sampler_take(share->sampler, step + 1, shares->positions) == TW_OK)
        tw_dataset_ahead(data, shares->positions, (int)share->rows);
}

static enum tw_status gather(struct tw_shares *shares, const struct leaf *leaf, uint64_t step,
                             struct tw_error *error) {
    const struct share *share = &shares->share[leaf->share];
    const struct tw_model *model = shares->config.model;
    step = local_step(shares, leaf, step);
    if (model->objective != NULL) {
        tw_objective_noise(&model->objective_options, shares->config.seeds.noise,
                           shares->config.slot + leaf->share, step, &leaf->part,
                           tw_net_input(leaf->net));
        return TW_OK;
    }
    if (tw_sampler_take_part(share->sampler, step, &leaf->part, shares->positions) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the server gave step %llu, which has no samples",
                            (unsigned long long)step);
    const struct tw_dataset *data =
        tw_train_data_of(&shares->config.data, shares->config.slot + leaf->share);
    struct tw_batch *batch = tw_net_batch(leaf->net);
    tw_dataset_gather(data, shares->positions, (int)leaf->part.rows, batch);
    tw_augment_batch(&shares->config.augment, share->sampler, step, &leaf->part, shares->positions,
                     batch);
    if (leaf->part.first == 0) /* the first one asks for all of them */
        read_ahead(shares, share, data, step);
    return TW_OK;
}

enum tw_status tw_shares_ready(struct tw_shares *shares, uint64_t step, struct tw_error *error) {
    if (step != 0 && shares->gathered == step)
        return TW_OK;
    struct leaf leaf;
    shares->gathered = 0;
    enum tw_status status = find_leaf(shares, 0, &leaf, error);
    if (status == TW_OK)
        status = gather(shares, &leaf, step, error);
    if (status == TW_OK)
        shares->gathered = step;
    return status;
}

static enum tw_status forward(struct tw_shares *shares, const struct leaf *leaf, uint64_t step) {
    const struct tw_shares_config *config = &shares->config;
    struct tw_score score;
    if (walks(shares))
        tw_net_bind(leaf->net, leaf->walked > 0 || is_elastic(shares) ? shares->local_weights
                                                                      : config->weights);
    tw_net_dice(leaf->net, config->seeds.dropout, config->slot + leaf->share,
                local_step(shares, leaf, step), &leaf->part);
    if (!tw_net_forward(leaf->net, &score))
        return TW_STALE;
    tw_tree_sum_add(&shares->slot_loss, score.loss);
    shares->examples += (uint64_t)score.examples;
    shares->correct += (uint64_t)score.correct;
    if (leaf->walked + 1 == config->local.steps && leaf->part_number + 1 == config->parts) {
        tw_tree_sum_add(&shares->loss, tw_tree_sum_total(&shares->slot_loss));
        tw_tree_sum_begin(&shares->slot_loss);
    }
    return TW_OK;
}

/* Number i of the leaves of a tree brings its gradient of a tensor: sums of equally many become
 * one, and what is no whole block yet waits, in one of the sums from `partial` on. Whether it
 * was the last: then the gradient is the sum of all. */
static bool add_leaf(struct tw_shares *shares, float **partial, uint32_t i, uint32_t leaves,
                     struct tw_net *net, int tensor) {
    size_t count = (size_t)shares->config.model->list.tensors[tensor].elements;
    float *gradient = tw_net_gradient(net, tensor);
    int k = 0;
    for (; i >> k & 1; k++) {
        const float *pair[2] = {partial[k] + shares->offset[tensor], gradient};
        tw_sum_tree(gradient, pair, 2, count);
        tw_net_changed(net);
    }
    if (i + 1 < leaves)
        memcpy(partial[k] + shares->offset[tensor], gradient, count * sizeof(float));
    return i + 1 == leaves;
}

/* A slot with weights of its own begins a step of the servers: path is how far theirs are from
 * them. Where it has none yet it takes theirs. */
static enum tw_status stretch(struct tw_shares *shares, const struct leaf *leaf,
                              struct tw_error *error) {
    const struct tw_shares_config *config = &shares->config;
    const struct tw_tensor_list *list = &config->model->list;
    float **own = &shares->own[config->slot + leaf->share];
    const bool begins = *own == NULL;
    if (config->there != NULL && !config->there(config->context, 0, list->count))
        return TW_STALE;
    if (begins && (*own = new_plane(shares->elements)) == NULL)
        return out_of_memory(shares, error);
    point_local(shares, *own);
    for (int i = 0; i < list->count; i++) {
        const float *center = config->weights[i];
        const size_t count = (size_t)list->tensors[i].elements, offset = shares->offset[i];
        if (begins)
            memcpy(*own + offset, center, count * sizeof(float));
        tw_subtract(shares->path + offset, center, *own + offset, count);
    }
    return TW_OK;
}

/* A local step brings its gradient of a tensor, and its slot's own weights of that, which this step
 * does not need any more, go on; the first time towards the servers', too. What is pushed is how
 * these are pulled towards them. Whether it was the last step. */
static bool walk_elastic(struct tw_shares *shares, const struct leaf *leaf, int tensor) {
    const struct tw_local_steps *local = &shares->config.local;
    const size_t count = (size_t)shares->config.model->list.tensors[tensor].elements;
    const size_t offset = shares->offset[tensor];
    float *own = shares->local + offset, *path = shares->path + offset;
    float *gradient = tw_net_gradient(leaf->net, tensor);
    tw_descend(own, own, gradient, (float)shares->share[leaf->share].rows, (float)local->rate,
               count);
    if (leaf->walked == 0)
        tw_add_multiple(own, path, (float)(local->rate * local->rho), count);
    if (leaf->walked + 1 < local->steps)
        return false;
    tw_multiply(gradient, path, (float)local->rho, count);
    tw_net_changed(leaf->net);
    return true;
}

/* A local step brings its gradient of a tensor: that goes into the sum over steps, and the slot's
 * weights of that tensor, which this step does not need any more, on to the next one. Whether it
 * was the last: then the gradient is the sum of all. */
static bool walk(struct tw_shares *shares, const struct leaf *leaf, int tensor) {
    const struct tw_shares_config *config = &shares->config;
    const struct tw_tensor *of = &config->model->list.tensors[tensor];
    const bool trained = of->update == TW_TENSOR_TRAINED;
    if (trained && is_elastic(shares))
        return walk_elastic(shares, leaf, tensor);
    const size_t count = (size_t)of->elements, offset = shares->offset[tensor];
    const float *from = leaf->walked > 0 ? shares->local_weights[tensor] : config->weights[tensor];
    float *gradient = tw_net_gradient(leaf->net, tensor), *path = shares->path + offset;
    const bool last = leaf->walked + 1 == config->local.steps;
    if (!last && trained)
        tw_descend(shares->local + offset, from, gradient, (float)shares->share[leaf->share].rows,
                   (float)config->local.rate, count);
    if (leaf->walked > 0) {
        const float *pair[2] = {path, gradient};
        tw_sum_tree(gradient, pair, 2, count);
        tw_net_changed(leaf->net);
    }
    if (!last)
        memcpy(path, gradient, count * sizeof(float));
    return last;
}

/* A leaf brings its gradient of a tensor. Of the last one the net then holds the sum. */
static void add(struct tw_shares *shares, const struct leaf *leaf, int tensor) {
    const struct tw_shares_config *config = &shares->config;
    if (!add_leaf(shares, shares->partial, leaf->part_number, config->parts, leaf->net, tensor))
        return;
    if (walks(shares) && !walk(shares, leaf, tensor))
        return;
    add_leaf(shares, shares->partial + shares->parts_depth, leaf->share, config->width, leaf->net,
             tensor);
}

static bool backward(struct tw_shares *shares, const struct leaf *leaf, int *first, int *tensors) {
    if (!tw_net_backward_step(leaf->net, first, tensors))
        return false;
    for (int tensor = *first; tensor < *first + *tensors; tensor++)
        add(shares, leaf, tensor);
    return true;
}

/* All of a leaf but the way back of the last one. */
static enum tw_status compute(struct tw_shares *shares, uint64_t i, uint64_t step,
                              struct tw_error *error) {
    const struct tw_shares_config *config = &shares->config;
    int first, tensors;
    struct leaf leaf;
    enum tw_status status = find_leaf(shares, i, &leaf, error);
    if (status == TW_OK && i > 0) /* the first one's samples are there */
        status = gather(shares, &leaf, step, error);
    if (status == TW_OK && is_elastic(shares) && leaf.walked == 0 && leaf.part_number == 0)
        status = stretch(shares, &leaf, error);
    if (status == TW_OK)
        status = forward(shares, &leaf, step);
    if (status != TW_OK || i + 1 == shares->leaves)
        return status;
    while (backward(shares, &leaf, &first, &tensors))
        if (config->unwanted != NULL && config->unwanted(config->context))
            return TW_STALE;
    return TW_OK;
}

enum tw_status tw_shares_begin(struct tw_shares *shares, uint64_t step, struct tw_error *error) {
    enum tw_status status = tw_shares_ready(shares, step, error);
    tw_tree_sum_begin(&shares->loss);
    tw_tree_sum_begin(&shares->slot_loss);
    shares->examples = shares->correct = 0;
    shares->gathered = 0; /* the net uses its input up */
    for (uint64_t i = 0; status == TW_OK && i < shares->leaves; i++)
        status = compute(shares, i, step, error);
    return status;
}

/* The last leaf, whose net is there. */
static struct leaf last_leaf(const struct tw_shares *shares) {
    if (shares->found == shares->leaves)
        return shares->leaf;
    struct leaf leaf = leaf_of(shares, shares->leaves - 1);
    bool second = shares->net[1] != NULL && (uint32_t)tw_net_rows(shares->net[1]) == leaf.part.rows;
    leaf.net = shares->net[second];
    return leaf;
}

bool tw_shares_next(struct tw_shares *shares, int *first, int *tensors) {
    struct leaf leaf = last_leaf(shares);
    return backward(shares, &leaf, first, tensors);
}

const float *tw_shares_gradient(const struct tw_shares *shares, int tensor) {
    return tw_net_gradient(last_leaf(shares).net, tensor);
}

uint64_t tw_shares_examples(const struct tw_shares *shares) {
    return shares->examples;
}

double tw_shares_loss(const struct tw_shares *shares) {
    return tw_tree_sum_total(&shares->loss);
}

uint64_t tw_shares_correct(const struct tw_shares *shares) {
    return shares->correct;
}
