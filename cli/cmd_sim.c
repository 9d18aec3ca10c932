/* talweg sim: a job in virtual time. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/args_variant.h"
#include "cli/blas_core.h"
#include "cli/command.h"
#include "cli/delay_file.h"
#include "cli/explainer.h"
#include "cli/run_file.h"
#include "cli/run_folder.h"
#include "cli/sim_quantity.h"
#include "cli/sim_replicas.h"
#include "cli/words.h"
#include "common/base/json.h"
#include "worker/nn/gemm.h"

enum { MISHAPS_MAX = 256 };

struct sim_options {
    const char *from;      /* RUN, or NULL */
    char job[TW_PATH_MAX]; /* of that run */
    bool asks;             /* for a simulation, by any option but --from and --json */
    struct tw_text law;    /* fitted to it */
    struct tw_delay_times delay_times, service_times;
    const char *out;
    bool dry;
    struct tw_args_variant delay, service;
    double latency, bandwidth, parameters;
    struct tw_mishap mishap[MISHAPS_MAX];
    size_t mishaps;
    int replicas;
    bool seeded;
    uint64_t seed;
};

enum {
    KEY_OUT = 0x200,
    KEY_FROM,
    KEY_SERVERS,
    KEY_WORKERS,
    KEY_MODE,
    KEY_DRY,
    KEY_DELAY,
    KEY_SERVICE,
    KEY_NET,
    KEY_PARAMETERS,
    KEY_FAIL,
    KEY_PAUSE,
    KEY_LATE,
    KEY_FAIL_SERVER,
    KEY_PAUSE_SERVER,
    KEY_REPLICAS,
    KEY_SEED
};

