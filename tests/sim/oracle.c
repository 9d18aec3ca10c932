#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>

#include "tests/sim/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/tree_sum.h"
#include "common/tensor/encoding.h"
#include "common/tensor/kernels.h"

/* Weights that a slot holds for a step that is neither committed nor dropped. */
struct read {
    struct read *next;
    uint32_t slot;
    uint64_t position, step, version;
    float **weights, **gradient;
    float **exact; /* the weights before they were encoded */
};

struct oracle {
    const struct tw_tensor_list *list;
    uint64_t seed;
    uint32_t ranks, width;
    const struct tw_optimizer *optimizer;
    struct tw_optimizer_options options;
    struct tw_shaping shaping;
    double not_finite;
    uint32_t push, pull;
    uint64_t position, version;
    float **weights;
    float **average; /* NULL: there is none */
    float **state[TW_OPTIMIZER_STATES];
    float **square[TW_CORRECTIONS_MAX]; /* of corrections */
    float ***own[TW_CORRECTIONS_MAX];   /* [ranks] of each worker */
    struct read *reads;
    uint64_t *settled; /* [ranks] the last step */
    struct tw_sample sample;
    struct tw_tensor_squares *steps; /* [tensors] that belong to it */
};

static float **make_set(const struct tw_tensor_list *list) {
    size_t count = list->count > 0 ? (size_t)list->count : 0; /* GCC fears less */
    float **set = calloc(count, sizeof(*set));
    for (int t = 0; t < list->count; t++)
        set[t] = calloc((size_t)list->tensors[t].elements, sizeof(float));
    return set;
}

static void free_set(const struct tw_tensor_list *list, float **set) {
    for (int t = 0; t < list->count; t++)
        free(set[t]);
    free(set);
}

static void copy_set(const struct tw_tensor_list *list, float **to, float *const *from) {
    for (int t = 0; t < list->count; t++)
        memcpy(to[t], from[t], (size_t)list->tensors[t].elements * sizeof(float));
}

struct oracle *oracle_new(const struct tw_tensor_list *list, uint64_t seed, uint32_t ranks,
                          uint32_t width, const struct tw_optimizer *optimizer,
                          const struct tw_optimizer_options *options,
                          const struct tw_shaping *shaping, double not_finite) {
    struct oracle *o = calloc(1, sizeof(*o));
    *o = (struct oracle){.list = list,
                         .seed = seed,
                         .ranks = ranks,
                         .width = width ? width : 1,
                         .optimizer = optimizer,
                         .options = *options,
                         .shaping = *shaping,
                         .not_finite = not_finite};
    o->steps = calloc((size_t)list->count, sizeof(*o->steps));
    o->weights = make_set(list);
    for (int t = 0; t < list->count; t++)
        tw_tensor_fill(&list->tensors[t], t, seed, 0, list->tensors[t].elements, o->weights[t]);
    for (int i = 0; i < optimizer->states; i++) {
        o->state[i] = make_set(list);
        if (optimizer->state[i].start == TW_STATE_WEIGHTS)
            copy_set(list, o->state[i], o->weights);
    }
    if (shaping->average > 0) {
        o->average = make_set(list);
        copy_set(list, o->average, o->weights);
    }
    for (int i = 0; i < TW_CORRECTIONS_MAX; i++)
        o->square[i] = make_set(list);
    for (uint32_t i = 0; i < shaping->corrections.count; i++) {
        o->own[i] = calloc(ranks, sizeof *o->own[i]);
        for (uint32_t rank = 0; rank < ranks; rank++)
            o->own[i][rank] = make_set(list);
    }
    o->settled = calloc(ranks, sizeof(*o->settled));
    return o;
}

void oracle_encodings(struct oracle *o, uint32_t push, uint32_t pull) {
    o->push = push;
    o->pull = pull;
}

/* What arrives of it. */
static void round_set(const struct tw_tensor_list *list, uint32_t encoding, float **set) {
    for (int t = 0; t < list->count; t++)
        tw_encoding_round(encoding, set[t], set[t], (size_t)list->tensors[t].elements);
}

