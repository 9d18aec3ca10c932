/* Data that is made up, so that nothing has to be downloaded: what a newcomer starts with, and what
 * an experiment needs whose truth must be known.
 *
 * Sample i is a function of (seed, kind, options, i): a data set that begins at another `first`
 * has other samples of the same world, so test data is {first: N} behind N training samples.
 * Random numbers: (seed, TW_STREAM_DATA), slot 0, step 0 for what all samples share (weights,
 * centres); slot 1, step i for sample i.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/realmath.h"
#include "common/base/rng.h"
#include "worker/data/ascending.h"
#include "worker/data/dataset.h"

#define SAMPLES_MAX (UINT32_C(1) << 31)
#define ELEMENTS_MAX (INT64_C(1) << 32)
#define SHARED_MAX ((size_t)1 << 27)
#define FEATURES_MAX (1 << 30)
#define NONZEROS_MAX 65536
#define OUTPUTS_MAX 65536
#define HIDDEN_MAX 65536
#define CENTRES 4.0 /* standard deviation of the centres of blobs */
#define TURNS 1.0   /* of a spiral's arm */

struct options {
    int kind;
    int64_t samples, features, classes, outputs, hidden, nonzeros, first, seed;
    double noise;
};

/* What all samples have in common, and room for the making of one. */
struct world {
    const struct options *options;
    size_t features, outputs, hidden;
    double *shared;  /* normal, variance 1 */
    double *scratch; /* [features + hidden + outputs] */
};

/* A kind of world. */
struct kind {
    size_t (*shared)(const struct world *world); /* how many numbers */
    /* Sample `number` from `rng`: x[features], and y[outputs] or its class as the result. */
    int32_t (*make)(const struct world *world, uint64_t number, struct tw_rng *rng, float *x,
                    float *y);
};

enum { LINEAR, BLOBS, SPIRALS, TEACHER, SPARSE };
static const char *const kind_names[] = {"linear", "blobs", "spirals", "teacher", "sparse", NULL};

static const struct tw_option_rule rules[] = {
    {.key = "kind",
     .type = TW_OPTION_ENUM,
     .offset = offsetof(struct options, kind),
     .required = true,
     .names = kind_names,
     .text = "x W + b; a cloud of points for each class; arms of spirals (2 features); a net with "
             "one hidden layer of tanh; rows that are 0 but for a few elements, of 2 classes"},
    {.key = "samples",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, samples),
     .required = true,
     .min = 1,
     .max = SAMPLES_MAX,
     .text = "how many"},
    {.key = "features",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, features),
     .fallback = 2,
     .min = 1,
     .max = FEATURES_MAX,
     .text = "numbers of a sample"},
    {.key = "classes",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, classes),
     .fallback = 0,
     .min = 0,
     .max = OUTPUTS_MAX,
     .text =
         "to tell apart; of linear and teacher the largest of so many outputs; 0: real targets, "
         "of blobs and spirals 3"},
    {.key = "outputs",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, outputs),
     .fallback = 1,
     .min = 1,
     .max = OUTPUTS_MAX,
     .text = "numbers of a real target"},
    {.key = "hidden",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, hidden),
     .fallback = 16,
     .min = 1,
     .max = HIDDEN_MAX,
     .text = "units of the teacher"},
    {.key = "nonzeros",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, nonzeros),
     .fallback = 100,
     .min = 1,
     .max = NONZEROS_MAX,
     .text = "elements of a sparse sample that are not 0, at most"},
    {.key = "noise",
     .type = TW_OPTION_REAL,
     .offset = offsetof(struct options, noise),
     .fallback = 0.1,
     .min = 0,
     .max = INFINITY,
     .max_open = true,
     .text = "standard deviation: of targets (linear, teacher) or samples (blobs, spirals)"},
    {.key = "first",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, first),
     .fallback = 0,
     .min = 0,
     .max = 1e15,
     .text = "number of the first sample: test data goes on where training data ends"},
    {.key = "seed",
     .type = TW_OPTION_INTEGER,
     .offset = offsetof(struct options, seed),
     .fallback = 1,
     .min = 0,
     .max = 1e15,
     .text = "of all of it; the job's seed changes nothing here"},
};