static const struct argp_option options[] = {
    {"from", KEY_FROM, "RUN", 0,
     "Instead of JOB: explain this recorded run, and simulate its job with a law that is fitted to "
     "it if anything else is asked for",
     1},
    {"servers", KEY_SERVERS, "S", 0, "Virtual servers (cluster.servers)", 1},
    {"workers", KEY_WORKERS, "N", 0, "Virtual workers (cluster.workers)", 1},
    {"mode", KEY_MODE, "MODE", 0, "Consistency, such as sync or async (consistency.mode)", 1},
    {"out", KEY_OUT, "DIR", 0,
     "Run directory, made if missing, must be empty; default: runs/<job>-<UTC time>", 1},
    {"dry", KEY_DRY, NULL, 0, "Write nothing", 1},
    {"delay", KEY_DELAY, "LAW[:KEY=VALUE,...]", 0,
     "How long a step of a worker takes; default: gamma:cv=0.1, with a mean of 1 s", 2},
    {"service", KEY_SERVICE, "LAW[:KEY=VALUE,...]", 0,
     "How long a server is busy with a push; default: not at all", 2},
    {"net", KEY_NET, "LATENCY[,BANDWIDTH]", 0,
     "Of every frame, and of each process each way: 50us,10Gbit; default: none, no limit", 2},
    {"parameters", KEY_PARAMETERS, "P", 0,
     "The network carries so many weights and gradients, as if the model had P; default: its own",
     2},
    {"fail", KEY_FAIL, "RANK@TIME[+SECONDS]", 0,
     "This worker dies then; another one takes its place so much later, or never", 3},
    {"pause", KEY_PAUSE, "RANK@TIME+SECONDS", 0, "It stands still for so long", 3},
    {"late", KEY_LATE, "RANK@TIME", 0, "It comes then, not at the start", 3},
    {"fail-server", KEY_FAIL_SERVER, "SERVER@TIME[+SECONDS]", 0,
     "This server dies then, and the run with it; so much later it is begun again from its last "
     "checkpoint, or it fails",
     3},
    {"pause-server", KEY_PAUSE_SERVER, "SERVER@TIME+SECONDS", 0,
     "This server stands still for so long", 3},
    {"replicas", KEY_REPLICAS, "R", 0,
     "Under R schedules; tells means and their standard errors; writes only with --out", 4},
    {"delay-seed", KEY_SEED, "N", 0, "Of all delays, and seeds.staleness; default: the job's", 4},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Trains the job in one process and in virtual time: the servers' and workers' own code,"
    " driven by a clock that jumps from one event to the next. Data, gradients and updates are"
    " real; how long things take is a matter of the options. Leaves a run directory as `talweg run`"
    " does: log, replay and timeline work on it.\n\n"
    "With --from RUN, a recorded run: makes its order again from what its lead was told, compares"
    " that with order.log record for record, and fits a delay law to its workers' steps. With any"
    " other option, such as --workers 64, the run's job is then simulated with that law."
    "\v"
    "Laws of --delay and --service: constant, exponential, shifted_exponential, pareto, gamma,\n"
    "heterogeneous_gamma, two_state, trace. 'talweg help laws' has their options.\n"
    "\n"
    "Examples:\n"
    "  talweg sim examples/fashion-mnist-softmax.yaml --workers 64 --mode async\n"
    "  talweg sim job.yaml --workers 1000 --mode backup:50 --delay exponential\n"
    "  talweg sim job.yaml --workers 8 --mode ssp:3 --net 50us,10Gbit --fail 3@20+5\n"
    "  talweg sim job.yaml --set checkpoint.every=100 --fail-server 0@60+10\n"
    "  talweg sim job.yaml --workers 8 --mode async --replicas 100 --json\n"
    "  talweg sim --from runs/job-20261122T005534Z\n"
    "  talweg sim --from runs/job-20261122T005534Z --workers 64 --dry\n"
    "\n"
    "The delays have random numbers of their own: another law, or another --delay-seed,\n"
    "never changes what data a worker sees. docs/simulator.md has the model of time.\n"
    "\n" TW_ARGS_EXIT_CODES;

static error_t add_mishap(struct tw_args *args, struct sim_options *own, const char *flag,
                          enum tw_mishap_kind kind, const char *text) {
    if (own->mishaps == MISHAPS_MAX)
        return tw_args_wrong(args, "%s: more than %d of these", flag, MISHAPS_MAX);
    return tw_args_mishap(args, flag, kind, text, &own->mishap[own->mishaps++]);
}

static error_t read_seed(struct tw_args *args, struct sim_options *own, const char *text) {
    char *end;
    errno = 0;
    own->seed = strtoull(text, &end, 10);
    own->seeded = true;
    if (end == text || *end || strchr(text, '-') || errno == ERANGE)
        return tw_args_wrong(args, "--delay-seed: \"%s\" is no number from 0 to 2^64 - 1", text);
    return 0;
}

static error_t read_parameters(struct tw_args *args, struct sim_options *own, const char *text) {
    char *end;
    own->parameters = strtod(text, &end);
    if (end == text || *end || !(own->parameters >= 1) || own->parameters > 1e15)
        return tw_args_wrong(args, "--parameters: \"%s\" is no number from 1 to 1e15", text);
    return 0;
}

static error_t take_run(struct tw_args *args, struct sim_options *own, char *run) {
    if (own->from)
        return tw_args_wrong(args, "--from is given twice");
    if (args->job)
        return tw_args_wrong(args, "%s: --from has the job of its run; give one", args->job);
    if (tw_path_join(own->job, sizeof own->job, run, "job.yaml"))
        return tw_args_wrong(args, "--from: this path is too long");
    own->from = run;
    args->job = own->job;
    return 0;
}

static error_t parse_own(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct sim_options *own = args->own;
    own->asks = own->asks || (key >= KEY_DELAY && key <= KEY_SEED);
    switch (key) {
    case KEY_DELAY:
        return tw_args_variant_split(args, &own->delay, "--delay", text);
    case KEY_SERVICE:
        return tw_args_variant_split(args, &own->service, "--service", text);
    case KEY_NET:
        return tw_args_net(args, text, &own->latency, &own->bandwidth);
    case KEY_PARAMETERS:
        return read_parameters(args, own, text);
    case KEY_FAIL:
        return add_mishap(args, own, "--fail", TW_MISHAP_DEATH, text);
    case KEY_PAUSE:
        return add_mishap(args, own, "--pause", TW_MISHAP_PAUSE, text);
    case KEY_LATE:
        return add_mishap(args, own, "--late", TW_MISHAP_ABSENCE, text);
    case KEY_FAIL_SERVER:
        return add_mishap(args, own, "--fail-server", TW_MISHAP_SERVER_DEATH, text);
    case KEY_PAUSE_SERVER:
        return add_mishap(args, own, "--pause-server", TW_MISHAP_SERVER_PAUSE, text);
    case KEY_REPLICAS:
        return tw_args_whole(args, "replicas", text, 1, TW_REPLICAS_MAX, &own->replicas);
    case KEY_SEED:
        return read_seed(args, own, text);
    default:
        return tw_args_usual(key, state);
    }
}

static error_t check_options(struct tw_args *args, struct sim_options *own) {
    if (own->parameters > 0 && isinf(own->bandwidth))
        return tw_args_wrong(args, "--parameters: only a network with a bandwidth is busy with "
                                   "them; give --net LATENCY,BANDWIDTH");
    if (own->dry && own->out)
        return tw_args_wrong(args, "--dry writes nothing, --out says where to: give one");
    if (own->delay.variant.name || own->from)
        return 0;
    return tw_args_variant_split(args, &own->delay, "--delay", "gamma:cv=0.1");
}

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct sim_options *own = args->own;
    switch (key) {
    case KEY_FROM:
        return take_run(args, own, text);
    case ARGP_KEY_ARG:
        return own->from ? tw_args_wrong(args, "%s: --from has the job of its run; give one", text)
                         : ARGP_ERR_UNKNOWN;
    case KEY_OUT:
        own->asks = true;
        own->out = text;
        return *text ? 0 : tw_args_wrong(args, "--out: the name of a directory is missing");
    case KEY_DRY:
        own->asks = own->dry = true;
        return 0;
    case KEY_SERVERS:
        return tw_args_set(args, "cluster.servers", text, "--servers");
    case KEY_WORKERS:
        return tw_args_set(args, "cluster.workers", text, "--workers");
    case KEY_MODE:
        return tw_args_set(args, "consistency.mode", text, "--mode");
    case ARGP_KEY_END:
        return check_options(args, own) ? EINVAL : tw_args_usual(key, state);
    default:
        return parse_own(key, text, state);
    }
}

