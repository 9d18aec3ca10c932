/* The oracle: what the weights must be, computed in the plainest way from the
 * order log alone. It shares with the servers the update rules, the summing tree and
 * sums of squares (tested on their own), and nothing else: no shards, chunks, votes, buffers
 * or sessions. A worker's gradient is a function of (weights, slot, step), so a
 * log and the initial weights determine everything.
 */
#ifndef TW_TESTS_ORACLE_H
#define TW_TESTS_ORACLE_H

#include "common/tensor/sample.h"
#include "common/tensor/tensor.h"
#include "server/core/record.h"
#include "server/core/shaping.h"

struct oracle;

struct oracle *oracle_new(const struct tw_tensor_list *list, uint64_t seed, uint32_t ranks,
                          uint32_t width, const struct tw_optimizer *optimizer,
                          const struct tw_optimizer_options *options,
                          const struct tw_shaping *shaping, double not_finite);
void oracle_free(struct oracle *oracle);

/* How gradients and weights travel (enum tw_encoding_number); float32 unless this is called. */
void oracle_encodings(struct oracle *oracle, uint32_t push, uint32_t pull);

/* The gradient sum of a step of slots [slot, slot + width) on these weights, added by the
 * tree, per tensor one after the other, and its examples and loss. */
void oracle_gradient(const struct tw_tensor_list *list, uint64_t seed, uint32_t slot,
                     uint32_t width, uint64_t step, double not_finite, const float *const *weights,
                     float *const *gradient, uint64_t *examples, double *loss);

/* The next record of the log. Fails the test when a record breaks a rule: a
 * position that is not the next, a (slot, step) applied twice or out of order, a
 * COMMIT of a push whose read is not the slot's last RELEASE. */
void oracle_record(struct oracle *oracle, const struct tw_record *record);

/* What the servers say of the weights of the last COMMIT and of each tensor, put together from
 * all shards: the oracle computes it of whole tensors. */
void oracle_check_sample(const struct oracle *oracle, const struct tw_sample *sample,
                         const struct tw_tensor_squares *steps);

/* The weights at the end, tensor after tensor. */
const float *oracle_weights(const struct oracle *oracle, int tensor);
/* Their average; NULL: there is none. */
const float *oracle_average(const struct oracle *oracle, int tensor);

#endif
