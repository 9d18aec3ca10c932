/* talweg replay: a recorded run once more, in one process, from its order log. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/blas_core.h"
#include "cli/command.h"
#include "cli/replayer.h"
#include "cli/run_folder.h"
#include "common/base/digest.h"
#include "worker/nn/gemm.h"

struct replay_options {
    const char *out;
    bool inexact, fresh;
};

enum { KEY_OUT = 0x200, KEY_INEXACT };

static const struct argp_option options[] = {
    {"out", KEY_OUT, "DIR", 0,
     "Leave model, metrics and job there; made if missing, must be empty. Default: nothing is"
     " written",
     1},
    {"inexact", KEY_INEXACT, NULL, 0, "Go on with other numerics or other training data", 1},
    TW_ARGS_JSON,
    {0},
};

static const char doc[] =
    "Makes a recorded run again, in one process, from its job.yaml, its order.log and the data:"
    " the same gradients on the same weights, applied in the same order, to the same bits."
    " Losses are compared with the recorded ones on the way, so are the hashes of the weights in"
    " trace.log, and the model, if the run has left"
    " one, at the end; what differs first is named. RUN itself is never changed."
    "\v"
    "With --set the run is made again with one thing changed, the rest as recorded:\n"
    "  --set optimizer.lr=0.01         another update rule, or its options\n"
    "  --set schedule=constant         another schedule of the learning rate\n"
    "  --set seed=2                    other first weights, order of samples,\n"
    "                                  noise, dropout\n"
    "  --set seeds.sampling=2          another order of samples, and nothing else;\n"
    "                                  likewise seeds.init, .noise, .dropout, .augment\n"
    "  --set consistency.replay=fresh  the same data in the same order without\n"
    "                                  staleness: gradients of the newest weights\n"
    "  --set updates=100               only so many updates\n"
    "Model, batch and data may change too. Workers, slots, mode, epochs and stop may\n"
    "not: they are in the log.\n"
    "\n"
    "Examples:\n"
    "  talweg replay runs/job-20261122T005534Z\n"
    "  talweg replay runs/first --set optimizer.lr=0.01 --out slower --json\n"
    "\n"
    "A log that is cut or corrupt is replayed up to there.\n"
    "\n"
    "Exit codes:\n"
    "  0    replayed; what could be compared is as recorded\n"
    "  1    something differs, also the numerics; or the log is cut or corrupt\n"
    "  2    wrong usage, no run directory, or missing or other data\n"
    "  130  interrupted by Ctrl-C or SIGTERM\n";

static error_t parse(int key, char *text, struct argp_state *state) {
    struct tw_args *args = state->input;
    struct replay_options *own = args->own;
    switch (key) {
    case KEY_OUT:
        own->out = text;
        return *text ? 0 : tw_args_wrong(args, "--out: the name of a directory is missing");
    case KEY_INEXACT:
        own->inexact = true;
        return 0;
    default:
        return tw_args_usual(key, state);
    }
}

static const struct argp_child children[] = {{&tw_args_run_set, 0, NULL, 0}, {0}};
static const struct argp argp = {options, parse, "RUN", doc, children, NULL, NULL};

static volatile sig_atomic_t stop;

static void on_signal(int number) {
    stop = number;
}

/* The first SIGINT or SIGTERM ends the replay in order, a second one the process. */
static void watch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- what --set may change ---- */

/* Whether `key` is `section`, or lies in it. */
static bool is_in(const char *key, const char *section) {
    size_t length = strlen(section);
    return strncmp(key, section, length) == 0 && (key[length] == '\0' || key[length] == '.');
}

/* consistency.replay is replay's own; what the log has settled is refused. */
static enum tw_status take_settings(struct tw_args *args, struct replay_options *own,
                                    struct tw_error *error) {
    static const char *const settled[] = {"cluster", "consistency",   "epochs",
                                          "slots",   "on_divergence", "stop"};
    int kept = 0;
    for (int i = 0; i < args->count; i++) {
        const struct tw_job_setting *setting = &args->settings[i];
        bool fresh = strcmp(setting->value, "fresh") == 0;
        if (strcmp(setting->key, "consistency.replay") == 0) {
            if (!fresh && strcmp(setting->value, "recorded") != 0)
                return tw_error_set(error, TW_USAGE, "%s: %s is not known; fresh or recorded",
                                    setting->flag, setting->value);
            own->fresh = fresh;
            continue;
        }
        for (size_t k = 0; k < sizeof settled / sizeof settled[0]; k++)
            if (is_in(setting->key, settled[k]))
                return tw_error_set(error, TW_USAGE,
                                    "%s: a replay cannot change this: the recorded order was made "
                                    "with it",
                                    setting->flag);
        args->settings[kept++] = *setting;
    }
    args->count = kept;
    return TW_OK;
}

