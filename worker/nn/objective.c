#include "worker/nn/objective.h"

#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "worker/nn/objective_tables.h"

/* One line each, in the order of --help. */
#define OBJECTIVES(X)                                                                              \
    X(quadratic)                                                                                   \
    X(ravine)                                                                                      \
    X(rosenbrock)                                                                                  \
    X(saddle)                                                                                      \
    X(beale)                                                                                       \
    X(plateau)                                                                                     \
    X(cliff)

#define X(name) extern const struct tw_objective tw_objective_##name;
OBJECTIVES(X)
#undef X

const struct tw_objective *const tw_objectives[] = {
#define X(name) &tw_objective_##name,
    OBJECTIVES(X)
#undef X
};
const int tw_objective_count = sizeof tw_objectives / sizeof tw_objectives[0];

/* ---- finding ---- */

static enum tw_status wrong_length(const struct tw_variant *variant, const char *key, int count,
                                   const char *right, struct tw_error *error) {
    struct tw_where where = variant->where;
    char path[128];
    for (int i = 0; i < variant->count; i++)
        if (strcmp(variant->options[i].key, key) == 0)
            where = variant->options[i].where;
    snprintf(path, sizeof path, "%.60s.%.40s", variant->path, key);
    return tw_job_error(error, where, path, "%d numbers; %s", count, right);
}

static enum tw_status complete(const struct tw_objective *objective,
                               struct tw_objective_options *options,
                               const struct tw_variant *variant, struct tw_error *error) {
    struct tw_option_list *start = &options->start;
    char right[64];
    options->n = objective->dims ? objective->dims : options->spectrum.count;
    int planes = options->n * (options->n - 1) / 2;
    snprintf(right, sizeof right, "%d dimensions have %d planes", options->n, planes);
    if (options->rotation.count > planes)
        return wrong_length(variant, "rotation", options->rotation.count, right, error);
    snprintf(right, sizeof right, "1 or %d would be right", options->n);
    if (start->count > 1 && start->count != options->n)
        return wrong_length(variant, "start", start->count, right, error);
    for (int i = start->count; i < options->n; i++)
        start->at[i] = start->count ? start->at[0] : objective->beginning[objective->dims ? i : 0];
    start->count = options->n;
    return TW_OK;
}

enum tw_status tw_objective_find(const struct tw_objective **out,
                                 struct tw_objective_options *options,
                                 const struct tw_variant *variant, struct tw_error *error) {
    const char *names[sizeof tw_objectives / sizeof tw_objectives[0]];
    *options = (struct tw_objective_options){.n = 0};
    for (int i = 0; i < tw_objective_count; i++) {
        const struct tw_objective *objective = tw_objectives[i];
        names[i] = objective->name;
        if (strcmp(names[i], variant->name) != 0)
            continue;
        enum tw_status status =
            tw_options_read(variant, objective->rules, objective->rule_count, options, error);
        if (status != TW_OK)
            return status;
        *out = objective;
        return complete(objective, options, variant, error);
    }
    return tw_unknown_variant(variant, "objective", names, tw_objective_count, sizeof names[0],
                              error);
}

const struct tw_option_rule *tw_objective_rules(const char *name, int *count) {
    for (int i = 0; i < tw_objective_count; i++)
        if (strcmp(tw_objectives[i]->name, name) == 0) {
            *count = tw_objectives[i]->rule_count;
            return tw_objectives[i]->rules;
        }
    *count = 0;
    return NULL;
}

/* ---- computing ---- */

void tw_objective_bottom(const struct tw_objective *objective,
                         const struct tw_objective_options *options, double *x) {
    for (int i = 0; i < options->n; i++)
        x[i] = 0;
    if (objective->bottom != NULL)
        objective->bottom(options, x);
}

void tw_objective_noise(const struct tw_objective_options *options, uint64_t seed, uint64_t slot,
                        uint64_t step, const struct tw_part *part, tw_real *out) {
    const uint64_t n = (uint64_t)options->n;
    struct tw_rng rng;
    tw_rng_init(&rng, seed, TW_STREAM_NOISE, slot, step);
    for (uint32_t row = 0; row < part->rows; row++, out += n) {
        if (part->every > 1)
            tw_rng_seek(&rng, tw_part_row(part, row) * n);
        for (uint64_t i = 0; i < n; i++)
            out[i] = options->noise > 0 ? (tw_real)(options->noise * tw_rng_normal(&rng)) : 0;
    }
}

void tw_objective_add(const struct tw_objective *objective,
                      const struct tw_objective_options *options, const tw_real *x,
                      const tw_real *noise, int rows, tw_real *gradient, struct tw_score *score) {
    double at[TW_OBJECTIVE_MAX], slope[TW_OBJECTIVE_MAX];
    for (int i = 0; i < options->n; i++)
        at[i] = (double)x[i];
    double value = objective->value(options, at, slope);
    for (int i = 0; i < options->n; i++) {
        double sum = 0;
        for (int row = 0; row < rows; row++)
            sum += slope[i] + (double)noise[(size_t)row * (size_t)options->n + (size_t)i];
        gradient[i] = (tw_real)sum;
    }
    for (int row = 0; row < rows; row++)
        score->loss += value;
    score->examples += rows;
}
