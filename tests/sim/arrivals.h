/* What must hold where chunks are applied as they come, and no log says in which order.
 *
 * The gradient of each (slot, step) takes one step of plain descent at elements of its own, some in
 * every chunk of the largest tensor, and none elsewhere. So the final weights say of each (slot,
 * step) how often it was applied to each of these chunks: once when it is in the log as applied,
 * once or not at all when it was released and dropped, and never when it was not released.
 */
#ifndef TW_TESTS_ARRIVALS_H
#define TW_TESTS_ARRIVALS_H

#include "common/tensor/layout.h"
#include "proto/order_log.h"

#define ARRIVALS_RULE "sgd lr=.25" /* with which the weights say so */
#define ARRIVALS_SHARE 2           /* examples of every push */

struct arrivals;

struct arrivals *arrivals_new(const struct tw_layout *layout, uint64_t seed);
void arrivals_free(struct arrivals *arrivals); /* NULL is fine */

void arrivals_gradient(const struct tw_tensor_list *list, uint64_t seed, uint32_t slot,
                       uint64_t step, double not_finite, float *const *gradient);
void arrivals_record(struct arrivals *arrivals, const struct tw_record *record);
/* Of one chunk of the largest tensor (number 0), at the end. */
void arrivals_check(const struct arrivals *arrivals, const struct tw_chunk *chunk,
                    const float *weights);

#endif
