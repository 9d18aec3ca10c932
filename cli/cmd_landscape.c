/* talweg landscape: the ways of optimizers on a function, as a picture and a table. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/args_variant.h"
#include "cli/command.h"
#include "cli/landscape_text.h"
#include "common/base/file.h"
#include "common/job/option_value.h"

struct landscape_options {
    struct tw_args_variant objective;
    struct tw_landscape_wish wish;
    const char *start, *view, *out;
    bool panels, png;
};

enum {
    KEY_OPTIMIZERS = 0x200,
    KEY_LR,
    KEY_STEPS,
    KEY_START,
    KEY_VIEW,
    KEY_SEED,
    KEY_PANELS,
    KEY_OUT,
    KEY_PNG
};

static const struct argp_option options[] = {
    {"optimizers", KEY_OPTIMIZERS, "A,B,...", 0,
     "Rules as NAME or NAME:KEY=VALUE,KEY=VALUE, such as sgd,momentum:momentum=.5", 1},
    {"lr", KEY_LR, "L1,L2,...", 0, "Learning rates of the rules that do not say theirs", 1},
    {"steps", KEY_STEPS, "N1,N2,...", 0, "How many steps; 100 unless given", 1},
    {"start", KEY_START, "X1,X2", 0, "Where they start", 1},
    {"seed", KEY_SEED, "N", 0, "Of the noise of an objective that has some; 1 unless given", 1},
    {"panels", KEY_PANELS, NULL, 0, "A small picture for each path", 2},
    {"view", KEY_VIEW, "X1,X1,X2,X2", 0, "What is shown: from, to of x1, from, to of x2", 2},
    {"out", KEY_OUT, "FILE", 0, "Write the picture there. Default: landscape.svg", 2},
    {"png", KEY_PNG, NULL, 0, "Also as PNG beside it; rsvg-convert must be installed", 2},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Draws the contours of a function of two coordinates and the ways that optimizers take on"
    " it, as SVG, and prints f against steps. In double precision and in one process, by the"
    " update rules and functions of the cluster. OBJECTIVE is one of those of docs/objectives.md;"
    " the rules are those of `talweg optimizer`."
    "\v"
    "Every rule is followed at every learning rate for every number of steps.\n"
    "\n"
    "Examples:\n"
    "  talweg landscape ravine --optimizers sgd,momentum,adam:lr=.1 --lr .015\n"
    "  talweg landscape ravine c=10 --optimizers sgd --lr .001,.01,.02 --panels\n"
    "  talweg landscape quadratic spectrum=10,1 rotation=30 --optimizers sgd:lr=.18\n"
    "\n"
    "Exit codes:\n"
    "  0    drawn\n"
    "  1    it cannot be written\n"
    "  2    wrong usage: an unknown name, or a value out of range\n";

static error_t parse_seed(struct tw_args *args, const char *text, uint64_t *out) {
    if (tw_scalar_unsigned(text, out) == 0)
        return 0;
    return tw_args_wrong(args, "--seed %s: is not a whole number", text);
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct landscape_options *own = args->own;
    switch (key) {
    case KEY_OPTIMIZERS:
        own->wish.optimizers = text;
        return 0;
    case KEY_LR:
        own->wish.lr = text;
        return 0;
    case KEY_STEPS:
        own->wish.steps = text;
        return 0;
    case KEY_START:
        own->start = text;
        return 0;
    case KEY_VIEW:
        own->view = text;
        return 0;
    case KEY_SEED:
        return parse_seed(args, text, &own->wish.seed);
    case KEY_PANELS:
        own->panels = true;
        return 0;
    case KEY_PNG:
        own->png = true;
        return 0;
    case KEY_OUT:
        own->out = text;
        return *text ? 0 : tw_args_wrong(args, "--out: the name of a file is missing");
    case ARGP_KEY_ARG:
        return tw_args_variant_add(args, &own->objective, text);
    case ARGP_KEY_END:
        if (!own->objective.variant.name)
            return tw_args_wrong(args, "OBJECTIVE is missing; write, for example, ravine");
        if (!own->wish.optimizers)
            return tw_args_wrong(args, "--optimizers is missing; write, for example, "
                                       "--optimizers sgd,momentum --lr 1e-3");
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_plain, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "OBJECTIVE [KEY=VALUE...]", doc, children,
                                 NULL,    NULL};

/* ---- what is drawn ---- */

struct work {
    const struct tw_objective *objective;
    struct tw_objective_options surface;
    struct tw_landscape_cases cases;
    struct tw_landscape landscape;
    struct tw_text title, svg;
    char png[TW_PATH_MAX]; /* "": none */
};

static enum tw_status read_numbers(const char *flag, const char *text, struct tw_option_list *out,
                                   int count, const char *example, struct tw_error *error) {
    static const struct tw_option_rule rule = {.key = "", .type = TW_OPTION_LIST};
    struct tw_option option = {.key = "", .text = text, .where.file = flag};
    struct tw_option_value value = {.list.count = 0};
    enum tw_status status = tw_option_value_read(&value, "", &rule, &option, error);
    if (!status && value.list.count != count)
        return tw_error_set(error, TW_USAGE, "%s %s: %d numbers; %d would be right, such as %s",
                            flag, text, value.list.count, count, example);
    *out = value.list;
    return status;
}

