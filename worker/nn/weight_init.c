#include "worker/nn/weight_init.h"

#include <math.h>

enum kind {
    HE,
    HE_UNIFORM,
    GLOROT,
    GLOROT_NORMAL,
    LECUN,
    LECUN_UNIFORM,
    NORMAL,
    UNIFORM,
    CONSTANT,
    ZEROS,
};

const char *const tw_weight_init_names[] = {
    [HE] = "he",
    [HE_UNIFORM] = "he_uniform",
    [GLOROT] = "glorot",
    [GLOROT_NORMAL] = "glorot_normal",
    [LECUN] = "lecun",
    [LECUN_UNIFORM] = "lecun_uniform",
    [NORMAL] = "normal",
    [UNIFORM] = "uniform",
    [CONSTANT] = "constant",
    [ZEROS] = "zeros",
    NULL,
};

/* A resolved job spells defaults out, so only another value than that can be wrong. */
enum tw_status tw_weight_init_check(const struct tw_variant *variant,
                                    const struct tw_weight_init *init, struct tw_error *error) {
    const struct {
        const char *option;
        enum kind kind;
        bool given;
    } rows[] = {
        {"std", NORMAL, init->std != TW_WEIGHT_STD},
        {"bound", UNIFORM, init->bound != TW_WEIGHT_BOUND},
        {"value", CONSTANT, init->value != 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].given && (enum kind)init->kind != rows[i].kind)
            return tw_job_error(error, variant->where, variant->path,
                                "%s is for init: %s, but init is %s; leave %s out or say init: %s",
                                rows[i].option, tw_weight_init_names[rows[i].kind],
                                tw_weight_init_names[init->kind], rows[i].option,
                                tw_weight_init_names[rows[i].kind]);
    return TW_OK;
}

struct tw_init tw_weight_init_of(const struct tw_weight_init *init, double in, double out) {
    switch ((enum kind)init->kind) {
    case HE:
        return (struct tw_init){TW_INIT_NORMAL, sqrt(2 / in)};
    case HE_UNIFORM:
        return (struct tw_init){TW_INIT_UNIFORM, sqrt(6 / in)};
    case GLOROT:
        return (struct tw_init){TW_INIT_UNIFORM, sqrt(6 / (in + out))};
    case GLOROT_NORMAL:
        return (struct tw_init){TW_INIT_NORMAL, sqrt(2 / (in + out))};
    case LECUN:
        return (struct tw_init){TW_INIT_NORMAL, sqrt(1 / in)};
    case LECUN_UNIFORM:
        return (struct tw_init){TW_INIT_UNIFORM, sqrt(3 / in)};
    case NORMAL:
        return (struct tw_init){TW_INIT_NORMAL, init->std};
    case UNIFORM:
        return (struct tw_init){TW_INIT_UNIFORM, init->bound};
    case CONSTANT:
        return (struct tw_init){TW_INIT_CONSTANT, init->value};
    case ZEROS:
        break;
    }
    return (struct tw_init){TW_INIT_CONSTANT, 0};
}

struct tw_init tw_bias_init_of(const struct tw_weight_init *init) {
    return (struct tw_init){TW_INIT_CONSTANT, init->bias};
}
