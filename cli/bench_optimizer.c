/* talweg bench optimizer: the kernel of every update rule beside a loop that moves the
 * same bytes and computes next to nothing. In cache and from memory, on one core, kernel
 * and loop in turns, so that both see the same noise; of each the fastest turn counts,
 * which others disturbed least. */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/bench.h"
#include "common/tensor/clones.h"
#include "server/core/optimizer.h"

enum {
    CACHED = 4096, /* weights: with all states 96 KiB */
    CACHED_PASSES = 256,
    MEMORY = 8 << 20,
    TURNS = 9,
    ARRAYS = 2 + TW_OPTIMIZER_STATES, /* gradient, weights, states */
    STAGGER_FLOATS = 272,             /* so that arrays do not share sets of the cache */
};

/* Rules as they are usually written, and with --long in other forms. */
static const struct line {
    const char *shown, *name, *key, *value;
} lines[] = {
    {"sgd", "sgd", "lr", "0.001"},
    {"momentum", "momentum", "lr", "0.001"},
    {"nesterov", "nesterov", "lr", "0.001"},
    {"adagrad", "adagrad", "lr", "0.001"},
    {"rmsprop", "rmsprop", "lr", "0.001"},
    {"adadelta", "adadelta", "lr", "1"},
    {"adam", "adam", "lr", "0.001"},
    {"adamax", "adamax", "lr", "0.001"},
    {"amsgrad", "amsgrad", "lr", "0.001"},
    {"adamw", "adamw", "lr", "0.001"},
    {"nadam", "nadam", "lr", "0.001"},
    {"radam", "radam", "lr", "0.001"},
    {"lion", "lion", "lr", "0.001"},
    {"ftrl-proximal", "ftrl-proximal", "alpha", "0.1"},
    {"lars", "lars", "lr", "0.001"},
    {"lamb", "lamb", "lr", "0.001"},
    {"rmsprop centered", "rmsprop", "centered", "true"},
    {"rmsprop momentum", "rmsprop", "momentum", "0.9"},
};
enum { LINES = sizeof lines / sizeof lines[0], USUAL = 16 };

struct desk {
    float *array[ARRAYS];
    void *memory;
};

/* What is measured: a rule, or the loop that moves its bytes. */
struct runner {
    const struct tw_optimizer *rule;
    struct tw_optimizer_options options;
    uint64_t t;
};

/* As many streams as a rule with so many states has, in both directions. */
TW_CLONES static void move(float *const *array, int states, size_t count) {
    const float *g = array[0];
    float *w = array[1], *a = array[2], *b = array[3], *c = array[4];
    switch (states) {
    case 0:
        TW_INDEPENDENT for (size_t i = 0; i < count; i++) w[i] += g[i];
        break;
    case 1:
        TW_INDEPENDENT for (size_t i = 0; i < count; i++) {
            a[i] += g[i];
            w[i] += a[i];
        }
        break;
    case 2:
        TW_INDEPENDENT for (size_t i = 0; i < count; i++) {
            a[i] += g[i];
            b[i] += g[i];
            w[i] += a[i] + b[i];
        }
        break;
    default:
        TW_INDEPENDENT for (size_t i = 0; i < count; i++) {
            a[i] += g[i];
            b[i] += g[i];
            c[i] += g[i];
            w[i] += a[i] + b[i] + c[i];
        }
    }
}

static void update(struct runner *runner, float *const *array, size_t count) {
    double scalars[TW_OPTIMIZER_SCALARS];
    struct tw_optimizer_float work = {.count = count,
                                      .gradient = array[0],
                                      .weights_in = array[1],
                                      .weights_out = array[1],
                                      .scalars = scalars,
                                      .ratio = 1};
    for (int s = 0; s < runner->rule->states; s++)
        work.state[s] = array[2 + s];
    runner->rule->prepare(&runner->options, ++runner->t, runner->options.lr, scalars);
    runner->rule->apply_float(&runner->options, &work);
}

static enum tw_status make_desk(struct desk *desk, struct tw_error *error) {
    size_t stride = MEMORY + STAGGER_FLOATS;
    float *at = desk->memory = malloc(ARRAYS * stride * sizeof(float));
    if (!at)
        return tw_error_set(error, TW_NO_MEMORY, "no memory for %zu MiB of weights and states",
                            ARRAYS * stride * sizeof(float) >> 20);
    for (int a = 0; a < ARRAYS; a++) {
        desk->array[a] = at + (size_t)a * stride;
        for (size_t i = 0; i < stride; i++) /* also the first touch */
            desk->array[a][i] = a ? 1 : 1e-3f * (float)(1 + i % 7);
    }
    return TW_OK;
}

