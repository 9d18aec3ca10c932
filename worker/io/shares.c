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

/* What is computed at once: a part of the share of a slot. They are numbered, slot after slot. */
struct leaf {
    struct tw_part part;
    struct tw_net *net; /* one of tw_shares.net */
    uint32_t share;     /* its slot is config.slot + share */
};

struct tw_shares {
    struct tw_shares_config config;
    struct share *share;   /* [width] */
    struct tw_net *net[2]; /* parts of the shares of a batch differ by one row at most */
    uint32_t *positions;   /* [rows of the largest share] */
    uint64_t gathered;     /* the step whose samples are in the first leaf's net; 0: none */
    uint32_t leaves;       /* width * parts */
    /* The tree, as a binary counter: while leaf i is computed, partial[k] is the sum of
     * the last 2^k leaves before it wherever bit k of i is set. */
    float **partial; /* [depth], tensor after tensor */
    int depth;       /* log2 of leaves */
    size_t *offset;  /* [tensors] of each in a partial sum */
    struct tw_tree_sum loss;
    uint64_t examples, correct;
};

/* ---- making ---- */

static enum tw_status out_of_memory(const struct tw_shares *shares, struct tw_error *error) {
    return tw_error_set(error, TW_NO_MEMORY, "out of memory for the sums of %u gradients",
                        shares->leaves);
}

static enum tw_status allocate(struct tw_shares *shares, struct tw_error *error) {
    const struct tw_tensor_list *list = &shares->config.model->list;
    size_t elements = 0;

    shares->leaves = shares->config.width * shares->config.parts;
    while (1u << shares->depth < shares->leaves)
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
        shares->partial[k] = malloc(elements * sizeof(float));
        if (shares->partial[k] == NULL)
            return out_of_memory(shares, error);
        memset(shares->partial[k], 0, elements * sizeof(float)); /* touched before it is needed */
    }
    return TW_OK;
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
    if (status == TW_OK)
        tw_net_watch(shares->net[i], config->unwanted, config->context);
    *out = shares->net[i];
    return status;
}

static struct leaf leaf_of(const struct tw_shares *shares, uint32_t number) {
    uint32_t parts = shares->config.parts, share = number / parts;
    return (struct leaf){.part = tw_sampler_part(shares->share[share].rows, parts, number % parts),
                         .share = share};
}

/* The leaf with its net, which is made when there is none yet. */
static enum tw_status find_leaf(struct tw_shares *shares, uint32_t number, struct leaf *out,
                                struct tw_error *error) {
    *out = leaf_of(shares, number);
    return find_net(shares, out->part.rows, &out->net, error);
}

