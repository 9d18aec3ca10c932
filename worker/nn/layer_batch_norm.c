/* Batch normalisation (Ioffe and Szegedy 2015, "Batch Normalization: Accelerating Deep Network
 * Training by Reducing Internal Covariate Shift", algorithms 1 and 2): each channel, the first
 * dimension of a sample, of [C] or [C, H, W], is brought to mean 0 and variance 1, then scaled and
 * moved by what is learnt:
 *
 *     out = weight (in - mean) / sqrt(variance + eps) + bias
 *
 * In training mean and variance are those of the rows of the call, over rows and places: m = rows
 * H W numbers. So a sample's output depends on the others of its slot, as it is meant to.
 * In scoring they are the tensors `mean` and `variance`, which have no gradient: a call of
 * training gives rows * mean and rows * m / (m - 1) variance in their place, and the servers keep
 * an average of that over updates (tw_tensor.update): with `average: mean` it is the paper's
 * E[x] and m / (m - 1) E[s^2] over all batches so far.
 *
 * Sums: of a plane in 16 lanes, then in double over rows, in order. Two passes, so that a mean
 * far from 0 costs no digits of the variance.
 */
#include <math.h>
#include <string.h>

#include "common/tensor/clones.h"
#include "worker/nn/layer.h"

enum { WEIGHT, BIAS, MEAN, VARIANCE, TENSORS };
enum average { RUNNING, EQUAL };
enum { LANES = 16 };

static const char *const average_names[] = {[RUNNING] = "running", [EQUAL] = "mean", NULL};

struct options {
    double keep, eps;
    int average;
};

static const struct tw_option_rule rules[] = {
    {.key = "keep",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, keep),
     .fallback = 0.9,
     .min = 0,
     .max = 1,
     .max_open = true,
     .text = "what a running average keeps of itself at each update"},
    {.key = "eps",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, eps),
     .fallback = 1e-5,
     .min = 0,
     .min_open = true,
     .max = 1e6,
     .text = "added to the variance"},
    {.key = "average",
     .type = TW_OPTION_ENUM,
     .offset = offsetof(struct options, average),
     .fallback = RUNNING,
     .names = average_names,
     .text = "what scoring uses: the running average of the updates, or the mean of them all"},
};

static int64_t places_of(const struct tw_shape *in) {
    return in->elements / in->size[0];
}

/* A variance takes two numbers. */
static int least_rows(const void *options, const struct tw_shape *in) {
    return places_of(in) > 1 ? 1 : 2;
}

static int tensors(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                   struct tw_tensor *list) {
    static const char *const names[] = {"weight", "bias", "mean", "variance"};
    const struct options *norm = options;
    for (int t = 0; t < TENSORS; t++) {
        double start = t == WEIGHT || t == VARIANCE;
        list[t] = (struct tw_tensor){
            .dims = 1, .shape = {in->size[0]}, .init = {TW_INIT_CONSTANT, start}};
        memcpy(list[t].name, names[t], strlen(names[t]) + 1);
        if (t < MEAN)
            continue;
        list[t].update = norm->average == EQUAL ? TW_TENSOR_MEAN : TW_TENSOR_RUNNING;
        list[t].keep = norm->keep;
    }
    return TENSORS;
}

/* Of a call: mean and 1 / deviation of each channel. */
static int64_t kept(const void *options, const struct tw_shape *in, const struct tw_shape *out,
                    int rows) {
    return 2 * in->size[0] * (int64_t)sizeof(tw_real);
}

/* Two sums for each channel. */
static int64_t scratch(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    return 2 * in->size[0] * (int64_t)sizeof(double);
}

static double flop(const void *options, const struct tw_shape *in, const struct tw_shape *out) {
    return 8 * (double)out->elements;
}

/* ---- sums over rows and places ---- */

enum term { VALUE, SQUARE, PRODUCT };

#define INLINE static inline __attribute__((always_inline))

INLINE tw_real term_of(enum term term, tw_real a, tw_real b, tw_real mean) {
    return term == VALUE ? a : term == SQUARE ? (a - mean) * (a - mean) : a * (b - mean);
}

INLINE double sum_plane(enum term term, const tw_real *a, const tw_real *b, tw_real mean,
                        int64_t places) {
    tw_real lane[LANES] = {0};
    const int64_t whole = places / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += term_of(term, a[i + j], b[i + j], mean);
    for (int64_t i = whole; i < places; i++)
        lane[i - whole] += term_of(term, a[i], b[i], mean);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    return (double)lane[0];
}

/* sum[c] = sum over rows and places of a, (a - mean)^2, or a (b - mean). */
INLINE void sum_channels(enum term term, const struct tw_layer_pass *pass, const tw_real *a,
                         const tw_real *b, const tw_real *mean, double *sum) {
    const int64_t channels = pass->in_shape->size[0], places = places_of(pass->in_shape);
    for (int64_t c = 0; c < channels; c++)
        sum[c] = 0;
    for (int64_t row = 0; row < pass->rows; row++) {
        const int64_t at = row * channels * places;
        if (places == 1) {
            for (int64_t c = 0; c < channels; c++)
                sum[c] += (double)term_of(term, a[at + c], b[at + c], mean[c]);
            continue;
        }
        for (int64_t c = 0; c < channels; c++)
            sum[c] += sum_plane(term, a + at + c * places, b + at + c * places, mean[c], places);
    }
}

TW_CLONES static void sum_values(const struct tw_layer_pass *pass, const tw_real *x,
                                 const tw_real *any, double *sum) {
    sum_channels(VALUE, pass, x, x, any, sum);
}

