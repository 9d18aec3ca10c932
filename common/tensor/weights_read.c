#include "common/tensor/weights_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tw_weights_reader {
    uint32_t files;
    struct tw_safetensors_reader *file; /* [TW_SERVERS_MAX] */
};

static enum tw_status open_file(struct tw_weights_reader *reader, const char *path,
                                struct tw_error *error) {
    enum tw_status status = tw_safetensors_read_open(&reader->file[reader->files], path, error);
    if (status == TW_OK)
        reader->files++;
    else if (status == TW_IO)
        error->status = status = TW_DATA; /* found before anything was made of it */
    return status;
}

static bool is_there(const char *path) {
    struct stat about;
    return stat(path, &about) == 0;
}

/* shard-0.safetensors, shard-1.safetensors, ... of a checkpoint. */
static enum tw_status open_shards(struct tw_weights_reader *reader, const char *folder,
                                  struct tw_error *error) {
    char path[TW_PATH_MAX], file[32];
    enum tw_status status = TW_OK;
    for (uint32_t i = 0; status == TW_OK && i < TW_SERVERS_MAX; i++) {
        snprintf(file, sizeof file, "shard-%u.safetensors", i);
        if (tw_path_join(path, sizeof path, folder, file) != TW_OK)
            return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", folder);
        if (i > 0 && !is_there(path))
            break;
        status = open_file(reader, path, error);
    }
    return status;
}

static enum tw_status open_all(struct tw_weights_reader *reader, const char *name,
                               struct tw_error *error) {
    char model[TW_PATH_MAX], shard[TW_PATH_MAX];
    struct stat about;
    reader->file = calloc(TW_SERVERS_MAX, sizeof *reader->file);
    if (!reader->file)
        return tw_error_set(error, TW_NO_MEMORY, "out of memory");
    if (stat(name, &about) != 0 || !S_ISDIR(about.st_mode))
        return open_file(reader, name, error);
    if (tw_path_join(model, sizeof model, name, "model.safetensors") != TW_OK ||
        tw_path_join(shard, sizeof shard, name, "shard-0.safetensors") != TW_OK)
        return tw_error_set(error, TW_LIMIT, "%.200s...: this path is too long", name);
    if (!is_there(model) && is_there(shard))
        return open_shards(reader, name, error);
    return open_file(reader, model, error);
}

enum tw_status tw_weights_open(struct tw_weights_reader **out, const char *name,
                               struct tw_error *error) {
    *out = NULL;
    struct tw_weights_reader *reader = calloc(1, sizeof *reader);
    enum tw_status status =
        reader ? open_all(reader, name, error) : tw_error_set(error, TW_NO_MEMORY, "out of memory");
    if (status == TW_OK)
        *out = reader;
    else
        tw_weights_close(reader);
    return status;
}

void tw_weights_close(struct tw_weights_reader *reader) {
    if (!reader)
        return;
    for (uint32_t i = 0; i < reader->files; i++)
        tw_safetensors_read_close(&reader->file[i]);
    free(reader->file);
    free(reader);
}

const char *tw_weights_path(const struct tw_weights_reader *reader) {
    return reader->file[0].path;
}

/* Whether an entry is the tensor, or a range of it as checkpoints have it: "w[0:65536]". */
static bool is_part(const struct tw_safetensors_entry *entry, const struct tw_tensor *tensor,
                    uint64_t *first) {
    size_t size = strlen(tensor->name);
    uint64_t end;
    char rest[2];
    *first = 0;
    if (strncmp(entry->name, tensor->name, size) != 0)
        return false;
    if (!entry->name[size])
        return true;
    return sscanf(entry->name + size, "[%" SCNu64 ":%" SCNu64 "%1[]]%1s", first, &end, rest,
                  (char[2]){0}) == 3 &&
           end > *first && end - *first == entry->elements;
}

static enum tw_status wrong_shape(const struct tw_safetensors_reader *file,
                                  const struct tw_safetensors_entry *entry,
                                  const struct tw_tensor *tensor, struct tw_error *error) {
    char theirs[128], ours[128];
    int64_t shape[TW_DIMS_MAX];
    for (int d = 0; d < entry->dims; d++)
        shape[d] = (int64_t)entry->shape[d];
    return tw_error_set(error, TW_DATA, "%s: tensor \"%.64s\" is %s, the model's is %s", file->path,
                        tensor->name, tw_shape_text(entry->dims, shape, theirs, sizeof theirs),
                        tw_shape_text(tensor->dims, tensor->shape, ours, sizeof ours));
}

static bool same_shape(const struct tw_safetensors_entry *entry, const struct tw_tensor *tensor) {
    bool same = entry->dims == tensor->dims;
    for (int d = 0; same && d < tensor->dims; d++)
        same = entry->shape[d] == (uint64_t)tensor->shape[d];
    return same;
}

static enum tw_status read_part(const struct tw_safetensors_reader *file,
                                const struct tw_safetensors_entry *entry,
                                const struct tw_tensor *tensor, uint64_t first, float *out,
                                struct tw_error *error) {
    uint64_t elements = (uint64_t)tensor->elements;
    bool whole = !entry->name[strlen(tensor->name)];
    if (strcmp(entry->dtype, "F32") != 0)
        return tw_error_set(error, TW_DATA, "%s: tensor \"%.64s\" has type %s; only F32 is known",
                            file->path, entry->name, entry->dtype);
    if ((whole && !same_shape(entry, tensor)) || entry->elements > elements ||
        first > elements - entry->elements)
        return wrong_shape(file, entry, tensor, error);
    enum tw_status status = tw_safetensors_read(file, entry->begin, out + first,
                                                (size_t)entry->elements * sizeof *out, error);
    for (uint64_t i = first; status == TW_OK && i < first + entry->elements; i++)
        if (!isfinite(out[i]))
            status = tw_error_set(error, TW_DATA,
                                  "%s: element %" PRIu64 " of tensor \"%.64s\" is not finite",
                                  file->path, i, tensor->name);
    return status;
}

enum tw_status tw_weights_read(const struct tw_weights_reader *reader,
                               const struct tw_tensor *tensor, float *out, struct tw_error *error) {
    uint64_t at = 0, first; /* parts stand in the order of the servers, without gaps */
    for (uint32_t f = 0; f < reader->files; f++) {
        const struct tw_safetensors_reader *file = &reader->file[f];
        for (size_t i = 0; i < file->list.count; i++) {
            const struct tw_safetensors_entry *entry = &file->list.entry[i];
            if (!is_part(entry, tensor, &first) || first != at)
                continue;
            enum tw_status status = read_part(file, entry, tensor, first, out, error);
            if (status != TW_OK)
                return status;
            at += entry->elements;
        }
    }
    if (at == (uint64_t)tensor->elements)
        return TW_OK;
    if (at > 0)
        return tw_error_set(error, TW_DATA,
                            "%s: of tensor \"%.64s\" only %" PRIu64 " of %lld elements are there",
                            reader->file[0].path, tensor->name, at, (long long)tensor->elements);
    return tw_error_set(error, TW_DATA, "%s: there is no tensor \"%.64s\", which the model has",
                        reader->file[0].path, tensor->name);
}
