/* talweg status: how a run goes that is under way, and who waits for whom. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/operator.h"
#include "cli/status_text.h"
#include "common/base/json.h"

struct status_options {
    const char *token_file;
    bool all;
};

enum { KEY_TOKEN_FILE = 0x200, KEY_ALL };

static const struct argp_option options[] = {
    {"all", KEY_ALL, NULL, 0, "A line for every worker, however many there are", 1},
    {"token-file", KEY_TOKEN_FILE, "FILE", 0, "The secret of a server that was given one", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Asks the server of a run that is under way: how far it is, what each worker is doing,"
    " where its time went (computing, waiting for others, waiting for the network), and for"
    " whom it waited most. The run is not disturbed."
    "\v"
    "Examples:\n"
    "  talweg status runs/job-20261122T005534Z\n"
    "  talweg status first --token-file secret --json\n"
    "\n"
    "RUN is the run directory, on the machine of the server.\n"
    "\n"
    "Exit codes:\n"
    "  0    told\n"
    "  1    the run is over, or its server does not answer\n"
    "  2    wrong usage, or no run directory\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct status_options *own = args->own;
    switch (key) {
    case KEY_TOKEN_FILE:
        own->token_file = text;
        return 0;
    case KEY_ALL:
        own->all = true;
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_run, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "RUN", doc, children, NULL, NULL};

/* ---- asking ---- */

/* What one Query brings. */
struct hearing {
    struct tw_told_run *run;
    uint32_t missing; /* RankStatus frames that are still to come */
    bool failed;      /* out of memory, or an answer that makes no sense */
};

static void keep_text(char *out, size_t room, struct tw_view text) {
    size_t size = text.size < room ? text.size : room - 1;
    memcpy(out, size ? text.bytes : "", size);
    out[size] = '\0';
    tw_text_clean(out);
}

static bool on_status(struct hearing *hearing, const struct tw_run_status *status) {
    struct tw_told_run *run = hearing->run;
    run->status = *status;
    keep_text(run->mode, sizeof run->mode, status->mode);
    keep_text(run->waiting, sizeof run->waiting, status->waiting);
    hearing->missing = status->ranks;
    void *room = realloc(run->rank, (run->count + (size_t)status->ranks + 1) * sizeof *run->rank);
    hearing->failed = !room || status->ranks > TW_STATUS_RANKS_MAX;
    run->rank = room ? room : run->rank;
    return hearing->failed || status->ranks == 0;
}

static bool on_answer(void *context, const struct tw_frame *frame) {
    struct hearing *hearing = context;
    struct tw_told_run *run = hearing->run;
    if (frame->body == TW_BODY_STATUS && !hearing->missing)
        return on_status(hearing, &frame->status);
    if (frame->body != TW_BODY_RANK_STATUS || !hearing->missing)
        return hearing->failed = true;
    struct tw_told_rank *told = &run->rank[run->count++];
    told->status = frame->rank_status;
    keep_text(told->peer, sizeof told->peer, frame->rank_status.peer);
    return --hearing->missing == 0;
}

/* Asks until every rank has been told, some hundred at a time. */
static enum tw_status ask(struct tw_operator *asker, struct tw_told_run *run,
                          struct tw_error *error) {
    do {
        struct hearing hearing = {.run = run};
        uint32_t before = run->count;
        struct tw_frame query = {.body = TW_BODY_QUERY, .query = {before, TW_STATUS_RANKS_MAX}};
        enum tw_status status = tw_operator_ask(asker, &query, on_answer, &hearing, error);
        if (status != TW_OK)
            return status;
        if (hearing.failed || run->status.workers > TW_WORKERS_MAX ||
            (run->count == before && run->count < run->status.workers))
            return tw_error_set(error, TW_UNEXPECTED,
                                "the server's answer makes no sense; is it another version of "
                                "Talweg?");
    } while (run->count < run->status.workers);
    return TW_OK;
}

static enum tw_status ask_run(const struct tw_args *args, struct tw_told_run *run,
                              struct tw_error *error) {
    const struct status_options *own = args->own;
    struct tw_token token = {.size = 0};
    struct tw_operator *asker = NULL;
    if (own->token_file && tw_token_read(&token, own->token_file, error))
        return error->status;
    enum tw_status status = tw_operator_open(&asker, args->job, &token, error);
    if (status == TW_OK)
        status = ask(asker, run, error);
    tw_operator_free(asker);
    return status;
}

/* ---- telling ---- */

static int tell(const struct tw_args *args, const struct tw_told_run *run) {
    const struct status_options *own = args->own;
    struct tw_text text = {0};
    if (args->json)
        tw_status_to_json(&text, run, args->job);
    else
        tw_status_to_text(&text, run, args->job, own->all);
    bool told =
        !text.failed && fwrite(text.at, 1, text.size, stdout) == text.size && fflush(stdout) == 0;
    tw_text_fini(&text);
    return told ? TW_EXIT_DONE : TW_EXIT_FAILED;
}

/* With --json, what went wrong is also the last line of stdout. */
static int fail(const struct tw_args *args, const struct tw_error *error) {
    fprintf(stderr, "talweg status: %s\n", error->text);
    if (error->status == TW_USAGE)
        fprintf(stderr, "Try 'talweg status --help'.\n");
    if (args->json) {
        struct tw_text text = {0};
        struct tw_json json;
        tw_json_init(&json, &text);
        tw_json_begin_object(&json, NULL);
        tw_json_string(&json, "status", error->status == TW_STOPPED ? "over" : "failed");
        tw_json_string(&json, "error", error->text);
        tw_json_end_object(&json);
        if (!text.failed)
            printf("%s\n", text.at);
        tw_text_fini(&text);
    }
    return tw_exit_before(error->status);
}

int tw_cmd_status(int argc, char **argv) {
    struct tw_args args;
    struct status_options own = {0};
    struct tw_told_run run = {.count = 0};
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    if (tw_args_parse(&args, "status", &argp, &own, argc, argv))
        code = fail(&args, &args.error);
    else if (!args.help)
        code = ask_run(&args, &run, &error) ? fail(&args, &error) : tell(&args, &run);
    free(run.rank);
    tw_args_fini(&args);
    return code;
}
