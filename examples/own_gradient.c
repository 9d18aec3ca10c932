/* Training a model of your own with Talweg's servers: softmax regression on data
 * that is made up here, so that the program needs nothing but libtalweg.
 *
 *     cc own_gradient.c -o own_gradient $(pkg-config --cflags --libs talweg) -lm
 *     talweg server own-gradient.yaml --listen 127.0.0.1:7070 --out runs/own
 *     ./own_gradient 127.0.0.1:7070            # as often as the job has workers
 *
 * The server holds the weights and applies the updates. This program gets weights,
 * computes the gradient of some examples, and sends it; it never changes weights.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <talweg.h>

enum { FEATURES = 4, CLASSES = 3, EXAMPLES = 32 };

/* ---- made-up data: each class is a cloud around a point of its own ---- */

struct example {
    float x[FEATURES];
    int label;
};

/* A hash as a source of random numbers: the same (seed, number) always gives the same
 * value, whoever asks. So an example depends on its number only, and the run gives the
 * same weights each time, whichever process computes which part. */
static double uniform(uint64_t seed, uint64_t number) {
    uint64_t z = seed * 0x9E3779B97F4A7C15u + number + 1;
    for (int i = 0; i < 3; i++) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
    }
    return (double)(z >> 11) / 9007199254740992.0; /* 2^53 */
}

static struct example make_example(uint64_t seed) {
    static const float centre[CLASSES][FEATURES] = {{1, 0, 0, -1}, {-1, 1, 0, 0}, {0, -1, 1, 0}};
    struct example example = {.label = (int)(CLASSES * uniform(seed, 0))};
    for (int i = 0; i < FEATURES; i++) {
        double noise = 0; /* nearly normal: a sum of uniform numbers */
        for (uint64_t j = 0; j < 4; j++)
            noise += uniform(seed, 1 + 4 * (uint64_t)i + j) - 0.5;
        example.x[i] = centre[example.label][i] + (float)noise;
    }
    return example;
}

/* ---- the model: scores = x w + b, and their softmax ---- */

struct model { /* what job and program agree on: tensors "w" [4, 3] and "b" [3] */
    float w[FEATURES][CLASSES];
    float b[CLASSES];
};

static void probabilities(const struct model *model, const struct example *example,
                          double p[CLASSES]) {
    double largest = -INFINITY, sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        p[c] = model->b[c];
        for (int i = 0; i < FEATURES; i++)
            p[c] += example->x[i] * model->w[i][c];
        largest = fmax(largest, p[c]);
    }
    for (int c = 0; c < CLASSES; c++)
        sum += p[c] = exp(p[c] - largest); /* no overflow, whatever the scores are */
    for (int c = 0; c < CLASSES; c++)
        p[c] /= sum;
}

/* Adds the gradient of one example to `gradient`; returns its loss. Sums, not means:
 * the server divides, once, by the number of examples of all workers. */
static double add_gradient(const struct model *model, const struct example *example,
                           struct model *gradient) {
    double p[CLASSES];
    probabilities(model, example, p);
    for (int c = 0; c < CLASSES; c++) {
        float d = (float)(p[c] - (c == example->label)); /* d loss / d score */
        for (int i = 0; i < FEATURES; i++)
            gradient->w[i][c] += example->x[i] * d;
        gradient->b[c] += d;
    }
    return -log(p[example->label]);
}

static double accuracy(const struct model *model) {
    int right = 0, count = 1000;
    for (int n = 0; n < count; n++) {
        struct example example = make_example(UINT64_MAX - (uint64_t)n); /* never trained on */
        double p[CLASSES];
        int best = 0;
        probabilities(model, &example, p);
        for (int c = 1; c < CLASSES; c++)
            best = p[c] > p[best] ? c : best;
        right += best == example.label;
    }
    return (double)right / count;
}

/* ---- the loop: pull, compute, push ---- */

/* One step. What comes back is TALWEG_OK, TALWEG_E_STOP at the end, or an error. */
static int train_step(struct talweg *talweg, const struct model *model, struct model *gradient) {
    struct talweg_place place = talweg_get_place(talweg);
    uint64_t step;
    double loss = 0;

    /* Waits until `model` holds the weights of one version. From here on `gradient`,
     * which was on loan since the last push, is ours again. A model with layers would call
     * talweg_pull_begin(), and talweg_pull_tensor() before each layer: it computes with the
     * first ones' weights while the last are on their way. */
    int result = talweg_pull(talweg, &step);
    if (result != TALWEG_OK)
        return result;

    /* The step, with our slot, names the examples: each slot has its own. */
    *gradient = (struct model){0};
    for (uint64_t n = 0; n < EXAMPLES; n++) {
        struct example example = make_example((step * place.slots + place.slot) * EXAMPLES + n);
        loss += add_gradient(model, &example, gradient);
        if (talweg_cancelled(talweg)) /* this step is not wanted any more: take the next */
            return TALWEG_OK;
    }
    if (step % 50 == 1)
        fprintf(stderr, "worker %u, step %llu: loss %.4f\n", place.rank, (unsigned long long)step,
                loss / EXAMPLES);

    /* A tensor leaves as soon as it is pushed; a larger model would push each one as
     * soon as its gradient is final, and go on computing the others. */
    result = talweg_push_tensor(talweg, 1, gradient->b);
    if (result == TALWEG_OK)
        result = talweg_push_tensor(talweg, 0, &gradient->w[0][0]);
    return result == TALWEG_OK ? talweg_push_end(talweg, EXAMPLES, loss) : result;
}

int main(int argc, char **argv) {
    static const int64_t w_shape[] = {FEATURES, CLASSES}, b_shape[] = {CLASSES};
    struct model model, gradient;
    /* The weights are memory of ours: a pull writes into it. */
    const struct talweg_tensor tensors[] = {
        {.name = "w", .dims = 2, .shape = w_shape, .weights = &model.w[0][0]},
        {.name = "b", .dims = 1, .shape = b_shape, .weights = model.b},
    };
    struct talweg_config config = TALWEG_CONFIG_INIT;
    struct talweg *talweg;

    if (argc != 2) {
        fprintf(stderr, "usage: own_gradient HOST:PORT\n");
        return 2;
    }
    config.server = argv[1];
    config.tensors = tensors;
    config.tensor_count = 2;
    config.numerics = "own_gradient 1"; /* change it when the gradient's bits change */

    int result = talweg_join(&talweg, &config);
    while (result == TALWEG_OK)
        result = train_step(talweg, &model, &gradient);

    if (result == TALWEG_E_STOP)
        printf("accuracy %.3f\n", accuracy(&model));
    else
        fprintf(stderr, "own_gradient: %s\n", talweg_error(talweg));
    talweg_leave(talweg);
    return result == TALWEG_E_STOP ? 0 : 1;
}