static enum tw_status read_objective(const struct landscape_options *own, struct work *work,
                                     struct tw_error *error) {
    enum tw_status status =
        tw_objective_find(&work->objective, &work->surface, &own->objective.variant, error);
    if (!status && work->surface.n != 2)
        return tw_error_set(error, TW_USAGE,
                            "%s has %d coordinates here, and a picture shows 2; give two "
                            "eigenvalues, such as spectrum=10,1",
                            work->objective->name, work->surface.n);
    if (!status && own->start)
        status = read_numbers("--start", own->start, &work->surface.start, 2, "-1.2,1", error);
    tw_args_variant_title(&work->title, &own->objective.variant);
    return status;
}

static enum tw_status look_at(const struct landscape_options *own, struct work *work,
                              struct tw_error *error) {
    struct tw_option_list view;
    tw_landscape_fit(&work->landscape);
    if (!own->view)
        return TW_OK;
    enum tw_status status = read_numbers("--view", own->view, &view, 4, "-2,2,-1,3", error);
    if (!status && !(view.at[0] < view.at[1] && view.at[2] < view.at[3]))
        return tw_error_set(error, TW_USAGE, "--view %s: it ends where it begins, or before",
                            own->view);
    if (!status)
        work->landscape.box = (struct tw_box){view.at[0], view.at[1], view.at[2], view.at[3]};
    return status;
}

static enum tw_status draw(const struct landscape_options *own, struct work *work,
                           struct tw_error *error) {
    enum tw_status status = read_objective(own, work, error);
    if (!status)
        status = tw_landscape_cases_read(&work->cases, &own->wish, error);
    if (!status)
        status = tw_landscape_cases_follow(&work->cases, work->objective, &work->surface,
                                           own->wish.seed, error);
    if (status)
        return status;
    work->landscape = (struct tw_landscape){.objective = work->objective,
                                            .surface = &work->surface,
                                            .title = work->title.at,
                                            .run = work->cases.run,
                                            .runs = work->cases.count,
                                            .panels = own->panels};
    if (work->title.failed)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    status = look_at(own, work, error);
    return status ? status : tw_landscape_draw(&work->svg, &work->landscape, error);
}

/* ---- what is left behind ---- */

extern char **environ;

/* PICTURE.svg becomes PICTURE.png, by rsvg-convert. */
static enum tw_status write_png(const char *svg, char png[TW_PATH_MAX], struct tw_error *error) {
    size_t size = strlen(svg);
    size -= size > 4 && strcmp(svg + size - 4, ".svg") == 0 ? 4 : 0;
    if ((size_t)snprintf(png, TW_PATH_MAX, "%.*s.png", (int)size, svg) >= TW_PATH_MAX)
        return tw_error_set(error, TW_LIMIT, "the name %s is too long", svg);
    const char *const argv[] = {"rsvg-convert", "--zoom=2", "--output", png, "--", svg, NULL};
    pid_t pid;
    int wait_status = 0,
        failed = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ);
    if (failed)
        return tw_error_set(error, TW_IO,
                            "--png: rsvg-convert: %s; install librsvg2-bin; %s is written",
                            strerror(failed), svg);
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    if (wait_status == 0)
        return TW_OK;
    return tw_error_set(error, TW_IO, "--png: rsvg-convert failed; %s is written", svg);
}

static enum tw_status leave(const struct tw_args *args, struct work *work, struct tw_error *error) {
    const struct landscape_options *own = args->own;
    struct tw_text text = {0};
    enum tw_status status = tw_file_write_atomic(own->out, work->svg.at, work->svg.size, error);
    if (!status && own->png)
        status = write_png(own->out, work->png, error);
    if (status)
        return status;
    if (args->json)
        tw_landscape_json(&text, &work->landscape, &work->cases, own->out,
                          own->png ? work->png : NULL);
    else
        tw_landscape_table(&text, &work->landscape);
    if (text.failed)
        status = tw_error_set(error, TW_NO_MEMORY, "out of memory");
    else if (fwrite(text.at, 1, text.size, stdout) != text.size || fflush(stdout))
        status = tw_error_set(error, TW_IO, "stdout cannot be written");
    else
        fprintf(stderr, "drawn in %s%s%s\n", own->out, own->png ? " and " : "", work->png);
    tw_text_fini(&text);
    return status;
}

int tw_cmd_landscape(int argc, char **argv) {
    struct tw_args args;
    struct landscape_options own = {.wish = {.steps = "100", .seed = 1}, .out = "landscape.svg"};
    struct work *work = calloc(1, sizeof *work);
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    tw_args_variant_init(&own.objective);
    if (tw_args_parse(&args, "landscape", &argp, &own, argc, argv))
        code = tw_command_refuse(&args, &args.error);
    else if (!work) {
        tw_error_set(&error, TW_NO_MEMORY, "out of memory");
        code = tw_command_refuse(&args, &error);
    } else if (!args.help && (draw(&own, work, &error) || leave(&args, work, &error)))
        code = tw_command_refuse(&args, &error);
    if (work) {
        tw_landscape_cases_fini(&work->cases);
        tw_text_fini(&work->title);
        tw_text_fini(&work->svg);
    }
    free(work);
    tw_args_variant_fini(&own.objective);
    tw_args_fini(&args);
    return code;
}
