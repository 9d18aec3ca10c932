#include "worker/nn/loss.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/realmath.h"

/* One line each, in the order of --help. */
#define LOSSES(X)                                                                                  \
    X(softmax_cross_entropy)                                                                       \
    X(binary_cross_entropy)                                                                        \
    X(mean_squared_error)                                                                          \
    X(mean_absolute_error)                                                                         \
    X(huber)

#define X(name) extern const struct tw_loss tw_loss_##name;
LOSSES(X)
#undef X

const struct tw_loss *const tw_losses[] = {
#define X(name) &tw_loss_##name,
    LOSSES(X)
#undef X
};
const int tw_loss_count = sizeof tw_losses / sizeof tw_losses[0];

static enum tw_status read_options(const struct tw_loss *loss, void **options,
                                   const struct tw_variant *variant, struct tw_error *error) {
    *options = NULL;
    if (loss->options_size > 0)
        *options = calloc(1, loss->options_size);
    if (loss->options_size > 0 && *options == NULL)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    enum tw_status status =
        tw_options_read(variant, loss->rules, loss->rule_count, *options, error);
    if (status != TW_OK) {
        free(*options);
        *options = NULL;
    }
    return status;
}

enum tw_status tw_loss_find(const struct tw_loss **out, void **options,
                            const struct tw_variant *variant, struct tw_error *error) {
    const char *names[sizeof tw_losses / sizeof tw_losses[0]];
    for (int i = 0; i < tw_loss_count; i++) {
        names[i] = tw_losses[i]->name;
        if (strcmp(names[i], variant->name) != 0)
            continue;
        *out = tw_losses[i];
        return read_options(tw_losses[i], options, variant, error);
    }
    return tw_unknown_variant(variant, "loss", names, tw_loss_count, sizeof names[0], error);
}

int tw_loss_classes(const struct tw_loss *loss, int outputs) {
    return loss->binary && outputs == 1 ? 2 : outputs;
}

/* Whether the label's output is the largest and, of equal ones, the first; a single output
 * stands beside a 0 for class 0. Written so that a NaN anywhere makes it false. */
static bool is_correct(const tw_real *out, int outputs, int32_t label) {
    bool correct = true;
    if (outputs == 1)
        return label == 1 ? out[0] > 0 : out[0] <= 0;
    for (int i = 0; i < label; i++)
        correct &= out[label] > out[i];
    for (int i = label; i < outputs; i++)
        correct &= out[label] >= out[i];
    return correct;
}

void tw_loss_add(const struct tw_loss *loss, const void *options, const tw_real *out, int rows,
                 int outputs, const struct tw_batch *batch, tw_real *gradient,
                 struct tw_score *score) {
    assert(loss->valued || !batch->valued);
    for (int i = 0; i < rows; i++) {
        size_t first = (size_t)i * (size_t)outputs;
        struct tw_target target = {.values = batch->valued ? batch->targets + first : NULL};
        if (!batch->valued) {
            target.label = batch->labels[i];
            assert(target.label >= 0 && target.label < tw_loss_classes(loss, outputs));
            score->correct += is_correct(out + first, outputs, target.label);
        }
        score->loss += loss->row(options, out + first, outputs, target,
                                 gradient == NULL ? NULL : gradient + first);
    }
    score->examples += rows;
}

static void softmax(const tw_real *out, int outputs, double *answer) {
    double largest = (double)out[0], sum = 0;
    for (int i = 1; i < outputs; i++)
        largest = (double)out[i] > largest ? (double)out[i] : largest;
    for (int i = 0; i < outputs; i++)
        sum += answer[i] = tw_exp((double)out[i] - largest);
    for (int i = 0; i < outputs; i++)
        answer[i] /= sum;
}

static double sigmoid(double z) {
    double e = tw_exp(-fabs(z));
    return (z < 0 ? e : 1) / (1 + e);
}

void tw_loss_answer(const struct tw_loss *loss, const tw_real *out, int outputs, double *answer) {
    if (loss->answer == TW_ANSWER_SOFTMAX) {
        softmax(out, outputs, answer);
        return;
    }
    for (int i = 0; i < outputs; i++)
        answer[i] = loss->answer == TW_ANSWER_SIGMOID ? sigmoid((double)out[i]) : (double)out[i];
}

void tw_loss_unanswer(const struct tw_loss *loss, const double *answer, int outputs, tw_real *out) {
    for (int i = 0; i < outputs; i++) {
        double p = answer[i];
        out[i] = (tw_real)(loss->answer == TW_ANSWER_SOFTMAX   ? tw_log(p)
                           : loss->answer == TW_ANSWER_SIGMOID ? tw_log(p / (1 - p))
                                                               : p);
    }
}
