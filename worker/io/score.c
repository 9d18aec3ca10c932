#include "worker/io/score.h"

#include <math.h>

void tw_score_data(struct tw_net *net, const struct tw_dataset *data, double *loss,
                   double *accuracy) {
    uint32_t positions[TW_NET_EVALUATION_ROWS], rows = TW_NET_EVALUATION_ROWS;
    struct tw_score score = {0};
    for (uint32_t first = 0; first < data->count; first += rows) {
        uint32_t here = data->count - first < rows ? data->count - first : rows;
        for (uint32_t i = 0; i < here; i++)
            positions[i] = first + i;
        tw_dataset_gather(data, positions, (int)here, tw_net_batch(net));
        tw_net_evaluate(net, (int)here, &score);
    }
    double examples = (double)score.examples;
    *loss = score.loss / examples;
    *accuracy = data->outputs == 0 ? (double)score.correct / examples : (double)NAN;
}