/* out_k = b_k + scale sum_j in_j W_jk; W [inputs, outputs] and b lie in `weights`. */
static void apply(const double *in, size_t inputs, const double *weights, double scale,
                  size_t outputs, double *out) {
    const double *bias = weights + inputs * outputs;
    for (size_t k = 0; k < outputs; k++) {
        double sum = 0;
        for (size_t j = 0; j < inputs; j++)
            sum += in[j] * weights[j * outputs + k];
        out[k] = bias[k] + scale * sum;
    }
}

static void draw_features(const struct world *world, struct tw_rng *rng, float *x) {
    for (size_t j = 0; j < world->features; j++) {
        x[j] = (float)tw_rng_normal(rng);
        world->scratch[j] = (double)x[j];
    }
}

/* The outputs with noise, or the class of the largest. */
static int32_t answer(const struct world *world, const double *outputs, struct tw_rng *rng,
                      float *y) {
    int32_t best = 0;
    double largest = 0;
    for (size_t k = 0; k < world->outputs; k++) {
        double value = outputs[k] + world->options->noise * tw_rng_normal(rng);
        if (world->options->classes == 0)
            y[k] = (float)value;
        if (k == 0 || value > largest) {
            largest = value;
            best = (int32_t)k;
        }
    }
    return best;
}

/* ---- linear ---- */

static size_t shared_by_linear(const struct world *world) {
    return (world->features + 1) * world->outputs;
}

static int32_t make_linear(const struct world *world, uint64_t number, struct tw_rng *rng, float *x,
                           float *y) {
    double *outputs = world->scratch + world->features;
    draw_features(world, rng, x);
    apply(world->scratch, world->features, world->shared, 1, world->outputs, outputs);
    return answer(world, outputs, rng, y);
}

/* ---- blobs ---- */

static size_t shared_by_blobs(const struct world *world) {
    return world->features * world->outputs;
}

static int32_t make_blobs(const struct world *world, uint64_t number, struct tw_rng *rng, float *x,
                          float *y) {
    size_t class = number % world->outputs;
    const double *centre = world->shared + class * world->features;
    for (size_t j = 0; j < world->features; j++)
        x[j] = (float)(CENTRES * centre[j] + world->options->noise * tw_rng_normal(rng));
    return (int32_t) class;
}

/* ---- spirals ---- */

static size_t shared_by_spirals(const struct world *world) {
    return 0;
}

/* Radius and angle grow together; sin(pi t) = cos(pi (t - 1/2)). */
static int32_t make_spirals(const struct world *world, uint64_t number, struct tw_rng *rng,
                            float *x, float *y) {
    size_t class = number % world->outputs;
    double radius = tw_rng_uniform(rng), noise = world->options->noise;
    double turn = 2 * (TURNS * radius + (double)class / (double)world->outputs);
    x[0] = (float)(radius * tw_cos_pi(turn) + noise * tw_rng_normal(rng));
    x[1] = (float)(radius * tw_cos_pi(turn - 0.5) + noise * tw_rng_normal(rng));
    return (int32_t) class;
}

/* ---- teacher ---- */

static size_t shared_by_teacher(const struct world *world) {
    return (world->features + 1) * world->hidden + (world->hidden + 1) * world->outputs;
}

static double tanh_of(double x) {
    double e = tw_exp(-2 * fabs(x)), t = (1 - e) / (1 + e);
    return x < 0 ? -t : t;
}

/* Weights have variance 1 / inputs, so that units are neither dead nor saturated. */
static int32_t make_teacher(const struct world *world, uint64_t number, struct tw_rng *rng,
                            float *x, float *y) {
    double *hidden = world->scratch + world->features, *outputs = hidden + world->hidden;
    const double *second = world->shared + (world->features + 1) * world->hidden;
    draw_features(world, rng, x);
    apply(world->scratch, world->features, world->shared, 1 / sqrt((double)world->features),
          world->hidden, hidden);
    for (size_t i = 0; i < world->hidden; i++)
        hidden[i] = tanh_of(hidden[i]);
    apply(hidden, world->hidden, second, 1 / sqrt((double)world->hidden), world->outputs, outputs);
    return answer(world, outputs, rng, y);
}

