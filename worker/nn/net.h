/* A net: a model bound to memory for a fixed number of rows, and to weights that
 * somebody else owns. It computes losses and gradients; it never changes weights.
 *
 * One step of training:
 *
 *     fill tw_net_batch(), name the random numbers (tw_net_dice)
 *     tw_net_forward(net, &score)
 *     while (tw_net_backward_step(net, &first, &tensors))
 *         gradients of tensors [first, first + tensors) are final: send them
 *
 * The number of rows is fixed since it decides which kernels OpenBLAS takes, and
 * so the bits (docs/determinism.md). Nothing is allocated after tw_net_new(). A
 * net is used by one thread at a time, which has called tw_gemm_thread().
 */
#ifndef TW_NN_NET_H
#define TW_NN_NET_H

#include "worker/nn/model.h"

/* Rows of the one batch shape that evaluates. */
#define TW_NET_EVALUATION_ROWS TW_EVALUATION_ROWS

struct tw_net;

/* `weights` [list.count] point to the tensors' values, which are read at each call; the values and
 * the model outlive the net, the array of pointers need not. With `training` it has gradients, else
 * only tw_net_evaluate() may be called. All memory is touched here, not at the first step.
 * TW_NO_MEMORY, saying how much was asked for; TW_LIMIT: fewer rows than tw_model_least_rows().
 * *out is the caller's. */
enum tw_status tw_net_new(struct tw_net **out, const struct tw_model *model, int rows,
                          bool training, const tw_real *const *weights, struct tw_error *error);

/* Bytes that such a net would take, for values, gradients and what layers keep; SIZE_MAX when
 * they cannot be counted. The weights are not among them. TW_NO_MEMORY. */
enum tw_status tw_net_bytes(const struct tw_model *model, int rows, bool training, size_t *bytes,
                            struct tw_error *error);

/* From here on the net reads other weights: `weights` as for tw_net_new(). Not between the
 * two passes of a step. */
void tw_net_bind(struct tw_net *net, const tw_real *const *weights);

/* NULL is fine. */
void tw_net_free(struct tw_net *net);

/* The samples, to be filled before each call below, which may overwrite them. Labels must be below
 * the number of classes. Of an objective x is its noise (tw_objective_noise), and there is
 * nothing else. */
struct tw_batch *tw_net_batch(struct tw_net *net);

/* Parts of it: [rows, elements of a sample] and [rows]. */
tw_real *tw_net_input(struct tw_net *net);
int32_t *tw_net_labels(struct tw_net *net);
int tw_net_rows(const struct tw_net *net);

/* Somebody to ask between the layers of tw_net_forward() whether the step is not wanted any
 * more. NULL, as at first: nobody. */
void tw_net_watch(struct tw_net *net, bool (*unwanted)(void *context), void *context);

/* Somebody to ask before each layer of tw_net_forward() that has weights, `tensors` of them from
 * `first` on, before anything of these is read: it returns when they are there. False: they will
 * not be, and the step is not wanted any more. NULL, as at first: they always are. */
void tw_net_await(struct tw_net *net, bool (*there)(void *context, int first, int tensors),
                  void *context);

/* Names the random numbers of the next tw_net_forward(): `seed` of TW_STREAM_DROPOUT, the slot,
 * its step, and which rows of that step the net has (part->rows is tw_net_rows()). Without layers
 * that draw nothing depends on it; at first it is the whole of step 0 of slot 0, with seed 0. */
void tw_net_dice(struct tw_net *net, uint64_t seed, uint64_t slot, uint64_t step,
                 const struct tw_part *part);

/* Computes the outputs, sets *score to the sums over all rows, and starts a backward
 * pass. False: it was not wanted any more, and there is no backward pass. */
bool tw_net_forward(struct tw_net *net, struct tw_score *score);

/* One layer of the backward pass, from the last to the first. True: gradients of
 * *tensors (0 for a layer that has none) tensors from *first on are final, and stay
 * untouched until the next tw_net_forward(); there may be more. False: all are final and
 * nothing was done. */
bool tw_net_backward_step(struct tw_net *net, int *first, int *tensors);

/* The SUM over rows of the gradient of one tensor. All tensors lie in one block, in
 * the order of the list, without gaps: tensor 0 is its start. */
tw_real *tw_net_gradient(struct tw_net *net, int tensor);

/* Whoever has written into the gradients says so before the next step: layers for sparse rows count
 * on what they left there. */
void tw_net_changed(struct tw_net *net);

/* Computes the outputs, and adds the first `count` rows to *score (NULL: none is made); the others
 * are set to zero first and do not count. 0 <= count <= rows. */
void tw_net_evaluate(struct tw_net *net, int count, struct tw_score *score);

/* The outputs of the rows that were evaluated last, [rows, outputs]; valid until the next call. */
const tw_real *tw_net_outputs(const struct tw_net *net);

#endif
