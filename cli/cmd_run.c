/* talweg run: a whole cluster of real processes on this machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/job_check.h"
#include "cli/launcher.h"
#include "cli/model_text.h"
#include "cli/resume.h"
#include "cli/run_folder.h"

struct run_options {
    const char *out, *resume;
    bool inexact;
    struct tw_straggler straggler;
};

enum {
    KEY_OUT = 0x200,
    KEY_SERVERS,
    KEY_WORKERS,
    KEY_EVALUATORS,
    KEY_MODE,
    KEY_INEXACT,
    KEY_RESUME
};

static const struct argp_option options[] = {
    {"servers", KEY_SERVERS, "S", 0, "Server processes (cluster.servers)", 1},
    {"workers", KEY_WORKERS, "N", 0, "Worker processes (cluster.workers)", 1},
    {"evaluators", KEY_EVALUATORS, "E", 0,
     "Processes that share out the test data (cluster.evaluators)", 1},
    {"mode", KEY_MODE, "MODE", 0, "Consistency, such as sync or async (consistency.mode)", 1},
    {"out", KEY_OUT, "DIR", 0,
     "Run directory, made if missing, must be empty; default: runs/<job>-<UTC time>", 1},
    {"resume", KEY_RESUME, "DIR", 0,
     "Instead of JOB: begin the run in DIR again, from its newest checkpoint", 1},
    {"inexact", KEY_INEXACT, NULL, 0, "Accept processes whose numerics differ", 1},
    TW_ARGS_STRAGGLER,
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Trains the job with a cluster of processes on this machine: servers, workers and, when"
    " the job has test data, an evaluator or several. Shows progress on stderr and leaves a run"
    " directory with the model, metrics, the resolved job and the logs."
    "\v"
    "Examples:\n"
    "  talweg run examples/fashion-mnist-mlp.yaml\n"
    "  talweg run job.yaml --workers 4 --mode async --set epochs=3\n"
    "  talweg run job.yaml --out /tmp/first --json\n"
    "\n"
    "A run that was stopped, killed, or died with its machine goes on from its last\n"
    "checkpoint (key checkpoint), also with another number of servers:\n"
    "  talweg run --resume runs/first\n"
    "\n"
    "Ctrl-C stops the run and saves the model so far; a second one stops at once.\n"
    "\n" TW_ARGS_EXIT_CODES;

static error_t take_run(struct tw_args *args, struct run_options *own, const char *text) {
    char *job = NULL;
    if (args->job)
        return tw_args_wrong(args, "--resume: one run is enough");
    if (asprintf(&job, "%s/job.yaml", text) < 0)
        return tw_args_wrong(args, "out of memory");
    args->memory[args->memory_count++] = job;
    args->job = job;
    own->resume = text;
    return 0;
}

/* What a run may go on with that it did not begin with. */
static enum tw_status check_resume(const struct tw_args *args, const struct run_options *own,
                                   struct tw_error *error) {
    if (!own->resume)
        return TW_OK;
    if (own->out)
        return tw_error_set(error, TW_USAGE, "--out: a run that is begun again stays where it is");
    for (int i = 0; i < args->count; i++)
        if (strcmp(args->settings[i].key, "cluster.servers") != 0 &&
            strcmp(args->settings[i].key, "cluster.evaluators") != 0 &&
            strncmp(args->settings[i].key, "checkpoint", 10) != 0)
            return tw_error_set(error, TW_USAGE,
                                "%s: a run that is begun again keeps its job; only --servers, "
                                "--evaluators and checkpoint may be changed",
                                args->settings[i].flag);
    return TW_OK;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct run_options *own = args->own;
    switch (key) {
    case KEY_OUT:
        own->out = text;
        return *text ? 0 : tw_args_wrong(args, "--out: the name of a directory is missing");
    case KEY_RESUME:
        return take_run(args, own, text);
    case KEY_SERVERS:
        return tw_args_set(args, "cluster.servers", text, "--servers");
    case KEY_WORKERS:
        return tw_args_set(args, "cluster.workers", text, "--workers");
    case KEY_EVALUATORS:
        return tw_args_set(args, "cluster.evaluators", text, "--evaluators");
    case KEY_MODE:
        return tw_args_set(args, "consistency.mode", text, "--mode");
    case KEY_INEXACT:
        own->inexact = true;
        return 0;
    case TW_ARGS_KEY_STRAGGLER:
        return tw_args_straggler(args, text, &own->straggler);
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_common, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "JOB", doc, children, NULL, NULL};

static void describe(struct tw_progress *progress, const struct tw_checked_job *checked,
                     const struct run_options *own, const char *folder) {
    const struct tw_job *job = checked->job;
    struct tw_text line = {0};
    tw_text_add(&line, "training %s: %d server%s, %d worker%s, ", job->name, job->servers,
                job->servers == 1 ? "" : "s", job->workers, job->workers == 1 ? "" : "s");
    if (job->has_test && job->evaluators > 1)
        tw_text_add(&line, "%d evaluators, ", job->evaluators);
    tw_text_add(&line, "%s, seed %llu, into %s", job->mode, (unsigned long long)job->seed, folder);
    if (own->straggler.factor > 0)
        tw_text_add(&line, "; steps of worker %u are made to take %g times as long",
                    own->straggler.rank, own->straggler.factor);
    tw_progress_text(progress, TW_TONE_PLAIN, &line);
    struct tw_text warning = {0};
    tw_model_warning(&warning, checked->model);
    if (warning.size > 0)
        tw_progress_text(progress, TW_TONE_CARE, &warning);
}

/* The job is good and the run directory stands. */
static enum tw_status train(const struct tw_checked_job *checked, const struct run_options *own,
                            const char *folder, const char *job_file, struct tw_summary *summary) {
    int terminal = STDERR_FILENO;
    struct tw_progress progress;
    tw_progress_init(&progress, tw_progress_look_of(terminal, false), tw_progress_write_fd,
                     &terminal);
    describe(&progress, checked, own, folder);
    struct tw_launch launch = {
        .executable = "/proc/self/exe",
        .job = job_file,
        .folder = folder,
        .servers = checked->job->servers,
        .workers = checked->job->workers,
        .evaluators = checked->job->has_test ? checked->job->evaluators : 0,
        .evict = checked->job->on_worker_loss.action == TW_LOSS_EVICT,
        .inexact = own->inexact,
        .resume = own->resume != NULL,
        .blas_core = checked->job->blas_core,
        .straggler = own->straggler,
        .progress = &progress,
    };
    enum tw_status status = tw_launcher_run(&launch, summary);
    tw_progress_summary(&progress, summary);
    return status;
}

static enum tw_status make_folder(const struct run_options *own,
                                  const struct tw_checked_job *checked, char *folder,
                                  struct tw_error *error) {
    if (!own->resume)
        return tw_run_folder_make(checked->job->name, own->out, time(NULL), folder, error);
    if (strlen(own->resume) >= TW_PATH_MAX)
        return tw_error_set(error, TW_USAGE, "--resume: this path is too long");
    strcpy(folder, own->resume);
    return tw_resume_check(folder, checked, error);
}

/* A run that goes on keeps its job file, unless something of it is changed. */
static enum tw_status write_job(const struct tw_args *args, const struct run_options *own,
                                const struct tw_checked_job *checked, const char *folder, char *out,
                                struct tw_error *error) {
    if (!own->resume || args->count)
        return tw_run_folder_write_job(folder, checked, NULL, out, error);
    return tw_path_join(out, TW_PATH_MAX, folder, "job.yaml");
}

static int run_checked(const struct tw_args *args, const struct run_options *own,
                       const struct tw_checked_job *checked) {
    char folder[TW_PATH_MAX] = "", job_file[TW_PATH_MAX];
    struct tw_error error;
    struct tw_summary summary = {
        .mode = checked->job->mode,
        .servers = checked->job->servers,
        .workers = checked->job->workers,
    };
    if (checked->job->model.own) {
        tw_job_error(&error, checked->job->model.where, "model.tensors",
                     "the gradients of this job come from a program of yours; start it beside"
                     " `talweg server`");
        return tw_command_fail(args, &summary, &error);
    }
    if (tw_args_check_straggler(&own->straggler, checked->job->workers, &error))
        return tw_command_fail(args, &summary, &error);
    if (tw_launcher_signal_waits()) {
        tw_error_set(&error, TW_INTERRUPTED, "stopped by a signal before anything was started");
        return tw_command_fail(args, &summary, &error);
    }
    if (make_folder(own, checked, folder, &error))
        return tw_command_fail(args, &summary, &error);
    summary.run = folder;
    if (write_job(args, own, checked, folder, job_file, &error))
        return tw_command_fail(args, &summary, &error);
    enum tw_status status = train(checked, own, folder, job_file, &summary);
    if (args->json)
        tw_print_summary_json(&summary);
    return tw_exit_after(status);
}

int tw_cmd_run(int argc, char **argv) {
    struct tw_args args;
    struct run_options own = {0};
    struct tw_checked_job checked;
    struct tw_error error;
    int code;
    tw_launcher_hold_signals();
    if (tw_args_parse(&args, "run", &argp, &own, argc, argv)) {
        code = tw_command_fail(&args, NULL, &args.error);
    } else if (args.help) {
        code = TW_EXIT_DONE;
    } else if (check_resume(&args, &own, &error)) {
        code = tw_command_fail(&args, NULL, &error);
    } else if (tw_checked_job_load(&checked, args.job, args.settings, args.count, TW_CHECK_ALL,
                                   &error)) {
        code = tw_command_fail(&args, NULL, &error);
    } else {
        code = run_checked(&args, &own, &checked);
        tw_checked_job_fini(&checked);
    }
    tw_args_fini(&args);
    return code;
}
