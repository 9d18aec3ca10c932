#include "cli/model_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files ---- */

/* A name of the file as ours: its characters and its length. */
static enum tw_status take_tensor(struct tw_tensor *out, const struct tw_safetensors_entry *entry,
                                  const char *path, struct tw_error *error) {
    int64_t shape[TW_DIMS_MAX];
    if (strpbrk(entry->name, ":["))
        return tw_error_set(error, TW_DATA,
                            "%s has \"%.64s\", so it is one file of a checkpoint; give its folder",
                            path, entry->name);
    if (strcmp(entry->dtype, "F32") != 0)
        return tw_error_set(error, TW_DATA, "%s: tensor \"%.64s\" has type %s; only F32 is known",
                            path, entry->name, entry->dtype);
    for (int d = 0; d < entry->dims; d++)
        shape[d] = (int64_t)entry->shape[d];
    enum tw_status status = tw_tensor_init(out, entry->name, entry->dims, shape,
                                           (struct tw_init){.kind = TW_INIT_CONSTANT}, error);
    return status == TW_OK ? TW_OK : (tw_error_wrap(error, "%s", path), error->status = TW_DATA);
}

static enum tw_status take_list(struct tw_model_source *source, struct tw_error *error) {
    const struct tw_safetensors_reader *file = &source->file;
    if (file->list.count < 1 || file->list.count > TW_TENSORS_MAX)
        return tw_error_set(error, TW_DATA, "%s: %zu tensors; a model has 1 to %d", file->path,
                            file->list.count, TW_TENSORS_MAX);
    source->list.tensors = calloc(file->list.count, sizeof *source->list.tensors);
    if (!source->list.tensors)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    enum tw_status status = TW_OK;
    for (size_t i = 0; i < file->list.count && status == TW_OK; i++)
        status = take_tensor(&source->list.tensors[source->list.count++], &file->list.entry[i],
                             file->path, error);
    return status;
}

static enum tw_status open_file(struct tw_model_source *source, const char *path,
                                struct tw_error *error) {
    enum tw_status status = tw_safetensors_read_open(&source->file, path, error);
    if (status == TW_OK)
        return take_list(source, error);
    if (status == TW_IO)
        error->status = status = TW_DATA; /* found before anything was written */
    return status;
}

/* ---- checkpoints ---- */

static enum tw_status open_parts(struct tw_model_source *source, const char *folder,
                                 const struct tw_checked_job *job, struct tw_error *error) {
    const struct tw_restore_ask ask = {
        .list = &source->list,
        .arrays = {job->optimizer, &job->shaping, (uint32_t)job->job->workers}};
    return tw_restore_open(&source->checkpoint, folder, &ask, error);
}

/* The tensors of the model, which do not live as long as the job. */
static enum tw_status copy_list(struct tw_model_source *source, const struct tw_tensor_list *list,
                                struct tw_error *error) {
    source->list.tensors = calloc((size_t)list->count, sizeof *list->tensors);
    if (!source->list.tensors)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    memcpy(source->list.tensors, list->tensors, (size_t)list->count * sizeof *list->tensors);
    source->list.count = list->count;
    return TW_OK;
}

static enum tw_status open_checkpoint(struct tw_model_source *source, const char *folder,
                                      struct tw_error *error) {
    struct tw_checked_job job;
    char path[TW_PATH_MAX];
    if (tw_path_join(path, sizeof path, folder, "../../job.yaml") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", folder);
    if (access(path, R_OK) != 0)
        return tw_error_set(error, TW_DATA,
                            "%s: %s; a checkpoint is read where it is, in checkpoints/ of its run",
                            path, strerror(errno));
    enum tw_status status = tw_checked_job_load(&job, path, NULL, 0, TW_CHECK_NO_DATA, error);
    if (status != TW_OK)
        return status;
    status = copy_list(source, &job.model->list, error);
    if (status == TW_OK)
        status = open_parts(source, folder, &job, error);
    tw_checked_job_fini(&job);
    return status == TW_NO_MEMORY || status == TW_OK
               ? status
               : (tw_error_wrap(error, "%s", folder), error->status = TW_DATA);
}

/* ---- either ---- */

enum tw_status tw_model_source_open(struct tw_model_source *source, const char *name,
                                    struct tw_error *error) {
    char path[TW_PATH_MAX];
    struct stat about;
    source->name = name;
    source->file.fd = -1;
    if (stat(name, &about) != 0 || !S_ISDIR(about.st_mode))
        return open_file(source, name, error);
    if (tw_path_join(path, sizeof path, name, "manifest.json") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", name);
    if (access(path, F_OK) == 0)
        return open_checkpoint(source, name, error);
    if (tw_path_join(path, sizeof path, name, "model.safetensors") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", name);
    return open_file(source, path, error);
}

int tw_model_source_find(const struct tw_model_source *source, const char *tensor) {
    for (int i = 0; i < source->list.count; i++)
        if (strcmp(source->list.tensors[i].name, tensor) == 0)
            return i;
    return -1;
}

enum tw_status tw_model_source_match(const struct tw_model_source *source,
                                     const struct tw_tensor *tensor, const char *whose, int *index,
                                     struct tw_error *error) {
    char wanted[128], found[128];
    *index = tw_model_source_find(source, tensor->name);
    if (*index < 0)
        return tw_error_set(error, TW_DATA, "%s has no tensor \"%.64s\", which %s has",
                            source->name, tensor->name, whose);
    const struct tw_tensor *ours = &source->list.tensors[*index];
    bool same = ours->dims == tensor->dims;
    for (int d = 0; same && d < tensor->dims; d++)
        same = ours->shape[d] == tensor->shape[d];
    if (same)
        return TW_OK;
    return tw_error_set(error, TW_DATA, "%s: tensor \"%.64s\" is %s, in %s it is %s", source->name,
                        tensor->name, tw_shape_text(ours->dims, ours->shape, found, sizeof found),
                        whose, tw_shape_text(tensor->dims, tensor->shape, wanted, sizeof wanted));
}

enum tw_status tw_model_source_read(const struct tw_model_source *source, int tensor,
                                    uint64_t first, uint32_t count, float *out,
                                    struct tw_error *error) {
    if (source->checkpoint)
        return tw_restore_read(source->checkpoint, 0, (uint32_t)tensor, (int64_t)first, count, out,
                               error);
    return tw_safetensors_read(&source->file,
                               source->file.list.entry[tensor].begin + first * sizeof(float), out,
                               count * sizeof(float), error);
}

void tw_model_source_close(struct tw_model_source *source) {
    if (!source->name)
        return;
    tw_restore_free(source->checkpoint);
    tw_safetensors_read_close(&source->file);
    free(source->list.tensors);
}
