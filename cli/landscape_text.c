#include "cli/landscape_text.h"

#include <stdio.h>
#include <string.h>

#include "common/base/json.h"

/* The step of the next row: 0, 1, 2, 5, 10, 20, ..., and the end of each run. */
static size_t next_row(const struct tw_landscape *landscape, size_t step) {
    size_t power = 1, next;
    while (step >= power * 10)
        power *= 10;
    next = step < power       ? power
           : step < 2 * power ? 2 * power
           : step < 5 * power ? 5 * power
                              : 10 * power;
    for (int r = 0; r < landscape->runs; r++)
        if (landscape->run[r].path.steps > step && landscape->run[r].path.steps < next)
            next = landscape->run[r].path.steps;
    return next;
}

static size_t longest(const struct tw_landscape *landscape) {
    size_t steps = 0;
    for (int r = 0; r < landscape->runs; r++)
        if (landscape->run[r].path.steps > steps)
            steps = landscape->run[r].path.steps;
    return steps;
}

void tw_landscape_table(struct tw_text *out, const struct tw_landscape *landscape) {
    int width = 0;
    for (int r = 0; r < landscape->runs; r++)
        if ((int)strlen(landscape->run[r].label) > width)
            width = (int)strlen(landscape->run[r].label);
    for (int r = 0; r < landscape->runs; r++) {
        tw_text_add(out, "%2d  %-*s  ", r + 1, width, landscape->run[r].label);
        tw_landscape_verdict(out, &landscape->run[r].path, &landscape->box);
        tw_text_add(out, "\n");
    }
    tw_text_add(out, "\n%8s", "f after");
    for (int r = 0; r < landscape->runs; r++)
        tw_text_add(out, " %15d", r + 1);
    tw_text_add(out, "\n");
    size_t last = longest(landscape);
    for (size_t step = 0; step <= last; step = next_row(landscape, step)) {
        tw_text_add(out, "%8zu", step);
        for (int r = 0; r < landscape->runs; r++) {
            const struct tw_path *path = &landscape->run[r].path;
            if (step <= path->last)
                tw_text_add(out, " %15.9g", path->f[step]);
            else
                tw_text_add(out, " %15s", path->last < path->steps ? "diverged" : "");
        }
        tw_text_add(out, "\n");
    }
}

static void add_point(struct tw_json *json, const struct tw_path *path, size_t step) {
    tw_json_real(json, "f", path->f[step]);
    tw_json_begin_array(json, "x");
    tw_json_real(json, NULL, path->x[2 * step]);
    tw_json_real(json, NULL, path->x[2 * step + 1]);
    tw_json_end_array(json);
}

static void add_step(struct tw_json *json, const char *key, size_t step) {
    if (step > 0)
        tw_json_unsigned(json, key, step);
    else
        tw_json_null(json, key);
}

static void add_run(struct tw_json *json, const struct tw_landscape *landscape,
                    const struct tw_landscape_cases *cases, int r) {
    const struct tw_path *path = &landscape->run[r].path;
    tw_json_begin_object(json, NULL);
    tw_json_string(json, "optimizer", cases->at[r].rule->name);
    tw_json_string(json, "label", landscape->run[r].label);
    tw_json_unsigned(json, "steps", path->steps);
    add_step(json, "diverged_at", path->last < path->steps ? path->last + 1 : 0);
    add_step(json, "left_at", tw_landscape_leaves(path, &landscape->box));
    add_point(json, path, path->last);
    tw_json_begin_array(json, "table");
    for (size_t step = 0; step <= path->last; step = next_row(landscape, step)) {
        tw_json_begin_object(json, NULL);
        tw_json_unsigned(json, "step", step);
        add_point(json, path, step);
        tw_json_end_object(json);
    }
    tw_json_end_array(json);
    tw_json_end_object(json);
}

void tw_landscape_json(struct tw_text *out, const struct tw_landscape *landscape,
                       const struct tw_landscape_cases *cases, const char *picture,
                       const char *png) {
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", "done");
    tw_json_string(&json, "error", NULL);
    tw_json_string(&json, "objective", landscape->objective->name);
    tw_json_string(&json, "picture", picture);
    tw_json_string(&json, "png", png);
    tw_json_begin_array(&json, "runs");
    for (int r = 0; r < landscape->runs; r++)
        add_run(&json, landscape, cases, r);
    tw_json_end_array(&json);
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
