/* The gradient of a rank: the sum over its block of slots.
 *
 * Each slot has its own samples and its own share of the batch, which is computed by
 * calls of fixed shape (one net per number of rows), as if a worker of its own did it.
 * Shares are added by the tree of tw_sum_tree(). So the sum that this rank pushes is
 * the very node of the tree that the servers would have made of the single shares, and
 * the bits of a `sync` run do not depend on how many workers own the slots
 * (docs/determinism.md, "Slots").
 *
 * With `local.steps` above 1 a slot makes so many steps by itself (`local_steps`;
 * docs/local-steps.md): each goes on from weights of its own, a step of plain descent on from the
 * last, and the gradients of all are added one after the other before those of slots are. To the
 * sampler they are steps by themselves: step t of the servers is the local steps (t - 1) H + 1 to
 * t H.
 *
 * With `local.rho` a slot keeps weights of its own from one push to the next, and pushes how the
 * servers' are pulled towards them (elastic averaging, docs/local-steps.md).
 *
 * A share may be taken apart once more, into `parts` that are computed one after the other and
 * added as if each had a slot of its own (`accumulate`; docs/determinism.md, "Parts"): the
 * activations' memory is that of one part. Which samples and which random numbers an example
 * has does not depend on it.
 *
 * One step:
 *
 *     tw_shares_begin(shares, step, &error)     waits for weights, layer by layer (`there`)
 *     while (tw_shares_next(shares, &first, &tensors))
 *         gradients of tensors [first, first + tensors) are final: send them
 *
 * Used by train.c, and by the simulator for all workers. One thread, which has called
 * tw_gemm_thread(). After tw_shares_new() only tw_shares_bind() allocates, and, elastic,
 * tw_shares_begin() at a slot's first step.
 */
#ifndef TW_WORKER_IO_SHARES_H
#define TW_WORKER_IO_SHARES_H

#include "worker/data/augment.h"
#include "worker/data/own.h"
#include "worker/data/sampler.h"
#include "worker/nn/net.h"

struct tw_shares_config {
    const struct tw_model *model; /* outlives the shares, as do the two below */
    const float *const *weights;  /* [tensors]: the values are read at each step */
    struct tw_train_data data;    /* none: the model is an objective */
    enum tw_data_shard shard;
    struct tw_seeds seeds;
    struct tw_augment augment;   /* of the samples; zeros: none */
    int64_t batch;               /* over all slots */
    uint32_t slot, width, slots; /* slots [slot, slot + width) of `slots` */
    uint32_t parts;              /* of each share: 1, or a power of two */
    struct tw_local_steps local; /* at least 1 */
    /* Asked between layers: true, the step is not wanted any more. NULL: it always is. */
    bool (*unwanted)(void *context);
    /* Asked before the weights of these tensors are read: as tw_net_await(). NULL: they are there
     * when a step begins. */
    bool (*there)(void *context, int first, int tensors);
    void *context;
};

struct tw_shares;

/* TW_JOB: a part would have no example; TW_NO_MEMORY. *out is the caller's. Memory: at
 * most two nets, of the rows of a part; one gradient for each doubling of width * parts; with local
 * steps weights and a gradient; and for each slot a sampler (elastic: and weights for each slot
 * that it has computed for, up to `slots` of them). */
enum tw_status tw_shares_new(struct tw_shares **out, const struct tw_shares_config *config,
                             struct tw_error *error);

/* Bytes that its nets and sums would take, by model, batch, slots, parts and local steps;
 * SIZE_MAX when they cannot be counted. Neither weights nor samplers are among them.
 * TW_NO_MEMORY. */
enum tw_status tw_shares_bytes(const struct tw_shares_config *config, size_t *bytes,
                               struct tw_error *error);

/* From here on it computes for the slots from `slot` on, at other weights: one of them can serve
 * many ranks, one step after the other. It was made for slot 0. TW_NO_MEMORY. */
enum tw_status tw_shares_bind(struct tw_shares *shares, uint32_t slot, const float *const *weights,
                              struct tw_error *error);

/* The slots [slot, slot + width) are a new process's, which knows nothing of what they did by
 * themselves: elastic, they begin again with the weights of their next step. */
void tw_shares_forget(struct tw_shares *shares, uint32_t slot);

/* NULL is fine. */
void tw_shares_free(struct tw_shares *shares);

/* Gathers the samples of the first part of `step`, so that they are there when its weights
 * come. Changes no result. TW_LIMIT as tw_sampler_take(). */
enum tw_status tw_shares_ready(struct tw_shares *shares, uint64_t step, struct tw_error *error);

/* Computes all of the step but the last part's way back. TW_LIMIT likewise; TW_STALE: it was
 * not wanted any more, and given up; TW_NO_MEMORY: elastic, for the weights of a slot. */
enum tw_status tw_shares_begin(struct tw_shares *shares, uint64_t step, struct tw_error *error);

/* One layer of it; as tw_net_backward_step(), with gradients that are sums over all
 * slots and parts. They stay untouched until the next tw_shares_begin(). */
bool tw_shares_next(struct tw_shares *shares, int *first, int *tensors);

const float *tw_shares_gradient(const struct tw_shares *shares, int tensor);

/* Of the whole step: how many, and the sum of their losses, by the same tree. */
uint64_t tw_shares_examples(const struct tw_shares *shares);
double tw_shares_loss(const struct tw_shares *shares);
/* How many of them the model got right. */
uint64_t tw_shares_correct(const struct tw_shares *shares);

#endif
