/* talweg optimizer: the update rules, and one of them step by step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args_variant.h"
#include "cli/command.h"
#include "cli/optimizer_steps.h"
#include "cli/optimizer_text.h"
#include "common/job/option_value.h"

struct optimizer_options {
    struct tw_args_variant rule; /* without a name: all */
    const char *x0, *gradients;
};

enum { KEY_X0 = 0x200, KEY_GRADIENTS };

static const struct argp_option options[] = {
    {"x0", KEY_X0, "X", 0, "Where the weight starts; 0 unless given", 1},
    {"gradients", KEY_GRADIENTS, "G1,G2,...", 0, "Its gradients, one per step", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Lists the update rules with their options, formulas and sources, or follows a single"
    " weight under one of them: what each step makes of a gradient, in double precision, by"
    " the same source that updates the weights of a cluster."
    "\v"
    "Examples:\n"
    "  talweg optimizer\n"
    "  talweg optimizer rmsprop centered=true\n"
    "  talweg optimizer adam lr=0.1 eps_at=inside --x0 1 --gradients 1,-2,3,.5\n"
    "\n"
    "Exit codes:\n"
    "  0    printed\n"
    "  1    out of memory, or stdout cannot be written\n"
    "  2    wrong usage: an unknown rule or option, or a value out of range\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct optimizer_options *own = args->own;
    switch (key) {
    case KEY_X0:
        own->x0 = text;
        return 0;
    case KEY_GRADIENTS:
        own->gradients = text;
        return 0;
    case ARGP_KEY_ARG:
        return tw_args_variant_add(args, &own->rule, text);
    case ARGP_KEY_END:
        if (own->gradients && !own->rule.variant.name)
            return tw_args_wrong(args, "--gradients: of which rule? give its name first");
        if (own->x0 && !own->gradients)
            return tw_args_wrong(args, "--x0 needs --gradients");
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_plain, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "[NAME [KEY=VALUE...]]", doc, children,
                                 NULL,    NULL};

static enum tw_status read_number(const char *flag, const char *text, double *out,
                                  struct tw_error *error) {
    static const struct tw_option_rule rule = {.key = "", .type = TW_OPTION_REAL};
    struct tw_option option = {.key = "", .text = text, .where.file = flag};
    struct tw_option_value value;
    enum tw_status status = tw_option_value_read(&value, "", &rule, &option, error);
    *out = value.real;
    return status;
}

/* "1,-2,.5" becomes the gradients of *out, which the caller frees. */
static enum tw_status read_gradients(const char *text, struct tw_optimizer_step **out,
                                     size_t *count, struct tw_error *error) {
    size_t commas = 0;
    for (const char *at = text; *at; at++)
        commas += *at == ',';
    char *words = strdup(text), *rest = words;
    *out = calloc(commas + 1, sizeof **out);
    *count = commas + 1;
    enum tw_status status = TW_OK;
    if (!words || !*out)
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory");
    for (size_t i = 0; !status && i < *count; i++)
        status = read_number("--gradients", strsep(&rest, ","), &(*out)[i].gradient, error);
    free(words);
    return status;
}

/* The rules' tables into `text`. */
static void describe(const struct tw_args *args, const struct tw_optimizer *const *rules, int count,
                     struct tw_text *text) {
    if (args->json) {
        tw_optimizers_json(text, rules, count);
        return;
    }
    for (int i = 0; i < count; i++) {
        tw_text_add(text, i ? "\n" : "");
        tw_optimizer_text(text, rules[i]);
    }
}

static enum tw_status follow(const struct tw_args *args, const struct tw_optimizer *rule,
                             const struct tw_optimizer_options *values, struct tw_text *text,
                             struct tw_error *error) {
    const struct optimizer_options *own = args->own;
    struct tw_optimizer_step *step = NULL;
    size_t count = 0;
    double x0 = 0;
    enum tw_status status = TW_OK;
    if (own->x0)
        status = read_number("--x0", own->x0, &x0, error);
    if (!status)
        status = read_gradients(own->gradients, &step, &count, error);
    if (!status) {
        tw_optimizer_follow(rule, values, x0, step, count);
        if (args->json)
            tw_optimizer_steps_json(text, rule, step, count);
        else
            tw_optimizer_steps_text(text, rule, step, count);
    }
    free(step);
    return status;
}

/* Appends what the command says. */
static enum tw_status answer(const struct tw_args *args, struct tw_text *text,
                             struct tw_error *error) {
    const struct optimizer_options *own = args->own;
    const struct tw_optimizer *rule;
    struct tw_optimizer_options values;
    if (!own->rule.variant.name) {
        describe(args, tw_optimizers, tw_optimizer_count, text);
        return TW_OK;
    }
    enum tw_status status = tw_optimizer_find(&rule, &values, &own->rule.variant, error);
    if (!status && own->gradients)
        return follow(args, rule, &values, text, error);
    if (!status)
        describe(args, &rule, 1, text);
    return status;
}

int tw_cmd_optimizer(int argc, char **argv) {
    struct tw_args args;
    struct optimizer_options own = {.x0 = NULL};
    struct tw_text text = {0};
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    tw_args_variant_init(&own.rule);
    if (tw_args_parse(&args, "optimizer", &argp, &own, argc, argv))
        code = tw_command_refuse(&args, &args.error);
    else if (!args.help && (answer(&args, &text, &error) || tw_command_print(&text, &error)))
        code = tw_command_refuse(&args, &error);
    tw_args_variant_fini(&own.rule);
    tw_text_fini(&text);
    tw_args_fini(&args);
    return code;
}