/* CPU time: what others take of the core meanwhile is not in it. */
static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Gigabytes per second of the rule and of the loop, each in its fastest turn. */
static void measure(struct runner *runner, const struct desk *desk, size_t count, int passes,
                    double *gb_per_s, double *raw_gb_per_s) {
    double took[TURNS], raw_took[TURNS];
    int states = runner->rule->states;
    for (int turn = -1; turn < TURNS; turn++) { /* the first warms up */
        double start = seconds();
        for (int p = 0; p < passes; p++)
            update(runner, desk->array, count);
        double between = seconds();
        for (int p = 0; p < passes; p++)
            move(desk->array, states, count);
        if (turn >= 0) {
            took[turn] = between - start;
            raw_took[turn] = seconds() - between;
        }
    }
    double gigabytes = 4e-9 * (3 + 2 * states) * (double)count * passes;
    *gb_per_s = gigabytes / tw_bench_quantile(took, TURNS, 0);
    *raw_gb_per_s = gigabytes / tw_bench_quantile(raw_took, TURNS, 0);
}

/* Of the weights. */
static uint64_t bytes_of(bool cached) {
    return sizeof(float) * (cached ? CACHED : MEMORY);
}

static void row(struct runner *runner, const char *shown, const struct desk *desk, bool cached,
                struct tw_json *json) {
    size_t count = cached ? CACHED : MEMORY;
    double gb_per_s, raw_gb_per_s;
    measure(runner, desk, count, cached ? CACHED_PASSES : 1, &gb_per_s, &raw_gb_per_s);
    double ns = 4 * (3 + 2 * runner->rule->states) / gb_per_s;
    double mparam_per_s = 1e3 / ns;
    fprintf(stderr, "  %-18s %-7s %8.3f %9.0f %8.1f %10.1f %7.2f\n", shown,
            cached ? "cache" : "memory", ns, mparam_per_s, gb_per_s, raw_gb_per_s,
            gb_per_s / raw_gb_per_s);
    tw_json_begin_object(json, NULL);
    tw_json_string(json, "optimizer", shown);
    tw_json_string(json, "from", cached ? "cache" : "memory");
    tw_json_unsigned(json, "weights", count);
    tw_json_real(json, "ns_per_weight", ns);
    tw_json_real(json, "mparam_per_s", mparam_per_s);
    tw_json_real(json, "gb_per_s", gb_per_s);
    tw_json_real(json, "raw_gb_per_s", raw_gb_per_s);
    tw_json_real(json, "ratio", gb_per_s / raw_gb_per_s);
    tw_json_end_object(json);
}

static enum tw_status rows(const struct line *line, const struct desk *desk, uint64_t bytes,
                           struct tw_json *json, struct tw_error *error) {
    struct tw_option option = {.key = line->key, .text = line->value};
    const struct tw_variant variant = {
        .name = line->name, .path = "optimizer", .count = 1, .options = &option};
    struct runner runner = {0};
    enum tw_status status = tw_optimizer_find(&runner.rule, &runner.options, &variant, error);
    if (status)
        return status;
    for (int cached = 1; cached >= 0; cached--)
        if (!bytes || bytes == bytes_of(cached))
            row(&runner, line->shown, desk, cached, json);
    return TW_OK;
}

enum tw_status tw_bench_optimizer(const struct tw_bench_options *options, struct tw_json *json,
                                  struct tw_error *error) {
    struct desk desk;
    cpu_set_t before, one;
    if (options->bytes && options->bytes != bytes_of(true) && options->bytes != bytes_of(false))
        return tw_error_set(error, TW_USAGE,
                            "--bytes %" PRIu64 ": no row has this size; there are %" PRIu64
                            " and %" PRIu64,
                            options->bytes, bytes_of(true), bytes_of(false));
    bool pinned = options->core[0] >= 0 && sched_getaffinity(0, sizeof before, &before) == 0;
    enum tw_status status = make_desk(&desk, error);
    if (pinned) {
        CPU_ZERO(&one);
        CPU_SET((unsigned)options->core[0], &one);
        sched_setaffinity(0, sizeof one, &one);
    }
    fprintf(stderr, "  %-18s %-7s %8s %9s %8s %10s %7s\n", "rule", "from", "ns each", "Mparam/s",
            "GB/s", "loop GB/s", "ratio");
    tw_json_begin_array(json, "rows");
    for (int l = 0; !status && l < (options->all ? LINES : USUAL); l++)
        status = rows(&lines[l], &desk, options->bytes, json, error);
    tw_json_end_array(json);
    if (pinned)
        sched_setaffinity(0, sizeof before, &before);
    free(desk.memory);
    return status;
}
