#include "worker/io/shares.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/tree_sum.h"
#include "common/tensor/kernels.h"

/* The share of one slot: who says which samples, and the net of its number of rows. */
struct share {
    struct tw_sampler *sampler;
    struct tw_net *net; /* one of tw_shares.net */
};

struct tw_shares {
    struct tw_shares_config config;
    struct share *share;   /* [width] */
    struct tw_net *net[2]; /* shares of a batch differ by one row at most */
    uint32_t *positions;   /* [rows of the largest net] */
    uint64_t gathered;     /* the step whose samples are in the first slot's net; 0: none */
    /* The tree, as a binary counter: while slot i is computed, partial[k] is the sum of
     * the last 2^k slots before it wherever bit k of i is set. */
    float **partial; /* [depth], tensor after tensor */
    int depth;       /* log2 of width */
    size_t *offset;  /* [tensors] of each in a partial sum */
    struct tw_tree_sum loss;
    uint64_t examples, correct;
};

/* ---- making ---- */

static enum tw_status out_of_memory(const struct tw_shares *shares, struct tw_error *error) {
    return tw_error_set(error, TW_NO_MEMORY, "out of memory for the sums of %u slots",
                        shares->config.width);
}

static enum tw_status allocate(struct tw_shares *shares, struct tw_error *error) {
    const struct tw_tensor_list *list = &shares->config.model->list;
    size_t elements = 0;

