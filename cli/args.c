#include "cli/args.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SET = 0x100, KEY_SUPERVISED, KEY_HELP = 'h' };

static const struct argp_option options[] = {
    {"set", KEY_SET, "KEY=VALUE", 0,
     "Set a key of the job, also one that is not in the file: --set optimizer.lr=0.01", 10},
    {"help", KEY_HELP, NULL, 0, "Print this help", 11},
    {"supervised", KEY_SUPERVISED, "FD:PID", OPTION_HIDDEN, NULL, 0},
    {0},
};

static const struct argp_option run_options[] = {
    {"help", KEY_HELP, NULL, 0, "Print this help", 11},
    {0},
};

static const struct argp_option run_set_options[] = {
    {"set", KEY_SET, "KEY=VALUE", 0, "Change a key of the recorded job: --set optimizer.lr=0.01",
     10},
    {"help", KEY_HELP, NULL, 0, "Print this help", 11},
    {0},
};

error_t tw_args_wrong(struct tw_args *args, const char *format, ...) {
    char text[TW_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tw_error_set(&args->error, TW_USAGE, "%s", text);
    return EINVAL;
}

error_t tw_args_usual(int key, struct argp_state *state) {
    struct tw_args *args = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = args;
        return 0;
    case TW_ARGS_KEY_JSON:
        args->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Keeps a string of its own, for the settings point to it. */
static const char *keep(struct tw_args *args, char *text) {
    if (text)
        args->memory[args->memory_count++] = text;
    return text;
}

static error_t add_setting(struct tw_args *args, const char *key, const char *value,
                           const char *flag) {
    if (!key || !flag)
        return tw_args_wrong(args, "out of memory");
    args->settings[args->count++] =
        (struct tw_job_setting){.key = key, .value = value, .flag = flag};
    return 0;
}

error_t tw_args_set(struct tw_args *args, const char *key, const char *value, const char *flag) {
    if (args->count == TW_ARGS_SETTINGS)
        return tw_args_wrong(args, "more than %d settings", TW_ARGS_SETTINGS);
    return add_setting(args, key, value, flag);
}

static error_t parse_set(struct tw_args *args, const char *text) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return tw_args_wrong(args, "--set %s: is not KEY=VALUE; write, for example, --set batch=64",
                             text);
    if (args->count == TW_ARGS_SETTINGS)
        return tw_args_wrong(args, "more than %d settings", TW_ARGS_SETTINGS);
    const char *key = keep(args, strndup(text, (size_t)(equals - text)));
    char *flag = NULL;
    if (asprintf(&flag, "--set %s", key ? key : "") < 0)
        flag = NULL;
    return add_setting(args, key, equals + 1, keep(args, flag));
}

error_t tw_args_whole(struct tw_args *args, const char *flag, const char *text, int least, int most,
                      int *out) {
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || *end || number < least || number > most)
        return tw_args_wrong(args, "--%s: \"%s\" is no number from %d to %d", flag, text, least,
                             most);
    *out = (int)number;
    return 0;
}

error_t tw_args_patience(struct tw_args *args, const char *text, double *seconds) {
    enum { MOST = 24 * 60 * 60 };
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value <= MOST))
        return tw_args_wrong(args, "--patience %s: seconds above 0, at most %d (a day), are right",
                             text, MOST);
    *seconds = value;
    return 0;
}

error_t tw_args_straggler(struct tw_args *args, const char *text, struct tw_straggler *out) {
    char *colon, *end = NULL;
    errno = 0;
    unsigned long rank = *text >= '0' && *text <= '9' ? strtoul(text, &colon, 10) : ULONG_MAX;
    double factor = 0;
    if (!errno && rank < TW_WORKERS_MAX && *colon == ':' && colon[1])
        factor = strtod(colon + 1, &end);
    if (!end || *end || !(factor >= 1 && factor <= TW_STRAGGLER_FACTOR_MAX))
        return tw_args_wrong(args,
                             "--straggler %s: is not RANK:FACTOR with a factor from 1 to %d; "
                             "3:2.5 makes steps of rank 3 take 2.5 times as long",
                             text, TW_STRAGGLER_FACTOR_MAX);
    *out = (struct tw_straggler){.rank = (uint32_t)rank, .factor = factor};
    return 0;
}

enum tw_status tw_args_check_straggler(const struct tw_straggler *straggler, int workers,
                                       struct tw_error *error) {
    if (straggler->factor == 0 || straggler->rank < (uint32_t)workers)
        return TW_OK;
    return tw_error_set(error, TW_USAGE,
                        "--straggler: there is no rank %u; the last of %d worker%s is %d",
                        straggler->rank, workers, workers == 1 ? "" : "s", workers - 1);
}