/* Forgets the reads of a slot (all slots: UINT32_MAX), of one step or of all (0). */
static void forget(struct oracle *o, uint32_t slot, uint64_t step) {
    for (struct read **at = &o->reads; *at;) {
        struct read *read = *at;
        if ((slot != UINT32_MAX && read->slot != slot) || (step && read->step != step)) {
            at = &read->next;
            continue;
        }
        *at = read->next;
        free_set(o->list, read->weights);
        free_set(o->list, read->exact);
        free_set(o->list, read->gradient);
        free(read);
    }
}

static struct read *find(struct oracle *o, uint32_t slot, uint64_t step) {
    for (struct read *read = o->reads; read; read = read->next)
        if (read->slot == slot && read->step == step)
            return read;
    fail_msg("slot %u, step %" PRIu64 ": no weights were released for it", slot, step);
    return NULL;
}

void oracle_free(struct oracle *o) {
    forget(o, UINT32_MAX, 0);
    for (int i = 0; i < o->optimizer->states; i++)
        free_set(o->list, o->state[i]);
    for (int i = 0; i < TW_CORRECTIONS_MAX; i++) {
        free_set(o->list, o->square[i]);
        for (uint32_t rank = 0; o->own[i] && rank < o->ranks; rank++)
            free_set(o->list, o->own[i][rank]);
        free(o->own[i]);
    }
    free_set(o->list, o->weights);
    if (o->average)
        free_set(o->list, o->average);
    free(o->steps);
    free(o->settled);
    free(o);
}

/* A pull towards a target that differs per slot, and noise: every element of
 * every gradient is different, and so is every (slot, step). */
static void slot_gradient(const struct tw_tensor_list *list, uint64_t seed, uint32_t slot,
                          uint64_t step, double not_finite, const float *const *weights,
                          float *const *gradient, uint64_t *examples, double *loss) {
    struct tw_rng rng;
    tw_rng_init(&rng, seed, TW_STREAM_NOISE, slot, step);
    *examples = 1 + tw_rng_below(&rng, 5);
    bool bad = tw_rng_uniform(&rng) < not_finite;
    *loss = 0;
    for (int t = 0; t < list->count; t++) {
        int64_t n = list->tensors[t].elements;
        float target = (float)(slot + 1) * 0.25F;
        uint64_t noise = tw_rng_next(&rng);
        for (int64_t i = 0; i < n; i++) {
            noise = noise * 6364136223846793005U + 1442695040888963407U;
            float xi = (float)(noise >> 40) * 0x1p-24F - 0.5F;
            gradient[t][i] = (float)*examples * (weights[t][i] - target + 0.1F * xi);
        }
        *loss += (double)gradient[t][0];
    }
    if (bad)
        gradient[list->count - 1][0] = (float)NAN;
}

void oracle_gradient(const struct tw_tensor_list *list, uint64_t seed, uint32_t slot,
                     uint32_t width, uint64_t step, double not_finite, const float *const *weights,
                     float *const *gradient, uint64_t *examples, double *loss) {
    float **share[16];
    struct tw_tree_sum losses = {0};
    assert_in_range(width, 1, 16);
    *examples = 0;
    for (uint32_t i = 0; i < width; i++) {
        uint64_t examples_here;
        double loss_here;
        share[i] = make_set(list);
        slot_gradient(list, seed, slot + i, step, not_finite, weights, share[i], &examples_here,
                      &loss_here);
        *examples += examples_here;
        tw_tree_sum_add(&losses, loss_here);
    }
    *loss = tw_tree_sum_total(&losses);
    for (int t = 0; t < list->count; t++) {
        const float *input[16];
        for (uint32_t i = 0; i < width; i++)
            input[i] = share[i][t];
        tw_sum_tree(gradient[t], input, (int)width, (size_t)list->tensors[t].elements);
    }
    for (uint32_t i = 0; i < width; i++)
        free_set(list, share[i]);
}

static void on_release(struct oracle *o, const struct tw_record *record) {
    if (record->slot == TW_SLOT_EVALUATOR)
        return;
    assert_true(record->step > o->settled[record->slot]);
    assert_int_equal(record->version, o->version);
    forget(o, record->slot, record->step); /* asked for again */
    struct read *read = calloc(1, sizeof(*read));
    *read = (struct read){.next = o->reads,
                          .slot = record->slot,
                          .position = record->position,
                          .step = record->step,
                          .version = o->version,
                          .weights = make_set(o->list),
                          .exact = make_set(o->list),
                          .gradient = make_set(o->list)};
    copy_set(o->list, read->weights, o->weights);
    copy_set(o->list, read->exact, o->weights);
    round_set(o->list, o->pull, read->weights);
    o->reads = read;
}