/* ---- sparse ---- */

/* One sample: indices that go up, as many as differ of those drawn; low ones come more often than
 * high ones, as words do in texts. Each feature has a weight of its own, and the class is
 * whether those of the sample sum to more than 0. */
static size_t make_sparse(const struct options *o, uint64_t number, uint32_t *index, float *values,
                          int32_t *label) {
    struct tw_rng rng;
    size_t count = 0;
    double sum = 0;
    tw_rng_init(&rng, (uint64_t)o->seed, TW_STREAM_DATA, 1, number);
    for (int64_t i = 0; i < o->nonzeros; i++) {
        double u = tw_rng_uniform(&rng), third = u * u;
        index[i] = (uint32_t)(third * third * third * (double)o->features);
    }
    qsort(index, (size_t)o->nonzeros, sizeof *index, tw_ascending);
    for (int64_t i = 0; i < o->nonzeros; i++)
        if (count == 0 || index[i] != index[count - 1])
            index[count++] = index[i];
    for (size_t i = 0; i < count; i++) {
        values[i] = 1;
        sum += tw_rng_normal_at((uint64_t)o->seed, TW_STREAM_DATA, 0, 0, index[i]);
    }
    *label = sum + o->noise * tw_rng_normal(&rng) > 0;
    return count;
}