/* Options by name, of the command and the common ones, for suggestions. */
static int list_options(const struct argp *argp, const char **name, int room, int count) {
    for (const struct argp_option *o = argp->options; o && (o->name || o->key); o++)
        if (o->name && !(o->flags & OPTION_HIDDEN) && count < room)
            name[count++] = o->name;
    for (const struct argp_child *c = argp->children; c && c->argp; c++)
        count = list_options(c->argp, name, room, count);
    return count;
}

/* argp does not say what it did not like; it was the argument before the next. */
static void explain(struct tw_args *args, const struct argp_state *state) {
    const char *known[64];
    int count = list_options(state->root_argp, known, 64, 0);
    const char *word =
        state->next > 0 && state->next <= state->argc ? state->argv[state->next - 1] : "";
    char name[128];
    snprintf(name, sizeof name, "%s", word + strspn(word, "-"));
    bool value = strchr(name, '=') != NULL;
    name[strcspn(name, "=")] = '\0';
    for (int i = 0; i < count; i++) {
        if (strcmp(known[i], name) == 0) {
            tw_args_wrong(args, value ? "option %s takes no value" : "option %s needs a value",
                          word);
            return;
        }
    }
    const char *near = tw_nearest_name(name, known, count, sizeof known[0]);
    tw_args_wrong(args, "unknown option %s%s%s%s", word, near ? "; did you mean --" : "",
                  near ? near : "", near ? "?" : "");
}

/* What the one argument is. */
static const char *wanted(const struct argp_state *state) {
    const char *name = state->root_argp->args_doc;
    if (strcmp(name, "JOB") == 0)
        return "job file";
    return strcmp(name, "RUN") == 0 ? "run directory" : "subject";
}

static error_t parse_plain(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    switch (key) {
    case KEY_HELP: {
        char name[64];
        snprintf(name, sizeof name, "talweg %s", args->command);
        argp_help(state->root_argp, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, name);
        args->help = true;
        state->next = state->argc;
        return 0;
    }
    case ARGP_KEY_ERROR:
        if (!args->error.status)
            explain(args, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    switch (key) {
    case KEY_SET:
        return parse_set(args, text);
    case KEY_SUPERVISED:
        args->is_supervised = tw_supervised_parse(text, &args->supervised);
        return args->is_supervised ? 0 : tw_args_wrong(args, "--supervised %s: no FD:PID", text);
    case ARGP_KEY_ARG:
        if (args->job)
            return tw_args_wrong(args, "%s: one %s is enough, and there is %s", text, wanted(state),
                                 args->job);
        args->job = text;
        return 0;
    case ARGP_KEY_END:
        return args->job ? 0 : tw_args_wrong(args, "no %s is given", wanted(state));
    default:
        return parse_plain(key, text, state);
    }
}

const struct argp tw_args_common = {.options = options, .parser = parse};
const struct argp tw_args_run = {.options = run_options, .parser = parse};
const struct argp tw_args_run_set = {.options = run_set_options, .parser = parse};
const struct argp tw_args_plain = {.options = run_options, .parser = parse_plain};

/* Whether --json was asked for, wherever the reading of the line stopped. */
static bool wants_json(const struct argp *argp, int argc, char **argv) {
    const char *known[64];
    int count = list_options(argp, known, 64, 0);
    bool has = false;
    for (int i = 0; i < count; i++)
        has = has || strcmp(known[i], "json") == 0;
    for (int i = 1; has && i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

enum tw_status tw_args_parse(struct tw_args *args, const char *command, const struct argp *argp,
                             void *own, int argc, char **argv) {
    memset(args, 0, sizeof *args);
    args->command = command;
    args->own = own;
    bool json = wants_json(argp, argc, argv); /* argp moves what stands in argv */
    error_t failed =
        argp_parse(argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP | ARGP_NO_ERRS, NULL, args);
    args->json = args->json || json;
    if (args->help) { /* whatever is missing beside it */
        args->error.status = TW_OK;
        return TW_OK;
    }
    if (failed && !args->error.status)
        tw_args_wrong(args, "%s", strerror(failed));
    return failed ? TW_USAGE : TW_OK;
}

void tw_args_fini(struct tw_args *args) {
    for (int i = 0; i < args->memory_count; i++)
        free(args->memory[i]);
    args->memory_count = args->count = 0;
}
