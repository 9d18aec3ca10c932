/* Evaluators of the virtual cluster: what they count of test data that are a function of the first
 * weight, and whether the cluster's evaluations are, to the bit, what one evaluator would have
 * said of the weights of that version.
 *
 * The data: SCORERS_SAMPLES samples with labels of two classes, so that losses, counts and the area
 * under the curve (with ties) must all come together.
 */
#ifndef TW_TESTS_SCORERS_H
#define TW_TESTS_SCORERS_H

#include "server/core/node.h"
#include "worker/core/client.h"

#define SCORERS_SAMPLES 1400 /* five batches and a half */

struct scorers;

/* A node whose evaluators are these; `judged`: something goes by the test loss, and nothing
 * follows. */
void scorers_configure(struct tw_node_config *node, bool several, bool judged);

struct scorers *scorers_new(void);
void scorers_free(struct scorers *scorers);

/* What an evaluator that is computing says of its portion, at this first weight. What it points to
 * is valid until the next call. */
struct tw_client_event scorers_score(struct scorers *scorers, const struct tw_client *client,
                                     double weight);

/* A Portion was given. */
void scorers_given(struct scorers *scorers, const struct tw_portion *portion);

/* EVALUATED: the numbers are those of that version's weights. BORDER: an evaluation will come, if
 * an evaluator is there. Other events are counted, or nothing. */
void scorers_event(struct scorers *scorers, const struct tw_node_event *event);

/* Portions that were a part of the data, and of them those that somebody else had had before;
 * evaluations that came, and those that were given up. */
struct scorers_counts {
    uint64_t portions, again, evaluated, given_up;
};
/* NULL: none. */
struct scorers_counts scorers_counts(const struct scorers *scorers);

#endif