    while (1u << shares->depth < shares->config.width)
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

static enum tw_status make_share(struct tw_shares *shares, uint32_t i, struct tw_error *error) {
    const struct tw_shares_config *config = &shares->config;
    uint32_t rows = tw_sampler_share(config->batch, config->slots, config->slot + i);
    if (config->model->objective != NULL)
        return find_net(shares, rows, &shares->share[i].net, error);
    struct tw_sampler_config sampler = {
        .shard = config->shard,
        .seed = config->seeds.sampling,
        .slot = config->slot + i,
        .slots = config->slots,
        .samples = config->data->count,
        .rows = rows,
    };
    enum tw_status status = tw_sampler_new(&shares->share[i].sampler, &sampler, error);
    return status == TW_OK ? find_net(shares, rows, &shares->share[i].net, error) : status;
}

enum tw_status tw_shares_new(struct tw_shares **out, const struct tw_shares_config *config,
                             struct tw_error *error) {
    *out = NULL;
    struct tw_shares *shares = calloc(1, sizeof(*shares));
    if (shares == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    shares->config = *config;
    enum tw_status status = allocate(shares, error);
    for (uint32_t i = 0; status == TW_OK && i < config->width; i++)
        status = make_share(shares, i, error);
    if (status == TW_OK) { /* the first slot has no fewer rows than the others */
        size_t rows = (size_t)tw_net_rows(shares->share[0].net);
        shares->positions = calloc(rows, sizeof(*shares->positions));
        if (shares->positions == NULL)
            status = out_of_memory(shares, error);
    }
    if (status == TW_OK)
        *out = shares;
    else
        tw_shares_free(shares);
    return status;
}

enum tw_status tw_shares_bind(struct tw_shares *shares, uint32_t slot, const float *const *weights,
                              struct tw_error *error) {
    struct tw_shares_config *config = &shares->config;
    enum tw_status status = TW_OK;
    config->slot = slot;
    config->weights = weights;
    shares->gathered = 0;
    for (uint32_t i = 0; status == TW_OK && i < config->width; i++) {
        uint32_t rows = tw_sampler_share(config->batch, config->slots, slot + i);
        if (shares->share[i].sampler != NULL)
            tw_sampler_bind(shares->share[i].sampler, slot + i, rows);
        status = find_net(shares, rows, &shares->share[i].net, error);
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
    free(shares->share);
    free(shares->positions);
    free(shares->partial);
    free(shares->offset);
    free(shares);
}

/* ---- a step ---- */

static enum tw_status gather(struct tw_shares *shares, uint32_t i, uint64_t step,
                             struct tw_error *error) {
    const struct share *share = &shares->share[i];
    const struct tw_model *model = shares->config.model;
    if (model->objective != NULL) {
        tw_objective_noise(&model->objective_options, shares->config.seeds.noise,
                           shares->config.slot + i, step, tw_net_rows(share->net),
                           tw_net_input(share->net));
        return TW_OK;
    }
    if (tw_sampler_take(share->sampler, step, shares->positions) != TW_OK)
        return tw_error_set(error, TW_LIMIT, "the server gave step %llu, which has no samples",
                            (unsigned long long)step);
    const struct tw_dataset *data = shares->config.data;
    tw_dataset_gather(data, shares->positions, tw_net_rows(share->net), tw_net_batch(share->net));
    tw_augment_batch(&shares->config.augment, share->sampler, step, shares->positions,
                     tw_net_rows(share->net), tw_net_batch(share->net));
    if (data->streams && tw_sampler_take(share->sampler, step + 1, shares->positions) == TW_OK)
        tw_dataset_ahead(data, shares->positions, tw_net_rows(share->net));
    return TW_OK;
}

enum tw_status tw_shares_ready(struct tw_shares *shares, uint64_t step, struct tw_error *error) {
    if (shares->gathered == step)
        return TW_OK;
    shares->gathered = 0;
    enum tw_status status = gather(shares, 0, step, error);
    if (status == TW_OK)
        shares->gathered = step;
    return status;
}

static enum tw_status forward(struct tw_shares *shares, uint32_t i, uint64_t step) {
    const struct tw_shares_config *config = &shares->config;
    struct tw_score score;
    tw_net_dice(shares->share[i].net, config->seeds.dropout, config->slot + i, step);
    if (!tw_net_forward(shares->share[i].net, &score))
        return TW_STALE;
    tw_tree_sum_add(&shares->loss, score.loss);
    shares->examples += (uint64_t)score.examples;
    shares->correct += (uint64_t)score.correct;
    return TW_OK;
}

/* Slot i brings its gradient of a tensor: sums of equally many slots become one, and
 * what is no whole block yet waits. Of the last slot the net then holds the sum. */
static void add(struct tw_shares *shares, uint32_t i, int tensor) {
    size_t count = (size_t)shares->config.model->list.tensors[tensor].elements;
    float *gradient = tw_net_gradient(shares->share[i].net, tensor);
    int k = 0;
    for (; i >> k & 1; k++) {
        const float *pair[2] = {shares->partial[k] + shares->offset[tensor], gradient};
        tw_sum_tree(gradient, pair, 2, count);
        tw_net_changed(shares->share[i].net);
    }
    if (i + 1 < shares->config.width)
        memcpy(shares->partial[k] + shares->offset[tensor], gradient, count * sizeof(float));
}

static bool backward(struct tw_shares *shares, uint32_t i, int *first, int *tensors) {
    if (!tw_net_backward_step(shares->share[i].net, first, tensors))
        return false;
    for (int tensor = *first; tensor < *first + *tensors; tensor++)
        add(shares, i, tensor);
    return true;
}

enum tw_status tw_shares_begin(struct tw_shares *shares, uint64_t step, struct tw_error *error) {
    int first, tensors;
    enum tw_status status = tw_shares_ready(shares, step, error);
    shares->loss = (struct tw_tree_sum){0};
    shares->examples = shares->correct = 0;
    shares->gathered = 0; /* the net uses its input up */
    for (uint32_t i = 0; status == TW_OK; i++) {
        status = forward(shares, i, step);
        if (status != TW_OK || i + 1 == shares->config.width)
            break;
        while (backward(shares, i, &first, &tensors))
            if (shares->config.unwanted != NULL && shares->config.unwanted(shares->config.context))
                return TW_STALE;
        status = gather(shares, i + 1, step, error);
    }
    return status;
}

bool tw_shares_next(struct tw_shares *shares, int *first, int *tensors) {
    return backward(shares, shares->config.width - 1, first, tensors);
}

const float *tw_shares_gradient(const struct tw_shares *shares, int tensor) {
    return tw_net_gradient(shares->share[shares->config.width - 1].net, tensor);
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