/* What is settled was released, is as stale as it says, and is never settled again. */
static void settle(struct oracle *o, const struct tw_contribution *c) {
    const struct read *read = find(o, c->slot, c->step);
    assert_int_equal(c->read, read->position);
    assert_int_equal(c->staleness, o->version - read->version);
    forget(o, c->slot, c->step);
    if (c->step > o->settled[c->slot])
        o->settled[c->slot] = c->step;
}

/* Of corrections: how much of a contribution counts. */
static double weight_of(const struct oracle *o, const struct tw_record *record, uint32_t i) {
    const struct tw_corrections *corrections = &o->shaping.corrections;
    double best = 0;
    for (uint32_t k = 0; k < record->count; k++)
        best = fmax(best, tw_corrections_factor(corrections, record->contributions[k].staleness));
    return tw_corrections_factor(corrections, record->contributions[i].staleness) / best;
}

static double weighted_examples(const struct oracle *o, const struct tw_record *record) {
    double sum = 0;
    for (uint32_t i = 0; i < record->count; i++)
        sum += weight_of(o, record, i) * (double)record->contributions[i].examples;
    return sum;
}

/* All examples of an update count with the learning rate, or less where they are late. */
static void check_rate(const struct oracle *o, const struct tw_record *record) {
    double best = 0, whole = o->options.lr;
    for (uint32_t k = 0; k < record->count; k++)
        best = fmax(best, tw_corrections_factor(&o->shaping.corrections,
                                                record->contributions[k].staleness));
    double part = o->shaping.sum ? 1 : weighted_examples(o, record) / (double)record->examples;
    if (o->shaping.corrections.count == 0)
        part = best = 1;
    if (fabs(record->rate - whole * best * part) > 1e-15 * whole)
        fail_msg("update %" PRIu64 " has the learning rate %.17g", record->version, record->rate);
}

enum formula { ADAPTIVE, DANA, GAP_AWARE, DC_ASGD };

static enum formula formula_of(const struct oracle *o, uint32_t k) {
    static const char *const names[] = {"dc_asgd_adaptive", "dana", "gap_aware", "dc_asgd"};
    for (int i = 0; i < 4; i++)
        if (strcmp(o->shaping.corrections.at[k].kind->name, names[i]) == 0)
            return (enum formula)i;
    fail_msg("the oracle knows no %s", o->shaping.corrections.at[k].kind->name);
    return DC_ASGD;
}

/* One correction of one element of a contribution, in the order of the paper's formula. */
static float correct_element(const struct oracle *o, uint32_t k, enum formula formula,
                             const struct tw_contribution *c, float g, float moved, float *square,
                             float *own) {
    const struct tw_correction_options *options = &o->shaping.corrections.at[k].options;
    if (formula == ADAPTIVE) {
        float mean = g / (float)c->examples;
        *square = (float)options->rho * *square + (float)(1 - options->rho) * mean * mean;
    }
    if (formula == DANA) {
        float momentum = (float)options->momentum;
        *own = momentum * *own + g / (float)c->examples;
        return g + (float)(options->momentum * (double)c->examples) * *own;
    }
    if (c->staleness == 0)
        return g;
    if (formula == GAP_AWARE) {
        double left = 1;
        for (uint64_t t = 0; t < o->version; t++)
            left *= options->rho;
        float usual = sqrtf((float)(1 / (1 - left)) * *square) + (float)options->eps;
        return g / (1 + fabsf(moved) / usual);
    }
    float strength = (float)(options->lambda / (double)c->examples);
    if (formula == ADAPTIVE)
        strength = strength / sqrtf(*square + (float)options->eps);
    return g + strength * g * g * moved;
}

