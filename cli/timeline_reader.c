#include "cli/timeline_reader.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/log_history.h"
#include "cli/trace_file.h"
#include "common/job/job.h"

/* ---- passes ---- */

/* What a pass over a log does with what it reads. */
typedef enum tw_status on_record(void *context, const struct tw_record *record,
                                 struct tw_error *error);
typedef void on_entry(void *context, const struct tw_trace_entry *entry);

/* Whether the pass may go on without what follows: then that is said, once. */
static enum tw_status forgive(struct tw_timeline_run *out, enum tw_status status, const char *path,
                              struct tw_error *error) {
    if (status == TW_CLOSED)
        return TW_OK;
    if (status != TW_DATA)
        return status;
    if (!out->cut.at || !strstr(out->cut.at, path))
        tw_text_add(&out->cut, "%s%s", out->cut.size ? "; " : "", error->text);
    *error = (struct tw_error){0};
    return TW_OK;
}

static enum tw_status pass_records(struct tw_timeline_run *out, const char *run, on_record *on,
                                   void *context, struct tw_error *error) {
    struct tw_log_file log;
    struct tw_log_history history;
    struct tw_record record;
    struct tw_error end;
    enum tw_status status = tw_log_file_open(&log, run, error);
    if (status != TW_OK)
        return status;
    status = tw_log_history_read(&history, run, &end, error);
    while (status == TW_OK) {
        status = tw_log_history_next(&history, &log, &record, error);
        if (status != TW_OK)
            break;
        status = on(context, &record, error);
        if (status != TW_OK)
            tw_error_wrap(error, "%s", log.file.path);
    }
    status = forgive(out, status, log.file.path, error);
    tw_log_history_fini(&history);
    tw_log_file_close(&log);
    return status;
}

static enum tw_status pass_entries(struct tw_timeline_run *out, const char *run, on_entry *on,
                                   void *context, struct tw_error *error) {
    struct tw_trace_file trace;
    struct tw_trace_entry entry;
    enum tw_status status = tw_trace_file_open(&trace, run, error);
    if (status == TW_CLOSED)
        return tw_error_set(error, TW_DATA,
                            "%s: has no trace.log, so nobody knows when what happened; run the "
                            "job again with --set trace.on=true",
                            run);
    if (status != TW_OK)
        return status;
    while ((status = tw_trace_file_next(&trace, &entry, error)) == TW_OK)
        on(context, &entry);
    status = forgive(out, status, trace.file.path, error);
    tw_trace_file_close(&trace);
    return status;
}

/* ---- which updates ---- */

struct survey {
    uint32_t workers, slots;
    uint64_t measured; /* the last update with a time */
    uint64_t updates, gradients;
    uint64_t calm, calm_end; /* around the middle: after and before which an evaluation is */
};

static void survey_entry(void *context, const struct tw_trace_entry *entry) {
    struct survey *survey = context;
    if (entry->kind == TW_TRACE_HEADER) {
        survey->workers = entry->header.workers;
        survey->slots = entry->header.slots;
    } else if (entry->kind == TW_TRACE_UPDATE && entry->update.version > survey->measured) {
        survey->measured = entry->update.version;
    }
}

static enum tw_status survey_record(void *context, const struct tw_record *record,
                                    struct tw_error *error) {
    struct survey *survey = context;
    (void)error;
    if (record->kind == TW_RECORD_COMMIT) {
        survey->updates = record->version;
        survey->gradients += record->count;
    }
    if (record->kind == TW_RECORD_RELEASE && record->slot == TW_SLOT_EVALUATOR) {
        if (record->version <= survey->measured / 2)
            survey->calm = record->version;
        else if (survey->calm_end == 0)
            survey->calm_end = record->version;
    }
    return TW_OK;
}

static enum tw_status check_survey(const struct tw_timeline_run *out, const struct survey *survey,
                                   const char *run, struct tw_error *error) {
    if (survey->workers == 0 && out->cut.size > 0)
        return tw_error_set(error, TW_DATA, "%s", out->cut.at);
    if (survey->updates == 0)
        return tw_error_set(error, TW_DATA, "%s: the run made no update: nothing is to be seen",
                            run);
    if (survey->workers == 0 || survey->workers > TW_WORKERS_MAX || survey->slots > TW_SLOTS_MAX ||
        survey->slots < survey->workers)
        return tw_error_set(error, TW_DATA,
                            "%s: trace.log is for %u workers and %u slots, which cannot be", run,
                            survey->workers, survey->slots);
    if (survey->measured == 0)
        return tw_error_set(error, TW_DATA, "%s: trace.log tells the time of no update", run);
    return TW_OK;
}

/* Times of updates: when `of` was committed, or which lie between two times. */
struct clock {
    uint64_t of, time;
    uint64_t begin, end, first, last;
};

static void read_clock(void *context, const struct tw_trace_entry *entry) {
    struct clock *clock = context;
    const struct tw_trace_update *update = &entry->update;
    if (entry->kind != TW_TRACE_UPDATE)
        return;
    if (update->version <= clock->of) /* of those that were measured, the nearest */
        clock->time = update->committed;
    if (update->committed < clock->begin || update->committed > clock->end)
        return;
    if (clock->first == 0 || update->version < clock->first)
        clock->first = update->version;
    if (update->version > clock->last)
        clock->last = update->version;
}