/* The first part of a share is the largest, the last the smallest. */
static enum tw_status make_nets(struct tw_shares *shares, struct tw_error *error) {
    enum tw_status status = TW_OK;
    struct leaf leaf;
    for (uint32_t i = 0; status == TW_OK && i < shares->config.width; i++) {
        uint32_t first = i * shares->config.parts;
        status = find_leaf(shares, first, &leaf, error);
        if (status == TW_OK)
            status = find_leaf(shares, first + shares->config.parts - 1, &leaf, error);
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
        .samples = config->data->count,
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
    assert(config->parts >= 1);
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
    for (uint32_t i = 0; i < config->width; i++) {
        struct share *share = &shares->share[i];
        share->rows = tw_sampler_share(config->batch, config->slots, slot + i);
        if (share->sampler != NULL)
            tw_sampler_bind(share->sampler, slot + i, share->rows);
    }
    enum tw_status status = make_nets(shares, error);
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
    free(shares->share);
    free(shares->positions);
    free(shares->partial);
    free(shares->offset);
    free(shares);
}

/* ---- a step ---- */

/* Rows of the slot's next step will be asked for soon: the pages that they are in are read. */
static void read_ahead(struct tw_shares *shares, const struct share *share, uint64_t step) {
    const struct tw_dataset *data = shares->config.data;
    if (data->streams && tw_sampler_take(share->sampler, step + 1, shares->positions) == TW_OK)
        tw_dataset_ahead(data, shares->positions, (int)share->rows);
}

static enum tw_status gather(struct tw_shares *shares, const struct leaf *leaf, uint64_t step,
                             struct tw_error *error) {
    const struct share *share = &shares->share[leaf->share];
    const struct tw_model *model = shares->config.model;
    if (model->objective != NULL) {
        tw_objective_noise(&model->objective_options, shares->config.seeds.noise,
                           shares->config.slot + leaf->share, step, &leaf->part,
                           tw_net_input(leaf->net));
        return TW_OK;
    }
    if (tw_sampler_take_part(share->sampler, step, &leaf->part, shares->positions) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the server gave step %llu, which has no samples",
                            (unsigned long long)step);
    struct tw_batch *batch = tw_net_batch(leaf->net);
    tw_dataset_gather(shares->config.data, shares->positions, (int)leaf->part.rows, batch);
    tw_augment_batch(&shares->config.augment, share->sampler, step, &leaf->part, shares->positions,
                     batch);
    if (leaf->part.first == 0) /* the first one asks for all of them */
        read_ahead(shares, share, step);
    return TW_OK;
}

enum tw_status tw_shares_ready(struct tw_shares *shares, uint64_t step, struct tw_error *error) {
    if (shares->gathered == step)
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
    tw_net_dice(leaf->net, config->seeds.dropout, config->slot + leaf->share, step, &leaf->part);
    if (!tw_net_forward(leaf->net, &score))
        return TW_STALE;
    tw_tree_sum_add(&shares->loss, score.loss);
    shares->examples += (uint64_t)score.examples;
    shares->correct += (uint64_t)score.correct;
    return TW_OK;
}

/* Leaf i brings its gradient of a tensor: sums of equally many leaves become one, and
 * what is no whole block yet waits. Of the last one the net then holds the sum. */
static void add(struct tw_shares *shares, uint32_t i, struct tw_net *net, int tensor) {
    size_t count = (size_t)shares->config.model->list.tensors[tensor].elements;
    float *gradient = tw_net_gradient(net, tensor);
    int k = 0;
    for (; i >> k & 1; k++) {
        const float *pair[2] = {shares->partial[k] + shares->offset[tensor], gradient};
        tw_sum_tree(gradient, pair, 2, count);
        tw_net_changed(net);
    }
    if (i + 1 < shares->leaves)
        memcpy(shares->partial[k] + shares->offset[tensor], gradient, count * sizeof(float));
}

static bool backward(struct tw_shares *shares, uint32_t i, struct tw_net *net, int *first,
                     int *tensors) {
    if (!tw_net_backward_step(net, first, tensors))
        return false;
    for (int tensor = *first; tensor < *first + *tensors; tensor++)
        add(shares, i, net, tensor);
    return true;
}

/* All of a leaf but the way back of the last one. */
static enum tw_status compute(struct tw_shares *shares, uint32_t i, uint64_t step,
                              struct tw_error *error) {
    const struct tw_shares_config *config = &shares->config;
    int first, tensors;
    struct leaf leaf;
    enum tw_status status = find_leaf(shares, i, &leaf, error);
    if (status == TW_OK && i > 0) /* the first one's samples are there */
        status = gather(shares, &leaf, step, error);
    if (status == TW_OK)
        status = forward(shares, &leaf, step);
    if (status != TW_OK || i + 1 == shares->leaves)
        return status;
    while (backward(shares, i, leaf.net, &first, &tensors))
        if (config->unwanted != NULL && config->unwanted(config->context))
            return TW_STALE;
    return TW_OK;
}

enum tw_status tw_shares_begin(struct tw_shares *shares, uint64_t step, struct tw_error *error) {
    enum tw_status status = tw_shares_ready(shares, step, error);
    shares->loss = (struct tw_tree_sum){0};
    shares->examples = shares->correct = 0;
    shares->gathered = 0; /* the net uses its input up */
    for (uint32_t i = 0; status == TW_OK && i < shares->leaves; i++)
        status = compute(shares, i, step, error);
    return status;
}

/* The net of the last leaf. */
static struct tw_net *last_net(const struct tw_shares *shares) {
    uint32_t rows = leaf_of(shares, shares->leaves - 1).part.rows;
    bool second = shares->net[1] != NULL && (uint32_t)tw_net_rows(shares->net[1]) == rows;
    return shares->net[second];
}

bool tw_shares_next(struct tw_shares *shares, int *first, int *tensors) {
    return backward(shares, shares->leaves - 1, last_net(shares), first, tensors);
}

const float *tw_shares_gradient(const struct tw_shares *shares, int tensor) {
    return tw_net_gradient(last_net(shares), tensor);
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