static void correct(struct oracle *o, const struct tw_contribution *c, const struct read *read,
                    int t) {
    const struct tw_corrections *corrections = &o->shaping.corrections;
    for (uint32_t k = 0; k < corrections->count; k++) {
        if (!corrections->at[k].kind->correct)
            continue;
        enum formula formula = formula_of(o, k);
        for (size_t i = 0; i < (size_t)o->list->tensors[t].elements; i++)
            read->gradient[t][i] = correct_element(o, k, formula, c, read->gradient[t][i],
                                                   o->weights[t][i] - read->exact[t][i],
                                                   &o->square[k][t][i], &o->own[k][c->slot][t][i]);
    }
}

/* The mean square of steps, of gap_aware. */
static void watch(struct oracle *o, int t, const float *before) {
    for (uint32_t k = 0; k < o->shaping.corrections.count; k++) {
        const struct tw_correction_options *options = &o->shaping.corrections.at[k].options;
        if (!o->shaping.corrections.at[k].kind->watch)
            continue;
        for (size_t i = 0; i < (size_t)o->list->tensors[t].elements; i++) {
            float step = o->weights[t][i] - before[i], *square = &o->square[k][t][i];
            *square = (float)options->rho * *square + (float)(1 - options->rho) * step * step;
        }
    }
}

static void sum_up(struct oracle *o, const struct tw_record *record, int t, float *sum) {
    const float *input[64];
    for (uint32_t i = 0; i < record->count; i++) {
        const struct read *read =
            find(o, record->contributions[i].slot, record->contributions[i].step);
        float *g = read->gradient[t], weight = (float)weight_of(o, record, i);
        bool trained = o->list->tensors[t].update == TW_TENSOR_TRAINED;
        if (trained)
            correct(o, &record->contributions[i], read, t);
        for (size_t k = 0; trained && k < (size_t)o->list->tensors[t].elements; k++)
            g[k] = weight * g[k];
        input[i] = g;
    }
    tw_sum_tree(sum, input, (int)record->count, (size_t)o->list->tensors[t].elements);
}

/* What the sum is divided by, as the record must say it: 0 for a plain mean. */
static double divisor_of(const struct oracle *o, float *const *sum,
                         const struct tw_record *record) {
    struct tw_exact_sum all = {0};
    double weighted = weighted_examples(o, record), scale = o->shaping.sum ? 1 : weighted;
    double plain = scale == (double)record->examples && !o->shaping.sum ? 0 : scale;
    if (o->shaping.clip_norm == 0)
        return plain;
    for (int t = 0; t < o->list->count; t++) {
        if (o->list->tensors[t].update != TW_TENSOR_TRAINED)
            continue;
        size_t n = (size_t)o->list->tensors[t].elements;
        double *blocks = calloc(tw_block_count(n), sizeof *blocks);
        tw_block_sums_of_squares(sum[t], n, blocks);
        for (size_t b = 0; b < tw_block_count(n); b++)
            tw_exact_sum_add(&all, blocks[b]);
        free(blocks);
    }
    double total = tw_exact_sum_value(&all);
    if (sqrt(total) / scale > o->shaping.clip_norm)
        return sqrt(total) / o->shaping.clip_norm;
    return plain;
}

static void shape(const struct oracle *o, const struct tw_record *record, int t, float *g) {
    const struct tw_shaping *shaping = &o->shaping;
    const struct tw_treatment *own = shaping->treatment ? &shaping->treatment[t] : NULL;
    double divisor = record->divisor != 0 ? record->divisor : (double)record->examples;
    double rate = record->rate * (own ? shaping->rate[own->rate] : 1);
    bool decay = !own || own->decay;
    float *w = o->weights[t];
    for (size_t i = 0; i < (size_t)o->list->tensors[t].elements; i++) {
        g[i] = g[i] / (float)divisor;
        if (shaping->clip_value > 0)
            g[i] = fmaxf(fminf(g[i], (float)shaping->clip_value), -(float)shaping->clip_value);
        if (decay && shaping->l2 > 0) {
            float penalty = (float)shaping->l2 * w[i];
            g[i] = g[i] + penalty;
        }
        if (decay && shaping->decoupled > 0)
            w[i] = (float)(1 - rate * shaping->decoupled) * w[i];
    }
}