/* The updates in `seconds` from `from` on, or up to `to`, or around `middle`. */
static enum tw_status choose_seconds(struct tw_timeline_run *out, const char *run,
                                     struct tw_timeline_wish *wish, uint64_t middle,
                                     struct tw_error *error) {
    uint64_t length = (uint64_t)fmin(wish->seconds * 1e9, 9e18);
    struct clock clock = {.of = wish->from ? wish->from
                                : wish->to ? wish->to
                                           : middle,
                          .begin = UINT64_MAX};
    enum tw_status status = pass_entries(out, run, read_clock, &clock, error);
    if (status != TW_OK)
        return status;
    uint64_t before = wish->from ? 0 : wish->to ? length : length / 2;
    clock.begin = clock.time > before ? clock.time - before : 0;
    clock.end = clock.begin + length;
    status = pass_entries(out, run, read_clock, &clock, error);
    if (status == TW_OK && clock.first == 0)
        status = tw_error_set(error, TW_USAGE, "--seconds: no update was made in this time");
    wish->from = wish->from ? wish->from : clock.first;
    wish->to = wish->to ? wish->to : clock.last;
    return status;
}

/* So many updates that each worker brings `per_worker` gradients in the mean. */
static uint64_t usual_length(const struct survey *survey, const struct tw_timeline_wish *wish) {
    double gradients = fmin((double)wish->per_worker * survey->workers, (double)wish->most);
    double length = gradients * (double)survey->updates / (double)survey->gradients;
    return length < 1 ? 1 : length >= (double)survey->updates ? survey->updates : (uint64_t)length;
}

static enum tw_status choose(struct tw_timeline_run *out, const char *run,
                             const struct survey *survey, struct tw_timeline_wish *wish,
                             struct tw_error *error) {
    uint64_t last = survey->measured < survey->updates ? survey->measured : survey->updates;
    uint64_t length = usual_length(survey, wish);
    uint64_t calm_end = survey->calm_end && survey->calm_end < last ? survey->calm_end : last;
    uint64_t middle = survey->calm + (calm_end - survey->calm) / 2;
    uint64_t named = wish->from > wish->to ? wish->from : wish->to;
    out->updates = last;
    if (named > last)
        return tw_error_set(error, TW_USAGE, "there is no update %" PRIu64 ": the last is %" PRIu64,
                            named, last);
    if (wish->seconds > 0)
        return choose_seconds(out, run, wish, middle ? middle : 1, error);
    if (!wish->from && !wish->to)
        wish->from = middle > length / 2 ? middle - length / 2 : 1;
    if (!wish->from)
        wish->from = wish->to >= length ? wish->to - length + 1 : 1;
    if (!wish->to)
        wish->to = last - wish->from < length ? last : wish->from + length - 1;
    return TW_OK;
}

/* ---- all of it ---- */

static enum tw_status take_record(void *context, const struct tw_record *record,
                                  struct tw_error *error) {
    return tw_timeline_record(context, record, error);
}

static void take_entry(void *context, const struct tw_trace_entry *entry) {
    tw_timeline_entry(context, entry);
}

static enum tw_status read_window(struct tw_timeline_run *out, const char *run,
                                  const struct survey *survey, const struct tw_timeline_wish *wish,
                                  struct tw_error *error) {
    enum tw_status status =
        tw_timeline_new(&out->timeline, survey->workers, survey->slots / survey->workers,
                        wish->from, wish->to, error);
    if (status == TW_OK)
        status = pass_records(out, run, take_record, out->timeline, error);
    if (status == TW_OK)
        status = tw_timeline_seal(out->timeline, error);
    if (status == TW_OK)
        status = pass_entries(out, run, take_entry, out->timeline, error);
    if (status == TW_OK)
        status = tw_timeline_finish(out->timeline, error);
    if (status == TW_DATA)
        tw_error_wrap(error, "%s", run);
    return status;
}

/* A picture without these words is better than none. */
static enum tw_status read_job(struct tw_timeline_run *out, const char *run,
                               struct tw_error *error) {
    char path[TW_PATH_MAX];
    struct tw_job *job = NULL;
    struct tw_error ignored;
    if (tw_path_join(path, sizeof path, run, "job.yaml") == TW_OK)
        tw_job_load(&job, path, NULL, 0, &ignored);
    out->mode = strdup(job && job->mode ? job->mode : "");
    tw_job_free(job);
    return out->mode ? TW_OK : tw_error_set(error, TW_NO_MEMORY, "out of memory");
}

enum tw_status tw_timeline_run_read(struct tw_timeline_run *out, const char *run,
                                    const struct tw_timeline_wish *wish, struct tw_error *error) {
    struct survey survey = {0};
    struct tw_timeline_wish chosen = *wish;
    struct tw_log_file check;
    *out = (struct tw_timeline_run){0};
    enum tw_status status = tw_log_file_open(&check, run, error); /* before trace.log is missed */
    if (status != TW_OK)
        return status;
    tw_log_file_close(&check);
    status = read_job(out, run, error);
    if (status == TW_OK)
        status = pass_entries(out, run, survey_entry, &survey, error);
    if (status == TW_OK)
        status = pass_records(out, run, survey_record, &survey, error);
    if (status == TW_OK)
        status = check_survey(out, &survey, run, error);
    if (status == TW_OK)
        status = choose(out, run, &survey, &chosen, error);
    if (status == TW_OK)
        status = read_window(out, run, &survey, &chosen, error);
    return status == TW_OK && out->cut.failed ? tw_error_set(error, TW_NO_MEMORY, "out of memory")
                                              : status;
}

void tw_timeline_run_fini(struct tw_timeline_run *run) {
    free(run->mode);
    tw_text_fini(&run->cut);
    tw_timeline_free(run->timeline);
    *run = (struct tw_timeline_run){0};
}
