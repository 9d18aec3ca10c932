/* talweg worker: computes gradients, or, with --evaluate, scores the weights. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/blas_core.h"
#include "cli/command.h"
#include "cli/job_check.h"
#include "cli/token.h"
#include "common/base/say.h"
#include "common/net/address.h"
#include "worker/io/train.h"
#include "worker/nn/gemm.h"

struct worker_options {
    const char *server, *token_file;
    int rank; /* -1: any */
    bool evaluate;
    double patience; /* seconds; 0: as the library has it */
    struct tw_straggler straggler;
};

enum { KEY_SERVER = 0x200, KEY_RANK, KEY_EVALUATE, KEY_TOKEN_FILE, KEY_PATIENCE };

static const struct argp_option options[] = {
    {"server", KEY_SERVER, "HOST:PORT", 0, "The server to work for", 1},
    {"rank", KEY_RANK, "R", 0, "Which worker to be, from 0; default: the lowest free one", 1},
    {"evaluate", KEY_EVALUATE, NULL, 0,
     "Do not train: score the weights on the test data at each epoch's end; several share it out",
     1},
    {"token-file", KEY_TOKEN_FILE, "FILE", 0, "Shared secret, the same as the server's", 1},
    {"patience", KEY_PATIENCE, "SECONDS", 0,
     "How long to look for a server that is not there, or lost; default: 30", 1},
    TW_ARGS_STRAGGLER,
    {0},
};

static const char doc[] =
    "Joins a server, computes gradients on its part of the training data until the run is"
    " over. The job must be the server's: same model, data format, batch and workers."
    "\v"
    "Examples:\n"
    "  talweg worker job.yaml --server bighost:7070\n"
    "  talweg worker job.yaml --server bighost:7070 --rank 1 --token-file secret\n"
    "  talweg worker job.yaml --server bighost:7070 --evaluate\n"
    "\n" TW_ARGS_EXIT_CODES;

static error_t parse_rank(struct tw_args *args, const char *text, int *rank) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value >= TW_WORKERS_MAX)
        return tw_args_wrong(args, "--rank %s: a whole number from 0 to %d is right", text,
                             TW_WORKERS_MAX - 1);
    *rank = (int)value;
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct worker_options *own = args->own;
    switch (key) {
    case KEY_SERVER:
        own->server = text;
        return 0;
    case KEY_RANK:
        return parse_rank(args, text, &own->rank);
    case KEY_EVALUATE:
        own->evaluate = true;
        return 0;
    case KEY_TOKEN_FILE:
        own->token_file = text;
        return 0;
    case KEY_PATIENCE:
        return tw_args_patience(args, text, &own->patience);
    case TW_ARGS_KEY_STRAGGLER:
        return tw_args_straggler(args, text, &own->straggler);
    case ARGP_KEY_END:
        if (!own->server)
            return tw_args_wrong(args, "--server HOST:PORT is missing");
        if (own->evaluate && own->rank >= 0)
            return tw_args_wrong(args, "an evaluator has no rank: drop --rank or --evaluate");
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_common, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "JOB", doc, children, NULL, NULL};

static int stop_pipe[2] = {-1, -1};

static void on_signal(int number) {
    int saved = errno;
    ssize_t n = write(stop_pipe[1], "", 1);
    (void)n;
    errno = saved;
}

/* The first SIGINT or SIGTERM makes the pipe readable; a second ends the process. */
static enum tw_status watch_signals(struct tw_error *error) {
    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
        return tw_error_set(error, TW_IO, "no pipe: %s", strerror(errno));
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return TW_OK;
}

static void on_note(void *context, const char *line) {
    tw_say("%s", line);
}

static enum tw_status work(const struct tw_args *args, const struct tw_checked_job *checked,
                           const struct tw_token *token, struct tw_error *error) {
    const struct worker_options *own = args->own;
    struct tw_worker_config config = {
        .job = checked->job,
        .server = own->server,
        .rank = own->rank,
        .evaluator = own->evaluate,
        .token = token->size ? token->bytes : NULL,
        .token_bytes = token->size,
        .connect_seconds = own->patience,
        .straggler = own->straggler,
        .stop_fd = stop_pipe[0],
        .on_note = on_note,
    };
    return tw_worker_train(&config, error);
}

static void name_us(const struct worker_options *own) {
    char name[TW_SAY_NAME];
    if (own->evaluate)
        snprintf(name, sizeof name, "evaluator");
    else if (own->rank >= 0)
        snprintf(name, sizeof name, "worker %d", own->rank);
    else
        snprintf(name, sizeof name, "worker");
    tw_say_name(name);
}

static enum tw_status check_server(const char *server, struct tw_error *error) {
    struct tw_host_port at;
    enum tw_status status = tw_host_port_parse(&at, server, error);
    if (status)
        tw_error_wrap(error, "--server");
    return status;
}

static int work_on_job(const struct tw_args *args, char **again) {
    const struct worker_options *own = args->own;
    struct tw_checked_job checked;
    struct tw_token token = {.size = 0};
    struct tw_error error = {0};
    if (check_server(own->server, &error) ||
        (own->token_file && tw_token_read(&token, own->token_file, &error)) ||
        tw_checked_job_load(&checked, args->job, args->settings, args->count, TW_CHECK_NO_DATA,
                            &error))
        return tw_command_fail(args, NULL, &error);
    if (tw_args_check_straggler(&own->straggler, checked.job->workers, &error)) {
        tw_checked_job_fini(&checked);
        return tw_command_fail(args, NULL, &error);
    }
    int code = TW_EXIT_DONE;
    if (watch_signals(&error) || tw_blas_core_pin(checked.job->blas_core, again, &error) ||
        tw_gemm_start(checked.job->blas_core, &error)) {
        code = tw_command_fail(args, NULL, &error);
    } else {
        enum tw_status status = work(args, &checked, &token, &error);
        if (status == TW_JOB || status == TW_DATA)
            code = tw_command_fail(args, NULL, &error);
        else if (status)
            tw_say("%s", error.text);
        if (status != TW_JOB && status != TW_DATA)
            code = tw_exit_after(status);
    }
    tw_checked_job_fini(&checked);
    return code;
}

int tw_cmd_worker(int argc, char **argv) {
    struct tw_args args;
    struct worker_options own = {.rank = -1};
    int code;
    char **again = tw_blas_core_arguments(argc, argv);
    if (tw_args_parse(&args, "worker", &argp, &own, argc, argv)) {
        code = tw_command_fail(&args, NULL, &args.error);
    } else if (args.help) {
        code = TW_EXIT_DONE;
    } else if (!again) {
        struct tw_error error;
        tw_error_set(&error, TW_NO_MEMORY, "out of memory");
        code = tw_command_fail(&args, NULL, &error);
    } else {
        name_us(&own);
        code = work_on_job(&args, again);
    }
    free(again);
    tw_args_fini(&args);
    return code;
}
