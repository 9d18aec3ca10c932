/* talweg server: the process that holds the weights. Started by `run`, which reads its
 * reports, or by hand; then it shows its progress itself. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/job_check.h"
#include "cli/progress.h"
#include "cli/resume.h"
#include "cli/run_folder.h"
#include "cli/server_config.h"
#include "cli/token.h"
#include "common/base/say.h"
#include "common/net/address.h"
#include "server/core/verdict.h"
#include "server/io/server.h"

struct server_options {
    const char *listen, *out, *token_file, *lead, *advertise;
    int index;
    double patience; /* seconds; 0: as the server has it */
    bool insecure, inexact, resume;
};

enum {
    KEY_LISTEN = 0x200,
    KEY_OUT,
    KEY_TOKEN_FILE,
    KEY_INSECURE,
    KEY_INEXACT,
    KEY_INDEX,
    KEY_LEAD,
    KEY_ADVERTISE,
    KEY_RESUME,
    KEY_PATIENCE
};
enum { ADDRESSES = 8 };

static const struct argp_option options[] = {
    {"listen", KEY_LISTEN, "HOST:PORT", 0, "Where workers connect; port 0: the kernel picks", 1},
    {"out", KEY_OUT, "DIR", 0, "Run directory, made if missing, must be empty", 1},
    {"resume", KEY_RESUME, NULL, 0,
     "Begin the run in --out again, from its newest checkpoint; of the lead", 1},
    {"index", KEY_INDEX, "I", 0, "Which of the job's servers: 0, the lead, unless given", 1},
    {"lead", KEY_LEAD, "HOST:PORT", 0, "Where the lead listens; of the other servers", 1},
    {"advertise", KEY_ADVERTISE, "HOST:PORT", 0,
     "Where workers find this one, if not as it listens; not of the lead", 1},
    {"patience", KEY_PATIENCE, "SECONDS", 0,
     "How long to look for a lead that is not there yet; of the other servers; default: 30", 1},
    {"token-file", KEY_TOKEN_FILE, "FILE", 0,
     "Shared secret of 16 to 4096 bytes that workers must prove to have", 1},
    {"insecure", KEY_INSECURE, NULL, 0, "Listen beyond loopback without a secret", 1},
    {"inexact", KEY_INEXACT, NULL, 0, "Accept workers whose numerics differ", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Serves a job to workers, on this machine or others: holds the weights, applies the"
    " gradients, and writes the run directory. Training begins when all workers of the job"
    " have joined. `talweg run` starts one by itself."
    "\v"
    "Examples:\n"
    "  talweg server job.yaml --listen 127.0.0.1:7070 --out first\n"
    "  talweg server job.yaml --listen 0.0.0.0:7070 --out first --token-file secret\n"
    "  talweg worker job.yaml --server bighost:7070 --token-file secret\n"
    "\n"
    "With cluster.servers above 1, the others, here or on other machines:\n"
    "  talweg server job.yaml --index 1 --lead bighost:7070 --listen 0.0.0.0:7071 \\\n"
    "      --token-file secret\n"
    "\n"
    "After all of them have died, begin the run again from its newest checkpoint with\n"
    "  talweg server job.yaml --listen 0.0.0.0:7070 --out first --resume --token-file secret\n"
    "and start the others as before.\n"
    "\n"
    "A secret: (umask 077; head -c 24 /dev/urandom | base64 >secret), copied to\n"
    "each machine. It is proved, not sent; tensors travel in the clear all the\n"
    "same.\n"
    "\n" TW_ARGS_EXIT_CODES;

/* The lead keeps the run directory, and the others must find it. */
static error_t check_lead(struct tw_args *args, const struct server_options *own) {
    if (own->index && !own->lead)
        return tw_args_wrong(args, "--lead HOST:PORT is missing: where server 0 listens");
    if (own->index && (own->out || own->resume))
        return tw_args_wrong(args, "%s: only server 0 keeps a run directory",
                             own->out ? "--out" : "--resume");
    if (!own->index && (own->lead || own->advertise || own->patience > 0))
        return tw_args_wrong(args, "%s is of the other servers; give --index, from 1",
                             own->lead        ? "--lead"
                             : own->advertise ? "--advertise"
                                              : "--patience");
    if (!own->index && !own->out)
        return tw_args_wrong(args, "--out DIR is missing: where the model is written");
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct server_options *own = args->own;
    switch (key) {
    case KEY_LISTEN:
        own->listen = text;
        return 0;
    case KEY_OUT:
        own->out = text;
        return *text ? 0 : tw_args_wrong(args, "--out: the name of a directory is missing");
    case KEY_INDEX:
        return tw_args_whole(args, "index", text, 0, TW_SERVERS_MAX - 1, &own->index);
    case KEY_LEAD:
        own->lead = text;
        return 0;
    case KEY_ADVERTISE:
        own->advertise = text;
        return 0;
    case KEY_PATIENCE:
        return tw_args_patience(args, text, &own->patience);
    case KEY_TOKEN_FILE:
        own->token_file = text;
        return 0;
    case KEY_INSECURE:
        own->insecure = true;
        return 0;
    case KEY_INEXACT:
        own->inexact = true;
        return 0;
    case KEY_RESUME:
        own->resume = true;
        return 0;
    case ARGP_KEY_END:
        if (!own->listen)
            return tw_args_wrong(args, "--listen HOST:PORT is missing, such as 127.0.0.1:7070");
        return check_lead(args, own);
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_common, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "JOB", doc, children, NULL, NULL};

/* Whoever can reach a server without a secret can steer or spoil its training, so
 * that takes a word of consent. */
static enum tw_status check_listen(const struct server_options *own, struct tw_error *error) {
    const char *others[2] = {own->lead, own->advertise}, *names[2] = {"--lead", "--advertise"};
    struct tw_host_port other;
    for (int i = 0; i < 2; i++)
        if (others[i] && tw_host_port_parse(&other, others[i], error))
            return tw_error_wrap(error, names[i]);
    struct tw_host_port at;
    struct sockaddr_storage address[ADDRESSES];
    size_t count = 0;
    if (tw_host_port_parse(&at, own->listen, error) ||
        tw_address_resolve(&at, address, ADDRESSES, &count, error)) {
        tw_error_wrap(error, "--listen");
        return error->status = TW_USAGE;
    }
    if (own->token_file || own->insecure)
        return TW_OK;
    for (size_t i = 0; i < count; i++)
        if (!tw_address_is_loopback((const struct sockaddr *)&address[i]))
            return tw_error_set(error, TW_USAGE,
                                "--listen %s can be reached from other machines: give a secret"
                                " with --token-file, or say --insecure",
                                own->listen);
    return TW_OK;
}

/* Who hears the reports: the launcher, through a pipe, or a person. */
struct audience {
    int pipe;            /* -1: a person */
    struct tw_text line; /* room for a report, kept from one to the next */
    struct tw_progress progress;
    bool done;
    struct tw_result result;
};

/* A launcher that was stopped (Ctrl-Z) must not stop the server: news of progress is
 * dropped while the pipe is full. All else is rare and always fits in the end. */
static void send_line(struct audience *audience, const struct tw_report *report) {
    struct pollfd room = {.fd = audience->pipe, .events = POLLOUT};
    if (report->kind == TW_REPORT_PROGRESS && poll(&room, 1, 0) != 1)
        return;
    tw_text_clear(&audience->line);
    tw_report_to_json(&audience->line, report);
    if (!audience->line.failed)
        tw_progress_write_fd(&audience->pipe, audience->line.at, audience->line.size);
}

static void on_report(void *context, const struct tw_report *report) {
    struct audience *audience = context;
    if (report->kind == TW_REPORT_DONE) {
        audience->done = true;
        audience->result = report->result;
    }
    if (audience->pipe >= 0) {
        send_line(audience, report);
        return;
    }
    audience->progress.look.width = tw_progress_width_of(STDERR_FILENO);
    tw_progress_report(&audience->progress, report, tw_now_ms());
}

/* A server that failed before its first update has reported no end. */
static void report_failure(struct audience *audience, const struct tw_error *error) {
    struct tw_report report = {.kind = TW_REPORT_DONE};
    report.result.status = error->status;
    snprintf(report.result.error, sizeof report.result.error, "%s", error->text);
    on_report(audience, &report);
}

static bool needs_evaluator(const struct tw_checked_job *checked) {
    const struct tw_judge end = tw_judge_of_end(checked->job);
    return tw_pace_watches(&checked->pace, TW_WATCH_TEST) || tw_judge_watches(&end, TW_WATCH_TEST);
}

static enum tw_status serve(const struct tw_args *args, const struct tw_checked_job *checked,
                            const struct tw_token *token, const struct tw_server_resume *resume,
                            struct audience *audience) {
    const struct server_options *own = args->own;
    struct tw_error error = {0};
    struct tw_server_config config = tw_server_config_of(checked);
    config.index = (uint32_t)own->index;
    config.lead = own->lead;
    config.advertise = own->advertise;
    config.limits.lead_ms = (uint32_t)ceil(own->patience * 1000);
    /* By hand, an evaluator may come or not, unless something goes by what it says. */
    config.evaluator = (args->is_supervised || needs_evaluator(checked)) && checked->job->has_test;
    config.evaluators = args->is_supervised ? (uint32_t)checked->job->evaluators : 1;
    config.listen = own->listen;
    config.token = token->size ? token->bytes : NULL;
    config.token_bytes = token->size;
    config.inexact = own->inexact;
    config.out = own->out;
    config.resume = resume;
    config.on_report = on_report;
    config.context = audience;
    enum tw_status status = tw_server_run(&config, &error);
    if (status && status != TW_INTERRUPTED)
        tw_say("failed: %s", error.text);
    if (!audience->done)
        report_failure(audience, &error);
    return status;
}

/* Under a launcher the run directory, its job.yaml and all checks are its business. */
static enum tw_status prepare(const struct tw_args *args, const struct tw_checked_job *checked,
                              struct tw_error *error) {
    const struct server_options *own = args->own;
    char folder[TW_PATH_MAX], job_file[TW_PATH_MAX];
    if (args->is_supervised || own->index)
        return TW_OK;
    if (own->resume)
        return tw_resume_check(own->out, checked, error);
    enum tw_status status =
        tw_run_folder_make(checked->job->name, own->out, time(NULL), folder, error);
    if (!status)
        status = tw_run_folder_write_job(folder, checked, NULL, job_file, error);
    return status;
}

static enum tw_status find_run(const struct server_options *own, struct tw_server_resume *resume,
                               struct tw_log_history *history, struct tw_error *error) {
    *history = (struct tw_log_history){.position = 0};
    return own->resume ? tw_resume_find(resume, history, own->out, error) : TW_OK;
}

static int serve_checked(const struct tw_args *args, const struct tw_checked_job *checked,
                         const struct tw_token *token) {
    struct server_options *own = args->own;
    struct tw_log_history history = {.position = 0};
    struct tw_server_resume resume = {.position = 0};
    struct tw_error error;
    int terminal = STDERR_FILENO;
    struct audience *audience = calloc(1, sizeof *audience);
    struct tw_summary summary = {
        .counted = true,
        .mode = checked->job->mode,
        .servers = checked->job->servers,
        .workers = checked->job->workers,
        .run = own->out,
    };
    if (own->index >= checked->job->servers) {
        tw_error_set(&error, TW_USAGE, "--index %d: this job has %d servers (cluster.servers)",
                     own->index, checked->job->servers);
        free(audience);
        return tw_command_fail(args, &summary, &error);
    }
    if (!audience) {
        tw_error_set(&error, TW_NO_MEMORY, "out of memory");
        return tw_command_fail(args, &summary, &error);
    }
    if (prepare(args, checked, &error) || find_run(own, &resume, &history, &error)) {
        tw_log_history_fini(&history);
        free(audience);
        summary.run = NULL;
        return tw_command_fail(args, &summary, &error);
    }
    audience->pipe = args->is_supervised ? args->supervised.report_fd : -1;
    if (audience->pipe >= 0)
        fcntl(audience->pipe, F_SETFD, FD_CLOEXEC);
    tw_progress_init(&audience->progress, tw_progress_look_of(terminal, true), tw_progress_write_fd,
                     &terminal);
    enum tw_status status = serve(args, checked, token, own->resume ? &resume : NULL, audience);
    tw_log_history_fini(&history);
    summary.result = audience->result;
    if (!args->is_supervised && !own->index)
        tw_progress_summary(&audience->progress, &summary);
    if (args->json)
        tw_print_summary_json(&summary);
    tw_text_fini(&audience->line);
    free(audience);
    return tw_exit_after(status);
}

static void name_server(int index) {
    static char name[16];
    snprintf(name, sizeof name, "server %d", index);
    tw_say_name(name);
}

int tw_cmd_server(int argc, char **argv) {
    struct tw_args args;
    struct server_options own = {0};
    struct tw_checked_job checked;
    struct tw_token token = {.size = 0};
    struct tw_error error;
    int code;
    tw_say_name("server 0");
    if (tw_args_parse(&args, "server", &argp, &own, argc, argv)) {
        code = tw_command_fail(&args, NULL, &args.error);
    } else if (args.help) {
        code = TW_EXIT_DONE;
    } else if (name_server(own.index),
               check_listen(&own, &error) ||
                   (own.token_file && tw_token_read(&token, own.token_file, &error)) ||
                   tw_checked_job_load(&checked, args.job, args.settings, args.count,
                                       TW_CHECK_TRAIN, &error)) {
        code = tw_command_fail(&args, NULL, &error);
    } else {
        code = serve_checked(&args, &checked, &token);
        tw_checked_job_fini(&checked);
    }
    tw_args_fini(&args);
    return code;
}
