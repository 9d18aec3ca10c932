/* A worker of libtalweg whose gradient is made up, and which pushes its tensors in an order of its
 * own, with a pause behind each:
 *
 *     any_order HOST:PORT RANK forward|backward|random MICROSECONDS pull|count
 *
 * The tensors are those of orders.py. The gradient is a function of weights, slot and step, so that
 * the order and the pauses change no bit of a synchronous run; or, to be added up in any order by
 * whoever has the log, whole numbers that depend on slot and step alone. Ends with 0 when the run
 * is over.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "worker/io/talweg.h"

enum { TENSORS = 7, SEED = 5 };

static const int64_t elements[TENSORS] = {40000, 3, 20000, 16384, 50000, 1, 33000};

struct worker {
    struct talweg *talweg;
    float *weights[TENSORS], *gradient[TENSORS];
    const char *order;
    unsigned pause_us;
    bool counts;
};

static float count(uint32_t slot, uint64_t step, int tensor, int64_t i) {
    return (float)((slot * 31 + step * 17 + (uint64_t)tensor * 7 + (uint64_t)i) % 64);
}

static double compute(struct worker *worker, uint32_t slot, uint64_t step) {
    struct tw_rng rng;
    double loss = 0;
    tw_rng_init(&rng, SEED, TW_STREAM_NOISE, slot, step);
    for (int t = 0; t < TENSORS; t++) {
        float noise = (float)tw_rng_uniform(&rng);
        for (int64_t i = 0; i < elements[t]; i++)
            worker->gradient[t][i] = worker->counts
                                         ? count(slot, step, t, i)
                                         : worker->weights[t][i] - noise * (float)(i % 101 - 50);
        loss += (double)worker->gradient[t][0];
    }
    return loss;
}

/* Of "random" the order is another in each step. */
static void arrange(const struct worker *worker, uint32_t slot, uint64_t step, int *order) {
    struct tw_rng rng;
    tw_rng_init(&rng, SEED, TW_STREAM_JITTER, slot, step);
    for (int i = 0; i < TENSORS; i++)
        order[i] = strcmp(worker->order, "backward") == 0 ? TENSORS - 1 - i : i;
    for (int i = TENSORS - 1; i > 0 && strcmp(worker->order, "random") == 0; i--) {
        int other = (int)tw_rng_below(&rng, (uint64_t)i + 1), here = order[i];
        order[i] = order[other];
        order[other] = here;
    }
}

static int work(struct worker *worker) {
    uint32_t slot = talweg_get_place(worker->talweg).slot;
    int order[TENSORS];
    uint64_t step;
    int result = talweg_pull(worker->talweg, &step);
    if (result != TALWEG_OK)
        return result;
    double loss = compute(worker, slot, step);
    arrange(worker, slot, step, order);
    for (int i = 0; i < TENSORS && result == TALWEG_OK; i++) {
        result = talweg_push_tensor(worker->talweg, order[i], worker->gradient[order[i]]);
        if (worker->pause_us > 0)
            usleep(worker->pause_us);
    }
    return result == TALWEG_OK ? talweg_push_end(worker->talweg, 1, loss) : result;
}

int main(int argc, char **argv) {
    struct talweg_config config = TALWEG_CONFIG_INIT;
    struct talweg_tensor tensors[TENSORS];
    struct worker worker = {0};
    char names[TENSORS][16];
    if (argc != 6)
        return 2;
    for (int t = 0; t < TENSORS; t++) {
        snprintf(names[t], sizeof names[t], "t%d", t);
        worker.weights[t] = calloc((size_t)elements[t], sizeof(float));
        worker.gradient[t] = calloc((size_t)elements[t], sizeof(float));
        tensors[t] = (struct talweg_tensor){names[t], 1, &elements[t], worker.weights[t]};
    }
    worker.order = argv[3];
    worker.pause_us = (unsigned)atoi(argv[4]);
    worker.counts = strcmp(argv[5], "count") == 0;
    config.server = argv[1];
    config.rank = atoi(argv[2]);
    config.tensors = tensors;
    config.tensor_count = TENSORS;
    int result = talweg_join(&worker.talweg, &config);
    while (result == TALWEG_OK)
        result = work(&worker);
    if (result != TALWEG_E_STOP)
        fprintf(stderr, "any_order: %s\n", talweg_error(worker.talweg));
    talweg_leave(worker.talweg);
    for (int t = 0; t < TENSORS; t++) {
        free(worker.weights[t]);
        free(worker.gradient[t]);
    }
    return result == TALWEG_E_STOP ? 0 : 1;
}
