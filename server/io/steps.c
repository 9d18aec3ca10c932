/* How far an update moves each tensor, beside its size: |change| / |weights|, of the updates that
 * trace.log has sums of. The last one goes into each line of metrics.jsonl; at the end of a run
 * people are told the typical one (the geometric mean of all), and what to try when it is far from
 * where it usually is.
 *
 * Nothing is judged where it would mean nothing: biases, which start at 0; tensors that do not move
 * at all, or with a rate of their own; models without data, whose size is arbitrary. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/io/server_state.h"

enum tw_status tw_steps_init(struct tw_server *server) {
    size_t tensors = (size_t)server->config->tensors->count;
    struct tw_steps *steps = &server->steps;
    steps->last = calloc(tensors, sizeof(*steps->last));
    steps->sum = calloc(tensors, sizeof(*steps->sum));
    steps->held = calloc(TW_HELD_BORDERS * tensors, sizeof(*steps->held));
    return steps->last && steps->sum && steps->held ? TW_OK : TW_NO_MEMORY;
}

void tw_steps_fini(struct tw_server *server) {
    free(server->steps.last);
    free(server->steps.sum);
    free(server->steps.held);
}

void tw_steps_sampled(struct tw_server *server, const struct tw_node_event *event) {
    struct tw_steps *steps = &server->steps;
    if (!event->steps)
        return;
    steps->version = event->sample->version;
    steps->samples++;
    for (int t = 0; t < server->config->tensors->count; t++) {
        steps->last[t] = tw_tensor_squares_ratio(&event->steps[t]);
        steps->sum[t] += log(steps->last[t]);
    }
}

void tw_steps_border(struct tw_server *server, struct tw_border *border) {
    struct tw_steps *steps = &server->steps;
    size_t tensors = (size_t)server->config->tensors->count;
    if (steps->version == steps->told_version)
        return;
    double *held = steps->held + steps->borders++ % TW_HELD_BORDERS * tensors;
    memcpy(held, steps->last, tensors * sizeof(*held));
    border->tensors = server->config->tensors;
    border->update_ratio = held;
    border->update_ratio_at = steps->told_version = steps->version;
}

/* ---- the end ---- */

/* What is typical of a tensor of weights; NaN: of another one, or it has not always moved. */
static double typical(const struct tw_server *server, int t) {
    const struct tw_steps *steps = &server->steps;
    const struct tw_shaping *shaping = &server->config->shaping;
    bool own_rate = shaping->treatment && shaping->rate[shaping->treatment[t].rate] != 1;
    double mean = exp(steps->sum[t] / (double)steps->samples);
    return server->config->tensors->tensors[t].dims < 2 || own_rate || !(mean > 0) ? (double)NAN
                                                                                   : mean;
}

/* Beyond these it is worth a word: a hundred times more, or less, than the rule of thumb. */
#define USUAL 1e-3
#define FAR 100

static void add_hint(const struct tw_server *server, double least, double most, char *text,
                     size_t room) {
    const struct tw_server_config *config = server->config;
    bool scheduled = config->pace.rate.kind != NULL;
    const char *rate = scheduled ? "that the schedule begins with" : "optimizer.lr";
    if (most > USUAL * FAR)
        snprintf(text, room,
                 "; that is far: if training is not what it should be, lower the rate "
                 "(%s) by a factor of %.0f or so",
                 rate, fmin(most / (10 * USUAL), 1e6));
    else if (most < USUAL / FAR && least > 0 && !scheduled)
        snprintf(text, room,
                 "; that is little: a rate (%s) that is %.0f times higher or so may "
                 "train faster",
                 rate, fmin(USUAL / (10 * most), 1e6));
}

void tw_steps_conclude(struct tw_server *server) {
    enum { ENOUGH = 3 };
    const struct tw_server_config *config = server->config;
    struct tw_report report = {.kind = TW_REPORT_STEPS};
    int least = -1, most = -1;
    if (server->steps.samples < ENOUGH || !config->train_samples || config->index)
        return;
    for (int t = 0; t < config->tensors->count; t++) {
        if (isnan(typical(server, t)))
            continue;
        least = least < 0 || typical(server, t) < typical(server, least) ? t : least;
        most = most < 0 || typical(server, t) > typical(server, most) ? t : most;
    }
    if (most < 0)
        return;
    const struct tw_tensor *tensors = config->tensors->tensors;
    double low = typical(server, least), high = typical(server, most);
    int used =
        snprintf(report.text, sizeof(report.text),
                 "a typical update moved %.100s by %.2g of its size", tensors[most].name, high);
    if (least != most)
        used += snprintf(report.text + used, sizeof(report.text) - (size_t)used, ", %.100s by %.2g",
                         tensors[least].name, low);
    used += snprintf(report.text + used, sizeof(report.text) - (size_t)used, " (usual: about %g)",
                     USUAL);
    add_hint(server, low, high, report.text + used, sizeof(report.text) - (size_t)used);
    tw_narrator_tell(server, &report);
}
