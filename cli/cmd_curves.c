/* talweg curves: the losses of several runs in one picture. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/curves.h"
#include "common/base/file.h"
#include "common/base/json.h"

enum { KEY_OUT = 0x200, KEY_OF, KEY_BY, KEY_PANELS, KEY_MOST };

struct curves_options {
    const char *out;
    struct tw_curves curves;
    const char *run[TW_CURVES_RUNS];
};

static const struct argp_option options[] = {
    {"of", KEY_OF, "WHICH", 0, "train: each update; test: each epoch. Default: train", 1},
    {"by", KEY_BY, "WHAT", 0, "Against updates, epochs or seconds. Default: updates", 1},
    {"panels", KEY_PANELS, NULL, 0, "Each run in a plot of its own, side by side", 1},
    {"most", KEY_MOST, "LOSS", 0, "Cut off what is above", 1},
    {"out", KEY_OUT, "FILE", 0, "Where the picture is written. Default: curves.svg", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Draws the losses of runs in one picture (SVG). The loss of training is that of each update,"
    " over its own examples, before it is applied; against seconds, and of the test data, it is"
    " that of each epoch. Runs may still be going on."
    "\v"
    "Example: full batch, minibatch and single example, side by side\n"
    "  for batch in 60000 128 1; do\n"
    "    talweg run job.yaml --set batch=$batch --out runs/batch-$batch\n"
    "  done\n"
    "  talweg curves runs/batch-60000 runs/batch-128 runs/batch-1 --by epochs --panels\n"
    "\n"
    "Exit codes:\n"
    "  0    drawn\n"
    "  1    out of memory, or FILE cannot be written\n"
    "  2    wrong usage, no run directory, or nothing in it to draw\n";

static error_t read_by(struct tw_args *args, const char *text, enum tw_curves_by *out) {
    for (int i = 0; tw_curves_by_names[i]; i++)
        if (strcmp(text, tw_curves_by_names[i]) == 0) {
            *out = (enum tw_curves_by)i;
            return 0;
        }
    return tw_args_wrong(args, "--by %s: is not known; updates, epochs or seconds", text);
}

static error_t read_of(struct tw_args *args, const char *text, bool *test) {
    *test = strcmp(text, "test") == 0;
    if (*test || strcmp(text, "train") == 0)
        return 0;
    return tw_args_wrong(args, "--of %s: is not known; train or test", text);
}

static error_t read_most(struct tw_args *args, const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || !(*out > 0 && *out < 1e300))
        return tw_args_wrong(args, "--most %s: is no loss above 0", text);
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct curves_options *own = args->own;
    switch (key) {
    case KEY_OF:
        return read_of(args, text, &own->curves.test);
    case KEY_BY:
        return read_by(args, text, &own->curves.by);
    case KEY_PANELS:
        own->curves.panels = true;
        return 0;
    case KEY_MOST:
        return read_most(args, text, &own->curves.most);
    case KEY_OUT:
        own->out = text;
        return *text ? 0 : tw_args_wrong(args, "--out: the name of a file is missing");
    case ARGP_KEY_ARG:
        if (own->curves.count == TW_CURVES_RUNS)
            return tw_args_wrong(args, "more than %d runs", TW_CURVES_RUNS);
        own->run[own->curves.count++] = text;
        return 0;
    case ARGP_KEY_END:
        if (!args->help && own->curves.count == 0)
            return tw_args_wrong(args, "a RUN is missing, such as runs/first");
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_plain, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "RUN...", doc, children, NULL, NULL};

static enum tw_status draw(struct curves_options *own, struct tw_error *error) {
    struct tw_curves *curves = &own->curves;
    struct tw_text text = {0};
    enum tw_status status = TW_OK;
    for (int r = 0; status == TW_OK && r < curves->count; r++)
        status = tw_curve_read(&curves->run[r], curves, own->run[r], error);
    if (status != TW_OK)
        return status;
    tw_curves_to_svg(&text, curves);
    status = text.failed ? tw_error_set(error, TW_NO_MEMORY, "out of memory")
                         : tw_file_write_atomic(own->out, text.at, text.size, error);
    tw_text_fini(&text);
    return status;
}

static void tell(const struct tw_args *args, const struct curves_options *own) {
    const struct tw_curves *curves = &own->curves;
    struct tw_text text = {0};
    struct tw_json json;
    fprintf(stderr, "the losses of %d run%s are drawn in %s\n", curves->count,
            curves->count == 1 ? "" : "s", own->out);
    if (!args->json)
        return;
    tw_json_init(&json, &text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", "done");
    tw_json_null(&json, "error");
    tw_json_begin_array(&json, "runs");
    for (int r = 0; r < curves->count; r++) {
        const struct tw_curve *curve = &curves->run[r];
        tw_json_begin_object(&json, NULL);
        tw_json_string(&json, "run", own->run[r]);
        tw_json_unsigned(&json, "losses", curve->losses);
        tw_json_real(&json, "first", curve->point[0].mean);
        tw_json_real(&json, "last", curve->point[curve->count - 1].mean);
        tw_json_real(&json, "end", curve->point[curve->count - 1].x);
        tw_json_end_object(&json);
    }
    tw_json_end_array(&json);
    tw_json_string(&json, "out", own->out);
    tw_json_end_object(&json);
    if (!text.failed)
        printf("%s\n", text.at);
    tw_text_fini(&text);
}

int tw_cmd_curves(int argc, char **argv) {
    struct tw_args args;
    struct curves_options own = {.out = "curves.svg"};
    struct tw_error error;
    int code = TW_EXIT_DONE;
    if (tw_args_parse(&args, "curves", &argp, &own, argc, argv))
        code = tw_command_refuse(&args, &args.error);
    else if (!args.help && draw(&own, &error))
        code = tw_command_refuse(&args, &error);
    else if (!args.help)
        tell(&args, &own);
    for (int r = 0; r < own.curves.count; r++)
        tw_curve_fini(&own.curves.run[r]);
    tw_args_fini(&args);
    return code;
}