static const struct argp_child children[] = {{&tw_args_common, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "JOB", doc, children, NULL, NULL};

static volatile sig_atomic_t stop;

static void on_signal(int number) {
    stop = number;
}

/* The first SIGINT or SIGTERM ends the run in order, a second one the process. */
static void watch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file that must not grow is an error with words */
}

/* ---- the laws ---- */

/* The times of a law that has a file. */
static enum tw_status read_times(struct tw_delay *law, struct tw_delay_times *times,
                                 struct tw_error *error) {
    law->options.times = times;
    return law->options.file ? tw_delay_file_read(law->options.file, times, error) : TW_OK;
}

/* What would be averaged is infinite. */
static enum tw_status check_means(const struct sim_options *own, const struct tw_simulation *of,
                                  struct tw_error *error) {
    bool service = of->service.law && isinf(tw_delay_mean(&of->service));
    if (!own->replicas || (!service && isfinite(tw_delay_mean(&of->delay))))
        return TW_OK;
    return tw_error_set(error, TW_USAGE,
                        "%s: this law has no mean, so neither have results over --replicas",
                        service ? "--service" : "--delay");
}

static enum tw_status find_laws(struct sim_options *own, struct tw_simulation *out,
                                struct tw_error *error) {
    uint64_t seed = own->seeded ? own->seed : out->checked->job->seed;
    enum tw_status status = tw_delay_find(&out->delay, &own->delay.variant, seed, error);
    if (status == TW_OK && own->service.variant.name)
        status = tw_delay_find(&out->service, &own->service.variant, seed, error);
    if (status != TW_OK) {
        error->status = TW_USAGE;
        return status;
    }
    status = read_times(&out->delay, &own->delay_times, error);
    if (status == TW_OK && out->service.law)
        status = read_times(&out->service, &own->service_times, error);
    return status ? status : check_means(own, out, error);
}

