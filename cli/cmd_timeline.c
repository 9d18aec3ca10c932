/* talweg timeline: what the workers of a run did when, as a picture or for Perfetto. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/timeline_draw.h"
#include "cli/timeline_reader.h"
#include "common/base/file.h"
#include "common/base/json.h"

/* What is shown when no window is named: so many gradients of each worker in a picture;
 * and so many in all for Perfetto, which can zoom. */
#define USUAL_PER_WORKER 6
#define USUAL_CHROME 20000

struct timeline_options {
    const char *out;
    bool chrome;
    enum tw_timeline_arrows arrows;
    struct tw_timeline_wish wish;
};

enum { KEY_OUT = 0x200, KEY_CHROME, KEY_FORMAT, KEY_FROM, KEY_TO, KEY_SECONDS, KEY_ARROWS };

static const struct argp_option options[] = {
    {"from", KEY_FROM, "V", 0, "Begin with update V", 1},
    {"to", KEY_TO, "V", 0, "End with update V", 1},
    {"seconds", KEY_SECONDS, "S", 0, "So long, from --from on, up to --to, or in the middle", 1},
    {"arrows", KEY_ARROWS, "WHICH", 0,
     "Arrows for which gradients: all, late (staleness above 0), none. Default: all", 1},
    {"format", KEY_FORMAT, "FORMAT", 0, "svg or chrome. Default: svg", 1},
    {"chrome", KEY_CHROME, NULL, 0, "Short for --format chrome", 1},
    {"out", KEY_OUT, "FILE", 0,
     "Write there, - for stdout. Default: RUN/timeline.svg, or RUN/timeline.json", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Draws what each worker of a run did when: computing, sending its gradient, waiting for"
    " others, receiving weights; when the server applied which update; and for each"
    " gradient an arrow from the version of the weights that it was computed on to the"
    " update that has it. Read from order.log and trace.log of the run, which may still be"
    " going on.\v"
    "Without --from, --to and --seconds a stretch in the middle of the run is shown, in which"
    " each worker makes some 6 steps; for Perfetto, the whole run or a longer stretch.\n"
    "\n"
    "Examples:\n"
    "  talweg timeline runs/first\n"
    "  talweg timeline runs/first --from 100 --to 120 --out lecture.svg\n"
    "  talweg timeline runs/first --chrome\n"
    "\n"
    "An SVG opens in every browser; with the mouse over a step it tells its times. The other"
    " format is for https://ui.perfetto.dev and chrome://tracing.\n"
    "\n"
    "Exit codes:\n"
    "  0    drawn\n"
    "  1    it cannot be written; or a log is cut or corrupt: drawn up to there\n"
    "  2    wrong usage, no run directory, or nothing in its logs to draw\n";

/* ---- the command line ---- */

static error_t parse_update(struct tw_args *args, const char *name, const char *text,
                            uint64_t *out) {
    char *end;
    errno = 0;
    *out = *text >= '1' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (*out == 0 || errno || *end)
        return tw_args_wrong(args, "--%s %s: is not the number of an update; the first is 1", name,
                             text);
    return 0;
}

static error_t parse_seconds(struct tw_args *args, const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || !(*out > 0 && *out < 1e9))
        return tw_args_wrong(args, "--seconds %s: is not a time; 0.05 is fifty milliseconds", text);
    return 0;
}

static error_t parse_arrows(struct tw_args *args, const char *text, enum tw_timeline_arrows *out) {
    static const char *const names[] = {
        [TW_ARROWS_ALL] = "all", [TW_ARROWS_LATE] = "late", [TW_ARROWS_NONE] = "none"};
    for (int i = 0; i < 3; i++) {
        *out = i;
        if (strcmp(text, names[i]) == 0)
            return 0;
    }
    return tw_args_wrong(args, "--arrows %s: is not known; all, late or none", text);
}

static error_t parse_format(struct tw_args *args, const char *text, bool *chrome) {
    *chrome = strcmp(text, "chrome") == 0;
    if (*chrome || strcmp(text, "svg") == 0)
        return 0;
    return tw_args_wrong(args, "--format %s: is not known; svg or chrome", text);
}

static error_t check_window(struct tw_args *args, const struct tw_timeline_wish *wish) {
    if (wish->from && wish->to && wish->seconds > 0)
        return tw_args_wrong(args, "--from, --to and --seconds: two of them are enough");
    if (wish->from && wish->to && wish->from > wish->to)
        return tw_args_wrong(args, "--from %" PRIu64 " --to %" PRIu64 ": it ends before it begins",
                             wish->from, wish->to);
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct timeline_options *own = args->own;
    switch (key) {
    case KEY_FROM:
        return parse_update(args, "from", text, &own->wish.from);
    case KEY_TO:
        return parse_update(args, "to", text, &own->wish.to);
    case KEY_SECONDS:
        return parse_seconds(args, text, &own->wish.seconds);
    case KEY_ARROWS:
        return parse_arrows(args, text, &own->arrows);
    case KEY_FORMAT:
        return parse_format(args, text, &own->chrome);
    case KEY_CHROME:
        own->chrome = true;
        return 0;
    case KEY_OUT:
        own->out = text;
        return *text ? 0 : tw_args_wrong(args, "--out: the name of a file is missing");
    case ARGP_KEY_END:
        if (args->json && own->out && strcmp(own->out, "-") == 0)
            return tw_args_wrong(args, "--json and --out - would both have stdout");
        return check_window(args, &own->wish);
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_run, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "RUN", doc, children, NULL, NULL};

/* ---- the result ---- */

struct outcome {
    struct tw_timeline_run run;
    struct tw_timeline_drawn drawn;
    char path[TW_PATH_MAX]; /* "-": stdout */
    enum tw_status status;
    const char *error;
};

static void count(const struct tw_timeline *timeline, struct tw_timeline_worker *all) {
    *all = (struct tw_timeline_worker){0};
    for (uint32_t w = 0; timeline && w < timeline->workers; w++) {
        all->applied += timeline->worker[w].applied;
        all->dropped += timeline->worker[w].dropped;
        all->staleness += timeline->worker[w].staleness;
        for (int a = 0; a < TW_ACTIVITIES; a++)
            all->spent[a] += timeline->worker[w].spent[a];
    }
}

/* Fields of a timeline that there is; null for one that there is not. */
static void add_window(struct tw_json *json, const struct outcome *outcome) {
    static const char *const share[] = {"waiting", "receiving", "computing", "sending"};
    const struct tw_timeline *timeline = outcome->path[0] ? outcome->run.timeline : NULL;
    struct tw_timeline_worker all;
    count(timeline, &all);
    double seconds = timeline ? (double)(timeline->end - timeline->begin) / 1e9 : NAN;
    double total = timeline ? seconds * 1e9 * timeline->workers : NAN;
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"workers", timeline ? timeline->workers : 0},
        {"updates", outcome->run.updates},
        {"from", timeline ? timeline->from : 0},
        {"to", timeline ? timeline->to : 0},
        {"applied", all.applied},
        {"dropped", all.dropped},
        {"spans", outcome->drawn.spans},
        {"arrows", outcome->drawn.arrows},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (timeline)
            tw_json_unsigned(json, counts[i].key, counts[i].value);
        else
            tw_json_null(json, counts[i].key);
    }
    tw_json_real(json, "staleness_mean",
                 all.applied ? (double)all.staleness / (double)all.applied : NAN);
    tw_json_real(json, "begin", timeline ? (double)timeline->begin / 1e9 : NAN);
    tw_json_real(json, "seconds", seconds);
    for (int a = 0; a < TW_ACTIVITIES; a++)
        tw_json_real(json, share[a], (double)all.spent[a] / total);
}