static enum tw_status make_up_sparse(struct tw_dataset *dataset, const struct options *o,
                                     struct tw_error *error) {
    size_t rows = (size_t)o->samples, most = (size_t)o->nonzeros;
    if (o->classes != 0 && o->classes != 2)
        return tw_error_set(error, TW_JOB, "sparse samples have 2 classes, not %lld",
                            (long long)o->classes);
    if (o->samples > ELEMENTS_MAX / o->nonzeros)
        return tw_error_set(error, TW_JOB, "more than 2^32 numbers are not made up");
    uint64_t *first = dataset->owned[0] = calloc(rows + 1, sizeof *first);
    uint32_t *index = dataset->owned[1] = calloc(rows * most, sizeof *index);
    float *values = dataset->owned[2] = calloc(rows * most, sizeof *values);
    int32_t *labels = dataset->owned[3] = calloc(rows, sizeof *labels);
    dataset->samples_name = strdup("made-up samples");
    dataset->targets_name = strdup("made-up targets");
    if (first == NULL || index == NULL || values == NULL || labels == NULL ||
        dataset->samples_name == NULL || dataset->targets_name == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for %zu made-up samples", rows);
    for (size_t i = 0; i < rows; i++)
        first[i + 1] = first[i] + make_sparse(o, (uint64_t)o->first + i, index + first[i],
                                              values + first[i], &labels[i]);
    dataset->count = (uint32_t)rows;
    dataset->kind = TW_ROWS_SPARSE;
    dataset->dims = 1;
    dataset->shape[0] = dataset->elements = o->features;
    dataset->first = first;
    dataset->index = index;
    dataset->rows = values;
    dataset->labels = labels;
    return TW_OK;
}

/* ---- all of them ---- */

static const struct kind kinds[] = {
    [LINEAR] = {shared_by_linear, make_linear},
    [BLOBS] = {shared_by_blobs, make_blobs},
    [SPIRALS] = {shared_by_spirals, make_spirals},
    [TEACHER] = {shared_by_teacher, make_teacher},
};

static enum tw_status check(struct options *options, struct tw_error *error) {
    bool clouds = options->kind == BLOBS || options->kind == SPIRALS;
    if (options->kind == SPIRALS && options->features != 2)
        return tw_error_set(error, TW_JOB, "spirals have 2 features, not %lld",
                            (long long)options->features);
    if (options->classes == 1)
        return tw_error_set(error, TW_JOB, "one class only: there is nothing to tell apart");
    if (clouds && options->classes == 0)
        options->classes = 3;
    if (options->samples > ELEMENTS_MAX / options->features ||
        options->samples > ELEMENTS_MAX / options->outputs)
        return tw_error_set(error, TW_JOB, "more than 2^32 numbers are not made up");
    return TW_OK;
}

static enum tw_status make_world(struct world *world, const struct options *options,
                                 struct tw_error *error) {
    *world = (struct world){
        .options = options,
        .features = (size_t)options->features,
        .hidden = (size_t)options->hidden,
        .outputs = (size_t)(options->classes > 0 ? options->classes : options->outputs),
    };
    struct tw_rng rng;
    size_t count = kinds[options->kind].shared(world);
    if (count > SHARED_MAX)
        return tw_error_set(error, TW_JOB, "a world of %zu numbers; at most 2^27 are made up",
                            count);
    world->shared = calloc(count + 1, sizeof *world->shared);
    world->scratch =
        calloc(world->features + world->hidden + world->outputs, sizeof *world->scratch);
    if (world->shared == NULL || world->scratch == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a made-up world");
    tw_rng_init(&rng, (uint64_t)options->seed, TW_STREAM_DATA, 0, 0);
    for (size_t i = 0; i < count; i++)
        world->shared[i] = tw_rng_normal(&rng);
    return TW_OK;
}

/* Memory for the samples, as the data set describes it. */
static enum tw_status make_room(struct tw_dataset *dataset, const struct options *options,
                                struct tw_error *error) {
    size_t count = (size_t)options->samples;
    dataset->count = (uint32_t)count;
    dataset->dims = 1;
    dataset->shape[0] = dataset->elements = options->features;
    dataset->kind = TW_ROWS_FLOATS;
    dataset->outputs = options->classes > 0 ? 0 : (int)options->outputs;
    dataset->owned[0] = calloc(count * (size_t)options->features, sizeof(float));
    if (dataset->outputs > 0)
        dataset->owned[1] = calloc(count * (size_t)dataset->outputs, sizeof(float));
    else
        dataset->owned[1] = calloc(count, sizeof(int32_t));
    dataset->samples_name = strdup("made-up samples");
    dataset->targets_name = strdup("made-up targets");
    if (dataset->owned[0] == NULL || dataset->owned[1] == NULL || dataset->samples_name == NULL ||
        dataset->targets_name == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for %zu made-up samples", count);
    dataset->rows = dataset->owned[0];
    if (dataset->outputs > 0)
        dataset->targets = dataset->owned[1];
    else
        dataset->labels = dataset->owned[1];
    return TW_OK;
}

static void make_samples(const struct world *world, struct tw_dataset *dataset) {
    float *rows = dataset->owned[0], *targets = dataset->owned[1];
    int32_t *labels = dataset->owned[1];
    for (uint32_t i = 0; i < dataset->count; i++) {
        struct tw_rng rng;
        uint64_t number = (uint64_t)world->options->first + i;
        float *y = dataset->outputs > 0 ? targets + (size_t)i * world->outputs : NULL;
        tw_rng_init(&rng, (uint64_t)world->options->seed, TW_STREAM_DATA, 1, number);
        int32_t class = kinds[world->options->kind].make(world, number, &rng,
                                                         rows + (size_t)i * world->features, y);
        if (y == NULL)
            labels[i] = class;
    }
}

static enum tw_status make_up(struct tw_dataset *dataset, const void *said,
                              struct tw_error *error) {
    struct options options = *(const struct options *)said;
    struct world world = {0};
    if (options.kind == SPARSE)
        return make_up_sparse(dataset, &options, error);
    enum tw_status status = check(&options, error);
    if (status == TW_OK)
        status = make_world(&world, &options, error);
    if (status == TW_OK)
        status = make_room(dataset, &options, error);
    if (status == TW_OK)
        make_samples(&world, dataset);
    free(world.shared);
    free(world.scratch);
    return status;
}

const struct tw_data_format tw_data_format_synthetic = {
    .name = "synthetic",
    .text = "made up, from random numbers of its own: nothing to download",
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .options_size = sizeof(struct options),
    .read = make_up,
};