/* The ratio of a layer-wise rule, over the whole tensor at once. */
static void check_ratio(const struct oracle *o, const struct tw_record *record, int t,
                        const float *sum) {
    size_t n = (size_t)o->list->tensors[t].elements;
    uint32_t rate = o->shaping.treatment ? o->shaping.treatment[t].rate : 0;
    float divisor = (float)(record->divisor != 0 ? record->divisor : (double)record->examples);
    float *g = malloc(n * sizeof(float)), *step = malloc(n * sizeof(float));
    struct tw_exact_sum of_weights = {0}, of_step = {0};
    for (size_t i = 0; i < n; i++) {
        g[i] = sum[i] / divisor;
        if (o->shaping.clip_value > 0)
            g[i] = fmaxf(fminf(g[i], (float)o->shaping.clip_value), -(float)o->shaping.clip_value);
    }
    struct tw_optimizer_float work = {.count = n,
                                      .gradient = g,
                                      .weights_in = o->weights[t],
                                      .weights_out = step,
                                      .scalars = record->scalars + rate * TW_OPTIMIZER_SCALARS};
    for (int i = 0; i < o->optimizer->states; i++)
        work.state[i] = o->state[i][t];
    if (o->list->tensors[t].update == TW_TENSOR_TRAINED)
        o->optimizer->step_float(&o->options, &work);
    else
        memset(step, 0, n * sizeof(float));
    tw_add_squares(&of_weights, o->weights[t], n);
    tw_add_squares(&of_step, step, n);
    double ratio = o->optimizer->ratio(work.scalars, sqrt(tw_exact_sum_value(&of_weights)),
                                       sqrt(tw_exact_sum_value(&of_step)));
    assert_memory_equal(&record->ratios[t], &ratio, sizeof ratio);
    free(g);
    free(step);
}

/* A statistic: the mean over the examples joins what is there. */
static void take_mean(struct oracle *o, const struct tw_record *record, int t, const float *sum) {
    bool equal = o->list->tensors[t].update == TW_TENSOR_MEAN;
    double keep = equal ? (double)(record->version - 1) / (double)record->version
                        : o->shaping.treatment[t].keep;
    for (size_t i = 0; i < (size_t)o->list->tensors[t].elements; i++) {
        float kept = (float)keep * o->weights[t][i];
        float taken = (float)(1 - keep) * (sum[i] / (float)record->examples);
        o->weights[t][i] = kept + taken;
    }
}

static void train(struct oracle *o, const struct tw_record *record, int t, float *sum) {
    size_t n = (size_t)o->list->tensors[t].elements;
    float *before = malloc(n * sizeof(float));
    memcpy(before, o->weights[t], n * sizeof(float));
    uint32_t rate = o->shaping.treatment ? o->shaping.treatment[t].rate : 0;
    shape(o, record, t, sum);
    tw_sample_gradient(&o->sample, sum, n);
    struct tw_optimizer_float work = {.count = n,
                                      .gradient = sum,
                                      .weights_in = o->weights[t],
                                      .weights_out = o->weights[t],
                                      .scalars = record->scalars + rate * TW_OPTIMIZER_SCALARS,
                                      .ratio = record->ratio_count ? record->ratios[t] : 1};
    for (int i = 0; i < o->optimizer->states; i++)
        work.state[i] = o->state[i][t];
    o->optimizer->apply_float(&o->options, &work);
    tw_sample_change(&o->sample, &o->steps[t], before, o->weights[t], n);
    watch(o, t, before);
    free(before);
}

static void apply(struct oracle *o, const struct tw_record *record, int t, float *sum) {
    size_t n = (size_t)o->list->tensors[t].elements;
    if (o->list->tensors[t].update == TW_TENSOR_TRAINED)
        train(o, record, t, sum);
    else
        take_mean(o, record, t, sum);
    float keep = (float)o->shaping.average, rest = (float)(1 - o->shaping.average);
    for (size_t i = 0; i < n && o->average; i++) {
        float kept = keep * o->average[t][i], taken = rest * o->weights[t][i];
        o->average[t][i] = kept + taken;
    }
    tw_sample_hash(&o->sample, (uint32_t)t, 0, o->weights[t], n);
}