static void print_json(const struct tw_args *args, const struct outcome *outcome) {
    const struct timeline_options *own = args->own;
    const struct tw_timeline_run *run = &outcome->run;
    struct tw_text text = {0};
    struct tw_json json;
    tw_json_init(&json, &text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", outcome->status == TW_OK ? "done" : "failed");
    tw_json_string(&json, "error", outcome->status == TW_OK ? NULL : outcome->error);
    tw_json_string(&json, "run", args->job);
    tw_json_string(&json, "format", own->chrome ? "chrome" : "svg");
    tw_json_string(&json, "out", outcome->path[0] ? outcome->path : NULL);
    tw_json_string(&json, "mode", run->mode && *run->mode ? run->mode : NULL);
    add_window(&json, outcome);
    tw_json_end_object(&json);
    if (!text.failed)
        printf("%s\n", text.at);
    fflush(stdout);
    tw_text_fini(&text);
}

static int fail(const struct tw_args *args, struct outcome *outcome, const struct tw_error *error) {
    fprintf(stderr, "talweg timeline: %s\n", error->text);
    if (error->status == TW_USAGE)
        fprintf(stderr, "Try 'talweg timeline --help'.\n");
    outcome->status = error->status;
    outcome->error = error->text;
    outcome->path[0] = '\0';
    if (args->json)
        print_json(args, outcome);
    return tw_exit_before(error->status);
}

static void tell(const struct outcome *outcome) {
    const struct tw_timeline *timeline = outcome->run.timeline;
    double seconds = (double)(timeline->end - timeline->begin) / 1e9;
    bool long_one = seconds >= 1;
    fprintf(stderr,
            "updates %" PRIu64 " to %" PRIu64 " of %" PRIu64 ", %.4g %s: %" PRIu64
            " arrows, in %s\n",
            timeline->from, timeline->to, outcome->run.updates, long_one ? seconds : seconds * 1e3,
            long_one ? "s" : "ms", outcome->drawn.arrows,
            strcmp(outcome->path, "-") == 0 ? "stdout" : outcome->path);
}

/* ---- drawing ---- */

static enum tw_status check_size(const struct tw_timeline *timeline, bool chrome,
                                 struct tw_error *error) {
    if (chrome || timeline->steps <= TW_TIMELINE_PICTURE_MAX)
        return TW_OK;
    return tw_error_set(error, TW_USAGE,
                        "updates %" PRIu64 " to %" PRIu64
                        " have %zu gradients, and a picture shows "
                        "at most %u; name fewer with --from and --to, or use --chrome",
                        timeline->from, timeline->to, timeline->steps, TW_TIMELINE_PICTURE_MAX);
}

static enum tw_status write_out(const struct tw_args *args, const struct tw_text *text,
                                struct outcome *outcome, struct tw_error *error) {
    const struct timeline_options *own = args->own;
    if (text->failed)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    if (own->out && strcmp(own->out, "-") == 0) {
        strcpy(outcome->path, "-");
        if (fwrite(text->at, 1, text->size, stdout) == text->size && fflush(stdout) == 0)
            return TW_OK;
        return errno == EPIPE
                   ? TW_OK /* whoever reads has had enough */
                   : tw_error_set(error, TW_IO, "stdout cannot be written: %s", strerror(errno));
    }
    const char *name = own->chrome ? "timeline.json" : "timeline.svg";
    if (tw_path_join(outcome->path, TW_PATH_MAX, own->out ? "" : args->job,
                     own->out ? own->out : name))
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long",
                            own->out ? own->out : args->job);
    return tw_file_write_atomic(outcome->path, text->at, text->size, error);
}

