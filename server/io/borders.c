#include "server/io/borders.h"

#include <math.h>
#include <string.h>

static const double none = (double)NAN;

static double ratio(double a, double b) {
    return b > 0 ? a / b : none;
}

void tw_borders_init(struct tw_borders *borders) {
    *borders = (struct tw_borders){
        .train_loss = none, .train_accuracy = none, .test = tw_metric_values_none()};
}

struct tw_border *tw_borders_begin(struct tw_borders *borders, const struct tw_node_event *event,
                                   uint64_t n, double seconds) {
    const struct tw_stretch *stretch = &event->stretch;
    double samples = (double)event->samples, before = (double)borders->samples;
    struct tw_border *border = &borders->held[borders->holds++];
    borders->train_loss = ratio(stretch->loss, (double)stretch->examples);
    borders->train_accuracy = tw_stretch_accuracy(stretch);
    *border = (struct tw_border){
        .version = event->version,
        .samples = event->samples,
        .epoch = n ? samples / (double)n : 0,
        .whole = n && floor(samples / (double)n) > floor(before / (double)n),
        .seconds = seconds,
        .samples_per_second = ratio(samples - before, seconds - borders->seconds),
        .lr = event->rate,
        .train_loss = borders->train_loss,
        .train_accuracy = borders->train_accuracy,
        .test = tw_metric_values_none(),
        .staleness_mean = ratio((double)stretch->staleness_sum, (double)stretch->contributions),
        .staleness_max = stretch->staleness_max,
        .chunks = stretch->chunks,
        .dropped = stretch->dropped,
        .not_finite = stretch->not_finite,
        .times.culprit = -1,
        .awaits = event->evaluated,
    };
    borders->seconds = seconds;
    borders->samples = event->samples;
    return border;
}

void tw_borders_evaluated(struct tw_borders *borders, const struct tw_node_event *event) {
    borders->evaluated_version = event->version;
    borders->test = event->values;
    for (int i = 0; i < borders->holds; i++) {
        struct tw_border *border = &borders->held[i];
        if (border->version != event->version)
            continue;
        border->test = event->values;
        border->awaits = false;
    }
}

void tw_borders_let_go(struct tw_borders *borders) {
    for (int i = 0; i < borders->holds; i++)
        borders->held[i].awaits = false;
}

void tw_borders_given_up(struct tw_borders *borders, uint64_t version) {
    for (int i = 0; i < borders->holds; i++)
        if (borders->held[i].version == version)
            borders->held[i].awaits = false;
}

bool tw_borders_next(struct tw_borders *borders, struct tw_border *out) {
    if (borders->holds == 0 || borders->held[0].awaits)
        return false;
    *out = borders->held[0];
    memmove(borders->held, borders->held + 1, (size_t)--borders->holds * sizeof(*borders->held));
    return true;
}

struct tw_report tw_border_report(const struct tw_border *border) {
    return (struct tw_report){.kind = TW_REPORT_EPOCH,
                              .updates = border->version,
                              .samples = border->samples,
                              .epoch = border->epoch,
                              .seconds = border->seconds,
                              .samples_per_second = border->samples_per_second,
                              .train_loss = border->train_loss,
                              .train_accuracy = border->train_accuracy,
                              .test_loss = border->test.loss,
                              .test_accuracy = border->test.accuracy,
                              .staleness_mean = border->staleness_mean};
}

void tw_borders_result(const struct tw_borders *borders, const struct tw_sequencer *sequencer,
                       double seconds, struct tw_result *result) {
    struct tw_stretch total = tw_sequencer_total(sequencer);
    result->updates = tw_sequencer_version(sequencer);
    result->samples = total.examples;
    result->seconds = seconds;
    result->samples_per_second = seconds > 0 ? (double)total.examples / seconds : 0;
    result->train_loss = borders->train_loss;
    if (isnan(result->train_loss) && total.examples)
        result->train_loss = total.loss / (double)total.examples;
    result->train_accuracy = borders->train_accuracy;
    if (isnan(result->train_accuracy))
        result->train_accuracy = tw_stretch_accuracy(&total);
    /* An evaluation of an earlier version says nothing of this model. */
    bool evaluated = borders->evaluated_version == result->updates;
    result->test_loss = evaluated ? borders->test.loss : none;
    result->test_accuracy = evaluated ? borders->test.accuracy : none;
    result->staleness_mean =
        total.contributions ? (double)total.staleness_sum / (double)total.contributions : 0;
    result->staleness_max = total.staleness_max;
    result->dropped = total.dropped;
    result->not_finite = total.not_finite;
}