TW_CLONES static void sum_squares(const struct tw_layer_pass *pass, const tw_real *x,
                                  const tw_real *mean, double *sum) {
    sum_channels(SQUARE, pass, x, x, mean, sum);
}

TW_CLONES static void sum_products(const struct tw_layer_pass *pass, const tw_real *a,
                                   const tw_real *b, const tw_real *mean, double *sum) {
    sum_channels(PRODUCT, pass, a, b, mean, sum);
}

/* ---- the layer ---- */

/* out = factor (in - mean) + shift, by channel. */
TW_CLONES static void normalise(const struct tw_layer_pass *pass, const tw_real *mean,
                                const tw_real *inverse) {
    const int64_t channels = pass->in_shape->size[0], places = places_of(pass->in_shape);
    const tw_real *weight = pass->weights[WEIGHT], *bias = pass->weights[BIAS];
    for (int64_t row = 0; row < pass->rows; row++)
        for (int64_t c = 0; c < channels; c++) {
            const tw_real *in = pass->in + (row * channels + c) * places;
            tw_real *out = pass->out + (row * channels + c) * places;
            const tw_real factor = weight[c] * inverse[c], middle = mean[c], shift = bias[c];
            TW_INDEPENDENT
            for (int64_t i = 0; i < places; i++)
                out[i] = (in[i] - middle) * factor + shift;
        }
}

static double inverse_of(const struct tw_layer_pass *pass, double variance) {
    return 1 / sqrt(variance + ((const struct options *)pass->options)->eps);
}

/* Makes the batch's mean and 1 / deviation, and leaves what servers average. */
static void measure(const struct tw_layer_pass *pass, tw_real *mean, tw_real *inverse) {
    const int64_t channels = pass->in_shape->size[0];
    const double rows = pass->rows, m = rows * (double)places_of(pass->in_shape);
    double *sum = pass->scratch;
    sum_values(pass, pass->in, mean, sum);
    for (int64_t c = 0; c < channels; c++) {
        mean[c] = (tw_real)(sum[c] / m);
        pass->gradients[MEAN][c] = (tw_real)(rows * (sum[c] / m));
    }
    sum_squares(pass, pass->in, mean, sum);
    for (int64_t c = 0; c < channels; c++) {
        inverse[c] = (tw_real)inverse_of(pass, sum[c] / m);
        pass->gradients[VARIANCE][c] = (tw_real)(rows * (sum[c] / (m - 1)));
    }
}

static void forward(const struct tw_layer_pass *pass) {
    const int64_t channels = pass->in_shape->size[0];
    if (pass->training) {
        tw_real *mean = (tw_real *)(void *)pass->kept, *inverse = mean + channels;
        memset(mean, 0, (size_t)channels * sizeof *mean);
        measure(pass, mean, inverse);
        normalise(pass, mean, inverse);
        return;
    }
    tw_real *inverse = pass->scratch;
    for (int64_t c = 0; c < channels; c++)
        inverse[c] = (tw_real)inverse_of(pass, (double)pass->weights[VARIANCE][c]);
    normalise(pass, pass->weights[MEAN], inverse);
}

/* With h = (in - mean) inverse, g the slopes of the outputs, over a channel's m numbers:
 *     in slope = weight inverse (g - sum(g) / m - h sum(g h) / m)
 */
TW_CLONES static void find_in_slopes(const struct tw_layer_pass *pass, const tw_real *mean,
                                     const tw_real *inverse) {
    const int64_t channels = pass->in_shape->size[0], places = places_of(pass->in_shape);
    const tw_real m = (tw_real)((double)pass->rows * (double)places);
    for (int64_t row = 0; row < pass->rows; row++)
        for (int64_t c = 0; c < channels; c++) {
            const tw_real *in = pass->in + (row * channels + c) * places;
            const tw_real *slope = pass->out_gradient + (row * channels + c) * places;
            tw_real *in_slope = pass->in_gradient + (row * channels + c) * places;
            const tw_real factor = pass->weights[WEIGHT][c] * inverse[c], middle = mean[c];
            const tw_real level = pass->gradients[BIAS][c] / m;
            const tw_real tilt = pass->gradients[WEIGHT][c] * inverse[c] / m;
            TW_INDEPENDENT
            for (int64_t i = 0; i < places; i++)
                in_slope[i] = factor * (slope[i] - level - (in[i] - middle) * tilt);
        }
}

static void backward(const struct tw_layer_pass *pass) {
    const int64_t channels = pass->in_shape->size[0];
    const tw_real *mean = (const tw_real *)(const void *)pass->kept, *inverse = mean + channels;
    double *sum = pass->scratch;
    sum_values(pass, pass->out_gradient, mean, sum);
    for (int64_t c = 0; c < channels; c++)
        pass->gradients[BIAS][c] = (tw_real)sum[c];
    sum_products(pass, pass->out_gradient, pass->in, mean, sum);
    for (int64_t c = 0; c < channels; c++)
        pass->gradients[WEIGHT][c] = (tw_real)(sum[c] * (double)inverse[c]);
    if (pass->in_gradient != NULL)
        find_in_slopes(pass, mean, inverse);
}

const struct tw_layer tw_layer_batch_norm = {
    .name = "batch_norm",
    .text = "each channel to mean 0 and variance 1, of the batch or, in scoring, of all so far",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .needs_in = true,
    .unitwise = true,
    .shape = tw_layer_same_shape,
    .least_rows = least_rows,
    .tensors = tensors,
    .kept = kept,
    .scratch = scratch,
    .flop = flop,
    .forward = forward,
    .backward = backward,
};
