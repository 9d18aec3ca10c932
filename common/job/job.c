#include "common/job/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/job/job_read.h"

/* job->path, name and folder, from the path as given. */
static enum tw_status read_place(struct tw_job *job, struct tw_job_memory *memory, const char *path,
                                 struct tw_error *error) {
    char here[TW_PATH_MAX] = "", folder[TW_PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    if (path[0] != '/' && !getcwd(here, sizeof here))
        return tw_error_set(error, TW_IO, "%s: the current folder is not known (%s)", path,
                            strerror(errno));
    job->path = tw_job_memory_copy(memory, path, strlen(path));
    job->name = tw_job_memory_copy(memory, base, dot > base ? (size_t)(dot - base) : strlen(base));
    char *above = tw_job_memory_copy(memory, path, slash ? (size_t)(slash - path) : 0);
    if (!job->path || !job->name || !above)
        return tw_job_memory_error(error);
    if (slash == path)
        strcpy(folder, "/");
    else if (!slash)
        strcpy(folder, here);
    else if (tw_path_join(folder, sizeof folder, here, above) != TW_OK)
        return tw_error_set(error, TW_JOB, "%.200s...: longer than a path may be (%d bytes)", path,
                            TW_PATH_MAX - 1);
    job->folder = tw_job_memory_copy(memory, folder, strlen(folder));
    return job->folder ? TW_OK : tw_job_memory_error(error);
}

static enum tw_status read_text(struct tw_job_reader *reader, const char *text, size_t size,
                                const struct tw_job_setting *settings, int count) {
    struct tw_yaml_source source = {
        .memory = reader->memory,
        .where = {reader->job->path, 1},
        .text = text,
        .size = size,
    };
    enum tw_status status = tw_yaml_parse(&reader->root, &source, reader->error);
    if (status != TW_OK)
        return status;
    if (!reader->root || tw_yaml_is_null(reader->root))
        return tw_job_error(reader->error, (struct tw_where){reader->job->path, 0}, "",
                            "no job in it; see the example in docs/job.md");
    if (reader->root->kind != TW_YAML_MAP)
        return tw_job_error(reader->error, reader->root->where, "",
                            "%s where keys and values should stand; a job begins with model:",
                            tw_yaml_kind_text(reader->root));
    status = tw_apply_settings(reader, settings, count, &source.nodes);
    return status == TW_OK ? tw_read_sections(reader) : status;
}

enum tw_status tw_job_parse(struct tw_job **out, const char *path, const char *text, size_t size,
                            const struct tw_job_setting *settings, int count,
                            struct tw_error *error) {
    *out = NULL;
    struct tw_job *job = calloc(1, sizeof *job);
    struct tw_job_memory *memory = calloc(1, sizeof *memory);
    if (!job || !memory) {
        free(job);
        free(memory);
        return tw_job_memory_error(error);
    }
    job->memory = memory;
    job->seed = 1;
    job->chunk_bytes = TW_CHUNK_BYTES_DEFAULT;
    job->poll_us = TW_POLL_US;
    job->on_worker_loss.after = 5;
    job->on_worker_loss.silent = 60;
    job->trace.on = true;
    job->checkpoint.seconds = 60;
    job->checkpoint.keep = 2;
    job->trace.hash_every = 100;
    job->trace.sums_every = 25;
    job->trace.inputs = true;
    struct tw_job_reader reader = {.job = job, .memory = memory, .error = error};
    enum tw_status status = read_place(job, memory, path, error);
    if (status == TW_OK)
        status = read_text(&reader, text, size, settings, count);
    if (status == TW_OK)
        *out = job;
    else
        tw_job_free(job);
    return status;
}

enum tw_status tw_job_load(struct tw_job **out, const char *path,
                           const struct tw_job_setting *settings, int count,
                           struct tw_error *error) {
    char *text;
    size_t size;
    *out = NULL;
    enum tw_status status = tw_file_read(path, TW_JOB_BYTES_MAX, &text, &size, error);
    if (status != TW_OK && status != TW_NO_MEMORY) {
        status = status == TW_LIMIT ? TW_JOB : TW_DATA;
        if (error) {
            tw_error_wrap(error, "the job file");
            error->status = status;
        }
    }
    if (status != TW_OK)
        return status;
    status = tw_job_parse(out, path, text, size, settings, count, error);
    free(text);
    return status;
}

void tw_job_free(struct tw_job *job) {
    if (!job)
        return;
    tw_job_memory_fini(job->memory);
    free(job->memory);
    free(job);
}