static enum tw_status draw(const struct tw_args *args, struct outcome *outcome,
                           struct tw_error *error) {
    const struct timeline_options *own = args->own;
    const struct tw_timeline_run *run = &outcome->run;
    const struct tw_timeline_look look = {.mode = run->mode,
                                          .note = run->cut.size ? "a log ends early" : "",
                                          .updates = run->updates,
                                          .arrows = own->arrows};
    struct tw_text text = {0};
    enum tw_status status = check_size(run->timeline, own->chrome, error);
    if (status == TW_OK) {
        outcome->drawn = own->chrome ? tw_timeline_to_chrome(&text, run->timeline, &look)
                                     : tw_timeline_to_svg(&text, run->timeline, &look);
        status = write_out(args, &text, outcome, error);
    }
    tw_text_fini(&text);
    return status;
}

static int timeline(const struct tw_args *args) {
    const struct timeline_options *own = args->own;
    struct outcome outcome = {.status = TW_OK};
    struct tw_timeline_wish wish = own->wish;
    struct tw_error error = {0};
    int code;
    wish.per_worker = own->chrome ? USUAL_CHROME : USUAL_PER_WORKER;
    wish.most = own->chrome ? USUAL_CHROME : TW_TIMELINE_PICTURE_MAX / 2;
    if (tw_timeline_run_read(&outcome.run, args->job, &wish, &error) ||
        draw(args, &outcome, &error)) {
        code = fail(args, &outcome, &error);
    } else {
        const struct tw_text *cut = &outcome.run.cut;
        if (cut->size > 0) {
            fprintf(stderr, "talweg timeline: %s; drawn up to there\n", cut->at);
            outcome.status = TW_DATA;
            outcome.error = cut->at;
        }
        tell(&outcome);
        if (args->json)
            print_json(args, &outcome);
        code = tw_exit_after(outcome.status);
    }
    tw_timeline_run_fini(&outcome.run);
    return code;
}

int tw_cmd_timeline(int argc, char **argv) {
    struct tw_args args;
    struct timeline_options own = {0};
    int code = TW_EXIT_DONE;
    if (tw_args_parse(&args, "timeline", &argp, &own, argc, argv)) {
        struct outcome none = {.status = TW_OK};
        code = fail(&args, &none, &args.error);
    } else if (!args.help) {
        code = timeline(&args);
    }
    tw_args_fini(&args);
    return code;
}
