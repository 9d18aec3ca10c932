/* talweg theory: what theory says of descending a function, beside what happens. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/args_variant.h"
#include "cli/command.h"
#include "cli/theory_text.h"

static const struct argp_option options[] = {TW_ARGS_JSON, {0}};

static const char doc[] =
    "Tells how curved a function is where its gradient is zero (eigenvalues of the Hessian,"
    " condition number), and what follows for gradient descent and momentum: the largest stable"
    " learning rate, the best one, and how fast the error shrinks there. Each is predicted by its"
    " formula and measured beside it, by steps of the update rules in double precision."
    " OBJECTIVE is one of those of docs/objectives.md."
    "\v"
    "Examples:\n"
    "  talweg theory ravine\n"
    "  talweg theory quadratic spectrum=10,1 convention=2Hx\n"
    "  talweg theory rosenbrock\n"
    "\n"
    "Exit codes:\n"
    "  0    printed\n"
    "  1    out of memory, or stdout cannot be written\n"
    "  2    wrong usage: an unknown name, or a value out of range\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct tw_args_variant *objective = args->own;
    switch (key) {
    case ARGP_KEY_ARG:
        return tw_args_variant_add(args, objective, text);
    case ARGP_KEY_END:
        if (!objective->variant.name)
            return tw_args_wrong(args, "OBJECTIVE is missing; write, for example, ravine");
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_plain, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "OBJECTIVE [KEY=VALUE...]", doc, children,
                                 NULL,    NULL};

static enum tw_status compare(const struct tw_args *args, const struct tw_variant *variant,
                              struct tw_text *text, struct tw_error *error) {
    const struct tw_objective *objective;
    struct tw_objective_options values;
    enum tw_status status = tw_objective_find(&objective, &values, variant, error);
    if (status)
        return status;
    struct tw_theory *theory = malloc(sizeof *theory);
    struct tw_text title = {0};
    tw_args_variant_title(&title, variant);
    if (theory && !title.failed) {
        tw_theory_compare(theory, objective, &values);
        if (args->json)
            tw_theory_json(text, objective, theory);
        else
            tw_theory_text(text, title.at, objective, theory);
    }
    if (!theory || title.failed || text->failed)
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory");
    else if (fwrite(text->at, 1, text->size, stdout) != text->size || fflush(stdout))
        status = tw_error_set(error, TW_IO, "stdout cannot be written");
    tw_text_fini(&title);
    free(theory);
    return status;
}

int tw_cmd_theory(int argc, char **argv) {
    struct tw_args args;
    struct tw_args_variant objective;
    struct tw_text text = {0};
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    tw_args_variant_init(&objective);
    if (tw_args_parse(&args, "theory", &argp, &objective, argc, argv))
        code = tw_command_refuse(&args, &args.error);
    else if (!args.help && compare(&args, &objective.variant, &text, &error))
        code = tw_command_refuse(&args, &error);
    tw_text_fini(&text);
    tw_args_variant_fini(&objective);
    tw_args_fini(&args);
    return code;
}
