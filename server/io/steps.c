#include "server/io/steps.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tw_status tw_steps_init(struct tw_steps *steps, const struct tw_server_config *config) {
    size_t tensors = (size_t)config->tensors->count;
    *steps = (struct tw_steps){
        .config = config,
        .last = calloc(tensors, sizeof(*steps->last)),
        .sum = calloc(tensors, sizeof(*steps->sum)),
        .held = calloc(TW_HELD_BORDERS * tensors, sizeof(*steps->held)),
    };
    return steps->last && steps->sum && steps->held ? TW_OK : TW_NO_MEMORY;
}

void tw_steps_fini(struct tw_steps *steps) {
    free(steps->last);
    free(steps->sum);
    free(steps->held);
}

void tw_steps_forget(struct tw_steps *steps) {
    steps->samples = steps->version = steps->told_version = 0;
    for (int t = 0; t < steps->config->tensors->count; t++)
        steps->sum[t] = 0;
}

void tw_steps_sampled(struct tw_steps *steps, const struct tw_node_event *event) {
    if (!event->steps)
        return;
    steps->version = event->sample->version;
    steps->samples++;
    for (int t = 0; t < steps->config->tensors->count; t++) {
        steps->last[t] = tw_tensor_squares_ratio(&event->steps[t]);
        steps->sum[t] += log(steps->last[t]);
    }
}

void tw_steps_border(struct tw_steps *steps, struct tw_border *border) {
    size_t tensors = (size_t)steps->config->tensors->count;
    if (steps->version == steps->told_version)
        return;
    double *held = steps->held + steps->borders++ % TW_HELD_BORDERS * tensors;
    memcpy(held, steps->last, tensors * sizeof(*held));
    border->tensors = steps->config->tensors;
    border->update_ratio = held;
    border->update_ratio_at = steps->told_version = steps->version;
}

/* ---- the end ---- */

/* What is typical of a tensor of weights; NaN: of another one, or it has not always moved. */
static double typical(const struct tw_steps *steps, int t) {
    const struct tw_shaping *shaping = &steps->config->shaping;
    bool own_rate = shaping->treatment && shaping->rate[shaping->treatment[t].rate] != 1;
    double mean = exp(steps->sum[t] / (double)steps->samples);
    return steps->config->tensors->tensors[t].dims < 2 || own_rate || !(mean > 0) ? (double)NAN
                                                                                  : mean;
}

/* Beyond these it is worth a word: a hundred times more, or less, than the rule of thumb. */
#define USUAL 1e-3
#define FAR 100

static void add_hint(const struct tw_server_config *config, double least, double most, char *text,
                     size_t room) {
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

bool tw_steps_words(const struct tw_steps *steps, char *text, size_t room) {
    enum { ENOUGH = 3 };
    const struct tw_server_config *config = steps->config;
    int least = -1, most = -1;
    if (steps->samples < ENOUGH || !config->train_samples || config->index)
        return false;
    for (int t = 0; t < config->tensors->count; t++) {
        if (isnan(typical(steps, t)))
            continue;
        least = least < 0 || typical(steps, t) < typical(steps, least) ? t : least;
        most = most < 0 || typical(steps, t) > typical(steps, most) ? t : most;
    }
    if (most < 0)
        return false;
    const struct tw_tensor *tensors = config->tensors->tensors;
    double low = typical(steps, least), high = typical(steps, most);
    int used = snprintf(text, room, "a typical update moved %.100s by %.2g of its size",
                        tensors[most].name, high);
    if (least != most)
        used += snprintf(text + used, room - (size_t)used, ", %.100s by %.2g", tensors[least].name,
                         low);
    used += snprintf(text + used, room - (size_t)used, " (usual: about %g)", USUAL);
    add_hint(config, low, high, text + used, room - (size_t)used);
    return true;
}
