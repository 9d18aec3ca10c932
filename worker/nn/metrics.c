#include "worker/nn/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How much a sample looks like class 1, and whether it is. */
struct tw_metrics_ranked {
    double score;
    bool positive;
};

/* ---- gathering ---- */

enum tw_status tw_metrics_init(struct tw_metrics *metrics, const struct tw_model *model,
                               uint64_t examples, bool valued, struct tw_error *error) {
    size_t classes = (size_t)tw_model_classes(model), outputs = (size_t)model->output.elements;
    *metrics = (struct tw_metrics){
        .model = model, .outputs = (int)outputs, .classes = (int)classes, .valued = valued};
    bool ranks = !valued && classes == 2, confuses = !valued && classes <= TW_METRICS_CLASSES_MAX;
    if (confuses)
        metrics->confusion = calloc(classes * classes, sizeof *metrics->confusion);
    if (valued)
        metrics->fit = calloc(outputs, sizeof *metrics->fit);
    if (ranks)
        metrics->ranked = calloc((size_t)examples, sizeof *metrics->ranked);
    metrics->room = ranks ? examples : 0;
    if ((confuses && !metrics->confusion) || (valued && !metrics->fit) ||
        (ranks && !metrics->ranked))
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for the metrics of %llu samples",
                            (unsigned long long)examples);
    return TW_OK;
}

void tw_metrics_fini(struct tw_metrics *metrics) {
    free(metrics->confusion);
    free(metrics->fit);
    free(metrics->ranked);
    *metrics = (struct tw_metrics){0};
}

void tw_metrics_clear(struct tw_metrics *metrics) {
    size_t classes = (size_t)metrics->classes, outputs = (size_t)metrics->outputs;
    metrics->examples = metrics->correct = metrics->among_five = 0;
    metrics->loss = (struct tw_exact_sum){0};
    if (metrics->confusion)
        memset(metrics->confusion, 0, classes * classes * sizeof *metrics->confusion);
    if (metrics->fit)
        memset(metrics->fit, 0, outputs * sizeof *metrics->fit);
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

static void add_label(struct tw_metrics *m, const tw_real *out, int32_t label) {
    int32_t predicted = tw_predicted_class(out, m->outputs);
    bool known = true;
    for (int i = 0; i < m->outputs; i++)
        known = known && !isnan(out[i]);
    m->correct += known && predicted == label;
    m->among_five += m->outputs > 1 && is_among_five(out, m->outputs, label);
    if (m->confusion)
        m->confusion[(size_t)label * (size_t)m->classes + (size_t)predicted]++;
    if (m->ranked && m->examples < m->room)
        m->ranked[m->examples] = (struct tw_metrics_ranked){
            .score = m->outputs == 1 ? (double)out[0] : (double)out[1] - (double)out[0],
            .positive = label == 1};
}

static void add_values(struct tw_metrics *m, const tw_real *out, const tw_real *values) {
    for (int i = 0; i < m->outputs; i++) {
        struct tw_metrics_fit *fit = &m->fit[i];
        double value = (double)values[i], error = value - (double)out[i];
        tw_exact_sum_add(&fit->residual, error * error);
        tw_exact_sum_add(&fit->square, value * value);
        tw_exact_sum_add(value < 0 ? &fit->below : &fit->above, fabs(value));
        fit->least = m->examples == 0 || value < fit->least ? value : fit->least;
        fit->most = m->examples == 0 || value > fit->most ? value : fit->most;
    }
}

void tw_metrics_add(struct tw_metrics *m, const tw_real *out, struct tw_target target) {
    const struct tw_model *model = m->model;
    tw_exact_sum_add(&m->loss,
                     model->loss->row(model->loss_options, out, m->outputs, target, NULL));
    if (target.values)
        add_values(m, out, target.values);
    else
        add_label(m, out, target.label);
    m->examples++;
}

void tw_metrics_add_batch(struct tw_metrics *m, const tw_real *out, const struct tw_batch *batch,
                          int count) {
    size_t outputs = (size_t)m->outputs;
    for (size_t i = 0; i < (size_t)count; i++)
        tw_metrics_add(m, out + i * outputs,
                       batch->valued ? (struct tw_target){.values = batch->targets + i * outputs}
                                     : (struct tw_target){.label = batch->labels[i]});
}

/* ---- the table ---- */

static double loss(struct tw_metrics *m) {
    return tw_exact_sum_value(&m->loss) / (double)m->examples;
}

static double accuracy(struct tw_metrics *m) {
    return m->valued ? (double)NAN : (double)m->correct / (double)m->examples;
}

static double top_five(struct tw_metrics *m) {
    return m->valued || m->classes <= 5 ? (double)NAN : (double)m->among_five / (double)m->examples;
}

static int by_score(const void *a, const void *b) {
    double x = ((const struct tw_metrics_ranked *)a)->score;
    double y = ((const struct tw_metrics_ranked *)b)->score;
    return (x > y) - (x < y);
}

/* Mann and Whitney's U: of all pairs of a positive and a negative sample, in how many the positive
 * one has the larger score; equal ones count half. In halves, so that it is a whole number. */
static double area(struct tw_metrics *m) {
    uint64_t negatives = 0, positives = 0, halves = 0;
    if (!m->ranked)
        return (double)NAN;
    for (uint64_t i = 0; i < m->examples; i++)
        if (isnan(m->ranked[i].score))
            return (double)NAN;
    qsort(m->ranked, (size_t)m->examples, sizeof *m->ranked, by_score);
    for (uint64_t i = 0, end; i < m->examples; i = end) {
        uint64_t above = 0, below = 0;
        for (end = i; end < m->examples && m->ranked[end].score == m->ranked[i].score; end++)
            *(m->ranked[end].positive ? &above : &below) += 1;
        halves += above * (2 * negatives + below);
        positives += above;
        negatives += below;
    }
    if (positives == 0 || negatives == 0)
        return (double)NAN;
    return (double)halves / (2.0 * (double)positives * (double)negatives);
}

/* The mean over the outputs of 1 - sum (t - z)^2 / sum (t - mean t)^2; an output whose targets are
 * all the same has none. */
static double r_squared(struct tw_metrics *m) {
    double sum = 0, n = (double)m->examples;
    if (!m->valued)
        return (double)NAN;
    for (int i = 0; i < m->outputs; i++) {
        const struct tw_metrics_fit *fit = &m->fit[i];
        double total = tw_exact_sum_value(&fit->above) - tw_exact_sum_value(&fit->below);
        double spread = tw_exact_sum_value(&fit->square) - total * total / n;
        bool varies = fit->least < fit->most && spread > 0; /* rounding may leave constants some */
        sum += varies ? 1 - tw_exact_sum_value(&fit->residual) / spread : (double)NAN;
    }
    return sum / m->outputs;
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
    return (struct tw_metric_values){.loss = loss(metrics),
                                     .accuracy = accuracy(metrics),
                                     .top5 = top_five(metrics),
                                     .auc = area(metrics),
                                     .r2 = r_squared(metrics)};
}