static bool same_variant(const struct tw_variant *a, const struct tw_variant *b) {
    if (!a->name || !b->name)
        return a->name == b->name;
    if (strcmp(a->name, b->name) != 0 || a->count != b->count)
        return false;
    for (int i = 0; i < a->count; i++)
        if (strcmp(a->options[i].key, b->options[i].key) != 0 ||
            strcmp(a->options[i].text, b->options[i].text) != 0)
            return false;
    return true;
}

static bool same_group(const struct tw_job_group *a, const struct tw_job_group *b) {
    return strcmp(a->pattern, b->pattern) == 0 && a->rate == b->rate && a->decay == b->decay;
}

static bool same_shaping(const struct tw_job *a, const struct tw_job *b) {
    bool same = a->gradient_sum == b->gradient_sum && a->clip_norm == b->clip_norm &&
                a->local.steps == b->local.steps && a->clip_value == b->clip_value &&
                a->l2 == b->l2 && a->decoupled == b->decoupled &&
                a->group_count == b->group_count && a->correction_count == b->correction_count;
    for (int i = 0; same && i < a->group_count; i++)
        same = same_group(&a->groups[i], &b->groups[i]);
    for (int i = 0; same && i < a->correction_count; i++)
        same = same_variant(&a->corrections[i], &b->corrections[i]);
    return same;
}

/* Whether the scalars of the log are those of the wanted job, too. */
static bool same_rule(const struct tw_job *a, const struct tw_job *b) {
    return same_shaping(a, b) && same_variant(&a->optimizer, &b->optimizer) &&
           same_variant(&a->schedule, &b->schedule) &&
           same_variant(&a->schedule_momentum, &b->schedule_momentum);
}

/* Whether the two jobs, both resolved, train alike; but for where they end. */
static bool train_alike(const struct tw_job *recorded, const struct tw_job *job) {
    struct tw_job until = *job; /* borrows all of it */
    uint8_t digest[2][TW_SHA256_BYTES];
    until.updates = recorded->updates;
    tw_job_digest(recorded, 0, digest[0]);
    tw_job_digest(&until, 0, digest[1]);
    return memcmp(digest[0], digest[1], TW_SHA256_BYTES) == 0;
}

/* The job as it was recorded, and as it is to be replayed. */
struct jobs {
    struct tw_checked_job recorded, wanted;
};

static const char *option_of(const struct tw_variant *variant, const char *key) {
    for (int i = 0; i < variant->count; i++)
        if (strcmp(variant->options[i].key, key) == 0)
            return variant->options[i].text;
    return "";
}

/* Verdicts of the log are followed, so what they were made with is settled, too; how far each
 * reduction goes may change, and so may everything else. */
static enum tw_status check_plateau(const struct jobs *jobs, struct tw_error *error) {
    static const char *const settled[] = {"patience", "threshold", "cooldown", "watch"};
    const struct tw_variant *was = &jobs->recorded.job->schedule;
    const struct tw_variant *is = &jobs->wanted.job->schedule;
    static const char name[] = "reduce_on_plateau";
    if (!is->name || strcmp(is->name, name) != 0)
        return TW_OK;
    if (!was->name || strcmp(was->name, name) != 0)
        return tw_error_set(
            error, TW_USAGE,
            "schedule: the recorded run had no %s, so its log has no verdicts that a "
            "replay could follow; run it anew",
            name);
    for (size_t i = 0; i < sizeof settled / sizeof *settled; i++)
        if (strcmp(option_of(was, settled[i]), option_of(is, settled[i])) != 0)
            return tw_error_set(error, TW_USAGE,
                                "schedule.%s: a replay follows the recorded verdicts, which were "
                                "made with it; factor and min_lr may change",
                                settled[i]);
    return TW_OK;
}

