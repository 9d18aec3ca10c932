/* What an evaluator says of a model: mean loss and accuracy on a whole data set.
 *
 * Used by train.c and the simulator. One batch shape for all (TW_NET_EVALUATION_ROWS), the last
 * one filled up with zeros, so that the bits do not depend on who asks.
 */
#ifndef TW_WORKER_IO_SCORE_H
#define TW_WORKER_IO_SCORE_H

#include "worker/data/dataset.h"
#include "worker/nn/net.h"

/* `net`: of TW_NET_EVALUATION_ROWS rows, bound to the weights. Accuracy: NaN without classes. */
void tw_score_data(struct tw_net *net, const struct tw_dataset *data, double *loss,
                   double *accuracy);

#endif
