/* No update rule: gradients are gathered and counted, the weights stay. For measuring
 * everything around a rule (`talweg bench wire`), and what a model does untrained. */
#include "server/core/optimizer_kernels.h"

static void prepare(const struct tw_optimizer_options *options, uint64_t t, double lr,
                    double *out) {
    TW_SET_SCALARS(out, 0);
}

static void none_float(const struct tw_optimizer_options *options,
                       const struct tw_optimizer_float *work) {
    if (work->weights_out != work->weights_in)
        memcpy(work->weights_out, work->weights_in, work->count * sizeof *work->weights_out);
}

static void none_double(const struct tw_optimizer_options *options,
                        const struct tw_optimizer_double *work) {
    if (work->weights_out != work->weights_in)
        memcpy(work->weights_out, work->weights_in, work->count * sizeof *work->weights_out);
}

const struct tw_optimizer tw_optimizer_none = {
    .name = "none",
    .formula = "w stays as it is",
    .source = "no update at all",
    .prepare = prepare,
    .apply_float = none_float,
    .apply_double = none_double,
};
