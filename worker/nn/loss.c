#include "worker/nn/loss.h"

#include <assert.h>
#include <string.h>

/* One line each, in the order of --help. */
#define LOSSES(X)                                                                                  \
    X(softmax_cross_entropy)                                                                       \
    X(mean_squared_error)

#define X(name) extern const struct tw_loss tw_loss_##name;
LOSSES(X)
#undef X

const struct tw_loss *const tw_losses[] = {
#define X(name) &tw_loss_##name,
    LOSSES(X)
#undef X
};
const int tw_loss_count = sizeof tw_losses / sizeof tw_losses[0];

enum tw_status tw_loss_find(const struct tw_loss **out, const struct tw_variant *variant,
                            struct tw_error *error) {
    const char *names[sizeof tw_losses / sizeof tw_losses[0]];
    for (int i = 0; i < tw_loss_count; i++) {
        names[i] = tw_losses[i]->name;
        if (strcmp(names[i], variant->name) != 0)
            continue;
        enum tw_status status = tw_options_read(variant, NULL, 0, NULL, error);
        if (status == TW_OK)
            *out = tw_losses[i];
        return status;
    }
    return tw_unknown_variant(variant, "loss", names, tw_loss_count, sizeof names[0], error);
}

/* Whether the label's output is the largest and, of equal ones, the first. Written so
 * that a NaN anywhere makes it false. */
static bool is_correct(const float *out, int classes, int32_t label) {
    bool correct = true;
    for (int i = 0; i < label; i++)
        correct &= out[label] > out[i];
    for (int i = label; i < classes; i++)
        correct &= out[label] >= out[i];
    return correct;
}

void tw_loss_add(const struct tw_loss *loss, const float *out, int rows, int classes,
                 const int32_t *labels, float *gradient, struct tw_score *score) {
    for (int i = 0; i < rows; i++) {
        size_t first = (size_t)i * (size_t)classes;
        assert(labels[i] >= 0 && labels[i] < classes);
        score->correct += is_correct(out + first, classes, labels[i]);
        score->loss +=
            loss->row(out + first, classes, labels[i], gradient == NULL ? NULL : gradient + first);
    }
    score->examples += rows;
}
