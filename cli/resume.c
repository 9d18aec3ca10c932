#include "cli/resume.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

static bool stands(void *context, uint64_t position) {
    return tw_log_history_stands(context, position);
}

enum tw_status tw_resume_find(struct tw_server_resume *resume, struct tw_log_history *history,
                              const char *run, struct tw_error *error) {
    struct tw_error end = {0};
    enum tw_status status = tw_log_history_read(history, run, &end, error);
    if (status != TW_OK)
        return status;
    if (end.status != TW_CLOSED && !history->torn)
        return tw_error_set(error, TW_DATA,
                            "%s. A run is not begun again from a log that is corrupt", end.text);
    *resume = (struct tw_server_resume){.position = history->position,
                                        .bytes = history->bytes,
                                        .generation = history->generation + 1,
                                        .stands = stands,
                                        .context = history};
    return TW_OK;
}

/* Examples that are applied, of the updates that stand; and whether the job's `stop` ended it. */
static enum tw_status count_samples(const struct tw_log_history *history, const char *run,
                                    uint64_t *samples, bool *stopped, struct tw_error *error) {
    struct tw_log_file file;
    struct tw_record record;
    enum tw_status status = tw_log_file_open(&file, run, error);
    if (status != TW_OK)
        return status;
    *samples = 0;
    while (tw_log_history_next(history, &file, &record, error) == TW_OK) {
        if (record.kind == TW_RECORD_COMMIT)
            *samples += record.examples;
        *stopped |= record.kind == TW_RECORD_VERDICT && record.verdict.stop != TW_STOP_NOT;
    }
    tw_log_file_close(&file);
    return TW_OK;
}

static bool has_model(const char *run) {
    char path[TW_PATH_MAX];
    return tw_path_join(path, sizeof path, run, "model.safetensors") == TW_OK &&
           access(path, F_OK) == 0;
}

enum tw_status tw_resume_check(const char *run, const struct tw_checked_job *checked,
                               struct tw_error *error) {
    struct tw_log_history history;
    struct tw_server_resume resume = {.position = 0};
    const struct tw_job *job = checked->job;
    uint64_t samples = 0;
    bool stopped = false;
    double wanted = ceil(job->epochs * (double)checked->train_samples);
    enum tw_status status = tw_resume_find(&resume, &history, run, error);
    if (status == TW_OK)
        status = count_samples(&history, run, &samples, &stopped, error);
    uint64_t version = history.version;
    bool is_done = stopped || (job->updates && version >= (uint64_t)job->updates) ||
                   (wanted >= 1 && (double)samples >= wanted);
    tw_log_history_fini(&history);
    if (status == TW_OK && is_done && has_model(run))
        status = tw_error_set(error, TW_USAGE,
                              "--resume %s: this run is done, after update %" PRIu64
                              ", and its model is saved",
                              run, version);
    return status;
}