/* ---- what people read ---- */

static void add_moment(struct tw_text *line, const char *name, double seconds) {
    if (isfinite(seconds))
        tw_text_add(line, "%s %.4g s", name, seconds);
    else
        tw_text_add(line, "no %s", name);
}

static void add_law(struct tw_text *line, const char *what, const struct tw_variant *variant,
                    const struct tw_delay *law) {
    struct tw_text title = {0};
    tw_args_variant_title(&title, variant);
    if (!title.failed)
        tw_text_add(line, "%s %.*s (", what, (int)title.size, title.at);
    tw_text_fini(&title);
    add_moment(line, "mean", tw_delay_mean(law));
    tw_text_add(line, ", ");
    add_moment(line, "standard deviation", sqrt(tw_delay_variance(law)));
    tw_text_add(line, ")");
}

static void describe(struct tw_progress *progress, const struct tw_simulation *of,
                     const struct sim_options *own) {
    const struct tw_job *job = of->checked->job;
    struct tw_text line = {0};
    tw_text_add(&line, "simulating %s: %d server%s, %d worker%s, %s, seed %llu; ", job->name,
                job->servers, job->servers == 1 ? "" : "s", job->workers,
                job->workers == 1 ? "" : "s", job->mode, (unsigned long long)job->seed);
    add_law(&line, "steps take", &own->delay.variant, &of->delay);
    if (own->service.variant.name)
        add_law(&line, "; a push keeps a server busy for", &own->service.variant, &of->service);
    if (own->replicas)
        tw_text_add(&line, "; %d schedules", own->replicas);
    if (of->out)
        tw_text_add(&line, "; into %s", of->out);
    tw_progress_text(progress, TW_TONE_PLAIN, &line);
}

static void tell_speed(struct tw_progress *progress, const struct tw_summary *summary,
                       const struct tw_simulated *simulated) {
    struct tw_text line = {0};
    char updates[TW_WORDS_MAX], events[TW_WORDS_MAX], time[TW_WORDS_MAX];
    double seconds = simulated->wall_seconds > 0 ? simulated->wall_seconds : 1e-9;
    tw_text_add(&line,
                "these are virtual seconds; simulated in %s: %s updates and %s events a "
                "second",
                tw_seconds_words(simulated->wall_seconds, time),
                tw_count_words((uint64_t)((double)summary->result.updates / seconds), updates),
                tw_count_words((uint64_t)((double)simulated->events / seconds), events));
    tw_progress_text(progress, TW_TONE_PLAIN, &line);
}

/* ---- one run ---- */

static enum tw_status make_folder(const struct sim_options *own,
                                  const struct tw_checked_job *checked, char *folder,
                                  struct tw_error *error) {
    char job_file[TW_PATH_MAX];
    if (own->dry)
        return TW_OK;
    enum tw_status status =
        tw_run_folder_make(checked->job->name, own->out, time(NULL), folder, error);
    return status ? status
                  : tw_run_folder_write_job(folder, checked, "simulated: times are virtual",
                                            job_file, error);
}