static void apply_all(struct oracle *o, const struct tw_record *record) {
    float **sum = make_set(o->list);
    for (int t = 0; t < o->list->count; t++)
        sum_up(o, record, t, sum[t]);
    double divisor = divisor_of(o, sum, record);
    check_rate(o, record);
    assert_memory_equal(&record->divisor, &divisor, sizeof divisor);
    assert_int_equal(record->ratio_count, o->optimizer->ratio ? o->list->count : 0);
    for (int t = 0; t < o->list->count && record->ratio_count; t++)
        check_ratio(o, record, t, sum[t]);
    for (int t = 0; t < o->list->count; t++)
        apply(o, record, t, sum[t]);
    free_set(o->list, sum);
}

/* All that is out of a slot, or not committed, is over. */
static void cancel(struct oracle *o, uint32_t slot) {
    for (const struct read *read = o->reads; read; read = read->next)
        if (read->slot == slot && read->step > o->settled[slot])
            o->settled[slot] = read->step;
    forget(o, slot, 0);
}

static void on_commit(struct oracle *o, const struct tw_record *record) {
    uint64_t total = 0, examples;
    double loss;
    assert_int_equal(record->version, o->version + 1);
    for (uint32_t i = 0; i < record->count; i++) {
        const struct tw_contribution *c = &record->contributions[i];
        assert_true(i == 0 || c->slot > c[-1].slot ||
                    (c->slot == c[-1].slot && c->step > c[-1].step));
        struct read *read = find(o, c->slot, c->step);
        assert_true(c->staleness <= tw_corrections_limit(&o->shaping.corrections));
        oracle_gradient(o->list, o->seed, c->slot * o->width, o->width, c->step, o->not_finite,
                        (const float *const *)read->weights, read->gradient, &examples, &loss);
        for (int t = 0; t < o->list->count; t++)
            tw_encoding_round(tw_tensor_push_encoding(&o->list->tensors[t], o->push),
                              read->gradient[t], read->gradient[t],
                              (size_t)o->list->tensors[t].elements);
        total += examples;
    }
    assert_int_equal(record->examples, total);
    tw_sample_begin(&o->sample, record->version, true, true);
    memset(o->steps, 0, (size_t)o->list->count * sizeof *o->steps);
    apply_all(o, record);
    for (uint32_t i = 0; i < record->count; i++)
        settle(o, &record->contributions[i]);
    o->version++;
}

void oracle_record(struct oracle *o, const struct tw_record *record) {
    assert_int_equal(record->position, o->position + 1);
    o->position++;
    switch (record->kind) {
    case TW_RECORD_JOIN:
        forget(o, record->slot, 0);
        break;
    case TW_RECORD_RELEASE:
        on_release(o, record);
        break;
    case TW_RECORD_COMMIT:
        on_commit(o, record);
        break;
    case TW_RECORD_DROP:
        for (uint32_t i = 0; i < record->count; i++)
            settle(o, &record->contributions[i]);
        break;
    case TW_RECORD_REGATHER:
    case TW_RECORD_PERMIT:
        break;
    case TW_RECORD_VERDICT:
    case TW_RECORD_CHECKPOINT:
    case TW_RECORD_ROLLBACK:
        break;
    case TW_RECORD_DIAL:
        for (uint32_t i = 0; i < o->ranks; i++)
            cancel(o, i);
        break;
    case TW_RECORD_EVICT:
        cancel(o, record->slot);
        break;
    }
}

void oracle_check_sample(const struct oracle *o, const struct tw_sample *sample,
                         const struct tw_tensor_squares *steps) {
    assert_int_equal(sample->version, o->version);
    if (sample->hashed)
        assert_true(sample->hash == o->sample.hash);
    if (!sample->summed)
        return;
    assert_memory_equal(&sample->gradient, &o->sample.gradient, sizeof sample->gradient);
    assert_memory_equal(&sample->update, &o->sample.update, sizeof sample->update);
    assert_memory_equal(&sample->weights, &o->sample.weights, sizeof sample->weights);
    assert_memory_equal(steps, o->steps, (size_t)o->list->count * sizeof *steps);
}

const float *oracle_weights(const struct oracle *o, int tensor) {
    return o->weights[tensor];
}

const float *oracle_average(const struct oracle *o, int tensor) {
    return o->average ? o->average[tensor] : NULL;
}
