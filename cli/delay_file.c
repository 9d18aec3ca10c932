#include "cli/delay_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/log_history.h"
#include "cli/trace_file.h"
#include "common/base/limits.h"

/* ---- trace.log ---- */

enum tw_status tw_delay_times_of_entry(struct tw_delay_times *times,
                                       const struct tw_trace_header *header,
                                       const struct tw_trace_entry *entry, struct tw_error *error) {
    const struct tw_trace_worker *step = &entry->worker;
    uint32_t width = header->workers ? header->slots / header->workers : 0;
    if (entry->kind == TW_TRACE_HEADER)
        tw_delay_times_new_processes(times);
    if (entry->kind != TW_TRACE_WORKER || !width || !step->received ||
        step->computed < step->received)
        return TW_OK;
    return tw_delay_times_add(times, step->slot / width,
                              (double)(step->computed - step->received) * 1e-9, error);
}

struct run_times {
    struct tw_delay_times *times;
    bool any; /* trace log */
};

static enum tw_status on_entry(void *context, const struct tw_trace_header *header,
                               const struct tw_trace_entry *entry, struct tw_error *error) {
    struct run_times *of = context;
    of->any = true;
    return tw_delay_times_of_entry(of->times, header, entry, error);
}

/* Of all its generations. */
static enum tw_status read_run(const char *run, struct tw_delay_times *times,
                               struct tw_error *error) {
    struct run_times of = {.times = times};
    struct tw_log_history history;
    struct tw_error end;
    enum tw_status status = tw_log_history_read(&history, run, &end, error);
    if (status == TW_OK)
        status = tw_trace_files_read(run, history.generation, on_entry, &of, error);
    tw_log_history_fini(&history);
    if (status == TW_OK && !of.any)
        status = tw_error_set(error, TW_DATA,
                              "%s: this run has no trace.log, which has how long steps took", run);
    return status;
}

/* ---- text ---- */

#define OF_A_RUN "; of a run, give the directory"

struct lines {
    const char *path;
    FILE *file;
    unsigned long line;
    int columns; /* 0: not known yet */
    struct tw_delay_times *times;
};

static enum tw_status wrong(const struct lines *lines, struct tw_error *error, const char *what) {
    return tw_error_set(error, TW_DATA, "%s:%lu: %s", lines->path, lines->line, what);
}

/* Up to three numbers of a line; how many there are, or -1. */
static int split(char *text, double out[3]) {
    int count = 0;
    char *end;
    text[strcspn(text, "#\r\n")] = '\0';
    for (char *at = text;;) {
        at += strspn(at, " \t,");
        if (!*at)
            return count;
        if (count == 3)
            return -1;
        out[count++] = strtod(at, &end);
        if (end == at || !strchr(" \t,", *end))
            return -1;
        at = end;
    }
}

static bool is_whole(double x) {
    return x >= 0 && x < 0x1p53 && x == floor(x);
}

static enum tw_status add_step(const struct lines *lines, const double *number,
                               struct tw_error *error) {
    const struct tw_delay_times *times = lines->times;
    char text[160];
    if (!is_whole(number[0]) || number[0] >= TW_WORKERS_MAX || !is_whole(number[1]))
        return wrong(lines, error, "WORKER and STEP are whole numbers, workers from 0 on");
    uint32_t worker = (uint32_t)number[0];
    size_t next = 1 + (worker < times->workers ? times->worker[worker].count : 0);
    if (number[1] != (double)next) {
        bool gap = number[1] > (double)next;
        snprintf(text, sizeof text, "step %zu of worker %u %s its step %.0f", next, worker,
                 gap ? "is missing: this is" : "comes next, and this is", number[1]);
        return wrong(lines, error, text);
    }
    return tw_delay_times_add(lines->times, worker, number[2], error);
}

static enum tw_status take_line(struct lines *lines, char *text, struct tw_error *error) {
    double number[3];
    bool names =
        !lines->columns && ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z'));
    int count = names ? 0 : split(text, number);
    if (count == 0)
        return TW_OK;
    if (count != 1 && count != 3)
        return wrong(lines, error, "is not SECONDS, and not WORKER STEP SECONDS" OF_A_RUN);
    if (lines->columns && lines->columns != count)
        return wrong(lines, error, "has other columns than the lines before");
    lines->columns = count;
    enum tw_status status = count == 1 ? tw_delay_times_add(lines->times, 0, number[0], error)
                                       : add_step(lines, number, error);
    if (status == TW_DATA && strncmp(error->text, lines->path, strlen(lines->path)) != 0)
        tw_error_wrap(error, "%s:%lu", lines->path, lines->line);
    return status;
}

static enum tw_status read_lines(struct lines *lines, struct tw_error *error) {
    char text[256];
    enum tw_status status = TW_OK;
    while (status == TW_OK && fgets(text, sizeof text, lines->file)) {
        lines->line++;
        if (!strchr(text, '\n') && !feof(lines->file))
            return wrong(lines, error, "is longer than any line of times" OF_A_RUN);
        status = take_line(lines, text, error);
    }
    if (status == TW_OK && ferror(lines->file))
        return tw_error_set(error, TW_DATA, "%s: %s", lines->path, strerror(errno));
    return status;
}

static enum tw_status read_text(const char *path, struct tw_delay_times *times,
                                struct tw_error *error) {
    struct lines lines = {.path = path, .file = fopen(path, "r"), .times = times};
    if (!lines.file)
        return tw_error_set(error, TW_DATA, "%s: %s", path, strerror(errno));
    enum tw_status status = read_lines(&lines, error);
    fclose(lines.file);
    for (uint32_t i = 0; status == TW_OK && i < times->workers; i++)
        if (!times->worker[i].count)
            status =
                tw_error_set(error, TW_DATA, "%s: worker %u is missing: there are others up to %u",
                             path, i, times->workers - 1);
    return status;
}

enum tw_status tw_delay_file_read(const char *path, struct tw_delay_times *times,
                                  struct tw_error *error) {
    struct stat about;
    bool run = stat(path, &about) == 0 && S_ISDIR(about.st_mode);
    enum tw_status status = run ? read_run(path, times, error) : read_text(path, times, error);
    if (status == TW_OK && !times->workers)
        return tw_error_set(error, TW_DATA, "%s: has no steps%s", path,
                            run ? "" : "; a line of it is SECONDS, or WORKER STEP SECONDS");
    return status;
}
