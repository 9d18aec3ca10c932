#include "cli/theory_text.h"

#include <math.h>
#include <string.h>

#include "cli/rules_text.h"
#include "common/base/json.h"

static const char *const kinds[] = {[TW_THEORY_MINIMUM] = "minimum",
                                    [TW_THEORY_FLAT] = "flat",
                                    [TW_THEORY_SADDLE] = "saddle",
                                    [TW_THEORY_HILL] = "hill"};

static const char *const meanings[] = {
    [TW_THEORY_MINIMUM] = "a minimum",
    [TW_THEORY_FLAT] = "flat in some directions: no rate there, errors stay",
    [TW_THEORY_SADDLE] = "a saddle: no rate, errors grow where the curvature is negative",
    [TW_THEORY_HILL] = "no direction leads down to it: nothing converges",
};

enum { COLUMN = 20, SHOWN = 8, FORMULA_END = 64 };

static void add_numbers(struct tw_text *out, const double *number, int count) {
    for (int i = 0; i < count; i++) {
        if (count > SHOWN && i == SHOWN / 2) {
            tw_text_add(out, ", ...");
            i = count - SHOWN / 2;
        }
        tw_text_add(out, "%s%.10g", i ? ", " : "", number[i] == 0 ? 0 : number[i]);
    }
}

static void add_row(struct tw_text *out, const struct tw_theory_row *row) {
    int text = (int)fmax(22, (double)strlen(row->text) + 2);
    tw_text_add(out, "  %-*s%-*s %14.9g", text, row->text, FORMULA_END - text, row->formula,
                row->predicted);
    if (isfinite(row->measured))
        tw_text_add(out, " %14.9g\n", row->measured);
    else
        tw_text_add(out, " %14s\n", "too many steps");
}

static void add_rows(struct tw_text *out, const struct tw_theory *theory) {
    tw_text_add(out, "\n%*s %14s %14s\n", 2 + FORMULA_END, "", "predicted", "measured");
    for (int i = 0; i < theory->rows; i++) {
        const struct tw_theory_row *row = &theory->row[i];
        if (i == 0 || strcmp(theory->row[i - 1].method, row->method) != 0)
            tw_text_add(out, "%s\n", row->method);
        add_row(out, row);
    }
}

void tw_theory_text(struct tw_text *out, const char *title, const struct tw_objective *objective,
                    const struct tw_theory *theory) {
    int n = theory->spectrum.n;
    tw_text_add(out, "%s\n%-*s", title, COLUMN, "  f(x)");
    tw_add_wrapped(out, COLUMN, COLUMN, objective->formula);
    tw_text_add(out, "%-*s", COLUMN, "  looked at");
    add_numbers(out, theory->at, n);
    tw_text_add(out, ": %s\n%-*s", meanings[theory->kind], COLUMN, "  spectrum");
    add_numbers(out, theory->spectrum.value, n);
    tw_text_add(out, "\n%-*sby differences of the gradient, ", COLUMN, "  Hessian");
    if (theory->spectrum.error < 1e-14)
        tw_text_add(out, "exact but for rounding\n");
    else
        tw_text_add(out, "relative error about %.0e\n", theory->spectrum.error);
    if (!isnan(theory->condition))
        tw_text_add(out, "%-*s%.10g\n", COLUMN, "  condition number", theory->condition);
    if (theory->rows == 0)
        return;
    tw_text_add(out, "%-*sby steps that begin %.3g away from there\n", COLUMN, "  measured",
                theory->distance);
    add_rows(out, theory);
}

static void add_array(struct tw_json *json, const char *key, const double *number, int count) {
    tw_json_begin_array(json, key);
    for (int i = 0; i < count; i++)
        tw_json_real(json, NULL, number[i]);
    tw_json_end_array(json);
}

void tw_theory_json(struct tw_text *out, const struct tw_objective *objective,
                    const struct tw_theory *theory) {
    struct tw_json json;
    tw_json_init(&json, out);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", "done");
    tw_json_string(&json, "error", NULL);
    tw_json_string(&json, "objective", objective->name);
    add_array(&json, "at", theory->at, theory->spectrum.n);
    tw_json_string(&json, "kind", kinds[theory->kind]);
    add_array(&json, "spectrum", theory->spectrum.value, theory->spectrum.n);
    tw_json_real(&json, "hessian_error", theory->spectrum.error);
    tw_json_real(&json, "condition", theory->condition);
    tw_json_begin_array(&json, "rows");
    for (int i = 0; i < theory->rows; i++) {
        tw_json_begin_object(&json, NULL);
        tw_json_string(&json, "name", theory->row[i].key);
        tw_json_real(&json, "predicted", theory->row[i].predicted);
        tw_json_real(&json, "measured", theory->row[i].measured);
        tw_json_end_object(&json);
    }
    tw_json_end_array(&json);
    tw_json_end_object(&json);
    tw_text_add(out, "\n");
}