static int simulate_once(const struct tw_args *args, struct tw_simulation *simulation) {
    const struct sim_options *own = args->own;
    const struct tw_job *job = simulation->checked->job;
    struct tw_summary summary = {
        .mode = job->mode, .servers = job->servers, .workers = job->workers};
    struct tw_simulated simulated;
    struct tw_progress progress;
    struct tw_error error;
    char folder[TW_PATH_MAX];
    int terminal = STDERR_FILENO;
    if (make_folder(own, simulation->checked, folder, &error))
        return tw_command_fail(args, &summary, &error);
    summary.run = simulation->out = own->dry ? NULL : folder;
    tw_progress_init(&progress, tw_progress_look_of(terminal, false), tw_progress_write_fd,
                     &terminal);
    describe(&progress, simulation, own);
    simulation->progress = &progress;
    enum tw_status status = tw_simulation_run(simulation, &summary, &simulated);
    tw_progress_clear(&progress);
    if (!summary.counted) {
        tw_error_set(&error, status, "%s", summary.result.error);
        return tw_command_fail(args, &summary, &error);
    }
    tw_progress_summary(&progress, &summary);
    tell_speed(&progress, &summary, &simulated);
    if (args->json)
        tw_print_summary_json(&summary);
    return tw_exit_after(summary.result.status);
}

/* ---- replicas ---- */

static void means_json(struct tw_text *text, int replicas, const struct tw_replica_mean *means) {
    struct tw_json json;
    tw_json_init(&json, text);
    tw_json_begin_object(&json, NULL);
    tw_json_string(&json, "status", "done");
    tw_json_integer(&json, "replicas", replicas);
    for (int i = 0; i < TW_REPLICA_COUNT; i++) {
        tw_json_begin_object(&json, tw_replica_names[i]);
        tw_json_real(&json, "mean", means[i].mean);
        tw_json_real(&json, "standard_error", means[i].error);
        tw_json_end_object(&json);
    }
    tw_json_end_object(&json);
    tw_text_add_bytes(text, "\n", 1);
}

static void means_text(struct tw_text *text, const struct tw_replica_mean *means) {
    tw_text_add(text, "%-20s %14s %14s\n", "", "mean", "standard error");
    for (int i = 0; i < TW_REPLICA_COUNT; i++)
        if (means[i].count)
            tw_text_add(text, "%-20s %14.6g %14.2g\n", tw_replica_names[i], means[i].mean,
                        means[i].error);
}

static int simulate_all(const struct tw_args *args, struct tw_simulation *simulation) {
    const struct sim_options *own = args->own;
    struct tw_replica_mean means[TW_REPLICA_COUNT];
    struct tw_progress progress;
    struct tw_error error;
    struct tw_text text = {0};
    int terminal = STDERR_FILENO;
    simulation->out = own->dry ? NULL : own->out;
    tw_progress_init(&progress, tw_progress_look_of(terminal, false), tw_progress_write_fd,
                     &terminal);
    describe(&progress, simulation, own);
    if (tw_replicas_run(simulation, own->replicas, means, &error))
        return tw_command_refuse(args, &error);
    if (args->json)
        means_json(&text, own->replicas, means);
    else
        means_text(&text, means);
    bool good =
        !text.failed && fwrite(text.at, 1, text.size, stdout) == text.size && fflush(stdout) == 0;
    tw_text_fini(&text);
    return good ? TW_EXIT_DONE : TW_EXIT_FAILED;
}

static int simulate_checked(struct tw_args *args, char **again, struct tw_checked_job *checked) {
    struct sim_options *own = args->own;
    struct tw_job *job = checked->job;
    struct tw_error error;
    struct tw_simulation simulation = {
        .checked = checked,
        .latency = own->latency,
        .bandwidth = own->bandwidth,
        .parameters = own->parameters,
        .mishaps = own->mishap,
        .mishap_count = own->mishaps,
        .seed = job->seed,
        .stop = &stop,
    };
    if (job->model.own) {
        tw_job_error(&error, job->model.where, "model.tensors",
                     "the gradients of this job come from a program of yours, which virtual "
                     "workers cannot ask; give layers or an objective");
        return tw_command_fail(args, NULL, &error);
    }
    if (own->seeded) {
        job->seeds.staleness = own->seed;
        job->own_seed.staleness = true;
    }
    if (tw_world_check_mishaps(own->mishap, own->mishaps, (uint32_t)job->workers,
                               (uint32_t)job->servers, &error) ||
        find_laws(own, &simulation, &error) || tw_blas_core_pin(job->blas_core, again, &error) ||
        tw_gemm_start(job->blas_core, &error))
        return tw_command_fail(args, NULL, &error);
    watch_signals();
    return own->replicas ? simulate_all(args, &simulation) : simulate_once(args, &simulation);
}

