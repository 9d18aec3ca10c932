#include "lab/descent.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void tw_descent_begin(struct tw_descent *descent, const double *start) {
    size_t bytes = (size_t)descent->surface->n * sizeof *start;
    descent->t = 0;
    memset(descent->state, 0, sizeof descent->state);
    memcpy(descent->weights, start, bytes);
    for (int s = 0; s < descent->rule->states; s++)
        if (descent->rule->state[s].start == TW_STATE_WEIGHTS)
            memcpy(descent->state[s], start, bytes);
}

void tw_descent_step(struct tw_descent *descent) {
    int n = descent->surface->n;
    double gradient[TW_OBJECTIVE_MAX], scratch[TW_OBJECTIVE_MAX], scalars[TW_OPTIMIZER_SCALARS];
    float noise[TW_OBJECTIVE_MAX];
    const struct tw_part one = tw_whole_step(1);
    descent->objective->value(descent->surface, descent->weights, gradient);
    if (descent->surface->noise > 0) {
        tw_objective_noise(descent->surface, descent->seed, 0, descent->t, &one, noise);
        for (int i = 0; i < n; i++)
            gradient[i] += (double)noise[i];
    }
    struct tw_optimizer_double work = {.count = (size_t)n,
                                       .gradient = gradient,
                                       .weights_in = descent->weights,
                                       .weights_out = descent->weights,
                                       .scalars = scalars};
    for (int s = 0; s < descent->rule->states; s++)
        work.state[s] = descent->state[s];
    descent->t++;
    descent->rule->prepare(descent->rule_options, descent->t, descent->rule_options->lr, scalars);
    tw_optimizer_apply_tensor(descent->rule, descent->rule_options, &work, scratch);
}

const double *tw_descent_point(const struct tw_descent *descent) {
    for (int s = 0; s < descent->rule->states; s++)
        if (descent->rule->state[s].start == TW_STATE_WEIGHTS)
            return descent->state[s];
    return descent->weights;
}

/* Notes the point after `step` steps; false when it is not finite. */
static bool note(struct tw_path *path, const struct tw_descent *descent, size_t step) {
    const double *x = tw_descent_point(descent);
    double f = descent->objective->value(descent->surface, x, NULL);
    if (!isfinite(f) || !isfinite(x[0]) || !isfinite(x[1]))
        return false;
    path->x[2 * step] = x[0];
    path->x[2 * step + 1] = x[1];
    path->f[step] = f;
    path->last = step;
    return true;
}

enum tw_status tw_path_init(struct tw_path *path, struct tw_descent *descent, size_t steps,
                            struct tw_error *error) {
    assert(descent->surface->n == 2 && descent->t == 0);
    *path = (struct tw_path){.steps = steps};
    path->x = calloc(2 * (steps + 1), sizeof *path->x);
    path->f = calloc(steps + 1, sizeof *path->f);
    if (!path->x || !path->f) {
        tw_path_fini(path);
        return tw_error_set(error, TW_NO_MEMORY, "out of memory for a path of %zu steps", steps);
    }
    for (size_t step = 0; note(path, descent, step) && step < steps; step++)
        tw_descent_step(descent);
    return TW_OK;
}

void tw_path_fini(struct tw_path *path) {
    free(path->x);
    free(path->f);
    *path = (struct tw_path){0};
}
