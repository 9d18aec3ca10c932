/* talweg dial: turns the dial of a run that goes on to another consistency mode. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/operator.h"
#include "cli/token.h"
#include "common/base/json.h"
#include "common/base/limits.h"

struct dial_options {
    const char *mode, *token_file;
};

enum { KEY_MODE = 0x200, KEY_TOKEN_FILE };

static const struct argp_option options[] = {
    {"mode", KEY_MODE, "MODE", 0, "Consistency from here on, such as async or ssp:3", 1},
    {"token-file", KEY_TOKEN_FILE, "FILE", 0, "Shared secret, the same as the server's", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Turns the dial of a run while it goes on: from the next update on it has another"
    " consistency mode. Gradients that are under way are cancelled, and all workers begin"
    " again side by side on the weights as they are. The turn is a record of the order log, so"
    " the run still replays to the bit. A job can turn it itself: consistency.turns."
    "\v"
    "Examples:\n"
    "  talweg dial runs/job-20261122T005534Z --mode async\n"
    "  talweg dial runs/job-20261122T005534Z --mode ssp:3 --json\n"
    "\n"
    "Exit codes:\n"
    "  0    turned\n"
    "  1    not turned: the run is over, or cannot have this mode\n"
    "  2    wrong usage, or no run directory\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct dial_options *own = args->own;
    switch (key) {
    case KEY_MODE:
        own->mode = text;
        return 0;
    case KEY_TOKEN_FILE:
        own->token_file = text;
        return 0;
    case ARGP_KEY_END:
        if (!own->mode)
            return tw_args_wrong(args, "--mode is missing; write a mode such as --mode async");
        if (!*own->mode || strlen(own->mode) > TW_MODE_MAX)
            return tw_args_wrong(args, "--mode %.80s: write a mode such as async", own->mode);
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_run, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "RUN", doc, children, NULL, NULL};

struct turned {
    char mode[TW_MODE_MAX + 1];
    uint64_t version, position;
};

static bool on_answer(void *context, const struct tw_frame *frame) {
    struct turned *turned = context;
    if (frame->body != TW_BODY_TURNED)
        return false;
    size_t size = frame->turned.mode.size < TW_MODE_MAX ? frame->turned.mode.size : TW_MODE_MAX;
    memcpy(turned->mode, frame->turned.mode.bytes, size);
    turned->mode[size] = 0;
    tw_text_clean(turned->mode);
    turned->version = frame->turned.version;
    turned->position = frame->turned.position;
    return true;
}

static enum tw_status turn(const struct tw_args *args, const struct tw_token *token,
                           struct turned *turned, struct tw_error *error) {
    const struct dial_options *own = args->own;
    struct tw_frame frame = {.body = TW_BODY_TURN};
    struct tw_operator *operator= NULL;
    frame.turn.mode = (struct tw_view){own->mode, strlen(own->mode)};
    enum tw_status status = tw_operator_open(&operator, args->job, token, error);
    if (!status) {
        status = tw_operator_ask(operator, & frame, on_answer, turned, error);
        tw_operator_free(operator);
    }
    return status;
}

static enum tw_status print(const struct tw_args *args, const struct turned *turned,
                            struct tw_error *error) {
    struct tw_text text = {0};
    struct tw_json json;
    if (!args->json) {
        fprintf(stderr, "the dial is turned to %s after update %" PRIu64 "\n", turned->mode,
                turned->version);
        return TW_OK;
    }
    tw_json_init(&json, &text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", "done");
    tw_json_null(&json, "error");
    tw_json_string(&json, "mode", turned->mode);
    tw_json_unsigned(&json, "updates", turned->version);
    tw_json_unsigned(&json, "position", turned->position);
    tw_json_end_object(&json);
    bool written = !text.failed && puts(text.at) >= 0 && fflush(stdout) == 0;
    tw_text_fini(&text);
    return written ? TW_OK : tw_error_set(error, TW_IO, "stdout cannot be written");
}

int tw_cmd_dial(int argc, char **argv) {
    struct tw_args args;
    struct dial_options own = {0};
    struct tw_token token = {.size = 0};
    struct turned turned = {0};
    struct tw_error error = {0};
    int code = TW_EXIT_DONE;
    if (tw_args_parse(&args, "dial", &argp, &own, argc, argv)) {
        code = tw_command_refuse(&args, &args.error);
    } else if (!args.help) {
        enum tw_status status = TW_OK;
        if (own.token_file)
            status = tw_token_read(&token, own.token_file, &error);
        if (!status)
            status = turn(&args, &token, &turned, &error);
        if (!status)
            status = print(&args, &turned, &error);
        if (status) {
            code = tw_command_refuse(&args, &error);
            code = status == TW_DATA || status == TW_USAGE ? code : TW_EXIT_FAILED;
        }
    }
    tw_args_fini(&args);
    return code;
}
