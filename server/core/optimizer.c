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
extern const struct tw_optimizer tw_optimizer_none;

const struct tw_optimizer *const tw_optimizers[] = {
    &tw_optimizer_sgd,     &tw_optimizer_momentum, &tw_optimizer_nesterov, &tw_optimizer_adagrad,
    &tw_optimizer_rmsprop, &tw_optimizer_adadelta, &tw_optimizer_adam,     &tw_optimizer_adamax,
    &tw_optimizer_amsgrad, &tw_optimizer_adamw,    &tw_optimizer_nadam,    &tw_optimizer_radam,
    &tw_optimizer_lion,    &tw_optimizer_ftrl,     &tw_optimizer_none,
};
const int tw_optimizer_count = TW_COUNT(tw_optimizers);

/* They need the norms of whole tensors. */
static const char *const missing[] = {"lars", "lamb"};

static enum tw_status unknown(const struct tw_variant *variant, struct tw_error *error) {
    const char *names[TW_COUNT(tw_optimizers)];
    for (int i = 0; i < TW_COUNT(missing); i++) {
        if (strcmp(missing[i], variant->name) == 0) {
            tw_job_error(error, variant->where, variant->path,
                         "%s is not available yet; sgd, momentum and adamw are", variant->name);
            if (error != NULL) {
                error->status = TW_UNSUPPORTED;
            }
            return TW_UNSUPPORTED;
        }
    }
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