/* ---- a run explained ---- */

/* Unless --delay says another. */
static enum tw_status take_law(struct tw_args *args, struct sim_options *own,
                               const struct tw_explained *explained, struct tw_error *error) {
    if (own->delay.variant.name)
        return TW_OK;
    if (!explained->has_fit)
        return tw_error_set(error, TW_DATA, "--from %s: %s; say --delay", own->from,
                            explained->no_fit.text);
    tw_explained_law(explained, &own->law);
    if (own->law.failed || tw_args_variant_split(args, &own->delay, "--delay", own->law.at))
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    return TW_OK;
}

static int tell_explained(const struct tw_args *args, const struct tw_explained *explained) {
    const struct sim_options *own = args->own;
    struct tw_text text = {0};
    tw_explained_text(explained, own->from, &text);
    if (!text.failed)
        fwrite(text.at, 1, text.size, args->json || own->asks ? stderr : stdout);
    tw_text_clear(&text);
    if (args->json && (!own->asks || explained->differs)) {
        tw_explained_json(explained, own->from, &text);
        if (!text.failed)
            fwrite(text.at, 1, text.size, stdout);
    }
    bool good = !text.failed && fflush(stdout) == 0;
    tw_text_fini(&text);
    return good && !explained->differs ? TW_EXIT_DONE : TW_EXIT_FAILED;
}

/* What there is to say of the run itself; the law, if a simulation follows. */
static int explain(struct tw_args *args) {
    struct sim_options *own = args->own;
    struct tw_explained explained = {.inputs = 0};
    struct tw_checked_job recorded = {0};
    struct tw_error error;
    int code;
    if (tw_run_check(own->from, &error) ||
        tw_checked_job_load(&recorded, own->job, NULL, 0, TW_CHECK_TRAIN, &error) ||
        tw_explain(own->from, &recorded, &explained, &error))
        code = tw_command_refuse(args, &error);
    else
        code = tell_explained(args, &explained);
    if (code == TW_EXIT_DONE && own->asks && take_law(args, own, &explained, &error))
        code = tw_command_fail(args, NULL, &error);
    tw_explained_fini(&explained);
    tw_checked_job_fini(&recorded);
    return code;
}

static int load_and_simulate(struct tw_args *args, char **again) {
    struct tw_checked_job checked;
    struct tw_error error;
    if (tw_checked_job_load(&checked, args->job, args->settings, args->count, TW_CHECK_ALL, &error))
        return tw_command_fail(args, NULL, &error);
    int code = simulate_checked(args, again, &checked);
    tw_checked_job_fini(&checked);
    return code;
}

int tw_cmd_sim(int argc, char **argv) {
    struct tw_args args;
    struct sim_options own = {.bandwidth = (double)INFINITY};
    struct tw_error error;
    char **again = tw_blas_core_arguments(argc, argv);
    int code;
    tw_args_variant_init(&own.delay);
    tw_args_variant_init(&own.service);
    if (tw_args_parse(&args, "sim", &argp, &own, argc, argv)) {
        code = tw_command_fail(&args, NULL, &args.error);
    } else if (args.help) {
        code = TW_EXIT_DONE;
    } else if (!again) {
        tw_error_set(&error, TW_NO_MEMORY, "out of memory");
        code = tw_command_fail(&args, NULL, &error);
    } else {
        own.asks = own.asks || args.count || !own.from;
        code = own.from ? explain(&args) : TW_EXIT_DONE;
        if (code == TW_EXIT_DONE && own.asks)
            code = load_and_simulate(&args, again);
    }
    free(again);
    tw_args_variant_fini(&own.delay);
    tw_args_variant_fini(&own.service);
    tw_delay_times_fini(&own.delay_times);
    tw_delay_times_fini(&own.service_times);
    tw_text_fini(&own.law);
    tw_args_fini(&args);
    return code;
}
