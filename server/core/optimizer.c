#include <string.h>

#include "server/core/optimizer_kernels.h"

extern const struct tw_optimizer tw_optimizer_sgd;
extern const struct tw_optimizer tw_optimizer_momentum;
extern const struct tw_optimizer tw_optimizer_nesterov;
extern const struct tw_optimizer tw_optimizer_adagrad;
extern const struct tw_optimizer tw_optimizer_rmsprop;
extern const struct tw_optimizer tw_optimizer_adadelta;
extern const struct tw_optimizer tw_optimizer_adam;
extern const struct tw_optimizer tw_optimizer_adamax;
extern const struct tw_optimizer tw_optimizer_amsgrad;
extern const struct tw_optimizer tw_optimizer_adamw;
extern const struct tw_optimizer tw_optimizer_nadam;
extern const struct tw_optimizer tw_optimizer_radam;
extern const struct tw_optimizer tw_optimizer_lion;
extern const struct tw_optimizer tw_optimizer_ftrl;
extern const struct tw_optimizer tw_optimizer_lars;
extern const struct tw_optimizer tw_optimizer_lamb;
extern const struct tw_optimizer tw_optimizer_none;

const struct tw_optimizer *const tw_optimizers[] = {
    &tw_optimizer_sgd,     &tw_optimizer_momentum, &tw_optimizer_nesterov, &tw_optimizer_adagrad,
    &tw_optimizer_rmsprop, &tw_optimizer_adadelta, &tw_optimizer_adam,     &tw_optimizer_adamax,
    &tw_optimizer_amsgrad, &tw_optimizer_adamw,    &tw_optimizer_nadam,    &tw_optimizer_radam,
    &tw_optimizer_lion,    &tw_optimizer_ftrl,     &tw_optimizer_lars,     &tw_optimizer_lamb,
    &tw_optimizer_none,
};
const int tw_optimizer_count = TW_COUNT(tw_optimizers);

static enum tw_status unknown(const struct tw_variant *variant, struct tw_error *error) {
    const char *names[TW_COUNT(tw_optimizers)];
    for (int i = 0; i < tw_optimizer_count; i++) {
        names[i] = tw_optimizers[i]->name;
    }
    return tw_unknown_variant(variant, "optimizer", names, tw_optimizer_count, sizeof names[0],
                              error);
}

enum tw_status tw_optimizer_find(const struct tw_optimizer **out,
                                 struct tw_optimizer_options *options,
                                 const struct tw_variant *variant, struct tw_error *error) {
    const struct tw_optimizer *found = NULL;
    for (int i = 0; i < tw_optimizer_count && found == NULL; i++) {
        if (strcmp(tw_optimizers[i]->name, variant->name) == 0) {
            found = tw_optimizers[i];
        }
    }
    if (found == NULL) {
        return unknown(variant, error);
    }
    *options = (struct tw_optimizer_options){0};
    enum tw_status status =
        tw_options_read(variant, found->rules, found->rule_count, options, error);
    if (status != TW_OK) {
        return status;
    }
    *out = found->form != NULL ? found->form(options) : found;
    return TW_OK;
}

/* The double path has no blocks: it serves small tensors, to be read. */
static double norm(const double *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

double tw_optimizer_apply_tensor(const struct tw_optimizer *optimizer,
                                 const struct tw_optimizer_options *options,
                                 struct tw_optimizer_double *work, double *scratch) {
    work->ratio = 1;
    if (optimizer->ratio != NULL) {
        struct tw_optimizer_double step = *work;
        step.weights_out = scratch;
        optimizer->step_double(options, &step);
        work->ratio = optimizer->ratio(work->scalars, norm(work->weights_in, work->count),
                                       norm(scratch, work->count));
    }
    optimizer->apply_double(options, work);
    return work->ratio;
}
