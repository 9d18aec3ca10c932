/* talweg correction: the corrections for late gradients. */
#include "cli/args_variant.h"
#include "cli/command.h"
#include "cli/correction_text.h"

static const struct argp_option options[] = {TW_ARGS_JSON, {0}};

static const char doc[] =
    "Lists the corrections for late gradients with their formulas, sources and options: what a"
    " job can stack under `corrections` (docs/corrections.md)."
    "\v"
    "Examples:\n"
    "  talweg correction\n"
    "  talweg correction staleness_power\n"
    "  talweg run JOB --mode async --set 'corrections=[{name: staleness_power}]'\n"
    "\n"
    "Exit codes:\n"
    "  0    printed\n"
    "  1    out of memory, or stdout cannot be written\n"
    "  2    wrong usage: an unknown correction\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct tw_args_variant *name = args->own;
    if (key == ARGP_KEY_ARG && !name->variant.name)
        return tw_args_variant_add(args, name, text);
    return tw_args_usual(key, state);
}

static const struct argp_child children[] = {{&tw_args_plain, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "[NAME]", doc, children, NULL, NULL};

static void describe(const struct tw_args *args, const struct tw_correction *const *kinds,
                     int count, struct tw_text *text) {
    if (args->json) {
        tw_corrections_json(text, kinds, count);
        return;
    }
    for (int i = 0; i < count; i++) {
        tw_text_add(text, i ? "\n" : "");
        tw_correction_text(text, kinds[i]);
    }
}

static enum tw_status answer(const struct tw_args *args, struct tw_text *text,
                             struct tw_error *error) {
    const struct tw_args_variant *name = args->own;
    const struct tw_correction *kind;
    if (!name->variant.name) {
        describe(args, tw_corrections_known, tw_correction_count, text);
        return TW_OK;
    }
    enum tw_status status = tw_correction_need(&kind, &name->variant, error);
    if (!status)
        describe(args, &kind, 1, text);
    return status;
}

int tw_cmd_correction(int argc, char **argv) {
    struct tw_args args;
    struct tw_args_variant name;
    struct tw_text text = {0};
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    tw_args_variant_init(&name);
    if (tw_args_parse(&args, "correction", &argp, &name, argc, argv))
        code = tw_command_refuse(&args, &args.error);
    else if (!args.help && (answer(&args, &text, &error) || tw_command_print(&text, &error)))
        code = tw_command_refuse(&args, &error);
    tw_args_variant_fini(&name);
    tw_text_fini(&text);
    tw_args_fini(&args);
    return code;
}
