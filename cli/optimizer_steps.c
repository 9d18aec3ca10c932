#include "cli/optimizer_steps.h"

#include <stdio.h>

#include "common/base/json.h"

void tw_optimizer_follow(const struct tw_optimizer *rule,
                         const struct tw_optimizer_options *options, double x0,
                         struct tw_optimizer_step *step, size_t count) {
    double x = x0, state[TW_OPTIMIZER_STATES] = {0}, scalars[TW_OPTIMIZER_SCALARS];
    for (int s = 0; s < rule->states; s++)
        state[s] = rule->state[s].start == TW_STATE_WEIGHTS ? x0 : 0;
    for (size_t i = 0; i < count; i++) {
        double before = x, scratch;
        struct tw_optimizer_double work = {.count = 1,
                                           .gradient = &step[i].gradient,
                                           .weights_in = &x,
                                           .weights_out = &x,
                                           .scalars = scalars};
        for (int s = 0; s < rule->states; s++)
            work.state[s] = &state[s];
        rule->prepare(options, i + 1, options->lr, scalars);
        step[i].ratio = tw_optimizer_apply_tensor(rule, options, &work, &scratch);
        step[i].x = x;
        step[i].update = x - before;
        for (int s = 0; s < rule->states; s++)
            step[i].state[s] = state[s];
    }
}

/* The columns behind t: gradient, the states, of layer-wise rules the ratio, update, x. */
enum { COLUMNS_MAX = TW_OPTIMIZER_STATES + 4, NUMBER_BYTES = 32 };

static int column_count(const struct tw_optimizer *rule) {
    return rule->states + (rule->ratio ? 4 : 3);
}

static double cell(const struct tw_optimizer *rule, const struct tw_optimizer_step *step,
                   int column) {
    if (column == 0)
        return step->gradient;
    if (column <= rule->states)
        return step->state[column - 1];
    if (column + 1 == column_count(rule))
        return step->x;
    return column + 2 == column_count(rule) ? step->update : step->ratio;
}

static const char *head(const struct tw_optimizer *rule, int column) {
    if (column == 0)
        return "gradient";
    if (column <= rule->states)
        return rule->state[column - 1].name;
    if (column + 1 == column_count(rule))
        return "x";
    return column + 2 == column_count(rule) ? "update" : "ratio";
}

void tw_optimizer_steps_text(struct tw_text *out, const struct tw_optimizer *rule,
                             const struct tw_optimizer_step *step, size_t count) {
    int width[COLUMNS_MAX], columns = column_count(rule);
    char number[NUMBER_BYTES];
    tw_text_add(out, "   t");
    for (int c = 0; c < columns; c++) {
        width[c] = snprintf(number, sizeof number, "%s", head(rule, c));
        for (size_t i = 0; i < count; i++) {
            int size = snprintf(number, sizeof number, "%.17g", cell(rule, &step[i], c));
            width[c] = size > width[c] ? size : width[c];
        }
        tw_text_add(out, "  %*s", width[c], head(rule, c));
    }
    tw_text_add(out, "\n");
    for (size_t i = 0; i < count; i++) {
        tw_text_add(out, "%4zu", i + 1);
        for (int c = 0; c < columns; c++)
            tw_text_add(out, "  %*.17g", width[c], cell(rule, &step[i], c));
        tw_text_add(out, "\n");
    }
}

void tw_optimizer_steps_json(struct tw_text *out, const struct tw_optimizer *rule,
                             const struct tw_optimizer_step *step, size_t count) {
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "optimizer", rule->name);
    tw_json_begin_array(&json, "steps");
    for (size_t i = 0; i < count; i++) {
        tw_json_begin_object(&json, NULL);
        tw_json_unsigned(&json, "t", i + 1);
        tw_json_real(&json, "gradient", step[i].gradient);
        tw_json_real(&json, "x", step[i].x);
        tw_json_real(&json, "update", step[i].update);
        if (rule->ratio)
            tw_json_real(&json, "ratio", step[i].ratio);
        tw_json_begin_object(&json, "state");
        for (int s = 0; s < rule->states; s++)
            tw_json_real(&json, rule->state[s].name, step[i].state[s]);
        tw_json_end_object(&json);
        tw_json_end_object(&json);
    }
    tw_json_end_array(&json);
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