/* What was too stale was dropped when it came: that is settled, too. */
static enum tw_status check_limit(const struct jobs *jobs, struct tw_error *error) {
    if (tw_corrections_limit(&jobs->recorded.shaping.corrections) ==
        tw_corrections_limit(&jobs->wanted.shaping.corrections))
        return TW_OK;
    return tw_error_set(error, TW_USAGE,
                        "corrections: a replay follows the recorded drops, so staleness_limit must "
                        "stay as it was; all other corrections may change");
}

/* ---- the run's own model ---- */

/* SHA-256 of a file, in hexadecimal; false when it cannot be read. */
static bool hash_file(const char *path, char out[TW_SHA256_HEX]) {
    static unsigned char bytes[1 << 16];
    uint8_t digest[TW_SHA256_BYTES];
    struct tw_sha256 sha;
    FILE *file = fopen(path, "re");
    size_t count;
    if (!file)
        return false;
    tw_sha256_init(&sha);
    while ((count = fread(bytes, 1, sizeof bytes, file)) > 0)
        tw_sha256_update(&sha, bytes, count);
    bool whole = !ferror(file);
    fclose(file);
    tw_sha256_final(&sha, digest);
    tw_hex(digest, sizeof digest, out);
    return whole;
}

/* A whole replay of an unchanged run ends with the run's own bits. A run without a model
 * (its server was killed) has nothing to compare. */
static void compare_model(const char *run, const char *name, const char *ours, bool inexact,
                          struct tw_progress *progress, struct tw_result *result) {
    char path[TW_PATH_MAX], theirs[TW_SHA256_HEX];
    struct tw_text line = {0};
    if (tw_path_join(path, sizeof path, run, name) || !hash_file(path, theirs))
        return;
    if (strcmp(theirs, ours) == 0) {
        tw_text_add(&line, "the same bits as %s", path);
        tw_progress_text(progress, TW_TONE_GOOD, &line);
    } else if (inexact) {
        tw_text_add(&line, "other bits than %s", path);
        tw_progress_text(progress, TW_TONE_CARE, &line);
    } else {
        result->status = TW_NUMERICS;
        snprintf(
            result->error, sizeof result->error,
            "all losses are as recorded, but the model is not %.400s (SHA-256 %s): that file is "
            "not of the end of this log",
            path, theirs);
    }
}

static void compare_models(const char *run, bool inexact, struct tw_progress *progress,
                           struct tw_result *result) {
    compare_model(run, "model.safetensors", result->model_sha256, inexact, progress, result);
    if (*result->model_ema_sha256)
        compare_model(run, "model-ema.safetensors", result->model_ema_sha256, inexact, progress,
                      result);
}

/* ---- replaying ---- */

static enum tw_status load_jobs(struct jobs *jobs, const struct tw_args *args,
                                struct tw_error *error) {
    char path[TW_PATH_MAX];
    if (tw_path_join(path, sizeof path, args->job, "job.yaml"))
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", args->job);
    enum tw_status status =
        tw_checked_job_load(&jobs->recorded, path, NULL, 0, TW_CHECK_NO_DATA, error);
    if (status == TW_OK)
        status = tw_checked_job_load(&jobs->wanted, path, args->settings, args->count,
                                     TW_CHECK_NO_DATA, error);
    if (status == TW_OK && jobs->recorded.job->model.own)
        status = tw_error_set(error, TW_JOB,
                              "%s: the gradients of this run came from a program of yours, which "
                              "cannot be asked for them again",
                              path);
    if (status == TW_OK && jobs->recorded.dial.on_arrival)
        status =
            tw_error_set(error, TW_JOB,
                         "%s: in mode hogwild chunks are applied as they come, and order.log "
                         "has how stale each gradient was, not the order in which those of "
                         "several workers met at each chunk; so this run cannot be made again. "
                         "talweg log and talweg timeline work on it; async replays to the bit",
                         path);
    return status;
}

static enum tw_status make_folder(const struct tw_args *args, const struct jobs *jobs, char *folder,
                                  struct tw_error *error) {
    const struct replay_options *own = args->own;
    char job_file[TW_PATH_MAX], note[TW_PATH_MAX + 64];
    if (!own->out)
        return TW_OK;
    snprintf(note, sizeof note, "replayed from %s%s", args->job,
             own->fresh ? " with consistency.replay: fresh" : "");
    enum tw_status status =
        tw_run_folder_make(jobs->wanted.job->name, own->out, time(NULL), folder, error);
    return status ? status : tw_run_folder_write_job(folder, &jobs->wanted, note, job_file, error);
}

