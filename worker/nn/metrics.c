#include "worker/nn/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- gathering ---- */

enum tw_status tw_metrics_init(struct tw_metrics *metrics, const struct tw_model *model,
                               uint64_t examples, bool valued, struct tw_error *error) {
    size_t classes = (size_t)tw_model_classes(model), outputs = (size_t)model->output.elements;
    struct tw_tally *tally = &metrics->tally;
    *metrics = (struct tw_metrics){
        .model = model,
        .tally = {.outputs = (uint32_t)outputs, .classes = (uint32_t)classes, .valued = valued}};
    bool ranks = tw_tally_ranks(tally), confuses = !valued && classes <= TW_METRICS_CLASSES_MAX;
    if (confuses)
        metrics->confusion = calloc(classes * classes, sizeof *metrics->confusion);
    if (valued)
        tally->fit = calloc(outputs, sizeof *tally->fit);
    if (ranks)
        tally->score = calloc((size_t)examples, sizeof *tally->score);
    tally->room = ranks ? examples : 0;
    tw_tally_clear(tally);
    if ((confuses && !metrics->confusion) || (valued && !tally->fit) || (ranks && !tally->score))
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for the metrics of %llu samples",
                            (unsigned long long)examples);
    return TW_OK;
}

void tw_metrics_fini(struct tw_metrics *metrics) {
    free(metrics->confusion);
    free(metrics->tally.fit);
    free(metrics->tally.score);
    *metrics = (struct tw_metrics){0};
}

void tw_metrics_clear(struct tw_metrics *metrics) {
    size_t classes = metrics->tally.classes;
    tw_tally_clear(&metrics->tally);
    if (metrics->confusion)
        memset(metrics->confusion, 0, classes * classes * sizeof *metrics->confusion);
}

int32_t tw_predicted_class(const tw_real *out, int outputs) {
    int32_t best = 0;
    if (outputs == 1)
        return out[0] > 0;
    for (int32_t i = 1; i < outputs; i++)
        if (out[i] > out[best])
            best = i;
    return best;
}

/* Fewer than five others come before the label: larger ones, and equal ones that stand first. A
 * NaN is in nobody's five. */
static bool is_among_five(const tw_real *out, int outputs, int32_t label) {
    int before = 0;
    for (int i = 0; i < outputs; i++)
        before += i != label && !(i < label ? out[i] < out[label] : out[i] <= out[label]);
    return before < 5;
}

static void add_score(struct tw_tally *tally, double score, bool positive) {
    if (!tally->score || tally->scores >= tally->room)
        return;
    tally->unordered |= isnan(score);
    tally->score[tally->scores++] = (struct tw_tally_score){score, positive};
}

static void add_label(struct tw_metrics *m, const tw_real *out, int32_t label) {
    struct tw_tally *tally = &m->tally;
    int outputs = (int)tally->outputs;
    int32_t predicted = tw_predicted_class(out, outputs);
    bool known = true;
    for (int i = 0; i < outputs; i++)
        known = known && !isnan(out[i]);
    tally->correct += known && predicted == label;
    tally->among_five += outputs > 1 && is_among_five(out, outputs, label);
    if (m->confusion)
        m->confusion[(size_t)label * tally->classes + (size_t)predicted]++;
    add_score(tally, outputs == 1 ? (double)out[0] : (double)out[1] - (double)out[0], label == 1);
}

static void add_values(struct tw_tally *tally, const tw_real *out, const tw_real *values) {
    for (uint32_t i = 0; i < tally->outputs; i++) {
        struct tw_tally_fit *fit = &tally->fit[i];
        double value = (double)values[i], error = value - (double)out[i];
        tw_exact_sum_add(&fit->residual, error * error);
        tw_exact_sum_add(&fit->square, value * value);
        tw_exact_sum_add(value < 0 ? &fit->below : &fit->above, fabs(value));
        fit->least = value < fit->least ? value : fit->least;
        fit->most = value > fit->most ? value : fit->most;
    }
}

void tw_metrics_add(struct tw_metrics *m, const tw_real *out, struct tw_target target) {
    const struct tw_model *model = m->model;
    tw_exact_sum_add(&m->tally.loss, model->loss->row(model->loss_options, out,
                                                      (int)m->tally.outputs, target, NULL));
    if (target.values)
        add_values(&m->tally, out, target.values);
    else
        add_label(m, out, target.label);
    m->tally.samples++;
}

void tw_metrics_add_batch(struct tw_metrics *m, const tw_real *out, const struct tw_batch *batch,
                          int count) {
    size_t outputs = m->tally.outputs;
    for (size_t i = 0; i < (size_t)count; i++)
        tw_metrics_add(m, out + i * outputs,
                       batch->valued ? (struct tw_target){.values = batch->targets + i * outputs}
                                     : (struct tw_target){.label = batch->labels[i]});
}

/* ---- the table ---- */

static int by_score(const void *a, const void *b) {
    double x = ((const struct tw_tally_score *)a)->score;
    double y = ((const struct tw_tally_score *)b)->score;
    return (x > y) - (x < y);
}

const struct tw_tally *tw_metrics_tally(struct tw_metrics *metrics) {
    struct tw_tally *tally = &metrics->tally;
    if (tally->score && !tally->unordered)
        qsort(tally->score, (size_t)tally->scores, sizeof *tally->score, by_score);
    return tally;
}

static double loss(struct tw_metrics *m) {
    return tw_tally_loss(&m->tally);
}

static double accuracy(struct tw_metrics *m) {
    return tw_tally_accuracy(&m->tally);
}

static double top_five(struct tw_metrics *m) {
    return tw_tally_top_five(&m->tally);
}

static double area(struct tw_metrics *m) {
    return tw_tally_area(tw_metrics_tally(m));
}

static double r_squared(struct tw_metrics *m) {
    return tw_tally_r_squared(&m->tally);
}

const struct tw_metric tw_metrics_table[] = {
    {"loss", "the loss of the job, mean over the samples", loss},
    {"accuracy", "share of the samples whose largest output is their label", accuracy},
    {"top5", "share whose label is among the five largest outputs", top_five},
    {"auc", "area under the ROC curve, of two classes", area},
    {"r2", "R^2, mean over the outputs, of real targets", r_squared},
};
const int tw_metrics_count = sizeof tw_metrics_table / sizeof tw_metrics_table[0];

struct tw_metric_values tw_metrics_values(struct tw_metrics *metrics) {
    return tw_tally_values(tw_metrics_tally(metrics));
}