static void describe(struct tw_progress *progress, const struct tw_args *args, bool changed) {
    const struct replay_options *own = args->own;
    struct tw_text line = {0};
    tw_text_add(&line, "replaying %s%s%s", args->job, changed ? " with changes" : "",
                own->fresh ? ", without staleness" : "");
    for (int i = 0; i < args->count; i++)
        tw_text_add(&line, ", %s=%s", args->settings[i].key, args->settings[i].value);
    tw_progress_text(progress, TW_TONE_PLAIN, &line);
}

/* Both jobs are good and the log is open. */
static int replay(const struct tw_args *args, const struct jobs *jobs, struct tw_log_file *log,
                  const struct tw_log_history *history, struct tw_summary *summary) {
    const struct replay_options *own = args->own;
    const struct tw_job *recorded = jobs->recorded.job, *wanted = jobs->wanted.job;
    int terminal = STDERR_FILENO;
    struct tw_progress progress;
    bool changed = own->fresh || !train_alike(recorded, wanted);
    struct tw_replayer replayer = {
        .checked = &jobs->wanted,
        .log = log,
        .history = history,
        .run = args->job,
        .out = summary->run,
        .own_scalars = !same_rule(recorded, wanted) || (own->fresh && wanted->correction_count),
        .fresh = own->fresh,
        .changed = changed,
        .inexact = own->inexact,
        .progress = &progress,
        .stop = &stop,
    };
    tw_progress_init(&progress, tw_progress_look_of(terminal, false), tw_progress_write_fd,
                     &terminal);
    describe(&progress, args, changed);
    enum tw_status status = tw_replayer_run(&replayer, summary);
    tw_progress_clear(&progress);
    if (!summary->counted) {
        struct tw_error error;
        tw_error_set(&error, status, "%s", summary->result.error);
        return tw_command_fail(args, summary, &error);
    }
    if (status == TW_OK && !changed && wanted->updates == recorded->updates)
        compare_models(args->job, own->inexact, &progress, &summary->result);
    tw_progress_summary(&progress, summary);
    if (args->json)
        tw_print_summary_json(summary);
    return tw_exit_after(summary->result.status);
}

static int replay_run(struct tw_args *args, char **again) {
    struct replay_options *own = args->own;
    struct tw_error error = {0};
    struct jobs jobs = {.recorded = {0}};
    struct tw_log_file log = {.file.fd = -1};
    struct tw_log_history history = {.position = 0};
    struct tw_error end; /* the replay will meet it, too */
    char folder[TW_PATH_MAX] = "";
    struct tw_summary summary = {0};
    int code;
    if (take_settings(args, own, &error) || tw_log_file_open(&log, args->job, &error) ||
        tw_log_history_read(&history, args->job, &end, &error) || load_jobs(&jobs, args, &error) ||
        check_plateau(&jobs, &error) || check_limit(&jobs, &error) ||
        tw_checked_job_initial(&jobs.wanted, &error) ||
        tw_blas_core_pin(jobs.wanted.job->blas_core, again, &error) ||
        tw_gemm_start(jobs.wanted.job->blas_core, &error) ||
        make_folder(args, &jobs, folder, &error)) {
        code = tw_command_fail(args, NULL, &error);
    } else {
        summary.mode = jobs.wanted.job->mode;
        summary.servers = jobs.wanted.job->servers;
        summary.workers = jobs.wanted.job->workers;
        summary.run = own->out ? folder : NULL;
        watch_signals();
        code = replay(args, &jobs, &log, &history, &summary);
    }
    tw_log_file_close(&log);
    tw_log_history_fini(&history);
    tw_checked_job_fini(&jobs.recorded);
    tw_checked_job_fini(&jobs.wanted);
    return code;
}

int tw_cmd_replay(int argc, char **argv) {
    struct tw_args args;
    struct replay_options own = {0};
    int code;
    char **again = tw_blas_core_arguments(argc, argv);
    if (tw_args_parse(&args, "replay", &argp, &own, argc, argv)) {
        code = tw_command_fail(&args, NULL, &args.error);
    } else if (args.help) {
        code = TW_EXIT_DONE;
    } else if (!again) {
        struct tw_error error;
        tw_error_set(&error, TW_NO_MEMORY, "out of memory");
        code = tw_command_fail(&args, NULL, &error);
    } else {
        code = replay_run(&args, again);
    }
    free(again);
    tw_args_fini(&args);
    return code;
}
